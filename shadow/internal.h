/* SPDX-License-Identifier: MIT */
/*
 * internal.h - shadow paging's own structures; nobody outside shadow/ includes it
 *
 * shadow.c opens with the whole picture. Who writes what: entry.c alone writes shadow entries, page.c alone makes and
 * frees shadow pages, so that rmap, parents and flushes follow from one place each.
 */
#ifndef OVERBOOK_SHADOW_INTERNAL_H
#define OVERBOOK_SHADOW_INTERNAL_H

#include <glib.h>

#include "mm/err.h"
#include "mm/paging.h"
#include "mm/pt.h"
#include "mm/rmap.h"

#define SHADOW_ACCESS	 (ACC_RWX | ACC_U)
#define SHADOW_LEVELS	 5
#define SHADOW_FLUSH_MAX 32 /* single-page flushes before all of the VM's is cheaper */

/*
 * What a shadow page is good for besides its gfn. Two uses of one guest table share a shadow page only if the
 * words are equal. All zero bits beyond the fields: words are compared.
 */
union shadow_role {
	struct {
		uint32_t level : 3;  /* of its entries */
		uint32_t direct : 1; /* no guest table behind it: a piece of a large guest page, or paging is off */
		uint32_t access : 4; /* ACC_* that the levels above grant (direct: the large page, too) */
		uint32_t wp : 1;     /* CR0.WP */
		uint32_t nx : 1;     /* EFER.NXE: is bit 63 a right or reserved? */
		uint32_t smep : 1;   /* SMEP without WP: see shadow_leaf_access() */
		uint32_t smap : 1;   /* SMAP without WP */
	};
	uint32_t word;
};

struct shadow_page {
	struct shadow_page *next; /* of the same gfn */
	GList lru, unsync_link;	  /* data: this */
	uint64_t *guest;	  /* [512] the guest entry that each present entry was made from; NULL if direct */
	hfn_t hfn;		  /* the frame of its 512 entries */
	gfn_t gfn;		  /* of the guest table; direct: of the first page it maps */
	gva_t gva;		  /* first address it translates, if !gva_many */
	uint64_t stamp;		  /* last operation that used it: not evicted within it */
	union shadow_role role;
	uint32_t id;	 /* index into pages, and gfn field of its frame's owner */
	uint32_t used;	 /* present entries */
	uint32_t nroots; /* vCPUs that walk it as their root */
	uint32_t writes; /* traced writes since it was last used */
	uint64_t seen;	 /* search that passed here, see unsync.c */
	bool reaches;	 /* and what it found */
	bool unsync;	 /* on the unsync list: the guest writes its table freely */
	bool gva_many;	 /* reached at several addresses */
	bool dead;	 /* zapped; the struct lives until the operation ends */
};

/* Flushes that an operation has to ask for before it ends. */
struct shadow_flush {
	bool all;
	unsigned n;
	gva_t gva[SHADOW_FLUSH_MAX];
};

struct shadow {
	struct paging base;
	struct paging_config cfg;
	struct gmem *gmem;
	struct frames *frames;
	struct machine *machine;
	struct counters *c;
	uint8_t *arena;
	uint64_t arena_pages, npages; /* of guest memory */
	unsigned vm, node;

	GPtrArray *pages;	   /* by id; NULL where free */
	GArray *free_ids;	   /* uint32_t */
	GHashTable *by_gfn;	   /* gfn -> first struct shadow_page of its chain */
	GQueue lru;		   /* head: least recently used */
	GQueue unsync;		   /* oldest first */
	uint64_t live;		   /* shadow pages in the cache */
	struct rmap *rmap[4];	   /* [level], by gfn >> 9 * (level - 1): the leaves that map a block of guest memory */
	struct rmap *parents;	   /* by id: the entries that point to a shadow page */
	uint32_t *tables[4];	   /* [2], [3]: guest tables with a shadow page, by block: no large leaf there */
	struct shadow_page **root; /* [vcpu] */
	gfn_t **spaces;		   /* [vcpu][pcid] root last loaded, plus 1; NULL while PCIDs are off */
	hfn_t empty;		   /* an all-zero root for a CR3 beyond memory */

	unsigned depth;	 /* of operations: gmem calls back */
	uint64_t stamp;	 /* number of the outermost one */
	uint64_t search; /* number of the last search for a root */
	struct shadow_flush flush;
	GArray *limbo;	   /* hfn_t: frames of zapped pages, kept until the flush */
	GPtrArray *graves; /* structs of zapped pages, kept until the operation ends */
};

/* shadow.c */
void shadow_begin(struct shadow *s);
void shadow_end(struct shadow *s); /* flushes */
void shadow_flush_now(struct shadow *s);
int shadow_root_get(struct shadow *s, unsigned vcpu, struct shadow_page **out); /* *out NULL: CR3 beyond memory */

static inline void shadow_charge(struct shadow *s, enum charge_kind kind, uint64_t n)
{
	s->machine->ops->charge(s->machine, s->vm, kind, n);
}

/* page.c */
struct shadow_page *shadow_page_first(const struct shadow *s, gfn_t gfn);
/* Find or make; -ENOMEM. */
int shadow_page_get(struct shadow *s, gfn_t gfn, union shadow_role role, struct shadow_page **out);
void shadow_page_reach(struct shadow *s, struct shadow_page *sp, const struct shadow_page *parent, gva_t gva);
void shadow_page_use(struct shadow *s, struct shadow_page *sp);
void shadow_page_zap(struct shadow *s, struct shadow_page *sp);
/* All that were made from the guest's table at @gfn. */
void shadow_page_zap_table(struct shadow *s, gfn_t gfn);
void shadow_page_set_root(struct shadow *s, unsigned vcpu, struct shadow_page *sp);
void shadow_page_free(gpointer sp); /* the struct alone */

/* entry.c */
static inline uint64_t *shadow_entries(const struct shadow *s, const struct shadow_page *sp)
{
	return pt_table(s->frames, sp->hfn << PAGE_SHIFT);
}

static inline hpa_t shadow_entry_hpa(const struct shadow_page *sp, unsigned idx)
{
	return (sp->hfn << PAGE_SHIFT) + idx * sizeof(uint64_t);
}

/* The entry of every root that belongs to the machine: nobody here looks at it, or counts it. */
static inline bool shadow_entry_reserved(const struct shadow *s, const struct shadow_page *sp, unsigned idx)
{
	return s->cfg.reserved_entry && idx == s->cfg.reserved_slot && sp->role.level == s->cfg.guest_levels;
}

static inline void shadow_reserve_slot(struct shadow *s, hfn_t root)
{
	if (s->cfg.reserved_entry)
		((uint64_t *)pt_table(s->frames, root << PAGE_SHIFT))[s->cfg.reserved_slot] = s->cfg.reserved_entry;
}

struct shadow_page *shadow_page_at(const struct shadow *s, hpa_t hpa);
struct shadow_page *shadow_entry_child(const struct shadow *s, const struct shadow_page *sp, uint64_t entry);
gfn_t shadow_leaf_gfn(const struct shadow_page *sp, unsigned idx);
uint64_t shadow_entry_set(struct shadow *s, struct shadow_page *sp, unsigned idx, uint64_t value, uint64_t guest);
void shadow_entry_update(struct shadow *s, struct shadow_page *sp, unsigned idx, uint64_t guest);

/* walk.c */
struct guest_walk {
	unsigned level;	 /* of the leaf */
	gpa_t gpa;	 /* of the access */
	unsigned access; /* ACC_* of the whole path */
	struct {
		gfn_t table;	 /* the guest table of this level */
		uint64_t entry;	 /* as read, accessed and dirty as set */
		unsigned access; /* ACC_* granted above it */
	} at[SHADOW_LEVELS + 1];
};

/* 0; 1: the guest's own fault, *error is what to inject; -errno: its tables lie where no memory is. */
int shadow_walk(struct shadow *s, const struct guest_regs *regs, gva_t gva, unsigned access, struct guest_walk *w,
		uint32_t *error);
uint64_t shadow_walk_reserved(uint64_t entry, unsigned level, unsigned maxphyaddr, bool nx);
int shadow_guest_entry(struct shadow *s, gfn_t gfn, unsigned idx, uint64_t *entry);

/* fill.c */
enum paging_verdict shadow_fault(struct paging *p, struct paging_fault *f, int *err);

/* trace.c */
bool shadow_traced(const struct shadow *s, gfn_t gfn);
bool shadow_block_has_tables(const struct shadow *s, gfn_t gfn, unsigned level);
void shadow_trace_add(struct shadow *s, gfn_t gfn);
void shadow_trace_remove(struct shadow *s, gfn_t gfn);
void shadow_write_protect(struct shadow *s, gfn_t gfn);
int shadow_guest_write(struct paging *p, unsigned vcpu, gpa_t gpa, const void *data, unsigned len);

/* unsync.c */
bool shadow_unsync_gfn(struct shadow *s, gfn_t gfn);
void shadow_unsync_forget(struct shadow *s, struct shadow_page *sp);
void shadow_resync_page(struct shadow *s, struct shadow_page *sp);
void shadow_resync_gva(struct shadow *s, gva_t gva);
void shadow_resync_space(struct shadow *s, gfn_t root);
void shadow_resync_below(struct shadow *s, const struct shadow_page *sp);
void shadow_resync_all(struct shadow *s);

/* backing.c */
void shadow_unmap(struct paging *p, gfn_t gfn, uint64_t npages);
void shadow_wrprotect(struct paging *p, gfn_t gfn, uint64_t npages);
bool shadow_test_clear_young(struct paging *p, gfn_t gfn);
void shadow_collapse(struct paging *p, gfn_t gfn, unsigned level);
/* Remove the leaves of @level over @gfn; true if one had its accessed bit set. */
bool shadow_zap_leaves(struct shadow *s, gfn_t gfn, unsigned level);

/* verify.c */
int shadow_verify(struct paging *p);

#endif
