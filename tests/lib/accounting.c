/* SPDX-License-Identifier: MIT */
/* accounting.c - the world, and its end: see accounting.h */
#include "tests/lib/accounting.h"

#include <stdlib.h>
#include <string.h>

#include "ept/ept.h"
#include "shadow/shadow.h"
#include "tests/lib/accounting_impl.h"
#include "tests/lib/must.h"

void world_queue(struct world *w, unsigned vm, gfn_t gfn)
{
	const struct page_id id = { vm, gfn };

	if (gfn < ARENA || gfn >= PAGES || w->vm[vm].queued[gfn])
		return;
	w->vm[vm].queued[gfn] = true;
	g_array_append_val(w->changed, id);
}

/* May a page go from one state to another for this reason? */
static bool possible(const struct guest *v, gfn_t gfn, enum page_state from, enum page_state to, unsigned cause)
{
	switch (cause) {
	case EVENT_FAULT:
	case EVENT_DMA:
	case EVENT_PREFETCH:
		return from == PAGE_ABSENT && to == PAGE_RESIDENT;
	case EVENT_COLLAPSE:
		return from != PAGE_BALLOONED && from != PAGE_SWAPPED && to == PAGE_RESIDENT;
	case EVENT_REPORT:
		return to == PAGE_ABSENT && v->w->may_release;
	case EVENT_RELEASE:
	case EVENT_HINT:
		return to == PAGE_ABSENT && (v->w->may_release || v->hinted[gfn]);
	case EVENT_YOUNG:
		return from == to && (from == PAGE_RESIDENT || from == PAGE_SHARED || from == PAGE_ZERO);
	case EVENT_BALLOON:
		return to == PAGE_BALLOONED && v->w->may_release;
	case EVENT_DEFLATE:
		return from == PAGE_BALLOONED && to == PAGE_ABSENT;
	case EVENT_MERGE:
		return from == PAGE_RESIDENT && (to == PAGE_SHARED || to == PAGE_ZERO);
	case EVENT_UNSHARE:
		return (from == PAGE_SHARED || from == PAGE_ZERO) && to == PAGE_RESIDENT;
	case EVENT_EVICT:
		return (from == PAGE_RESIDENT || from == PAGE_SHARED) && (to == PAGE_SWAPPED || to == PAGE_COMPRESSED);
	case EVENT_SWAP_IN:
		return (from == PAGE_SWAPPED || from == PAGE_COMPRESSED) && to == PAGE_RESIDENT;
	case EVENT_READAHEAD:
		return from == PAGE_SWAPPED && to == PAGE_RESIDENT;
	default:
		return false;
	}
}

static void on_change(struct gmem_watch *watch, gfn_t gfn, enum page_state from, enum page_state to, unsigned cause)
{
	struct guest *v = (struct guest *)watch;

	must(gfn >= ARENA && gfn < PAGES);
	must_eq(from, v->state[gfn]);
	if (!possible(v, gfn, from, to, cause))
		ck_abort_msg("%s to %s because of %s", page_state_name(from), page_state_name(to),
			     event_cause_name(cause));
	v->tally.cause[cause]++;
	v->w->merges += cause == EVENT_MERGE;
	if (from != to) {
		v->tally.state[from]--;
		v->tally.state[to]++;
		v->tally.to[to]++;
		v->state[gfn] = (uint8_t)to;
	}
	if (to == PAGE_ABSENT || to == PAGE_BALLOONED)
		v->value[gfn] = 0;
	if (to == PAGE_ABSENT || to == PAGE_BALLOONED || cause == EVENT_YOUNG || cause == EVENT_EVICT)
		v->hinted[gfn] = false;
	world_queue(v->w, v->id, gfn);
}

static void ignore_interrupt(void *ctx)
{
	(void)ctx;
}

static void start_balloon(struct guest *v)
{
	const struct balloon_config cfg = {
		.must_tell = v->id % 2, .deflate_on_oom = true, .max_pages = 600,
	};

	v->balloon = balloon_new(v->g, &cfg);
	balloon_virtio(v->balloon)->interrupt = ignore_interrupt;
	virtio_mmio_init(&v->mmio, balloon_virtio(v->balloon));
	driver_start(v);
}

static void start_guest(struct world *w, unsigned id)
{
	struct guest *v = &w->vm[id];
	const struct gmem_config gc = {
		.vm = id, .npages = PAGES, .arena_pages = ARENA, .level = id == KIND_NPT ? 2 : 1,
	};
	struct paging_config pc = {
		.nvcpus = 1, .guest_levels = 4, .host_levels = 4, .maxphyaddr = 46, .max_leaf = 3, .flood_limit = 3,
		.npt = id == KIND_NPT, .ad_bits = id == KIND_NPT, .unsync = true, .regs = v->regs_of,
	};

	v->w = w;
	v->id = id;
	v->kind = (enum kind)id;
	v->regs_of[0] = &v->regs;
	v->g = pc.gmem = w->gmems[id] = gmem_new(&gc, w->fr, &w->fm->base, &v->c, NULL);
	must(v->g != NULL && swap_attach(w->swap, v->g) == 0);
	if (v->kind == KIND_FLAT) {
		v->flat = fake_paging_new(v->g);
		v->p = &v->flat->base;
	} else {
		guest_make_tables(v);
		v->p = (v->kind == KIND_SHADOW ? shadow_paging_ops : ept_paging_ops).create(&pc);
		must(v->p != NULL);
		gmem_set_paging(v->g, v->p);
	}
	v->tally.state[PAGE_ABSENT] = PAGES - ARENA;
	for (gfn_t gfn = 0; gfn < PAGES; gfn++)
		v->hfn[gfn] = HFN_NONE;
	v->watch.changed = on_change;
	gmem_set_watch(v->g, &v->watch);
	start_balloon(v);
}

static const struct swap_policy *victims(const char *name)
{
	for (unsigned i = 0; swap_policies[i]; i++)
		if (!strcmp(swap_policies[i]->name, name))
			return swap_policies[i];
	ck_abort_msg("no policy %s", name);
	return NULL;
}

struct world *world_new(const struct accounting_config *cfg, uint64_t seed)
{
	struct world *w = g_new0(struct world, 1);
	const struct swap_config sc = {
		.nslots = cfg->nslots, .policy = victims(cfg->victims), .seed = seed, .low = 100, .high = 160,
		.cluster = cfg->cluster, .pool_frames = cfg->pool_frames,
	};
	struct dedup_config dc = {
		.frames = NULL, .nvms = VMS, .host = &w->host, .split_huge = true, .use_zero_pages = true,
		.merge_across_nodes = true, .max_page_sharing = 50, .seed = seed,
	};

	w->cfg = cfg;
	rng_seed(&w->rng, seed);
	w->fr = frames_new(HOST, 1);
	w->fm = fake_machine_new(HOST);
	w->swap = swap_new(&sc, w->fr, &w->fm->base);
	w->changed = g_array_new(FALSE, FALSE, sizeof(struct page_id));
	w->hog = g_array_new(FALSE, FALSE, sizeof(hfn_t));
	for (unsigned i = 0; i < VMS; i++)
		start_guest(w, i);
	dc.machine = &w->fm->base;
	dc.frames = w->fr;
	dc.vms = w->gmems;
	for (unsigned i = 0; dedup_algorithms[i]; i++)
		if (!strcmp(dedup_algorithms[i]->name, cfg->dedup))
			w->dedup = dedup_algorithms[i]->create(&dc);
	must(w->dedup != NULL);
	return w;
}

/* Everybody gives everything back: nothing may be left. */
void world_free(struct world *w)
{
	w->may_release = true;
	for (guint i = 0; i < w->hog->len; i++)
		frames_release(w->fr, g_array_index(w->hog, hfn_t, i), 1);
	g_array_set_size(w->hog, 0);
	for (unsigned i = 0; i < VMS; i++) {
		gmem_dirty_log_stop(w->vm[i].g);
		gmem_deflate_all(w->vm[i].g);
		for (gfn_t gfn = ARENA; gfn < PAGES; gfn++)
			must(gmem_release(w->vm[i].g, gfn) == 0);
	}
	check_changed(w);
	check_everything(w);
	must_eq(g_hash_table_size(w->fm->slots), 0);
	must_eq(swap_pool_used(w->swap), 0);
	must(w->fr->zero == HFN_NONE);
	w->dedup->ops->destroy(w->dedup);
	for (unsigned i = 0; i < VMS; i++) {
		balloon_free(w->vm[i].balloon);
		if (w->vm[i].flat)
			fake_paging_free(w->vm[i].flat);
		else
			w->vm[i].p->ops->destroy(w->vm[i].p);
		gmem_free(w->vm[i].g);
	}
	swap_free(w->swap);
	must_eq(frames_used(w->fr), 0);
	fake_machine_free(w->fm);
	frames_free(w->fr);
	g_array_unref(w->changed);
	g_array_unref(w->hog);
	g_free(w);
}

/* That all of it did happen. */
static void check_happened(const struct world *w, uint64_t nevents)
{
	uint64_t some = nevents / 20000, many = nevents / 500;
	struct counters sum = { 0 };

	for (unsigned i = 0; i < VMS; i++)
		counters_add(&sum, &w->vm[i].c);
	must(w->refused > some && w->merges > many);
	must(sum.swap_outs > many && sum.swap_ins > many && sum.swap_clean_drops > some && sum.swap_failures > 0);
	must(sum.faults_write_shared > many && sum.balloon_inflated > many && sum.balloon_deflated > many);
	must(sum.balloon_errors > some && sum.faults_young > many && sum.pages_moved > some);
	must(nevents < 100000 || (sum.host_splits > 0 && sum.swap_outs_limit > 0));
	must(sum.balloon_hints_dropped > some);
	must(sum.dirty_log_writes > some && (!w->cfg->pool_frames || sum.swap_compressed > many));
	must(!w->cfg->cluster || sum.swap_readahead_hits > some);
}

void accounting_run(const struct accounting_config *cfg, uint64_t seed, uint64_t nevents)
{
	struct world *w = world_new(cfg, seed);

	for (w->event = 1; w->event <= nevents; w->event++) {
		any_event(w);
		check_changed(w);
		if (w->event % 1000 == 0)
			check_everything(w);
	}
	if (nevents >= 20000)
		check_happened(w, nevents);
	world_free(w);
}

uint64_t accounting_events(uint64_t n)
{
	const char *soak = getenv("SOAK");

	return soak ? strtoull(soak, NULL, 10) / 4 : n;
}
