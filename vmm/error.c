/* SPDX-License-Identifier: MIT */
/* error.c - the error domain of the program's edges; weak, so that a front end may bring its own */
#include "vmm/vmm.h"

__attribute__((weak)) GQuark vmm_error_quark(void)
{
	return g_quark_from_static_string("overbook");
}
