/* SPDX-License-Identifier: MIT */
/*
 * vm.c - one VM of the real machine: from its section of the experiment to a vCPU before its first instruction, and
 * back
 */

#include "vmm/kvm/kvm.h"
#include "vmm/kvm/shadow.h"
#include "workloads/guest/kernel.h"

static const char *vm_memory(struct kvm_vm *vm)
{
	struct gmem_config cfg = {
		.vm = vm->id,
		.npages = vm->npages,
		.arena_pages = vm->arena_pages,
		.level = vm->m->run->e->host.page_level,
		.node = (unsigned)vm->conf->node,
		.placement = (enum placement)vm->conf->placement,
		.nodes = vm->conf->nodes,
	};
	const char *why;
	int err;

	if (vm->arena_pages + 512 > vm->npages)
		return "its arena leaves no memory for processes: give the VM more memory";
	vm->gmem = gmem_new(&cfg, vm->m->frames, &vm->m->machine, &vm->counters, vm->m->run->events);
	if (!vm->gmem)
		return "the host has no memory for its arena";
	why = kvm_devices_new(vm);
	if (why)
		return why;
	if (host_attach(&vm->m->host, vm->id, vm->gmem, vm->balloon))
		return "no address space for the host's lists of its pages";
	err = vm->shadow ? 0 : kvm_memory_map(vm);
	return err ? g_strerror(-err) : NULL;
}

static const char *vm_paging(struct kvm_vm *vm)
{
	static const unsigned MAXPHYADDR = 52; /* ept: hfns are accounting, no processor reads these tables */
	struct paging_config cfg = {
		.gmem = vm->gmem,
		.nvcpus = 1,
		.regs = vm->regs_of,
		.guest_levels = vm->conf->guest_levels,
		.host_levels = vm->conf->host_levels,
		.maxphyaddr = MAXPHYADDR,
		.max_leaf = vm->conf->max_leaf,
		.ad_bits = vm->conf->ept_ad,
		.unsync = vm->conf->unsync,
		.shadow_limit = vm->conf->shadow_limit,
		.flood_limit = (unsigned)vm->conf->flood_limit,
	};

	vm->regs = (struct guest_regs){
		.cr0 = CR0_PE | CR0_WP | CR0_PG,
		.cr3 = BOOT_ROOT_GPA,
		.cr4 = CR4_PAE | CR4_PGE | (vm->shadow && vm->conf->pcid ? CR4_PCIDE : 0),
		.efer = EFER_LME | EFER_LMA | EFER_NX,
		.cpl = 3,
	};
	if (vm->shadow) {
		cfg.reserved_slot = OWN_SLOT;
		cfg.reserved_entry = kvm_shadow_entry(vm);
	}
	vm->regs_of[0] = &vm->regs;
	vm->paging = paging_modes[vm->conf->paging]->create(&cfg);
	if (!vm->paging)
		return "the host has no memory for its tables";
	gmem_set_paging(vm->gmem, vm->paging);
	return NULL;
}

struct kvm_vm *kvm_vm_new(struct kvm_machine *m, struct run_vm *out, unsigned id, GError **error)
{
	const struct conf_workload *w = experiment_workload(m->run->e, out->conf->workload);
	struct kvm_vm *vm = g_new0(struct kvm_vm, 1);
	const char *why;

	vm->m = m;
	vm->id = id;
	vm->out = out;
	vm->conf = out->conf;
	vm->memfd = vm->fd = vm->vcpu_fd = vm->notify_fd = -1;
	for (unsigned i = 0; i < KVM_LINES; i++)
		vm->irq_fd[i] = -1;
	g_cond_init(&vm->wake);
	m->vms[id] = vm;
	vm->script = experiment_script(m->run->e, w, id, error);
	if (!vm->script)
		return NULL;
	vm->script->seed = rng_mix(m->run->seed ^ rng_mix(id));
	vm->feed = trace_feed_new(m->run->e);
	vm->boot = kvm_boot_info(vm);
	vm->npages = vm->boot.npages;
	vm->arena_pages = vm->boot.arena_end / PAGE_SIZE;
	kvm_life_begin(vm);
	if (m->shadow && !kvm_shadow_create(vm, error))
		return NULL;
	g_mutex_lock(&m->lock);
	why = vm_memory(vm);
	if (!why)
		why = vm_paging(vm);
	g_mutex_unlock(&m->lock);
	if (why) {
		g_set_error(error, VMM_ERROR, VMM_FAILED, "VM \"%s\" cannot start: %s", out->name, why);
		return NULL;
	}
	kvm_boot_write(vm);
	return kvm_vcpu_create(vm, error) ? vm : NULL;
}

void kvm_vm_free(struct kvm_vm *vm)
{
	if (!vm)
		return;
	/* The guest's last reference to its memory goes first; then nobody can fault any more. */
	kvm_stats_end(vm);
	kvm_vcpu_destroy(vm);
	if (vm->gmem)
		vm_balloon_free(vm->balloon);
	if (vm->paging)
		vm->paging->ops->destroy(vm->paging);
	if (!vm->shadow)
		kvm_memory_unmap(vm);
	if (vm->gmem)
		gmem_free(vm->gmem);
	vm_disk_free(vm->disk);
	trace_feed_free(vm->feed);
	kvm_shadow_destroy(vm);
	g_free(vm->script);
	g_cond_clear(&vm->wake);
	g_free(vm);
}
