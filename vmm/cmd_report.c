/* SPDX-License-Identifier: MIT */
/* cmd_report.c - overbook report DIR...: draw the figures of finished runs again and write their pages */
#include <stdio.h>

#include "vmm/cmd.h"
#include "vmm/report.h"

int cmd_report(int argc, char **argv)
{
	g_auto(GStrv) dirs = NULL;
	const GOptionEntry entries[] = {
		{ G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &dirs, NULL, "DIR..." },
		{ NULL, 0, 0, 0, NULL, NULL, NULL },
	};
	g_autoptr(GOptionContext) ctx =
		g_option_context_new("- draw the figures and write the report of finished runs");
	GError *error = NULL;

	g_option_context_add_main_entries(ctx, entries, NULL);
	if (!g_option_context_parse(ctx, &argc, &argv, &error))
		return cmd_gerror(error);
	if (!dirs)
		return cmd_error(CMD_USAGE, "report takes one or more run directories; see overbook report --help");
	for (unsigned i = 0; dirs[i]; i++) {
		if (!figures_draw(dirs[i], &error) || !report_write(dirs[i], &error))
			return cmd_gerror(error);
		printf("%s/report.html\n", dirs[i]);
	}
	return CMD_OK;
}
