/* SPDX-License-Identifier: MIT */
/* profile_write.c - a processor's description as a file, with a word about each field */
#include <string.h>

#include "vmm/sim/profile.h"
#include "vmm/vmm.h"

static void put_comment(GString *s, const char *text)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

	for (unsigned i = 0; lines[i]; i++)
		g_string_append_printf(s, "#%s%s\n", *lines[i] ? " " : "", lines[i]);
}

gboolean profile_write(const struct sim_profile *p, const char *base, const char *path,
		       char *(*comment)(const char *field, void *ctx), void *ctx, GError **error)
{
	struct sim_profile *from = profile_load(base, error);
	g_autoptr(GString) s = g_string_new(NULL);
	GError *why = NULL;

	if (!from)
		return FALSE;

	g_autofree char *head = comment("", ctx);

	if (head)
		put_comment(s, head);
	g_string_append_printf(s, "[profile]\nbase = %s\nname = %s\nsummary = %s\n", base, p->name, p->summary);
	for (unsigned i = 0; profile_field(i); i++) {
		g_autofree char *value = profile_get(p, profile_field(i)), *old = profile_get(from, profile_field(i));
		g_autofree char *about = comment(profile_field(i), ctx);

		if (!about && !strcmp(value, old))
			continue;
		if (about)
			put_comment(s, about);
		g_string_append_printf(s, "%s = %s\n", profile_field(i), value);
	}
	profile_free(from);
	if (g_file_set_contents(path, s->str, -1, &why))
		return TRUE;
	g_set_error(error, VMM_ERROR, VMM_FAILED, "%s", why->message);
	g_error_free(why);
	return FALSE;
}
