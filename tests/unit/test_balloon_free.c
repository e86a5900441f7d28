/* SPDX-License-Identifier: MIT */
/* test_balloon_free.c - the balloon device's queues for free pages, as a driver sees them */
#include <check.h>
#include <glib.h>
#include <string.h>

#include "balloon/device.h"
#include "tests/lib/fake_machine.h"
#include "tests/lib/mmio_driver.h"
#include "tests/lib/suite.h"

#define HOST	4096
#define NPAGES	2048
#define ARENA	512
#define BUFFER	0x40000ull
#define VALUE	0x1234567890abcdefull

#define ALL \
	(VIRTIO_F_VERSION_1 | VIRTIO_BALLOON_F_STATS_VQ | VIRTIO_BALLOON_F_FREE_PAGE_HINT | \
	 VIRTIO_BALLOON_F_PAGE_POISON | VIRTIO_BALLOON_F_REPORTING)

static struct frames *fr;
static struct fake_machine *fm;
static struct gmem *g;
static struct counters c;
static struct balloon_device *b;
static struct virtio_mmio m;

static void setup_config(struct balloon_config bc)
{
	const struct gmem_config cfg = { .vm = 1, .npages = NPAGES, .arena_pages = ARENA, .level = 1 };

	bc.max_pages = 1000;
	bc.free_page_hint = bc.reporting = bc.poison = true;
	c = (struct counters){ 0 };
	fr = frames_new(HOST, 1);
	fm = fake_machine_new(HOST);
	g = gmem_new(&cfg, fr, &fm->base, &c, NULL);
	b = balloon_new(g, &bc);
	virtio_mmio_init(&m, balloon_virtio(b));
}

static void setup(void)
{
	setup_config((struct balloon_config){ .max_pages = 0 });
}

static void setup_spec(void)
{
	setup_config((struct balloon_config){ .fixed_queues = true });
}

static void setup_keep(void)
{
	setup_config((struct balloon_config){ .keep_poisoned = true });
}

static void teardown(void)
{
	balloon_free(b);
	gmem_free(g);
	ck_assert_uint_eq(frames_used(fr), 0);
	frames_free(fr);
	fake_machine_free(fm);
}

static void set_up(uint64_t features, uint32_t poison)
{
	mmio_negotiate(&m, features);
	for (unsigned i = 0; i < BALLOON_QUEUES; i++)
		mmio_set_queue(&m, i, MMIO_NUM, MMIO_QUEUE(i));
	if (features & VIRTIO_BALLOON_F_PAGE_POISON)
		mmio_put(&m, VIRTIO_MMIO_CONFIG + VIRTIO_BALLOON_POISON_VAL, poison);
	mmio_start(&m);
	ck_assert_uint_eq(c.balloon_errors, 0);
}

/* Send one buffer through a queue; how often the used ring moved. */
static unsigned send(unsigned queue, uint64_t addr, uint32_t len, uint16_t flags)
{
	return mmio_send(&m, g, queue, (struct vring_desc){ addr, len, flags, 0 });
}

static unsigned send_free(unsigned queue, gfn_t gfn, uint64_t npages)
{
	return send(queue, gfn << PAGE_SHIFT, (uint32_t)(npages << PAGE_SHIFT), VRING_DESC_WRITE);
}

static unsigned send_id(unsigned queue, uint32_t id)
{
	ck_assert_int_eq(gmem_write(g, BUFFER, &id, sizeof(id)), 0);
	return send(queue, BUFFER, sizeof(id), 0);
}

static uint32_t command(void)
{
	return mmio_get(&m, VIRTIO_MMIO_CONFIG + VIRTIO_BALLOON_CMD_ID);
}

static void fill(gfn_t gfn, uint64_t npages)
{
	const uint64_t value = VALUE;

	for (; npages; npages--, gfn++)
		ck_assert_int_eq(gmem_write(g, gfn << PAGE_SHIFT, &value, 8), 0);
}

static uint64_t word(gfn_t gfn)
{
	uint64_t value;

	ck_assert_int_eq(gmem_read(g, gfn << PAGE_SHIFT, &value, 8), 0);
	return value;
}

/* What number has the queue for reports? */
static const struct {
	uint64_t refused;
	unsigned linux_hint, linux_report; /* 0: none */
} numbering[] = {
	{ 0, 3, 4 },
	{ VIRTIO_BALLOON_F_FREE_PAGE_HINT, 0, 3 },
	{ VIRTIO_BALLOON_F_FREE_PAGE_HINT | VIRTIO_BALLOON_F_STATS_VQ, 0, 2 },
	{ VIRTIO_BALLOON_F_STATS_VQ, 2, 3 },
	{ VIRTIO_BALLOON_F_REPORTING, 3, 0 },
};

static void check_numbers(unsigned i, unsigned report)
{
	fill(600, 4);
	for (unsigned q = 2; q < BALLOON_QUEUES; q++) {
		uint64_t before = c.balloon_reported_pages;

		mmio_put(&m, VIRTIO_MMIO_STATUS, 0);
		c.balloon_errors = 0;
		memset(gmem_arena(g) + MMIO_QUEUE(0), 0, BALLOON_QUEUES * 0x1000);
		set_up(ALL & ~numbering[i].refused, 0);
		send_free(q, 600, 2);
		ck_assert_uint_eq(c.balloon_reported_pages - before, q == report ? 2 : 0);
	}
}

START_TEST(numbers_of_linux)
{
	check_numbers((unsigned)_i, numbering[_i].linux_report);
}
END_TEST

START_TEST(numbers_of_the_specification)
{
	check_numbers((unsigned)_i, numbering[_i].linux_report ? BALLOON_REPORTING : 0);
}
END_TEST

/* What if reports are right, and what if they are wrong? Each wrong buffer is an error, the right ones count. */
START_TEST(reports)
{
	set_up(ALL, 0);
	fill(600, 100);
	ck_assert_uint_eq(send_free(4, 600, 100), 1);
	ck_assert_uint_eq(c.balloon_reported_pages, 100);
	ck_assert_uint_eq(c.balloon_reported_released, 100);
	ck_assert_uint_eq(word(600), 0);
	ck_assert_uint_eq(send(4, 600 * PAGE_SIZE + 8, PAGE_SIZE, VRING_DESC_WRITE), 1);
	ck_assert_uint_eq(send(4, 600 * PAGE_SIZE, PAGE_SIZE + 1, VRING_DESC_WRITE), 1);
	ck_assert_uint_eq(send(4, 600 * PAGE_SIZE, 0, VRING_DESC_WRITE), 1);
	ck_assert_uint_eq(send_free(4, 0, 1000), 1); /* the arena is in use */
	ck_assert_uint_eq(c.balloon_errors, 4);
	ck_assert_uint_eq(c.balloon_reported_pages, 100);
	ck_assert(virtio_running(balloon_virtio(b)));
}
END_TEST

/* What if the guest uses a page that it reported? Its contents are gone, and that is all. */
START_TEST(report_in_use)
{
	set_up(ALL, 0);
	fill(600, 1);
	ck_assert_uint_eq(send_free(4, 600, 1), 1);
	fill(600, 1);
	ck_assert_uint_eq(word(600), VALUE);
	ck_assert_uint_eq(c.balloon_errors, 0);
}
END_TEST

static const struct {
	unsigned queue;
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
} nonsense[] = {
	{ 4, 600 * PAGE_SIZE, PAGE_SIZE, 0 },
	{ 4, NPAGES * PAGE_SIZE, PAGE_SIZE, VRING_DESC_WRITE },
	{ 4, 600 * PAGE_SIZE, UINT32_MAX, VRING_DESC_WRITE },
	{ 4, 600 * PAGE_SIZE, PAGE_SIZE, VRING_DESC_WRITE | VRING_DESC_NEXT },
	{ 3, BUFFER, 3, 0 },
	{ 3, BUFFER, 8, 0 },
};

/* What if what is sent makes no sense at all? */
START_TEST(needs_reset)
{
	set_up(ALL, 0);
	ck_assert_uint_eq(send(nonsense[_i].queue, nonsense[_i].addr, nonsense[_i].len, nonsense[_i].flags), 0);
	ck_assert(mmio_get(&m, VIRTIO_MMIO_STATUS) & VIRTIO_NEEDS_RESET);
	ck_assert_uint_eq(c.balloon_errors, 1);
}
END_TEST

/* What if hints are asked for? They count between the id and STOP, under the last id asked for. */
START_TEST(hints)
{
	uint32_t first;

	set_up(ALL, 0);
	fill(600, 20);
	ck_assert_uint_eq(command(), VIRTIO_BALLOON_CMD_STOP);
	ck_assert_uint_eq(send_free(3, 600, 1), 1);
	ck_assert_uint_eq(c.balloon_hints, 0);
	balloon_ask_hints(b);
	first = command();
	ck_assert_uint_gt(first, VIRTIO_BALLOON_CMD_DONE);
	send_free(3, 600, 1);
	ck_assert_uint_eq(c.balloon_hints, 0);
	send_id(3, first);
	send_free(3, 600, 10);
	ck_assert_uint_eq(c.balloon_hints, 10);
	ck_assert_uint_eq(c.pages_hinted, 10);
	balloon_ask_hints(b);
	ck_assert_uint_eq(command(), first + 1);
	send_free(3, 610, 10);
	send_id(3, first);
	send_free(3, 610, 10);
	ck_assert_uint_eq(c.balloon_hints, 10);
	send_id(3, first + 1);
	send_free(3, 610, 5);
	send_id(3, VIRTIO_BALLOON_CMD_STOP);
	ck_assert_uint_eq(command(), VIRTIO_BALLOON_CMD_DONE);
	send_free(3, 615, 5);
	ck_assert_uint_eq(c.pages_hinted, 15);
	ck_assert_uint_eq(c.balloon_errors, 0);
	ck_assert_uint_eq(gmem_drop_hinted(fr, 100), 15);
	ck_assert_uint_eq(word(619), VALUE);
}
END_TEST

/* What if the host takes the id back, or the driver resets the device, in the middle of it? */
START_TEST(hints_end)
{
	set_up(ALL, 0);
	fill(600, 20);
	balloon_ask_hints(b);
	send_id(3, command());
	balloon_stop_hints(b);
	ck_assert_uint_eq(command(), VIRTIO_BALLOON_CMD_STOP);
	send_free(3, 600, 10);
	ck_assert_uint_eq(c.balloon_hints, 0);
	balloon_ask_hints(b);
	mmio_put(&m, VIRTIO_MMIO_STATUS, 0);
	ck_assert_uint_eq(command(), VIRTIO_BALLOON_CMD_STOP);
	balloon_ask_hints(b);
	ck_assert_uint_eq(command(), VIRTIO_BALLOON_CMD_STOP);
}
END_TEST

/* What if free pages hold a value? Taken pages come back with it. */
START_TEST(poison)
{
	set_up(ALL, 0xaaaaaaaa);
	ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_CONFIG + VIRTIO_BALLOON_POISON_VAL), 0xaaaaaaaa);
	fill(600, 20);
	send_free(4, 600, 10);
	ck_assert_uint_eq(c.balloon_reported_released, 10);
	ck_assert_uint_eq(word(605), 0xaaaaaaaaaaaaaaaa);
	balloon_ask_hints(b);
	send_id(3, command());
	send_free(3, 610, 10);
	gmem_drop_hinted(fr, 100);
	ck_assert_uint_eq(word(615), 0xaaaaaaaaaaaaaaaa);
	ck_assert_uint_eq(c.balloon_poison_restored, 2);
}
END_TEST

/* The same as QEMU does it. And a value that nobody negotiated is no value. */
START_TEST(poison_kept)
{
	set_up(ALL, 0xaaaaaaaa);
	fill(600, 20);
	send_free(4, 600, 10);
	ck_assert_uint_eq(c.balloon_reported_pages, 10);
	ck_assert_uint_eq(c.balloon_reported_released, 0);
	ck_assert_uint_eq(c.balloon_poison_kept, 10);
	ck_assert_uint_eq(word(605), VALUE);
	memset(gmem_arena(g) + MMIO_QUEUE(0), 0, BALLOON_QUEUES * 0x1000);
	set_up(ALL & ~VIRTIO_BALLOON_F_PAGE_POISON, 0);
	mmio_put(&m, VIRTIO_MMIO_CONFIG + VIRTIO_BALLOON_POISON_VAL, 0xaaaaaaaa);
	mmio_put(&m, VIRTIO_MMIO_CONFIG + VIRTIO_BALLOON_CMD_ID, 7);
	ck_assert_uint_eq(c.balloon_errors, 8);
	send_free(4, 600, 10);
	ck_assert_uint_eq(c.balloon_reported_released, 10);
	ck_assert_uint_eq(word(605), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("balloon device, free pages");
	TCase *tc = tcase_create("linux"), *spec = tcase_create("spec"), *keep = tcase_create("keep");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, numbers_of_linux, 0, G_N_ELEMENTS(numbering));
	tcase_add_test(tc, reports);
	tcase_add_test(tc, report_in_use);
	tcase_add_loop_test(tc, needs_reset, 0, G_N_ELEMENTS(nonsense));
	tcase_add_test(tc, hints);
	tcase_add_test(tc, hints_end);
	tcase_add_test(tc, poison);
	suite_add_tcase(s, tc);
	tcase_add_checked_fixture(spec, setup_spec, teardown);
	tcase_add_loop_test(spec, numbers_of_the_specification, 0, G_N_ELEMENTS(numbering));
	suite_add_tcase(s, spec);
	tcase_add_checked_fixture(keep, setup_keep, teardown);
	tcase_add_test(keep, poison_kept);
	suite_add_tcase(s, keep);
	return suite_run(s);
}
