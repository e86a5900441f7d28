/* SPDX-License-Identifier: MIT */
/*
 * The balloon device under a guest that writes anything into rings and registers, at any time. It must not crash, must
 * end each notification, must keep gmem's accounts, and must count what was wrong. SOAK=n tries n descriptors and
 * accesses instead of the share that every `make check` tries.
 */
#include <glib.h>
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "balloon/device.h"
#include "tests/lib/fake_machine.h"
#include "tests/lib/mmio_driver.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

#define HOST   4096
#define NPAGES 2048
#define ARENA  512
#define MOST   900

static struct frames *fr;
static struct fake_machine *fm;
static struct gmem *g;
static struct counters c;
static struct balloon_device *b;
static struct virtio_mmio m;
static struct rng rng;
static bool kept, fixed; /* variants of the device */

static void setup(void)
{
	const struct gmem_config cfg = { .vm = 1, .npages = NPAGES, .arena_pages = ARENA, .level = 2 };
	const struct balloon_config bc = {
		.must_tell = true,
		.deflate_on_oom = true,
		.max_pages = MOST,
		.free_page_hint = true,
		.reporting = true,
		.poison = true,
		.keep_poisoned = kept,
		.fixed_queues = fixed,
	};

	c = (struct counters){ 0 };
	fr = frames_new(HOST, 1);
	fm = fake_machine_new(HOST);
	g = gmem_new(&cfg, fr, &fm->base, &c, NULL);
	b = balloon_new(g, &bc);
	virtio_mmio_init(&m, balloon_virtio(b));
}

static void teardown(void)
{
	balloon_free(b);
	gmem_free(g);
	must_eq(frames_used(fr), 0);
	frames_free(fr);
	fake_machine_free(fm);
}

/* As a driver would, but for what is changed by chance. */
static void set_up(void)
{
	mmio_negotiate(&m, VIRTIO_F_VERSION_1 | rng_below(&rng, 64) | rng_below(&rng, 64));
	for (unsigned i = 0; i < BALLOON_QUEUES; i++) {
		uint64_t at = rng_below(&rng, 20) ? MMIO_QUEUE(i) : rng_below(&rng, NPAGES * 4096ull + 50);
		uint32_t num = rng_below(&rng, 9) ? MMIO_NUM : 1u << rng_below(&rng, 10);

		mmio_set_queue(&m, i, num, at);
	}
	mmio_put(&m, VIRTIO_MMIO_CONFIG + VIRTIO_BALLOON_POISON_VAL, rng_below(&rng, 2) ? 0 : 0xaaaaaaaa);
	mmio_start(&m);
}

static uint64_t some_address(void)
{
	switch (rng_below(&rng, 8)) {
	case 0:
		return rng_u64(&rng);
	case 1:
		return NPAGES * 4096ull - rng_below(&rng, 64);
	case 2:
		return MMIO_QUEUE(rng_below(&rng, BALLOON_QUEUES)) + rng_below(&rng, 4096);
	default:
		return rng_below(&rng, NPAGES * 4096ull);
	}
}

/* A descriptor, mostly near what it should be. */
static void some_descriptor(unsigned queue, unsigned i)
{
	static const uint32_t lens[] = { 4, 8, 10, 100, 1024, 0 };
	struct vring_desc d = {
		.addr = some_address(),
		.len = rng_below(&rng, 10) ? lens[rng_below(&rng, G_N_ELEMENTS(lens))] : (uint32_t)rng_u64(&rng),
		.flags = rng_below(&rng, 4) ? 0 : (uint16_t)rng_below(&rng, 8),
		.next = (uint16_t)rng_below(&rng, rng_below(&rng, 10) ? MMIO_NUM : 65536),
	};

	memcpy(gmem_arena(g) + MMIO_QUEUE(queue) + i * sizeof(d), &d, sizeof(d));
}

/* Page numbers, some of them right. */
static void some_pfns(void)
{
	uint32_t *pfn = (uint32_t *)(gmem_arena(g) + rng_below(&rng, ARENA * 1024 - 300) * 4);
	uint32_t first = (uint32_t)rng_below(&rng, NPAGES + 10);

	for (unsigned i = 0; i < 256; i++)
		pfn[i] = first + i;
}

static void some_chain(void)
{
	unsigned queue = (unsigned)rng_below(&rng, BALLOON_QUEUES);
	struct vring_avail *avail = mmio_avail(g, queue);
	unsigned n = 1 + (unsigned)rng_below(&rng, 4);

	for (unsigned i = 0; i < n; i++)
		some_descriptor(queue, (unsigned)rng_below(&rng, MMIO_NUM));
	for (unsigned i = 0; i < n; i++)
		avail->ring[rng_below(&rng, MMIO_NUM)] =
			(uint16_t)rng_below(&rng, rng_below(&rng, 30) ? MMIO_NUM : 65536);
	avail->idx = rng_below(&rng, 30) ? (uint16_t)(avail->idx + 1) : (uint16_t)rng_u64(&rng);
	mmio_put(&m, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

/* What queue number @queue is for. */
static unsigned role_of(unsigned queue)
{
	uint64_t features = balloon_virtio(b)->features;
	unsigned role = 0;

	while (role < BALLOON_QUEUES && (!virtio_balloon_has_queue(features, role) ||
					 virtio_balloon_queue(features, role, fixed) != queue))
		role++;
	return role;
}

/* A buffer that a driver in its right mind would send; the page numbers may be wrong. */
static struct vring_desc good_buffer(unsigned role)
{
	unsigned n = 1 + (unsigned)rng_below(&rng, 40);
	uint64_t at = 0x20000 + rng_below(&rng, 100) * 1024;
	uint32_t first = (uint32_t)rng_below(&rng, NPAGES), pfn[256];
	uint32_t command = (uint32_t)virtio_mmio_read(&m, VIRTIO_MMIO_CONFIG + VIRTIO_BALLOON_CMD_ID, 4);

	if (role == BALLOON_REPORTING || (role == BALLOON_FREE_PAGE && rng_below(&rng, 2)))
		return (struct vring_desc){ (ARENA - 1 + rng_below(&rng, NPAGES - ARENA - 40)) << PAGE_SHIFT,
					    n << PAGE_SHIFT, VRING_DESC_WRITE, 0 };
	for (unsigned i = 0; i < G_N_ELEMENTS(pfn); i++)
		pfn[i] = first + i;
	if (role == BALLOON_FREE_PAGE)
		pfn[0] = rng_below(&rng, 3) ? command : VIRTIO_BALLOON_CMD_STOP;
	must(!gmem_write(g, at, pfn, sizeof(pfn)));
	return (struct vring_desc){ .addr = at,
				    .len = role == BALLOON_STATS ? n * 10 : role == BALLOON_FREE_PAGE ? 4 : n * 4 };
}

static void good_chain(void)
{
	unsigned queue = (unsigned)rng_below(&rng, BALLOON_QUEUES);
	struct vring_avail *avail = mmio_avail(g, queue);
	uint16_t idx = balloon_virtio(b)->queue[queue].next_avail;
	struct vring_desc d = good_buffer(role_of(queue));

	memcpy(gmem_arena(g) + MMIO_QUEUE(queue), &d, sizeof(d));
	avail->ring[idx % MMIO_NUM] = 0;
	avail->idx = (uint16_t)(idx + 1);
	mmio_put(&m, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

static void some_register(void)
{
	static const unsigned lens[] = { 4, 4, 4, 1, 2, 8 };
	uint64_t reg = rng_below(&rng, 10) ? rng_below(&rng, VIRTIO_MMIO_SIZE / 4) * 4 : rng_u64(&rng);
	uint64_t value = rng_below(&rng, 2) ? rng_below(&rng, 20) : rng_u64(&rng);
	unsigned len = lens[rng_below(&rng, G_N_ELEMENTS(lens))];

	if (rng_below(&rng, 2))
		virtio_mmio_read(&m, reg, len);
	else
		virtio_mmio_write(&m, reg, value, len);
}

static void step(void)
{
	struct gmem_page page;

	switch (rng_below(&rng, 16)) {
	case 0 ... 1:
		some_chain();
		break;
	case 2 ... 7:
		good_chain();
		break;
	case 8 ... 10:
		some_register();
		break;
	case 11:
		some_pfns();
		break;
	case 12:
		gmem_fault(g, rng_below(&rng, NPAGES), ACC_W, FAULT_CPU, &page);
		break;
	case 13:
		balloon_set_target(b, rng_below(&rng, 2 * MOST));
		balloon_poll_stats(b);
		if (rng_below(&rng, 4))
			balloon_ask_hints(b);
		else
			balloon_stop_hints(b);
		gmem_drop_hinted(fr, rng_below(&rng, 10));
		break;
	default:
		/* Some drivers begin again as they should. */
		if (!virtio_running(balloon_virtio(b)) || !rng_below(&rng, 20))
			set_up();
		break;
	}
}

/* The accounts, recounted. */
static void check_accounts(void)
{
	uint64_t ballooned = 0, resident = 0;
	struct gmem_page page;

	for (gfn_t gfn = ARENA; gfn < NPAGES; gfn++) {
		gmem_lookup(g, gfn, &page);
		ballooned += page.state == PAGE_BALLOONED;
		resident += page.state == PAGE_RESIDENT;
		must(page.state != PAGE_BALLOONED || page.hfn == HFN_NONE);
	}
	must_eq(ballooned, c.balloon_actual);
	must_eq(resident, c.pages_resident);
	must_eq(frames_used(fr), ARENA + resident);
	must(ballooned <= MOST);
	must(c.pages_hinted <= resident);
	must(!c.pages_hinted || fr->hinted);
	must_eq(c.balloon_inflated - c.balloon_deflated, ballooned);
	must(c.balloon_target <= MOST);
}

START_TEST(anything)
{
	const char *soak = getenv("SOAK");
	uint64_t steps = soak ? g_ascii_strtoull(soak, NULL, 10) / 4 : 100000;

	kept = _i & 1;
	fixed = _i & 2;
	setup();
	rng_seed(&rng, 1000 + (uint64_t)_i);
	set_up();
	for (uint64_t i = 0; i < steps; i++) {
		step();
		if (i % 2000 == 0)
			check_accounts();
	}
	check_accounts();
	/* It was neither all nonsense nor all sense. */
	must(c.balloon_errors > steps / 10);
	must(c.balloon_inflated > steps / 10);
	must(c.balloon_reports > steps / 1000);
	must(c.balloon_reported_pages > steps / 10);
	must(c.balloon_hints > steps / 100);
	must(c.balloon_hints_dropped > steps / 10000);
	must(kept ? c.balloon_poison_kept > steps / 100 : c.balloon_poison_restored > steps / 10000);
	teardown();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio fuzz");
	TCase *tc = tcase_create("fuzz");

	tcase_set_timeout(tc, getenv("SOAK") ? 3600 : 120);
	tcase_add_loop_test(tc, anything, 0, 4);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
