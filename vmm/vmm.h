/* SPDX-License-Identifier: MIT */
/*
 * vmm.h - one run: what a machine is asked for, and what it gives back
 *
 * `overbook run` turns an experiment into a struct run, hands it to a backend (vmm/sim, vmm/kvm), and writes what the
 * backend leaves in it. A backend never touches files but the event log; results.c never asks a backend anything.
 */
#ifndef OVERBOOK_VMM_VMM_H
#define OVERBOOK_VMM_VMM_H

#include <errno.h>
#include <glib.h>
#include <stdatomic.h>
#include <stdarg.h>

#include "mm/counters.h"
#include "mm/events.h"
#include "vmm/experiment.h"
#include "vmm/hist.h"

/* A VM's results; name is "web" or, with count > 1, "web-0", "web-1", ... */
struct run_vm {
	char *name;
	const struct conf_vm *conf;
	struct counters counters; /* since the end of the warm-up */
	struct hist *latency;	  /* of accesses, ns */
	uint64_t digest;	  /* valid if has_digest */
	bool has_digest;
	char *failure;		  /* why the guest ended early, or NULL */
	char *killed;		  /* which processes the guest killed for lack of memory, or NULL */
};

/* A row of samples.csv: cumulative counters of one VM (or of the host, vm == NULL) at one time. */
struct run_sample {
	uint64_t time_ns;
	unsigned vm;	/* index into run.vms, or RUN_HOST */
	struct counters counters;
};

#define RUN_HOST UINT32_MAX

struct run {
	const struct experiment *e;
	uint64_t seed; /* of this repetition */
	struct events *events; /* NULL: off */
	GPtrArray *vms;	   /* of struct run_vm, made by run_new() */
	GArray *samples;   /* of struct run_sample, in order of (time, vm), host last */
	struct counters host; /* sums and host-only counters */
	GString *curves;      /* curves.csv: miss-ratio curves; NULL: there are none */
	GString *kvm_stats;   /* kvm-stats.csv: what KVM itself counted; NULL: there was none */
	GString *decisions;   /* decisions.csv; NULL: nobody decided anything */
	uint64_t end_ns;
	bool interrupted;  /* by SIGINT: what was measured is kept */
	uint64_t operations; /* executed so far by all VMs: kept up to date for progress() */
	void (*progress)(struct run *r, double done, void *ctx); /* may be NULL; done in [0, 1] */
	void *progress_ctx;
};

/* A run of @e, which must outlive it, with all its VMs and nothing measured yet; run_free(). */
struct run *run_new(const struct experiment *e, uint64_t seed);
void run_free(struct run *r);
/* One more row; @vm is an index into run.vms or RUN_HOST. The counters are copied. */
/* What a guest's failure counts as beside guest_failures. */
enum failure { FAILURE_OTHER, FAILURE_CRASH, FAILURE_HANG, FAILURE_ACCESS, FAILURE_MEMORY };
/* Of a fault that the memory manager could not resolve, and in words. */
static inline enum failure failure_of(int err)
{
	return err == -ENOMEM || err == -EIO ? FAILURE_MEMORY : FAILURE_ACCESS;
}
const char *failure_text(int err);
/* Why the guest cannot go on, for the report; the first reason wins, and is counted in @live too. */
void run_vm_fail(struct run_vm *vm, struct counters *live, enum failure kind, const char *format, va_list ap)
	G_GNUC_PRINTF(4, 0);
void run_sample(struct run *r, uint64_t time_ns, unsigned vm, const struct counters *c);

/* How far a run is: a backend that has a progress() to call adds up its VMs and reports. */
struct run_part {
	uint64_t expected, done, operations;
};
/* Operations that the script says will be performed; 0: it does not say. */
uint64_t run_expected_operations(const struct script *sc);
void run_part_add(struct run_part *p, const struct script *sc, uint64_t operations, bool over);
void run_part_report(struct run *r, const struct run_part *p, uint64_t now_ns);

extern atomic_int run_stop; /* set by SIGINT: backends end at the next quantum */

/* The rest of the machine-independent world sees a backend like this. */
struct backend {
	const char *name; /* as `machine = sim` */
	const char *summary;
	/* TRUE, or what this host lacks (exit status 3). */
	gboolean (*available)(GError **error);
	/*
	 * Run it to the end. FALSE and @error when the experiment failed as a whole (status 1); a guest's
	 * failure is in its run_vm.
	 */
	gboolean (*run)(struct run *r, GError **error);
};

extern const struct backend backend_sim, backend_kvm;
extern const struct backend *const backends[]; /* NULL-ended: sim, kvm */

/* Paging modes by the index that conf_vm.paging holds: native, shadow, ept, pv. */
enum paging_mode { MODE_NATIVE, MODE_SHADOW, MODE_EPT, MODE_PV, MODE_COUNT };
extern const struct paging_ops *const paging_modes[]; /* NULL-ended, in that order */

/* conf_vm.dirty_log */
enum dirty_log { DIRTY_NONE, DIRTY_WRPROTECT, DIRTY_PML };

#define VMM_ERROR vmm_error_quark()
GQuark vmm_error_quark(void);
/* Codes of VMM_ERROR: which exit status the program ends with. */
enum vmm_error { VMM_FAILED = 1, VMM_USAGE = 2, VMM_LACKS = 3 };

#endif
