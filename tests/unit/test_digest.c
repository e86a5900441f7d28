/* SPDX-License-Identifier: MIT */
/*
 * test_digest.c - the digest of a guest with a disk: it does not matter where pages are, and no word of it is believed
 */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "tests/lib/fake_machine.h"
#include "tests/lib/suite.h"
#include "vmm/digest.h"
#include "workloads/guest/abi.h"

#define ARENA	512u
#define NPAGES	1024u
#define FILES	20u
#define SWAP	10u
#define TABLE	0x100000ull /* four of them, from the root down */
#define WORDS	0x110000ull
#define SLOTS	0x120000ull

static struct frames *fr;
static struct fake_machine *fm;
static struct gmem *g;
static struct counters c;
static struct disk_image *disk;

static struct guest_export *export(void)
{
	return (void *)(gmem_arena(g) + EXPORT_GPA);
}

static uint64_t *word_at(uint64_t gpa)
{
	return (uint64_t *)(gmem_arena(g) + gpa);
}

static struct swap_slot *slot_at(unsigned i)
{
	return (struct swap_slot *)(gmem_arena(g) + SLOTS) + i;
}

/* The entry of level 1 for page @i of the one process. */
static uint64_t *entry(unsigned i)
{
	return word_at(TABLE + 3 * PAGE_SIZE) + i;
}

static void begin(void)
{
	const struct gmem_config cfg = { .npages = NPAGES, .arena_pages = ARENA, .level = 1 };

	fr = frames_new(2 * NPAGES, 1);
	fm = fake_machine_new(2 * NPAGES);
	g = gmem_new(&cfg, fr, &fm->base, &c, NULL);
	disk = disk_image_new(&(struct disk_image_config){ .file_pages = FILES, .swap_pages = SWAP, .content = 0 });
	ck_assert(g && disk);
	for (unsigned i = 0; i < 3; i++)
		*word_at(TABLE + i * PAGE_SIZE) = (TABLE + (i + 1) * PAGE_SIZE) | PTE_P | PTE_W | PTE_U;
	export()->process[0] = (struct export_process){ .pid = 1, .state = PROCESS_READY, .root = TABLE };
	export()->file_words = WORDS;
	export()->swap_slots = SLOTS;
}

static void end(void)
{
	disk_image_free(disk);
	gmem_free(g);
	fake_machine_free(fm);
	frames_free(fr);
}

static uint64_t digest(void)
{
	uint64_t d;

	ck_assert_int_eq(digest_vm(g, 4, NULL, NULL, disk, &d), 0);
	return d;
}

/* A page of bytes @x, in memory or on disk. */
static void put(uint64_t gfn, uint8_t x)
{
	uint8_t page[PAGE_SIZE];

	memset(page, x, sizeof(page));
	ck_assert_int_eq(gmem_write(g, gfn << PAGE_SHIFT, page, sizeof(page)), 0);
}

static void put_disk(uint64_t page, uint8_t x)
{
	uint8_t bytes[PAGE_SIZE];

	memset(bytes, x, sizeof(bytes));
	disk_image_write_bytes(disk, page * PAGE_SIZE, bytes, sizeof(bytes));
}

/* What if a page of a process moves between memory, swap cache and disk? The digest stays; its rights count. */
START_TEST(swapped)
{
	uint64_t there;

	begin();
	put(ARENA + 3, 0x55);
	*entry(7) = ((ARENA + 3ull) << PAGE_SHIFT) | PTE_P | PTE_W | PTE_U | PTE_NX;
	there = digest();
	*entry(7) = 4ull << PAGE_SHIFT | PTE_SWAP | PTE_W | PTE_U | PTE_NX;
	ck_assert_uint_ne(digest(), there);
	slot_at(4)->word = ARENA + 3;
	ck_assert_uint_eq(digest(), there);
	slot_at(4)->word = (ARENA + 3) | CACHE_LOADING;
	ck_assert_uint_ne(digest(), there);
	put_disk(FILES + 4, 0x55);
	ck_assert_uint_eq(digest(), there);
	slot_at(4)->word = CACHE_SHADOW | 12345;
	ck_assert_uint_eq(digest(), there);
	*entry(7) &= ~PTE_W;
	ck_assert_uint_ne(digest(), there);
	*entry(7) |= PTE_NONE;
	ck_assert_uint_ne(digest(), there);
	end();
}
END_TEST

/* What if a page of a file is dirty in the page cache, or written back? It is part of the disk, not of who maps it. */
START_TEST(cached)
{
	uint64_t clean, dirty;

	begin();
	clean = digest();
	put(ARENA + 9, 0);
	*entry(1) = ((ARENA + 9ull) << PAGE_SHIFT) | PTE_P | PTE_W | PTE_U | PTE_NX | PTE_FILE;
	word_at(WORDS)[5] = ARENA + 9;
	ck_assert_uint_eq(digest(), clean);
	put(ARENA + 9, 0x66);
	dirty = digest();
	ck_assert_uint_ne(dirty, clean);
	*entry(1) = 0;
	ck_assert_uint_eq(digest(), dirty);
	word_at(WORDS)[5] = 0;
	ck_assert_uint_eq(digest(), clean);
	put_disk(5, 0x66);
	ck_assert_uint_eq(digest(), dirty);
	word_at(WORDS)[5] = CACHE_SHADOW | 1;
	ck_assert_uint_eq(digest(), dirty);
	put_disk(5, 0);
	ck_assert_uint_eq(digest(), clean);
	end();
}
END_TEST

/* What if the guest lies? Then there is no digest, or one of what is there; nothing worse. */
START_TEST(lies)
{
	static const uint64_t places[] = { 0, 1, 8, ARENA * PAGE_SIZE, ARENA * PAGE_SIZE - 8, UINT64_MAX, 1ull << 63 };
	uint64_t d;

	begin();
	*entry(7) = (uint64_t)SWAP << PAGE_SHIFT | PTE_SWAP;
	ck_assert_int_eq(digest_vm(g, 4, NULL, NULL, disk, &d), -EINVAL);
	*entry(7) = PTE_ADDR | PTE_SWAP;
	ck_assert_int_eq(digest_vm(g, 4, NULL, NULL, disk, &d), -EINVAL);
	*entry(7) = 3ull << PAGE_SHIFT | PTE_SWAP;
	slot_at(3)->word = NPAGES;
	ck_assert_int_eq(digest_vm(g, 4, NULL, NULL, disk, &d), -EINVAL);
	slot_at(3)->word = 1ull << 61;
	ck_assert_int_eq(digest_vm(g, 4, NULL, NULL, disk, &d), -EINVAL);
	slot_at(3)->word = 0;
	ck_assert_int_eq(digest_vm(g, 4, NULL, NULL, NULL, &d), -EINVAL);
	word_at(WORDS)[0] = NPAGES + 5;
	ck_assert_int_eq(digest_vm(g, 4, NULL, NULL, disk, &d), -EINVAL);
	for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
		export()->file_words = places[i];
		export()->swap_slots = SLOTS;
		digest_vm(g, 4, NULL, NULL, disk, &d);
		export()->file_words = WORDS;
		export()->swap_slots = places[i];
		digest_vm(g, 4, NULL, NULL, disk, &d);
	}
	end();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("digest");
	TCase *tc = tcase_create("disk");

	tcase_add_test(tc, swapped);
	tcase_add_test(tc, cached);
	tcase_add_test(tc, lies);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return suite_run(suite());
}
