/* SPDX-License-Identifier: MIT */
/* cmd.c - how every verb speaks of errors */
#include <stdarg.h>
#include <stdio.h>

#include "vmm/cmd.h"
#include "vmm/unfinished.h"
#include "vmm/vmm.h"

int cmd_error(int status, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	g_autofree char *text = g_strdup_vprintf(format, ap);
	va_end(ap);
	fprintf(stderr, "overbook: %s\n", text);
	return status;
}

int cmd_gerror(GError *error)
{
	int status = error->domain == VMM_ERROR ? error->code : CMD_USAGE;

	cmd_error(status, "%s", error->message);
	g_error_free(error);
	return status;
}

void cmd_sweep(const char *final)
{
	g_autofree char *swept = unfinished_sweep(final);

	if (swept)
		cmd_error(CMD_OK, "%s", swept);
}
