/* SPDX-License-Identifier: MIT */
/*
 * content.c - reading, comparing, swapping the bytes of real guests' pages
 *
 * Order and equality of pages are those of the simulator, so that trees of pages have the same shape there and here:
 * a page is 512 words, and the first that differs decides. (There, a pattern's stamp is word 0 and its base word 1.)
 * The bytes are reached in a way that never faults on the guest's side: no hook here waits for anybody.
 *
 * Invariants: equal bytes compare as 0 and have one checksum (tests/guest/test_kvm_memory.c: merging); what load()
 * brings is what save() was given (integrity).
 */
#include "vmm/kvm/content.h"

#include <string.h>
#include <xxhash.h>

#include "vmm/kvm/kvm.h"
#include "vmm/kvm/store.h"

static const uint8_t zeros[PAGE_SIZE];

static struct kvm_machine *to_kvm(struct machine *m)
{
	return (struct kvm_machine *)m;
}

static const uint8_t *bytes(struct machine *m, hfn_t hfn)
{
	return hfn == HFN_NONE ? zeros : to_kvm(m)->bytes(to_kvm(m), hfn);
}

static uint64_t word(const uint8_t *page, unsigned i)
{
	uint64_t w;

	memcpy(&w, page + i * 8, 8);
	return w;
}

int kvm_content_compare(struct machine *m, hfn_t a, hfn_t b)
{
	const uint8_t *x = bytes(m, a), *y = bytes(m, b);
	unsigned i = 0;

	if (x == y || !memcmp(x, y, PAGE_SIZE))
		return 0;
	while (i < PAGE_SIZE / 8 - 1 && word(x, i) == word(y, i))
		i++;
	/* A guest may write one of them meanwhile. */
	return word(x, i) < word(y, i) ? -1 : 1;
}

uint64_t kvm_content_checksum(struct machine *m, hfn_t hfn)
{
	return XXH3_64bits(bytes(m, hfn), PAGE_SIZE);
}

uint64_t kvm_content_block_checksum(struct machine *m, hfn_t hfn, unsigned offset)
{
	return XXH3_64bits(bytes(m, hfn) + offset, MACHINE_BLOCK);
}

int kvm_content_read(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, unsigned offset, void *buf, unsigned len)
{
	(void)vm, (void)gfn;
	memcpy(buf, bytes(m, hfn) + offset, len);
	return 0;
}

int kvm_content_write(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, unsigned offset, const void *buf,
		      unsigned len)
{
	(void)vm, (void)gfn;
	memcpy(to_kvm(m)->bytes(to_kvm(m), hfn) + offset, buf, len);
	return 0;
}

int kvm_content_save(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, uint64_t slot, bool device)
{
	(void)vm, (void)gfn;
	return store_save(to_kvm(m)->store, slot, bytes(m, hfn), device);
}

int kvm_content_load(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, uint64_t slot, bool device)
{
	(void)vm, (void)gfn;
	return store_load(to_kvm(m)->store, slot, to_kvm(m)->bytes(to_kvm(m), hfn), device);
}

int kvm_content_write_back(struct machine *m, uint64_t slot)
{
	return store_write_back(to_kvm(m)->store, slot);
}

void kvm_content_drop(struct machine *m, uint64_t slot)
{
	store_drop(to_kvm(m)->store, slot);
}

int kvm_content_peek(struct machine *m, uint64_t slot, void *page)
{
	return store_peek(to_kvm(m)->store, slot, page);
}

int kvm_content_save_patch(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, hfn_t reference, uint64_t slot)
{
	(void)vm, (void)gfn;
	return store_save_patch(to_kvm(m)->store, slot, bytes(m, hfn), bytes(m, reference), reference);
}

unsigned kvm_content_patched_size(struct machine *m, hfn_t hfn, hfn_t reference)
{
	return store_patched_size(to_kvm(m)->store, bytes(m, hfn), bytes(m, reference));
}

/* A host without swap has no compressor: there it is the patch against zeros, as in the simulator. */
unsigned kvm_content_compressed_size(struct machine *m, hfn_t hfn)
{
	if (!to_kvm(m)->run->e->swap.size)
		return store_patched_size(to_kvm(m)->store, bytes(m, hfn), zeros);
	return store_compressed_size(to_kvm(m)->store, bytes(m, hfn));
}

void kvm_content_swap_io(struct machine *m, bool write, uint64_t slot, uint64_t npages)
{
	store_io(to_kvm(m)->store, write, slot, npages);
}

/* Real time is spent, not modelled. */
void kvm_content_charge(struct machine *m, unsigned vm, enum charge_kind kind, uint64_t n)
{
	(void)m, (void)vm, (void)kind, (void)n;
}

uint64_t kvm_content_now(struct machine *m)
{
	const struct kvm_machine *k = to_kvm(m);

	return k->free && k->start_ns ? kvm_clock_ns() - k->start_ns : k->now_ns;
}

static uint64_t store_now(void *ctx)
{
	return kvm_content_now(ctx);
}

static void read_frame(void *ctx, hfn_t hfn, void *page)
{
	memcpy(page, bytes(ctx, hfn), PAGE_SIZE);
}

gboolean kvm_content_init(struct kvm_machine *m, GError **error)
{
	const struct experiment *e = m->run->e;
	struct store_config cfg = { 0 };

	if (!e->swap.size && !e->dedup.potential)
		return TRUE;
	store_config_read(&cfg, &e->swap, m->run->seed);
	/* Sizes are asked for without a device, too; then nothing is ever saved. */
	if (!e->swap.size) {
		cfg.nslots = 1;
		cfg.compressor = &compressor_none;
	}
	cfg.now = store_now;
	cfg.read_frame = read_frame;
	cfg.ctx = m;
	m->store = store_new(&cfg, error);
	return m->store != NULL;
}

void kvm_content_destroy(struct kvm_machine *m)
{
	store_free(m->store);
	m->store = NULL;
}
