/* SPDX-License-Identifier: MIT */
/*
 * bench_warm.c - what a guest's own work takes at CPL 3, beside the same work of a plain process
 *
 * The same generator (uniform, 30% writes), the same loop of loads and stores (workloads/guest/kvm/user.c), the same
 * size of memory in 4 KiB pages, all of it touched before: once by a guest of the real machine, in each paging mode,
 * once by this process. Timed are stretches of 6.4 million operations, 64 quanta in the guest, in processor time of
 * the thread that runs them, since others may be on the machine; a round is the median of its stretches. Limit: 1.10 of
 * the plain process (aim: 1.05).
 */
#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/lib/bench.h"
#include "tests/lib/run_text.h"
#include "vmm/vmm.h"
#include "workloads/workload.h"
#include "workloads/x86.h"

enum { MEGABYTES = 16, PAGES = MEGABYTES * 256, OPS = 256 };
/* A backend tells of its progress every 64 quanta. */
enum { QUANTUM = 100000, STRETCH = 64 * QUANTUM, STRETCHES = 4 };

/* Processor time at the end of each stretch. */
struct stretches {
	struct series ns; /* an operation */
	double last;
	uint64_t operations;
};

static double thread_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* So many have been performed by now: the first touches are none of ours, nor is what was cold. */
static void stretch(struct stretches *s, uint64_t operations)
{
	double now = thread_us();

	if (s->operations >= PAGES + QUANTUM && operations > s->operations)
		series_add(&s->ns, (now - s->last) * 1e3 / (double)(operations - s->operations));
	s->last = now;
	s->operations = operations;
}

static char *experiment(const char *mode)
{
	return g_strdup_printf("[experiment]\ntitle = warm\nschedule = lockstep\nmachine = kvm\nquantum = %u\n"
			       "[host]\nmemory = %u MiB\n[vm guest]\nmemory = %u MiB\npaging = %s\nworkload = work\n"
			       "[workload work]\nphases = touch, work\n"
			       "[phase touch]\npattern = sequential\nregion = heap\nsize = %u MiB\nstep = 4 KiB\n"
			       "operations = %u\nwrites = 100%%\n"
			       "[phase work]\npattern = uniform\nregion = heap\nsize = %u MiB\noperations = %u\n"
			       "writes = 30%%\n",
			       QUANTUM, MEGABYTES * 3, MEGABYTES * 2, mode, MEGABYTES, PAGES, MEGABYTES,
			       STRETCH * STRETCHES);
}

static void guest_progress(struct run *r, double done, void *ctx)
{
	(void)done;
	stretch(ctx, r->operations);
}

static const char *guest(void *arg, double *out)
{
	static char why[200];
	g_autofree char *text = experiment(arg);
	g_autoptr(GError) error = NULL;
	struct stretches s = { 0 };
	struct text_run t;

	if (load_text(&t, text, &error)) {
		t.run->progress = guest_progress;
		t.run->progress_ctx = &s;
		backend_kvm.run(t.run, &error);
	}
	if (error) {
		g_snprintf(why, sizeof(why), "%s", error->message);
		return why;
	}
	*out = series_median(&s.ns);
	return ((struct run_vm *)g_ptr_array_index(t.run->vms, 0))->failure ? "the guest failed" : NULL;
}

/* As user_loop() keeps book, in memory. */
struct book {
	volatile uint64_t operations, reads, writes;
};

static void perform(struct program *p, const struct script *sc, struct book *b, struct stretches *s)
{
	struct program_world world = { 0 };
	struct op ops[OPS];

	for (;;) {
		uint32_t n = program_next(p, sc, &world, ops, OPS);

		for (uint32_t i = 0; i < n; i++) {
			uint64_t va = OP_VA(&ops[i]), word;

			if (OP_KIND(&ops[i]) == OP_EXIT)
				return;
			if (OP_KIND(&ops[i]) != OP_READ && OP_KIND(&ops[i]) != OP_WRITE)
				continue; /* it maps what is mapped already */
			__asm__ volatile("mov (%1), %0" : "=r"(word) : "r"(va & ~7ull) : "memory");
			if (OP_KIND(&ops[i]) == OP_READ) {
				b->reads++;
			} else {
				__asm__ volatile("mov %1, (%0)" : : "r"(va & PAGE_MASK), "r"(ops[i].arg) : "memory");
				b->writes++;
			}
			if (++b->operations % STRETCH == QUANTUM)
				stretch(s, b->operations);
		}
	}
}

static const char *native(void *arg, double *out)
{
	g_autofree char *text = experiment(arg);
	struct program *p = g_new0(struct program, 1);
	struct stretches s = { 0 };
	struct book book = { 0 };
	struct text_run t;
	void *at = mmap((void *)PROGRAM_BASE, MEGABYTES << 20, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (at != (void *)PROGRAM_BASE || madvise(at, MEGABYTES << 20, MADV_NOHUGEPAGE) || !load_text(&t, text, NULL))
		return "the address of the guest's memory is taken";

	struct script *sc = experiment_script(t.e, g_ptr_array_index(t.e->workloads, 0), 0, NULL);

	program_start(p, sc, 1, 0);
	perform(p, sc, &book, &s);
	*out = series_median(&s.ns);
	return NULL;
}

static const struct {
	const char *name, *mode;
	const char *(*run)(void *arg, double *out);
} runners[] = { { "native", "ept", native }, { "ept", "ept", guest }, { "shadow", "shadow", guest } };

int main(void)
{
	struct series ns[3] = { 0 }, ratio[3] = { 0 };
	bool lacks[3] = { false };

	bench_header();
	for (unsigned round = 0; round < bench_rounds(); round++) {
		double took[3] = { 0 };

		for (unsigned k = 0; k < 3; k++) {
			unsigned i = (k + round) % 3;
			double out;
			const char *why;

			if (lacks[i])
				continue;
			lacks[i] = !bench_child(runners[i].run, (void *)runners[i].mode, &out, 1, &why);
			if (lacks[i]) {
				bench_skip(runners[i].name, why);
				continue;
			}
			took[i] = out;
			series_add(&ns[i], took[i]);
		}
		for (unsigned i = 1; i < 3; i++)
			if (!lacks[0] && !lacks[i])
				series_add(&ratio[i], took[i] / took[0]);
	}
	for (unsigned i = 0; i < 3; i++)
		if (!lacks[i])
			bench_median(runners[i].name, &ns[i], "ns/operation");
	if (ratio[1].n)
		bench_most("ept-by-native", &ratio[1], "ratio", 1.10);
	if (ratio[2].n)
		bench_most("shadow-by-native", &ratio[2], "ratio", 1.10);
	return 0;
}
