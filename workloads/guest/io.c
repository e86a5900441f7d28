/* SPDX-License-Identifier: MIT */
/*
 * io.c - pages under way between memory and disk, and processes that wait for them
 *
 * Problem: the kernel never blocks, but a process that needs a page from disk has to.
 *
 * Idea: what the process was about (a fault, a system call) is remembered in it and it is put in one queue of all that
 * wait, in order of arrival, with the page that it waits for, or 0 for any completion: a place in the ring, or memory
 * that is being written out. block_done() makes those ready whose page it is; when such a process gets the processor,
 * the kernel begins anew what it was about (kernel.c). Until then reclaim leaves it the page: two processes that took
 * each other's would never get anywhere.
 *
 * A cookie is the first gfn, the number of pages << 40, and bit 63 for a write.
 *
 * Time lost is counted as Linux's pressure stall information does: *some* while a process waits for lack of memory
 * (its page is back from swap or was evicted from the working set of the cache, or pages are being written out for
 * it), *full* while besides nobody could run. A first read of a file is waiting, but no stall.
 *
 * Invariants (tests/guest/test_reclaim.c): who is in the queue is PROCESS_BLOCKED and has something to do again; nobody
 * is in it while nothing is under way.
 *
 * Source: Linux mm/filemap.c (folio_wait_bit_common()), kernel/sched/psi.c.
 */
#include "workloads/guest/block.h"
#include "workloads/guest/internal.h"

#define COOKIE_WRITE (1ull << 63)
#define COOKIE_PAGES 40

static uint64_t cookie_of(uint64_t gfn, uint32_t npages, bool write)
{
	return gfn | ((uint64_t)npages << COOKIE_PAGES) | (write ? COOKIE_WRITE : 0);
}

/*
 * Read @n pages of the disk from @disk_page on to @gfn[], which are PG_LOADING. How many of the first are under way:
 * the ring may be full.
 */
unsigned io_read(struct kernel *k, uint64_t disk_page, const uint64_t *gfn, unsigned n)
{
	unsigned done = 0;

	while (done < n) {
		unsigned run = 1;

		while (done + run < n && gfn[done + run] == gfn[done] + run)
			run++;
		if (!block_submit(k, false, disk_page + done, gfn[done], run, cookie_of(gfn[done], run, false)))
			break;
		k->mem.nloading += run;
		done += run;
	}
	return done;
}

/* Write cached pages that are neighbours in memory and on disk. False: the ring is full. */
bool io_write(struct kernel *k, uint64_t gfn, uint32_t npages)
{
	if (!block_submit(k, true, cache_disk_page(k, gfn), gfn, npages, cookie_of(gfn, npages, true)))
		return false;
	for (uint32_t i = 0; i < npages; i++) {
		struct lru_page *g = lru_page(k, gfn + i);

		g->flags = (uint16_t)((g->flags & ~PG_DIRTY) | PG_WRITING);
		*(g->flags & PG_FILE ? &k->counts.writebacks : &k->counts.swap_outs) += 1;
	}
	k->mem.nwriting += npages;
	return true;
}

static void read_done(struct kernel *k, uint64_t gfn, bool ok)
{
	struct lru_page *g = lru_page(k, gfn);

	k->mem.nloading--;
	g->flags &= ~PG_LOADING;
	*cache_word(k, gfn) = gfn;
	if (!ok)
		g->flags |= PG_FAILED;
	if (io_wake(k, gfn))
		g->flags |= PG_AWAITED;
	if (!(g->flags & PG_FILE))
		swap_settle(k, gfn);
}

static void write_done(struct kernel *k, uint64_t gfn, bool ok)
{
	struct lru_page *g = lru_page(k, gfn);
	bool reclaim = g->flags & PG_RECLAIM;

	k->mem.nwriting--;
	k->mem.nreclaiming -= reclaim;
	g->flags &= ~(PG_WRITING | PG_RECLAIM);
	if (!ok)
		g->flags |= PG_DIRTY;
	if (!(g->flags & PG_FILE) && !k->mem.slot[g->slot].refs) {
		swap_settle(k, gfn);
	} else if (reclaim && !(g->flags & PG_DIRTY) && page_refs(k, gfn) == 1 && !page_held_above(k, gfn)) {
		cache_drop(k, gfn, workingset_evict(k, gfn));
		k->counts.stolen++;
	}
}

void block_done(struct kernel *k, uint64_t cookie, bool ok)
{
	uint64_t gfn = cookie & ((1ull << COOKIE_PAGES) - 1);
	uint32_t npages = (uint32_t)((cookie & ~COOKIE_WRITE) >> COOKIE_PAGES);

	k->counts.io_errors += !ok;
	for (uint32_t i = 0; i < npages; i++) {
		if (cookie & COOKIE_WRITE)
			write_done(k, gfn + i, ok);
		else
			read_done(k, gfn + i, ok);
	}
	io_wake(k, 0);
}

/* What the event's process is about has to wait for @gfn, or for any completion; @stall: for lack of memory. */
enum result io_wait(struct kernel *k, uint64_t gfn, bool stall)
{
	k->mem.wait_gfn = gfn;
	k->mem.wait_stall = stall;
	return WAIT;
}

/* A request was refused: wait for any to end. With none under way the disk is dead, and so is who needs it. */
enum result io_wait_any(struct kernel *k, bool stall)
{
	return k->mem.nloading + k->mem.nwriting ? io_wait(k, 0, stall) : BAD_ADDRESS;
}

/* The running process does so. */
void io_block(struct kernel *k, struct process *p)
{
	p->wait_gfn = k->mem.wait_gfn;
	p->stalled = k->mem.wait_stall;
	p->blocked_ns = hal_now(k->hal);
	k->mem.nstalled += p->stalled;
	schedule_block(k, p);
}

void io_unblock(struct kernel *k, struct process *p)
{
	schedule_unblock(k, p);
	k->mem.nstalled -= p->stalled;
	k->counts.io_wait_ns += hal_now(k->hal) - p->blocked_ns;
}

/* Those that wait for lack of memory go on when there is some, or nothing more is on its way. */
static bool may_go(const struct kernel *k, const struct process *p, uint64_t gfn)
{
	if (p->wait_gfn != gfn)
		return false;
	return gfn || !p->stalled || k->counts.pages_free > k->mem.min || !k->mem.nwriting;
}

/* Who waits for @gfn is ready. Was there anybody? */
bool io_wake(struct kernel *k, uint64_t gfn)
{
	uint32_t slot = k->mem.blocked_head;
	bool any = false;

	while (slot != NO_PROCESS) {
		struct process *p = &k->process[slot];

		slot = p->next;
		if (!may_go(k, p, gfn))
			continue;
		io_unblock(k, p);
		schedule_ready(k, p);
		any = true;
	}
	return any;
}

/* Is a process about to come to the page that was read for it? */
bool io_awaited(struct kernel *k, uint64_t gfn)
{
	for (uint32_t i = 0; i < EXPORT_PROCESSES; i++)
		if (k->process[i].state != PROCESS_FREE && k->process[i].retry && k->process[i].wait_gfn == gfn)
			return true;
	return false;
}

/* Time has passed with everybody in the state that the last event left them in. */
void io_account(struct kernel *k)
{
	uint64_t now = hal_now(k->hal), ns = now - k->mem.seen_ns;

	k->mem.seen_ns = now;
	if (!k->mem.nstalled)
		return;
	k->counts.stall_some_ns += ns;
	if (k->current == NO_PROCESS && k->ready_head == NO_PROCESS)
		k->counts.stall_full_ns += ns;
}
