/* SPDX-License-Identifier: MIT */
/*
 * test_kvm_memory.c - the memory of real guests in ept mode, taken away and given back under their hands
 *
 * The guest is tests/lib/raw_guest.h's: it checks what it wrote. What is done to its memory is what gmem's callers do.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/lib/raw_guest.h"
#include "tests/lib/kvm_text.h"
#include "tests/lib/suite.h"
#include "vmm/kvm/store.h"
#include "workloads/rng.h"

#define GUESTS(n)                                                                                                      \
	"[vm a]\ncount = " n "\nmemory = 32 MiB\nworkload = w\n[workload w]\nphases = p\n"                             \
	"[phase p]\npattern = uniform\nsize = 64 KiB\noperations = 1\n"
#define EXPERIMENT "[experiment]\nmachine = kvm\nschedule = lockstep\n"

static struct text_run t;
static struct kvm_machine m;

static void start(const char *text)
{
	must_make(&t, &m, text);
	ck_assert(host_begin(&m.host, NULL));
}

static void stop(void)
{
	for (unsigned i = 0; i < m.nvms; i++) {
		ck_assert_int_eq(m.vms[i]->paging->ops->verify(m.vms[i]->paging), 0);
		ck_assert_msg(!m.vms[i]->out->failure, "%s", m.vms[i]->out->failure);
	}
	kvm_machine_destroy(&m);
	run_text_free(&t);
}

static gfn_t first(const struct kvm_vm *vm)
{
	return vm->arena_pages;
}

/* Pages that a file holds. */
static uint64_t held(int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks / 8;
}

static enum page_state state_of(struct kvm_vm *vm, gfn_t gfn)
{
	struct gmem_page page;

	ck_assert_int_eq(gmem_lookup(vm->gmem, gfn, &page), 0);
	return page.state;
}

static void check_contents(struct kvm_vm *vm, uint64_t npages)
{
	uint64_t words[512], rounds = raw_guest_round(vm);

	for (uint64_t p = 0; p < npages; p++) {
		ck_assert_int_eq(gmem_peek(vm->gmem, first(vm) + p, words), 0);
		for (unsigned w = 0; w < 512; w++)
			ck_assert_uint_eq(words[w], raw_guest_expect(p, w, rounds));
	}
}

static gpointer run_guest(gpointer data)
{
	struct kvm_vm *vm = data;

	return GINT_TO_POINTER(raw_guest_run(vm, UINT64_MAX >> 32));
}

/* What if nothing is done to it? Every page faults once; the file has those pages and no others. */
START_TEST(undisturbed)
{
	struct kvm_vm *vm;

	start(EXPERIMENT GUESTS("1"));
	vm = m.vms[0];
	raw_guest_start(vm, 300);
	ck_assert(raw_guest_run(vm, 600));
	check_contents(vm, 300);
	ck_assert_uint_eq(vm->counters.faults_absent, 300);
	ck_assert_uint_eq(vm->counters.exits_ept_violation, 300);
	ck_assert_uint_eq(vm->counters.kvm_refaults, 0);
	ck_assert_uint_eq(held(vm->memfd), 300);
	stop();
}
END_TEST

/* What if a hot page is taken out of reach again and again? It comes back as it was, and each touch is seen. */
START_TEST(hot_page)
{
	unsigned n = suite_scaled(200), young = 0;
	struct kvm_vm *vm;
	GThread *guest;

	start(EXPERIMENT GUESTS("1"));
	vm = m.vms[0];
	raw_guest_start(vm, 1);
	ck_assert(raw_guest_run(vm, 10));
	guest = g_thread_new("guest", run_guest, vm);
	for (unsigned i = 0; i < n; i++) {
		uint64_t seen;

		g_mutex_lock(&m.lock);
		young += gmem_test_clear_young(vm->gmem, first(vm));
		seen = raw_guest_round(vm);
		g_mutex_unlock(&m.lock);
		while (raw_guest_round(vm) < seen + 3)
			g_thread_yield();
	}
	raw_guest_stop(vm);
	ck_assert(GPOINTER_TO_INT(g_thread_join(guest)));
	ck_assert_uint_eq(young, n);
	ck_assert_uint_eq(vm->counters.faults_young, n);
	check_contents(vm, 1);
	stop();
}
END_TEST

/* What if a page was hidden by more than needed? The touch is put right without the memory manager. */
START_TEST(refaults)
{
	struct kvm_vm *vm;

	start(EXPERIMENT GUESTS("1"));
	vm = m.vms[0];
	raw_guest_start(vm, 64);
	ck_assert(raw_guest_run(vm, 5));
	g_mutex_lock(&m.lock);
	m.machine.ops->flush(&m.machine, 0, FLUSH_VM, 0, 0);
	g_mutex_unlock(&m.lock);
	ck_assert(raw_guest_run(vm, 6));
	/* Those behind the page that was touched are shown with it, 16 at a time. */
	ck_assert_uint_eq(vm->counters.kvm_refaults, 4);
	ck_assert_uint_eq(vm->counters.exits_ept_violation, 64);
	check_contents(vm, 64);
	stop();
}
END_TEST

/* What if writes are logged? Each page that was written is in the log once a round, and no other. */
START_TEST(dirty_log)
{
	uint64_t bitmap[32 * 256 / 64];
	struct kvm_vm *vm;

	start(EXPERIMENT GUESTS("1"));
	vm = m.vms[0];
	raw_guest_start(vm, 100);
	ck_assert(raw_guest_run(vm, 3));
	ck_assert_int_eq(gmem_dirty_log_start(vm->gmem), 0);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert(raw_guest_run(vm, 5 + 2 * i));
		g_mutex_lock(&m.lock);
		ck_assert_uint_eq(gmem_dirty_log_collect(vm->gmem, bitmap), 100);
		g_mutex_unlock(&m.lock);
		for (gfn_t g = 0; g < vm->npages; g++)
			ck_assert_uint_eq(bitmap[g / 64] >> (g % 64) & 1, g - first(vm) < 100);
	}
	ck_assert_uint_eq(gmem_dirty_log_collect(vm->gmem, bitmap), 0);
	ck_assert_uint_eq(vm->counters.dirty_log_writes, 300);
	gmem_dirty_log_stop(vm->gmem);
	ck_assert(raw_guest_run(vm, 20));
	check_contents(vm, 100);
	stop();
}
END_TEST

/* Pages p and q of VMs a and b map one frame, that of p. */
static void merge(struct kvm_vm *a, uint64_t p, struct kvm_vm *b, uint64_t q)
{
	hfn_t hfn;

	ck_assert_int_eq(gmem_share_protect(a->gmem, first(a) + p), 0);
	ck_assert_int_eq(gmem_share_protect(b->gmem, first(b) + q), 0);
	ck_assert_int_eq(gmem_share_begin(a->gmem, first(a) + p, &hfn), 0);
	ck_assert_int_eq(gmem_share(b->gmem, first(b) + q, hfn), 0);
}

/* What if equal pages become one? It holds one page; a write of one VM leaves the others' as they were. */
START_TEST(cow)
{
	struct kvm_vm *a, *b;

	start(EXPERIMENT GUESTS("2"));
	a = m.vms[0];
	b = m.vms[1];
	raw_guest_start(a, 8);
	raw_guest_start(b, 8);
	ck_assert(raw_guest_run(a, 700) && raw_guest_run(b, 700));
	g_mutex_lock(&m.lock);
	for (unsigned i = 0; i < 8; i++)
		merge(a, i, b, i);
	g_mutex_unlock(&m.lock);
	ck_assert_uint_eq(held(a->memfd) + held(b->memfd), 0);
	ck_assert_uint_eq(held(m.merge.fd), 8);
	check_contents(a, 8);
	check_contents(b, 8);
	ck_assert(raw_guest_run(a, 701));
	ck_assert_uint_eq(a->counters.faults_write_shared, 8);
	check_contents(a, 8);
	check_contents(b, 8);
	ck_assert(raw_guest_run(b, 1300) && raw_guest_run(a, 1300));
	ck_assert_uint_eq(b->counters.faults_write_shared, 8);
	ck_assert_uint_eq(held(m.merge.fd), 0);
	ck_assert_uint_eq(m.merge.used, 0);
	check_contents(a, 8);
	check_contents(b, 8);
	stop();
}
END_TEST

/* What if pages are zeros? They map the one zero frame until they are written. */
START_TEST(zero)
{
	struct kvm_vm *vm;
	struct gmem_page page;

	start(EXPERIMENT GUESTS("1"));
	vm = m.vms[0];
	g_mutex_lock(&m.lock);
	for (unsigned i = 0; i < 20; i++) {
		ck_assert_int_eq(gmem_fault(vm->gmem, first(vm) + i, ACC_R, FAULT_PREFETCH, &page), 0);
		ck_assert_int_eq(m.machine.ops->compare(&m.machine, page.hfn, HFN_NONE), 0);
		ck_assert_int_eq(gmem_share_zero(vm->gmem, first(vm) + i), 0);
	}
	g_mutex_unlock(&m.lock);
	ck_assert_uint_eq(held(vm->memfd), 0);
	raw_guest_start(vm, 30);
	ck_assert(raw_guest_run(vm, 1));
	ck_assert_uint_eq(vm->counters.faults_write_shared, 20);
	ck_assert(raw_guest_run(vm, 600));
	ck_assert_uint_eq(held(vm->memfd), 30);
	check_contents(vm, 30);
	stop();
}
END_TEST

/* Mappings of @vm's memory above its arena. */
static uint64_t mappings(const struct kvm_vm *vm)
{
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long from, to;
	uint64_t n = 0;
	char line[512];

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		n += sscanf(line, "%lx-%lx", &from, &to) == 2 && kvm_memory_has(vm, from);
	fclose(f);
	return n;
}

/* What if there are only so many mappings? They are counted right, and whoever comes too late is refused, unharmed. */
START_TEST(budget)
{
	uint64_t npages = MAX(suite_scaled(400), 120);
	struct kvm_vm *vm;
	unsigned refused = 0;
	hfn_t hfn, low = 0;

	start("[host]\nmappings = 40\n" EXPERIMENT GUESTS("1"));
	vm = m.vms[0];
	raw_guest_start(vm, npages);
	ck_assert(raw_guest_run(vm, 513));
	g_mutex_lock(&m.lock);
	for (unsigned p = 1; p < npages; p += 1 + p % 3) {
		int err = gmem_share_begin(vm->gmem, first(vm) + p, &hfn);

		ck_assert_msg(!err || err == -ENOSPC, "%d", err);
		ck_assert_uint_eq(mappings(vm), 1 + m.merge.used);
		ck_assert_int_eq(state_of(vm, first(vm) + p), err ? PAGE_RESIDENT : PAGE_SHARED);
		refused += err != 0;
		low = MAX(low, m.merge.used);
	}
	g_mutex_unlock(&m.lock);
	ck_assert_uint_gt(refused, 0);
	ck_assert(low <= 40 && low >= 38);
	check_contents(vm, npages);
	/* What is written leaves, and makes room. */
	ck_assert(raw_guest_run(vm, 515));
	ck_assert_uint_eq(m.merge.used, 0);
	ck_assert_uint_eq(mappings(vm), 1);
	check_contents(vm, npages);
	/* What left without being touched does so when room is needed. */
	for (unsigned turn = 0; turn < 3; turn++) {
		for (unsigned p = 0; p < 40; p += 2)
			ck_assert_int_eq(gmem_share_begin(vm->gmem, first(vm) + 40 * turn + p, &hfn), 0);
		for (unsigned p = 0; p < 40; p += 2)
			ck_assert_int_eq(gmem_unshare(vm->gmem, first(vm) + 40 * turn + p), 0);
	}
	ck_assert(raw_guest_run(vm, 1030));
	check_contents(vm, npages);
	stop();
}
END_TEST

/* What if pages go to swap, to memory and to the device, and come back? */
START_TEST(swapped)
{
	uint64_t npages = MAX(suite_scaled(600), 150), stay = npages / 3;
	struct kvm_vm *vm;

	start("[swap]\nsize = 16 MiB\ncompressed-pool = 32 KiB\n" EXPERIMENT GUESTS("1"));
	vm = m.vms[0];
	raw_guest_start(vm, npages);
	ck_assert(raw_guest_run(vm, 600));
	g_mutex_lock(&m.lock);
	ck_assert_int_eq(swap_set_limit(m.host.swap, 0, stay), 0);
	host_evict(&m.host);
	ck_assert_uint_eq(vm->counters.pages_swapped + vm->counters.pages_compressed, npages - stay);
	ck_assert_uint_gt(vm->counters.pages_compressed, 0);
	ck_assert_uint_gt(vm->counters.pages_swapped, 0);
	ck_assert_uint_eq(held(vm->memfd), stay);
	check_contents(vm, npages);
	g_mutex_unlock(&m.lock);
	ck_assert(raw_guest_run(vm, 603));
	check_contents(vm, npages);
	ck_assert_uint_ge(vm->counters.swap_ins, (npages - stay) * 3);
	ck_assert_int_eq(swap_verify(m.host.swap), 0);
	stop();
}
END_TEST

/* What if the balloon takes pages? The file loses them; those that come back are zeros. */
START_TEST(ballooned)
{
	uint64_t words[512];
	struct kvm_vm *vm;

	start(EXPERIMENT GUESTS("1"));
	vm = m.vms[0];
	raw_guest_start(vm, 500);
	ck_assert(raw_guest_run(vm, 2));
	g_mutex_lock(&m.lock);
	for (unsigned p = 100; p < 400; p++)
		ck_assert_int_eq(gmem_balloon(vm->gmem, first(vm) + p), 0);
	ck_assert_uint_eq(held(vm->memfd), 200);
	gmem_deflate_all(vm->gmem);
	for (unsigned p = 100; p < 400; p++) {
		ck_assert_int_eq(gmem_peek(vm->gmem, first(vm) + p, words), 0);
		for (unsigned w = 0; w < 512; w++)
			ck_assert_uint_eq(words[w], 0);
	}
	g_mutex_unlock(&m.lock);
	raw_guest_start(vm, 300); /* the first hundred have what the last run left: it fails there */
	ck_assert(!raw_guest_run(vm, 1));
	stop();
}
END_TEST

/* What is done to the guests' memory, at random, with the lock held. */
static void disturb(struct rng *r, uint64_t npages)
{
	static uint64_t bitmap[32 * 256 / 64];
	struct kvm_vm *vm = m.vms[rng_below(r, m.nvms)];
	gfn_t gfn = first(vm) + rng_below(r, npages);
	uint64_t word;

	switch (rng_below(r, 10)) {
	case 0:
	case 1:
		ck_assert_int_eq(swap_set_limit(m.host.swap, vm->id, npages / 4 + rng_below(r, npages)), 0);
		host_evict(&m.host);
		break;
	case 2:
	case 3:
		dedup_scan(m.host.dedup, 1 + rng_below(r, 200));
		break;
	case 4:
		gmem_unshare(vm->gmem, gfn);
		break;
	case 5:
		gmem_test_clear_young(vm->gmem, gfn);
		break;
	case 6:
		gmem_share_protect(vm->gmem, gfn);
		break;
	case 7:
		if (!gmem_dirty_logging(vm->gmem))
			ck_assert_int_eq(gmem_dirty_log_start(vm->gmem), 0);
		else if (rng_below(r, 2))
			gmem_dirty_log_collect(vm->gmem, bitmap);
		else
			gmem_dirty_log_stop(vm->gmem);
		break;
	case 8:
		if (!gmem_read(vm->gmem, gfn << PAGE_SHIFT, &word, sizeof(word)))
			gmem_move(vm->gmem, gfn, 0);
		break;
	default:
		if (rng_below(r, 20) == 0)
			ck_assert_int_eq(dedup_unmerge(m.host.dedup), 0);
	}
}

struct runner {
	struct kvm_vm *vm;
	uint64_t rounds;
	gint *running;
};

static gpointer run_to_end(gpointer data)
{
	struct runner *r = data;
	bool ok = raw_guest_run(r->vm, r->rounds);

	g_atomic_int_dec_and_test(r->running);
	return GINT_TO_POINTER(ok);
}

#define EVERYTHING "[dedup]\nalgorithm = ksm\nsmart-scan = no\n" EXPERIMENT GUESTS("2")

enum { NPAGES = 128 };

/* The guest gets on, or has ended. */
static void wait_for(const struct kvm_vm *vm, uint64_t round, gint *running)
{
	while (g_atomic_int_get(running) == 2 && raw_guest_round(vm) < round)
		g_thread_yield();
}

/* Until the guests have ended; or so often, after which they go on by themselves. SOAK: for so many seconds. */
static void disturb_all(gint *running, uint64_t most)
{
	const char *soak = getenv("SOAK");
	gint64 end = g_get_monotonic_time() + (soak ? atoi(soak) : 0) * G_USEC_PER_SEC;
	struct rng r;

	rng_seed(&r, 5);
	for (uint64_t n = 0; g_atomic_int_get(running) && (soak ? g_get_monotonic_time() < end : n < most); n++) {
		g_mutex_lock(&m.lock);
		disturb(&r, NPAGES);
		g_mutex_unlock(&m.lock);
		wait_for(m.vms[n % 2], n / 4, running);
	}
	g_mutex_lock(&m.lock);
	for (unsigned i = 0; i < m.nvms; i++) {
		ck_assert_int_eq(swap_set_limit(m.host.swap, i, UINT64_MAX), 0);
		if (soak)
			raw_guest_stop(m.vms[i]);
	}
	g_mutex_unlock(&m.lock);
}

/* Both guests run, disturbed; true for those that found no wrong word. */
static void run_disturbed(bool ok[2])
{
	uint64_t rounds = getenv("SOAK") ? UINT64_MAX >> 32 : suite_scaled(700);
	struct runner runner[2];
	GThread *thread[2];
	gint running = 2;

	for (unsigned i = 0; i < 2; i++) {
		raw_guest_start(m.vms[i], NPAGES);
		runner[i] = (struct runner){ m.vms[i], rounds, &running };
		thread[i] = g_thread_new("guest", run_to_end, &runner[i]);
	}
	disturb_all(&running, MAX(suite_scaled(700), 200));
	for (unsigned i = 0; i < 2; i++)
		ok[i] = GPOINTER_TO_INT(g_thread_join(thread[i]));
}

/* What if everything happens at once, to two guests that run on, each on a processor of its own? No word is wrong. */
START_TEST(integrity)
{
	bool ok[2];

	start("[swap]\nsize = 16 MiB\ncompressed-pool = 8 KiB\n" EVERYTHING);
	run_disturbed(ok);
	for (unsigned i = 0; i < 2; i++) {
		struct kvm_vm *vm = m.vms[i];

		ck_assert(ok[i]);
		gmem_dirty_log_stop(vm->gmem);
		check_contents(vm, NPAGES);
		if (getenv("SOAK"))
			printf("%s: %" G_GUINT64_FORMAT " rounds of %u pages, %" G_GUINT64_FORMAT " swap-outs, %"
			       G_GUINT64_FORMAT " merges, %" G_GUINT64_FORMAT " broken, no wrong word\n", vm->out->name,
			       raw_guest_round(vm), NPAGES, vm->counters.swap_outs, vm->counters.merges,
			       vm->counters.faults_write_shared);
	}
	ck_assert_uint_gt(m.vms[0]->counters.swap_ins + m.vms[1]->counters.swap_ins, 0);
	ck_assert_int_eq(swap_verify(m.host.swap), 0);
	stop();
}
END_TEST

/* What if the swap device fails now and then? A guest ends of it, and says so; none goes on with wrong words. */
START_TEST(bad_device)
{
	bool ok[2];

	start("[swap]\nsize = 16 MiB\nwrite-error-rate = 2%\nread-error-rate = 0.1%\n" EVERYTHING);
	run_disturbed(ok);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert(ok[i] || m.vms[i]->out->failure);
		gmem_dirty_log_stop(m.vms[i]->gmem);
		if (!m.vms[i]->out->failure)
			check_contents(m.vms[i], NPAGES);
		g_clear_pointer(&m.vms[i]->out->failure, g_free);
	}
	ck_assert_uint_gt(m.vms[0]->counters.swap_write_errors + m.vms[1]->counters.swap_write_errors, 0);
	ck_assert_int_eq(swap_verify(m.host.swap), 0);
	stop();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("memory of real guests");
	TCase *c = tcase_create("ept");

	if (!kvm_or_skip())
		return 0;
	tcase_set_timeout(c, 120);
	tcase_add_test(c, undisturbed);
	tcase_add_test(c, hot_page);
	tcase_add_test(c, refaults);
	tcase_add_test(c, dirty_log);
	tcase_add_test(c, cow);
	tcase_add_test(c, zero);
	tcase_add_test(c, budget);
	tcase_add_test(c, swapped);
	tcase_add_test(c, ballooned);
	suite_add_tcase(s, c);
	c = tcase_create("integrity");
	tcase_set_timeout(c, getenv("SOAK") ? 0 : 120);
	tcase_add_test(c, integrity);
	tcase_add_test(c, bad_device);
	suite_add_tcase(s, c);
	return suite_run(s);
}
