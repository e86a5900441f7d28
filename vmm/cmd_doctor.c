/* SPDX-License-Identifier: MIT */
/*
 * cmd_doctor.c - overbook doctor: what this host can do, and what to change
 *
 * One line per finding: ok, note (works, but know this) or lacks (something will not work; how to get it). Exit status
 * 0 if the simulator can run and draw, 3 otherwise; KVM is never required.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/cmd.h"
#include "vmm/doctor.h"
#include "vmm/host_settings.h"

static gboolean healthy;

void doctor_say(const char *verdict, const char *what, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	g_autofree char *text = g_strdup_vprintf(format, ap);
	va_end(ap);
	printf("%-6s %-14s %s\n", verdict, what, text);
}

void doctor_has(gboolean there, const char *what, const char *text, const char *verdict, const char *otherwise)
{
	doctor_say(there ? "ok" : verdict, what, "%s", there ? text : otherwise);
}

char *doctor_line(const char *path)
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
		doctor_say("ok", name, "%s", path);
		return;
	}
	doctor_say("lacks", name, "needed for %s: install the package %s (make deps does)", needed_for, package);
	if (required)
		healthy = FALSE;
}

static void check_address_space(void)
{
	const size_t need = (size_t)1 << 40;
	void *p = mmap(NULL, need, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	g_autofree char *over = doctor_line("/proc/sys/vm/overcommit_memory");

	if (p != MAP_FAILED) {
		munmap(p, need);
		doctor_say("ok", "address space", "a simulated host of 1 TiB can be described");
	} else {
		doctor_say("lacks", "address space",
			   "1 TiB cannot be reserved (vm.overcommit_memory is %s; ulimit -v?): "
			   "large simulated hosts will be refused",
			   over ? over : "unknown");
	}
}

/* Settings that runs have changed, and what is left of those that were killed. */
static void check_changed(void)
{
	g_autofree char *list = host_settings_list(NULL);
	g_auto(GStrv) lines = list ? g_strsplit(g_strchomp(list), "\n", -1) : NULL;

	for (unsigned i = 0; lines && lines[i]; i++)
		doctor_say("note", "changed", "%s%s", lines[i],
		    g_str_has_suffix(lines[i], "dead)") ? ": overbook doctor --repair puts it back" : "");
}

static int repair(void)
{
	gboolean whole;
	g_autofree char *line = host_settings_repair(NULL, &whole);

	if (!whole)
		return cmd_error(CMD_LACKS, "%s", line);
	doctor_say("ok", "settings", "%s", line ? line : "nothing to put back");
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
	doctor_say("ok", "simulator", "needs nothing but this CPU (%ld online)", sysconf(_SC_NPROCESSORS_ONLN));
	check_address_space();
	check_program("gnuplot", "figures", TRUE, "gnuplot-nox");
	check_program("valgrind", "overbook trace record", FALSE, "valgrind");
	doctor_kvm();
	doctor_host();
	check_changed();
	return healthy ? CMD_OK : CMD_LACKS;
}
