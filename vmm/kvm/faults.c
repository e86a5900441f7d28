/* SPDX-License-Identifier: MIT */
/*
 * faults.c - the userfaultfd and the thread that answers it
 *
 * A vCPU that touches what is not in the guest's reach, or writes what is in its reach for reading only, waits inside
 * KVM's own fault handler; a message says where. What follows is what a processor does that walks ept/'s table: look
 * there; if the access is allowed, go on; if not, an EPT violation, and look again. Then the page is shown and the vCPU
 * woken. Messages may be late (the page was shown for another vCPU, or is hidden again by now): looking anew each time
 * makes that harmless.
 *
 * Invariant (tests/guest/test_kvm_memory.c: counts): exits_ept_violation and what gmem counts are the simulator's;
 * kvm_refaults is what this machine adds.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ept/ept.h"
#include "mm/err.h"
#include "vmm/kvm/kvm.h"

/* Linux 5.19 has them all. */
#define FEATURES (UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_PAGEFAULT_FLAG_WP | \
		  UFFD_FEATURE_WP_HUGETLBFS_SHMEM)

int kvm_uffd_open(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = FEATURES };
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
		err = errno == EINVAL ? EOPNOTSUPP : errno;
		close(fd);
		errno = err;
		return -1;
	}
	return fd;
}

int kvm_uffd_register(struct kvm_machine *m, void *at, uint64_t nbytes)
{
	struct uffdio_register r = {
		.range = { (uintptr_t)at, nbytes },
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP,
	};

	return ioctl(m->uffd, UFFDIO_REGISTER, &r) ? ERR(-errno) : 0;
}

/*
 * The vCPU waits in the kernel and cannot be interrupted there: give it a page so that it comes out, and see to it that
 * it does not run on.
 */
static void give_up(struct kvm_vm *vm, gpa_t gpa, int err)
{
	kvm_vm_fail_as(vm, failure_of(err), "access to guest-physical 0x%" G_GINT64_MODIFIER "x: %s", gpa,
		       failure_text(err));
	kvm_vcpu_halt(vm);
	kvm_memory_release_vcpu(vm, gpa >> PAGE_SHIFT);
}

/* The access that a vCPU could not complete, seen by ept/'s table. */
static int resolve(struct kvm_vm *vm, gpa_t gpa, bool write)
{
	struct paging_fault f = { .error = PF_U | (write ? PF_W : 0), .second_stage = true, .gpa = gpa };
	unsigned access = write ? ACC_W : ACC_R;
	struct ept_leaf leaf;
	int err = 0;

	if (ept_access(vm->paging, gpa, access, &leaf)) {
		vm->counters.kvm_refaults++;
		return kvm_memory_show(vm, gpa >> PAGE_SHIFT);
	}
	kvm_count_exit(vm, &vm->counters.exits_ept_violation);
	if (vm->paging->ops->fault(vm->paging, &f, &err) != PAGING_RETRY)
		return err;
	/* The processor tries again: its accessed and dirty bits. */
	if (!ept_access(vm->paging, gpa, access, &leaf))
		return ERR(-EFAULT);
	return kvm_memory_show(vm, gpa >> PAGE_SHIFT);
}

static struct kvm_vm *vm_at(struct kvm_machine *m, uint64_t address)
{
	for (unsigned i = 0; i < m->nvms; i++)
		if (m->vms[i] && kvm_memory_has(m->vms[i], address))
			return m->vms[i];
	return NULL;
}

static void serve(struct kvm_machine *m, const struct uffd_msg *msg)
{
	uint64_t page = msg->arg.pagefault.address & PAGE_MASK;
	bool write = msg->arg.pagefault.flags & (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP);
	struct uffdio_range range = { .start = page, .len = PAGE_SIZE };
	uint64_t began = kvm_clock_ns();
	struct kvm_vm *vm;
	gpa_t gpa;
	int err;

	g_mutex_lock(&m->lock);
	vm = vm_at(m, page);
	g_assert(vm);
	gpa = vm->arena_pages * PAGE_SIZE + (page - (uintptr_t)vm->memory);
	err = vm->done ? 0 : resolve(vm, gpa, write);
	if (err) {
		give_up(vm, gpa, err);
	} else if (vm->done) {
		kvm_vcpu_halt(vm);
		kvm_memory_release_vcpu(vm, gpa >> PAGE_SHIFT);
	}
	vm->fault_ns += kvm_clock_ns() - began;
	g_mutex_unlock(&m->lock);
	if (ioctl(m->uffd, UFFDIO_WAKE, &range))
		g_error("cannot wake a vCPU: %s", g_strerror(errno));
}

static gpointer fault_thread(gpointer data)
{
	struct kvm_machine *m = data;
	struct pollfd fds[2] = { { .fd = m->uffd, .events = POLLIN }, { .fd = m->stop_fd, .events = POLLIN } };
	struct uffd_msg msg[16];

	atomic_store(&m->fault_tid, gettid());
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
				serve(m, &msg[i]);
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
