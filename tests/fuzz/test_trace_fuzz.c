/* SPDX-License-Identifier: MIT */
/*
 * The trace reader and the importer on anything but what they expect. The reader must end with an error that names the
 * file, never crash, and never emit more accesses than the header promised nor any outside the ranges.
 */
#include <check.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "tests/lib/suite.h"
#include "vmm/trace.h"
#include "vmm/trace_format.h"
#include "vmm/vmm.h"
#include "workloads/rng.h"

static char *dir, *path, *good;
static gsize ngood;

static void setup(void)
{
	struct trace_writer *w;
	struct rng r;

	dir = g_dir_make_tmp("overbook-fuzz-XXXXXX", NULL);
	path = g_build_filename(dir, "t.obt", NULL);
	w = trace_create(path, NULL);
	rng_seed(&r, 11);
	for (int i = 0; i < 3000; i++)
		ck_assert(trace_write(w, rng_below(&r, 1 << 30) & ~0xfff00ull, rng_below(&r, 3), NULL));
	ck_assert(trace_commit(w, NULL));
	ck_assert(g_file_get_contents(path, &good, &ngood, NULL));
}

static void teardown(void)
{
	g_remove(path);
	g_rmdir(dir);
	g_free(good);
	g_free(path);
	g_free(dir);
}

/* Read what lies at @path to its end. True if it was taken for a good trace. */
static bool read_all(void)
{
	GError *error = NULL;
	struct trace_reader *r = trace_open(path, &error);
	uint64_t out[512], total = 0;
	uint32_t got;
	bool ok;

	if (!r) {
		ck_assert(error && g_str_has_prefix(error->message, path));
		ck_assert_int_eq(error->code, VMM_USAGE);
		g_error_free(error);
		return false;
	}
	ck_assert_ptr_null(error);
	while ((got = trace_read(r, out, 512))) {
		for (uint32_t i = 0; i < got; i++)
			ck_assert(trace_page_id(r, (out[i] & OP_VA_MASK) >> 12) < trace_info(r)->npages);
		total += got;
	}
	ok = !trace_error(r);
	ck_assert(ok ? total == trace_info(r)->total : g_str_has_prefix(trace_error(r)->message, path));
	trace_close(r);
	return ok;
}

static void put(const char *bytes, gsize n)
{
	ck_assert(g_file_set_contents_full(path, bytes, n, G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL));
}

START_TEST(truncated_anywhere)
{
	ck_assert(read_all());
	for (gsize n = 0; n < ngood; n += n < 120 ? 1 : 1 + ngood / 200) {
		put(good, n);
		ck_assert_msg(!read_all(), "%zu of %zu bytes were taken", n, ngood);
	}
}
END_TEST

START_TEST(one_bit_flipped)
{
	struct rng r;

	rng_seed(&r, _i);
	for (int i = 0; i < 600; i++) {
		gsize at = i < 80 ? (gsize)i : rng_below(&r, ngood);
		char bit = 1 << rng_below(&r, 8);

		good[at] ^= bit;
		put(good, ngood);
		/* A few bits of a zstd frame mean nothing: then the accesses are all there. read_all() has counted
		 * them. */
		if (read_all())
			ck_assert_uint_ge(at, sizeof(struct trace_header));
		good[at] ^= bit;
	}
}
END_TEST

/* A liar who computes the checksum as well: random numbers in the header's fields. */
START_TEST(header_lies)
{
	struct trace_header *h = (struct trace_header *)good, honest = *h;
	struct rng r;

	rng_seed(&r, 3);
	for (int i = 0; i < 600; i++) {
		uint64_t *field = (uint64_t *)(good + offsetof(struct trace_header, naccesses)) + rng_below(&r, 7);

		*field = rng_u64(&r) >> rng_below(&r, 64);
		if (rng_below(&r, 2))
			*field = honest.naccesses[0] + rng_below(&r, 5) - 2;
		h->checksum = XXH3_64bits(h, offsetof(struct trace_header, checksum));
		put(good, ngood);
		if (memcmp(h, &honest, sizeof(honest)))
			ck_assert(!read_all());
		*h = honest;
	}
}
END_TEST

/* Sections exchanged for others, well formed as zstd but wrong: the frames swapped, bytes between and behind them. */
START_TEST(sections_lie)
{
	struct trace_header *h = (struct trace_header *)good;
	g_autofree char *bytes = g_malloc0(ngood + 16);
	struct trace_header *lie = (struct trace_header *)bytes;
	uint64_t body = h->body_bytes, ranges = h->ranges_bytes;

	memcpy(bytes, good, sizeof(*h));
	memcpy(bytes + sizeof(*h), good + sizeof(*h) + body, ranges);
	memcpy(bytes + sizeof(*h) + ranges, good + sizeof(*h), body);
	lie->body_bytes = ranges;
	lie->ranges_bytes = body;
	lie->checksum = XXH3_64bits(lie, offsetof(struct trace_header, checksum));
	put(bytes, ngood);
	ck_assert(!read_all());

	for (int where = 0; where < 2; where++) {
		uint64_t at = sizeof(*h) + body + where * ranges;

		memcpy(bytes, good, at);
		memset(bytes + at, 0, 16);
		memcpy(bytes + at + 16, good + at, ngood - at);
		lie->body_bytes += where ? 0 : 16;
		lie->ranges_bytes += where ? 16 : 0;
		lie->checksum = XXH3_64bits(lie, offsetof(struct trace_header, checksum));
		put(bytes, ngood + 16);
		ck_assert(!read_all());
	}
}
END_TEST

START_TEST(garbage)
{
	static char bytes[5000];
	struct rng r;

	rng_seed(&r, 9);
	for (int i = 0; i < 300; i++) {
		gsize n = rng_below(&r, sizeof(bytes));

		for (gsize k = 0; k < n; k++)
			bytes[k] = rng_u64(&r);
		if (i % 2 && n > 80)
			memcpy(bytes, good, 16 + rng_below(&r, 65));
		put(bytes, n);
		ck_assert(!read_all());
	}
}
END_TEST

/* Lines of the right letters in the wrong order: taken or refused, but never a crash, and refused with a line's number.
 */
START_TEST(texts_of_random_letters)
{
	static const char letters[] = " LSMI,=-#0x19afFrwi\r\n\n\n\t";
	char text[200];
	struct rng r;
	int fd[2];

	rng_seed(&r, 17);
	for (int i = 0; i < 2000; i++) {
		size_t n = rng_below(&r, sizeof(text));
		struct trace_writer *w = trace_create(path, NULL);
		GError *error = NULL;

		for (size_t k = 0; k < n; k++)
			text[k] = letters[rng_below(&r, sizeof(letters))]; /* the terminating zero too */
		ck_assert(!pipe(fd));
		ck_assert_int_eq(write(fd[1], text, n), n);
		close(fd[1]);
		if (!trace_import(w, fd[0], "text", &(struct trace_import){ .format = i % 3 }, &error)) {
			ck_assert(g_str_has_prefix(error->message, "text:"));
			g_error_free(error);
		}
		trace_abandon(w);
		close(fd[0]);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("trace_fuzz");
	TCase *tc = tcase_create("trace_fuzz");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, truncated_anywhere);
	tcase_add_loop_test(tc, one_bit_flipped, 0, 2);
	tcase_add_test(tc, header_lies);
	tcase_add_test(tc, sections_lie);
	tcase_add_test(tc, garbage);
	tcase_add_test(tc, texts_of_random_letters);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
