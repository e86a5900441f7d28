/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "mm/virtqueue.h"
#include "tests/lib/fake_machine.h"
#include "tests/lib/suite.h"

#define HOST   4096
#define NPAGES 1024
#define END    ((uint64_t)NPAGES * PAGE_SIZE)
#define NUM    8
#define DESC   0x10000ull
#define AVAIL  0x11000ull
#define USED   (600 * 4096ull) /* above the arena */

static struct frames *fr;
static struct fake_machine *fm;
static struct gmem *g;
static struct counters c;
static struct virtqueue q;
static struct virtqueue_chain chain;

static void setup(void)
{
	const struct gmem_config cfg = { .vm = 1, .npages = NPAGES, .arena_pages = 512, .level = 1 };

	c = (struct counters){ 0 };
	fr = frames_new(HOST, 1);
	fm = fake_machine_new(HOST);
	g = gmem_new(&cfg, fr, &fm->base, &c, NULL);
	ck_assert_ptr_nonnull(g);
	q.gmem = g;
	virtqueue_reset(&q);
	q.num = NUM;
	q.desc = DESC;
	q.avail = AVAIL;
	q.used = USED;
}

static void teardown(void)
{
	gmem_free(g);
	frames_free(fr);
	fake_machine_free(fm);
}

static void put(gpa_t gpa, const void *what, size_t len)
{
	ck_assert_int_eq(gmem_write(g, gpa, what, len), 0);
}

static void put16(gpa_t gpa, uint16_t value)
{
	put(gpa, &value, 2);
}

static uint16_t get16(gpa_t gpa)
{
	uint16_t value;

	ck_assert_int_eq(gmem_read(g, gpa, &value, 2), 0);
	return value;
}

static void describe(unsigned i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	const struct vring_desc d = { addr, len, flags, next };

	put(DESC + i * sizeof(d), &d, sizeof(d));
}

/* The driver makes the chain that begins at @head available. */
static void offer(uint16_t head)
{
	uint16_t idx = get16(AVAIL + 2);

	put16(AVAIL + 4 + idx % NUM * 2, head);
	put16(AVAIL + 2, (uint16_t)(idx + 1));
}

/* What if all is as it should be? Buffers in order, bytes across buffers and pages, used ring, interrupts as wished. */
START_TEST(well_formed)
{
	const char text[] = "one buffer, then the other";
	char back[sizeof(text)];
	struct vring_used_elem e;
	bool interrupt;

	ck_assert_int_eq(virtqueue_start(&q), 0);
	ck_assert_int_eq(virtqueue_pop(&q, &chain), 0);
	put(0x20ffa, text, 11);
	put(700 * 4096 - 3, text + 11, sizeof(text) - 11);
	describe(5, 0x20ffa, 11, VRING_DESC_NEXT, 2);
	describe(2, 700 * 4096 - 3, sizeof(text) - 11, VRING_DESC_NEXT, 7);
	describe(7, END - 16, 16, VRING_DESC_WRITE, 0);
	offer(5);
	ck_assert_int_eq(virtqueue_pop(&q, &chain), 1);
	ck_assert(chain.head == 5 && chain.nread == 2 && chain.nwrite == 1);
	ck_assert(chain.read_len == sizeof(text) && chain.write_len == 16);
	ck_assert_int_eq(virtqueue_read(&q, &chain, 0, back, 1000), sizeof(text));
	ck_assert_str_eq(back, text);
	ck_assert_int_eq(virtqueue_read(&q, &chain, 12, back, 4), 4);
	ck_assert_mem_eq(back, text + 12, 4);
	ck_assert_int_eq(virtqueue_read(&q, &chain, sizeof(text), back, 4), 0);
	ck_assert_int_eq(virtqueue_pop(&q, &chain), 0);
	ck_assert_int_eq(virtqueue_push(&q, 5, 3, &interrupt), 0);
	ck_assert(interrupt);
	ck_assert_uint_eq(get16(USED + 2), 1);
	ck_assert_int_eq(gmem_read(g, USED + 4, &e, sizeof(e)), 0);
	ck_assert(e.id == 5 && e.len == 3);
	put16(AVAIL, VRING_NO_INTERRUPT);
	ck_assert_int_eq(virtqueue_push(&q, 5, 3, &interrupt), 0);
	ck_assert(!interrupt);
}
END_TEST

/* What if indices wrap, at the ring's end and at 2^16? */
START_TEST(wraps)
{
	bool interrupt;

	ck_assert_int_eq(virtqueue_start(&q), 0);
	describe(3, 0x30000, 4, 0, 0);
	for (unsigned i = 0; i < 70000; i++) {
		offer(3);
		ck_assert_int_eq(virtqueue_pop(&q, &chain), 1);
		ck_assert_int_eq(virtqueue_push(&q, chain.head, 0, &interrupt), 0);
	}
	ck_assert_uint_eq(get16(USED + 2), 70000 % 65536);
	ck_assert_int_eq(virtqueue_pop(&q, &chain), 0);
}
END_TEST

/* What if a chain is as long as the queue? It is served; one more is a loop. */
START_TEST(longest_chain)
{
	ck_assert_int_eq(virtqueue_start(&q), 0);
	for (unsigned i = 0; i < NUM; i++)
		describe(i, 0x30000, 0, i < NUM - 1 ? VRING_DESC_NEXT : 0, (uint16_t)(i + 1));
	offer(0);
	ck_assert_int_eq(virtqueue_pop(&q, &chain), 1);
	ck_assert_uint_eq(chain.nread, NUM);
	describe(NUM - 1, 0x30000, 0, VRING_DESC_NEXT, 0);
	offer(0);
	ck_assert_int_eq(virtqueue_pop(&q, &chain), -EINVAL);
}
END_TEST

static const struct {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
	int err;
} malformed[] = {
	{ END, 1, 0, 0, -EFAULT },
	{ END - 8, 9, 0, 0, -EFAULT },
	{ UINT64_MAX, 1, 0, 0, -EFAULT },
	{ UINT64_MAX - 3, UINT32_MAX, VRING_DESC_WRITE, 0, -EFAULT },
	{ 0, UINT32_MAX, 0, 0, -EFAULT },
	{ 0x30000, 4, VRING_DESC_NEXT, NUM, -EINVAL },
	{ 0x30000, 4, VRING_DESC_NEXT, UINT16_MAX, -EINVAL },
	{ 0x30000, 4, VRING_DESC_NEXT, 1, -EINVAL }, /* a loop */
	{ 0x30000, 4, VRING_DESC_INDIRECT, 0, -EINVAL },
	{ 0x30000, 4, 0x8000, 0, -EINVAL },
	{ 0x30000, 4, VRING_DESC_WRITE | VRING_DESC_NEXT, 0, -EINVAL }, /* then one to read */
};

/* What if a descriptor is wrong? The chain is refused, and the queue gives nothing more. */
START_TEST(malformed_descriptors)
{
	bool interrupt;

	describe(0, 0x30000, 4, 0, 0);
	describe(1, malformed[_i].addr, malformed[_i].len, malformed[_i].flags, malformed[_i].next);
	ck_assert_int_eq(virtqueue_start(&q), 0);
	offer(1);
	offer(0);
	ck_assert_int_eq(virtqueue_pop(&q, &chain), malformed[_i].err);
	ck_assert(q.broken);
	ck_assert_int_eq(virtqueue_pop(&q, &chain), 0);
	ck_assert_int_eq(virtqueue_push(&q, 0, 0, &interrupt), -EINVAL);
	ck_assert_uint_eq(get16(USED + 2), 0);
	virtqueue_reset(&q);
	ck_assert(!q.broken && !q.ready && q.gmem == g);
}
END_TEST

/* What if the available ring is wrong? */
START_TEST(malformed_rings)
{
	ck_assert_int_eq(virtqueue_start(&q), 0);
	offer(NUM);
	ck_assert_int_eq(virtqueue_pop(&q, &chain), -EINVAL);
	ck_assert_int_eq(virtqueue_start(&q), 0);
	q.broken = false;
	put16(AVAIL + 2, NUM + 1);
	ck_assert_int_eq(virtqueue_pop(&q, &chain), -EINVAL);
}
END_TEST

static const struct {
	uint16_t num;
	gpa_t desc, avail, used;
} misplaced[] = {
	{ 0, DESC, AVAIL, USED },	 { 6, DESC, AVAIL, USED },
	{ 512, DESC, AVAIL, USED },	 { NUM, DESC + 8, AVAIL, USED },
	{ NUM, DESC, AVAIL + 1, USED },	 { NUM, DESC, AVAIL, USED + 2 },
	{ NUM, END, AVAIL, USED },	 { NUM, DESC, END - 8, USED },
	{ NUM, DESC, AVAIL, END - 64 },	 { NUM, UINT64_MAX - 15, AVAIL, USED },
};

/* What if the rings cannot be where the driver says? */
START_TEST(misplaced_rings)
{
	q.num = misplaced[_i].num;
	q.desc = misplaced[_i].desc;
	q.avail = misplaced[_i].avail;
	q.used = misplaced[_i].used;
	ck_assert_int_eq(virtqueue_start(&q), -EINVAL);
	ck_assert_int_eq(virtqueue_pop(&q, &chain), 0);
}
END_TEST

/* What if the rings lie in a page that the guest gave up? The queue breaks; nothing else happens. */
START_TEST(ballooned_rings)
{
	bool interrupt;

	ck_assert_int_eq(virtqueue_start(&q), 0);
	ck_assert_int_eq(gmem_balloon(g, USED >> 12), 0);
	ck_assert_int_eq(virtqueue_push(&q, 0, 0, &interrupt), -EPERM);
	ck_assert(q.broken && !interrupt);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtqueue");
	TCase *tc = tcase_create("virtqueue");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, well_formed);
	tcase_add_test(tc, wraps);
	tcase_add_test(tc, longest_chain);
	tcase_add_loop_test(tc, malformed_descriptors, 0, G_N_ELEMENTS(malformed));
	tcase_add_test(tc, malformed_rings);
	tcase_add_loop_test(tc, misplaced_rings, 0, G_N_ELEMENTS(misplaced));
	tcase_add_test(tc, ballooned_rings);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
