/* SPDX-License-Identifier: MIT */
/*
 * program.c - a process's program: walks the phases of a script
 *
 * Problem: the operations of a process must be the same bytes in every world and however its reader cuts them
 * into batches, survive fork by plain copying, and cost about as much as the generator alone.
 *
 * Idea: a small state machine. Each phase is entered (its region is mapped unless an earlier phase did), filled with
 *contents, begun (the generator initialises its state), run and left:
 *
 *	ENTER -> FILL -> BEGIN -> RUN -> LEAVE -> ENTER of the next, or EXIT
 *
 * The generator emits loads; apply_writes() turns a share of them into stores, drawing from a random stream of its own
 * (one multiplication an operation), so that the generator's stream does not depend on where a batch ends.
 *
 * Invariants (tests/unit/test_generators.c): the same operations for any sequence of max (resumable), unless a phase is
 * bounded by time; every access lies in a mapped region (stays_in_region); stamps of one process never repeat
 * (writes_and_stamps); a forked child leaves nothing of its parent's random stream (forked_child).
 */
#include "workloads/pattern.h"
#include "workloads/workload.h"

enum program_step { STEP_ENTER, STEP_FILL, STEP_BEGIN, STEP_RUN, STEP_LEAVE, STEP_EXIT };

/* A full-period 64-bit congruential step (Knuth's multiplier); only its high half is used. */
static inline uint64_t draw_next(uint64_t x)
{
	return x * 6364136223846793005ull + 1442695040888963407ull;
}

static void program_begin_process(struct program *p, const struct script *s, uint64_t pid, uint32_t phase)
{
	p->tag = rng_mix(s->seed ^ rng_mix(pid));
	rng_seed(&p->rng, p->tag);
	p->draws = rng_mix(p->tag);
	p->phase = phase;
	p->step = phase < s->nphases ? STEP_ENTER : STEP_EXIT;
	p->nwrites = 0;
}

void program_start(struct program *p, const struct script *s, uint64_t pid, uint32_t phase)
{
	p->mapped = 0;
	program_begin_process(p, s, pid, phase);
}

void program_fork(struct program *child, const struct script *s, uint64_t pid, uint32_t phase)
{
	program_begin_process(child, s, pid, phase);
}

/* One operation that maps the phase's region, as large as any phase that shares it needs it; 0 if it is mapped. */
static uint32_t map_region(struct program *p, const struct script *s, const struct phase *ph, struct op *out)
{
	uint32_t first = p->phase;
	uint64_t npages = 0;

	for (uint32_t i = s->nphases; i-- > 0;) {
		if (s->phase[i].region != ph->region || !(s->phase[i].flags & PHASE_MAPS))
			continue;
		first = i;
		npages = s->phase[i].npages > npages ? s->phase[i].npages : npages;
	}
	if (!(ph->flags & PHASE_MAPS) || (p->mapped & (1u << first)))
		return 0;
	p->mapped |= 1u << first;
	if (ph->flags & PHASE_FILE) {
		out->va_kind = OP_MAKE(OP_MMAP_FILE, phase_va(ph));
		out->arg = OP_MAP_FILE(npages, PROT_R | PROT_W, ph->offset);
		return 1;
	}
	out->va_kind = OP_MAKE(OP_MMAP, phase_va(ph));
	out->arg = OP_MAP(npages, PROT_R | PROT_W, ph->leaf_level);
	return 1;
}

/* The base of page @i of a region filled with @content: see struct phase. */
static uint64_t content_base(const struct program *p, const struct phase *ph, uint64_t i)
{
	unsigned family = PATTERN_FAMILY(ph->content);
	uint64_t n = PATTERN_NUMBER(ph->content), key = rng_mix(p->tag ^ ph->region);

	if (n)
		i %= n;
	if (family == PATTERN_NEAR) {
		uint64_t group = n ? i / 32 : rng_mix(key + i / 32);

		return PATTERN_BASE(family, group << 8 | (i % 32 + 1));
	}
	return PATTERN_BASE(family, n ? i + 1 : rng_mix(key + i));
}

static uint32_t fill_region(struct program *p, const struct phase *ph, struct op *out, uint32_t max)
{
	uint64_t left = ph->npages - p->done;
	uint32_t n = left < max ? (uint32_t)left : max;

	for (uint32_t i = 0; i < n; i++) {
		out[i].va_kind = OP_MAKE(OP_FILL, phase_va(ph) + (p->done + i) * 4096);
		out[i].arg = content_base(p, ph, p->done + i);
	}
	p->done += n;
	if (p->done == ph->npages)
		p->step = STEP_BEGIN;
	return n;
}

/* The word that write number nwrites stores: its own, or one of few that every process stores. */
static uint64_t next_stamp(struct program *p, const struct phase *ph)
{
	uint64_t n = p->nwrites++;

	if (!ph->stamps)
		return program_stamp(p->tag, n);
	return rng_mix((uint64_t)(((unsigned __int128)rng_mix(p->tag + n) * ph->stamps) >> 64) + 1);
}

/* Turn a share of the loads into stores. Without branches where stamps are unique: which is a store is unpredictable.
 */
static void apply_writes(struct program *p, const struct phase *ph, struct op *out, uint32_t n)
{
	uint64_t threshold = ((uint64_t)ph->write_ppm << 32) / 1000000, draws = p->draws;
	uint64_t stamp = program_stamp(p->tag, p->nwrites), step = program_stamp(0, 1), nwrites = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t load = (out[i].va_kind < OP_MAKE(OP_WRITE, 0)) & (out[i].arg == 0);
		uint64_t write = ((draws >> 32) < threshold) & load, mask = 0 - write;

		draws = draw_next(draws);
		out[i].va_kind |= OP_MAKE(OP_WRITE, 0) & mask;
		out[i].arg |= stamp & mask;
		stamp += step & mask;
		nwrites += write;
	}
	p->draws = draws;
	p->nwrites += ph->stamps ? 0 : nwrites;
	if (!ph->stamps)
		return;
	for (uint32_t i = 0; i < n; i++)
		if (OP_KIND(&out[i]) == OP_WRITE)
			out[i].arg = next_stamp(p, ph);
}

static uint32_t trace_next(struct program *p, const struct phase *ph, const struct program_world *w, struct op *out,
			   uint32_t max)
{
	uint32_t n = w->trace(w->ctx, (uint32_t)ph->param[0], p->state, out, max);

	if (!n) {
		for (unsigned i = 0; i < 24; i++) {
			p->state[i] = 0;
			__asm__ volatile(""); /* as in begin() */
		}
		p->state[TRACE_PASS] = ++p->pass;
		if (p->pass >= ph->param[1])
			p->step = STEP_LEAVE;
		return 0;
	}
	for (uint32_t i = 0; i < n; i++)
		if (OP_KIND(&out[i]) == OP_WRITE)
			out[i].arg = next_stamp(p, ph);
	return n;
}

static void begin(struct program *p, const struct script *s, const struct phase *ph, const struct program_world *w)
{
	p->done = p->since_think = 0;
	p->pass = 0;
	p->deadline_ns = ph->duration_ns ? w->now_ns + ph->duration_ns : 0;
	for (unsigned i = 0; i < 24; i++) {
		p->state[i] = 0;
		__asm__ volatile(""); /* keeps compilers from calling memset, which a freestanding guest lacks */
	}
	if (ph->generator != PHASE_TRACE_GENERATOR && workload_generators[ph->generator]->init)
		workload_generators[ph->generator]->init(ph, s->table + ph->table, p->state, &p->rng);
	p->step = STEP_RUN;
}

static uint32_t run(struct program *p, const struct script *s, const struct phase *ph, const struct program_world *w,
		    struct op *out, uint32_t max)
{
	uint64_t room = max;
	uint32_t n;

	if ((ph->noperations && p->done >= ph->noperations) || (p->deadline_ns && w->now_ns >= p->deadline_ns)) {
		p->step = STEP_LEAVE;
		return 0;
	}
	if (ph->think_ns && p->since_think >= ph->think_every) {
		p->since_think = 0;
		out->va_kind = OP_MAKE(OP_SLEEP, 0);
		out->arg = ph->think_ns;
		return 1;
	}
	if (ph->noperations && ph->noperations - p->done < room)
		room = ph->noperations - p->done;
	if (ph->think_ns && ph->think_every - p->since_think < room)
		room = ph->think_every - p->since_think;
	if (ph->generator == PHASE_TRACE_GENERATOR) {
		n = trace_next(p, ph, w, out, (uint32_t)room);
	} else {
		n = workload_generators[ph->generator]->next(ph, s->table + ph->table, p->state, &p->rng, out,
							     (uint32_t)room);
		if (ph->write_ppm)
			apply_writes(p, ph, out, n);
	}
	p->done += n;
	p->since_think += n;
	return n;
}

/* To the next phase that is not a child's; a child ends with its phase. */
static uint32_t leave(struct program *p, const struct script *s, const struct phase *ph, struct op *out)
{
	p->step = STEP_EXIT;
	if (!(ph->flags & PHASE_CHILD)) {
		do
			p->phase++;
		while (p->phase < s->nphases && (s->phase[p->phase].flags & PHASE_CHILD));
		if (p->phase < s->nphases)
			p->step = STEP_ENTER;
	}
	if (!(ph->flags & PHASE_WAITS))
		return 0;
	out->va_kind = OP_MAKE(OP_WAIT, 0);
	out->arg = 0;
	return 1;
}

static uint32_t step(struct program *p, const struct script *s, const struct program_world *w, struct op *out,
		     uint32_t max)
{
	const struct phase *ph = &s->phase[p->phase];

	switch ((enum program_step)p->step) {
	case STEP_ENTER:
		p->done = 0;
		p->step = (ph->flags & PHASE_FILLS) && ph->content ? STEP_FILL : STEP_BEGIN;
		return map_region(p, s, ph, out);
	case STEP_FILL:
		return fill_region(p, ph, out, max);
	case STEP_BEGIN:
		begin(p, s, ph, w);
		return 0;
	case STEP_RUN:
		return run(p, s, ph, w, out, max);
	case STEP_LEAVE:
		return leave(p, s, ph, out);
	case STEP_EXIT:
		break;
	}
	out->va_kind = OP_MAKE(OP_EXIT, 0);
	out->arg = 0;
	return 1;
}

bool program_replays(const struct program *p, const struct script *s)
{
	return p->step == STEP_RUN && p->phase < s->nphases && s->phase[p->phase].generator == PHASE_TRACE_GENERATOR;
}

uint32_t program_next(struct program *p, const struct script *s, const struct program_world *w, struct op *out,
		      uint32_t max)
{
	uint32_t n = 0;

	while (n == 0 && (w->trace || !program_replays(p, s)))
		n = step(p, s, w, out, max);
	return n;
}
