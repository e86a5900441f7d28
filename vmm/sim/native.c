/* SPDX-License-Identifier: MIT */
/*
 * native.c - no virtualization at all: the baseline of every ratio
 *
 * The VM is linear (mm/gmem.h): one contiguous run of frames, resident from the start, so the processor can walk the
 * guest's own tables if it adds one constant, mmu_context.bias, to every address in them. The VMM builds nothing,
 * gmem takes nothing away, and each fault is the guest's own.
 */
#define G_LOG_DOMAIN "sim"
#include "vmm/sim/native.h"

#include <glib.h>
#include <string.h>

#include "mm/err.h"

struct native {
	struct paging base;
	struct gmem *gmem;
	const struct guest_regs **regs; /* [nvcpus] */
	hpa_t bias;
};

static struct paging *native_create(const struct paging_config *cfg)
{
	struct gmem_page page;
	struct native *n;
	int err = gmem_config(cfg->gmem)->linear ? gmem_lookup(cfg->gmem, 0, &page) : ERR(-EINVAL);

	if (err) {
		errno = -err;
		return NULL;
	}
	n = g_new0(struct native, 1);
	n->base.ops = &native_paging_ops;
	n->gmem = cfg->gmem;
	n->regs = g_new(const struct guest_regs *, cfg->nvcpus);
	memcpy(n->regs, cfg->regs, cfg->nvcpus * sizeof(*n->regs));
	n->bias = page.hfn << PAGE_SHIFT;
	return &n->base;
}

static void native_destroy(struct paging *p)
{
	g_free(((struct native *)p)->regs);
	g_free(p);
}

hpa_t native_bias(const struct paging *p)
{
	return ((const struct native *)p)->bias;
}

static enum paging_verdict native_fault(struct paging *p, struct paging_fault *f, int *err)
{
	(void)p, (void)f;
	*err = 0;
	return PAGING_INJECT;
}

static int native_guest_write(struct paging *p, unsigned vcpu, gpa_t gpa, const void *data, unsigned len)
{
	(void)p, (void)vcpu, (void)gpa, (void)data, (void)len;
	return ERR(-EINVAL); /* nothing is ever traced */
}

static void native_guest_event(struct paging *p, unsigned vcpu, enum guest_event ev, uint64_t arg)
{
	(void)p, (void)vcpu, (void)ev, (void)arg;
}

static int native_hw_root(struct paging *p, unsigned vcpu, hpa_t *root)
{
	struct native *n = (struct native *)p;

	*root = n->bias + (n->regs[vcpu]->cr3 & PTE_ADDR);
	return 0;
}

/* gmem refuses whatever would lead to these: a linear VM keeps its frames, writable, for life. */
static void native_range(struct paging *p, gfn_t gfn, uint64_t npages)
{
	(void)p, (void)gfn, (void)npages;
}

static bool native_test_clear_young(struct paging *p, gfn_t gfn)
{
	(void)p, (void)gfn;
	return false;
}

static uint64_t native_table_frames(const struct paging *p)
{
	(void)p;
	return 0;
}

static int native_verify(struct paging *p)
{
	struct native *n = (struct native *)p;
	uint64_t npages = gmem_config(n->gmem)->npages;
	struct gmem_page page;

	for (gfn_t gfn = 0; gfn < npages; gfn++)
		if (gmem_lookup(n->gmem, gfn, &page) || page.hfn != (n->bias >> PAGE_SHIFT) + gfn ||
		    !(page.access & ACC_W)) {
			g_warning("gfn %#lx is not where a linear guest has it", (unsigned long)gfn);
			return -EUCLEAN;
		}
	return 0;
}

const struct paging_ops native_paging_ops = {
	.name = "native",
	.summary = "No virtualization: the guest's tables are the processor's, and its memory is one run of frames.",
	.create = native_create,
	.destroy = native_destroy,
	.fault = native_fault,
	.guest_write = native_guest_write,
	.guest_event = native_guest_event,
	.hw_root = native_hw_root,
	.unmap = native_range,
	.wrprotect = native_range,
	.test_clear_young = native_test_clear_young,
	.table_frames = native_table_frames,
	.verify = native_verify,
};
