/* SPDX-License-Identifier: MIT */
/*
 * hal.c - the guest kernel's world, simulated
 *
 * Each load and store of the kernel is one access of the simulated MMU at the kernel's virtual address, in the
 * kernel's root, at CPL 3: it misses TLBs, walks, faults, hits traces and costs what the guest's would on hardware.
 * Only the kernel's private structures (hal_arena) are reached directly: they are pinned, and no count or digest
 * depends on them.
 *
 * A page is zeroed, copied or filled with one MMU access per page and the profile's price for the rest.
 */
#include <string.h>

#include "mm/gmem_disk.h"
#include "vmm/sim/future.h"
#include "vmm/sim/sim.h"
#include "vmm/sim/truth.h"

static struct sim_vcpu *vcpu(struct hal *h)
{
	return (struct sim_vcpu *)h;
}

/*
 * Access @gpa until it succeeds. The kernel's direct map covers all memory, so a fault of the guest's own here is a bug
 * of the guest kernel. For a store, *emulated says that the VMM performed it.
 */
static hpa_t kernel_access(struct sim_vcpu *v, gpa_t gpa, unsigned access, const uint64_t *store)
{
	struct mmu_result r;

	if (v->booting)
		return gmem_arena(v->vm->gmem) + gpa - v->ctx.bytes;
	while (!v->vm->done) {
		mmu_access(v->cpu->mmu, &v->ctx, KERNEL_DIRECT_MAP + gpa, access | ACC_U, &r);
		sim_spend(v, BUCKET_KERNEL, r.cycles);
		if (r.outcome == MMU_OK) {
			if (v->vm->truth)
				truth_touch(v->vm->truth, gpa >> PAGE_SHIFT);
			return r.hpa;
		}
		switch (sim_handle(v, &r)) {
		case SIM_RETRY:
			break;
		case SIM_EMULATE:
			if (store) {
				sim_emulate_store(v, &r, *store);
				return HFN_NONE;
			}
			sim_vm_fail(v->vm, "the guest kernel stored to a table page as if it were data");
			break;
		case SIM_INJECT:
			sim_vm_fail_as(v->vm, FAILURE_CRASH,
				       "page fault in the guest kernel at 0x%" G_GINT64_MODIFIER "x (error 0x%x)",
				       r.gva, r.error);
			break;
		case SIM_FAILED:
			break;
		}
	}
	return HFN_NONE;
}

void *hal_arena(struct hal *h, uint64_t gpa)
{
	return gmem_arena(vcpu(h)->vm->gmem) + gpa;
}

uint64_t hal_pte_read(struct hal *h, uint64_t entry_gpa)
{
	struct sim_vcpu *v = vcpu(h);
	hpa_t hpa = kernel_access(v, entry_gpa, ACC_R, NULL);

	if (hpa == HFN_NONE)
		return 0;
	if (v->vm->conf->paging == MODE_PV)
		return pv_read(v->vm->paging, entry_gpa);
	return *(uint64_t *)(v->ctx.bytes + hpa);
}

void hal_pte_write(struct hal *h, uint64_t entry_gpa, uint64_t value, unsigned level)
{
	struct sim_vcpu *v = vcpu(h);

	if (v->vm->conf->paging == MODE_PV) {
		v->batch[v->nbatch++] = (struct pv_entry){ .gpa = entry_gpa, .value = value, .level = level };
		if (v->nbatch == G_N_ELEMENTS(v->batch))
			hal_pte_flush(h);
		return;
	}
	hpa_t hpa = kernel_access(v, entry_gpa, ACC_W, &value);

	if (hpa != HFN_NONE)
		*(uint64_t *)(v->ctx.bytes + hpa) = value;
}

void hal_pte_flush(struct hal *h)
{
	struct sim_vcpu *v = vcpu(h);

	if (!v->nbatch)
		return;
	sim_exit(v, EXIT_HYPERCALL);
	v->vm->counters.pv_hypercalls++;
	sim_spend(v, v->bucket, (uint64_t)v->nbatch * v->vm->sim->profile->pv_update_cycles);

	int err = pv_update(v->vm->paging, v->batch, v->nbatch);

	v->nbatch = 0;
	if (err)
		sim_vm_fail(v->vm, "the hypervisor refused a table update: %s", g_strerror(-err));
}

static void pv_call(struct sim_vcpu *v, int (*call)(struct paging *, gpa_t, unsigned), gpa_t gpa, unsigned level)
{
	hal_pte_flush(sim_hal(v));
	sim_exit(v, EXIT_HYPERCALL);
	v->vm->counters.pv_hypercalls++;

	int err = call(v->vm->paging, gpa, level);

	if (err)
		sim_vm_fail(v->vm, "the hypervisor refused to %s the table at 0x%" G_GINT64_MODIFIER "x: %s",
			    call == pv_table_new ? "pin" : "unpin", gpa, g_strerror(-err));
}

void hal_table_new(struct hal *h, uint64_t gpa, unsigned level)
{
	struct sim_vcpu *v = vcpu(h);

	if (v->vm->conf->paging == MODE_PV) {
		memset(hal_arena(h, gpa), 0, PAGE_SIZE);
		pv_call(v, pv_table_new, gpa, level);
		return;
	}
	hal_pte_write(h, gpa, 0, level);
	sim_spend(v, BUCKET_KERNEL, v->vm->sim->profile->zero_page_cycles);
	memset(hal_arena(h, gpa), 0, PAGE_SIZE);
}

void hal_table_free(struct hal *h, uint64_t gpa, unsigned level)
{
	struct sim_vcpu *v = vcpu(h);

	if (v->vm->conf->paging != MODE_PV)
		return;
	pv_call(v, pv_table_free, gpa, level);
}

void hal_zero_pages(struct hal *h, uint64_t gfn, uint64_t npages)
{
	struct sim_vcpu *v = vcpu(h);
	struct sim *s = v->vm->sim;

	for (uint64_t i = 0; i < npages; i++) {
		gmem_overwrite(v->vm->gmem, gfn + i, FAULT_CPU);

		hpa_t hpa = kernel_access(v, (gfn + i) << PAGE_SHIFT, ACC_W, NULL);

		if (hpa == HFN_NONE)
			return;
		s->content[hpa >> PAGE_SHIFT] = (struct pattern){ 0, 0 };
		sim_future_use(s, v->vm->id, gfn + i);
		sim_spend(v, BUCKET_KERNEL, s->profile->zero_page_cycles);
	}
}

void hal_copy_pages(struct hal *h, uint64_t dst_gfn, uint64_t src_gfn, uint64_t npages)
{
	struct sim_vcpu *v = vcpu(h);
	struct sim *s = v->vm->sim;

	for (uint64_t i = 0; i < npages; i++) {
		uint64_t evictions;
		hpa_t src, dst;

		gmem_overwrite(v->vm->gmem, dst_gfn + i, FAULT_CPU);
		/* What the second access evicts may be the page of the first: then the instruction starts over. */
		do {
			src = kernel_access(v, (src_gfn + i) << PAGE_SHIFT, ACC_R, NULL);
			evictions = host_evictions(&s->host);
			dst = kernel_access(v, (dst_gfn + i) << PAGE_SHIFT, ACC_W, NULL);
			if (src == HFN_NONE || dst == HFN_NONE)
				return;
		} while (evictions != host_evictions(&s->host));
		sim_copy_content(s, dst >> PAGE_SHIFT, src >> PAGE_SHIFT);
		sim_future_use(s, v->vm->id, src_gfn + i);
		sim_future_use(s, v->vm->id, dst_gfn + i);
		sim_spend(v, BUCKET_KERNEL, s->profile->copy_page_cycles);
	}
}

void hal_fill_page(struct hal *h, uint64_t gfn, uint64_t base)
{
	struct sim_vcpu *v = vcpu(h);
	hpa_t hpa = kernel_access(v, gfn << PAGE_SHIFT, ACC_W, NULL);

	if (hpa == HFN_NONE)
		return;
	v->vm->sim->content[hpa >> PAGE_SHIFT].base = base;
	sim_future_use(v->vm->sim, v->vm->id, gfn);
	sim_spend(v, BUCKET_KERNEL, v->vm->sim->profile->fill_page_cycles);
}

void hal_poison_pages(struct hal *h, uint64_t gfn, uint64_t npages, uint64_t word)
{
	struct sim_vcpu *v = vcpu(h);
	struct sim *s = v->vm->sim;

	for (uint64_t i = 0; i < npages; i++) {
		hpa_t hpa = kernel_access(v, (gfn + i) << PAGE_SHIFT, ACC_W, NULL);

		if (hpa == HFN_NONE)
			return;
		s->content[hpa >> PAGE_SHIFT] = (struct pattern){ word, word };
		sim_spend(v, BUCKET_KERNEL, s->profile->zero_page_cycles);
	}
}

bool hal_poisoned(struct hal *h, uint64_t gfn, uint64_t npages, uint64_t word)
{
	struct sim_vcpu *v = vcpu(h);
	bool all = true;

	for (uint64_t i = 0; i < npages && all; i++) {
		hpa_t hpa = kernel_access(v, (gfn + i) << PAGE_SHIFT, ACC_R, NULL);

		if (hpa == HFN_NONE)
			return true;
		all = sim_all_words(v->vm->sim, hpa >> PAGE_SHIFT, word);
		sim_spend(v, BUCKET_KERNEL, v->vm->sim->profile->checksum_cycles);
	}
	return all;
}

void hal_invlpg(struct hal *h, uint64_t va)
{
	struct sim_vcpu *v = vcpu(h);

	hal_pte_flush(h);
	sim_invalidate(v, v->user_cr3, GUEST_INVLPG, va);
}

void hal_flush_space(struct hal *h, uint64_t root, unsigned pcid)
{
	struct sim_vcpu *v = vcpu(h);
	uint64_t space = root | pcid;

	hal_pte_flush(h);
	sim_invalidate(v, space, GUEST_CR3, space);
}

static uint64_t registers(const struct sim_vcpu *v, enum device_page page)
{
	return device_gpa(v->vm->conf->memory / PAGE_SIZE, page);
}

/* No memory lies there, so every access exits, before any translation that would be worth modelling. */
uint32_t hal_mmio_read(struct hal *h, uint64_t gpa)
{
	struct sim_vcpu *v = vcpu(h);
	uint64_t disk = registers(v, DEVICE_DISK), balloon = registers(v, DEVICE_BALLOON);

	hal_pte_flush(h);
	sim_exit(v, EXIT_IO);
	if (v->vm->disk && gpa >= disk)
		return (uint32_t)vm_disk_read(v->vm->disk, gpa - disk, 4);
	return v->vm->balloon ? (uint32_t)vm_balloon_read(v->vm->balloon, gpa - balloon, 4) : 0;
}

void hal_mmio_write(struct hal *h, uint64_t gpa, uint32_t value)
{
	struct sim_vcpu *v = vcpu(h);
	uint64_t disk = registers(v, DEVICE_DISK), balloon = registers(v, DEVICE_BALLOON);

	hal_pte_flush(h);
	sim_exit(v, EXIT_IO);
	if (v->vm->disk && gpa >= disk)
		vm_disk_write(v->vm->disk, gpa - disk, value, 4, hal_now(h));
	else if (v->vm->balloon)
		vm_balloon_write(v->vm->balloon, gpa - balloon, value, 4);
	/* What the device took away may have been a part of the tables. */
	if (!v->booting)
		sim_refresh_root(v);
}

uint64_t hal_now(struct hal *h)
{
	struct sim_vcpu *v = vcpu(h);
	struct sim *s = v->vm->sim;

	if (s->run->e->experiment.schedule == SCHEDULE_LOCKSTEP)
		return v->vm->operations * LOCKSTEP_NS + v->vm->idle_ns;
	return sim_cycles_to_ns(s, sim_clock(v));
}

/*
 * The kernel gives up: nothing of it may run again. The panic unwinds to guest.c, which called it, with the stack of
 * the kernel left behind; the kernel keeps nothing on it that anybody else needs.
 */
void hal_panic(struct hal *h, const char *file, unsigned line)
{
	struct sim_vcpu *v = vcpu(h);

	sim_vm_fail_as(v->vm, FAILURE_CRASH, "guest kernel: assertion failed at %s:%u", file, line);
	longjmp(v->panic, 1);
}
