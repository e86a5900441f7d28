/* SPDX-License-Identifier: MIT */
/* kvm_text.h - a machine of real guests from an experiment given as text, stopped where a test wants to meddle */
#ifndef OVERBOOK_TESTS_KVM_TEXT_H
#define OVERBOOK_TESTS_KVM_TEXT_H

#include "tests/lib/run_text.h"
#include "vmm/kvm/kvm.h"

/* Make all up to the guests' first instruction; a failure is the test's. */
void must_make(struct text_run *t, struct kvm_machine *m, const char *text);
/* Boot all guests and run them to their ends. */
gboolean run_guests(struct kvm_machine *m, GError **error);
void must_run_guests(struct kvm_machine *m);

#endif
