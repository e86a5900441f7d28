/* SPDX-License-Identifier: MIT */
/*
 * pager.c - swapping of a process by itself, with as little as possible on the way of a fault
 *
 * Problem: a fault that user space serves costs two crossings of the kernel more than one that the kernel serves. To be
 * no slower than the kernel's zram all else must be cheaper.
 *
 * Idea. No fault allocates, clears or frees a page: frames move. Beside the region there is a *pool*; a page that is
 * evicted moves to the pool (UFFDIO_MOVE: the page table entry, not the bytes), is compressed there, and then is a free
 * frame. A page that comes back is decompressed into a free frame, which moves to the region. `ahead` frames are kept
 * free: a fault that finds fewer evicts one page when its own has arrived, so that pressure is paid a page at a time by
 * those who make it, and a burst finds frames. (A thread that evicts ahead on another processor makes every move an
 * interrupt to the processor that faults: 35 us a page on a virtual machine instead of 10, and it may get no processor
 * at all.)
 *
 * Who serves: the faulting thread, on SIGBUS (UFFD_FEATURE_SIGBUS), which saves two switches between threads; or
 * another, as usual.
 *
 * Structures: a word of state for each page and its blob; the resident pages in order of arrival (victims are taken
 * from the front: first in, first out); stacks of pool slots with and without a frame. One lock over them, held for a
 * few dozen instructions at a time: whoever moves or copies a page has first set its state to LEAVING or COMING, which
 * makes it theirs. Victims that lie together, as they do when memory was filled in order, move in one call.
 *
 * Invariants (tests/unit/test_pager.c): what is read is what was written last; frames in region and pool are never more
 * than nframes and those of faults that caught a page going, which give one back soon.
 *
 * Source: the manual of userfaultfd.
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
#include <ucontext.h>
#include <unistd.h>

#include "vmm/kvm/store_impl.h"

#define FPX_SW_BYTES 464 /* where struct _fpx_sw_bytes is in what FXSAVE leaves free */

/* Linux 6.8; older headers do not know it. */
#ifndef UFFDIO_MOVE
#define UFFD_FEATURE_MOVE (1 << 16)
struct uffdio_move {
	uint64_t dst, src, len, mode;
	int64_t move;
};
#define UFFDIO_MOVE _IOWR(UFFDIO, 0x05, struct uffdio_move)
#endif

#define BATCH 16 /* victims at once */

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
	const struct compressor *lz4;
	struct blobs *heap; /* of blobs */
	pthread_t server;
	bool has_server;
	struct pager_stats stats;
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

static void move(struct pager *p, void *to, void *from, size_t npages)
{
	struct uffdio_move m = { (uintptr_t)to, (uintptr_t)from, npages * PAGE_SIZE, 0, 0 };

	while (ioctl(p->uffd, UFFDIO_MOVE, &m)) {
		g_assert(errno == EAGAIN);
		if (m.move > 0) {
			m.dst += (uint64_t)m.move;
			m.src += (uint64_t)m.move;
			m.len -= (uint64_t)m.move;
		}
		m.move = 0;
	}
}

/* False: there is a page already, or none to be copied. */
static bool copy_in(struct pager *p, size_t page, const void *from)
{
	struct uffdio_copy c = { (uintptr_t)region_page(p, page), (uintptr_t)from, PAGE_SIZE, 0, 0 };

	while (ioctl(p->uffd, UFFDIO_COPY, &c))
		if (errno != EAGAIN)
			return false;
	return true;
}

static void arrive(struct pager *p, uint32_t page)
{
	p->page[page].place = RESIDENT;
	p->order[(p->first + p->count++) % p->cfg.npages] = page;
}

/*
 * Begin to evict the pages that came first, as many as lie together: they move to pool slots that do. Lock held, not
 * while they move.
 */
static unsigned take_victims(struct pager *p, unsigned most, uint32_t *first, uint32_t *slot)
{
	unsigned n = 0;

	*first = p->order[p->first];
	*slot = p->empty[p->nempty - 1];
	while (n < most && p->count && p->nempty && p->order[p->first] == *first + n &&
	       p->empty[p->nempty - 1] == *slot + n) {
		p->page[*first + n].place = LEAVING;
		p->page[*first + n].slot = *slot + n;
		p->first = (p->first + 1) % p->cfg.npages;
		p->count--;
		p->nempty--;
		n++;
	}
	pthread_mutex_unlock(&p->lock);
	move(p, pool_page(p, *slot), region_page(p, *first), n);
	pthread_mutex_lock(&p->lock);
	return n;
}

static void keep(struct pager *p, uint32_t page, uint8_t *blob, unsigned nbytes)
{
	struct page *e = &p->page[page];

	e->blob = blob;
	e->nbytes = (uint16_t)nbytes;
	e->place = STORED;
	p->free[p->nfree++] = e->slot;
	p->stats.evictions++;
	p->stats.stored++;
	p->stats.bytes += nbytes;
}

/* Lock held, but while it works. */
static void evict(struct pager *p, unsigned most)
{
	uint32_t first, slot;
	unsigned n = take_victims(p, most, &first, &slot);

	for (unsigned i = 0; i < n; i++) {
		uint8_t out[COMPRESSED_MAX], *blob;
		unsigned nbytes;

		pthread_mutex_unlock(&p->lock);
		nbytes = p->lz4->pack(NULL, pool_page(p, slot + i), out);
		pthread_mutex_lock(&p->lock);
		if (p->page[first + i].place == LEAVING && p->page[first + i].slot == slot + i) {
			blob = blobs_take(p->heap, nbytes);
			g_assert(blob);
			memcpy(blob, out, nbytes);
			keep(p, first + i, blob, nbytes);
			continue;
		}
		/* It was caught, and has a frame of its own again. */
		madvise(pool_page(p, slot + i), PAGE_SIZE, MADV_DONTNEED);
		p->empty[p->nempty++] = slot + i;
		p->nframes--;
	}
}

static size_t room(const struct pager *p)
{
	return p->nfree + (p->cfg.nframes > p->nframes ? p->cfg.nframes - p->nframes : 0);
}

/* A pool slot with a frame. */
static uint32_t take_frame(struct pager *p)
{
	while (!p->nfree) {
		p->stats.waits++;
		evict(p, 1);
	}
	return p->free[--p->nfree];
}

/* The page, COMING, whose bytes are in the pool. */
static void land(struct pager *p, uint32_t page, uint32_t slot)
{
	pthread_mutex_unlock(&p->lock);
	move(p, region_page(p, page), pool_page(p, slot), 1);
	pthread_mutex_lock(&p->lock);
	p->empty[p->nempty++] = slot;
	arrive(p, page);
}

static void first_touch(struct pager *p, uint32_t page)
{
	static const uint8_t zeros[PAGE_SIZE];
	uint32_t slot;

	p->page[page].place = COMING;
	if (p->nframes < p->cfg.nframes) {
		p->nframes++;
		g_assert(copy_in(p, page, zeros));
		arrive(p, page);
		return;
	}
	slot = take_frame(p);
	memset(pool_page(p, slot), 0, PAGE_SIZE);
	land(p, page, slot);
}

static void prefetch(const uint8_t *at, size_t nbytes)
{
	for (size_t i = 0; i < nbytes; i += 64)
		__builtin_prefetch(at + i);
}

static void load(struct pager *p, uint32_t page)
{
	struct page *e = &p->page[page];
	uint8_t *blob = e->blob;
	uint32_t slot;
	int err;

	e->place = COMING;
	p->stats.loads++;
	p->stats.stored--;
	p->stats.bytes -= e->nbytes;
	prefetch(blob, e->nbytes);
	slot = take_frame(p);
	prefetch(pool_page(p, slot), PAGE_SIZE);
	pthread_mutex_unlock(&p->lock);
	err = p->lz4->unpack(NULL, blob, e->nbytes, pool_page(p, slot));
	g_assert(!err);
	pthread_mutex_lock(&p->lock);
	blobs_give(p->heap, blob, e->nbytes);
	land(p, page, slot);
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
		if (!copy_in(p, page, pool_page(p, e->slot)))
			break;
		p->stats.caught++;
		p->nframes++;
		arrive(p, page);
		break;
	default: /* another thread was first; if it is not there yet, the access faults again */
		break;
	}
	if (p->count && room(p) < p->cfg.ahead)
		evict(p, 1);
	pthread_mutex_unlock(&p->lock);
}

/*
 * Go on where the signal came, as sigreturn(2) would, but without a system call, which takes a twelfth of a fault: no
 * signal is blocked (SA_NODEFER), so registers are all there is to put back. @gregs is struct sigcontext's; the last
 * three are stored below the interrupted code's red zone, from where pop, popf and ret take them.
 */
void pager_resume(const greg_t *gregs, const void *fpstate, uint64_t features) __attribute__((noreturn));
__asm__(".pushsection .text\n"
	"pager_resume:\n"
	"	mov %rdx, %rax\n"
	"	shr $32, %rdx\n"
	"	xrstor64 (%rsi)\n"
	"	mov 120(%rdi), %rax\n" /* RSP */
	"	mov 128(%rdi), %rcx\n" /* RIP */
	"	mov %rcx, -136(%rax)\n"
	"	mov 136(%rdi), %rcx\n" /* RFLAGS */
	"	mov %rcx, -144(%rax)\n"
	"	mov 64(%rdi), %rcx\n" /* RDI */
	"	mov %rcx, -152(%rax)\n"
	"	mov (%rdi), %r8\n"
	"	mov 8(%rdi), %r9\n"
	"	mov 16(%rdi), %r10\n"
	"	mov 24(%rdi), %r11\n"
	"	mov 32(%rdi), %r12\n"
	"	mov 40(%rdi), %r13\n"
	"	mov 48(%rdi), %r14\n"
	"	mov 56(%rdi), %r15\n"
	"	mov 72(%rdi), %rsi\n"
	"	mov 80(%rdi), %rbp\n"
	"	mov 88(%rdi), %rbx\n"
	"	mov 96(%rdi), %rdx\n"
	"	mov 112(%rdi), %rcx\n"
	"	lea -152(%rax), %rsp\n"
	"	mov 104(%rdi), %rax\n"
	"	pop %rdi\n"
	"	popfq\n"
	"	ret $128\n"
	".popsection\n");

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	const ucontext_t *uc = context;
	const struct _fpx_sw_bytes *sw = (const void *)((const uint8_t *)uc->uc_mcontext.fpregs + FPX_SW_BYTES);
	uintptr_t at = (uintptr_t)info->si_addr - (uintptr_t)served->region;
	int saved = errno;

	(void)sig;
	if (at >= served->cfg.npages * PAGE_SIZE) {
		sigaction(SIGBUS, &old_action, NULL); /* not ours: let it happen again */
		return;
	}
	serve(served, (uint32_t)(at / PAGE_SIZE));
	errno = saved;
	if (sw->magic1 == FP_XSTATE_MAGIC1)
		pager_resume(uc->uc_mcontext.gregs, uc->uc_mcontext.fpregs, sw->xstate_bv);
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
	/* Pages move only to where it serves: the pool is registered, too. Nobody touches a slot without a frame. */
	r.range.start = (uintptr_t)p->pool;
	r.range.len = 2 * p->cfg.nframes * PAGE_SIZE;
	return ioctl(p->uffd, UFFDIO_REGISTER, &r) ? -errno : 0;
}

static void *reserve(size_t npages)
{
	void *at = mmap(NULL, npages * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			-1, 0);

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
	p->lz4 = compressor_find("lz4");
	p->heap = blobs_new();
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(&p->lock, &attr);
	err = open_uffd(p);
	if (!err) {
		start(p);
		return p;
	}
	pager_free(p);
	errno = -err;
	return NULL;
}

void pager_free(struct pager *p)
{
	uint64_t one = 1;

	if (p->has_server && write(p->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(p->server, NULL);
	if (served == p) {
		sigaction(SIGBUS, &old_action, NULL);
		served = NULL;
	}
	if (p->uffd >= 0)
		close(p->uffd);
	close(p->stop_fd);
	munmap(p->region, p->cfg.npages * PAGE_SIZE);
	munmap(p->pool, 2 * p->cfg.nframes * PAGE_SIZE);
	blobs_free(p->heap);
	pthread_mutex_destroy(&p->lock);
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
	while (p->count)
		evict(p, BATCH);
	pthread_mutex_unlock(&p->lock);
}

void pager_stats(struct pager *p, struct pager_stats *out)
{
	pthread_mutex_lock(&p->lock);
	*out = p->stats;
	pthread_mutex_unlock(&p->lock);
}
