/* SPDX-License-Identifier: MIT */
/* kvm_text.c - see kvm_text.h */
#include "tests/lib/kvm_text.h"

#include <check.h>

void must_make(struct text_run *t, struct kvm_machine *m, const char *text)
{
	g_autoptr(GError) error = NULL;
	gboolean ok = load_text(t, text, &error) && kvm_machine_init(m, t->run, &error);

	ck_assert_msg(ok, "%s", error ? error->message : "?");
}

gboolean run_guests(struct kvm_machine *m, GError **error)
{
	for (unsigned i = 0; i < m->nvms; i++)
		if (!kvm_boot_run(m->vms[i], error))
			return FALSE;
	return kvm_loop(m, error);
}

void must_run_guests(struct kvm_machine *m)
{
	g_autoptr(GError) error = NULL;
	gboolean ok = run_guests(m, &error);

	ck_assert_msg(ok, "%s", error ? error->message : "?");
}
