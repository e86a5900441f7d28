/* SPDX-License-Identifier: MIT */
/* main.c - overbook VERB ...: finds the verb and runs it */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "vmm/cmd.h"
#include "vmm/version.h"

static const struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *args, *summary;
} verbs[] = {
	{ "run", cmd_run, "FILE.ini [-o DIR] [--set SECTION.KEY=VALUE]...", "run an experiment" },
	{ "report", cmd_report, "DIR...", "draw a finished run again" },
	{ "compare", cmd_compare, "DIR DIR...", "the counters of several runs side by side" },
	{ "page", cmd_page, "DIR VM GFN", "what happened to one page of a guest" },
	{ "trace", cmd_trace, "record|import|info|mrc ...", "memory traces of real programs" },
	{ "list", cmd_list, "counters|workloads|patterns|profiles|modes|keys", "what there is to choose from" },
	{ "doctor", cmd_doctor, "", "what this host can do" },
	{ NULL, NULL, NULL, NULL },
};

static void usage(FILE *out)
{
	fprintf(out, "overbook %s - a laboratory for memory virtualization and memory overcommit\n\n", OVERBOOK_VERSION);
	for (const struct verb *v = verbs; v->name; v++)
		fprintf(out, "  overbook %-8s %-50s %s\n", v->name, v->args, v->summary);
	fprintf(out, "\nEach verb explains itself with --help. The manual page is overbook(1).\n");
}

int main(int argc, char **argv)
{
	/* Numbers in files are written and read in the C locale whatever the user's is. */
	setlocale(LC_ALL, "C");

	if (argc < 2) {
		usage(stderr);
		return CMD_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return CMD_OK;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("overbook %s\n", OVERBOOK_VERSION);
		return CMD_OK;
	}
	for (const struct verb *v = verbs; v->name; v++)
		if (!strcmp(argv[1], v->name))
			return v->run(argc - 1, argv + 1);

	g_autoptr(GString) known = g_string_new(NULL);
	for (const struct verb *v = verbs; v->name; v++)
		g_string_append_printf(known, "%s%s", known->len ? ", " : "", v->name);
	return cmd_error(CMD_USAGE, "no verb \"%s\"; there are: %s", argv[1], known->str);
}
