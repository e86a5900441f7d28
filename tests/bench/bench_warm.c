/* SPDX-License-Identifier: MIT */
/*
 * bench_warm.c - what a guest's own work takes at CPL 3, beside the same work of a plain process
 *
 * The guest's own generator and loop of loads and stores (workloads/guest/kvm/user.c: the very object of which the
 * guest's image is made, linked to this program), at the same addresses, on the same size of memory in 4 KiB pages, all
 * of it touched before: once by a guest of the real machine, in each paging mode, once by this process. Both run at the
 * same time on one processor and take turns of milliseconds there, so that whatever else happens on the machine happens
 * to both. Timed are stretches of millions of operations, in processor time of the thread that runs them, the guest's
 * exit at the end of each quantum included (80 us every 13 ms); a round is the median of its stretches. Limit: 1.10 of
 * the plain process (aim: 1.05).
 */
#include <glib.h>
#include <sched.h>
#include <semaphore.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/lib/bench.h"
#include "tests/lib/run_text.h"
#include "vmm/vmm.h"
#include "workloads/guest/abi.h"
#include "workloads/guest/kernel.h"
#include "workloads/guest/kvm/layout.h"
#include "workloads/x86.h"

void user_loop(void);

enum { MEGABYTES = 16, PAGES = MEGABYTES * 256 };
/* A backend tells of its progress every 64 quanta. */
enum { QUANTUM = 400000, STRETCH = 64 * QUANTUM, STRETCHES = 3, NATIVE_STRETCH = 8 * QUANTUM };

/* Processor time at the end of each stretch. */
struct stretches {
	struct series ns; /* an operation */
	double last;
	uint64_t operations;
};

/* One guest and one native loop, on one processor. */
struct pair {
	char *text;
	struct stretches guest, native;
	const char *failure; /* static */
	sem_t warm;  /* the guest is, or it failed: the native loop may begin */
	gint over;   /* of the guest */
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
	struct pair *p = ctx;

	(void)done;
	stretch(&p->guest, r->operations);
	if (r->operations >= PAGES + QUANTUM)
		sem_post(&p->warm);
}

static void guest(struct pair *p)
{
	static char why[200];
	g_autoptr(GError) error = NULL;
	struct text_run t;

	if (load_text(&t, p->text, &error)) {
		t.run->progress = guest_progress;
		t.run->progress_ctx = p;
		backend_kvm.run(t.run, &error);
	}
	if (error) {
		g_snprintf(why, sizeof(why), "%s", error->message);
		p->failure = why;
	} else if (run_text_vm(&t, 0)->failure) {
		p->failure = "the guest failed";
	}
}

static void *place(uint64_t va, size_t nbytes)
{
	void *at = mmap((void *)va, nbytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	return at == (void *)va && !madvise(at, nbytes, MADV_NOHUGEPAGE) ? at : NULL;
}

/* What the guest's kernel does between two turns of the loop; of system calls there are only such as map memory. */
static void perform(struct pair *p, struct runtime *rt, volatile struct vcpu_page *v)
{
	for (;;) {
		user_loop();
		if (v->operations >= v->quantum_end) {
			if (v->operations % NATIVE_STRETCH == 0) {
				if (g_atomic_int_get(&p->over))
					return;
				stretch(&p->native, v->operations);
			}
			v->quantum_end += QUANTUM;
		} else if (!rt->n || OP_KIND(&rt->ops[rt->pos]) == OP_EXIT) {
			return;
		} else {
			rt->pos++;
			v->operations++;
		}
	}
}

static void *native(void *arg)
{
	struct pair *p = arg;
	struct text_run t;
	struct script *script = place(SCRIPT_VA, SCRIPT_END - SCRIPT_GPA);
	struct vcpu_page *v = place(VCPU_VA, PAGE_SIZE);
	struct runtime *rt = place(RUNTIME_VA, PAGE_SIZE);

	if (!script || !v || !rt || !place(PROGRAM_BASE, MEGABYTES << 20) || !load_text(&t, p->text, NULL)) {
		p->failure = "the addresses of the guest's memory are taken";
		return NULL;
	}
	memcpy(script, experiment_script(t.e, g_ptr_array_index(t.e->workloads, 0), 0, NULL), sizeof(*script));
	program_start(&rt->program, script, 1, 0);
	sem_wait(&p->warm);
	perform(p, rt, v);
	return NULL;
}

/* Nanoseconds an operation: native, guest. */
static const char *pair(void *arg, double *out)
{
	struct pair p = { .text = experiment(arg) };
	cpu_set_t one;
	GThread *thread;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one);
	sem_init(&p.warm, 0, 0);
	thread = g_thread_new("native", native, &p);
	guest(&p);
	g_atomic_int_set(&p.over, 1);
	sem_post(&p.warm);
	g_thread_join(thread);
	out[0] = series_median(&p.native.ns);
	out[1] = series_median(&p.guest.ns);
	return p.failure;
}

int main(void)
{
	static const char *const modes[] = { "ept", "shadow" };
	struct series ns[2][2] = { 0 }, ratio[2] = { 0 };
	bool lacks[2] = { false };

	bench_header();
	for (unsigned round = 0; round < bench_rounds(); round++)
		for (unsigned i = 0; i < 2; i++) {
			unsigned mode = (i + round) % 2;
			const char *why;
			double out[2];

			if (lacks[mode])
				continue;
			lacks[mode] = !bench_child(pair, (void *)modes[mode], out, 2, &why);
			if (lacks[mode]) {
				bench_skip(modes[mode], why);
				continue;
			}
			series_add(&ns[mode][0], out[0]);
			series_add(&ns[mode][1], out[1]);
			series_add(&ratio[mode], out[1] / out[0]);
		}
	for (unsigned i = 0; i < 2; i++) {
		g_autofree char *native_name = g_strdup_printf("%s-native", modes[i]);
		g_autofree char *ratio_name = g_strdup_printf("%s-by-native", modes[i]);

		if (lacks[i])
			continue;
		bench_median(native_name, &ns[i][0], "ns/operation");
		bench_median(modes[i], &ns[i][1], "ns/operation");
		bench_most(ratio_name, &ratio[i], "ratio", 1.10);
	}
	return 0;
}
