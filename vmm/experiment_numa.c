/* SPDX-License-Identifier: MIT */
/* experiment_numa.c - nodes: distances of the host, placement of VMs and their CPUs */
#include "mm/frame.h"
#include "mm/gmem.h"
#include "vmm/conf.h"
#include "vmm/vmm.h"

/* ACPI 6.5, 5.2.17: numbers below 10 are reserved, 255 says that there is no way. */
#define FARTHEST 254

static bool parse_row(const char *text, guint n, guint row, uint8_t *out, char **why)
{
	g_auto(GStrv) words = g_strsplit_set(text, " \t", -1);
	guint to = 0;

	for (char **w = words; *w; w++) {
		guint64 d;

		if (!**w)
			continue;
		if (to == n || !g_ascii_string_to_unsigned(*w, 10, NODE_LOCAL, FARTHEST, &d, NULL)) {
			*why = to == n ? g_strdup_printf("row %u has more than %u numbers", row, n) :
					 g_strdup_printf("\"%s\" is no distance: allowed are 10 to %u", *w, FARTHEST);
			return false;
		}
		if ((d == NODE_LOCAL) != (to == row)) {
			*why = g_strdup_printf("from node %u to node %u it is %s", row, to,
					       to == row ? "10" : "more than 10, which is a node to itself");
			return false;
		}
		out[to++] = (uint8_t)d;
	}
	if (to != n)
		*why = g_strdup_printf("row %u has %u numbers, one for each of %u nodes is expected", row, to, n);
	return to == n;
}

uint8_t *experiment_distances(const struct conf_host *h, char **why)
{
	guint n = (guint)h->nodes;
	g_autofree uint8_t *out = g_malloc(n * n);
	g_auto(GStrv) rows = g_strsplit_set(h->distances, ",;", -1);

	for (guint i = 0; i < n * n; i++)
		out[i] = i / n == i % n ? NODE_LOCAL : NODE_REMOTE;
	if (!*h->distances)
		return g_steal_pointer(&out);
	if (g_strv_length(rows) != n) {
		*why = g_strdup_printf("%u rows, one for each of %u nodes is expected", g_strv_length(rows), n);
		return NULL;
	}
	for (guint row = 0; row < n; row++)
		if (!parse_row(rows[row], n, row, out + row * n, why))
			return NULL;
	return g_steal_pointer(&out);
}

/* Is there a CPU on one of @nodes? CPUs are spread over nodes in order of their numbers. */
static bool has_cpu(const struct conf_host *h, uint64_t nodes)
{
	for (uint64_t cpu = 0; cpu < h->cpus; cpu++)
		if (nodes >> cpu_node(h, cpu) & 1)
			return true;
	return false;
}

bool experiment_check_nodes(const struct experiment *e, const struct conf_vm *vm, const char **key, char **why)
{
	const struct conf_host *h = &e->host;
	uint64_t there = h->nodes == 64 ? UINT64_MAX : (1ull << h->nodes) - 1;

	*key = vm->node >= h->nodes ? "node" : vm->nodes & ~there ? "nodes" : "cpu-node";
	if (vm->node >= h->nodes || vm->nodes & ~there || vm->cpu_nodes & ~there)
		*why = g_strdup_printf("the host has nodes 0 to %u", (guint)h->nodes - 1);
	else if (vm->cpu_nodes && !has_cpu(h, vm->cpu_nodes))
		*why = g_strdup_printf("of the host's %u CPUs none is on such a node", (guint)h->cpus);
	else if (vm->cpu_nodes && e->experiment.machine == 1)
		*why = g_strdup("only machine = sim has CPUs to choose from; all is allowed");
	if (*why)
		return false;
	*key = "placement";
	if (vm->placement == PLACE_PREFERRED)
		return true;
	if (e->experiment.machine == 1)
		*why = g_strdup("only machine = sim has nodes; preferred is allowed");
	else if (vm->paging == MODE_NATIVE)
		*why = g_strdup("native memory lies in one piece; preferred is allowed");
	return !*why;
}
