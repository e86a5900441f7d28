/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "mm/swap_tier.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

enum { SLOTS = 5000, HOST = 4096 };

/* What if pages of all sizes come and go? The frames held are those of the groups, and the oldest is the oldest. */
START_TEST(frames_are_those_of_the_groups)
{
	struct frames *fr = frames_new(HOST, 1);
	uint64_t *born = g_new0(uint64_t, SLOTS), now = 0, bytes = 0, count = 0;
	unsigned *size = g_new0(unsigned, SLOTS);
	struct swap_tier t;
	struct rng rng;

	rng_seed(&rng, 4);
	must(swap_tier_init(&t, SLOTS, fr) == 0);
	for (unsigned i = 0; i < 60000; i++) {
		uint64_t slot = rng_below(&rng, SLOTS), before = t.want, growth;

		if (size[slot]) {
			swap_tier_remove(&t, slot);
			must(t.want <= before && !swap_tier_has(&t, slot));
			bytes -= size[slot];
			count--;
			size[slot] = 0;
		} else {
			size[slot] = 1 + (unsigned)rng_below(&rng, i % 3 ? 800 : 3072);
			growth = swap_tier_growth(&t, size[slot]);
			must(growth <= TIER_CHAIN);
			must(swap_tier_add(&t, slot, size[slot]) == 0);
			must_eq(t.want, before + growth);
			bytes += size[slot];
			count++;
			born[slot] = ++now;
		}
		must(t.bytes == bytes && t.count == count && t.held->len == t.want && frames_used(fr) == t.want);
		must(t.want * PAGE_SIZE >= bytes);
		if (i % 500 == 0 && count) {
			uint64_t oldest = swap_tier_oldest(&t);

			must(size[oldest]);
			for (slot = 0; slot < SLOTS; slot++)
				must(!size[slot] || born[slot] >= born[oldest]);
		}
	}
	/* Rounding costs little, and each class has one group that is not full. */
	must(t.want * PAGE_SIZE < bytes + bytes / 10 + (uint64_t)TIER_CLASSES * TIER_CHAIN * PAGE_SIZE / 2);
	while (t.count)
		swap_tier_remove(&t, swap_tier_oldest(&t));
	must_eq(t.want, 0);
	must_eq(swap_tier_oldest(&t), SLOTS);
	swap_tier_destroy(&t);
	must_eq(frames_used(fr), 0);
	frames_free(fr);
	g_free(born);
	g_free(size);
}
END_TEST

/* What are a size's frames, by hand? */
static const struct {
	unsigned nbytes;
	uint64_t objects, frames; /* of a group */
} groups[] = {
	{ 1, 128, 1 },	  /* class 32 */
	{ 1024, 4, 1 },	  /* a power of two: no waste in one */
	{ 1025, 31, 8 },  /* 1040: 7 * 4096 leave 592, 8 * 4096 leave 528 */
	{ 2048, 2, 1 },
	{ 3072, 4, 3 },	  /* three frames are four objects */
	{ 4096, 1, 1 },
};

START_TEST(groups_by_hand)
{
	struct frames *fr = frames_new(HOST, 1);
	struct swap_tier t;

	must(swap_tier_init(&t, SLOTS, fr) == 0);
	for (unsigned i = 0; i < G_N_ELEMENTS(groups); i++) {
		uint64_t n = groups[i].objects;

		for (uint64_t slot = 0; slot < n; slot++) {
			must(swap_tier_add(&t, slot, groups[i].nbytes) == 0);
			must_eq(t.want, groups[i].frames);
		}
		must_eq(swap_tier_growth(&t, groups[i].nbytes), groups[i].frames);
		for (uint64_t slot = 0; slot < n; slot++)
			swap_tier_remove(&t, slot);
		must_eq(t.want, 0);
	}
	swap_tier_destroy(&t);
	frames_free(fr);
}
END_TEST

/* What if the host has no frames? The object is not there, and nothing is held. */
START_TEST(no_frames)
{
	struct frames *fr = frames_new(512, 1);
	struct swap_tier t;
	hfn_t hfn;

	must(swap_tier_init(&t, SLOTS, fr) == 0);
	for (unsigned i = 0; i < 510; i++)
		must(frames_alloc(fr, 1, 0, false, FRAME_OWNER(FRAME_TABLE, 0, 0), &hfn) == 0);
	ck_assert_int_eq(swap_tier_add(&t, 7, 3072), -ENOMEM);
	ck_assert(!swap_tier_has(&t, 7) && t.want == 0 && frames_used(fr) == 510);
	ck_assert_int_eq(swap_tier_add(&t, 7, 2048), 0);
	swap_tier_destroy(&t);
	ck_assert_uint_eq(frames_used(fr), 510);
	frames_free(fr);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("swap tier");
	TCase *t = tcase_create("swap tier");

	tcase_add_test(t, frames_are_those_of_the_groups);
	tcase_add_test(t, groups_by_hand);
	tcase_add_test(t, no_frames);
	suite_add_tcase(s, t);
	return suite_run(s);
}
