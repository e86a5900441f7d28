/* SPDX-License-Identifier: MIT */
/*
 * bench_memory.c - what a touched guest page costs the simulator, in memory and in time
 *
 * Prints CSV rows name,value,unit. 1, 4, 16 and 64 guests of 4 GiB in ept mode touch every page they have (all
 * but the arena's), each size in a child process of its own, so that the kernel's own account of the child's peak
 * memory and CPU time is that of the run, everything included: guest kernel, guest and second-stage tables, metadata,
 * contents, the program itself. Time should be linear in pages: the rows per page show it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/run_text.h"

/* 4 GiB less the arena; the guest keeps a few pages for itself, so not the last MiB. */
#define TOUCHED_MIB 4064

static char *experiment(unsigned nvms)
{
	return g_strdup_printf(
		"[experiment]\ndigest = no\nsample-interval = 0\n"
		"[host]\nmemory = 288 GiB\ncaches = flat\n"
		"[vm a]\ncount = %u\nmemory = 4 GiB\nworkload = w\n"
		"[workload w]\nphases = p\n"
		"[phase p]\npattern = sequential\nstep = 4 KiB\nsize = %u MiB\noperations = %u\nwrites = 100%%\n",
		nvms, TOUCHED_MIB, TOUCHED_MIB * 256);
}

static int child(unsigned nvms)
{
	g_autofree char *text = experiment(nvms);
	struct text_run t;
	GError *error = NULL;

	if (!run_text(&t, &backend_sim, text, &error)) {
		fprintf(stderr, "%u guests: %s\n", nvms, error->message);
		return 1;
	}
	for (unsigned i = 0; i < nvms; i++) {
		const struct run_vm *vm = run_text_vm(&t, i);

		if (vm->failure || vm->counters.guest_faults_demand < TOUCHED_MIB * 256ull) {
			fprintf(stderr, "%u guests: %s did not touch all: %s\n", nvms, vm->name,
				vm->failure ? vm->failure : "too few faults");
			return 1;
		}
	}
	run_text_free(&t);
	return 0;
}

int main(void)
{
	static const unsigned sizes[] = { 1, 4, 16, 64 };

	printf("name,value,unit\n");
	for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
		double pages = sizes[i] * TOUCHED_MIB * 256.0;
		struct rusage used;
		int status;
		pid_t pid;

		fflush(NULL);
		pid = fork();
		if (pid == 0)
			_exit(child(sizes[i]));
		if (pid < 0 || wait4(pid, &status, 0, &used) < 0 || status)
			return EXIT_FAILURE;

		double bytes = (double)used.ru_maxrss * 1024;
		double seconds = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
				 (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;

		printf("memory-%u-guests,%.3f,GiB\n", sizes[i], bytes / (1 << 30));
		printf("memory-%u-guests-page,%.1f,bytes/page\n", sizes[i], bytes / pages);
		printf("time-%u-guests,%.1f,s\n", sizes[i], seconds);
		printf("time-%u-guests-page,%.0f,ns/page\n", sizes[i], seconds * 1e9 / pages);
		fflush(stdout);
	}
	return EXIT_SUCCESS;
}
