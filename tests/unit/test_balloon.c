/* SPDX-License-Identifier: MIT */
/* test_balloon.c - the device through its registers, as a driver sees it */
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
#define MOST	1000
#define BUFFER	0x40000ull

#define FEATURES \
	(VIRTIO_F_VERSION_1 | VIRTIO_BALLOON_F_MUST_TELL_HOST | VIRTIO_BALLOON_F_STATS_VQ | \
	 VIRTIO_BALLOON_F_DEFLATE_ON_OOM)

static struct frames *fr;
static struct fake_machine *fm;
static struct gmem *g;
static struct counters c;
static struct balloon_device *b;
static struct virtio_mmio m;
static unsigned interrupts;

static void interrupt(void *ctx)
{
	(void)ctx;
	interrupts++;
}

static void setup(void)
{
	const struct gmem_config cfg = { .vm = 1, .npages = NPAGES, .arena_pages = ARENA, .level = 1 };
	const struct balloon_config bc = { .must_tell = true, .deflate_on_oom = true, .max_pages = MOST };

	c = (struct counters){ 0 };
	fr = frames_new(HOST, 1);
	fm = fake_machine_new(HOST);
	g = gmem_new(&cfg, fr, &fm->base, &c, NULL);
	b = balloon_new(g, &bc);
	balloon_virtio(b)->interrupt = interrupt;
	virtio_mmio_init(&m, balloon_virtio(b));
	interrupts = 0;
}

static void teardown(void)
{
	balloon_free(b);
	gmem_free(g);
	frames_free(fr);
	fake_machine_free(fm);
}

static void set_up(uint64_t features)
{
	mmio_negotiate(&m, features);
	for (unsigned i = 0; i < BALLOON_QUEUES; i++) {
		mmio_set_queue(&m, i, MMIO_NUM, MMIO_QUEUE(i));
		ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_QUEUE_READY), 1);
	}
	mmio_start(&m);
	ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_STATUS), MMIO_READY | VIRTIO_DRIVER_OK);
	ck_assert_uint_eq(c.balloon_errors, 0);
}

/* Send @len bytes through a queue; how often the used ring moved. */
static unsigned send(unsigned queue, const void *bytes, uint32_t len, uint16_t flags)
{
	ck_assert_int_eq(gmem_write(g, BUFFER, bytes, len), 0);
	return mmio_send(&m, g, queue, (struct vring_desc){ BUFFER, len, flags, 0 });
}

static unsigned send_pfns(unsigned queue, uint32_t first, uint32_t n)
{
	uint32_t pfn[2000];

	for (uint32_t i = 0; i < n; i++)
		pfn[i] = first + i;
	return send(queue, pfn, n * 4, 0);
}

START_TEST(registers)
{
	ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_MAGIC), 0x74726976);
	ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_VERSION), 2);
	ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_DEVICE_ID), 5);
	ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_DEVICE_FEATURES), 7);
	mmio_put(&m, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_DEVICE_FEATURES), 1);
	mmio_put(&m, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_DEVICE_FEATURES), 0);
	ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_QUEUE_NUM_MAX), VIRTQUEUE_MAX);
	mmio_put(&m, VIRTIO_MMIO_QUEUE_SEL, 5);
	ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_SHM_LEN), UINT32_MAX);
	ck_assert_uint_eq(virtio_mmio_read(&m, VIRTIO_MMIO_MAGIC, 8), 0);
	ck_assert_uint_eq(virtio_mmio_read(&m, VIRTIO_MMIO_MAGIC + 1, 4), 0);
	ck_assert_uint_eq(virtio_mmio_read(&m, UINT64_MAX, 8), 0);
	ck_assert_uint_eq(c.balloon_errors, 0);
}
END_TEST

/* What if pages are given and taken back, some of them twice, or such as cannot be given? */
START_TEST(pages)
{
	const uint32_t bad[] = { 0, ARENA - 1, NPAGES, UINT32_MAX, 600 };

	set_up(FEATURES);
	balloon_set_target(b, 300);
	ck_assert_uint_eq(interrupts, 1);
	ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_INT_CONFIG);
	mmio_put(&m, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_INT_CONFIG);
	ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_CONFIG), 300);
	balloon_set_target(b, 300);
	ck_assert_uint_eq(interrupts, 1);
	ck_assert_uint_eq(send_pfns(BALLOON_INFLATE, 600, 300), 1);
	ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_INT_USED);
	ck_assert_uint_eq(c.balloon_actual, 300);
	ck_assert_uint_eq(c.balloon_target, 300);
	ck_assert_uint_eq(send_pfns(BALLOON_DEFLATE, 700, 50), 1);
	ck_assert_uint_eq(c.balloon_actual, 250);
	ck_assert_uint_eq(c.balloon_errors, 0);
	ck_assert_uint_eq(send(BALLOON_INFLATE, bad, sizeof(bad), 0), 1);
	ck_assert_uint_eq(c.balloon_errors, 5);
	ck_assert_uint_eq(send_pfns(BALLOON_DEFLATE, 700, 2), 1);
	ck_assert_uint_eq(c.balloon_errors, 7);
	mmio_put(&m, VIRTIO_MMIO_CONFIG + VIRTIO_BALLOON_ACTUAL, 123456);
	ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_CONFIG + VIRTIO_BALLOON_ACTUAL), 123456);
	ck_assert_uint_eq(c.balloon_actual, 250);
}
END_TEST

/* What if the driver gives more than the limit, or the host asks for more? */
START_TEST(limit)
{
	set_up(FEATURES);
	balloon_set_target(b, UINT64_MAX);
	ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_CONFIG), MOST);
	ck_assert_uint_eq(send_pfns(BALLOON_INFLATE, ARENA, MOST + 30), 1);
	ck_assert_uint_eq(c.balloon_actual, MOST);
	ck_assert_uint_eq(c.balloon_errors, 30);
}
END_TEST

/* What if pages are touched: must the driver tell first? And what is left of it all after a reset? */
START_TEST(must_tell)
{
	uint64_t features = _i ? FEATURES : FEATURES & ~VIRTIO_BALLOON_F_MUST_TELL_HOST;
	struct gmem_page page;

	set_up(features);
	send_pfns(BALLOON_INFLATE, 600, 4);
	ck_assert_int_eq(gmem_fault(g, 600, ACC_W, FAULT_CPU, &page) == 0, !_i);
	send_pfns(BALLOON_DEFLATE, 600, 2);
	ck_assert_uint_eq(c.balloon_actual, 2);
	ck_assert_uint_eq(c.balloon_errors, 0);
	mmio_put(&m, VIRTIO_MMIO_STATUS, 0);
	ck_assert_uint_eq(c.balloon_actual, 0);
	ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_STATUS), 0);
	ck_assert_int_eq(gmem_balloon(g, 603), 0);
	ck_assert_int_eq(gmem_fault(g, 603, ACC_W, FAULT_CPU, &page), 0);
	mmio_put(&m, VIRTIO_MMIO_QUEUE_SEL, 0);
	ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_QUEUE_READY), 0);
}
END_TEST

/* What if statistics are asked for? They come once an asking; tags that nobody knows are passed over. */
START_TEST(statistics)
{
	struct virtio_balloon_stat s[BALLOON_S_TAGS + 1];
	uint64_t value;

	for (unsigned i = 0; i <= BALLOON_S_TAGS; i++)
		s[i] = (struct virtio_balloon_stat){ (uint16_t)(i < BALLOON_S_TAGS ? i : 99), i * 0x10000 };
	set_up(FEATURES);
	balloon_poll_stats(b);
	ck_assert_uint_eq(interrupts, 0);
	ck_assert_uint_eq(send(BALLOON_STATS, s, sizeof(s), 0), 0);
	ck_assert_uint_eq(c.balloon_reports, 1);
	ck_assert_uint_eq(c.balloon_guest_free, BALLOON_S_MEMFREE * 16);
	for (unsigned i = 0; i < BALLOON_S_TAGS; i++)
		ck_assert(balloon_stat(b, i, &value) && value == i * 0x10000);
	ck_assert(!balloon_stat(b, 99, &value));
	balloon_poll_stats(b);
	ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_INT_USED);
	ck_assert_uint_eq(send(BALLOON_STATS, s, 10, 0), 0);
	ck_assert(!balloon_stat(b, BALLOON_S_MEMFREE, &value));
	ck_assert_uint_eq(send(BALLOON_STATS, s, 10, 0), 1); /* two at once: the first comes back */
	ck_assert_uint_eq(c.balloon_errors, 0);
}
END_TEST

static const struct {
	unsigned queue;
	uint32_t len;
	uint16_t flags;
} nonsense[] = {
	{ BALLOON_INFLATE, 3, 0 },     { BALLOON_INFLATE, 0, 0 },
	{ BALLOON_INFLATE, 4, VRING_DESC_WRITE }, { BALLOON_INFLATE, 4, VRING_DESC_NEXT },
	{ BALLOON_INFLATE, 32768, 0 }, { BALLOON_DEFLATE, 5, 0 },
	{ BALLOON_STATS, 7, 0 },       { BALLOON_STATS, 650, 0 },
	{ BALLOON_STATS, 10, VRING_DESC_WRITE },
};

/* What if what a driver sends makes no sense? One error, and nothing more until it resets the device. */
START_TEST(needs_reset)
{
	g_autofree char *bytes = g_malloc0(32768);

	set_up(FEATURES);
	ck_assert_uint_eq(send(nonsense[_i].queue, bytes, nonsense[_i].len, nonsense[_i].flags), 0);
	ck_assert_uint_eq(c.balloon_errors, 1);
	ck_assert(mmio_get(&m, VIRTIO_MMIO_STATUS) & VIRTIO_NEEDS_RESET);
	ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_INT_CONFIG);
	ck_assert_uint_eq(send_pfns(BALLOON_INFLATE, 600, 3), 0);
	ck_assert_uint_eq(c.balloon_actual, 0);
	ck_assert_uint_eq(c.balloon_errors, 2);
	memset(gmem_arena(g) + MMIO_QUEUE(0), 0, 3 * 0x1000);
	mmio_put(&m, VIRTIO_MMIO_STATUS, 0);
	c.balloon_errors = 0;
	set_up(FEATURES);
	ck_assert_uint_eq(send_pfns(BALLOON_INFLATE, 600, 3), 1);
	ck_assert_uint_eq(c.balloon_actual, 3);
}
END_TEST

/* What if a driver does things out of order? */
START_TEST(out_of_order)
{
	mmio_put(&m, VIRTIO_MMIO_STATUS, VIRTIO_DRIVER_OK);
	ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_STATUS), 0);
	mmio_negotiate(&m, FEATURES | 1ull << 3);
	ck_assert(!(mmio_get(&m, VIRTIO_MMIO_STATUS) & VIRTIO_FEATURES_OK));
	mmio_negotiate(&m, FEATURES & ~VIRTIO_F_VERSION_1);
	ck_assert(!(mmio_get(&m, VIRTIO_MMIO_STATUS) & VIRTIO_FEATURES_OK));
	mmio_negotiate(&m, FEATURES);
	ck_assert(mmio_get(&m, VIRTIO_MMIO_STATUS) & VIRTIO_FEATURES_OK);
	ck_assert_uint_eq(c.balloon_errors, 3);
	mmio_put(&m, VIRTIO_MMIO_DRIVER_FEATURES, 0);
	mmio_put(&m, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	mmio_put(&m, VIRTIO_MMIO_MAGIC, 1);
	mmio_put(&m, VIRTIO_MMIO_CONFIG + VIRTIO_BALLOON_CONFIG, 1);
	virtio_mmio_write(&m, VIRTIO_MMIO_STATUS, 0, 1);
	ck_assert_uint_eq(c.balloon_errors, 3 + 3 + 4 + 1);
	mmio_put(&m, VIRTIO_MMIO_QUEUE_SEL, 9);
	mmio_put(&m, VIRTIO_MMIO_QUEUE_READY, 1);
	mmio_put(&m, VIRTIO_MMIO_QUEUE_SEL, 0);
	mmio_put(&m, VIRTIO_MMIO_QUEUE_NUM, 70000);
	mmio_put(&m, VIRTIO_MMIO_QUEUE_READY, 1);
	ck_assert_uint_eq(mmio_get(&m, VIRTIO_MMIO_QUEUE_READY), 0);
	ck_assert_uint_eq(c.balloon_errors, 13);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("balloon device");
	TCase *tc = tcase_create("balloon");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, registers);
	tcase_add_test(tc, pages);
	tcase_add_test(tc, limit);
	tcase_add_loop_test(tc, must_tell, 0, 2);
	tcase_add_test(tc, statistics);
	tcase_add_loop_test(tc, needs_reset, 0, G_N_ELEMENTS(nonsense));
	tcase_add_test(tc, out_of_order);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
