/* SPDX-License-Identifier: MIT */
/* run.c - struct run: made from an experiment, filled by a backend */
#include "vmm/vmm.h"

atomic_int run_stop;

GQuark vmm_error_quark(void)
{
	return g_quark_from_static_string("overbook-vmm-error");
}

static void run_vm_free(gpointer p)
{
	struct run_vm *vm = p;

	g_free(vm->name);
	g_free(vm->latency);
	g_free(vm->failure);
	g_free(vm->killed);
	g_free(vm);
}

struct run *run_new(const struct experiment *e, uint64_t seed)
{
	struct run *r = g_new0(struct run, 1);

	r->e = e;
	r->seed = seed;
	r->vms = g_ptr_array_new_with_free_func(run_vm_free);
	r->samples = g_array_new(FALSE, TRUE, sizeof(struct run_sample));
	for (unsigned i = 0; i < e->vms->len; i++) {
		const struct conf_vm *conf = g_ptr_array_index(e->vms, i);

		for (uint64_t n = 0; n < conf->count; n++) {
			struct run_vm *vm = g_new0(struct run_vm, 1);

			vm->conf = conf;
			vm->name = conf->count == 1 ? g_strdup(conf->name) :
						      g_strdup_printf("%s-%" G_GUINT64_FORMAT, conf->name, n);
			vm->latency = g_new0(struct hist, 1);
			g_ptr_array_add(r->vms, vm);
		}
	}
	return r;
}

void run_free(struct run *r)
{
	if (!r)
		return;
	g_ptr_array_unref(r->vms);
	g_array_unref(r->samples);
	if (r->kvm_stats)
		g_string_free(r->kvm_stats, TRUE);
	if (r->curves)
		g_string_free(r->curves, TRUE);
	if (r->decisions)
		g_string_free(r->decisions, TRUE);
	g_free(r);
}

const char *failure_text(int err)
{
	return err == -ENOMEM ? "the host has no memory left" :
	       err == -EIO    ? "machine check: the host could not read the page back from its swap device" :
	       err == -EFAULT ? "beyond the guest's memory" :
				g_strerror(-err);
}

static void count_failure(struct counters *c, enum failure kind)
{
	c->guest_failures++;
	c->guest_failures_crash += kind == FAILURE_CRASH;
	c->guest_failures_hang += kind == FAILURE_HANG;
	c->guest_failures_access += kind == FAILURE_ACCESS;
	c->guest_failures_memory += kind == FAILURE_MEMORY;
}

void run_vm_fail(struct run_vm *vm, struct counters *live, enum failure kind, const char *format, va_list ap)
{
	g_autofree char *why = NULL;

	if (vm->failure)
		return;
	why = g_strdup_vprintf(format, ap);
	/* A guest may have chosen the words. */
	vm->failure = g_utf8_make_valid(why, -1);
	for (char *c = vm->failure; *c; c++)
		*c = g_ascii_iscntrl(*c) ? ' ' : *c;
	count_failure(live, kind);
	count_failure(&vm->counters, kind); /* the last sample may have been taken */
}

void run_sample(struct run *r, uint64_t time_ns, unsigned vm, const struct counters *c)
{
	struct run_sample s = { .time_ns = time_ns, .vm = vm, .counters = *c };

	g_array_append_val(r->samples, s);
}

uint64_t run_expected_operations(const struct script *sc)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < sc->nphases; i++)
		if (!(sc->phase[i].flags & PHASE_CHILD))
			n += sc->phase[i].noperations;
	return n * sc->nprocesses;
}

void run_part_add(struct run_part *p, const struct script *sc, uint64_t operations, bool over)
{
	uint64_t n = run_expected_operations(sc);

	p->expected += n;
	p->done += over ? n : MIN(n, operations);
	p->operations += operations;
}

void run_part_report(struct run *r, const struct run_part *p, uint64_t now_ns)
{
	uint64_t duration = r->e->experiment.duration_ns;
	double part = p->expected ? (double)p->done / (double)p->expected : 0;

	if (duration)
		part = MAX(part, (double)now_ns / (double)duration);
	r->operations = p->operations;
	r->progress(r, part, r->progress_ctx);
}
