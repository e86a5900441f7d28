/* SPDX-License-Identifier: MIT */
/*
 * figure_walks.c - data of walk-references: table entries per walk, for each pair of a guest's and a host's tables
 *
 * Two maps, cold and warm walks. Down: levels and page size of the guest. Across: what its walks go through besides:
 * nothing (native), tables that the VMM keeps in their place (shadow, pv), or second-stage tables of so many levels and
 * pages of such a size (ept). All of it is read from each run's own experiment.ini, so it does not matter which keys
 * were varied.
 */
#include <math.h>
#include <string.h>

#include "vmm/figure.h"
#include "vmm/text.h"
#include "vmm/vmm.h"

/* One heading, with what it is ordered by. */
struct place {
	guint order;
	char *title;
};

struct cell {
	guint panel, row, column; /* orders of its headings */
	double sum;
	guint n;
};

struct map {
	GArray *panels, *rows, *columns; /* of struct place */
	GArray *cells;			 /* of struct cell */
};

static void place_clear(gpointer p)
{
	g_free(((struct place *)p)->title);
}

static GArray *places_new(void)
{
	GArray *a = g_array_new(FALSE, FALSE, sizeof(struct place));

	g_array_set_clear_func(a, place_clear);
	return a;
}

/* Takes @title. Sorted, each order once. */
static void place_add(GArray *a, guint order, char *title)
{
	guint i = 0;

	while (i < a->len && g_array_index(a, struct place, i).order < order)
		i++;
	if (i < a->len && g_array_index(a, struct place, i).order == order) {
		g_free(title);
		return;
	}
	struct place p = { order, title };

	g_array_insert_val(a, i, p);
}

static guint place_index(const GArray *a, guint order)
{
	guint i = 0;

	while (g_array_index(a, struct place, i).order != order)
		i++;
	return i;
}

static void cell_add(GArray *cells, guint panel, guint row, guint column, double value)
{
	for (guint i = 0; i < cells->len; i++) {
		struct cell *c = &g_array_index(cells, struct cell, i);

		if (c->panel == panel && c->row == row && c->column == column) {
			c->sum += value;
			c->n++;
			return;
		}
	}
	struct cell c = { panel, row, column, value, 1 };

	g_array_append_val(cells, c);
}

static char *get(GKeyFile *kf, const char *group, const char *key)
{
	char *value = g_key_file_get_string(kf, group, key, NULL);

	return value ? value : g_strdup("");
}

/* The section of a VM: [vm web] for web, and for web-3 of `count = 4`. */
static char *vm_group(GKeyFile *kf, const char *vm)
{
	char *group = g_strdup_printf("vm %s", vm);
	char *dash = strrchr(group, '-');

	if (!g_key_file_has_group(kf, group) && dash)
		*dash = '\0';
	return group;
}

/* What the VM's first phase maps its memory with. */
static char *guest_page_size(GKeyFile *kf, const char *group)
{
	g_autofree char *workload = get(kf, group, "workload");
	g_autofree char *wgroup = g_strdup_printf("workload %s", workload);
	g_autofree char *phases = get(kf, wgroup, "phases");
	g_auto(GStrv) names = g_strsplit_set(phases, ",;", 2);
	g_autofree char *pgroup = g_strdup_printf("phase %s", *names ? g_strstrip(*names) : "");

	return get(kf, pgroup, "page-size");
}

static guint page_level(const char *size)
{
	return *size == '1' ? 3 : *size == '2' ? 2 : 1;
}

static guint number(const char *text)
{
	return (guint)g_ascii_strtoull(text, NULL, 10);
}

static guint mode_order(const char *mode)
{
	static const char *const order[] = { "native", "pv", "shadow", "ept" };
	guint i = 0;

	while (i < G_N_ELEMENTS(order) && strcmp(mode, order[i]))
		i++;
	return i;
}

/* The heading of a column, and what orders it. */
static guint column_of(GKeyFile *kf, const char *group, char **title)
{
	g_autofree char *mode = get(kf, group, "paging"), *levels = get(kf, group, "host-levels");
	g_autofree char *size = get(kf, "host", "page-size");
	guint order = mode_order(mode) * 100;

	if (!strcmp(mode, "native")) {
		*title = g_strdup(mode);
		return order;
	}
	if (strcmp(mode, "ept")) {
		*title = g_strdup_printf("%s, %s", mode, size);
		return order + page_level(size);
	}
	*title = g_strdup_printf("ept, %s levels, %s", levels, size);
	return order + number(levels) * 10 + page_level(size);
}

/* Cold first, other profiles in the order in which they come. */
static guint panel_of(struct map *m, gboolean cold, const char *profile)
{
	g_autofree char *title = g_strdup_printf("%s walks (profile %s)", cold ? "cold" : "warm", profile);

	for (guint i = 0; i < m->panels->len; i++)
		if (!strcmp(g_array_index(m->panels, struct place, i).title, title))
			return g_array_index(m->panels, struct place, i).order;

	guint order = cold ? 0 : m->panels->len + 1;

	place_add(m->panels, order, g_steal_pointer(&title));
	return order;
}

static void add_row(struct map *m, const struct view *v, const struct view_row *row)
{
	g_autofree char *path = g_build_filename(v->dir, row->run, "experiment.ini", NULL);
	g_autoptr(GKeyFile) kf = g_key_file_new();
	double value = view_metric(row, "walk_refs/walks", NULL);
	char *title;

	if (isnan(value) || !g_key_file_load_from_file(kf, path, G_KEY_FILE_NONE, NULL))
		return;

	g_autofree char *group = vm_group(kf, row->vm), *levels = get(kf, group, "levels");
	g_autofree char *size = guest_page_size(kf, group), *profile = get(kf, "host", "profile");
	gboolean cold = !strcmp(profile, "bare");
	guint guest = number(levels) * 10 + page_level(size), column = column_of(kf, group, &title);
	guint panel = panel_of(m, cold, profile);

	place_add(m->columns, column, title);
	place_add(m->rows, guest, g_strdup_printf("%s levels, %s", levels, size));
	cell_add(m->cells, panel, guest, column, value);
}

static void titles(const GArray *a, const char *name, GString *vars)
{
	g_string_append_printf(vars, "array %s[%u] = [", name, a->len);
	for (guint i = 0; i < a->len; i++) {
		g_string_append(vars, i ? ", " : "");
		text_gnuplot_quoted(vars, g_array_index(a, struct place, i).title);
	}
	g_string_append(vars, "]\n");
}

gboolean figure_walk_references(const struct view *v, GString *csv, GString *vars)
{
	struct map m = { places_new(), places_new(), places_new(), g_array_new(FALSE, FALSE, sizeof(struct cell)) };
	gboolean any;

	for (guint i = 0; i < v->rows->len; i++)
		add_row(&m, v, g_ptr_array_index(v->rows, i));
	any = m.cells->len > 0;
	g_string_append(csv, "panel,row,column,references\n");
	for (guint i = 0; i < m.cells->len; i++) {
		const struct cell *c = &g_array_index(m.cells, struct cell, i);

		g_string_append_printf(csv, "%u,%u,%u,%.6g\n", place_index(m.panels, c->panel) + 1,
				       place_index(m.rows, c->row) + 1, place_index(m.columns, c->column) + 1,
				       c->sum / c->n);
	}
	if (any) {
		titles(m.panels, "walk_panels", vars);
		titles(m.rows, "walk_rows", vars);
		titles(m.columns, "walk_columns", vars);
	}
	g_array_unref(m.panels);
	g_array_unref(m.rows);
	g_array_unref(m.columns);
	g_array_unref(m.cells);
	return any;
}
