/* SPDX-License-Identifier: MIT */
/*
 * trace_mrc.c - miss-ratio curves: how often a program would fault with less memory
 *
 * Problem: the misses of a trace of 10^7 to 10^9 accesses in many sizes of memory, under several policies, exactly.
 *
 * Idea: decode once into dense page numbers, cut runs on one page to two accesses (nothing in any policy can change
 * after the second), then replay for each size; a replay of mm/replace takes nanoseconds an access, so decoding is most
 * of it. LRU needs but one pass for all sizes: an access hits in exactly the memories that are at least as large as its
 * stack distance, the number of distinct pages used since its last use and with it. That number is a count of marks:
 * with a mark at the position of each page's last use, it is the marks from the page's own on; a Fenwick tree counts
 * them in log n steps. A pass costs about as much as STACK_WORTH replays, so few sizes are replayed.
 *
 * Invariants (tests/unit/test_trace.c, curves_equal_replays, runs_change_nothing): misses of the one pass equal those
 * of the replays; the pages with runs cut give the misses of the whole trace.
 *
 * Source: Mattson, Gecsei, Slutz, Traiger, Evaluation techniques for storage hierarchies, 1970; Bennett and Kruskal,
 * LRU stack processing, 1975 (a tree over positions); Fenwick, A new data structure for cumulative frequency tables,
 * 1994.
 */
#include "vmm/trace.h"

#include <inttypes.h>
#include <string.h>

#include "vmm/vmm.h"

#define CHUNK	    4096
#define STACK_WORTH 12

gboolean trace_pages_load(struct trace_pages *p, struct trace_reader *r, GError **error)
{
	uint64_t access[CHUNK], room = 0;
	uint32_t got, id;

	memset(p, 0, sizeof(*p));
	p->nids = trace_info(r)->npages;
	while ((got = trace_read(r, access, CHUNK))) {
		if (p->n + CHUNK > room) {
			uint32_t *more =
				room < UINT32_MAX / 2 ? g_try_renew(uint32_t, p->ids, MAX(2 * room, 1 << 20)) : NULL;

			if (!more) {
				g_set_error(error, VMM_ERROR, VMM_FAILED,
					    "the trace is too long for memory: %" PRIu64 " accesses",
					    trace_info(r)->total);
				trace_pages_free(p);
				return FALSE;
			}
			p->ids = more;
			room = MAX(2 * room, 1 << 20);
		}
		for (uint32_t i = 0; i < got; i++) {
			id = trace_page_id(r, (access[i] & OP_VA_MASK) >> 12);
			if (p->n < 2 || p->ids[p->n - 1] != id || p->ids[p->n - 2] != id)
				p->ids[p->n++] = id;
		}
		p->nrequests += got;
	}
	if (!trace_error(r))
		return TRUE;
	g_propagate_error(error, g_error_copy(trace_error(r)));
	trace_pages_free(p);
	return FALSE;
}

void trace_pages_free(struct trace_pages *p)
{
	g_clear_pointer(&p->ids, g_free);
}

/* A Fenwick tree over positions 1..n: tree[i] counts the marks in the (i & -i) positions that end at i. */
static inline void mark(uint32_t *tree, uint32_t n, uint32_t at, uint32_t by)
{
	for (; at <= n; at += at & -at)
		tree[at] += by;
}

static inline uint32_t marks_up_to(const uint32_t *tree, uint32_t at)
{
	uint32_t sum = 0;

	for (; at; at &= at - 1)
		sum += tree[at];
	return sum;
}

/*
 * hits[d]: accesses of stack distance d. Marks wander to the end of the trace as pages are used again, so positions are
 * handed out from a window of twice the pages; when it is full the marks are packed to its front, in order, and
 * counting goes on.
 */
static void stack_distances(const struct trace_pages *p, uint64_t *hits)
{
	uint32_t window = 2 * p->nids + 1, now = 0, nmarks = 0;
	g_autofree uint32_t *tree = g_new0(uint32_t, (size_t)window + 1), *last = g_new0(uint32_t, p->nids);
	g_autofree uint32_t *page_at = g_new(uint32_t, (size_t)window + 1);

	for (size_t i = 0; i < p->n; i++) {
		uint32_t id = p->ids[i];

		if (now && last[id] == now) {
			hits[1]++;
			continue;
		}
		if (now == window) {
			for (uint32_t from = 1, to = now = 0; from <= window; from++)
				if (last[page_at[from]] == from)
					page_at[++to] = page_at[from], last[page_at[to]] = now = to;
			memset(tree, 0, ((size_t)window + 1) * sizeof(*tree));
			for (uint32_t at = 1; at <= now; at++)
				mark(tree, window, at, 1);
		}
		if (last[id]) {
			hits[nmarks - marks_up_to(tree, last[id] - 1)]++;
			mark(tree, window, last[id], -1);
		} else {
			nmarks++;
		}
		last[id] = ++now;
		page_at[now] = id;
		mark(tree, window, now, 1);
	}
}

static void lru_curve(const struct trace_pages *p, const uint32_t *nframes, size_t nsizes, uint64_t *misses)
{
	g_autofree uint64_t *hits = g_new0(uint64_t, (size_t)p->nids + 1);

	stack_distances(p, hits);
	for (uint32_t d = 1; d <= p->nids; d++)
		hits[d] += hits[d - 1];
	for (size_t k = 0; k < nsizes; k++)
		misses[k] = p->n - hits[MIN(nframes[k], p->nids)];
}

void trace_mrc(const struct trace_pages *p, const struct replace_ops *ops, const uint32_t *nframes, size_t nsizes,
	       uint64_t seed, uint64_t *misses)
{
	g_autofree uint32_t *next = ops->offline ? replace_next_use(p->ids, p->n, p->nids) : NULL;
	struct replace_args args = { .nids = p->nids, .seed = seed, .trace = p->ids, .next_use = next, .n = p->n };

	if (ops == &replace_lru && nsizes > STACK_WORTH && p->nids < UINT32_MAX / 4) {
		lru_curve(p, nframes, nsizes, misses);
		return;
	}
	for (size_t k = 0; k < nsizes; k++) {
		void *policy;

		args.nframes = nframes[k];
		policy = ops->create(&args);
		misses[k] = ops->replay(policy, p->ids, p->n);
		ops->destroy(policy);
	}
}
