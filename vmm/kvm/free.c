/* SPDX-License-Identifier: MIT */
/*
 * free.c - the free schedule: every guest on a thread of its own, by the real clock
 *
 * Problem. Guests run at the same time, touch memory, sleep, wait for devices and fail, while the host samples,
 * merges, swaps and decides. One that hangs or dies must not hold up the others, and at the end each must stand where
 * its tables make sense, for the digest.
 *
 * Idea. Threads, beside the one that answers userfaultfd:
 *
 *	one a VM	KVM_RUN; hypercalls; sleeps here while its guest idles or a policy blocks it
 *	devices		notifications of disks (ioeventfd), what devices do by the clock, their interrupts;
 *			timers in shadow mode
 *	the caller	the host's work when it is due (vmm/host.h), samples, the end
 *
 * The lock of the machine is over all that counts or changes memory; nobody holds it while a guest runs. A guest's
 * time slices are its own: its local APIC ticks (irq.c), and its kernel switches processes without an exit.
 *
 * The end. Each guest is told by a word in its vCPU page, which its kernel sees at the next tick, and says HC_YIELD
 * when it is between two events; one that sleeps is there already. One that does not answer is left where it is.
 *
 * Invariants (tests/guest/test_kvm_free.c): what guests do in all is what they do in lockstep, whatever interrupts them
 * (each operation once); a guest that loops for ever fails alone; a run ends soon after SIGINT.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/kvm/kvm.h"
#include "workloads/guest/kernel.h"
#include "workloads/guest/virtio.h"

#define REST_NS	    50000ull
#define FOR_EVER_NS 1000000000ull
#define LOOK_NS	    10000000ull /* devices are looked at this often at least, and so is SIGINT */

static uint64_t now_of(const struct kvm_machine *m)
{
	return kvm_clock_ns() - m->start_ns;
}

/* Sleep with the lock held until somebody says so, or until @ns of the run. */
static void sleep_until(struct kvm_machine *m, GCond *cond, uint64_t ns)
{
	gint64 end = (gint64)((m->start_ns + MIN(ns, UINT64_MAX / 4)) / 1000 + 1);

	g_cond_wait_until(cond, &m->lock, end);
}

/* The guest's clock: its time-stamp counter, told once what time it is. */
static int start_clock(struct kvm_vm *vm)
{
	struct vcpu_page *v = kvm_vcpu_page(vm);
	g_autofree struct kvm_msrs *msrs = g_malloc0(sizeof(*msrs) + sizeof(msrs->entries[0]));
	int khz = ioctl(vm->vcpu_fd, KVM_GET_TSC_KHZ, 0);

	msrs->nmsrs = 1;
	msrs->entries[0].index = 0x10; /* IA32_TIME_STAMP_COUNTER */
	if (khz <= 0 || ioctl(vm->vcpu_fd, KVM_GET_MSRS, msrs) != 1)
		return -1;
	v->clock_ns = now_of(vm->m);
	v->clock_tsc = msrs->entries[0].data;
	v->clock_mult = (uint64_t)(((unsigned __int128)1000000 << 32) / (unsigned)khz);
	return 0;
}

/* A policy, or [vm] start, keeps it from running. */
static void wait_blocked(struct kvm_vm *vm)
{
	struct kvm_machine *m = vm->m;
	const struct host_vm *h = &m->host.vm[vm->id];

	g_mutex_lock(&m->lock);
	while (!m->ending && !vm->done && h->blocked_until > now_of(m))
		sleep_until(m, &vm->wake, h->blocked_until);
	g_mutex_unlock(&m->lock);
}

bool kvm_free_blocked(struct kvm_vm *vm)
{
	uint64_t until;

	if (!vm->m->free)
		return false;
	g_mutex_lock(&vm->m->lock);
	until = vm->m->host.vm[vm->id].blocked_until;
	g_mutex_unlock(&vm->m->lock);
	if (until <= now_of(vm->m))
		return false;
	wait_blocked(vm);
	return true;
}

/* HC_IDLE: until it wants to wake, or a device has something for it. */
static void idle(struct kvm_vm *vm)
{
	struct kvm_machine *m = vm->m;
	struct vcpu_page *v = kvm_vcpu_page(vm);
	uint64_t wake = v->wake_ns, began = kvm_clock_ns();

	g_mutex_lock(&m->lock);
	kvm_count_exit(vm, &vm->counters.exits_halt);
	while (!vm->raised && !m->ending && !vm->done && now_of(m) < wake) {
		/* What it has asked its disk for may not have been seen yet. */
		if (wake == UINT64_MAX && !vm->balloon && kvm_devices_next(vm) == UINT64_MAX &&
		    (!vm->disk || kvm_clock_ns() - began > FOR_EVER_NS))
			kvm_vm_fail_as(vm, FAILURE_HANG, "every process of the guest waits for ever");
		else
			sleep_until(m, &vm->wake, MIN(wake, now_of(m) + FOR_EVER_NS));
	}
	v->lines = vm->raised;
	vm->raised = 0;
	vm->idle_ns += kvm_clock_ns() - began;
	g_mutex_unlock(&m->lock);
}

/* What a hypercall asks for. False: the VM's thread is over. */
static bool serve(struct kvm_vm *vm, uint32_t call)
{
	switch (call) {
	case 0:
		return false;
	case HC_YIELD:
		return !vm->m->ending;
	case HC_IDLE:
		idle(vm);
		return !vm->m->ending;
	case HC_REFILL:
		g_mutex_lock(&vm->m->lock);
		kvm_trace_refill(vm);
		g_mutex_unlock(&vm->m->lock);
		return true;
	case HC_DONE:
		g_mutex_lock(&vm->m->lock);
		vm->done = true;
		g_mutex_unlock(&vm->m->lock);
		return false;
	default:
		kvm_loop_last_call(vm, call);
		return false;
	}
}

static gpointer vm_thread(gpointer data)
{
	struct kvm_vm *vm = data;
	struct kvm_machine *m = vm->m;
	GError *error = NULL;
	bool more;

	vm->has_watch = more = kvm_watch_start(&vm->watch, &error);
	if (!more || start_clock(vm) || (!vm->shadow && kvm_irq_timer(vm, m->run->e->experiment.tick_ns))) {
		g_mutex_lock(&m->lock);
		kvm_vm_fail(vm, "%s", more ? "this KVM lets it have neither clock nor timer" : error->message);
		g_mutex_unlock(&m->lock);
		more = false;
	}
	g_clear_error(&error);
	g_mutex_lock(&m->lock);
	vm->self = pthread_self();
	vm->running = true;
	g_mutex_unlock(&m->lock);
	wait_blocked(vm);
	while (more && !vm->done && !m->ending)
		more = serve(vm, kvm_vcpu_run(vm));
	g_mutex_lock(&m->lock);
	vm->running = false;
	host_bury(&m->host, vm->id);
	m->nrunning--;
	g_cond_broadcast(&m->changed);
	g_mutex_unlock(&m->lock);
	if (!vm->shadow)
		kvm_irq_timer(vm, 0);
	if (vm->has_watch)
		kvm_watch_stop(&vm->watch);
	return NULL;
}

/* One look at every VM's devices; when the next is due. Lock held. */
static uint64_t look_at_devices(struct kvm_machine *m)
{
	uint64_t now = now_of(m), next = now + LOOK_NS;

	for (unsigned i = 0; i < m->nvms; i++) {
		struct kvm_vm *vm = m->vms[i];

		if (vm->done)
			continue;
		next = MIN(next, kvm_irq_tick(vm, now));
		if (!vm->balloon && !vm->disk)
			continue;
		kvm_irq_raise(vm, kvm_devices_look(vm));
		next = MIN(next, kvm_devices_next(vm));
	}
	return next;
}

/* A disk's driver has notified: the same as its store would do, had it left the guest. */
static void notified(struct kvm_vm *vm)
{
	const uint32_t queue = 0;
	uint64_t n;

	if (read(vm->notify_fd, &n, sizeof(n)) != sizeof(n))
		return;
	g_mutex_lock(&vm->m->lock);
	if (!vm->done)
		kvm_mmio(vm, vm->boot.disk.registers + VIRTIO_MMIO_QUEUE_NOTIFY, true, (void *)&queue, sizeof(queue));
	g_mutex_unlock(&vm->m->lock);
}

static gpointer device_thread(gpointer data)
{
	struct kvm_machine *m = data;
	struct epoll_event events[16];
	uint64_t n;

	while (!m->devices_over) {
		struct pollfd fd = { .fd = m->device_poll, .events = POLLIN };
		uint64_t next, now;
		int nevents;

		g_mutex_lock(&m->lock);
		next = look_at_devices(m);
		g_mutex_unlock(&m->lock);
		now = now_of(m);
		next = next > now ? next - now : 0;
		if (ppoll(&fd, 1, &(struct timespec){ 0, (long)MIN(next, LOOK_NS) }, NULL) <= 0)
			continue;
		nevents = epoll_wait(m->device_poll, events, G_N_ELEMENTS(events), 0);
		for (int i = 0; i < nevents; i++) {
			if (events[i].data.ptr)
				notified(events[i].data.ptr);
			else if (read(m->device_fd, &n, sizeof(n)) != sizeof(n))
				g_debug("device eventfd: %s", g_strerror(errno));
		}
	}
	return NULL;
}

void kvm_free_poke(struct kvm_machine *m)
{
	const uint64_t one = 1;

	if (m->device_fd >= 0 && write(m->device_fd, &one, sizeof(one)) != sizeof(one))
		g_debug("device eventfd: %s", g_strerror(errno));
}

static void watch_fd(struct kvm_machine *m, int fd, struct kvm_vm *vm)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = vm };

	if (epoll_ctl(m->device_poll, EPOLL_CTL_ADD, fd, &ev))
		g_error("epoll: %s", g_strerror(errno));
}

/* Notifications of the disk's only queue need not leave the guest. One that cannot be had so leaves it. */
static void connect_disk(struct kvm_vm *vm)
{
	struct kvm_ioeventfd io = {
		.addr = vm->boot.disk.registers + VIRTIO_MMIO_QUEUE_NOTIFY,
		.len = 4,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
	};

	vm->notify_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	io.fd = vm->notify_fd;
	if (vm->notify_fd < 0 || ioctl(vm->fd, KVM_IOEVENTFD, &io))
		g_info("%s: disk without ioeventfd: %s", vm->out->name, g_strerror(errno));
	else
		watch_fd(vm->m, vm->notify_fd, vm);
}

/* Threads take no signals but the one that interrupts KVM_RUN: SIGINT is for the caller. */
static GThread *start_thread(const char *name, GThreadFunc run, gpointer data, bool watched)
{
	sigset_t set, old;
	GThread *t;

	sigfillset(&set);
	if (watched)
		sigdelset(&set, KVM_WATCH_SIGNAL);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	t = g_thread_new(name, run, data);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return t;
}

static void start(struct kvm_machine *m)
{
	m->device_poll = epoll_create1(EPOLL_CLOEXEC);
	m->device_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->device_poll < 0 || m->device_fd < 0)
		g_error("devices: %s", g_strerror(errno));
	watch_fd(m, m->device_fd, NULL);
	for (unsigned i = 0; i < m->nvms; i++)
		if (m->vms[i]->disk && !m->shadow)
			connect_disk(m->vms[i]);
	m->start_ns = kvm_clock_ns();
	m->nrunning = m->nvms;
	m->device_thread = start_thread("devices", device_thread, m, false);
	for (unsigned i = 0; i < m->nvms; i++)
		m->vms[i]->thread = start_thread("vcpu", vm_thread, m->vms[i], true);
}

static void stop(struct kvm_machine *m)
{
	g_mutex_lock(&m->lock);
	m->ending = true;
	for (unsigned i = 0; i < m->nvms; i++) {
		kvm_vcpu_page(m->vms[i])->stop = 1;
		/* Lest the next tick is far. */
		kvm_irq_raise(m->vms[i], IRQ_DISK);
	}
	g_mutex_unlock(&m->lock);
	for (unsigned i = 0; i < m->nvms; i++)
		g_thread_join(m->vms[i]->thread);
	m->devices_over = true;
	kvm_free_poke(m);
	g_thread_join(m->device_thread);
	for (unsigned i = 0; i < m->nvms; i++)
		if (m->vms[i]->notify_fd >= 0)
			close(m->vms[i]->notify_fd);
	close(m->device_fd);
	close(m->device_poll);
	m->device_fd = -1;
}

/* What is due of the host's own work; when the next is. Lock held. */
static uint64_t work_of_host(struct kvm_machine *m, uint64_t now)
{
	uint64_t next;

	host_decide(&m->host, now);
	for (unsigned i = 0; i < m->nvms; i++)
		if (host_upkeep_due(&m->host, i, now))
			host_upkeep(&m->host, i, now);
	host_scan(&m->host, now);
	host_estimate(&m->host, now);
	next = MIN(policy_run_due(m->host.policy), MIN(host_scan_due(&m->host), host_estimate_due(&m->host)));
	for (unsigned i = 0; i < m->nvms; i++)
		if (!m->vms[i]->done)
			next = MIN(next, host_upkeep_next(&m->host, i));
	return next;
}

/* A policy may have let somebody run, or taken the processor from somebody. Lock held. */
static void after_decision(struct kvm_machine *m, uint64_t now)
{
	for (unsigned i = 0; i < m->nvms; i++) {
		struct kvm_vm *vm = m->vms[i];

		if (m->host.vm[i].blocked_until > now)
			kvm_vcpu_kick(vm);
		else
			g_cond_broadcast(&vm->wake);
	}
}

void kvm_free_run(struct kvm_machine *m)
{
	uint64_t now, next, rest;

	sampler_tick(&m->sampler, 0);
	start(m);
	for (;;) {
		now = now_of(m);
		sampler_tick(&m->sampler, now);
		g_mutex_lock(&m->lock);
		m->now_ns = now;
		next = work_of_host(m, now);
		if (m->host.policy)
			after_decision(m, now);
		next = MIN(next, sampler_due(&m->sampler));
		if (m->run->e->experiment.duration_ns)
			next = MIN(next, m->run->e->experiment.duration_ns);
		/* Who has worked rests for as long at least: guests that wait for the lock get it. */
		rest = now_of(m) + MAX(REST_NS, now_of(m) - now);
		if (m->nrunning)
			sleep_until(m, &m->changed, CLAMP(next, rest, MAX(rest, now + LOOK_NS)));
		m->now_ns = now_of(m);
		now = m->nrunning;
		g_mutex_unlock(&m->lock);
		kvm_loop_progress(m);
		if (!now || kvm_loop_over(m))
			break;
	}
	stop(m);
	m->now_ns = now_of(m);
}
