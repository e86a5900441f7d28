/* SPDX-License-Identifier: MIT */
/*
 * bench_start.c - from exec to the first exit of a guest, and what another VM costs, beside QEMU's microvm
 *
 * This program executes itself; the new process reads an experiment, makes the machine and its VMs and runs the first
 * VM's kernel until it is up, which takes several exits: so the time to the first is less than what is told. Resident
 * memory is read then, less what the guest's pages take. The same with nine VMs gives what each further one costs.
 * QEMU is told to run a firmware of four instructions that ends it: its exec to its exit, and the most it held.
 *
 * Limits: 15 ms and 12 MiB; each further VM 2 ms and 1 MiB beyond its memory: the arena that a guest kernel finds in
 * place, 6 MiB at least, and how long it takes to have that much is told apart. Processor time is told, too: on a busy
 * machine it is what the wall clock would say on an idle one.
 */
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mm/lazy.h"
#include "tests/lib/bench.h"
#include "tests/lib/run_text.h"
#include "vmm/kvm/kvm.h"

enum { MANY = 9, ANSWERS = 4 };

#define ANSWER_FD 3

/* Resident memory, MiB. */
static double resident(void)
{
	unsigned long size = 0, pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f && fscanf(f, "%lu %lu", &size, &pages) != 2)
		pages = 0;
	if (f)
		fclose(f);
	return (double)pages * PAGE_SIZE / (1 << 20);
}

/* What the guests' own memory is of that: their arenas, which are there from the start, and what was touched. */
static double guests(struct kvm_machine *m)
{
	uint64_t npages = 0;

	for (unsigned i = 0; i < m->nvms; i++)
		npages += m->vms[i]->arena_pages + m->vms[i]->counters.pages_resident;
	return (double)npages * PAGE_SIZE / (1 << 20);
}

/* What it takes to have as much memory as the guests' arenas, which their kernels find there: us. */
static double populate(struct kvm_machine *m)
{
	double start = bench_now_us();

	for (unsigned i = 0; i < m->nvms; i++) {
		size_t nbytes = (size_t)m->vms[i]->arena_pages * PAGE_SIZE;
		void *at = lazy_new(nbytes);

		if (!at || madvise(at, nbytes, MADV_POPULATE_WRITE))
			return 0;
	}
	return bench_now_us() - start;
}

/*
 * The new process. Answers on ANSWER_FD: the time when the guest was up, MiB beyond guests' memory, processor time,
 * and that of so much memory.
 */
static int child(const char *count)
{
	g_autofree char *text = g_strdup_printf("[experiment]\ntitle = start\nschedule = lockstep\nmachine = kvm\n"
						"[host]\nmemory = 512 MiB\n[vm guest]\ncount = %s\nmemory = 16 MiB\n"
						"paging = ept\nworkload = work\n[workload work]\nphases = touch\n"
						"[phase touch]\npattern = sequential\nsize = 1 MiB\noperations = 10\n",
						count);
	g_autoptr(GError) error = NULL;
	struct kvm_machine m;
	struct text_run t;
	double out[ANSWERS];

	if (!load_text(&t, text, &error) || !kvm_machine_init(&m, t.run, &error) || !kvm_boot_run(m.vms[0], &error)) {
		fprintf(stderr, "%s\n", error ? error->message : "it does not start");
		return 1;
	}
	out[0] = bench_now_us();
	out[1] = resident() - guests(&m);
	out[2] = bench_cpu_us();
	out[3] = populate(&m);
	return write(ANSWER_FD, out, sizeof(out)) == sizeof(out) ? 0 : 1;
}

/* @argv is executed; its answer, if it has one; its time and most memory. False: it failed. */
static bool execute(char *const argv[], double answer[ANSWERS], double *us, double *mib)
{
	double start = bench_now_us();
	struct rusage usage;
	int fds[2], status = -1;
	pid_t pid;

	if (pipe(fds))
		return false;
	fflush(NULL);
	pid = fork();
	if (!pid) {
		dup2(fds[1], ANSWER_FD);
		execvp(argv[0], argv);
		_exit(127);
	}
	close(fds[1]);
	if (answer && read(fds[0], answer, ANSWERS * sizeof(*answer)) < 0)
		answer[0] = 0;
	close(fds[0]);
	wait4(pid, &status, 0, &usage);
	*us = bench_now_us() - start;
	*mib = (double)usage.ru_maxrss / 1024;
	if (answer)
		answer[0] -= start;
	return WIFEXITED(status) && (answer ? status == 0 : WEXITSTATUS(status) == 3);
}

/* A firmware that writes 1 to isa-debug-exit, which ends QEMU with status 3. NULL: it cannot be written. */
static char *firmware(void)
{
	static const uint8_t code[] = { 0xb0, 0x01, 0xe6, 0xf4, 0xf4 }; /* mov al, 1; out 0xf4, al; hlt */
	g_autofree uint8_t *image = g_malloc0(1 << 16);
	char *path = NULL;
	int fd = g_file_open_tmp("overbook-bench-XXXXXX.bin", &path, NULL);

	if (fd < 0)
		return NULL;
	memcpy(image + (1 << 16) - 16, code, sizeof(code)); /* the reset vector */
	if (write(fd, image, 1 << 16) != 1 << 16)
		g_clear_pointer(&path, g_free);
	close(fd);
	return path;
}

static void peer(const char *image, struct series *us, struct series *mib, bool *lacks)
{
	char *const argv[] = { "qemu-system-x86_64", "-M", "microvm", "-accel", "kvm", "-m", "16", "-smp", "1",
			       "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-bios",
			       (char *)image, "-device", "isa-debug-exit,iobase=0xf4,iosize=4", NULL };
	double took, most;

	if (*lacks)
		return;
	*lacks = !image || !execute(argv, NULL, &took, &most);
	if (*lacks) {
		bench_skip("qemu-microvm", "no qemu-system-x86_64 with machine microvm, or it does not run here");
		return;
	}
	series_add(us, took / 1e3);
	series_add(mib, most);
}

int main(int argc, char **argv)
{
	struct series first = { 0 }, memory = { 0 }, each = { 0 }, each_memory = { 0 }, qemu = { 0 };
	struct series qemu_memory = { 0 }, first_cpu = { 0 }, each_cpu = { 0 }, beyond = { 0 }, arena = { 0 };
	g_autofree char *image = NULL;
	bool no_qemu = false;

	if (argc > 1)
		return child(argv[1]);
	bench_header();
	if (!kvm_or_skip()) {
		bench_skip("first-exit", "no /dev/kvm");
		return 0;
	}
	image = firmware();
	for (unsigned round = 0; round < bench_rounds(); round++) {
		char many[12], *const one_vm[] = { "/proc/self/exe", "1", NULL },
				*const many_vms[] = { "/proc/self/exe", many, NULL };
		double one[ANSWERS], all[ANSWERS], took, most;

		g_snprintf(many, sizeof(many), "%d", MANY);
		if (!execute(one_vm, one, &took, &most) || !execute(many_vms, all, &took, &most)) {
			bench_skip("first-exit", "the machine does not start");
			break;
		}
		series_add(&first, one[0] / 1e3);
		series_add(&memory, one[1]);
		series_add(&each, (all[0] - one[0]) / 1e3 / (MANY - 1));
		series_add(&each_memory, (all[1] - one[1]) / (MANY - 1));
		series_add(&first_cpu, one[2] / 1e3);
		series_add(&each_cpu, (all[2] - one[2]) / 1e3 / (MANY - 1));
		series_add(&arena, (all[3] - one[3]) / 1e3 / (MANY - 1));
		series_add(&beyond, (all[0] - all[3] - one[0] + one[3]) / 1e3 / (MANY - 1));
		peer(image, &qemu, &qemu_memory, &no_qemu);
	}
	if (image)
		g_unlink(image);
	bench_most("first-exit", &first, "ms", 15);
	bench_most("first-exit-cpu", &first_cpu, "ms", 15);
	bench_most("first-exit-memory", &memory, "MiB", 12);
	bench_median("further-vm", &each, "ms");
	bench_median("further-vm-memory-alone", &arena, "ms");
	bench_most("further-vm-beyond-memory", &beyond, "ms", 2);
	bench_most("further-vm-cpu", &each_cpu, "ms", 2);
	bench_most("further-vm-overhead", &each_memory, "MiB", 1);
	if (!no_qemu) {
		bench_median("qemu-microvm", &qemu, "ms");
		bench_median("qemu-microvm-memory", &qemu_memory, "MiB");
	}
	return 0;
}
