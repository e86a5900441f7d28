/* SPDX-License-Identifier: MIT */
/*
 * The block device under a guest that writes anything into rings and registers, at any time, while requests end in any
 * order; half of the runs on a host that swaps, with VSwapper's remedies. It must not crash, must end each
 * notification, must write nowhere but where a chain lets it, and must count what was wrong. SOAK=n tries n descriptors
 * and accesses instead of the share that every `make check` tries.
 */
#include <check.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "mm/swap.h"
#include "tests/lib/fake_machine.h"
#include "tests/lib/mmio_driver.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "vmm/virtio_blk.h"
#include "workloads/rng.h"

#define HOST   4096
#define NPAGES 2048
#define ARENA  512
#define HEADER 0x20000ull
#define FILES  2000u
#define SWAP   100u
#define KEPT   2000u /* no descriptor leads to this page of guest memory */

static struct frames *fr;
static struct fake_machine *fm;
static struct gmem *g;
static struct counters c;
static struct disk_image *image;
static struct swap *swap; /* NULL: the host has memory enough */
static struct virtio_blk *b;
static struct virtio_mmio m;
static struct rng rng;
static unsigned npending, pending[VIRTQUEUE_MAX];
static uint64_t nended;

static void begin(void *ctx, unsigned id, bool write, uint64_t first, uint64_t npages)
{
	(void)ctx, (void)write;
	must(npending < VIRTQUEUE_MAX && id < VIRTQUEUE_MAX);
	must(first <= FILES + SWAP && npages <= FILES + SWAP - first);
	pending[npending++] = id;
}

static void host_read(void *ctx, uint64_t first, uint64_t npages)
{
	(void)ctx;
	must(npages && first < FILES + SWAP && npages <= FILES + SWAP - first);
}

static void cancel(void *ctx)
{
	(void)ctx;
	npending = 0;
}

static void world_new(uint64_t nframes)
{
	const struct gmem_config cfg = { .vm = 1, .npages = NPAGES, .arena_pages = ARENA, .level = 1 };
	const struct disk_image_config disk = { FILES, SWAP, PATTERN_BASE(PATTERN_TEXT, 0), 1 };
	const struct swap_config sc = { .nslots = 4096, .policy = swap_policies[0], .low = 64, .high = 96, .cluster = 3,
					.mapper = true, .preventer = true };
	const struct virtio_blk_host host = { begin, host_read, cancel, NULL };

	c = (struct counters){ 0 };
	npending = 0;
	nended = 0;
	fr = frames_new(nframes, 1);
	fm = fake_machine_new(nframes);
	g = gmem_new(&cfg, fr, &fm->base, &c, NULL);
	swap = nframes < HOST ? swap_new(&sc, fr, &fm->base) : NULL;
	must(!swap || !swap_attach(swap, g));
	image = disk_image_new(&disk);
	b = virtio_blk_new(g, image, &host, "fuzz");
	virtio_mmio_init(&m, virtio_blk_virtio(b));
}

static void world_free(void)
{
	must(!swap || !swap_verify(swap));
	virtio_blk_free(b);
	disk_image_free(image);
	gmem_free(g);
	if (swap)
		swap_free(swap);
	must_eq(frames_used(fr), 0);
	frames_free(fr);
	fake_machine_free(fm);
}

static void set_up(void)
{
	const uint64_t all = VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES;

	mmio_negotiate(&m, VIRTIO_F_VERSION_1 | (rng_below(&rng, 8) ? all : 0));
	mmio_set_queue(&m, 0, rng_below(&rng, 9) ? MMIO_NUM : 1u << rng_below(&rng, 6), MMIO_QUEUE(0));
	mmio_start(&m);
}

/* Anywhere but in the page kept, or reaching it. */
static uint64_t some_address(uint64_t len)
{
	if (!rng_below(&rng, 10))
		return rng_u64(&rng) | 1ull << 40;
	if (!rng_below(&rng, 10))
		return NPAGES * 4096ull - rng_below(&rng, 64);
	return rng_below(&rng, KEPT * 4096ull - MIN(len, KEPT * 4096ull - 1));
}

static void some_descriptor(unsigned i)
{
	static const uint32_t lens[] = { 16, 512, 4096, 8192, 1, 0 };
	struct vring_desc d = {
		.len = rng_below(&rng, 10) ? lens[rng_below(&rng, G_N_ELEMENTS(lens))] :
					     (uint32_t)rng_below(&rng, 100000),
		.flags = (uint16_t)rng_below(&rng, rng_below(&rng, 10) ? 4 : 8),
		.next = (uint16_t)rng_below(&rng, rng_below(&rng, 10) ? MMIO_NUM : 65536),
	};

	d.addr = some_address(d.len);
	memcpy(gmem_arena(g) + MMIO_QUEUE(0) + i * sizeof(d), &d, sizeof(d));
}

static void make_available(uint16_t head)
{
	struct vring_avail *avail = mmio_avail(g, 0);
	uint16_t idx = virtio_blk_virtio(b)->queue[0].next_avail, num = virtio_blk_virtio(b)->queue[0].num;

	avail->ring[num ? idx % num : 0] = head;
	avail->idx = rng_below(&rng, 50) ? (uint16_t)(idx + 1) : (uint16_t)rng_u64(&rng);
	mmio_put(&m, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
}

static void some_chain(void)
{
	for (unsigned n = 1 + (unsigned)rng_below(&rng, 4); n; n--)
		some_descriptor((unsigned)rng_below(&rng, MMIO_NUM));
	make_available((uint16_t)rng_below(&rng, rng_below(&rng, 30) ? MMIO_NUM : 65536));
}

/* What a driver in its right mind would send; its numbers may be wrong. */
static void good_chain(void)
{
	static const uint32_t types[] = { 0, 0, 0, 1, 1, 1, 4, 8, 11, 13, 2 };
	uint16_t head = (uint16_t)(rng_below(&rng, MMIO_NUM / 3) * 3);
	struct virtio_blk_header h = { types[rng_below(&rng, G_N_ELEMENTS(types))], 0,
				       rng_below(&rng, (FILES + SWAP) * 8 + 20) };
	struct virtio_blk_range r = { rng_below(&rng, (FILES + SWAP) * 8 + 20), (uint32_t)rng_below(&rng, 100),
				      (uint32_t)rng_below(&rng, 2) };
	/* Many are of whole pages. */
	if (rng_below(&rng, 2))
		h.sector &= ~7ull;

	bool range = h.type >= 11, in = h.type == 0 || h.type == 8;
	uint32_t len = range ? sizeof(r) : (uint32_t)rng_below(&rng, 5) * 2048;
	bool pages = !range && rng_below(&rng, 2);
	gpa_t data = pages ? (ARENA + rng_below(&rng, 1000)) * 4096 : 0x40000 + rng_below(&rng, 0x40000);
	struct vring_desc d[3] = {
		{ HEADER + head * 64u, sizeof(h), VRING_DESC_NEXT, (uint16_t)(head + 1) },
		{ data, len, (uint16_t)(VRING_DESC_NEXT | (in ? VRING_DESC_WRITE : 0)), (uint16_t)(head + 2) },
		{ HEADER + 0x8000 + head, 1, VRING_DESC_WRITE, 0 },
	};

	memcpy(gmem_arena(g) + d[0].addr, &h, sizeof(h));
	if (range)
		must(!gmem_write(g, data, &r, sizeof(r)));
	memcpy(gmem_arena(g) + MMIO_QUEUE(0) + head * sizeof(d[0]), d, sizeof(d));
	make_available(head);
}

static void some_register(void)
{
	static const unsigned lens[] = { 4, 4, 4, 1, 2, 8 };
	uint64_t reg = rng_below(&rng, 10) ? rng_below(&rng, VIRTIO_MMIO_SIZE / 4) * 4 : rng_u64(&rng);
	unsigned len = lens[rng_below(&rng, G_N_ELEMENTS(lens))];
	bool address = reg >= VIRTIO_MMIO_QUEUE_DESC && reg < VIRTIO_MMIO_QUEUE_DEVICE + 8;

	/* A used ring put over the page kept would be the guest's own doing. */
	if (rng_below(&rng, 2) || address)
		virtio_mmio_read(&m, reg, len);
	else
		virtio_mmio_write(&m, reg, rng_below(&rng, 2) ? rng_below(&rng, 20) : rng_u64(&rng), len);
}

static void end_some(void)
{
	for (uint64_t n = rng_below(&rng, 6); n && npending; n--) {
		unsigned i = (unsigned)rng_below(&rng, npending), id = pending[i];

		pending[i] = pending[--npending];
		virtio_blk_end(b, id);
		nended++;
	}
}

static void step(void)
{
	struct gmem_page page;

	if (swap)
		swap_reclaimer(swap)->ops->balance(swap_reclaimer(swap));
	switch (rng_below(&rng, 16)) {
	case 0 ... 1:
		some_chain();
		break;
	case 2 ... 7:
		good_chain();
		break;
	case 8 ... 11:
		end_some();
		break;
	case 12:
		some_register();
		break;
	case 13:
		gmem_fault(g, ARENA + rng_below(&rng, 1000), rng_below(&rng, 5) ? ACC_R : ACC_W, FAULT_CPU, &page);
		if (rng_below(&rng, 2))
			gmem_balloon(g, ARENA + rng_below(&rng, 1000));
		else
			gmem_deflate(g, ARENA + rng_below(&rng, 1000));
		break;
	default:
		/* Some drivers begin again as they should. */
		if (!virtio_running(virtio_blk_virtio(b)) || !rng_below(&rng, 50))
			set_up();
		break;
	}
}

static void check_kept(const uint8_t *kept)
{
	uint8_t page[PAGE_SIZE];

	must(!gmem_peek(g, KEPT, page));
	must(!memcmp(page, kept, PAGE_SIZE));
}

START_TEST(anything)
{
	const char *soak = getenv("SOAK");
	uint64_t steps = soak ? g_ascii_strtoull(soak, NULL, 10) / 4 : 200000;
	uint8_t kept[PAGE_SIZE];

	world_new(_i % 2 ? ARENA + 512 : HOST);
	rng_seed(&rng, 2000 + (uint64_t)_i);
	memset(kept, 0x77, sizeof(kept));
	must(!gmem_write(g, KEPT << PAGE_SHIFT, kept, sizeof(kept)));
	set_up();
	for (uint64_t i = 0; i < steps; i++) {
		step();
		if (i % 1000 == 0)
			check_kept(kept);
	}
	check_kept(kept);
	/* It was neither all nonsense nor all sense. */
	must(c.blk_errors > steps / 20);
	must(nended > steps / 20);
	must(c.blk_reads > steps / 50 && c.blk_writes > steps / 50 && c.blk_discards > steps / 200);
	must(!swap || (c.swap_mapper_drops > steps / 1000 && c.swap_mapper_reads > steps / 1000));
	world_free();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("block device fuzz");
	TCase *tc = tcase_create("fuzz");

	tcase_set_timeout(tc, getenv("SOAK") ? 3600 : 120);
	tcase_add_loop_test(tc, anything, 0, 4);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
