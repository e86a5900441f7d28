/* SPDX-License-Identifier: MIT */
/*
 * pager.c - swapping of a process by itself, with as little as possible on the way of a fault
 *
 * Problem: a fault that user space serves costs two crossings of the kernel more than one that the kernel serves. To be
 * no slower than the kernel's zram all else must be cheaper.
 *
 * Idea. No fault allocates, clears or frees a page: frames move. Beside the region there is a *pool*; a page that is
 * evicted moves to the pool (UFFDIO_MOVE: the page table entry, not the bytes), is compressed there, and then is a free
 * frame. A page that comes back is decompressed into a free frame, which moves to the region. And no fault waits for an
 * eviction, because a thread evicts ahead: with fewer than `low` frames free, until `high` are. Only should that thread
 * get no processor, a fault evicts one page itself.
 *
 * Who serves: the faulting thread, on SIGBUS (UFFD_FEATURE_SIGBUS), which saves two switches between threads; or
 * another, as usual.
 *
 * Structures: a word of state for each page and its blob; the resident pages in order of arrival (victims are taken
 * from the front: first in, first out); stacks of pool slots with and without a frame.
 *
 * Invariants (tests/unit/test_pager.c): what is read is what was written last; frames in region and pool are never more
 * than nframes and those of faults that caught a page going, which give one back soon.
 *
 * Source: the manual of userfaultfd; Linux mm/vmscan.c (watermarks).
 */
#include "tests/lib/pager.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "vmm/kvm/store_impl.h"

/* Linux 6.8; older headers do not know it. */
#ifndef UFFDIO_MOVE
#define UFFD_FEATURE_MOVE (1 << 16)
struct uffdio_move {
	uint64_t dst, src, len, mode;
	int64_t move;
};
#define UFFDIO_MOVE _IOWR(UFFDIO, 0x05, struct uffdio_move)
#endif

enum page_place { NEVER, RESIDENT, LEAVING, STORED, COMING };

struct page {
	uint8_t place;
	uint16_t nbytes;
	uint32_t slot; /* LEAVING: of the pool */
	uint8_t *blob; /* STORED */
};

struct pager {
	struct pager_config cfg;
	int uffd, stop_fd;
	uint8_t *region, *pool;
	struct page *page;
	uint32_t *order; /* ring of resident pages */
	size_t first, count;
	uint32_t *free, *empty; /* stacks of pool slots */
	size_t nfree, nempty, nframes;
	pthread_mutex_t lock;
	pthread_cond_t work;
	bool asleep, stop;
	struct codec *codec;
	pthread_t evictor, server;
	bool has_evictor, has_server;
	struct pager_stats stats;
	uint8_t out[2][CODEC_MAX]; /* of the evictor; of faults, under the lock */
};

static struct pager *served; /* by SIGBUS */
static struct sigaction old_action;

static uint8_t *pool_page(const struct pager *p, uint32_t slot)
{
	return p->pool + (size_t)slot * PAGE_SIZE;
}

static uint8_t *region_page(const struct pager *p, size_t page)
{
	return p->region + page * PAGE_SIZE;
}

static void move(struct pager *p, void *to, void *from)
{
	struct uffdio_move m = { (uintptr_t)to, (uintptr_t)from, PAGE_SIZE, 0, 0 };

	while (ioctl(p->uffd, UFFDIO_MOVE, &m))
		g_assert(errno == EAGAIN);
}

static void copy_in(struct pager *p, size_t page, const void *from)
{
	struct uffdio_copy c = { (uintptr_t)region_page(p, page), (uintptr_t)from, PAGE_SIZE, 0, 0 };

	while (ioctl(p->uffd, UFFDIO_COPY, &c))
		g_assert(errno == EAGAIN);
}

static void arrive(struct pager *p, uint32_t page)
{
	p->page[page].place = RESIDENT;
	p->order[(p->first + p->count++) % p->cfg.npages] = page;
}

/* Begin to evict the page that came first: it moves to a pool slot. */
static uint32_t take_victim(struct pager *p)
{
	uint32_t page = p->order[p->first], slot = p->empty[--p->nempty];

	p->first = (p->first + 1) % p->cfg.npages;
	p->count--;
	move(p, pool_page(p, slot), region_page(p, page));
	p->page[page].place = LEAVING;
	p->page[page].slot = slot;
	return page;
}

static void keep(struct pager *p, uint32_t page, const uint8_t *bytes, unsigned nbytes)
{
	struct page *e = &p->page[page];

	e->blob = g_memdup2(bytes, nbytes);
	e->nbytes = (uint16_t)nbytes;
	e->place = STORED;
	p->free[p->nfree++] = e->slot;
	p->stats.evictions++;
	p->stats.stored++;
	p->stats.bytes += nbytes;
}

/* Lock held, but for the compression. */
static void evict_one(struct pager *p)
{
	uint32_t page = take_victim(p), slot = p->page[page].slot;
	unsigned n;

	pthread_mutex_unlock(&p->lock);
	n = codec_pack(p->codec, pool_page(p, slot), p->out[0]);
	pthread_mutex_lock(&p->lock);
	if (p->page[page].place == LEAVING && p->page[page].slot == slot) {
		keep(p, page, p->out[0], n);
		return;
	}
	/* It was caught, and has a frame of its own again. */
	madvise(pool_page(p, slot), PAGE_SIZE, MADV_DONTNEED);
	p->empty[p->nempty++] = slot;
	p->nframes--;
}

static size_t room(const struct pager *p)
{
	return p->nfree + (p->cfg.nframes > p->nframes ? p->cfg.nframes - p->nframes : 0);
}

static void *evictor(void *arg)
{
	struct pager *p = arg;
	struct timespec t;

	pthread_mutex_lock(&p->lock);
	while (!p->stop) {
		if (room(p) >= p->cfg.low || !p->count) {
			p->asleep = true;
			pthread_cond_wait(&p->work, &p->lock);
			p->asleep = false;
			continue;
		}
		while (!p->stop && p->count && room(p) < p->cfg.high)
			evict_one(p);
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	p->stats.evict_ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* A pool slot with a frame; lock held throughout. */
static uint32_t take_frame(struct pager *p)
{
	uint32_t page;

	if (!p->nfree) {
		page = take_victim(p);
		keep(p, page, p->out[1], codec_pack(p->codec, pool_page(p, p->page[page].slot), p->out[1]));
		p->stats.waits++;
	}
	if (p->has_evictor && p->asleep && p->nfree <= p->cfg.low)
		pthread_cond_signal(&p->work);
	return p->free[--p->nfree];
}

static void land(struct pager *p, uint32_t page, uint32_t slot)
{
	move(p, region_page(p, page), pool_page(p, slot));
	p->empty[p->nempty++] = slot;
	arrive(p, page);
}

static void first_touch(struct pager *p, uint32_t page)
{
	static const uint8_t zeros[PAGE_SIZE];
	uint32_t slot;

	if (p->nframes < p->cfg.nframes) {
		p->nframes++;
		copy_in(p, page, zeros);
		arrive(p, page);
		return;
	}
	slot = take_frame(p);
	memset(pool_page(p, slot), 0, PAGE_SIZE);
	land(p, page, slot);
}

static void load(struct pager *p, uint32_t page)
{
	struct page *e = &p->page[page];
	uint32_t slot = take_frame(p);
	uint8_t *blob = e->blob;

	e->place = COMING;
	p->stats.loads++;
	p->stats.stored--;
	p->stats.bytes -= e->nbytes;
	pthread_mutex_unlock(&p->lock);
	g_assert(!codec_unpack(p->codec, blob, e->nbytes, pool_page(p, slot)));
	pthread_mutex_lock(&p->lock);
	land(p, page, slot);
	g_free(blob);
}

static void serve(struct pager *p, uint32_t page)
{
	struct page *e = &p->page[page];

	pthread_mutex_lock(&p->lock);
	p->stats.faults++;
	switch (e->place) {
	case NEVER:
		first_touch(p, page);
		break;
	case STORED:
		load(p, page);
		break;
	case LEAVING:
		/* Its bytes are being read where they are: the page gets a frame of its own. */
		p->stats.caught++;
		p->nframes++;
		copy_in(p, page, pool_page(p, e->slot));
		arrive(p, page);
		break;
	default: /* another thread was first; if it is not there yet, the access faults again */
		break;
	}
	pthread_mutex_unlock(&p->lock);
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr - (uintptr_t)served->region;
	int saved = errno;

	(void)sig;
	(void)context;
	if (at >= served->cfg.npages * PAGE_SIZE) {
		sigaction(SIGBUS, &old_action, NULL); /* not ours: let it happen again */
		return;
	}
	serve(served, (uint32_t)(at / PAGE_SIZE));
	errno = saved;
}

static void *server(void *arg)
{
	struct pager *p = arg;
	struct pollfd fds[2] = { { p->uffd, POLLIN, 0 }, { p->stop_fd, POLLIN, 0 } };
	struct uffd_msg msg;

	while (poll(fds, 2, -1) >= 0 && !fds[1].revents)
		while (read(p->uffd, &msg, sizeof(msg)) == sizeof(msg))
			serve(p, (uint32_t)((msg.arg.pagefault.address - (uintptr_t)p->region) / PAGE_SIZE));
	return NULL;
}

static int open_uffd(struct pager *p)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MOVE };
	struct uffdio_register r = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	if (p->cfg.way == PAGER_SIGNAL)
		api.features |= UFFD_FEATURE_SIGBUS;
	p->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (p->uffd < 0)
		return -errno;
	if (ioctl(p->uffd, UFFDIO_API, &api))
		return -ENOSYS;
	r.range.start = (uintptr_t)p->region;
	r.range.len = p->cfg.npages * PAGE_SIZE;
	if (ioctl(p->uffd, UFFDIO_REGISTER, &r))
		return -errno;
	/* What moves there must be allowed to: the pool is registered too, and nobody touches a slot without a frame. */
	r.range.start = (uintptr_t)p->pool;
	r.range.len = 2 * p->cfg.nframes * PAGE_SIZE;
	return ioctl(p->uffd, UFFDIO_REGISTER, &r) ? -errno : 0;
}

static void *reserve(size_t npages)
{
	void *at = mmap(NULL, npages * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	g_assert(at != MAP_FAILED);
	madvise(at, npages * PAGE_SIZE, MADV_NOHUGEPAGE);
	return at;
}

static void start(struct pager *p)
{
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER };

	if (p->cfg.way == PAGER_SIGNAL) {
		g_assert(!served);
		served = p;
		sigaction(SIGBUS, &sa, &old_action);
	} else {
		p->has_server = !pthread_create(&p->server, NULL, server, p);
	}
	if (p->cfg.high)
		p->has_evictor = !pthread_create(&p->evictor, NULL, evictor, p);
}

struct pager *pager_new(const struct pager_config *cfg)
{
	struct pager *p = g_new0(struct pager, 1);
	pthread_mutexattr_t attr;
	int err;

	p->cfg = *cfg;
	p->uffd = -1;
	p->stop_fd = eventfd(0, EFD_CLOEXEC);
	p->region = reserve(cfg->npages);
	p->pool = reserve(2 * cfg->nframes);
	p->page = g_new0(struct page, cfg->npages);
	p->order = g_new(uint32_t, cfg->npages);
	p->free = g_new(uint32_t, 2 * cfg->nframes);
	p->empty = g_new(uint32_t, 2 * cfg->nframes);
	for (uint32_t i = 0; i < 2 * cfg->nframes; i++)
		p->empty[p->nempty++] = (uint32_t)(2 * cfg->nframes) - 1 - i;
	p->codec = codec_new("lz4");
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(&p->lock, &attr);
	pthread_cond_init(&p->work, NULL);
	err = open_uffd(p);
	if (!err) {
		start(p);
		return p;
	}
	pager_free(p);
	errno = -err;
	return NULL;
}

/* The threads end, and their times are known. */
static void stop(struct pager *p)
{
	uint64_t one = 1;

	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
	if (p->has_evictor)
		pthread_join(p->evictor, NULL);
	if (p->has_server && write(p->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(p->server, NULL);
	p->has_evictor = p->has_server = false;
}

void pager_free(struct pager *p)
{
	stop(p);
	if (served == p) {
		sigaction(SIGBUS, &old_action, NULL);
		served = NULL;
	}
	if (p->uffd >= 0)
		close(p->uffd);
	close(p->stop_fd);
	munmap(p->region, p->cfg.npages * PAGE_SIZE);
	munmap(p->pool, 2 * p->cfg.nframes * PAGE_SIZE);
	for (size_t i = 0; i < p->cfg.npages; i++)
		if (p->page[i].place == STORED)
			g_free(p->page[i].blob);
	codec_free(p->codec);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->work);
	g_free(p->page);
	g_free(p->order);
	g_free(p->free);
	g_free(p->empty);
	g_free(p);
}

uint8_t *pager_memory(const struct pager *p)
{
	return p->region;
}

void pager_evict_all(struct pager *p)
{
	pthread_mutex_lock(&p->lock);
	while (p->count) {
		uint32_t page = take_victim(p);

		keep(p, page, p->out[1], codec_pack(p->codec, pool_page(p, p->page[page].slot), p->out[1]));
	}
	pthread_mutex_unlock(&p->lock);
}

void pager_stats(struct pager *p, struct pager_stats *out)
{
	if (p->cfg.high)
		stop(p);
	*out = p->stats;
}
