/* SPDX-License-Identifier: MIT */
/*
 * memory.c - where a real guest's bytes live, and how its second-stage faults reach the memory manager
 *
 * Problem: gmem decides which page exists, KVM only knows addresses of this process. The first touch of a page must
 * come to gmem, exactly once, whoever touches: a process, the guest kernel, the processor walking.
 *
 * Idea: memory above the arena is a memfd. The guest sees it through a mapping registered with userfaultfd (MISSING),
 * so a touch of a page that the file does not hold stops KVM inside its own fault handler, and a message comes to the
 * fault thread. That asks the paging mode, as the simulated processor does on an EPT violation; the mode calls
 * gmem_fault(), which calls populate() here: the file gets a zero page. Then the vCPU is woken. A page stays at its
 * own offset for life, so hfns are accounting only. The VMM's own reads and writes go through the alias mapping,
 * which is not registered: they can never wait for the fault thread.
 *
 * Invariants (tests/guest/test_kvm.c): faults_absent equals the pages the file holds (populated_is_counted); the
 * arena never faults, because it is populated and locked before the first instruction.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mm/err.h"
#include "vmm/kvm/kvm.h"

static struct kvm_machine *to_kvm(struct machine *m)
{
	return (struct kvm_machine *)m;
}

static bool in_arena(const struct kvm_vm *vm, gfn_t gfn)
{
	return gfn < vm->arena_pages;
}

static size_t offset_of(const struct kvm_vm *vm, gfn_t gfn)
{
	return (size_t)(gfn - vm->arena_pages) * PAGE_SIZE;
}

static int populate(struct machine *machine, unsigned vm_id, gfn_t gfn, hfn_t hfn, uint64_t npages)
{
	struct kvm_machine *m = to_kvm(machine);
	struct kvm_vm *vm = m->vms[vm_id];
	uint64_t done = 0;

	(void)hfn;
	if (in_arena(vm, gfn))
		return 0;
	while (done < npages) {
		struct uffdio_zeropage z = {
			.range = { (uintptr_t)vm->memory + offset_of(vm, gfn + done), (npages - done) * PAGE_SIZE },
			.mode = UFFDIO_ZEROPAGE_MODE_DONTWAKE,
		};

		if (ioctl(m->uffd, UFFDIO_ZEROPAGE, &z) == 0)
			return 0;
		if (errno != EAGAIN || z.zeropage < 0)
			return ERR(-errno);
		done += (uint64_t)z.zeropage / PAGE_SIZE;
	}
	return 0;
}

static void release(struct machine *machine, unsigned vm_id, gfn_t gfn, hfn_t hfn, uint64_t npages)
{
	struct kvm_vm *vm = to_kvm(machine)->vms[vm_id];

	(void)hfn;
	if (in_arena(vm, gfn) || !vm->memory)
		return;
	if (fallocate(vm->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset_of(vm, gfn),
		      (off_t)(npages * PAGE_SIZE)))
		g_error("cannot take guest memory back: %s", g_strerror(errno));
}

/* Contents are at the guest page's own offset whatever its frame. */
static int move(struct machine *machine, unsigned vm_id, gfn_t gfn, hfn_t from, hfn_t to)
{
	(void)machine;
	(void)vm_id;
	(void)gfn;
	(void)from;
	(void)to;
	return 0;
}

static uint8_t *bytes_of(struct machine *machine, unsigned vm_id, gfn_t gfn)
{
	struct kvm_vm *vm = to_kvm(machine)->vms[vm_id];

	return in_arena(vm, gfn) ? kvm_arena(vm, gfn << PAGE_SHIFT) : vm->alias + offset_of(vm, gfn);
}

static int read_page(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, unsigned offset, void *buf, unsigned len)
{
	(void)hfn;
	memcpy(buf, bytes_of(m, vm, gfn) + offset, len);
	return 0;
}

static int write_page(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, unsigned offset, const void *buf,
		      unsigned len)
{
	(void)hfn;
	memcpy(bytes_of(m, vm, gfn) + offset, buf, len);
	return 0;
}

/* The kernel's MMU notifiers flush what the processor cached when memory goes. */
static void flush(struct machine *m, unsigned vm, enum flush_kind kind, uint64_t start, uint64_t n)
{
	(void)m;
	(void)vm;
	(void)kind;
	(void)start;
	(void)n;
}

/* Real time is spent, not modelled. */
static void charge(struct machine *m, unsigned vm, enum charge_kind kind, uint64_t n)
{
	(void)m;
	(void)vm;
	(void)kind;
	(void)n;
}

static uint64_t now(struct machine *m)
{
	return to_kvm(m)->now_ns;
}

const struct machine_ops kvm_machine_ops = {
	.name = "kvm",
	.populate = populate,
	.release = release,
	.move = move,
	.read = read_page,
	.write = write_page,
	.flush = flush,
	.charge = charge,
	.now = now,
};

int kvm_uffd_open(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MISSING_SHMEM };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	int dev, err;

	if (fd < 0) {
		dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
		if (dev < 0)
			return -1;
		fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
		err = errno;
		close(dev);
		errno = err;
	}
	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api)) {
		err = errno;
		close(fd);
		errno = err;
		return -1;
	}
	return fd;
}

int kvm_memory_map(struct kvm_vm *vm)
{
	size_t arena = (size_t)vm->arena_pages * PAGE_SIZE, size = (size_t)(vm->npages - vm->arena_pages) * PAGE_SIZE;
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	if (madvise(gmem_arena(vm->gmem), arena, MADV_POPULATE_WRITE))
		return ERR(-errno);
	/* Best effort: without the privilege, a host under pressure may swap it, which only costs time. */
	if (mlock(gmem_arena(vm->gmem), arena))
		g_debug("%s: arena not locked: %s", vm->out->name, g_strerror(errno));
	vm->memfd = memfd_create("overbook-guest", MFD_CLOEXEC);
	if (vm->memfd < 0 || ftruncate(vm->memfd, (off_t)size))
		return ERR(-errno);
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, vm->memfd, 0);

	if (memory == MAP_FAILED)
		return ERR(-errno);
	vm->memory = memory;

	void *alias = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, vm->memfd, 0);

	if (alias == MAP_FAILED)
		return ERR(-errno);
	vm->alias = alias;
	reg.range.start = (uintptr_t)memory;
	reg.range.len = size;
	return ioctl(vm->m->uffd, UFFDIO_REGISTER, &reg) ? ERR(-errno) : 0;
}

void kvm_memory_unmap(struct kvm_vm *vm)
{
	size_t size = (size_t)(vm->npages - vm->arena_pages) * PAGE_SIZE;

	if (vm->alias)
		munmap(vm->alias, size);
	if (vm->memory)
		munmap(vm->memory, size);
	vm->memory = vm->alias = NULL;
	if (vm->memfd >= 0)
		close(vm->memfd);
	vm->memfd = -1;
	if (vm->gmem)
		munlock(gmem_arena(vm->gmem), (size_t)vm->arena_pages * PAGE_SIZE);
}

/*
 * The paging mode refused. The vCPU waits in the kernel and cannot be interrupted there: give it a page so that it
 * comes out, and see to it that it does not run on.
 */
static void give_up(struct kvm_vm *vm, gpa_t gpa, uint64_t page, int err)
{
	struct uffdio_zeropage z = { .range = { page, PAGE_SIZE }, .mode = UFFDIO_ZEROPAGE_MODE_DONTWAKE };

	kvm_vm_fail(vm, "access to guest-physical 0x%" G_GINT64_MODIFIER "x: %s", gpa,
		    err == -ENOMEM ? "the host has no memory left" : g_strerror(-err));
	vm->kvm_run->immediate_exit = 1;
	if (ioctl(vm->m->uffd, UFFDIO_ZEROPAGE, &z) && errno != EEXIST)
		g_error("cannot release a vCPU from a fault: %s", g_strerror(errno));
}

/* One page fault on a guest's memory: an EPT violation, as the memory manager sees it. */
static void serve(struct kvm_machine *m, uint64_t address, bool write)
{
	uint64_t page = address & PAGE_MASK;
	struct uffdio_range range = { .start = page, .len = PAGE_SIZE };
	struct paging_fault f = { .error = PF_U | (write ? PF_W : 0), .second_stage = true };
	struct kvm_vm *vm = NULL;
	int err = 0;

	g_mutex_lock(&m->lock);
	for (unsigned i = 0; i < m->nvms && !vm; i++) {
		struct kvm_vm *v = m->vms[i];

		if (v && v->memory && page >= (uintptr_t)v->memory &&
		    page - (uintptr_t)v->memory < (v->npages - v->arena_pages) * PAGE_SIZE)
			vm = v;
	}
	g_assert(vm);
	f.gpa = vm->arena_pages * PAGE_SIZE + (page - (uintptr_t)vm->memory);
	kvm_count_exit(vm, &vm->counters.exits_ept_violation);
	if (vm->paging->ops->fault(vm->paging, &f, &err) != PAGING_RETRY)
		give_up(vm, f.gpa, page, err);
	g_mutex_unlock(&m->lock);
	if (ioctl(m->uffd, UFFDIO_WAKE, &range))
		g_error("cannot wake a vCPU: %s", g_strerror(errno));
}

static gpointer fault_thread(gpointer data)
{
	struct kvm_machine *m = data;
	struct pollfd fds[2] = { { .fd = m->uffd, .events = POLLIN }, { .fd = m->stop_fd, .events = POLLIN } };
	struct uffd_msg msg[16];

	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			g_error("poll: %s", g_strerror(errno));
		if (fds[1].revents)
			return NULL;
		ssize_t n = read(m->uffd, msg, sizeof(msg));

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			g_error("userfaultfd: %s", g_strerror(errno));
		for (ssize_t i = 0; i < n / (ssize_t)sizeof(*msg); i++)
			if (msg[i].event == UFFD_EVENT_PAGEFAULT)
				serve(m, msg[i].arg.pagefault.address,
				      msg[i].arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE);
	}
}

gboolean kvm_faults_start(struct kvm_machine *m, GError **error)
{
	sigset_t all, old;

	m->uffd = kvm_uffd_open();
	m->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (m->uffd < 0 || m->stop_fd < 0) {
		g_set_error(error, VMM_ERROR, VMM_LACKS, "userfaultfd: %s", g_strerror(errno));
		return FALSE;
	}
	/* Signals are for the thread that runs vCPUs. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	m->fault_thread = g_thread_new("guest-faults", fault_thread, m);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return TRUE;
}

void kvm_faults_stop(struct kvm_machine *m)
{
	if (m->fault_thread) {
		uint64_t one = 1;

		if (write(m->stop_fd, &one, sizeof(one)) != sizeof(one))
			g_error("eventfd: %s", g_strerror(errno));
		g_thread_join(m->fault_thread);
	}
	m->fault_thread = NULL;
	if (m->stop_fd >= 0)
		close(m->stop_fd);
	if (m->uffd >= 0)
		close(m->uffd);
	m->stop_fd = m->uffd = -1;
}
