/* SPDX-License-Identifier: MIT */
/* test_numa.c - nodes of a simulated host: who runs where, what is remote, what that costs */
#include <check.h>
#include <glib.h>
#include <string.h>

#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"

#define WORKLOAD \
	"[workload w]\nphases = p\n[phase p]\npattern = uniform\nsize = 8 MiB\noperations = 20000\nwrites = 30%%\n"

static struct counters run(const char *host, const char *vm)
{
	g_autofree char *t = g_strdup_printf("[host]\nmemory = 256 MiB\n%s\n[vm a]\nmemory = 32 MiB\nworkload = w\n"
					     "%s\n" WORKLOAD, host, vm);
	struct text_run r;
	struct counters c;
	GError *error = NULL;

	if (!run_text(&r, &backend_sim, t, &error))
		ck_abort_msg("%s\n%s", error->message, t);
	ck_assert_msg(!run_text_vm(&r, 0)->failure, "%s", run_text_vm(&r, 0)->failure);
	c = run_text_vm(&r, 0)->counters;
	run_text_free(&r);
	return c;
}

static const char *const caches[] = { "caches = model", "caches = flat" };

/* What if a host has one node, or all of a VM is on the node it runs on? Nothing is remote. */
START_TEST(local)
{
	g_autofree char *two = g_strdup_printf("cpus = 2\nnodes = 2\n%s", caches[_i]);
	struct counters one = run(caches[_i], ""), near = run(two, "placement = local\ncpu-node = 0");

	ck_assert_uint_eq(one.numa_local + one.numa_remote, 0);
	ck_assert_uint_gt(near.numa_local, 1000);
	ck_assert_uint_eq(near.numa_remote, 0);
	ck_assert_uint_eq(near.pages_node1, 0);
	ck_assert_uint_eq(near.ns_total, one.ns_total);
}
END_TEST

/* What if nodes are further apart? Counts are the same, and each reference costs as much more as the distance says. */
START_TEST(distance)
{
	static const unsigned distance[] = { 11, 20, 31 };
	struct counters c[3];

	for (unsigned i = 0; i < 3; i++) {
		g_autofree char *host = g_strdup_printf("cpus = 2\nnodes = 2\ndistances = 10 %u, %u 10\n%s",
							distance[i], distance[i], caches[_i]);

		c[i] = run(host, "placement = bind\nnodes = 1\nnode = 1\ncpu-node = 0");
		ck_assert_uint_eq(c[i].numa_local, 0);
		ck_assert_uint_eq(c[i].numa_remote, c[0].numa_remote);
		ck_assert_uint_eq(c[i].tlb_misses, c[0].tlb_misses);
		ck_assert_uint_eq(c[i].pages_node0, 0);
	}
	/* Linear, but for rounding each reference down to a whole cycle. */
	uint64_t first = c[1].ns_total - c[0].ns_total, second = c[2].ns_total - c[1].ns_total;
	double off = (double)second / 11 - (double)first / 9, share = off / ((double)first / 9);

	ck_assert_uint_gt(first, 0);
	ck_assert_msg(share > -0.2 && share < 0.2, "%f", share);
}
END_TEST

/* What if VMs may run on some CPUs only? Each stays on its node, and nobody waits for a CPU that he cannot have. */
START_TEST(cpu_nodes)
{
	static const char text[] =
		"[experiment]\nschedule = %s\nquantum = 500\n[host]\nmemory = 256 MiB\ncpus = 4\nnodes = 2\n"
		"timeslice = 100 us\n"
		"[vm a]\ncount = 3\nmemory = 32 MiB\nworkload = w\nplacement = local\ncpu-node = 0\n"
		"[vm b]\ncount = 2\nmemory = 32 MiB\nworkload = w\nplacement = local\ncpu-node = 1\nnode = 1\n"
		WORKLOAD;
	g_autofree char *t = g_strdup_printf(text, _i ? "lockstep" : "free");
	struct text_run r;
	GError *error = NULL;

	if (!run_text(&r, &backend_sim, t, &error))
		ck_abort_msg("%s", error->message);
	for (unsigned i = 0; i < 5; i++) {
		const struct counters *c = &run_text_vm(&r, i)->counters;

		ck_assert_msg(!run_text_vm(&r, i)->failure, "%s", run_text_vm(&r, i)->failure);
		ck_assert_uint_eq(i < 3 ? c->pages_node1 : c->pages_node0, 0);
		ck_assert_uint_gt(i < 3 ? c->pages_node0 : c->pages_node1, 1000);
		/* Three VMs share two CPUs; the other two have one each. */
		ck_assert(_i || i < 3 || c->ns_idle == 0 || c->ns_idle < c->ns_total / 50);
	}
	run_text_free(&r);
}
END_TEST

static const struct {
	const char *host, *vm, *message;
} bad[] = {
	{ "nodes = 2\ndistances = 10 20", "", "1 rows, one for each of 2 nodes" },
	{ "nodes = 2\ndistances = 10 20, 20", "", "row 1 has 1 numbers" },
	{ "nodes = 2\ndistances = 10 20, 20 10 30", "", "row 1 has more than 2 numbers" },
	{ "nodes = 2\ndistances = 10 9, 20 10", "", "\"9\" is no distance" },
	{ "nodes = 2\ndistances = 10 255, 20 10", "", "\"255\" is no distance" },
	{ "nodes = 2\ndistances = 20 10, 10 20", "", "from node 0 to node 0 it is 10" },
	{ "nodes = 2\ndistances = 10 10, 10 10", "", "from node 0 to node 1 it is more than 10" },
	{ "nodes = 2", "nodes = 0-2", "the host has nodes 0 to 1" },
	{ "nodes = 2", "nodes = none", "numbers of nodes" },
	{ "nodes = 2", "nodes = 3-1", "numbers of nodes" },
	{ "nodes = 2\ncpus = 1", "cpu-node = 1", "none is on such a node" },
	{ "nodes = 2", "node = 2", "the host has nodes 0 to 1" },
	{ "nodes = 2", "paging = native\nplacement = local", "preferred is allowed" },
};

/* What if the file says what cannot be? */
START_TEST(refused)
{
	g_autofree char *t = g_strdup_printf("[host]\nmemory = 256 MiB\n%s\n[vm a]\nworkload = w\n%s\n" WORKLOAD,
					     bad[_i].host, bad[_i].vm);
	struct text_run r;
	GError *error = NULL;

	ck_assert(!run_text(&r, &backend_sim, t, &error));
	ck_assert_msg(strstr(error->message, bad[_i].message) != NULL, "%s", error->message);
	g_error_free(error);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("nodes");
	TCase *tc = tcase_create("nodes");

	tcase_add_loop_test(tc, local, 0, 2);
	tcase_add_loop_test(tc, distance, 0, 2);
	tcase_add_loop_test(tc, cpu_nodes, 0, 2);
	tcase_add_loop_test(tc, refused, 0, G_N_ELEMENTS(bad));
	suite_add_tcase(s, tc);
	return suite_run(s);
}
