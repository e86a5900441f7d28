/* SPDX-License-Identifier: MIT */
/* accounting_impl.h - the world of accounting.h, shared by its files */
#ifndef OVERBOOK_TESTS_ACCOUNTING_IMPL_H
#define OVERBOOK_TESTS_ACCOUNTING_IMPL_H

#include <glib.h>

#include "balloon/device.h"
#include "dedup/dedup.h"
#include "mm/events.h"
#include "mm/paging.h"
#include "mm/swap.h"
#include "tests/lib/accounting.h"
#include "tests/lib/fake_machine.h"
#include "tests/lib/fake_paging.h"
#include "vmm/virtio_mmio.h"
#include "workloads/rng.h"

enum { VMS = 4, PAGES = 2048, ARENA = 512, HOST = 3328 };
enum kind { KIND_EPT, KIND_NPT, KIND_SHADOW, KIND_FLAT };

/* What happened to one guest's pages, as its watch saw it. */
struct tally {
	uint64_t cause[EVENT_CAUSES];
	uint64_t state[PAGE_STATES]; /* pages in it now, outside the arena */
	uint64_t to[PAGE_STATES];    /* changes to it */
};

struct guest {
	struct gmem_watch watch; /* first */
	struct world *w;
	unsigned id;
	enum kind kind;
	struct gmem *g;
	struct paging *p;
	struct fake_paging *flat;
	struct guest_regs regs;
	const struct guest_regs *regs_of[1];
	struct counters c;
	struct balloon_device *balloon;
	struct virtio_mmio mmio;
	/* The model. */
	uint64_t value[PAGES]; /* what it contains: page_fill() */
	uint8_t state[PAGES];
	bool hinted[PAGES], queued[PAGES];
	hfn_t hfn[PAGES];
	struct tally tally;
};

struct page_id {
	unsigned vm;
	gfn_t gfn;
};

struct world {
	const struct accounting_config *cfg;
	struct frames *fr;
	struct fake_machine *fm;
	struct swap *swap;
	struct dedup *dedup;
	struct gmem *gmems[VMS];
	struct counters host;
	struct rng rng;
	struct guest vm[VMS];
	uint32_t users[HOST]; /* pages that map the frame */
	GArray *changed;      /* of struct page_id */
	GArray *hog;	      /* of hfn_t: frames that somebody else took */
	uint64_t hog_until, event;
	bool may_release; /* pages may lose their contents: a guest or the host asked for it */
	uint64_t refused, merges;
};

/* A page's contents from a number, which is its word 5: all other words are zero, or none is. */
#define DENSE (1ull << 63)
static inline uint64_t page_word(uint64_t value, unsigned i)
{
	return i == 5 ? value : value & DENSE ? rng_mix(value + i) | 1 : 0;
}

static inline void page_fill(uint64_t *page, uint64_t value)
{
	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		page[i] = page_word(value, i);
}

/* accounting.c */
struct world *world_new(const struct accounting_config *cfg, uint64_t seed);
void world_free(struct world *w);

/* The page may have changed: look at it when the event is over. */
void world_queue(struct world *w, unsigned vm, gfn_t gfn);

/* accounting_cpu.c: what the guest's tables say of a page. False: nothing. */
bool guest_mapped(struct guest *v, gfn_t gfn, hfn_t *hfn, bool *writable);
/* One access of its processor, until it ends; 0 and the frame reached, or -errno. */
int guest_access(struct guest *v, gfn_t gfn, bool write, hfn_t *hfn);
void guest_make_tables(struct guest *v);

/* accounting_check.c */
void check_changed(struct world *w);
void check_everything(struct world *w);

/* accounting_events.c */
void any_event(struct world *w);
/* The balloon's driver begins. */
void driver_start(struct guest *v);

#endif
