/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <glib.h>

#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "vmm/disk_model.h"
#include "workloads/rng.h"
#include "workloads/x86.h"

static uint64_t transfer(const struct disk_profile *p, uint64_t npages)
{
	return npages * PAGE_SIZE * 1000 / p->bytes_per_us;
}

/* What if the device is idle? Latency, a seek unless the command goes on where the last ended, and the bytes. */
START_TEST(idle_device)
{
	const struct disk_profile *p = disk_profiles[_i];
	struct disk_times t;
	struct disk d;

	disk_init(&d, p, false);
	t = disk_submit(&d, 5000, false, 0, 8);
	ck_assert_uint_eq(t.accepted, 5000);
	ck_assert_uint_eq(t.done, 5000 + p->read_ns + transfer(p, 8));
	t = disk_submit(&d, 1000000000, true, 8, 1);
	ck_assert_uint_eq(t.done, 1000000000 + p->write_ns + transfer(p, 1));
	t = disk_submit(&d, 2000000000, true, 8, 1);
	ck_assert_uint_eq(t.done, 2000000000 + p->write_ns + p->seek_ns + transfer(p, 1));
	/* A CPU that is behind is not held up by what others do later. */
	t = disk_submit(&d, 1500000000, false, 9, 1);
	ck_assert_uint_eq(t.done, 1500000000 + p->read_ns + transfer(p, 1));
	disk_destroy(&d);
	disk_init(&d, p, true);
	for (unsigned i = 0; i < 1000; i++) {
		t = disk_submit(&d, 0, true, i, 1);
		must(t.accepted == 0 && t.done == p->write_ns + transfer(p, 1));
	}
	disk_destroy(&d);
}
END_TEST

/* What if it is flooded? No more than bandwidth and servers give, no faster, and writes are held back. */
START_TEST(flooded_device)
{
	const struct disk_profile *p = disk_profiles[_i];
	uint64_t pages = 0, busy = 0, last = 0, now = 0;
	struct disk d;
	struct rng rng;

	rng_seed(&rng, 3);
	disk_init(&d, p, false);
	for (unsigned i = 0; i < 5000; i++) {
		uint64_t n = 1 + rng_below(&rng, 16), at = i * 1000;
		struct disk_times t = disk_submit(&d, now, true, at, n);

		must(now <= t.accepted && t.accepted < t.done);
		must(t.done >= now + p->write_ns + p->seek_ns * (i > 0) + transfer(p, n));
		/* What is accepted and not done is no more than the queue holds, and what is in service. */
		must(t.done - t.accepted <= (p->queue / p->parallel + 2) * (p->write_ns + p->seek_ns) + transfer(p, n));
		now = t.accepted;
		pages += n;
		busy += p->write_ns + p->seek_ns;
		last = MAX(last, t.done);
	}
	/* A nanosecond a command is lost to rounding, the first command seeks nothing. */
	must(last + 5000 >= transfer(p, pages));
	must(last + DISK_INTERVAL_NS + p->seek_ns >= busy / p->parallel);
	must(last <= transfer(p, pages) + busy / p->parallel + p->write_ns + p->seek_ns + 2 * DISK_INTERVAL_NS);
	must(now > 0);
	disk_destroy(&d);
}
END_TEST

/* What if latencies vary? Half are below the nominal one, the tail is the table's, the same seed gives the same. */
START_TEST(latencies_vary)
{
	enum { N = 200000 };
	const struct disk_profile *p = disk_profiles[_i];
	const struct disk_quantile *q = p->spread;
	uint64_t nominal = p->read_ns + p->seek_ns, count[16] = { 0 }, again[10];
	struct disk d;

	for (int round = 0; round < 2; round++) {
		disk_init(&d, p, true);
		disk_vary(&d, 77);
		for (unsigned i = 0; i < N; i++) {
			uint64_t ns = disk_submit(&d, 0, false, 2 * i + 5, 1).done - transfer(p, 1);
			unsigned k = 0;

			must(ns * 1000 >= nominal * q[0].permille - 1000);
			while (ns * 1000 > nominal * q[k].permille && q[k].ppm < 1000000)
				k++;
			must(ns * 1000 <= nominal * q[k].permille);
			count[k] += round == 0;
			if (i < 10 && round == 0)
				again[i] = ns;
			else if (i < 10)
				must_eq(again[i], ns);
		}
		disk_destroy(&d);
	}
	for (unsigned k = 1, below = (unsigned)count[0]; q[k - 1].ppm < 1000000; k++) {
		below += count[k];
		must(below + N / 200 >= (uint64_t)N * q[k].ppm / 1000000);
		must(below <= (uint64_t)N * q[k].ppm / 1000000 + N / 200);
	}
	ck_assert(q[0].ppm == 0 && q[1].ppm == 500000 && q[1].permille == 1000);
}
END_TEST

/* What if a device is broken? So many pages fail, reads apart from writes; and from some time on, all. */
START_TEST(faults_are_as_many_as_asked_for)
{
	const struct disk_faults faults = { .read_ppm = 20000, .write_ppm = 300000, .fails_at = 1000 };
	const struct disk_faults none = { .read_ppm = 0 };
	uint64_t reads = 0, writes = 0;
	struct disk d;

	disk_init(&d, disk_profiles[0], false);
	for (unsigned i = 0; i < 1000; i++)
		must(!disk_fails(&d, i, i % 2));
	disk_break(&d, &faults, 5);
	for (unsigned i = 0; i < 100000; i++) {
		reads += disk_fails(&d, 999, false);
		writes += disk_fails(&d, 0, true);
	}
	must(reads > 1800 && reads < 2200 && writes > 29000 && writes < 31000);
	for (unsigned i = 0; i < 100; i++)
		must(disk_fails(&d, 1000 + i, i % 2));
	disk_break(&d, &none, 5);
	must(!disk_fails(&d, 1 << 30, false));
	disk_destroy(&d);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("disk");
	TCase *t = tcase_create("disk");
	int n = 0;

	while (disk_profiles[n])
		n++;
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, idle_device, 0, n);
	tcase_add_loop_test(t, flooded_device, 0, n);
	tcase_add_loop_test(t, latencies_vary, 0, n);
	tcase_add_test(t, faults_are_as_many_as_asked_for);
	suite_add_tcase(s, t);
	return suite_run(s);
}
