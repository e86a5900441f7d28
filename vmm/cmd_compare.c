/* SPDX-License-Identifier: MIT */
/*
 * cmd_compare.c - overbook compare DIR DIR...: the counters of several runs side by side
 *
 * CSV on stdout: counter, one column per run and VM, and the ratio of each to the first run's VM of that name. Only
 * counters that differ are shown, all with --all. Digests that differ are said on stderr and make the status 1.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mm/counters.h"
#include "vmm/cmd.h"
#include "vmm/text.h"
#include "vmm/view.h"

static const struct view_row *same_row(const struct view *v, const struct view_row *row)
{
	return view_find(v, row->label, row->vm);
}

static gboolean differs(const GPtrArray *views, const struct view_row *row, const char *counter)
{
	double first = view_counter(row, counter, NULL);

	for (guint i = 1; i < views->len; i++) {
		const struct view_row *r = same_row(g_ptr_array_index(views, i), row);

		if (r && view_counter(r, counter, NULL) != first)
			return TRUE;
	}
	return FALSE;
}

static void print_field(const char *text, const char *after)
{
	g_autoptr(GString) out = g_string_new(NULL);

	text_csv(out, text);
	printf("%s%s", out->str, after);
}

static void print_row(const GPtrArray *views, const struct view_row *row, const struct counter_info *c)
{
	double first = view_counter(row, c->name, NULL);

	print_field(row->vm, ",");
	print_field(row->label, ",");
	printf("%s,%.0f", c->name, first);
	for (guint i = 1; i < views->len; i++) {
		const struct view_row *r = same_row(g_ptr_array_index(views, i), row);
		double x = r ? view_counter(r, c->name, NULL) : NAN;

		if (isnan(x))
			printf(",,");
		else if (first > 0)
			printf(",%.0f,%.4f", x, x / first);
		else
			printf(",%.0f,", x);
	}
	putchar('\n');
}

static int compare(const GPtrArray *views, gboolean all)
{
	const struct view *first = g_ptr_array_index(views, 0);
	int status = CMD_OK;

	printf("vm,combination,counter");
	for (guint i = 0; i < views->len; i++) {
		const struct view *v = g_ptr_array_index(views, i);

		putchar(',');
		print_field(v->dir, i ? ",ratio" : "");
	}
	putchar('\n');
	for (guint n = 0; n < first->rows->len; n++) {
		const struct view_row *row = g_ptr_array_index(first->rows, n);

		for (const struct counter_info *c = counter_table; c->name; c++)
			if (all || differs(views, row, c->name))
				print_row(views, row, c);
		for (guint i = 1; i < views->len; i++) {
			const struct view *v = g_ptr_array_index(views, i);
			const struct view_row *r = same_row(v, row);

			if (r && row->digest && r->digest && strcmp(row->digest, r->digest))
				status = cmd_error(CMD_FAILED, "digests of VM \"%s\" differ: %s in %s, %s in %s",
						   row->vm, row->digest, first->dir, r->digest, v->dir);
		}
	}
	return status;
}

int cmd_compare(int argc, char **argv)
{
	g_auto(GStrv) dirs = NULL;
	gboolean all = FALSE;
	const GOptionEntry entries[] = {
		{ "all", 'a', 0, G_OPTION_ARG_NONE, &all, "also counters that are equal everywhere", NULL },
		{ G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &dirs, NULL, "DIR DIR..." },
		{ NULL, 0, 0, 0, NULL, NULL, NULL },
	};
	g_autoptr(GOptionContext) ctx = g_option_context_new("- the counters of several runs side by side, as CSV");
	g_autoptr(GPtrArray) views = g_ptr_array_new_with_free_func((GDestroyNotify)view_free);
	GError *error = NULL;

	g_option_context_add_main_entries(ctx, entries, NULL);
	if (!g_option_context_parse(ctx, &argc, &argv, &error))
		return cmd_gerror(error);
	if (!dirs || !dirs[1])
		return cmd_error(CMD_USAGE, "compare takes two or more run directories; see overbook compare --help");
	for (unsigned i = 0; dirs[i]; i++) {
		struct view *v = view_load(dirs[i], &error);

		if (!v)
			return cmd_gerror(error);
		g_ptr_array_add(views, v);
	}
	return compare(views, all);
}
