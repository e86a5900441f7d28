/* SPDX-License-Identifier: MIT */
/* The kernel's own merging: equal pages merge and break, and its settings come back, whatever happens. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/suite.h"
#include "vmm/host_settings.h"
#include "vmm/kvm/ksm.h"
#include "vmm/vmm.h"

enum { NPAGES = 64, NBYTES = NPAGES * 4096, PATIENCE_MS = 8000 };

static const char *const knobs[] = { "run", "pages_to_scan", "sleep_millisecs", "max_page_sharing", "use_zero_pages",
				     "smart_scan", "merge_across_nodes", "stable_node_chains_prune_millisecs",
				     "advisor_mode" };
static char *before[G_N_ELEMENTS(knobs)];

static char *read_knob(const char *name)
{
	g_autofree char *path = g_strconcat("/sys/kernel/mm/ksm/", name, NULL);

	return host_settings_read(host_place(), path);
}

static void setup(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(knobs); i++)
		before[i] = read_knob(knobs[i]);
}

static void all_as_before(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(knobs); i++) {
		g_autofree char *now = read_knob(knobs[i]);

		ck_assert_msg(!g_strcmp0(now, before[i]), "%s is %s, was %s", knobs[i], now, before[i]);
	}
}

static struct conf_dedup fast = {
	.pages_to_scan = 4321, .sleep_ns = 3000000, .max_page_sharing = 300, .merge_across_nodes = true,
	.prune_ns = 1000000000,
};

/* Memory of a VM: half its pages equal in every VM, half its own. */
static uint8_t *memory(unsigned vm)
{
	uint8_t *at = mmap(NULL, NBYTES + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert(at != MAP_FAILED);
	mprotect(at + NBYTES, 4096, PROT_NONE); /* or the kernel makes one mapping of two neighbours */
	for (unsigned i = 0; i < NPAGES; i++) {
		memset(at + i * 4096, 7 + (int)i, 4096);
		at[i * 4096] = i % 2 ? (uint8_t)vm : 0;
		at[i * 4096 + 1] = 99;
	}
	return at;
}

/* ksmd is nice, and on a busy host may not come to it in time: then there is nothing to look at. */
static uint64_t wait_for(const struct kvm_ksm *k, uint64_t merging)
{
	gint64 until = g_get_monotonic_time() + PATIENCE_MS * 1000ll;
	struct counters c = { 0 };
	uint64_t now = 0;

	while (now < merging && g_get_monotonic_time() < until) {
		g_usleep(1000);
		now = kvm_ksm_read(k, &c);
	}
	return now;
}

START_TEST(what_if_it_merges)
{
	struct kvm_ksm *k = kvm_ksm_new(&fast, NULL);
	uint8_t *a = memory(1), *b = memory(2);
	uint64_t vms[2];
	struct counters c = { 0 };
	g_autofree char *pages = NULL;

	ck_assert_ptr_nonnull(k);
	pages = read_knob("pages_to_scan");
	ck_assert_str_eq(pages, "4321");
	ck_assert_int_eq(kvm_ksm_add(k, 0, a, NBYTES), 0);
	ck_assert_int_eq(kvm_ksm_add(k, 1, b, NBYTES), 0);
	if (wait_for(k, NPAGES) < NPAGES) {
		fprintf(stderr, "ksmd had no time to merge: its counts are not looked at\n");
		kvm_ksm_free(k);
		all_as_before();
		return;
	}
	kvm_ksm_read(k, &c);
	ck_assert_uint_ge(c.pages_sharing, NPAGES / 2);
	ck_assert_uint_ge(c.full_scans, 1);
	if (!access("/sys/kernel/mm/ksm/pages_scanned", F_OK)) /* Linux 6.6 */
		ck_assert_uint_ge(c.pages_scanned, NPAGES);
	if (kvm_ksm_read_vms(k, vms, 2)) {
		ck_assert_uint_eq(vms[0], NPAGES / 2);
		ck_assert_uint_eq(vms[1], NPAGES / 2);
	}
	a[0] = 55; /* breaks one sharing; the other VM sees nothing of it */
	ck_assert_uint_eq(b[0], 0);
	for (unsigned i = 0; i < NPAGES; i++) {
		ck_assert_uint_eq(b[i * 4096], i % 2 ? 2 : 0);
		ck_assert_uint_eq(b[i * 4096 + 4095], 7 + i);
	}
	kvm_ksm_stop(k, true);
	/* Not by ksm_merging_pages: the kernel brings that up to date when it scans next. */
	if (kvm_ksm_read_vms(k, vms, 2)) {
		ck_assert_uint_eq(vms[0], 0);
		ck_assert_uint_eq(vms[1], 0);
	}
	ck_assert_uint_eq(a[0], 55);
	kvm_ksm_free(k);
	all_as_before();
	munmap(a, NBYTES);
	munmap(b, NBYTES);
}
END_TEST

START_TEST(what_if_another_run_has_it)
{
	struct kvm_ksm *k = kvm_ksm_new(&fast, NULL);
	pid_t pid;
	int status;

	ck_assert_ptr_nonnull(k);
	pid = fork();
	if (!pid) {
		GError *error = NULL;

		_exit(!kvm_ksm_new(&fast, &error) && g_error_matches(error, VMM_ERROR, VMM_LACKS) &&
				      strstr(error->message, "test_ksm") ?
			      7 :
			      1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	kvm_ksm_free(k);
	all_as_before();
}
END_TEST

START_TEST(what_if_the_run_is_killed)
{
	g_autofree char *run = NULL, *line = NULL;
	int ready[2], status;
	pid_t pid;
	char c;

	ck_assert_int_eq(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		struct kvm_ksm *k = kvm_ksm_new(&fast, NULL);

		if (k && kvm_ksm_add(k, 0, memory(1), NBYTES) == 0 && kvm_ksm_add(k, 1, memory(2), NBYTES) == 0 &&
		    (wait_for(k, 2), write(ready[1], "x", 1)) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	ck_assert_int_eq(read(ready[0], &c, 1), 1);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	run = read_knob("run");
	ck_assert_str_eq(run, "1");
	line = host_settings_repair(NULL, NULL);
	ck_assert_ptr_nonnull(strstr(line, "/sys/kernel/mm/ksm/run"));
	all_as_before();
	close(ready[0]);
}
END_TEST

START_TEST(what_if_a_knob_refuses)
{
	struct conf_dedup bad = fast;
	GError *error = NULL;

	bad.max_page_sharing = 1; /* the kernel wants two */
	ck_assert_ptr_null(kvm_ksm_new(&bad, &error));
	ck_assert(g_error_matches(error, VMM_ERROR, VMM_LACKS));
	ck_assert_ptr_nonnull(strstr(error->message, "max_page_sharing"));
	g_error_free(error);
	all_as_before();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ksm");
	TCase *tc = tcase_create("ksm");
	GError *error = NULL;
	struct kvm_ksm *k;

	fast.smart_scan = access("/sys/kernel/mm/ksm/smart_scan", F_OK) == 0; /* Linux 6.7 */
	k = kvm_ksm_new(&fast, &error);
	if (!k) {
		printf("SKIP: %s\n", error->message);
		g_error_free(error);
		return 0;
	}
	kvm_ksm_free(k);
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, what_if_it_merges);
	tcase_add_test(tc, what_if_another_run_has_it);
	tcase_add_test(tc, what_if_the_run_is_killed);
	tcase_add_test(tc, what_if_a_knob_refuses);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
