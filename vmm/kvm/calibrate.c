/* SPDX-License-Identifier: MIT */
/*
 * calibrate.c - what this KVM's exits and faults cost, by a guest of a few instructions
 *
 * A fault is timed by a loop in the guest that touches each page of its memory once; between rounds the memory is put
 * back into the state in which each touch faults again. What the loop itself takes is a nanosecond a page.
 */
#include "vmm/calibrate.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/kvm/kvm.h"
#include "vmm/kvm/tiny.h"

enum { NPAGES = 1024, NBYTES = NPAGES * PAGE_SIZE };

/* Pages of a memfd: @shared, or each a private copy of what the file holds when it is written. */
static uint8_t *map_file(bool shared)
{
	int fd = memfd_create("overbook-calibrate", MFD_CLOEXEC);
	void *at = MAP_FAILED;

	if (fd >= 0 && !ftruncate(fd, NBYTES))
		at = mmap(NULL, NBYTES, PROT_READ | PROT_WRITE, shared ? MAP_SHARED : MAP_PRIVATE, fd, 0);
	if (fd >= 0)
		close(fd);
	return at == MAP_FAILED ? NULL : at;
}

static unsigned npages(const struct calibration *c)
{
	return c->quick ? NPAGES / 4 : NPAGES;
}

static void lacks(struct calibration *c, enum measure m, long err)
{
	measured_lacks(c, m, g_strerror(err < 0 ? (int)-err : errno));
}

static void measure_loop(struct calibration *c, struct tiny *t, enum measure m, enum tiny_code code, unsigned cpl)
{
	const uint64_t n = c->quick ? 50 : 500;
	double ns[CALIBRATE_ROUNDS];
	long err = 0;

	for (unsigned r = 0; r < c->rounds && err >= 0; r++) {
		double begin = calibrate_cpu();

		err = tiny_run(t, code, cpl, 0, n);
		ns[r] = (calibrate_cpu() - begin) / (double)n;
	}
	if (err < 0)
		lacks(c, m, err);
	else
		measured_set(c, m, ns, c->rounds);
}

/* Run over all pages. ns a page by @clock, negative: -errno. */
static double touch(const struct calibration *c, struct tiny *t, enum tiny_code code, double (*clock)(void))
{
	double begin = clock();
	long err = tiny_run(t, code, 3, TINY_DATA, npages(c));

	return err < 0 ? (double)err : (clock() - begin) / npages(c);
}

/* What was measured, or @err; the guest's memory at @at, if there is any, is taken away. */
static void finish(struct calibration *c, enum measure m, double *ns, long err, struct tiny *t, uint8_t *at)
{
	if (err)
		lacks(c, m, err);
	else
		measured_set(c, m, ns, c->rounds);
	if (at) {
		tiny_map(t, at, 0);
		munmap(at, NBYTES);
	}
}

/* What the host has mapped, KVM has not: dropping a shared mapping leaves the file's pages where they are. */
static void measure_kvm_fault(struct calibration *c, struct tiny *t)
{
	double ns[CALIBRATE_ROUNDS];
	uint8_t *at = map_file(true);
	long err = at ? tiny_map(t, at, NBYTES) : -ENOMEM;

	for (unsigned r = 0; r < c->rounds && !err; r++) {
		madvise(at, NBYTES, MADV_DONTNEED);
		for (size_t i = 0; i < NPAGES; i++)
			*(volatile uint8_t *)(at + i * PAGE_SIZE) = 1;
		ns[r] = touch(c, t, TINY_READ, calibrate_cpu);
		if (ns[r] < 0)
			err = (long)ns[r];
	}
	finish(c, M_KVM_FAULT, ns, err, t, at);
}

/* Pages that the guest has read and now writes: the kernel copies each. */
static void measure_cow(struct calibration *c, struct tiny *t)
{
	double ns[CALIBRATE_ROUNDS];
	uint8_t *at = map_file(false);
	long err = at ? tiny_map(t, at, NBYTES) : -ENOMEM;

	for (unsigned r = 0; r < c->rounds && !err; r++) {
		madvise(at, NBYTES, MADV_DONTNEED);
		ns[r] = touch(c, t, TINY_READ, calibrate_cpu);
		if (ns[r] >= 0)
			ns[r] = touch(c, t, TINY_WRITE, calibrate_cpu);
		if (ns[r] < 0)
			err = (long)ns[r];
	}
	finish(c, M_COW, ns, err, t, at);
}

/* As the fault thread of a run, but that nobody is asked. */
struct server {
	int uffd, stop;
};

static gpointer serve(gpointer data)
{
	const struct server *s = data;
	struct pollfd fds[2] = { { .fd = s->uffd, .events = POLLIN }, { .fd = s->stop, .events = POLLIN } };
	struct uffd_msg msg;

	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (fds[1].revents)
			return NULL;
		if (read(s->uffd, &msg, sizeof(msg)) != sizeof(msg) || msg.event != UFFD_EVENT_PAGEFAULT)
			continue;

		struct uffdio_zeropage z = {
			.range = { msg.arg.pagefault.address & ~(uint64_t)(PAGE_SIZE - 1), PAGE_SIZE },
		};

		if (ioctl(s->uffd, UFFDIO_ZEROPAGE, &z) && errno == EEXIST)
			ioctl(s->uffd, UFFDIO_WAKE, &z.range);
	}
}

static long violations(struct calibration *c, struct tiny *t, uint8_t *at, int uffd)
{
	struct uffdio_register reg = {
		.range = { (uintptr_t)at, NBYTES }, .mode = UFFDIO_REGISTER_MODE_MISSING
	};
	struct server s = { .uffd = uffd, .stop = eventfd(0, EFD_CLOEXEC) };
	double ns[CALIBRATE_ROUNDS];
	uint64_t one = 1;
	long err = 0;
	GThread *thread;

	if (s.stop < 0 || ioctl(uffd, UFFDIO_REGISTER, &reg)) {
		err = -errno;
		goto out;
	}
	thread = g_thread_new("calibrate-faults", serve, &s);
	for (unsigned r = 0; r < c->rounds && err >= 0; r++) {
		madvise(at, NBYTES, MADV_REMOVE);
		ns[r] = touch(c, t, TINY_WRITE, calibrate_now);
		if (ns[r] < 0)
			err = (long)ns[r];
	}
	if (write(s.stop, &one, sizeof(one)) != sizeof(one))
		g_error("eventfd: %s", g_strerror(errno));
	g_thread_join(thread);
	if (err >= 0)
		measured_set(c, M_VIOLATION, ns, c->rounds);
out:
	if (s.stop >= 0)
		close(s.stop);
	return err;
}

static void measure_violation(struct calibration *c, struct tiny *t)
{
	int uffd = kvm_uffd_open();
	uint8_t *at = map_file(true);
	long err = uffd < 0 ? -errno : at ? tiny_map(t, at, NBYTES) : -ENOMEM;

	if (!err)
		err = violations(c, t, at, uffd);
	if (err < 0)
		lacks(c, M_VIOLATION, err);
	if (at) {
		tiny_map(t, at, 0);
		munmap(at, NBYTES);
	}
	if (uffd >= 0)
		close(uffd);
}

static void measure_shadow_fault(struct calibration *c)
{
	const uint64_t n = c->quick ? 128 : 512;
	double ns[CALIBRATE_ROUNDS];
	long err = 0;

	for (unsigned r = 0; r < c->rounds && err >= 0; r++) {
		struct tiny t;

		err = tiny_open(&t);
		/* What the first exits of a VM cost more is not the fault's. */
		if (!err)
			err = tiny_run(&t, TINY_OUT, 3, 0, 5);

		double begin = calibrate_cpu();

		if (err >= 0)
			err = tiny_fault(&t, n);
		ns[r] = (calibrate_cpu() - begin) / (double)n;
		tiny_close(&t);
	}
	if (err < 0)
		lacks(c, M_SHADOW_FAULT, err);
	else
		measured_set(c, M_SHADOW_FAULT, ns, c->rounds);
}

void calibrate_kvm(struct calibration *c)
{
	struct tiny t;
	int err = tiny_open(&t);

	for (enum measure m = M_EXIT; err && m <= M_SHADOW_FAULT; m++) {
		g_autofree char *why = g_strdup_printf("/dev/kvm: %s", g_strerror(-err));

		measured_lacks(c, m, why);
	}
	if (!err) {
		measure_loop(c, &t, M_EXIT, TINY_OUT, 3);
		measure_loop(c, &t, M_EXIT_KERNEL, TINY_OUT, 0);
		measure_loop(c, &t, M_EXCEPTION, TINY_BREAKPOINT, 3);
		measure_kvm_fault(c, &t);
		measure_cow(c, &t);
		measure_violation(c, &t);
		measure_shadow_fault(c);
	}
	tiny_close(&t);
}
