/* SPDX-License-Identifier: MIT */
/*
 * backend.c - the real machine as `overbook run` sees it: what this host must offer, what of an experiment it can run
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/host.h"
#include "vmm/kvm/content.h"
#include "vmm/kvm/ksm.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/shadow.h"

static int open_kvm(GError **error)
{
	static const char no_kvm[] = "Load the module kvm_intel or kvm_amd (virtualization must be on in the firmware; "
				     "in a VM, nested virtualization); machine = sim needs none of it.";
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		g_set_error(error, VMM_ERROR, VMM_LACKS, "/dev/kvm: %s. %s", g_strerror(errno),
			    errno == EACCES ? "Become a member of group kvm, or run as root." : no_kvm);
	return fd;
}

/* KVM must have what every one since Linux 4.17 has. */
static gboolean kvm_fits(int fd, GError **error)
{
	const struct {
		int cap;
		const char *name;
	} needed[] = {
		{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
		{ KVM_CAP_SYNC_MMU, "KVM_CAP_SYNC_MMU" },
		{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
		{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
	};
	int version = ioctl(fd, KVM_GET_API_VERSION, 0);

	if (version != KVM_API_VERSION) {
		g_set_error(error, VMM_ERROR, VMM_LACKS, "/dev/kvm speaks version %d, not %d", version,
			    KVM_API_VERSION);
		return FALSE;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(needed); i++) {
		if (ioctl(fd, KVM_CHECK_EXTENSION, needed[i].cap) > 0)
			continue;
		g_set_error(error, VMM_ERROR, VMM_LACKS, "this KVM lacks %s: a newer kernel has it", needed[i].name);
		return FALSE;
	}
	return TRUE;
}

static gboolean kvm_available(GError **error)
{
	int fd = open_kvm(error), uffd;
	gboolean ok;

	if (fd < 0)
		return FALSE;
	ok = kvm_fits(fd, error);
	close(fd);
	if (!ok)
		return FALSE;
	uffd = kvm_uffd_open();
	if (uffd < 0) {
		g_set_error(error, VMM_ERROR, VMM_LACKS,
			    "userfaultfd: %s. A guest's faults are served through it: run as root, give this user "
			    "access to /dev/userfaultfd, or set vm.unprivileged_userfaultfd = 1.",
			    g_strerror(errno));
		return FALSE;
	}
	close(uffd);
	return TRUE;
}

static gboolean refuse(GError **error, const char *section, const char *key, const char *value, const char *allowed)
{
	g_set_error(error, VMM_ERROR, VMM_USAGE, "[%s] %s = %s: machine = kvm supports only %s", section, key, value,
		    allowed);
	return FALSE;
}

static gboolean vm_supported(const struct conf_vm *c, GError **error)
{
	char *section = g_strdup_printf("vm %s", c->name);
	gboolean ok = TRUE;

	if (c->paging != MODE_EPT && c->paging != MODE_SHADOW)
		ok = refuse(error, section, "paging", paging_modes[c->paging]->name, "ept and shadow");
	else if (c->guest_levels != 4)
		ok = refuse(error, section, "levels", "5", "4: it does not ask for LA57, which few KVMs have");
	else if (c->dirty_log == DIRTY_PML)
		ok = refuse(error, section, "dirty-log", "pml", "none and wrprotect");
	g_free(section);
	return ok;
}

/* What needs operations on memory that this machine does not have. */
static gboolean host_supported(const struct experiment *e, const struct machine_ops *ops, GError **error)
{
	if (e->swap.size && !ops->save)
		return refuse(error, "swap", "size", "(not 0)", "0");
	if (e->swap.preventer)
		return refuse(error, "swap", "preventer", "yes", "no: it does not see which page a guest overwrites");
	if (e->dedup.algorithm && !ops->compare)
		return refuse(error, "dedup", "algorithm", "(not none)", "none");
	if (conf_estimates(&e->estimate) && !ops->share)
		return refuse(error, "estimate", "methods", "(not none)", "none");
	if (e->estimate.truth)
		return refuse(error, "estimate", "truth", "yes", "no: only the simulator sees every access");
	if (e->host.young == YOUNG_BIT)
		return refuse(error, "host", "young", "accessed-bit", "refault");
	return TRUE;
}

/* Memory is laid out for one of the two. */
static gboolean refuse_mix(const struct conf_vm *c, int mode, GError **error)
{
	char *section = g_strdup_printf("vm %s", c->name);
	char *allowed = g_strdup_printf("one mode in a run, and the first VM has %s", paging_modes[mode]->name);

	refuse(error, section, "paging", paging_modes[c->paging]->name, allowed);
	g_free(allowed);
	g_free(section);
	return FALSE;
}

/* Private memory cannot be hidden from its guest (anonymous.c). */
static gboolean anonymous_supported(const struct experiment *e, GError **error)
{
	static const char allowed[] = "that with backing = memfd; with anonymous, only 0";
	const struct dedup_ops *dedup = e->dedup.algorithm ? dedup_algorithms[e->dedup.algorithm - 1] : NULL;

	if (e->swap.size)
		return refuse(error, "swap", "size", "(not 0)", allowed);
	if (dedup && !dedup->by_host)
		return refuse(error, "dedup", "algorithm", dedup->name,
			      "that with backing = memfd; with anonymous, only none and kernel");
	if (conf_estimates(&e->estimate))
		return refuse(error, "estimate", "methods", "(not none)",
			      "that with backing = memfd; with anonymous, only none");
	if (e->host.page_level != 1)
		return refuse(error, "host", "page-size", e->host.page_level == 2 ? "2M" : "1G",
			      "that with backing = memfd; with anonymous, only 4K");
	for (unsigned i = 0; i < e->vms->len; i++) {
		const struct conf_vm *vm = g_ptr_array_index(e->vms, i);

		if (vm->dirty_log != DIRTY_NONE || vm->paging != MODE_EPT)
			return refuse(error, "host", "backing", "anonymous",
				      "memfd with dirty logs and with any paging but ept");
	}
	return TRUE;
}

static gboolean supported(const struct run *r, GError **error)
{
	int mode = ((const struct run_vm *)g_ptr_array_index(r->vms, 0))->conf->paging;

	if (!host_supported(r->e, mode == MODE_SHADOW ? &kvm_frames_ops : &kvm_machine_ops, error))
		return FALSE;
	if (r->e->host.backing == HOST_ANONYMOUS && !anonymous_supported(r->e, error))
		return FALSE;
	for (unsigned i = 0; i < r->vms->len; i++) {
		const struct run_vm *vm = g_ptr_array_index(r->vms, i);

		if (!vm_supported(vm->conf, error))
			return FALSE;
		if (vm->conf->paging != mode)
			return refuse_mix(vm->conf, mode, error);
	}
	return TRUE;
}

void kvm_vm_fail(struct kvm_vm *vm, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	run_vm_fail(vm->out, &vm->counters, FAILURE_OTHER, format, ap);
	va_end(ap);
	vm->done = true;
}

void kvm_vm_fail_as(struct kvm_vm *vm, enum failure kind, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	run_vm_fail(vm->out, &vm->counters, kind, format, ap);
	va_end(ap);
	vm->done = true;
}

/* They were checked when the experiment was read. */
static void set_distances(struct kvm_machine *m)
{
	g_autofree char *why = NULL;
	g_autofree uint8_t *distances = experiment_distances(&m->run->e->host, &why);

	frames_set_distances(m->frames, distances);
}

gboolean kvm_machine_init(struct kvm_machine *m, struct run *r, GError **error)
{
	gboolean ok;

	*m = (struct kvm_machine){ .machine.ops = &kvm_machine_ops, .run = r };
	m->kvm_fd = m->uffd = m->stop_fd = m->device_poll = m->device_fd = -1;
	m->free = r->e->experiment.schedule == SCHEDULE_FREE;
	g_cond_init(&m->changed);
	g_mutex_init(&m->lock);
	kvm_merge_init(m);
	if (!supported(r, error))
		return FALSE;
	m->shadow = ((const struct run_vm *)g_ptr_array_index(r->vms, 0))->conf->paging == MODE_SHADOW;
	if (m->shadow)
		m->machine.ops = &kvm_frames_ops;
	m->anonymous = r->e->host.backing == HOST_ANONYMOUS;
	m->kvm_fd = open_kvm(error);
	if (m->kvm_fd < 0)
		return FALSE;
	m->frames = host_frames(r, m->shadow);
	if (!m->frames || host_init(&m->host, r, &m->machine, m->frames, &kvm_host_ops, m)) {
		g_set_error(error, VMM_ERROR, VMM_FAILED, "cannot describe the host's memory: %s", g_strerror(errno));
		return FALSE;
	}
	set_distances(m);
	m->vms = g_new0(struct kvm_vm *, r->vms->len);
	ok = kvm_content_init(m, error) &&
	     (m->shadow ? kvm_shadow_start(m, error) : kvm_faults_start(m, error)) &&
	     (m->has_watch = kvm_watch_start(&m->watch, error));
	for (unsigned i = 0; i < r->vms->len && ok; i++) {
		m->nvms = i + 1;
		ok = kvm_vm_new(m, g_ptr_array_index(r->vms, i), i, error) != NULL;
	}
	return ok;
}

void kvm_machine_destroy(struct kvm_machine *m)
{
	if (m->has_watch)
		kvm_watch_stop(&m->watch);
	if (!m->shadow)
		kvm_faults_stop(m);
	host_stop(&m->host);
	kvm_ksm_free(m->ksm);
	for (unsigned i = 0; i < m->nvms; i++)
		kvm_vm_free(m->vms[i]);
	g_free(m->vms);
	kvm_merge_destroy(m);
	host_destroy(&m->host);
	kvm_content_destroy(m);
	if (m->frames)
		kvm_shadow_stop(m);
	if (m->frames)
		frames_free(m->frames);
	if (m->kvm_fd >= 0)
		close(m->kvm_fd);
	g_cond_clear(&m->changed);
	g_mutex_clear(&m->lock);
}

static gboolean kvm_run(struct run *r, GError **error)
{
	struct kvm_machine m;
	gboolean ok = kvm_machine_init(&m, r, error);

	for (unsigned i = 0; i < m.nvms && ok; i++)
		ok = kvm_boot_run(m.vms[i], error);
	ok = ok && kvm_loop(&m, error);
	kvm_machine_destroy(&m);
	return ok;
}

const struct backend backend_kvm = {
	.name = "kvm",
	.summary = "real guests on /dev/kvm",
	.available = kvm_available,
	.run = kvm_run,
};
