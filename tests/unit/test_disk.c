/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <glib.h>

#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "vmm/sim/disk.h"
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
	suite_add_tcase(s, t);
	return suite_run(s);
}
