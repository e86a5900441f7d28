/* SPDX-License-Identifier: MIT */
/*
 * calibrate_fit.h - costs that only a whole guest shows, from runs of it on both machines
 *
 * Private to `overbook calibrate`.
 */
#ifndef OVERBOOK_VMM_CALIBRATE_FIT_H
#define OVERBOOK_VMM_CALIBRATE_FIT_H

#include "mm/counters.h"
#include "vmm/calibrate.h"
#include "vmm/sim/profile.h"
#include "vmm/vmm.h"

/* What a run took and counted, all VMs together. */
struct fit_run {
	double ns; /* on sim: ns_total; on kvm: CPU time of this process, guests included */
	struct counters sum;
};

/* Run the experiment in @path on @machine with the overrides SECTION.KEY=VALUE, NULL-ended. */
gboolean fit_run(const struct backend *machine, const char *path, const char *const *set, struct fit_run *out,
		 GError **error);

/* One field that was fitted, or why it was not; what it was fitted to. */
struct fitted {
	const char *field, *event;
	double kvm_ns, events; /* for so many events */
	double low, high;      /* quartiles of the field's value, in cycles */
	char *why;	       /* NULL: fitted */
};

/* Fit what can be in @p, which is named in no error. Elements of struct fitted; g_array_unref(). */
GArray *calibrate_fit(const struct calibration *c, struct sim_profile *p, const char *base, GError **error);

#endif
