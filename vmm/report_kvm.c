/* SPDX-License-Identifier: MIT */
/*
 * report_kvm.c - what KVM itself counted, beside what overbook counts: from each run's kvm-stats.csv
 *
 * One row for each guest of each combination (its first repetition), one column for each statistic that is not 0
 * everywhere, of those that tell something about memory and exits. The file has all of them.
 */
#include <string.h>

#include "vmm/report_impl.h"
#include "vmm/text.h"

#define MOST_ROWS 40u

static const struct {
	const char *of, *name, *prose;
} shown[] = {
	{ "vcpu", "exits", "Times the processor left the guest, whoever dealt with it." },
	{ "vcpu", "pf_taken", "Page faults that KVM took for the guest's memory." },
	{ "vcpu", "pf_fixed", "Those that it repaired by making an entry in its own tables." },
	{ "vcpu", "pf_spurious", "Those that found the entry made." },
	{ "vcpu", "pf_guest", "Those that were the guest's own." },
	{ "vcpu", "pf_emulate", "Those for which it emulated the instruction." },
	{ "vcpu", "insn_emulation", "Instructions that it emulated, ring 0 of a software KVM included." },
	{ "vcpu", "io_exits", "Port accesses: hypercalls." },
	{ "vcpu", "mmio_exits", "Accesses to devices' registers that came to the VMM." },
	{ "vcpu", "signal_exits", "Signals that interrupted the guest's thread." },
	{ "vcpu", "halt_exits", "Halts that KVM dealt with. The lab's guests idle by a hypercall." },
	{ "vcpu", "irq_injections", "Interrupts that it gave to the guest." },
	{ "vcpu", "irq_exits", "Interrupts of the host during the guest." },
	{ "vcpu", "invlpg", "Addresses that the guest invalidated, where KVM sees it." },
	{ "vm", "mmu_shadow_zapped", "Tables of its own that it threw away." },
	{ "vm", "mmu_pte_write", "Writes of the guest to tables that KVM shadows." },
	{ "vm", "mmu_cache_miss", "Tables of its own that it had to make." },
	{ "vm", "remote_tlb_flush", "Flushes of all of the VM's translations." },
	{ "vm", "pages_4k", "4 KiB pages in its tables at the end." },
	{ "vm", "pages_2m", "2 MiB pages in its tables at the end." },
};

struct row {
	char *label, *vm;
	char *value[G_N_ELEMENTS(shown)];
};

static void row_free(gpointer p)
{
	struct row *r = p;

	g_free(r->label);
	g_free(r->vm);
	for (unsigned i = 0; i < G_N_ELEMENTS(shown); i++)
		g_free(r->value[i]);
	g_free(r);
}

static void take_line(struct row *r, const char *line)
{
	g_auto(GStrv) f = g_strsplit(line, ",", -1);

	if (g_strv_length(f) != 5 || strcmp(f[0], r->vm))
		return;
	for (unsigned i = 0; i < G_N_ELEMENTS(shown); i++) {
		if (strcmp(f[1], shown[i].of) || strcmp(f[2], shown[i].name))
			continue;
		g_free(r->value[i]);
		r->value[i] = g_strdup(f[4]);
	}
}

static GPtrArray *read_rows(const struct view *v)
{
	GPtrArray *rows = g_ptr_array_new_with_free_func(row_free);

	for (guint i = 0; i < v->rows->len && rows->len < MOST_ROWS; i++) {
		const struct view_row *of = g_ptr_array_index(v->rows, i);
		g_autofree char *path = g_build_filename(v->dir, of->run, "kvm-stats.csv", NULL), *text = NULL;
		g_auto(GStrv) lines = NULL;
		struct row *r;

		if (!g_file_get_contents(path, &text, NULL, NULL))
			continue;
		r = g_new0(struct row, 1);
		r->label = g_strdup(of->label);
		r->vm = g_strdup(of->vm);
		lines = g_strsplit(text, "\n", -1);
		for (guint l = 1; lines[0] && lines[l]; l++)
			take_line(r, lines[l]);
		g_ptr_array_add(rows, r);
	}
	return rows;
}

static gboolean occurs(const GPtrArray *rows, unsigned stat)
{
	for (guint i = 0; i < rows->len; i++) {
		const struct row *r = g_ptr_array_index(rows, i);

		if (r->value[stat] && strcmp(r->value[stat], "0"))
			return TRUE;
	}
	return FALSE;
}

static void put_rows(const GPtrArray *rows, GString *out)
{
	for (guint i = 0; i < rows->len; i++) {
		const struct row *r = g_ptr_array_index(rows, i);

		g_string_append(out, "<tr><th scope=\"row\">");
		text_html(out, r->label);
		g_string_append(out, *r->label ? ": " : "");
		text_html(out, r->vm);
		g_string_append(out, "</th>");
		for (unsigned s = 0; s < G_N_ELEMENTS(shown); s++)
			if (occurs(rows, s))
				g_string_append_printf(out, "<td>%s</td>", r->value[s] ? r->value[s] : "-");
		g_string_append(out, "</tr>\n");
	}
}

void report_kvm(const struct view *v, GString *out)
{
	g_autoptr(GPtrArray) rows = read_rows(v);

	if (!rows->len)
		return;
	g_string_append(out, "<h2>What KVM itself counted</h2>\n<div class=\"box\"><table>\n<tr><th>guest</th>");
	for (unsigned s = 0; s < G_N_ELEMENTS(shown); s++)
		if (occurs(rows, s))
			g_string_append_printf(out, "<th>%s</th>", shown[s].name);
	g_string_append(out, "</tr>\n");
	put_rows(rows, out);
	g_string_append(out, "</table></div>\n<details><summary>What these are</summary>\n<dl>\n");
	for (unsigned s = 0; s < G_N_ELEMENTS(shown); s++)
		if (occurs(rows, s))
			g_string_append_printf(out, "<dt>%s</dt><dd>%s</dd>\n", shown[s].name, shown[s].prose);
	g_string_append(out, "</dl></details>\n<p><small>The kernel's own statistics (KVM_GET_STATS_FD), from the "
			     "first quantum of the run to its end, warm-up included; all of them are in "
			     "<code>kvm-stats.csv</code>.</small></p>\n");
}
