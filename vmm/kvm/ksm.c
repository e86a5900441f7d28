/* SPDX-License-Identifier: MIT */
/*
 * ksm.c - the kernel merges guests' memory
 *
 * Problem: to compare our own scanners with the kernel's, on the same guests, the kernel's has to run as the experiment
 * says and must be found as it was afterwards. It belongs to the host: its counts are those of all processes, and its
 * work is done by a thread of its own.
 *
 * Idea: the run claims KSM, so that no two runs measure each other; each knob is set through the journal of host
 * settings; memory is offered with MADV_MERGEABLE. Counts of events are differences to the beginning. What ksmd costs
 * is its CPU time from /proc/PID/schedstat. What each VM has merged stands in /proc/self/smaps, mapping by mapping.
 *
 * Knobs that refuse to change while pages are merged (merge_across_nodes, max_page_sharing) are set first, and only if
 * they differ.
 *
 * Invariants (tests/guest/test_ksm.c): every knob is what it was after kvm_ksm_free(), after kill -9 and repair, and
 * after a kvm_ksm_new() that failed half way.
 *
 * Source: Linux Documentation/admin-guide/mm/ksm.rst; Documentation/filesystems/proc.rst (smaps, ksm_stat, schedstat).
 */
#include "vmm/kvm/ksm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "mm/err.h"
#include "vmm/host_settings.h"
#include "vmm/vmm.h"

#define KSM	  "/sys/kernel/mm/ksm/"
#define NS_PER_MS 1000000u

struct range {
	uintptr_t at, end;
	unsigned vm;
};

struct kvm_ksm {
	struct host_settings *settings;
	GArray *ranges;
	char *schedstat; /* of ksmd; NULL: not found */
	uint64_t scanned, skipped, full_scans, cpu_ns; /* when it began */
};

static uint64_t read_number(const char *path)
{
	g_autofree char *text = NULL;

	return g_file_get_contents(path, &text, NULL, NULL) ? g_ascii_strtoull(text, NULL, 10) : 0;
}

static uint64_t knob(const char *name)
{
	g_autofree char *path = g_strconcat(KSM, name, NULL);

	return read_number(path);
}

/* A knob becomes @value. Kernels that lack it are asked for nothing if it is @absent there anyway. */
static gboolean set(struct kvm_ksm *k, const char *name, const char *value, const char *absent, GError **error)
{
	g_autofree char *path = g_strconcat(KSM, name, NULL);
	g_autofree char *now = host_settings_read(host_place(), path);

	if (now && !strcmp(now, value))
		return TRUE;
	if (!now && absent && !strcmp(absent, value))
		return TRUE;
	if (!now) {
		g_set_error(error, VMM_ERROR, VMM_LACKS,
			    "this kernel's KSM has no %s (a newer one has); without it the value is %s", name,
			    absent ? absent : "its own");
		return FALSE;
	}
	return host_settings_set(k->settings, path, value, error);
}

static gboolean set_number(struct kvm_ksm *k, const char *name, uint64_t value, const char *absent, GError **error)
{
	g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, value);

	return set(k, name, text, absent, error);
}

static gboolean set_advisor(struct kvm_ksm *k, const struct conf_dedup *c, GError **error)
{
	if (!c->advisor)
		return set(k, "advisor_mode", "none", "none", error);
	return set_number(k, "advisor_target_scan_time", MAX(c->advisor_target_ns / 1000000000, 1), NULL, error) &&
	       set_number(k, "advisor_max_cpu", c->advisor_max_cpu_ppm / 10000, NULL, error) &&
	       set_number(k, "advisor_min_pages_to_scan", c->advisor_min_pages, NULL, error) &&
	       set_number(k, "advisor_max_pages_to_scan", c->advisor_max_pages, NULL, error) &&
	       set(k, "advisor_mode", "scan-time", NULL, error);
}

static gboolean set_all(struct kvm_ksm *k, const struct conf_dedup *c, GError **error)
{
	return set_number(k, "merge_across_nodes", c->merge_across_nodes, "1", error) &&
	       set_number(k, "max_page_sharing", c->max_page_sharing, NULL, error) &&
	       set_number(k, "stable_node_chains_prune_millisecs", c->prune_ns / NS_PER_MS, NULL, error) &&
	       set_number(k, "use_zero_pages", c->use_zero_pages, "0", error) &&
	       set_number(k, "smart_scan", c->smart_scan, "0", error) && set_advisor(k, c, error) &&
	       (c->advisor || set_number(k, "pages_to_scan", c->pages_to_scan, NULL, error)) &&
	       set_number(k, "sleep_millisecs", MAX(c->sleep_ns / NS_PER_MS, 1), NULL, error) &&
	       set(k, "run", "1", NULL, error);
}

static char *find_ksmd(void)
{
	GDir *dir = g_dir_open("/proc", 0, NULL);
	char *found = NULL;
	const char *name;

	while (dir && !found && (name = g_dir_read_name(dir))) {
		g_autofree char *path = g_strdup_printf("/proc/%s/comm", name), *comm = NULL;

		if (g_ascii_isdigit(*name) && g_file_get_contents(path, &comm, NULL, NULL) && !strcmp(comm, "ksmd\n"))
			found = g_strdup_printf("/proc/%s/schedstat", name);
	}
	if (dir)
		g_dir_close(dir);
	return found;
}

struct kvm_ksm *kvm_ksm_new(const struct conf_dedup *c, GError **error)
{
	struct kvm_ksm *k = g_new0(struct kvm_ksm, 1);

	k->settings = host_settings_new(NULL, NULL);
	k->ranges = g_array_new(FALSE, FALSE, sizeof(struct range));
	if (!g_file_test(KSM "run", G_FILE_TEST_EXISTS)) {
		g_set_error(error, VMM_ERROR, VMM_LACKS,
			    "this kernel has no KSM (CONFIG_KSM); overbook's own scanners are ksm and hash");
	} else if (host_settings_claim(k->settings, "KSM", error) && set_all(k, c, error)) {
		k->schedstat = find_ksmd();
		k->scanned = knob("pages_scanned");
		k->skipped = knob("pages_skipped");
		k->full_scans = knob("full_scans");
		k->cpu_ns = k->schedstat ? read_number(k->schedstat) : 0;
		return k;
	}
	g_prefix_error(error, "[dedup] algorithm = kernel: ");
	kvm_ksm_free(k);
	return NULL;
}

int kvm_ksm_add(struct kvm_ksm *k, unsigned vm, void *at, size_t nbytes)
{
	struct range r = { .at = (uintptr_t)at, .end = (uintptr_t)at + nbytes, .vm = vm };

	if (madvise(at, nbytes, MADV_MERGEABLE))
		return ERR(-errno);
	g_array_append_val(k->ranges, r);
	return 0;
}

/* "NAME NUMBER" in a text of such lines; @absent if there is none. */
static int64_t line_of(const char *text, const char *name, int64_t absent)
{
	const char *at = text ? strstr(text, name) : NULL;

	return at ? g_ascii_strtoll(at + strlen(name), NULL, 10) : absent;
}

uint64_t kvm_ksm_read(const struct kvm_ksm *k, struct counters *c)
{
	g_autofree char *own = NULL;

	g_file_get_contents("/proc/self/ksm_stat", &own, NULL, NULL);
	c->pages_shared = knob("pages_shared");
	c->pages_sharing = knob("pages_sharing");
	c->pages_unshared = knob("pages_unshared");
	c->pages_volatile = knob("pages_volatile");
	c->stable_node_chains = knob("stable_node_chains");
	c->stable_node_dups = knob("stable_node_dups");
	c->pages_to_scan = knob("pages_to_scan");
	c->pages_scanned = knob("pages_scanned") - k->scanned;
	c->pages_skipped = knob("pages_skipped") - k->skipped;
	c->full_scans = knob("full_scans") - k->full_scans;
	c->ksm_zero_pages = (uint64_t)line_of(own, "ksm_zero_pages ", (int64_t)knob("ksm_zero_pages"));
	c->ksm_rmap_items =
		(uint64_t)line_of(own, "ksm_rmap_items ", (int64_t)(c->pages_sharing + c->pages_unshared));
	c->general_profit = (uint64_t)MAX(line_of(own, "ksm_process_profit ", 0), 0);
	c->ns_dedup = k->schedstat ? read_number(k->schedstat) - k->cpu_ns : 0;
	return (uint64_t)line_of(own, "ksm_merging_pages ", (int64_t)(c->pages_shared + c->pages_sharing));
}

static const struct range *range_at(const struct kvm_ksm *k, uint64_t address)
{
	for (guint i = 0; i < k->ranges->len; i++) {
		const struct range *r = &g_array_index(k->ranges, struct range, i);

		if (address >= r->at && address < r->end)
			return r;
	}
	return NULL;
}

bool kvm_ksm_read_vms(const struct kvm_ksm *k, uint64_t *pages, unsigned nvms)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	const struct range *r = NULL;
	char line[512];
	bool told = false;

	memset(pages, 0, nvms * sizeof(*pages));
	while (f && fgets(line, sizeof(line), f)) {
		uint64_t from, to, kib;

		if (sscanf(line, "%" G_GINT64_MODIFIER "x-%" G_GINT64_MODIFIER "x ", &from, &to) == 2) {
			r = range_at(k, from);
		} else if (r && sscanf(line, "KSM: %" G_GINT64_MODIFIER "u kB", &kib) == 1) {
			told = true;
			if (r->vm < nvms)
				pages[r->vm] += kib / 4;
		}
	}
	if (f)
		fclose(f);
	return told;
}

void kvm_ksm_stop(struct kvm_ksm *k, bool unmerge)
{
	GError *error = NULL;

	for (guint i = 0; unmerge && i < k->ranges->len; i++) {
		const struct range *r = &g_array_index(k->ranges, struct range, i);

		if (madvise((void *)r->at, r->end - r->at, MADV_UNMERGEABLE))
			g_warning("KSM does not take its merging back: %s", g_strerror(errno));
	}
	if (!set(k, "run", "0", NULL, &error)) {
		g_warning("KSM does not stop: %s", error->message);
		g_error_free(error);
	}
}

void kvm_ksm_free(struct kvm_ksm *k)
{
	if (!k)
		return;
	/* First the pages: some knobs cannot go back while any are merged. */
	for (guint i = 0; i < k->ranges->len; i++) {
		const struct range *r = &g_array_index(k->ranges, struct range, i);

		madvise((void *)r->at, r->end - r->at, MADV_UNMERGEABLE);
	}
	host_settings_free(k->settings);
	g_array_unref(k->ranges);
	g_free(k->schedstat);
	g_free(k);
}
