/* SPDX-License-Identifier: MIT */
/* overbook list WHAT: every row of the program's tables is there; anything else is status 2. */
#include <check.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mm/counters.h"
#include "mm/paging.h"
#include "tests/lib/suite.h"
#include "vmm/cmd.h"
#include "vmm/conf.h"
#include "vmm/vmm.h"
#include "workloads/workload.h"

/* What `list WHAT` writes to stdout; *status is its exit status. g_free. */
static char *list(const char *what, int *status)
{
	char *argv[] = { (char *)"list", (char *)what, NULL }, *text = NULL, *path = NULL;
	int fd = g_file_open_tmp("overbook-test-XXXXXX", &path, NULL), saved = dup(STDOUT_FILENO);

	ck_assert_int_ge(fd, 0);
	fflush(stdout);
	dup2(fd, STDOUT_FILENO);
	*status = cmd_list(what ? 2 : 1, argv);
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	close(fd);
	ck_assert(g_file_get_contents(path, &text, NULL, NULL));
	g_unlink(path);
	g_free(path);
	return text;
}

START_TEST(every_list)
{
	static const struct {
		const char *what, *has;
	} lists[] = { { "counters", "guest_faults_cow" },
		     { "workloads", "theta" },
		     { "patterns", "pointer" },
		     { "profiles", "zen3" },
		     { "modes", "shadow" },
		     { "costs", "exit_cycles" },
		     { "figures", "throughput" },
		     { "policies", "idle-tax" },
		     { "replacement", "clock0" },
		     { "dedup", "oracle" },
		     { "victims", "clock" },
		     { "compressors", "lz4" },
		     { "devices", "nvme" },
		     { "keys", "[swap]" },
		     { "keys", "[vm NAME]" } };

	for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
		int status;
		g_autofree char *text = list(lists[i].what, &status);

		ck_assert_int_eq(status, CMD_OK);
		ck_assert_msg(strstr(text, lists[i].has) != NULL, "%s: %s", lists[i].what, text);
		ck_assert(g_str_has_suffix(text, "\n"));
	}
}
END_TEST

/* What if a paging mode has a name in one table and a place in the other? */
START_TEST(modes_as_keys)
{
	const struct conf_key *k = conf_sections[SECTION_VM].keys;
	int n = 0;

	while (strcmp(k->name, "paging"))
		k++;
	for (; paging_modes[n] && k->choices[n]; n++)
		ck_assert_str_eq(paging_modes[n]->name, k->choices[n]);
	ck_assert(n == MODE_COUNT && !paging_modes[n] && !k->choices[n]);
}
END_TEST

START_TEST(complete)
{
	int status;
	g_autofree char *counters = list("counters", &status), *workloads = list("workloads", &status);
	g_auto(GStrv) lines = g_strsplit(counters, "\n", -1);
	guint n = 0;

	for (const struct counter_info *c = counter_table; c->name; c++, n++)
		ck_assert(g_str_has_prefix(lines[n], c->name));
	ck_assert_uint_eq(g_strv_length(lines), n + 1);
	for (n = 0; workload_generators[n]; n++)
		ck_assert_ptr_nonnull(strstr(workloads, workload_generators[n]->summary));
}
END_TEST

START_TEST(anything_else)
{
	static const char *const bad[] = { NULL, "", "counter", "--counters", "keys " };

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		int status;
		g_autofree char *text = list(bad[i], &status);

		ck_assert_int_eq(status, CMD_USAGE);
		ck_assert_str_eq(text, "");
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cmd_list");
	TCase *tc = tcase_create("cmd_list");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, every_list);
	tcase_add_test(tc, complete);
	tcase_add_test(tc, modes_as_keys);
	tcase_add_test(tc, anything_else);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
