/* SPDX-License-Identifier: MIT */
/* run_text.h - run an experiment given as text, without files that stay */
#ifndef OVERBOOK_TESTS_RUN_TEXT_H
#define OVERBOOK_TESTS_RUN_TEXT_H

#include "vmm/vmm.h"

/* An experiment's workload of one phase. */
#define ONE_PHASE(processes, phase) "[workload w]\nprocesses = " processes "\nphases = p\n[phase p]\n" phase

/* A finished run and the experiment it points to. */
struct text_run {
	struct experiment *e;
	struct run *run;
};

/* Load @text (an experiment file) and make its run. False and @error; run_text_free() in any case. */
gboolean load_text(struct text_run *t, const char *text, GError **error);
/* The same, and run it on @machine with its first seed. */
gboolean run_text(struct text_run *t, const struct backend *machine, const char *text, GError **error);
/* The same; a failure is the test's. */
void must_run_text(struct text_run *t, const struct backend *machine, const char *text);
/* The same for a file. */
gboolean run_file(struct text_run *t, const struct backend *machine, const char *path, GError **error);
/* The same with one override, as of --set. */
gboolean run_file_with(struct text_run *t, const struct backend *machine, const char *path, const char *set,
		       GError **error);
/* Nothing is to be stopped any more, either. */
void run_text_free(struct text_run *t);

static inline struct run_vm *run_text_vm(const struct text_run *t, unsigned i)
{
	return g_ptr_array_index(t->run->vms, i);
}

/* /dev/kvm is usable; else says so on a line that tests/run.sh counts as skipped. */
gboolean kvm_or_skip(void);

#endif
