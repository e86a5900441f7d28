/* SPDX-License-Identifier: MIT */
/*
 * calibrate.h - what things cost on this host, measured
 *
 * Private to `overbook calibrate`. Every measurement is repeated in rounds; its median counts, and the quartiles say
 * how far it can be trusted. cmd_calibrate.c makes a cost profile of them, which the simulator reads.
 */
#ifndef OVERBOOK_VMM_CALIBRATE_H
#define OVERBOOK_VMM_CALIBRATE_H

#include <glib.h>
#include <stdint.h>

enum measure {
	/* calibrate_memory.c */
	M_CYCLE, /* ns of one dependent addition */
	M_LOAD_L1, M_LOAD_L2, M_LOAD_L3, M_LOAD_MEMORY, /* ns of a dependent load */
	M_TLB_L2, /* ns more for a load whose page is in the second TLB only */
	M_WALK,	  /* ns more for a load whose page is in none */
	M_READ, M_WRITE, /* ns for 4 KiB from and to memory, in order */
	/* calibrate_pages.c */
	M_ZERO, M_COPY, M_FILL, /* of a page in the caches */
	M_HASH,			/* XXH3 of a page in memory */
	M_COMPARE,		/* two equal pages in memory */
	M_LZ4_OUT, M_LZ4_IN, M_ZSTD_OUT, M_ZSTD_IN, /* a page of text */
	M_TOUCH,   /* first touch of a page of this process */
	M_DROP,	   /* giving it back, 64 at a time */
	/* vmm/kvm/calibrate.c */
	M_EXIT,		/* a guest's process to this one and back */
	M_EXIT_KERNEL,	/* the same from ring 0 */
	M_EXCEPTION,	/* an exception that the guest's ring 0 returns from */
	M_KVM_FAULT,	/* KVM's fault on a page that the host has */
	M_VIOLATION,	/* a second-stage violation served through userfaultfd */
	M_COW,		/* a write that takes a page of its own */
	M_SHADOW_FAULT, /* a guest page fault that the VMM handles in whole */
	M_TIER_LZ4, M_TIER_ZSTD, /* swap-in from the compressed tier */
	M_FILE,			 /* swap-in from a file, a random page */
	M_FILE_NEXT,		 /* the same in order */
	MEASURES,
};

struct measured {
	double ns, low, high; /* median and quartiles */
	unsigned rounds;      /* 0: not measured, and why */
	char *why;
};

struct calibration {
	struct measured m[MEASURES];
	unsigned rounds;
	gboolean quick; /* less work in each round */
	uint32_t l1d_kib, l1d_ways, l2d_kib, l2d_ways, l3d_kib, l3d_ways; /* this core's share; 0: not known */
	uint32_t l3_all_kib;
};

#define CALIBRATE_ROUNDS 25 /* at most */

const char *measure_name(enum measure m);
/* Keep median and quartiles of @n values, which are sorted. */
void measured_set(struct calibration *c, enum measure m, double *values, unsigned n);
void measured_lacks(struct calibration *c, enum measure m, const char *why);
static inline gboolean measured_has(const struct calibration *c, enum measure m)
{
	return c->m[m].rounds > 0;
}
/* ns: of the clock on the wall; of this thread, without what others took from it meanwhile. */
double calibrate_now(void);
double calibrate_cpu(void);

void calibrate_memory(struct calibration *c);
void calibrate_pages(struct calibration *c);
void calibrate_kvm(struct calibration *c);   /* vmm/kvm/calibrate.c */
void calibrate_store(struct calibration *c); /* vmm/kvm/calibrate_store.c */
void calibrate_clear(struct calibration *c);

#endif
