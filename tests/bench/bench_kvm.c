/* SPDX-License-Identifier: MIT */
/*
 * bench_kvm.c - what a guest's faults cost on this host's KVM: a plain one, ours, and swap-in beside the kernel's zram
 *
 * Exits and faults alone, by a guest of a few instructions (vmm/kvm/tiny.h), as `overbook calibrate` measures them.
 * Swap-in: the same guest reads 16 MiB in order, every page of it in swap, once the kernel's (zram, lz4, the pages
 * pushed out by MADV_PAGEOUT), once ours (the store's lz4 tier behind userfaultfd), one page a fault and groups of 8
 * and 32, which is what prefetch and batching win back. First touch and swap-in by the whole machine, memory manager
 * and guest kernel included, in each paging mode: processor time of a run beyond that of one that does not fault.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/bench.h"
#include "tests/lib/run_text.h"
#include "tests/lib/zram.h"
#include "vmm/calibrate.h"
#include "vmm/kvm/memory.h"
#include "vmm/kvm/store.h"
#include "vmm/kvm/tiny.h"
#include "vmm/vmm.h"
#include "workloads/pattern.h"
#include "workloads/x86.h"

enum { NPAGES = 4096, MOST = 32 };
#define NBYTES (NPAGES * (size_t)PAGE_SIZE)

static uint8_t *guest_memory(struct tiny *t)
{
	uint8_t *at = mmap(NULL, NBYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	g_assert(at != MAP_FAILED);
	madvise(at, NBYTES, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < NPAGES; i++)
		pattern_fill((struct pattern){ PATTERN_BASE(PATTERN_TEXT, i), i }, at + i * PAGE_SIZE);
	if (tiny_open(t) || tiny_map(t, at, NBYTES))
		return NULL;
	return at;
}

/* us a page. */
static const char *read_all(struct tiny *t, double *out)
{
	double start = bench_now_us();
	long err = tiny_run(t, TINY_READ, 3, TINY_DATA, NPAGES);

	*out = (bench_now_us() - start) / NPAGES;
	return err < 0 ? g_strerror((int)-err) : NULL;
}

static const char *kernel_in(void *arg, double *out)
{
	unsigned char in[NPAGES];
	struct tiny t;
	uint8_t *at = guest_memory(&t);
	const char *why = at ? read_all(&t, out) : "no /dev/kvm";
	unsigned n = 0;

	(void)arg;
	if (why)
		return why;
	madvise(at, NBYTES, MADV_PAGEOUT);
	if (mincore(at, NBYTES, in))
		return "no mincore";
	for (unsigned i = 0; i < NPAGES; i++)
		n += in[i] & 1;
	if (n > NPAGES / 50)
		return "MADV_PAGEOUT leaves the pages in memory";
	return read_all(&t, out);
}

struct server {
	int uffd, stop;
	uint8_t *at, *buffer;
	struct store *store;
	unsigned batch;
};

/* The page at @address comes in, with those behind it of its group. */
static void bring(struct server *s, uint64_t address)
{
	uint64_t first = (address - (uintptr_t)s->at) / PAGE_SIZE, n = s->batch - first % s->batch;
	struct uffdio_copy copy = { .dst = (uintptr_t)s->at + first * PAGE_SIZE,
				    .src = (uintptr_t)s->buffer,
				    .len = n * PAGE_SIZE };

	for (uint64_t i = 0; i < n; i++) {
		int err = store_load(s->store, first + i, s->buffer + i * PAGE_SIZE, false);

		g_assert(!err);
	}
	if (ioctl(s->uffd, UFFDIO_COPY, &copy))
		g_error("UFFDIO_COPY: %s", g_strerror(errno));
}

static gpointer serve(gpointer data)
{
	struct server *s = data;
	struct pollfd fds[2] = { { .fd = s->uffd, .events = POLLIN }, { .fd = s->stop, .events = POLLIN } };
	struct uffd_msg msg;

	while (poll(fds, 2, -1) >= 0 && !fds[1].revents)
		if (read(s->uffd, &msg, sizeof(msg)) == sizeof(msg) && msg.event == UFFD_EVENT_PAGEFAULT)
			bring(s, msg.arg.pagefault.address & ~(uint64_t)(PAGE_SIZE - 1));
	return NULL;
}

static const char *ours_in(void *arg, double *out)
{
	const struct store_config cfg = { .nslots = NPAGES, .compressor = compressor_find("lz4") };
	struct server s = { .uffd = kvm_uffd_open(), .stop = eventfd(0, 0), .batch = *(unsigned *)arg };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	uint64_t one = 1;
	struct tiny t;
	const char *why;
	GThread *thread;

	s.at = guest_memory(&t);
	s.store = store_new(&cfg, NULL);
	s.buffer = g_malloc(MOST * PAGE_SIZE);
	if (!s.at || !s.store || s.uffd < 0)
		return "no /dev/kvm, no userfaultfd or no room for a swap file";
	why = read_all(&t, out);
	for (uint64_t i = 0; i < NPAGES && !why; i++)
		why = store_save(s.store, i, s.at + i * PAGE_SIZE, false) ? "the store failed" : NULL;
	reg.range.start = (uintptr_t)s.at;
	reg.range.len = NBYTES;
	if (why || ioctl(s.uffd, UFFDIO_REGISTER, &reg) || madvise(s.at, NBYTES, MADV_DONTNEED))
		return why ? why : "no userfaultfd";
	thread = g_thread_new("bench-faults", serve, &s);
	why = read_all(&t, out);
	if (write(s.stop, &one, sizeof(one)) == sizeof(one))
		g_thread_join(thread);
	store_free(s.store);
	return why;
}

/* A run of the whole machine. */
struct machine_job {
	const char *mode;
	unsigned passes, limit; /* over 16 MiB; of frames, MiB, 0: none */
};

static const char *machine_run(void *arg, double *out)
{
	const struct machine_job *j = arg;
	g_autofree char *limit = j->limit ? g_strdup_printf("swap-limit = %u MiB\n", j->limit) : g_strdup("");
	g_autofree char *text = g_strdup_printf(
		"[experiment]\ntitle = bench\nschedule = lockstep\nmachine = kvm\nquantum = 10000\n"
		"[host]\nmemory = 128 MiB\n[swap]\nsize = 64 MiB\npolicy = fifo\ncompressed-pool = 32 MiB\n"
		"compressor = lz4\n[vm guest]\nmemory = 48 MiB\npaging = %s\n%sworkload = work\n"
		"[workload work]\nphases = touch\n[phase touch]\npattern = sequential\nsize = %u MiB\nstep = 4 KiB\n"
		"contents = text\noperations = %u\nwrites = 50%%\n",
		j->mode, limit, j->passes ? 16 : 2, j->passes ? j->passes * NPAGES : 512);
	static char why[200];
	g_autoptr(GError) error = NULL;
	const struct run_vm *vm;
	struct text_run t;
	double start = 0;

	if (load_text(&t, text, &error)) {
		start = bench_cpu_us();
		backend_kvm.run(t.run, &error);
	}
	if (error) {
		g_snprintf(why, sizeof(why), "%s", error->message);
		return why;
	}
	out[0] = bench_cpu_us() - start;
	vm = g_ptr_array_index(t.run->vms, 0);
	out[1] = (double)vm->counters.swap_ins;
	return vm->failure;
}

static void calibration(void)
{
	static const char *const names[] = { "exit-cpl3", "exit-ring0", "guest-exception", "plain-kvm-fault",
					     "second-stage-fault", "copy-on-write-break", "shadow-fault" };
	struct calibration c = { .rounds = MIN(bench_rounds(), CALIBRATE_ROUNDS), .quick = TRUE };

	calibrate_kvm(&c);
	for (enum measure m = M_EXIT; m <= M_SHADOW_FAULT; m++) {
		struct series s = { 0 };

		if (!measured_has(&c, m)) {
			bench_skip(names[m - M_EXIT], c.m[m].why);
			continue;
		}
		series_add(&s, c.m[m].ns / 1e3);
		bench_median(names[m - M_EXIT], &s, "us");
		series_clear(&s);
	}
	calibrate_clear(&c);
}

static struct {
	const char *name;
	unsigned batch;
	struct series us, ratio;
	bool lacks;
} ins[] = { { "swap-in-zram", 0, { 0 }, { 0 }, false },
	    { "swap-in-lz4-1", 1, { 0 }, { 0 }, false },
	    { "swap-in-lz4-8", 8, { 0 }, { 0 }, false },
	    { "swap-in-lz4-32", 32, { 0 }, { 0 }, false } };

static void round_of_swap_in(unsigned round)
{
	double us[G_N_ELEMENTS(ins)];
	const char *why;

	for (unsigned k = 0; k < G_N_ELEMENTS(ins); k++) {
		unsigned i = (k + round) % G_N_ELEMENTS(ins);

		if (ins[i].lacks)
			continue;
		ins[i].lacks = !bench_child(ins[i].batch ? ours_in : kernel_in, &ins[i].batch, &us[i], 1, &why);
		if (ins[i].lacks)
			bench_skip(ins[i].name, why);
		else
			series_add(&ins[i].us, us[i]);
	}
	for (unsigned i = 1; i < G_N_ELEMENTS(ins); i++)
		if (!ins[0].lacks && !ins[i].lacks)
			series_add(&ins[i].ratio, us[i] / us[0]);
}

static void round_of_machine(const char *mode, struct series *touch, struct series *in, bool *lacks)
{
	struct machine_job jobs[] = { { mode, 0, 0 }, { mode, 1, 0 }, { mode, 2, 0 }, { mode, 2, 6 } };
	double out[4][2];
	const char *why;

	for (unsigned i = 0; i < 4 && !*lacks; i++) {
		*lacks = !bench_child(machine_run, &jobs[i], out[i], 2, &why);
		if (*lacks)
			bench_skip(mode, why);
	}
	if (*lacks)
		return;
	series_add(touch, (out[1][0] - out[0][0]) / (NPAGES - 512));
	series_add(in, (out[3][0] - out[2][0]) / MAX(1, out[3][1]));
}

int main(void)
{
	static const char *const modes[] = { "ept", "shadow" };
	struct series touch[2] = { 0 }, in[2] = { 0 };
	bool lacks[2] = { false, false };
	const char *why;
	struct zram *z;

	bench_header();
	calibration();
	z = zram_new(512ull << 20, 0, &why);
	if (!z) {
		bench_skip("swap-in-zram", why);
		ins[0].lacks = true;
	}
	for (unsigned round = 0; round < bench_rounds(); round++) {
		round_of_swap_in(round);
		for (unsigned i = 0; i < 2; i++)
			round_of_machine(modes[i], &touch[i], &in[i], &lacks[i]);
	}
	if (z)
		zram_free(z);
	for (unsigned i = 0; i < G_N_ELEMENTS(ins); i++) {
		g_autofree char *ratio = g_strdup_printf("%s-by-zram", ins[i].name);

		if (ins[i].us.n)
			bench_median(ins[i].name, &ins[i].us, "us/page");
		if (ins[i].ratio.n)
			bench_median(ratio, &ins[i].ratio, "ratio");
	}
	for (unsigned i = 0; i < 2; i++) {
		g_autofree char *first = g_strdup_printf("first-touch-%s", modes[i]);
		g_autofree char *swap = g_strdup_printf("swapped-%s", modes[i]);

		if (lacks[i])
			continue;
		bench_median(first, &touch[i], "us cpu/page");
		bench_median(swap, &in[i], "us cpu/page in and out");
	}
	return 0;
}
