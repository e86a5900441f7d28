/* SPDX-License-Identifier: MIT */
/* child.c - see child.h */
#include "vmm/child.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

void child_dies_with(gpointer parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* The parent may have ended before that. */
	if (getppid() != GPOINTER_TO_INT(parent))
		_exit(127);
}
