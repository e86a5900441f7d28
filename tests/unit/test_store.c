/* SPDX-License-Identifier: MIT */
/* What the real machine keeps of swapped pages, against a model that keeps a copy of everything. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "tests/lib/zram.h"
#include "vmm/kvm/store.h"
#include "vmm/sim/compress.h"
#include "vmm/vmm.h"
#include "workloads/pattern.h"
#include "workloads/rng.h"

enum { SLOTS = 3000, OPERATIONS = 20000 };

enum place { NOWHERE, DEVICE, TIER, PATCH };

struct model {
	struct store *s;
	struct rng rng;
	uint8_t *page[SLOTS];
	enum place place[SLOTS];
	uint64_t first, n; /* saved to the device, not announced */
	uint8_t reference[PAGE_SIZE];
};

static void read_reference(void *ctx, hfn_t hfn, void *page)
{
	const struct model *m = ctx;

	must_eq(hfn, 77);
	memcpy(page, m->reference, PAGE_SIZE);
}

static struct store_config config_of(const char *compressor)
{
	return (struct store_config){
		.nslots = SLOTS, .compressor = compressor_find(compressor), .directory = "/var/tmp", .cluster = 3
	};
}

static struct store *must_new(const struct store_config *cfg)
{
	g_autoptr(GError) error = NULL;
	struct store *s = store_new(cfg, &error);

	if (!s)
		ck_abort_msg("%s", error->message);
	return s;
}

static void random_page(struct rng *r, uint64_t *page)
{
	static const uint8_t families[] = { PATTERN_TEXT, PATTERN_POINTER, PATTERN_CODE, PATTERN_RANDOM, PATTERN_NEAR };
	struct pattern p = { 0, rng_u64(r) };

	if (rng_below(r, 10))
		p.base = PATTERN_BASE(families[rng_below(r, 5)], rng_below(r, 1000));
	pattern_fill(p, page);
}

static void announce(struct model *m)
{
	if (m->n)
		store_io(m->s, true, m->first, m->n);
	m->n = 0;
}

/* As mm/swap.c: neighbours are announced together. */
static void queue(struct model *m, uint64_t slot)
{
	if (m->n && m->first + m->n != slot)
		announce(m);
	if (!m->n)
		m->first = slot;
	m->n++;
}

static void save(struct model *m, uint64_t slot)
{
	enum place to = (enum place)(DEVICE + rng_below(&m->rng, 3));
	uint64_t page[PAGE_SIZE / 8];

	random_page(&m->rng, page);
	if (to == TIER)
		store_compressed_size(m->s, page);
	if (to == TIER && !rng_below(&m->rng, 4))
		page[0]++; /* the guest has written between the question and the eviction */
	if (to == PATCH)
		must(!store_save_patch(m->s, slot, page, m->reference, 77));
	else
		must(!store_save(m->s, slot, page, to == DEVICE));
	g_free(m->page[slot]);
	m->page[slot] = g_memdup2(page, PAGE_SIZE);
	m->place[slot] = to;
	if (to == DEVICE)
		queue(m, slot);
}

static void check(struct model *m, uint64_t slot)
{
	uint8_t page[PAGE_SIZE];

	if (m->place[slot] == NOWHERE)
		return;
	must(!store_load(m->s, slot, page, m->place[slot] == DEVICE));
	must(!memcmp(page, m->page[slot], PAGE_SIZE));
	if (rng_below(&m->rng, 8))
		return;
	memset(page, 0, PAGE_SIZE);
	must(!store_peek(m->s, slot, page) && !memcmp(page, m->page[slot], PAGE_SIZE));
}

static void drop(struct model *m, uint64_t slot)
{
	if (m->place[slot] == NOWHERE)
		return;
	store_drop(m->s, slot);
	m->place[slot] = NOWHERE;
}

static void step(struct model *m)
{
	uint64_t slot = rng_below(&m->rng, SLOTS), n = 1 + rng_below(&m->rng, 40);

	n = MIN(n, SLOTS - slot);
	switch (rng_below(&m->rng, 5)) {
	case 0:
	case 1: /* a batch goes out */
		for (uint64_t i = slot; i < slot + n; i++)
			if (m->place[i] == NOWHERE)
				save(m, i);
		announce(m);
		break;
	case 2: /* a group comes in, or many in a row */
		for (uint64_t i = slot; i < slot + n; i++)
			check(m, i);
		store_io(m->s, false, slot, n);
		break;
	case 3:
		for (uint64_t i = slot; i < slot + n; i++)
			drop(m, i);
		break;
	default:
		if (m->place[slot] != TIER && m->place[slot] != PATCH)
			break;
		must(!store_write_back(m->s, slot));
		m->place[slot] = DEVICE;
		queue(m, slot);
	}
}

static const struct {
	const char *compressor;
	bool buffered, plain, kernel;
	unsigned cluster;
} kinds[] = {
	{ "lz4", false, false, false, 3 },  { "zstd", false, true, false, 3 }, { "table", true, false, false, 0 },
	{ "none", true, true, false, 10 }, { "lz4", true, false, false, 5 },  { "lz4", false, false, true, 3 },
};

/* The host's own swap is needed for a while: one on zram. */
static struct zram *some_swap(void)
{
	const char *why;
	struct zram *z = zram_new(64 << 20, 0, &why);

	if (!z)
		printf("SKIP: engine = kernel: %s\n", why);
	return z;
}

/* What if pages go and come in any order, in all the ways there are? What comes is what went. */
START_TEST(random_operations)
{
	struct store_config cfg = config_of(kinds[_i].compressor);
	struct model *m = g_new0(struct model, 1);
	struct store_stats st;
	struct zram *z = NULL;
	uint64_t tier = 0;

	rng_seed(&m->rng, 100 + (uint64_t)_i);
	random_page(&m->rng, (uint64_t *)m->reference);
	cfg.buffered = kinds[_i].buffered;
	cfg.plain = kinds[_i].plain;
	cfg.cluster = kinds[_i].cluster;
	cfg.read_frame = read_reference;
	cfg.ctx = m;
	cfg.kernel = kinds[_i].kernel;
	if (cfg.kernel) {
		z = some_swap();
		if (!z)
			return;
	}
	m->s = must_new(&cfg);
	for (unsigned i = 0; i < OPERATIONS / 20; i++)
		step(m);
	announce(m);
	store_flush(m->s);
	if (cfg.kernel) {
		store_io(m->s, false, 0, SLOTS); /* what was read is pushed out again */
		store_stats(m->s, &st);
		must(st.kept < SLOTS / 20);
	}
	for (uint64_t slot = 0; slot < SLOTS; slot++) {
		check(m, slot);
		tier += m->place[slot] == TIER || m->place[slot] == PATCH;
	}
	store_stats(m->s, &st);
	must_eq(st.tier_pages, tier);
	must_eq(st.lost, 0);
	must(st.writes && st.reads && st.pages_read >= st.reads && st.pages_written >= st.writes);
	must(!cfg.plain || !st.ring);
	for (uint64_t slot = 0; slot < SLOTS; slot++) {
		drop(m, slot);
		g_free(m->page[slot]);
	}
	store_stats(m->s, &st);
	must(!st.tier_pages && !st.tier_bytes);
	store_free(m->s);
	g_free(m);
	if (z)
		zram_free(z);
}
END_TEST

static void fill_slots(struct store *s, uint64_t n)
{
	uint64_t page[PAGE_SIZE / 8] = { 0 };

	for (uint64_t slot = 0; slot < n; slot++) {
		page[0] = slot;
		must(!store_save(s, slot, page, true));
		if (slot % 64 == 63 || slot + 1 == n)
			store_io(s, true, slot & ~63ull, slot % 64 + 1);
	}
}

/* What if more is written than there are buffers, and then dropped and written again while it is in flight? */
START_TEST(rewritten_in_flight)
{
	struct store_config cfg = config_of("lz4");
	struct store *s = must_new(&cfg);
	uint64_t page[PAGE_SIZE / 8] = { 0 };

	for (unsigned round = 0; round < 20; round++) {
		for (uint64_t slot = 0; slot < 700; slot++) {
			page[0] = page[511] = round * 1000 + slot;
			must(!store_save(s, slot, page, true));
			if (slot % 16 == 15)
				store_io(s, true, slot - 15, 16);
			if (slot % 3 == 0)
				store_drop(s, slot);
		}
		for (uint64_t slot = 0; slot < 700; slot++) {
			if (slot % 3 == 0)
				continue;
			must(!store_load(s, slot, page, true));
			must(page[0] == round * 1000 + slot && page[511] == page[0]);
		}
	}
	store_free(s);
}
END_TEST

/* What if pages are read in turn? They come many at once; at random with no readahead: one by one. */
START_TEST(streams)
{
	struct store_config cfg = config_of("lz4");
	struct store *s = must_new(&cfg);
	uint64_t page[PAGE_SIZE / 8];
	struct store_stats st;

	fill_slots(s, SLOTS);
	store_flush(s);
	for (uint64_t slot = 0; slot < SLOTS; slot++) {
		must(!store_load(s, slot, page, true));
		must_eq(page[0], slot);
	}
	store_stats(s, &st);
	must_eq(st.pages_read, SLOTS);
	must(st.reads <= 24); /* 3,000 pages: three reads that grow, then 256 each; each 256 if all is synchronous */
	store_free(s);

	cfg.cluster = 0;
	s = must_new(&cfg);
	fill_slots(s, 256);
	store_flush(s);
	for (uint64_t slot = 0; slot < 256; slot++)
		must(!store_load(s, slot, page, true) && page[0] == slot);
	store_stats(s, &st);
	must(st.reads == 256 && st.pages_read == 256 && !st.ahead_hits);
	store_free(s);
}
END_TEST

static uint64_t clock_of(void *ctx)
{
	return *(uint64_t *)ctx;
}

/* What if it is told to fail? As often as it is told, of pages that have to do with the device, by the seed. */
START_TEST(injected_faults)
{
	struct store_config cfg = config_of("zstd");
	uint64_t page[PAGE_SIZE / 8] = { 0 }, now = 0, failed = 0;
	struct rng fate;
	struct store *s;

	cfg.faults = (struct disk_faults){ .read_ppm = 100000, .write_ppm = 300000, .fails_at = 1000 };
	cfg.seed = 9;
	cfg.now = clock_of;
	cfg.ctx = &now;
	s = must_new(&cfg);
	rng_seed(&fate, rng_mix(9 + 2));
	for (uint64_t slot = 0; slot < SLOTS; slot++) {
		bool lost = rng_below(&fate, 1000000) < 300000, next;

		page[0] = slot;
		must_eq(store_save(s, slot, page, true), lost ? -EIO : 0);
		failed += lost;
		/* In memory nothing fails. */
		if (lost)
			must(!store_save(s, slot, page, false) && !store_load(s, slot, page, false));
		next = rng_below(&fate, 1000000) < (lost ? 300000 : 100000);
		must_eq(lost ? store_write_back(s, slot) : store_load(s, slot, page, true), next ? -EIO : 0);
		/* What failed changed nothing. */
		must(!store_peek(s, slot, page) && page[0] == slot);
	}
	must(failed > SLOTS / 4 && failed < SLOTS / 3);
	now = 1000;
	must_eq(store_save(s, 5, page, true), -EIO);
	must_eq(store_save(s, 5, page, false), 0);
	must_eq(store_write_back(s, 5), -EIO);
	must_eq(store_load(s, 5, page, false), 0);
	store_free(s);
}
END_TEST

static void quiet(const char *domain, GLogLevelFlags level, const char *message, void *count)
{
	(void)domain;
	(void)level;
	*(unsigned *)count += strstr(message, "swap file") != NULL;
}

/* A file system of 2 MiB in memory, in a mount namespace of this process alone; NULL: this host does not let us. */
static char *small_disk(void)
{
	char *dir = g_dir_make_tmp("overbook-store-XXXXXX", NULL);

	if (!unshare(CLONE_NEWNS) && !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	    !mount("none", dir, "tmpfs", 0, "size=2m"))
		return dir;
	g_rmdir(dir);
	g_free(dir);
	return NULL;
}

/* What if the simulator is asked for the size of the same page? It says the same. */
START_TEST(sizes)
{
	struct store_config cfg = config_of(compressors[_i]->name);
	struct compress *c = compress_new(compressors[_i]);
	struct store *s = must_new(&cfg);
	uint64_t page[PAGE_SIZE / 8];
	struct rng rng;

	rng_seed(&rng, 4);
	for (unsigned i = 0; i < 600; i++) {
		unsigned family = i % (PATTERN_FAMILIES + 1);
		struct pattern p = { 0, rng_u64(&rng) };

		if (family == PATTERN_FAMILIES)
			p.base = 0xaaaaaaaaaaaaaaaaull;
		else if (family)
			p.base = PATTERN_BASE(family, rng_below(&rng, 5000));
		pattern_fill(p, page);
		must_eq(store_compressed_size(s, page), compress_pattern(c, p));
	}
	page[1] = PATTERN_BASE(PATTERN_TEXT, 3);
	page[2] = 12345;
	must_eq(store_compressed_size(s, page), compress_bytes(c, page));
	compress_free(c);
	store_free(s);
}
END_TEST

/* What if the disk is full? At the start: a message. Later: the page is lost, who needs it gets an I/O error. */
START_TEST(full_disk)
{
	struct store_config cfg = config_of("lz4");
	g_autoptr(GError) error = NULL;
	uint64_t page[PAGE_SIZE / 8] = { 1 };
	char *dir = small_disk(), *path, *chunk;
	unsigned told = 0, lost = 0;
	struct store_stats st;
	struct store *s;

	if (!dir) {
		printf("SKIP: full_disk: no mount namespace (not root)\n");
		return;
	}
	cfg.directory = dir;
	ck_assert_ptr_null(store_new(&cfg, &error));
	ck_assert(g_error_matches(error, VMM_ERROR, VMM_LACKS));
	ck_assert_ptr_nonnull(strstr(error->message, dir));

	cfg.nslots = 256;
	cfg.plain = _i;
	s = must_new(&cfg);
	path = g_build_filename(dir, "others", NULL);
	chunk = g_malloc0(1536 << 10);
	ck_assert(g_file_set_contents(path, chunk, 1536 << 10, NULL));
	g_log_set_handler("kvm", G_LOG_LEVEL_WARNING, quiet, &told);
	fill_slots(s, 256);
	store_flush(s);
	for (uint64_t slot = 0; slot < 256; slot++) {
		int err = store_load(s, slot, page, true);

		must(err == 0 ? page[0] == slot : err == -EIO);
		lost += err == -EIO;
	}
	store_stats(s, &st);
	must_eq(st.lost, lost);
	must(lost > 100 && lost < 256 && told == 1);
	/* A lost slot is as good as any once there is room. */
	g_unlink(path);
	fill_slots(s, 256);
	store_flush(s);
	for (uint64_t slot = 0; slot < 256; slot++)
		must(!store_load(s, slot, page, true) && page[0] == slot);
	store_free(s);
	umount(dir);
	g_rmdir(dir);
	g_free(path);
	g_free(chunk);
	g_free(dir);
}
END_TEST

/* What if the directory is not there, or there are too many slots? A message that says so. */
START_TEST(refused)
{
	struct store_config cfg = config_of("lz4");
	g_autoptr(GError) error = NULL;

	cfg.directory = "/nowhere/at all";
	ck_assert_ptr_null(store_new(&cfg, &error));
	ck_assert(g_error_matches(error, VMM_ERROR, VMM_LACKS));
	ck_assert_ptr_nonnull(strstr(error->message, "/nowhere/at all"));
	g_clear_error(&error);
	cfg = config_of("lz4");
	cfg.kernel = true;
	cfg.nslots = UINT32_MAX - 2;
	ck_assert_ptr_null(store_new(&cfg, &error));
	ck_assert(g_error_matches(error, VMM_ERROR, VMM_LACKS));
	ck_assert_ptr_nonnull(strstr(error->message, "engine = kernel"));
}
END_TEST

/* What if the kernel has no io_uring? System calls do. */
START_TEST(without_ring)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { G_N_ELEMENTS(code), code };
	struct store_config cfg = config_of("lz4");
	uint64_t page[PAGE_SIZE / 8];
	struct store_stats st;
	struct store *s;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) {
		printf("SKIP: without_ring: no seccomp\n");
		return;
	}
	s = must_new(&cfg);
	store_stats(s, &st);
	must(!st.ring);
	fill_slots(s, SLOTS);
	for (uint64_t slot = 0; slot < SLOTS; slot++)
		must(!store_load(s, slot, page, true) && page[0] == slot);
	store_free(s);
}
END_TEST

/* What if the process dies? The file has no name, so nothing is left. */
START_TEST(nameless)
{
	g_autofree char *dir = g_dir_make_tmp("overbook-store-XXXXXX", NULL);
	struct store_config cfg = config_of("lz4");
	struct store *s;

	cfg.directory = dir;
	s = must_new(&cfg);
	ck_assert_int_eq(g_rmdir(dir), 0);
	fill_slots(s, 100);
	store_free(s);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store");
	TCase *t = tcase_create("store");

	tcase_set_timeout(t, 60); /* it waits for a device that others use too */
	tcase_add_loop_test(t, random_operations, 0, G_N_ELEMENTS(kinds));
	tcase_add_test(t, rewritten_in_flight);
	tcase_add_test(t, streams);
	tcase_add_test(t, injected_faults);
	tcase_add_loop_test(t, sizes, 0, 3);
	tcase_add_loop_test(t, full_disk, 0, 2);
	tcase_add_test(t, refused);
	tcase_add_test(t, without_ring);
	tcase_add_test(t, nameless);
	suite_add_tcase(s, t);
	return suite_run(s);
}
