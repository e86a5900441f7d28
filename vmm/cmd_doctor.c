/* SPDX-License-Identifier: MIT */
/*
 * cmd_doctor.c - overbook doctor: what this host can do, and what to change
 *
 * One line per finding: ok, note (works, but know this) or lacks (something will not work; how to get it). Exit status
 * 0 if the simulator can run and draw, 3 otherwise; KVM is never required.
 */
#include <numa.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/cmd.h"
#include "vmm/host_settings.h"
#include "vmm/vmm.h"

static gboolean healthy;

static void say(const char *verdict, const char *what, const char *format, ...) G_GNUC_PRINTF(3, 4);

static void say(const char *verdict, const char *what, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	g_autofree char *text = g_strdup_vprintf(format, ap);
	va_end(ap);
	printf("%-6s %-14s %s\n", verdict, what, text);
}

/* The first line of a small file, or NULL. */
static char *line_of(const char *path)
{
	char *text = NULL;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return NULL;
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static void check_program(const char *name, const char *needed_for, gboolean required, const char *package)
{
	g_autofree char *path = g_find_program_in_path(name);

	if (path) {
		say("ok", name, "%s", path);
		return;
	}
	say("lacks", name, "needed for %s: install the package %s (make deps does)", needed_for, package);
	if (required)
		healthy = FALSE;
}

static void check_address_space(void)
{
	const size_t need = (size_t)1 << 40;
	void *p = mmap(NULL, need, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	g_autofree char *over = line_of("/proc/sys/vm/overcommit_memory");

	if (p != MAP_FAILED) {
		munmap(p, need);
		say("ok", "address space", "a simulated host of 1 TiB can be described");
	} else {
		say("lacks", "address space",
		    "1 TiB cannot be reserved (vm.overcommit_memory is %s; ulimit -v?): "
		    "large simulated hosts will be refused",
		    over ? over : "unknown");
	}
}

static void check_numa(void)
{
	if (numa_available() < 0)
		say("note", "NUMA",
		    "the kernel has none: real guests cannot be bound to nodes (the simulator models its own)");
	else
		say("ok", "NUMA", "%d node%s", numa_num_configured_nodes(),
		    numa_num_configured_nodes() == 1 ? "" : "s");
}

/* Which kernel module serves /dev/kvm decides what a run on it measures. */
static void check_kvm_kind(void)
{
	g_autofree char *ept = line_of("/sys/module/kvm_intel/parameters/ept");
	g_autofree char *npt = line_of("/sys/module/kvm_amd/parameters/npt");

	if (ept)
		say("ok", "kind of KVM", "VMX, EPT %s", *ept == 'Y' ? "on" : "off: KVM shadows every table itself");
	else if (npt)
		say("ok", "kind of KVM", "SVM, NPT %s",
		    *npt == 'Y' || *npt == '1' ? "on" : "off: KVM shadows every table itself");
	else
		say("note", "kind of KVM",
		    "neither VMX nor SVM is visible: software KVM, or built in; "
		    "times of guest kernel code mean nothing there");
}

static void check_kvm(void)
{
	GError *error = NULL;

	if (backend_kvm.available(&error)) {
		say("ok", "kvm", "real guests can run (--machine kvm)");
		check_kvm_kind();
	} else {
		say("note", "kvm", "%s", error->message);
		g_error_free(error);
	}
}

static void check_setting(const char *what, const char *path, const char *meaning)
{
	g_autofree char *value = line_of(path);

	say("note", what, "%s (%s)", value ? value : "not there", meaning);
}

/* Settings that runs have changed, and what is left of those that were killed. */
static void check_changed(void)
{
	g_autofree char *list = host_settings_list(NULL);
	g_auto(GStrv) lines = list ? g_strsplit(g_strchomp(list), "\n", -1) : NULL;

	for (unsigned i = 0; lines && lines[i]; i++)
		say("note", "changed", "%s%s", lines[i],
		    g_str_has_suffix(lines[i], "dead)") ? ": overbook doctor --repair puts it back" : "");
}

static int repair(void)
{
	gboolean whole;
	g_autofree char *line = host_settings_repair(NULL, &whole);

	if (!whole)
		return cmd_error(CMD_LACKS, "%s", line);
	say("ok", "settings", "%s", line ? line : "nothing to put back");
	return CMD_OK;
}

int cmd_doctor(int argc, char **argv)
{
	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		puts("Usage: overbook doctor [--repair]\n\n"
		     "Says what this host can do for experiments, and what to change.\n"
		     "--repair: put back what a run that was killed has left changed.");
		return CMD_OK;
	}
	if (argc == 2 && !strcmp(argv[1], "--repair"))
		return repair();
	if (argc > 1)
		return cmd_error(CMD_USAGE, "doctor takes no arguments but --repair, not \"%s\"", argv[1]);
	healthy = TRUE;
	say("ok", "simulator", "needs nothing but this CPU (%ld online)", sysconf(_SC_NPROCESSORS_ONLN));
	check_address_space();
	check_program("gnuplot", "figures", TRUE, "gnuplot-nox");
	check_program("valgrind", "overbook trace record", FALSE, "valgrind");
	check_numa();
	check_kvm();
	check_setting("max_map_count", "/proc/sys/vm/max_map_count",
		      "mappings a process may have; merging on kvm spends them");
	check_setting("huge pages", "/sys/kernel/mm/transparent_hugepage/enabled",
		      "transparent huge pages of this host");
	check_setting("KSM", "/sys/kernel/mm/ksm/run",
		      "1: the kernel merges pages by itself; overbook leaves it alone");
	check_changed();
	return healthy ? CMD_OK : CMD_LACKS;
}
