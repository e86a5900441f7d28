/* SPDX-License-Identifier: MIT */
/*
 * store.c - the bytes of swapped pages: a tier in memory before a file
 *
 * Problem: the memory manager names a swapped page by its slot and says whether it is on the device or compressed in
 * memory; somebody must hold the bytes.
 *
 * Idea. A compressed page is a *blob* in memory of its own (store_blobs.c), whose address is the slot's word. A patch
 * is a blob that begins with the frame it refers to. All else is in the file (store_file.c). What was compressed last
 * is kept, with the page it was made of: the memory manager asks for a page's size, decides, and then saves the same
 * bytes, unless the guest has written them meanwhile, which the comparison tells.
 *
 * Errors on purpose are drawn here, one each for a page that goes to the device or comes from there, in the order of
 * the calls: the same as the simulator's disk draws (disk_fails), so that runs in lockstep agree.
 *
 * Invariants (tests/unit/test_store.c): a slot has a blob or is in the file, never both; what is loaded is what was
 * saved.
 */
#define G_LOG_DOMAIN "kvm"
#include <errno.h>
#include <string.h>

#include "mm/err.h"
#include "mm/lazy.h"
#include "mm/patch.h"
#include "vmm/kvm/store_impl.h"
#include "vmm/vmm.h"
#include "workloads/rng.h"

struct blob {
	uint16_t nbytes; /* of data */
	bool patched;	 /* data begins with an hfn_t */
	uint8_t data[];
};

struct store {
	struct store_config cfg;
	struct store_file *file;     /* either this or the other */
	struct store_kernel *kernel;
	void *codec; /* ctx of cfg.compressor */
	struct patcher *patcher; /* NULL: not needed yet */
	struct blobs *blobs;	 /* of the blobs */
	struct blob **blob;	 /* [nslots], lazily backed */
	struct disk fate; /* only what it has to say of faults */
	uint64_t tier_pages, tier_bytes;

	/* What was compressed last. */
	unsigned packed; /* 0: nothing */
	uint8_t page[PAGE_SIZE], out[COMPRESSED_MAX];
};

_Static_assert(COMPRESSED_MAX >= PATCH_MAX, "room for any patch");

void store_config_read(struct store_config *cfg, const struct conf_swap *c, uint64_t seed)
{
	*cfg = (struct store_config){
		.nslots = c->size / PAGE_SIZE,
		.compressor = compressors[c->compressor],
		.directory = c->directory,
		.buffered = !c->direct,
		.kernel = c->engine == SWAP_ENGINE_KERNEL,
		.cluster = (unsigned)c->page_cluster,
		.faults = { (uint32_t)c->read_error_ppm, (uint32_t)c->write_error_ppm, c->fails_at_ns },
		.seed = seed,
	};
}

struct store *store_new(const struct store_config *cfg, GError **error)
{
	struct store *s = g_new0(struct store, 1);

	g_assert(cfg->nslots && cfg->nslots < SLOT_DEVICE);
	s->cfg = *cfg;
	s->cfg.directory = NULL;
	s->cfg.compressor = cfg->compressor ? cfg->compressor : &compressor_none;
	s->codec = compressor_open(s->cfg.compressor);
	s->blobs = blobs_new();
	s->blob = lazy_new(cfg->nslots * sizeof(struct blob *));
	disk_break(&s->fate, &cfg->faults, rng_mix(cfg->seed + 2));
	if (!s->blob)
		g_set_error(error, VMM_ERROR, VMM_FAILED,
			    "[swap] size: no address space for a table of %" PRIu64 " slots", cfg->nslots);
	else if (cfg->kernel)
		s->kernel = kernel_new(cfg, error);
	else
		s->file = file_new(cfg, error);
	if (s->file || s->kernel)
		return s;
	store_free(s);
	return NULL;
}

static void forget_blob(struct store *s, uint64_t slot)
{
	s->tier_pages--;
	s->tier_bytes -= s->blob[slot]->nbytes;
	blobs_give(s->blobs, s->blob[slot], sizeof(struct blob) + s->blob[slot]->nbytes);
	s->blob[slot] = NULL;
}

void store_free(struct store *s)
{
	if (!s)
		return;
	if (s->file)
		file_free(s->file);
	kernel_free(s->kernel);
	if (s->patcher)
		patcher_free(s->patcher);
	compressor_close(s->cfg.compressor, s->codec);
	blobs_free(s->blobs);
	lazy_free(s->blob, s->cfg.nslots * sizeof(struct blob *));
	g_free(s);
}

/* Is this page one that the device fails to read or write? */
static bool fails(struct store *s, bool write)
{
	return disk_fails(&s->fate, s->cfg.now ? s->cfg.now(s->cfg.ctx) : 0, write);
}

static int keep(struct store *s, uint64_t slot, const hfn_t *reference, const void *data, unsigned nbytes)
{
	unsigned head = reference ? sizeof(*reference) : 0;
	struct blob *b = blobs_take(s->blobs, (unsigned)sizeof(*b) + head + nbytes);

	if (!b)
		return ERR(-ENOMEM);
	b->nbytes = (uint16_t)(head + nbytes);
	b->patched = reference != NULL;
	if (reference)
		memcpy(b->data, reference, head);
	memcpy(b->data + head, data, nbytes);
	s->blob[slot] = b;
	s->tier_pages++;
	s->tier_bytes += b->nbytes;
	return 0;
}

static void pack(struct store *s, const void *page)
{
	if (s->packed && !memcmp(s->page, page, PAGE_SIZE))
		return;
	/* First the copy: the guest may be writing the page. */
	memcpy(s->page, page, PAGE_SIZE);
	s->packed = s->cfg.compressor->pack(s->codec, s->page, s->out);
}

/* A page made from a pattern has its base as word 1 and its stamp as word 0. */
static struct pattern pattern_of(const uint8_t *page)
{
	uint8_t made[PAGE_SIZE] __attribute__((aligned(8)));
	struct pattern p;

	memcpy(&p.stamp, page, 8);
	memcpy(&p.base, page + 8, 8);
	pattern_fill(p, made);
	return memcmp(made, page, PAGE_SIZE) ? (struct pattern){ PATTERN_BASE(PATTERN_BYTES, 0), 0 } : p;
}

unsigned store_compressed_size(struct store *s, const void *page)
{
	pack(s, page);
	return s->cfg.compressor->size ? s->cfg.compressor->size(pattern_of(s->page)) : s->packed;
}

static int to_device(struct store *s, uint64_t slot, const void *page)
{
	memcpy(s->kernel ? kernel_put(s->kernel, slot) : file_put(s->file, slot), page, PAGE_SIZE);
	return 0;
}

int store_save(struct store *s, uint64_t slot, const void *page, bool device)
{
	g_assert(slot < s->cfg.nslots);
	if (device && fails(s, true))
		return ERR(-EIO);
	store_drop(s, slot);
	if (device)
		return to_device(s, slot, page);
	pack(s, page);
	return keep(s, slot, NULL, s->out, s->packed);
}

static struct patcher *patcher(struct store *s)
{
	if (!s->patcher)
		s->patcher = patcher_new();
	return s->patcher;
}

static const uint8_t zeros[PAGE_SIZE];

unsigned store_patched_size(struct store *s, const void *page, const void *reference_bytes)
{
	uint8_t copy[PAGE_SIZE], out[PATCH_MAX];

	memcpy(copy, page, PAGE_SIZE);
	return patch_make(patcher(s), reference_bytes ? reference_bytes : zeros, copy, out);
}

int store_save_patch(struct store *s, uint64_t slot, const void *page, const void *reference_bytes, hfn_t reference)
{
	uint8_t out[PATCH_MAX];
	unsigned n = patch_make(patcher(s), reference_bytes ? reference_bytes : zeros, page, out);

	store_drop(s, slot);
	return keep(s, slot, &reference, out, n);
}

static int unpatch(struct store *s, const struct blob *b, void *page)
{
	uint8_t reference[PAGE_SIZE];
	hfn_t hfn;

	memcpy(&hfn, b->data, sizeof(hfn));
	if (hfn == HFN_NONE)
		memset(reference, 0, PAGE_SIZE);
	else if (s->cfg.read_frame)
		s->cfg.read_frame(s->cfg.ctx, hfn, reference);
	else
		return ERR(-EIO);
	return patch_apply(patcher(s), reference, b->data + sizeof(hfn), b->nbytes - (unsigned)sizeof(hfn), page) ?
		       ERR(-EIO) :
		       0;
}

static int unpack(struct store *s, const struct blob *b, void *page)
{
	return b->patched ? unpatch(s, b, page) : s->cfg.compressor->unpack(s->codec, b->data, b->nbytes, page);
}

int store_peek(struct store *s, uint64_t slot, void *page)
{
	g_assert(slot < s->cfg.nslots);
	if (s->blob[slot])
		return unpack(s, s->blob[slot], page);
	return s->kernel ? kernel_get(s->kernel, slot, page) : file_get(s->file, slot, page);
}

int store_load(struct store *s, uint64_t slot, void *page, bool device)
{
	g_assert(slot < s->cfg.nslots && device == !s->blob[slot]);
	if (device && fails(s, false))
		return ERR(-EIO);
	return store_peek(s, slot, page);
}

int store_write_back(struct store *s, uint64_t slot)
{
	uint8_t page[PAGE_SIZE];
	int err;

	g_assert(slot < s->cfg.nslots && s->blob[slot]);
	if (fails(s, true))
		return ERR(-EIO);
	err = unpack(s, s->blob[slot], page);
	if (err)
		return err;
	forget_blob(s, slot);
	return to_device(s, slot, page);
}

void store_drop(struct store *s, uint64_t slot)
{
	g_assert(slot < s->cfg.nslots);
	if (s->blob[slot])
		forget_blob(s, slot);
	else if (s->kernel)
		kernel_drop(s->kernel, slot);
	else
		file_drop(s->file, slot);
}

void store_io(struct store *s, bool write, uint64_t slot, uint64_t npages)
{
	if (s->kernel)
		kernel_push(s->kernel, write, slot, npages);
	else if (write)
		file_write(s->file, slot, npages);
}

void store_flush(struct store *s)
{
	if (s->file)
		file_flush(s->file);
}

void store_stats(const struct store *s, struct store_stats *out)
{
	if (s->kernel)
		kernel_stats(s->kernel, out);
	else
		*out = s->file->stats;
	out->tier_pages = s->tier_pages;
	out->tier_bytes = s->tier_bytes;
}
