/* SPDX-License-Identifier: MIT */
/* run_text.c - see run_text.h */
#include "tests/lib/run_text.h"

#include <check.h>
#include <stdio.h>
#include <unistd.h>

static gboolean load(struct text_run *t, const char *path, const GPtrArray *overrides, GError **error)
{
	*t = (struct text_run){ NULL, NULL };
	t->e = experiment_load(path, overrides, error);
	if (!t->e)
		return FALSE;
	t->run = run_new(t->e, t->e->experiment.seed);
	return TRUE;
}

gboolean run_file(struct text_run *t, const struct backend *machine, const char *path, GError **error)
{
	return load(t, path, NULL, error) && machine->run(t->run, error);
}

gboolean run_file_with(struct text_run *t, const struct backend *machine, const char *path, const char *set,
		       GError **error)
{
	g_autoptr(GPtrArray) overrides = g_ptr_array_new_with_free_func((GDestroyNotify)override_free);

	g_ptr_array_add(overrides, override_parse(set, NULL));
	return load(t, path, overrides, error) && machine->run(t->run, error);
}

gboolean load_text(struct text_run *t, const char *text, GError **error)
{
	char *path = NULL;
	int fd = g_file_open_tmp("overbook-test-XXXXXX.ini", &path, error);
	gboolean ok;

	*t = (struct text_run){ NULL, NULL };
	if (fd < 0)
		return FALSE;
	close(fd);
	ok = g_file_set_contents(path, text, -1, error) && load(t, path, NULL, error);
	unlink(path);
	g_free(path);
	return ok;
}

gboolean run_text(struct text_run *t, const struct backend *machine, const char *text, GError **error)
{
	return load_text(t, text, error) && machine->run(t->run, error);
}

void must_run_text(struct text_run *t, const struct backend *machine, const char *text)
{
	g_autoptr(GError) error = NULL;
	gboolean ok = run_text(t, machine, text, &error);

	ck_assert_msg(ok, "%s", error ? error->message : "?");
}

void run_text_free(struct text_run *t)
{
	run_free(t->run);
	if (t->e)
		experiment_free(t->e);
	*t = (struct text_run){ NULL, NULL };
	run_stop = 0;
}

gboolean kvm_or_skip(void)
{
	GError *error = NULL;

	if (backend_kvm.available(&error))
		return TRUE;
	printf("SKIP: %s\n", error->message);
	g_error_free(error);
	return FALSE;
}
