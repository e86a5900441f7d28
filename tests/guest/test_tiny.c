/* SPDX-License-Identifier: MIT */
/* The guest of a few instructions: it does what it is told, as often, in ring 0 and at CPL 3; what this KVM is. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/suite.h"
#include "vmm/kvm/features.h"
#include "vmm/kvm/tiny.h"

#define NBYTES (2ul << 20)

static struct tiny t;
static uint8_t *memory;

static void setup(void)
{
	memory = mmap(NULL, NBYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert(memory != MAP_FAILED);
	ck_assert_int_eq(tiny_open(&t), 0);
	ck_assert_int_eq(tiny_map(&t, memory, NBYTES), 0);
}

static void teardown(void)
{
	tiny_close(&t);
	munmap(memory, NBYTES);
}

START_TEST(what_if_it_exits)
{
	ck_assert_int_eq(tiny_run(&t, TINY_OUT, _i ? 3 : 0, 0, 7), 7);
	ck_assert_int_eq(tiny_run(&t, TINY_SPIN, _i ? 3 : 0, 0, 100), 0);
}
END_TEST

START_TEST(what_if_it_writes)
{
	ck_assert_int_eq(tiny_run(&t, TINY_READ, _i ? 3 : 0, TINY_DATA, NBYTES / 4096), 0);
	ck_assert_int_eq(tiny_run(&t, TINY_WRITE, _i ? 3 : 0, TINY_DATA, 3), 0);
	for (uint64_t page = 0; page < 4; page++) {
		uint64_t word;

		memcpy(&word, memory + page * 4096, sizeof(word));
		ck_assert_uint_eq(word, page < 3 ? TINY_DATA + page * 4096 : 0);
	}
}
END_TEST

START_TEST(what_if_an_exception_is_its_own)
{
	ck_assert_int_eq(tiny_run(&t, TINY_BREAKPOINT, 3, 0, 50), 0);
}
END_TEST

START_TEST(what_if_its_page_faults_are_ours)
{
	long n = tiny_fault(&t, 512);

	ck_assert(n == 512 || n == -ENOTSUP);
	ck_assert_int_eq(tiny_run(&t, TINY_OUT, 3, 0, 2), 2);
}
END_TEST

START_TEST(what_if_it_goes_where_it_has_no_memory)
{
	ck_assert_int_lt(tiny_run(&t, TINY_READ, 3, _i ? 5ull << 30 : TINY_DATA + NBYTES, 1), 0);
}
END_TEST

START_TEST(what_if_features_are_asked)
{
	struct fault_features faults;
	struct kvm_features f;

	kvm_features_ask(&f);
	ck_assert_int_eq(f.err, 0);
	ck_assert(f.ring0_ns >= 0);
	ck_assert(f.exit_ns > 0);
	ck_assert(f.fault_ns > 0);
	ck_assert_int_gt(f.slots, 1);
	/* Emulated instructions take as long as software needs. */
	ck_assert((f.kind == KIND_SOFTWARE) == (f.ring0_ns >= 100));
	fault_features_ask(&faults);
	ck_assert(faults.err || faults.missing);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tiny");
	TCase *tc = tcase_create("tiny");

	if (access("/dev/kvm", R_OK | W_OK)) {
		printf("SKIP: /dev/kvm: %s\n", strerror(errno));
		return 0;
	}
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, what_if_it_exits, 0, 2);
	tcase_add_loop_test(tc, what_if_it_writes, 0, 2);
	tcase_add_test(tc, what_if_an_exception_is_its_own);
	tcase_add_test(tc, what_if_its_page_faults_are_ours);
	tcase_add_loop_test(tc, what_if_it_goes_where_it_has_no_memory, 0, 2);
	tcase_add_test(tc, what_if_features_are_asked);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
