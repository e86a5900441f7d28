/* SPDX-License-Identifier: MIT */
/*
 * workload.h - programs: what a guest's processes do
 *
 * An experiment's [workload] and [phase] sections become one *script*: a flat, position-free block of
 * integers, the same bytes for a simulated and for a real guest. A *program* is the running state of one
 * process over a script; program_next() emits its operations. Each phase is produced by one *generator*,
 * found by number in the table workload_generators[].
 *
 * Freestanding and integer-only. A program's state is plain memory without pointers into itself: fork copies it.
 */
#ifndef OVERBOOK_WORKLOADS_WORKLOAD_H
#define OVERBOOK_WORKLOADS_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "workloads/op.h"
#include "workloads/rng.h"

#define SCRIPT_PHASES 32
#define SCRIPT_TABLE  2048 /* words of a script for tables a generator precomputes */
#define PHASE_PARAMS  8

/* Where a process's anonymous memory begins; regions are laid out from here, 1 GiB aligned. */
#define PROGRAM_BASE 0x10000000000ull

/* Phase flags */
#define PHASE_MAPS  1u /* the program maps the region before the phase, unless it did already; it stays mapped */
#define PHASE_CHILD 2u /* never reached by falling through: runs only in a forked child, which exits at its end */
#define PHASE_FILLS 4u /* on entering the phase, the program fills every page of the region with `content` */
#define PHASE_WAITS 8u /* on leaving it, the program waits for its children */
#define PHASE_FILE  16u /* the region is a part of the disk's file range, shared, not anonymous memory */

/*
 * phase.content is PATTERN_BASE(family, n). With n = 0 each page gets a content of its own (no other process or VM
 * has it); with n > 0 page i gets content i mod n of a set that all processes of all VMs share. Near-duplicates come in
 * groups of 32 pages around one text page, differing from it in 1 to 32 words.
 */

struct phase {
	uint32_t generator;   /* index into workload_generators[] */
	uint32_t flags;	      /* PHASE_* */
	uint64_t region;      /* first page of the region, in 4 KiB pages from PROGRAM_BASE; names the region */
	uint64_t npages;      /* pages of the region, at least 1 */
	uint64_t noperations; /* items of the generator to emit, accesses and calls alike; 0: until duration_ns, or for
				 ever */
	uint64_t duration_ns; /* 0: no limit in time */
	uint64_t think_ns;    /* sleep after every think_every of the generator's items; 0: none */
	uint64_t think_every;
	uint32_t write_ppm;  /* share of writes, parts per million */
	uint32_t leaf_level; /* 1, 2 or 3: what the guest maps the region with */
	uint64_t content;    /* family and number of contents (above), 0: left zero */
	uint64_t stamps;     /* 0: every write has a stamp of its own; n: stamps drawn from n values (duplicates) */
	uint64_t param[PHASE_PARAMS]; /* the generator's own; workload_ops.params names them */
	uint32_t table;		      /* first word of its table in script.table, and its words */
	uint32_t table_words;
	uint32_t fork_phase; /* what the children run that this phase forks */
	uint32_t zero;
	uint64_t offset; /* PHASE_FILE: page of the file range at which the region begins */
};

struct script {
	uint64_t seed;	     /* of this VM's workload; each process mixes in its pid */
	uint32_t nprocesses; /* started at boot, all running from phase 0 */
	uint32_t nphases;
	struct phase phase[SCRIPT_PHASES];
	uint64_t table[SCRIPT_TABLE];
};

/* The running state of a process's program. Plain memory: fork copies it, a quantum may end anywhere. */
struct program {
	struct rng rng;
	uint64_t tag;	  /* of seed and pid; mixed into stamps, so that no two processes store equal words by chance */
	uint64_t draws;	  /* a second random stream, for what is a write: independent of how batches are cut */
	uint32_t phase;	  /* the one running */
	uint32_t step;	  /* within the phase: enum program_step */
	uint32_t mapped;  /* regions mapped so far, by the lowest phase that names them */
	uint32_t pass;	  /* of a replayed trace */
	uint64_t done;	  /* of the generator's items in this phase; while filling: pages */
	uint64_t nwrites; /* in all; the stamp of write n is program_stamp(tag, n) */
	uint64_t since_think;
	uint64_t deadline_ns; /* of this phase, 0: not begun */
	uint64_t state[24];   /* the generator's own */
};

/* How an experiment file spells a generator's parameter, its unit and its range. Used by the host only. */
struct workload_param {
	const char *name;    /* NULL ends the table */
	const char *summary; /* one sentence, for `overbook list workloads` */
	enum { PARAM_COUNT, PARAM_SIZE, PARAM_TIME, PARAM_PPM, PARAM_MILLI } unit;
	uint64_t def, min, max;
};

/* Properties of a generator */
#define WORKLOAD_MAPS  1u /* maps its region itself, bit by bit: nobody else may use that region */
#define WORKLOAD_FILLS 2u /* takes phase.content as its own parameter: the program fills nothing beforehand */
#define WORKLOAD_FORKS 4u /* forks children that run phase.fork_phase */
#define WORKLOAD_CALLS 8u /* its items are not only accesses */

struct workload_ops {
	const char *name;
	const char *summary;
	const struct workload_param *params; /* at most PHASE_PARAMS, NULL: none */
	uint32_t flags;			     /* WORKLOAD_* */
	/*
	 * Host side, once per phase while the script is built: fill table[] (of *nwords words) with what next()
	 * needs precomputed and set *nwords to what that takes; if it is more than there was, nothing was filled.
	 * NULL: none.
	 */
	void (*prepare)(const struct phase *ph, uint64_t *table, uint32_t *nwords);
	/* Called when a program enters the phase; g is program.state, zeroed. */
	void (*init)(const struct phase *ph, const uint64_t *table, uint64_t *g, struct rng *rng);
	/*
	 * Emit at most max operations to out, at least one; set nothing beyond. Accesses are emitted as
	 * OP_READ with arg 0 at addresses of the region: the program turns a share of them into writes (not those with
	 * arg OP_READ_ONLY). System calls are emitted as they are. The stream may not depend on how max cuts it.
	 */
	uint32_t (*next)(const struct phase *ph, const uint64_t *table, uint64_t *g, struct rng *rng, struct op *out,
			 uint32_t max);
};

extern const struct workload_ops *const workload_generators[]; /* NULL-ended */

/* The page of the region's first byte. */
static inline uint64_t phase_va(const struct phase *ph)
{
	return PROGRAM_BASE + ph->region * 4096;
}

/* The stamp that a process with program.tag @tag stores with its write number @n: an injection of n. */
static inline uint64_t program_stamp(uint64_t tag, uint64_t n)
{
	return tag + n * 0x9e3779b97f4a7c15ull;
}

/* What a program needs of the world while it runs. */
struct program_world {
	uint64_t now_ns; /* for phases bounded by duration */
	/*
	 * For phases that replay a trace (generator PHASE_TRACE_GENERATOR, param[0] its number, param[1] how often):
	 * emit at most max operations from *cursor (state[] of the program, zero at first) on; first the OP_MMAPs
	 * that make the trace's address ranges valid, except when cursor[TRACE_PASS] says that this is not the first
	 * pass. 0 at its end. The program gives OP_WRITEs their stamps. NULL where there are no traces:
	 * program_next() returns 0 in such a phase, and a world that has them must go on.
	 */
	uint32_t (*trace)(void *ctx, uint32_t trace, uint64_t *cursor, struct op *out, uint32_t max);
	void *ctx;
};

#define PHASE_TRACE_GENERATOR UINT32_MAX
#define TRACE_PASS	      23 /* word of the cursor */

/* Begin at the script's phase @phase as process @pid. */
void program_start(struct program *p, const struct script *s, uint64_t pid, uint32_t phase);

/* A forked child: @child is a copy of its parent's program; give it a pid, a random stream and a phase. */
void program_fork(struct program *child, const struct script *s, uint64_t pid, uint32_t phase);

/* Emit at most @max operations (at least one; OP_EXIT last of all). Accesses and system calls count alike. */
/* Is it in the middle of a phase that replays a trace? For any @p, made by a hostile guest, too. */
bool program_replays(const struct program *p, const struct script *s);
uint32_t program_next(struct program *p, const struct script *s, const struct program_world *w, struct op *out,
		      uint32_t max);

#endif
