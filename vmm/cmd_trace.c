/* SPDX-License-Identifier: MIT */
/* cmd_trace.c - overbook trace: traces of real programs; here import and info, the rest in cmd_trace_*.c */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-glib/json-glib.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/cmd.h"
#include "vmm/cmd_trace.h"
#include "vmm/trace.h"
#include "vmm/vmm.h"

#define SHOWN 16 /* ranges that `info` prints as text */

static const struct part {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *args, *summary;
} parts[] = {
	{ "record", cmd_trace_record, "[-o F] [--limit N] [--instructions] -- COMMAND...",
	  "record a program's accesses (needs valgrind)" },
	{ "import", cmd_trace_import, "F -o T [--format lackey|csv] [--data]",
	  "make a trace of a text: lackey's, or lines address,type" },
	{ "info", cmd_trace_info, "T [--json]", "check a trace and say what is in it" },
	{ "mrc", cmd_trace_mrc, "T [--policy P,...] [--memory SIZE,...] [-o DIR]",
	  "misses by size of memory, under replacement policies" },
	{ NULL, NULL, NULL, NULL },
};

static int help(void)
{
	for (const struct part *p = parts; p->name; p++)
		printf("  overbook trace %-7s %-52s %s\n", p->name, p->args, p->summary);
	return CMD_OK;
}

int cmd_trace(int argc, char **argv)
{
	if (argc < 2)
		return cmd_error(CMD_USAGE,
				 "trace: say what to do: record, import, info or mrc (overbook trace --help)");
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return help();
	for (const struct part *p = parts; p->name; p++)
		if (!strcmp(argv[1], p->name))
			return p->run(argc - 1, argv + 1);
	return cmd_error(CMD_USAGE, "trace: no \"%s\"; there are: record, import, info, mrc", argv[1]);
}

int cmd_trace_options(int *argc, char ***argv, const GOptionEntry *entries, const char *rest, const char *summary,
		      bool posix)
{
	g_autofree char *name = g_strdup((*argv)[0]), *program = g_strdup_printf("overbook trace %s", name);
	g_autoptr(GOptionContext) context = g_option_context_new(rest);
	GError *error = NULL;
	gboolean ok;

	/* GOption's usage line begins with the program's name. */
	g_set_prgname(program);
	g_option_context_set_summary(context, summary);
	g_option_context_set_strict_posix(context, posix);
	g_option_context_add_main_entries(context, entries, NULL);
	ok = g_option_context_parse(context, argc, argv, &error);
	if (ok)
		return -1;
	cmd_error(CMD_USAGE, "trace %s: %s", name, error->message);
	g_error_free(error);
	return CMD_USAGE;
}

static void on_sigint(int signal)
{
	(void)signal;
	run_stop = 1;
}

int cmd_trace_import(int argc, char **argv)
{
	g_autofree char *output = NULL, *format = NULL;
	gboolean data = FALSE;
	const GOptionEntry entries[] = {
		{ "output", 'o', 0, G_OPTION_ARG_FILENAME, &output, "the trace to write", "T" },
		{ "format", 0, 0, G_OPTION_ARG_STRING, &format,
		  "lackey or csv; by default what the first line looks like", "FORMAT" },
		{ "data", 0, 0, G_OPTION_ARG_NONE, &data, "leave instruction fetches out", NULL },
		G_OPTION_ENTRY_NULL,
	};
	int status = cmd_trace_options(&argc, &argv, entries, "F",
				       "Make a trace of the text F (- is standard input): lines of valgrind's lackey, "
				       "or CSV lines \"address,type\" "
				       "with a decimal or 0x hexadecimal address and type r, w or i.",
				       false);
	struct trace_import how = { .data_only = data };
	struct trace_writer *w;
	GError *error = NULL;
	gboolean ok;
	int fd;

	if (status >= 0)
		return status;
	if (argc != 2 || !output)
		return cmd_error(CMD_USAGE, "trace import: give one text F and -o T");
	if (format && strcmp(format, "lackey") && strcmp(format, "csv"))
		return cmd_error(CMD_USAGE, "trace import: --format %s: it is lackey or csv", format);
	if (format)
		how.format = !strcmp(format, "csv") ? TRACE_CSV : TRACE_LACKEY;
	fd = strcmp(argv[1], "-") ? open(argv[1], O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	if (fd < 0)
		return cmd_error(CMD_USAGE, "%s: cannot be opened: %s", argv[1], g_strerror(errno));
	/* Ctrl-C must not leave a half-written file under its temporary name. */
	sigaction(SIGINT, &(struct sigaction){ .sa_handler = on_sigint }, NULL);
	cmd_sweep(output);
	w = trace_create(output, &error);
	ok = w && trace_import(w, fd, strcmp(argv[1], "-") ? argv[1] : "standard input", &how, &error);
	if (ok)
		ok = trace_commit(w, &error);
	else
		trace_abandon(w);
	if (fd != STDIN_FILENO)
		close(fd);
	return ok ? CMD_OK : cmd_gerror(error);
}

static void kinds_string(unsigned kinds, char out[4])
{
	memcpy(out, "---", 4);
	for (int k = 0; k < TRACE_KINDS; k++)
		if (kinds & 1u << k)
			out[k] = "rwi"[k];
}

static void print_text(const char *path, const struct trace_info *info, const struct trace_range *range, size_t nranges)
{
	static const char *const names[] = { "  reads", "  writes", "  fetches" };
	char kinds[4];

	printf("%-12s %s\n", "trace", path);
	printf("%-12s %12" PRIu64 "\n", "accesses", info->total);
	for (int k = 0; k < TRACE_KINDS; k++)
		printf("%-12s %12" PRIu64 "  %5.1f %%\n", names[k], info->naccesses[k],
		       100.0 * info->naccesses[k] / info->total);
	printf("%-12s %12" PRIu64 "  %.2f MiB touched\n", "pages", info->npages, info->npages / 256.0);
	printf("%-12s %12" PRIu64 "  %.2f bits an access\n", "file bytes", info->nbytes,
	       8.0 * info->nbytes / info->total);
	printf("%-12s %12zu\n\n%-18s %-18s %9s  %s\n", "ranges", nranges, "from", "to", "pages", "touched by");
	for (size_t i = 0; i < MIN(nranges, SHOWN); i++) {
		kinds_string(range[i].kinds, kinds);
		printf("0x%-16" PRIx64 " 0x%-16" PRIx64 " %9" PRIu64 "  %s\n", range[i].start,
		       range[i].start + range[i].npages * 4096, range[i].npages, kinds);
	}
	if (nranges > SHOWN)
		printf("and %zu more (--json lists them all)\n", nranges - SHOWN);
}

static void add_integer(JsonBuilder *b, const char *name, uint64_t value)
{
	json_builder_set_member_name(b, name);
	json_builder_add_int_value(b, value);
}

static void print_json(const char *path, const struct trace_info *info, const struct trace_range *range, size_t nranges)
{
	g_autoptr(JsonBuilder) b = json_builder_new();
	g_autoptr(JsonGenerator) g = json_generator_new();
	g_autoptr(JsonNode) root = NULL;
	g_autofree char *text = NULL;
	char kinds[4];

	json_builder_begin_object(b);
	json_builder_set_member_name(b, "trace");
	json_builder_add_string_value(b, path);
	add_integer(b, "accesses", info->total);
	add_integer(b, "reads", info->naccesses[OP_READ]);
	add_integer(b, "writes", info->naccesses[OP_WRITE]);
	add_integer(b, "fetches", info->naccesses[OP_EXEC]);
	add_integer(b, "pages", info->npages);
	add_integer(b, "file_bytes", info->nbytes);
	json_builder_set_member_name(b, "ranges");
	json_builder_begin_array(b);
	for (size_t i = 0; i < nranges; i++) {
		kinds_string(range[i].kinds, kinds);
		json_builder_begin_object(b);
		add_integer(b, "start", range[i].start);
		add_integer(b, "pages", range[i].npages);
		json_builder_set_member_name(b, "touched_by");
		json_builder_add_string_value(b, kinds);
		json_builder_end_object(b);
	}
	json_builder_end_array(b);
	json_builder_end_object(b);
	json_generator_set_pretty(g, TRUE);
	root = json_builder_get_root(b);
	json_generator_set_root(g, root);
	text = json_generator_to_data(g, NULL);
	puts(text);
}

int cmd_trace_info(int argc, char **argv)
{
	gboolean json = FALSE;
	const GOptionEntry entries[] = {
		{ "json", 0, 0, G_OPTION_ARG_NONE, &json, "as JSON, with every range", NULL },
		G_OPTION_ENTRY_NULL,
	};
	int status =
		cmd_trace_options(&argc, &argv, entries, "T", "Read trace T to its end and say what is in it.", false);
	const struct trace_range *ranges;
	struct trace_reader *r;
	GError *error = NULL;
	uint64_t access[512];
	size_t nranges;

	if (status >= 0)
		return status;
	if (argc != 2)
		return cmd_error(CMD_USAGE, "trace info: give one trace");
	r = trace_open(argv[1], &error);
	if (!r)
		return cmd_gerror(error);
	while (trace_read(r, access, G_N_ELEMENTS(access)))
		;
	if (trace_error(r)) {
		status = cmd_gerror(g_error_copy(trace_error(r)));
	} else {
		ranges = trace_ranges(r, &nranges);
		(json ? print_json : print_text)(argv[1], trace_info(r), ranges, nranges);
		status = CMD_OK;
	}
	trace_close(r);
	return status;
}
