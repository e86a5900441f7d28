/* SPDX-License-Identifier: MIT */
/* cmd_trace_mrc.c - overbook trace mrc: the miss-ratio curve of a trace, as CSV and as a figure */
#include <inttypes.h>
#include <stdio.h>

#include "mm/replace.h"
#include "vmm/cmd.h"
#include "vmm/cmd_trace.h"
#include "vmm/conf.h"
#include "vmm/trace.h"
#include "vmm/vmm.h"

#define PAGE UINT64_C(4096)

/* What was asked for. */
struct request {
	GPtrArray *policies; /* of const struct replace_ops */
	GArray *frames;	     /* of uint32_t, a memory each; empty: until everything fits */
	uint64_t seed;
};

static gboolean refuse(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static gboolean refuse(GError **error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	*error = g_error_new_valist(VMM_ERROR, VMM_USAGE, format, args);
	va_end(args);
	return FALSE;
}

static gboolean parse_policies(struct request *q, const char *list, GError **error)
{
	g_auto(GStrv) names = g_strsplit(list, ",", -1);

	for (char **name = names; *name; name++) {
		const struct replace_ops *ops = replace_find(g_strstrip(*name));

		if (!ops) {
			g_autoptr(GString) known = g_string_new(NULL);

			for (const struct replace_ops *const *p = replace_policies; *p; p++)
				g_string_append_printf(known, "%s%s", known->len ? ", " : "", (*p)->name);
			return refuse(error, "trace mrc: --policy %s: \"%s\" is none of %s", list, *name, known->str);
		}
		for (guint i = 0; i < q->policies->len; i++)
			if (q->policies->pdata[i] == ops)
				return refuse(error, "trace mrc: --policy %s: \"%s\" twice", list, *name);
		g_ptr_array_add(q->policies, (void *)ops);
	}
	return q->policies->len ? TRUE : refuse(error, "trace mrc: --policy: names no policy");
}

/* Sizes as experiment files spell them. */
static gboolean parse_memory(struct request *q, const char *list, GError **error)
{
	static const struct conf_key key = { .name = "memory", .type = CONF_SIZE, .min = PAGE, .max = PAGE << 31 };
	g_auto(GStrv) sizes = g_strsplit(list, ",", -1);

	for (char **size = sizes; *size; size++) {
		g_autofree char *why = NULL;
		uint64_t nbytes;
		uint32_t nframes;

		if (!conf_parse(&key, g_strstrip(*size), &nbytes, &why))
			return refuse(error, "trace mrc: --memory: \"%s\": allowed is %s", *size, why);
		if (nbytes % PAGE)
			return refuse(error, "trace mrc: --memory: \"%s\" is not a whole number of 4 KiB pages", *size);
		nframes = nbytes / PAGE;
		g_array_append_val(q->frames, nframes);
	}
	return q->frames->len ? TRUE : refuse(error, "trace mrc: --memory: names no size");
}

/* Nothing was asked: 64 KiB upwards, two sizes to each doubling, until every page fits. */
static void default_memory(struct request *q, uint32_t npages)
{
	for (uint32_t nframes = 16, half;; nframes *= 2) {
		half = nframes + nframes / 2;
		g_array_append_val(q->frames, nframes);
		if (nframes >= npages || nframes >= UINT32_MAX / 4)
			return;
		g_array_append_val(q->frames, half);
		if (half >= npages)
			return;
	}
}

static GString *compute(const struct request *q, const struct trace_pages *pages)
{
	GString *csv = g_string_new("policy,memory_bytes,requests,misses,cold_misses\n");
	g_autofree uint64_t *misses = g_new(uint64_t, q->frames->len);

	for (guint p = 0; p < q->policies->len; p++) {
		const struct replace_ops *ops = q->policies->pdata[p];

		trace_mrc(pages, ops, (const uint32_t *)q->frames->data, q->frames->len, q->seed, misses);
		for (guint k = 0; k < q->frames->len; k++)
			g_string_append_printf(csv, "%s,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%u\n", ops->name,
					       g_array_index(q->frames, uint32_t, k) * PAGE, pages->nrequests,
					       misses[k], pages->nids);
	}
	return csv;
}

static gboolean draw(const struct request *q, const struct trace_pages *pages, const char *csv, const char *trace,
		     const char *dir, const char *file, GError **error)
{
	g_autofree char *name = g_path_get_basename(trace);
	g_autofree char *subject = g_strdup_printf("%s: %.1f million accesses to %.2f MiB", name,
						   pages->nrequests / 1e6, pages->nids / 256.0);
	g_autoptr(GString) policies = g_string_new(NULL);
	struct trace_plot plot = { .csv = csv, .subject = subject };

	for (guint p = 0; p < q->policies->len; p++)
		g_string_append_printf(policies, "%s%s", p ? " " : "",
				       ((struct replace_ops *)q->policies->pdata[p])->name);
	plot.policies = policies->str;
	if (dir)
		cmd_sweep(dir);
	if (file)
		cmd_sweep(file);
	return (!dir || trace_plot_dir(&plot, dir, error)) && (!file || trace_plot_file(&plot, file, error));
}

/* Everything but the options; stdout gets the CSV only if all went well. */
static gboolean run(struct request *q, const char *trace, const char *dir, const char *file, GError **error)
{
	struct trace_reader *r = trace_open(trace, error);
	g_autoptr(GString) csv = NULL;
	struct trace_pages pages;
	gboolean ok;

	if (!r)
		return FALSE;
	ok = trace_pages_load(&pages, r, error);
	trace_close(r);
	if (!ok)
		return FALSE;
	if (!q->frames->len)
		default_memory(q, pages.nids);
	csv = compute(q, &pages);
	ok = draw(q, &pages, csv->str, trace, dir, file, error);
	trace_pages_free(&pages);
	if (ok)
		fputs(csv->str, stdout);
	return ok;
}

int cmd_trace_mrc(int argc, char **argv)
{
	g_autofree char *policies = NULL, *memory = NULL, *dir = NULL, *plot = NULL;
	gint64 seed = 1;
	const GOptionEntry entries[] = {
		{ "policy", 'p', 0, G_OPTION_ARG_STRING, &policies,
		  "lru, clock, clock0, fifo, random, opt; by default lru,clock,fifo,opt", "P,..." },
		{ "memory", 'm', 0, G_OPTION_ARG_STRING, &memory,
		  "sizes as 256KiB,1MiB; by default until everything fits", "SIZE,..." },
		{ "output", 'o', 0, G_OPTION_ARG_FILENAME, &dir, "write mrc.csv, mrc.svg and mrc.gp there, too",
		  "DIR" },
		{ "plot", 0, 0, G_OPTION_ARG_FILENAME, &plot, "draw the curve into this file", "FILE.svg" },
		{ "seed", 0, 0, G_OPTION_ARG_INT64, &seed, "of policy random", "N" },
		G_OPTION_ENTRY_NULL,
	};
	int status = cmd_trace_options(&argc, &argv, entries, "T",
				       "Count the page faults that trace T would have in memories of several sizes, "
				       "with demand paging on 4 KiB pages: exact, as CSV. "
				       "Misses include the cold ones, a first touch of each page; clock brings a page "
				       "in referenced, clock0 not.",
				       false);
	struct request q;
	GError *error = NULL;

	if (status >= 0)
		return status;
	if (argc != 2)
		return cmd_error(CMD_USAGE, "trace mrc: give one trace");
	q = (struct request){ g_ptr_array_new(), g_array_new(FALSE, FALSE, sizeof(uint32_t)), seed };
	if (parse_policies(&q, policies ? policies : "lru,clock,fifo,opt", &error) &&
	    (!memory || parse_memory(&q, memory, &error)))
		run(&q, argv[1], dir, plot, &error);
	g_ptr_array_free(q.policies, TRUE);
	g_array_free(q.frames, TRUE);
	return error ? cmd_gerror(error) : CMD_OK;
}
