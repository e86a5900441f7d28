/* SPDX-License-Identifier: MIT */
/* cmd_page.c - overbook page DIR VM GFN: what happened to one page of one guest, from a run's event log */
#include <errno.h>
#include <inttypes.h>
#include <json-glib/json-glib.h>
#include <stdio.h>
#include <string.h>

#include "mm/events.h"
#include "mm/gmem.h"
#include "vmm/cmd.h"
#include "vmm/vmm.h"

struct query {
	unsigned vm;
	gfn_t gfn;
	uint64_t nevents;
};

static int print_event(const struct event *e, void *ctx)
{
	static const char *const sizes[] = { "-", "4K", "2M", "1G" };
	struct query *q = ctx;
	char hfn[24] = "-";

	if (e->vm != q->vm || e->gfn != q->gfn)
		return 0;
	if (!q->nevents++)
		printf("%20s  %-10s -> %-10s  %-9s %12s  %s\n", "time (s)", "from", "to", "cause", "hfn", "backing");
	if (e->hfn != HFN_NONE)
		snprintf(hfn, sizeof(hfn), "%#" PRIx64, e->hfn);
	printf("%10" PRIu64 ".%09" PRIu64 "  %-10s -> %-10s  %-9s %12s  %s\n", e->time_ns / 1000000000,
	       e->time_ns % 1000000000, page_state_name(e->from), page_state_name(e->to), event_cause_name(e->cause),
	       hfn, sizes[e->to != PAGE_ABSENT && e->level < G_N_ELEMENTS(sizes) ? e->level : 0]);
	return 0;
}

/* The array "vms" of a manifest, or NULL. */
static JsonArray *manifest_vms(JsonParser *p)
{
	JsonNode *root = json_parser_get_root(p), *node = NULL;

	if (root && JSON_NODE_HOLDS_OBJECT(root))
		node = json_object_get_member(json_node_get_object(root), "vms");
	return node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
}

static const char *vm_name(JsonArray *vms, guint i)
{
	JsonNode *node = json_array_get_element(vms, i);

	return JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING ?
		       json_node_get_string(node) :
		       "?";
}

static gboolean find_vm(const char *dir, const char *name, unsigned *vm, GError **error)
{
	g_autofree char *path = g_build_filename(dir, "manifest.json", NULL);
	g_autoptr(JsonParser) p = json_parser_new();
	g_autoptr(GString) known = g_string_new(NULL);
	JsonArray *vms;

	if (!json_parser_load_from_file(p, path, error)) {
		g_prefix_error(error, "%s is no run directory: ", dir);
		return FALSE;
	}
	vms = manifest_vms(p);
	if (!vms) {
		g_set_error(error, VMM_ERROR, VMM_USAGE, "%s names no VMs; give the directory of one single run", path);
		return FALSE;
	}
	for (*vm = 0; *vm < json_array_get_length(vms); ++*vm) {
		if (!strcmp(vm_name(vms, *vm), name))
			return TRUE;
		g_string_append_printf(known, "%s%s", *vm ? ", " : "", vm_name(vms, *vm));
	}
	g_set_error(error, VMM_ERROR, VMM_USAGE, "no VM \"%s\" in %s; there are: %s", name, dir, known->str);
	return FALSE;
}

/* Decimal, or hexadecimal after 0x; never a sign, never octal. */
static gboolean parse_gfn(const char *text, gfn_t *gfn)
{
	gboolean hex = g_str_has_prefix(text, "0x") || g_str_has_prefix(text, "0X");
	const char *digits = hex ? text + 2 : text;
	char *end;

	errno = 0;
	*gfn = g_ascii_strtoull(digits, &end, hex ? 16 : 10);
	return g_ascii_isxdigit(*digits) && !*end && !errno;
}

int cmd_page(int argc, char **argv)
{
	g_autoptr(GOptionContext) ctx = g_option_context_new("DIR VM GFN - the history of one page of one guest");
	g_autofree char *log = NULL;
	struct query q = { 0 };
	GError *error = NULL;
	int err;

	g_option_context_set_description(ctx, "GFN is decimal, or hexadecimal after 0x. "
					      "The run must have been made with `events = yes` in [experiment].");
	if (!g_option_context_parse(ctx, &argc, &argv, &error))
		return cmd_gerror(error);
	if (argc != 4)
		return cmd_error(CMD_USAGE, "page takes DIR VM GFN; see overbook page --help");
	if (!parse_gfn(argv[3], &q.gfn))
		return cmd_error(CMD_USAGE, "\"%s\" is no guest frame number: decimal, or 0x and hexadecimal digits",
				 argv[3]);
	if (!find_vm(argv[1], argv[2], &q.vm, &error))
		return cmd_gerror(error);
	log = g_build_filename(argv[1], "events.zst", NULL);
	err = events_read(log, print_event, &q);
	if (err == -ENOENT)
		return cmd_error(CMD_USAGE, "%s has no event log; run the experiment again with `events = yes` in "
					    "[experiment], or --set experiment.events=yes", argv[1]);
	if (err)
		return cmd_error(CMD_USAGE, "%s: %s", log,
				 err == -EINVAL ? "not an event log, or cut short" : strerror(-err));
	if (!q.nevents)
		fprintf(stderr,
			"overbook: nothing happened to page %#" PRIx64 " of %s (never touched, or in the arena)\n",
			q.gfn, argv[2]);
	return CMD_OK;
}
