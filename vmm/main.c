/* SPDX-License-Identifier: MIT */
/* main.c - overbook VERB ...: finds the verb and runs it */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "vmm/cmd.h"
#include "vmm/conf.h"
#include "vmm/version.h"

static const struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *args, *summary;
} verbs[] = {
	{ "run", cmd_run, "FILE.ini [-o DIR] [--set SECTION.KEY=VALUE]...", "run an experiment" },
	{ "report", cmd_report, "DIR...", "draw a finished run again" },
	{ "compare", cmd_compare, "DIR DIR...", "the counters of several runs side by side" },
	{ "explain", cmd_explain, "DIR [--vm NAME] [--at TIME]", "why the policy did what it did" },
	{ "page", cmd_page, "DIR VM GFN", "what happened to one page of a guest" },
	{ "trace", cmd_trace, "record|import|info|mrc ...", "memory traces of real programs" },
	{ "list", cmd_list, "counters|workloads|profiles|modes|keys|...", "what there is to choose from" },
	{ "doctor", cmd_doctor, "", "what this host can do" },
	{ "calibrate", cmd_calibrate, "-o PROFILE.ini", "measure what things cost on this host" },
	{ NULL, NULL, NULL, NULL },
};

static void usage(FILE *out)
{
	fprintf(out, "overbook %s - a laboratory for memory virtualization and memory overcommit\n\n",
		OVERBOOK_VERSION);
	for (const struct verb *v = verbs; v->name; v++)
		fprintf(out, "  overbook %-9s %-50s %s\n", v->name, v->args, v->summary);
	fprintf(out, "\nEach verb explains itself with --help. The manual page is overbook(1).\n");
}

/* A verb mistyped, or an experiment or a trace where a verb belongs. */
static int no_such_verb(const char *word)
{
	const char *names[G_N_ELEMENTS(verbs)] = { NULL };
	const char *near;

	for (size_t i = 0; verbs[i].name; i++)
		names[i] = verbs[i].name;
	if (g_str_has_suffix(word, ".ini"))
		return cmd_error(CMD_USAGE, "no verb \"%s\"; to run an experiment: overbook run %s", word, word);
	near = conf_nearest(word, names);

	g_autofree char *known = g_strjoinv(", ", (char **)names);

	return cmd_error(CMD_USAGE, "no verb \"%s\"%s%s%s there are: %s", word, near ? "; did you mean \"" : ";",
			 near ? near : "", near ? "\"?" : "", known);
}

int main(int argc, char **argv)
{
	static char help_option[] = "--help";
	/* Numbers in files are written and read in the C locale whatever the user's is. */
	setlocale(LC_ALL, "C");

	if (argc < 2) {
		usage(stderr);
		return CMD_USAGE;
	}
	if (argc == 3 && !strcmp(argv[1], "help")) { /* help VERB: VERB --help */
		argv[1] = argv[2];
		argv[2] = help_option;
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
	return no_such_verb(argv[1]);
}
