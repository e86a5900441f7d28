/* SPDX-License-Identifier: MIT */
/* backend.c - the simulator as `overbook run` sees it */
#include "vmm/sim/future.h"
#include "vmm/sim/sim.h"

static gboolean sim_available(GError **error)
{
	(void)error;
	return TRUE;
}

static gboolean simulate(struct run *r, struct swap_future *future, GError **error)
{
	struct sim s = { .run = r, .future = future };
	gboolean ok = FALSE;

	if (sim_init(&s, error) == 0) {
		s.vms = g_new0(struct sim_vm *, r->vms->len);
		ok = TRUE;
		for (unsigned i = 0; i < r->vms->len && ok; i++) {
			s.nvms = i + 1;
			ok = sim_vm_new(&s, g_ptr_array_index(r->vms, i), i, error) != NULL;
		}
		ok = ok && sim_truth_init(&s, error) && host_begin(&s.host, error) && sim_loop(&s, error);
	}
	sim_destroy(&s);
	return ok;
}

static gboolean sim_run(struct run *r, GError **error)
{
	struct swap_future *future;
	gboolean ok = sim_future_learn(r, simulate, &future, error);

	if (ok)
		ok = simulate(r, future, error);
	swap_future_free(future);
	return ok;
}

const struct backend backend_sim = {
	.name = "sim",
	.summary = "deterministic simulator: needs no privileges and no hardware",
	.available = sim_available,
	.run = sim_run,
};
