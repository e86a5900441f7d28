/* SPDX-License-Identifier: MIT */
/* doctor_kvm.c - which KVM there is, what follows for experiments, and what of the kernel guests would use */
#include <string.h>

#include "vmm/doctor.h"
#include "vmm/kvm/features.h"
#include "vmm/vmm.h"

static void say_kind(const struct kvm_features *f)
{
	const char *module = *f->module ? f->module : "module not visible";

	switch (f->kind) {
	case KIND_VMX_EPT:
		doctor_say("ok", "kind of KVM", "VMX with EPT (%s): two-dimensional walks are the processor's", module);
		break;
	case KIND_SVM_NPT:
		doctor_say("ok", "kind of KVM", "SVM with NPT (%s): two-dimensional walks are the processor's", module);
		break;
	case KIND_VMX_SHADOW:
		doctor_say("note", "kind of KVM",
			   "VMX without EPT (%s): KVM shadows every table, and times of paging = ept are those of "
			   "that; to change: modprobe -r kvm_intel; modprobe kvm_intel ept=1", module);
		break;
	case KIND_SVM_SHADOW:
		doctor_say("note", "kind of KVM",
			   "SVM without NPT (%s): KVM shadows every table, and times of paging = ept are those of "
			   "that; to change: modprobe -r kvm_amd; modprobe kvm_amd npt=1", module);
		break;
	case KIND_SOFTWARE:
		doctor_say("note", "kind of KVM",
			   "software (%s): KVM shadows every table; counts are right, times of paging = ept are those "
			   "of its shadow paging", module);
		break;
	case KIND_UNKNOWN:
		doctor_say("note", "kind of KVM", "hardware, but not visible which (%s)", module);
		break;
	}
	if (f->nested)
		doctor_say("note", "nested", "this host is a guest itself: its exits and faults may cost more than a "
					     "processor's");
}

static void say_costs(const struct kvm_features *f)
{
	if (f->ring0_ns < 0)
		doctor_say("lacks", "ring 0", "a guest of two instructions does not run: real guests will not either");
	else if (f->kind == KIND_SOFTWARE)
		doctor_say("note", "ring 0",
			   "emulated, %.0f ns an instruction: no time spent there says anything about a paging mode",
			   f->ring0_ns);
	else
		doctor_say("ok", "ring 0", "runs on the processor, %.1f ns an instruction", f->ring0_ns);
	if (f->exit_ns >= 0)
		doctor_say("ok", "exit", "%.1f us from a guest's process to overbook and back", f->exit_ns / 1000);
	if (f->fault_ns >= 0)
		doctor_say("ok", "KVM's fault",
			   "%.1f us for a page that the host has; overbook calibrate measures the rest",
			   f->fault_ns / 1000);
}

static void say_caps(const struct kvm_features *f)
{
	static const char newer[] = "a newer kernel has it";

	doctor_has(f->sync_regs, "sync regs", "registers come with an exit, without system calls", "note",
		   "KVM_CAP_SYNC_REGS is not there: each exit in shadow mode needs two system calls more");
	doctor_has(f->split_irqchip && f->msi, "split irqchip", "interrupts without a user-space LAPIC", "lacks",
		   "KVM_CAP_SPLIT_IRQCHIP or KVM_CAP_SIGNAL_MSI is not there: no timer and devices' interrupts "
		   "(schedule = free); a newer kernel has it");
	doctor_has(f->irqfd, "irqfd", "interrupts from another thread", "lacks", newer);
	doctor_has(f->ioeventfd, "ioeventfd", "a guest's notifications without an exit to overbook", "lacks", newer);
	doctor_has(f->stats_fd, "KVM statistics", "KVM_GET_STATS_FD: the kernel's own counts go into results", "note",
		   "KVM_GET_STATS_FD is not there: results are without the kernel's own counts; Linux 5.14 has it");
	doctor_say("ok", "limits of KVM", "%d vCPUs and %d slots a VM", f->vcpus, f->slots);
}

static void say_faults(const struct fault_features *f)
{
	g_autofree char *who = doctor_line("/proc/sys/vm/unprivileged_userfaultfd");

	if (f->err) {
		doctor_say("lacks", "userfaultfd",
			   "%s (vm.unprivileged_userfaultfd = %s): paging = ept needs it; run as root, give this user "
			   "access to /dev/userfaultfd, or sysctl vm.unprivileged_userfaultfd=1",
			   g_strerror(f->err), who ? who : "unknown");
	} else if (f->missing && f->wp && f->minor) {
		doctor_say("ok", "userfaultfd", "missing, wp, minor%s%s%s", f->move ? ", move" : "",
			   f->wp_async ? ", wp-async" : "", f->poison ? ", poison" : "");
	} else {
		doctor_say("lacks", "userfaultfd", "on shared memory:%s%s%s not there; Linux 5.19 has all",
			   f->missing ? "" : " missing", f->wp ? "" : " wp", f->minor ? "" : " minor");
	}
	if (!f->err && !f->move)
		doctor_say("note", "userfaultfd", "no UFFDIO_MOVE: pages that are taken are copied; Linux 6.8 has it");
	doctor_has(f->pagemap_scan, "PAGEMAP_SCAN", "pages written are told without faults", "note",
		   "not there: pages written are told by write-protection faults; Linux 6.7 has it");
}

void doctor_kvm(void)
{
	struct fault_features faults;
	struct kvm_features kvm;
	GError *error = NULL;

	if (backend_kvm.available(&error))
		doctor_say("ok", "kvm", "real guests can run (--machine kvm)");
	else
		doctor_say("note", "kvm", "%s", error->message);
	g_clear_error(&error);
	kvm_features_ask(&kvm);
	if (kvm.err)
		return;
	say_kind(&kvm);
	say_costs(&kvm);
	say_caps(&kvm);
	fault_features_ask(&faults);
	say_faults(&faults);
}
