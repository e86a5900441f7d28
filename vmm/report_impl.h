/* SPDX-License-Identifier: MIT */
/* report_impl.h - the parts of a report; each appends HTML */
#ifndef OVERBOOK_VMM_REPORT_IMPL_H
#define OVERBOOK_VMM_REPORT_IMPL_H

#include "vmm/view.h"

/* What went wrong, if anything did; then the question and what the metric says to it. */
void report_failures(const struct view *v, GString *out);
void report_answer(const struct view *v, GString *out);

/* What the literature let one expect, with verdicts; nothing if the experiment says nothing. */
void report_expect(const struct view *v, GString *out);

/* For every page that merging could work on, what became of it; nothing where nothing scanned. */
void report_merging(const struct view *v, GString *out);

/* What KVM itself counted; nothing where no guest was real. */
void report_kvm(const struct view *v, GString *out);

/* The table of what matters most, what its words mean, every counter. */
void report_numbers(const struct view *v, GString *out);

#endif
