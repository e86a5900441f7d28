/* SPDX-License-Identifier: MIT */
/*
 * bench_overcommit.c - what overcommit costs the simulator, in time and in memory
 *
 * Prints CSV rows name,value,unit, medians of ROUNDS rounds but for `large`; each run is made by a child process of its
 * own, whose CPU time and peak memory are what the kernel says of it.
 *
 * - events: eight guests on a host with a third of their memory, which swaps, moves balloons and merges pages. An
 *   event is a page that changes its state: it gets a frame, goes to swap or comes back, enters a balloon or leaves it,
 *   is merged or split off. Beside it the same with a compressed tier, whose sizes are those of real compression; and
 *   the same guests on a host with memory for all.
 * - scanner: what looking at pages costs each scanner, as the difference between two runs that differ only in whether
 *   there is one: pages looked at by CPU time. Beside it what hashing as many pages of real bytes takes (xxHash64, as
 *   the kernel does in ksm): the simulator's pages are generated, it need not read 4 KiB of each.
 * - large: 100 guests of 4 GiB, 400 GiB together, on a host of 133 GiB, for 60 s of their time. They touch more than
 *   the host has: swap and balloons work all the time. A page counts as touched once, whoever took it later.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "tests/lib/run_text.h"

struct result {
	struct counters sum; /* of all VMs and the host */
	double cpu_s, wall_s;
	double bytes; /* at the peak */
};

static int child(const char *text, int to)
{
	struct result r = { 0 };
	struct text_run t;
	GError *error = NULL;

	if (!run_text(&t, &backend_sim, text, &error)) {
		fprintf(stderr, "%s\n", error->message);
		return 1;
	}
	for (unsigned i = 0; i < t.run->vms->len; i++) {
		const struct run_vm *vm = run_text_vm(&t, i);

		if (vm->failure) {
			fprintf(stderr, "%s: %s\n", vm->name, vm->failure);
			return 1;
		}
	}
	r.sum = t.run->host;
	run_text_free(&t);
	return write(to, &r, sizeof(r)) == sizeof(r) ? 0 : 1;
}

static struct result measure(const char *text)
{
	struct timespec begin, end;
	struct result r;
	struct rusage used;
	int status, fd[2];
	pid_t pid;

	if (pipe(fd) < 0)
		exit(EXIT_FAILURE);
	fflush(NULL);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	pid = fork();
	if (pid == 0)
		_exit(child(text, fd[1]));
	if (pid < 0 || wait4(pid, &status, 0, &used) < 0 || status || read(fd[0], &r, sizeof(r)) != sizeof(r))
		exit(EXIT_FAILURE);
	clock_gettime(CLOCK_MONOTONIC, &end);
	close(fd[0]);
	close(fd[1]);
	r.cpu_s = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
		  (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
	r.wall_s = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
	r.bytes = (double)used.ru_maxrss * 1024;
	return r;
}

/* ---- rows: noted in each round, printed once, the median ---- */

#define ROUNDS 3

static struct {
	const char *name, *unit;
	double value[ROUNDS];
	unsigned n;
} rows[16];

static void row(const char *name, double value, const char *unit)
{
	unsigned i = 0;

	while (i < G_N_ELEMENTS(rows) - 1 && rows[i].name && strcmp(rows[i].name, name))
		i++;
	rows[i].name = name;
	rows[i].unit = unit;
	rows[i].value[rows[i].n++] = value;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void print_rows(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(rows) && rows[i].name; i++) {
		qsort(rows[i].value, rows[i].n, sizeof(double), by_value);
		printf("%s,%.4g,%s\n", rows[i].name, rows[i].value[rows[i].n / 2], rows[i].unit);
	}
	fflush(stdout);
	memset(rows, 0, sizeof(rows));
}

/* ---- events ---- */

/* The host's memory, and the compressed tier's. Guests take and give back a quarter of theirs every two seconds. */
#define SMALL                                                                                                  \
	"[experiment]\ndigest = no\nsample-interval = 0\n"                                                     \
	"[host]\ncpus = 4\ncaches = flat\nmemory = %s\n"                                                       \
	"[swap]\nsize = 1 GiB\ncompressed-pool = %s\n"                                                         \
	"[dedup]\nalgorithm = hash\npages-to-scan = 2000\nsleep = 20 ms\n"                                     \
	"[vm a]\ncount = 8\nmemory = 128 MiB\nworkload = w\n"                                                  \
	"balloon-target = 32 MiB\nballoon-from = 500 ms\nballoon-until = 1500 ms\nballoon-period = 2 s\n"      \
	"[workload w]\nphases = same, load, use\n"                                                             \
	"[phase same]\npattern = sequential\nstep = 4 KiB\nsize = 16 MiB\noperations = 4096\n"                 \
	"writes = 0%%\ncontents = code:2048\n"                                                                 \
	"[phase load]\npattern = sequential\nstep = 4 KiB\nregion = r\nsize = 64 MiB\noperations = 16384\n"    \
	"writes = 100%%\ncontents = text\n"                                                                    \
	"[phase use]\npattern = zipf\nregion = r\nsize = 64 MiB\noperations = 100000\nwrites = 30%%\n"         \
	"stamps = 4\n"

static uint64_t events_of(const struct counters *c)
{
	return c->faults_absent + c->swap_outs + c->swap_ins + c->swap_readahead + c->balloon_inflated +
	       c->balloon_deflated + c->merges + c->faults_write_shared;
}

static struct result small(const char *memory, const char *pool)
{
	g_autofree char *text = g_strdup_printf(SMALL, memory, pool);

	return measure(text);
}

static void events(void)
{
	struct result over = small("342 MiB", "0"), tier = small("342 MiB", "32 MiB"), alone = small("2 GiB", "0");

	row("overcommit-events", (double)events_of(&over.sum), "events");
	row("overcommit-events-rate", (double)events_of(&over.sum) / over.cpu_s, "events/s");
	row("overcommit-accesses-rate", (double)over.sum.accesses / over.cpu_s, "accesses/s");
	row("overcommit-compressed-events-rate", (double)events_of(&tier.sum) / tier.cpu_s, "events/s");
	row("no-overcommit-events-rate", (double)events_of(&alone.sum) / alone.cpu_s, "events/s");
	row("no-overcommit-accesses-rate", (double)alone.sum.accesses / alone.cpu_s, "accesses/s");
}

/* ---- the scanner ---- */

/* %s: the algorithm. The guests touch their memory once and then do little. */
#define SCANNED                                                                                                \
	"[experiment]\ndigest = no\nduration = 10 s\nsample-interval = 0\n"                                    \
	"[host]\ncpus = 4\ncaches = flat\nmemory = 1 GiB\n"                                                    \
	"[dedup]\nalgorithm = %s\npages-to-scan = 40000\nsleep = 20 ms\nsmart-scan = no\n"                     \
	"[vm a]\ncount = 4\nmemory = 256 MiB\nworkload = w\n"                                                  \
	"[workload w]\nphases = same, load, rest\n"                                                            \
	"[phase same]\npattern = sequential\nstep = 4 KiB\nsize = 32 MiB\noperations = 8192\n"                 \
	"writes = 0%%\ncontents = code:4096\n"                                                                 \
	"[phase load]\npattern = sequential\nstep = 4 KiB\nsize = 128 MiB\noperations = 32768\n"               \
	"writes = 0%%\ncontents = text\n"                                                                     \
	"[phase rest]\npattern = uniform\nsize = 64 KiB\noperations = 0\nthink-every = 1\nthink-time = 20 ms\n"

/* Pages that @r's scanner looked at in a second of the time that @bare did not need. */
static double scanned(const struct result *r, const struct result *bare)
{
	return (double)r->sum.pages_scanned / (r->cpu_s - bare->cpu_s);
}

static void scanner(void)
{
	g_autofree char *without = g_strdup_printf(SCANNED, "none"), *ksm = g_strdup_printf(SCANNED, "ksm");
	g_autofree char *hash = g_strdup_printf(SCANNED, "hash");
	struct result bare = measure(without), a = measure(ksm), b = measure(hash);

	row("scanner-ksm", scanned(&a, &bare), "pages/s");
	row("scanner-hash", scanned(&b, &bare), "pages/s");
}

/* What a scanner of real pages does at least. */
static void hashing(void)
{
	enum { PAGES = 65536, PAGE = 4096 };
	uint8_t *bytes = g_malloc((gsize)PAGES * PAGE);
	struct timespec begin, end;
	uint64_t sum = 0;

	for (size_t i = 0; i < (size_t)PAGES * PAGE; i++)
		bytes[i] = (uint8_t)(i * 131 >> 5);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
	for (size_t i = 0; i < PAGES; i++)
		sum += XXH64(bytes + i * PAGE, PAGE, 0);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
	double s = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;

	if (sum) /* else nobody needs it, and nothing would be hashed */
		row("scanner-limit-xxh64", PAGES / s, "pages/s");
	g_free(bytes);
}

/* ---- 100 guests ---- */

#define LARGE_PAGES 384000 /* that each guest touches: 1500 MiB */
#define LARGE                                                                                              \
	"[experiment]\ndigest = no\nduration = 60 s\nsample-interval = 1 s\n"                               \
	"[host]\ncpus = 16\ncaches = flat\nmemory = 133 GiB\n"                                              \
	"[swap]\nsize = 32 GiB\n"                                                                           \
	"[vm a]\ncount = 100\nmemory = 4 GiB\nworkload = w\nballoon-target = 1 GiB\nballoon-from = 20 s\n"  \
	"[workload w]\nphases = load, use\n"                                                                \
	"[phase load]\npattern = sequential\nstep = 4 KiB\nregion = r\nsize = 1500 MiB\noperations = 384000\n" \
	"writes = 100%\ncontents = text\nthink-every = 1000\nthink-time = 10 ms\n"                          \
	"[phase use]\npattern = zipf\nregion = r\nsize = 1500 MiB\noperations = 0\nwrites = 20%\n"          \
	"think-every = 1000\nthink-time = 100 ms\n"

static void large(void)
{
	struct result r = measure(LARGE);
	double touched = 100.0 * LARGE_PAGES;

	row("large-touched", touched, "pages");
	row("large-events", (double)events_of(&r.sum), "events");
	row("large-accesses", (double)r.sum.accesses, "accesses");
	row("large-wall-time", r.wall_s, "s");
	row("large-cpu-time", r.cpu_s, "s");
	row("large-memory", r.bytes / (1 << 30), "GiB");
	row("large-memory-page", r.bytes / touched, "bytes/page");
}

/* `overcommit WORD`: only that part. */
int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
		unsigned rounds;
	} parts[] = {
		{ "events", events, ROUNDS },
		{ "scanner", scanner, ROUNDS },
		{ "hashing", hashing, ROUNDS },
		{ "large", large, 1 },
	};

	printf("name,value,unit\n");
	for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
		if (argc > 1 && strcmp(argv[1], parts[i].name))
			continue;
		for (unsigned round = 0; round < parts[i].rounds; round++)
			parts[i].run();
		print_rows();
	}
	return EXIT_SUCCESS;
}
