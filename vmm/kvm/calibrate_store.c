/* SPDX-License-Identifier: MIT */
/* calibrate_store.c - what a page costs on its way back from the store of swapped pages: compressed tier and file */
#include <string.h>

#include "vmm/calibrate.h"
#include "vmm/kvm/store.h"
#include "workloads/pattern.h"
#include "workloads/rng.h"

static void measure(struct calibration *c, enum measure m, const char *compressor, bool device, bool in_order)
{
	const uint64_t n = c->quick ? 256 : 2048;
	const struct store_config cfg = {
		.nslots = n, .compressor = compressor_find(compressor), .cluster = in_order ? 3 : 0
	};
	double ns[CALIBRATE_ROUNDS];
	uint8_t page[PAGE_SIZE];
	GError *error = NULL;
	struct store *s = store_new(&cfg, &error);
	int err = 0;

	if (!s) {
		measured_lacks(c, m, error->message);
		g_error_free(error);
		return;
	}
	for (uint64_t i = 0; i < n && !err; i++) {
		pattern_fill((struct pattern){ PATTERN_BASE(PATTERN_TEXT, i), i }, page);
		err = store_save(s, i, page, device);
	}
	if (device && !err) {
		store_io(s, true, 0, n);
		store_flush(s);
	}
	for (unsigned r = 0; r < c->rounds && !err; r++) {
		uint64_t reads = device && !in_order ? n / 8 : n;
		double begin = calibrate_now();

		for (uint64_t i = 0; i < reads && !err; i++)
			err = store_load(s, in_order ? i : rng_mix(i + r * reads) % n, page, device);
		ns[r] = (calibrate_now() - begin) / (double)reads;
	}
	if (err)
		measured_lacks(c, m, g_strerror(-err));
	else
		measured_set(c, m, ns, c->rounds);
	store_free(s);
}

void calibrate_store(struct calibration *c)
{
	measure(c, M_TIER_LZ4, "lz4", false, false);
	measure(c, M_TIER_ZSTD, "zstd", false, false);
	measure(c, M_FILE, "none", true, false);
	measure(c, M_FILE_NEXT, "none", true, true);
}
