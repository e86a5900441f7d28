/* SPDX-License-Identifier: MIT */
/*
 * machine.c - the simulated machine as the memory manager sees it: contents of frames, and time
 *
 * Problem. Hosts larger than the real one: what guests write must be there when it is read, copied, compared or hashed,
 * without 4 KiB of real memory for each page.
 *
 * Contents. Each host frame has a 16-byte pattern (workloads/pattern.h); word 0 of a page is always the pattern's
 * stamp. A frame of family BYTES has its words 1 to 511 in the host's byte region; a pattern becomes bytes the first
 * time somebody writes anything else than a stamp. Arenas are bytes from the start, word 0 included, and never have a
 * stamp, because no process stores there.
 *
 * Time. charge() prices what the memory manager did with the profile and bills the vCPU that is running.
 */
#include <string.h>
#include <xxhash.h>

#include "mm/lazy.h"
#include "vmm/guest_counts.h"
#include "vmm/sim/future.h"
#include "vmm/sim/sim.h"
#include "vmm/sim/swap.h"
#include "vmm/sim/truth.h"

static struct sim *to_sim(struct machine *m)
{
	return (struct sim *)m;
}

static bool in_arena(struct sim *s, unsigned vm, gfn_t gfn)
{
	return gfn < gmem_config(s->vms[vm]->gmem)->arena_pages;
}

static int sim_populate(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, uint64_t npages)
{
	struct sim *s = to_sim(m);

	(void)vm;
	(void)gfn;
	for (uint64_t i = 0; i < npages; i++) {
		/* Frames come zeroed; do not touch the record of one that was never used. */
		if (s->content[hfn + i].base | s->content[hfn + i].stamp)
			s->content[hfn + i] = (struct pattern){ 0, 0 };
	}
	return 0;
}

static void drop_bytes(struct sim *s, hfn_t hfn)
{
	if (PATTERN_FAMILY(s->content[hfn].base) == PATTERN_BYTES)
		lazy_clear(frames_bytes(s->frames) + hfn * PAGE_SIZE, PAGE_SIZE);
}

static void sim_release(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, uint64_t npages)
{
	struct sim *s = to_sim(m);

	(void)vm;
	(void)gfn;
	for (uint64_t i = 0; i < npages; i++) {
		drop_bytes(s, hfn + i);
		s->content[hfn + i] = (struct pattern){ 0, 0 };
	}
}

void sim_copy_content(struct sim *s, hfn_t to, hfn_t from)
{
	uint8_t *bytes = frames_bytes(s->frames);

	if (PATTERN_FAMILY(s->content[from].base) == PATTERN_BYTES)
		memcpy(bytes + to * PAGE_SIZE, bytes + from * PAGE_SIZE, PAGE_SIZE);
	s->content[to] = s->content[from];
}

static int sim_move(struct machine *m, unsigned vm, gfn_t gfn, hfn_t from, hfn_t to)
{
	struct sim *s = to_sim(m);

	(void)vm;
	(void)gfn;
	sim_copy_content(s, to, from);
	drop_bytes(s, from);
	s->content[from] = (struct pattern){ 0, 0 };
	return 0;
}

static int sim_share(struct machine *m, unsigned vm, gfn_t gfn, hfn_t from, hfn_t to)
{
	if (from != to)
		sim_release(m, vm, gfn, from, 1);
	return 0;
}

static int sim_unshare(struct machine *m, unsigned vm, gfn_t gfn, hfn_t from, hfn_t to)
{
	(void)vm;
	(void)gfn;
	sim_copy_content(to_sim(m), to, from);
	return 0;
}

/* HFN_NONE: zeros. */
static struct pattern pattern_of(const struct sim *s, hfn_t hfn)
{
	return hfn == HFN_NONE ? (struct pattern){ 0, 0 } : s->content[hfn];
}

void sim_page_bytes(struct sim *s, hfn_t hfn, uint64_t *page)
{
	struct pattern c = pattern_of(s, hfn);

	if (PATTERN_FAMILY(c.base) != PATTERN_BYTES) {
		pattern_fill(c, page);
		return;
	}
	memcpy(page, frames_bytes(s->frames) + hfn * PAGE_SIZE, PAGE_SIZE);
	page[0] = c.stamp;
}

bool sim_all_words(struct sim *s, hfn_t hfn, uint64_t word)
{
	uint64_t page[PAGE_SIZE / 8];
	unsigned i = 0;

	sim_page_bytes(s, hfn, page);
	while (i < PAGE_SIZE / 8 && page[i] == word)
		i++;
	return i == PAGE_SIZE / 8;
}

/* Word 1 of a page that is made from a pattern is its base (workloads/pattern.h), so two words order patterns. */
static int sim_compare(struct machine *m, hfn_t a, hfn_t b)
{
	struct sim *s = to_sim(m);
	struct pattern x = pattern_of(s, a), y = pattern_of(s, b);
	uint64_t pa[PAGE_SIZE / 8], pb[PAGE_SIZE / 8];
	unsigned i = 1;

	if (a == b)
		return 0;
	if (x.stamp != y.stamp)
		return x.stamp < y.stamp ? -1 : 1;
	if (PATTERN_FAMILY(x.base) != PATTERN_BYTES && PATTERN_FAMILY(y.base) != PATTERN_BYTES)
		return (x.base > y.base) - (x.base < y.base);
	sim_page_bytes(s, a, pa);
	sim_page_bytes(s, b, pb);
	while (i < PAGE_SIZE / 8 && pa[i] == pb[i])
		i++;
	return i == PAGE_SIZE / 8 ? 0 : pa[i] < pb[i] ? -1 : 1;
}

/* Bytes that some pattern would make have that pattern's checksum. */
static uint64_t sim_checksum(struct machine *m, hfn_t hfn)
{
	struct sim *s = to_sim(m);
	struct pattern c = pattern_of(s, hfn);
	uint64_t page[PAGE_SIZE / 8], made[PAGE_SIZE / 8];

	if (PATTERN_FAMILY(c.base) == PATTERN_BYTES) {
		sim_page_bytes(s, hfn, page);
		c.base = page[1];
		pattern_fill(c, made);
		if (memcmp(page, made, PAGE_SIZE))
			return XXH3_64bits(page, PAGE_SIZE);
	}
	return XXH3_64bits(&c, sizeof(c));
}

static uint64_t sim_block_checksum(struct machine *m, hfn_t hfn, unsigned offset)
{
	struct sim *s = to_sim(m);
	struct pattern c = pattern_of(s, hfn);
	uint64_t word[MACHINE_BLOCK / 8];

	if (PATTERN_FAMILY(c.base) == PATTERN_BYTES)
		memcpy(word, frames_bytes(s->frames) + hfn * PAGE_SIZE + offset, MACHINE_BLOCK);
	else
		for (unsigned i = 0; i < MACHINE_BLOCK / 8; i++)
			word[i] = pattern_word(c, offset / 8 + i);
	if (!offset)
		word[0] = c.stamp;
	return XXH3_64bits(word, MACHINE_BLOCK);
}

static int sim_read(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, unsigned offset, void *buf, unsigned len)
{
	struct sim *s = to_sim(m);
	uint64_t page[PAGE_SIZE / 8];

	if (in_arena(s, vm, gfn)) {
		memcpy(buf, frames_bytes(s->frames) + hfn * PAGE_SIZE + offset, len);
		return 0;
	}
	if (s->vms[vm]->truth)
		truth_touch(s->vms[vm]->truth, gfn);
	sim_page_bytes(s, hfn, page);
	memcpy(buf, (uint8_t *)page + offset, len);
	if (s->running)
		sim_future_use(s, vm, gfn);
	return 0;
}

static int sim_write(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, unsigned offset, const void *buf,
		     unsigned len)
{
	struct sim *s = to_sim(m);
	uint8_t *bytes = frames_bytes(s->frames) + hfn * PAGE_SIZE;
	uint64_t page[PAGE_SIZE / 8];

	if (in_arena(s, vm, gfn)) {
		memcpy(bytes + offset, buf, len);
		return 0;
	}
	if (s->vms[vm]->truth)
		truth_touch(s->vms[vm]->truth, gfn);
	sim_page_bytes(s, hfn, page);
	memcpy((uint8_t *)page + offset, buf, len);
	s->content[hfn] = (struct pattern){ PATTERN_BASE(PATTERN_BYTES, 0), page[0] };
	memcpy(bytes, page, PAGE_SIZE);
	if (s->running)
		sim_future_use(s, vm, gfn);
	return 0;
}

static void sim_take(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, struct page_content *out)
{
	struct sim *s = to_sim(m);

	(void)vm;
	(void)gfn;
	out->pattern = s->content[hfn];
	if (PATTERN_FAMILY(out->pattern.base) == PATTERN_BYTES)
		sim_page_bytes(s, hfn, out->words);
}

static void sim_put(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, const struct page_content *in)
{
	struct sim *s = to_sim(m);

	(void)vm;
	(void)gfn;
	s->content[hfn] = in->pattern;
	if (PATTERN_FAMILY(in->pattern.base) != PATTERN_BYTES)
		return;
	s->content[hfn].stamp = in->words[0];
	memcpy(frames_bytes(s->frames) + hfn * PAGE_SIZE, in->words, PAGE_SIZE);
}

static void sim_flush(struct machine *m, unsigned vm, enum flush_kind kind, uint64_t start, uint64_t n)
{
	struct sim *s = to_sim(m);
	struct sim_vm *v = s->vms[vm];
	unsigned vpid = vm + 1;

	for (unsigned i = 0; i < s->ncpus; i++) {
		struct sim_mmu *mmu = s->cpus[i].mmu;

		switch (kind) {
		case FLUSH_VM:
			mmu_flush_vm(mmu, vpid, &v->counters);
			break;
		case FLUSH_GPA:
			mmu_flush_gpa(mmu, vpid, start, n, &v->counters);
			break;
		case FLUSH_GVA:
			mmu_flush_gva(mmu, vpid, start, &v->counters);
			break;
		case FLUSH_SPACE:
			mmu_flush_space(mmu, &v->vcpu[0].ctx, (unsigned)start);
			break;
		}
	}
}

static void sim_charge(struct machine *m, unsigned vm, enum charge_kind kind, uint64_t n)
{
	struct sim *s = to_sim(m);
	const struct sim_profile *p = s->profile;
	bool fast = compress_kind(s->compress)->fast;
	const uint32_t price[CHARGE_KINDS] = {
		[CHARGE_POPULATE] = p->populate_cycles,	      [CHARGE_RELEASE] = p->release_cycles,
		[CHARGE_MOVE] = p->move_cycles,		      [CHARGE_TABLE_WRITE] = p->table_write_cycles,
		[CHARGE_TABLE_PAGE] = p->table_page_cycles, [CHARGE_GUEST_READ] = p->guest_read_cycles,
		[CHARGE_CHECKSUM] = p->checksum_cycles,	      [CHARGE_COMPARE] = p->compare_cycles,
		[CHARGE_MERGE] = p->merge_cycles,
		[CHARGE_COMPRESS] = fast ? p->lz4_compress_cycles : p->compress_cycles,
		[CHARGE_DECOMPRESS] = fast ? p->lz4_decompress_cycles : p->decompress_cycles,
	};
	bool memory = kind <= CHARGE_MOVE || kind == CHARGE_COMPRESS || kind == CHARGE_DECOMPRESS;

	(void)vm;
	if (s->job != HOST_JOBS)
		s->job_cycles[s->job] += price[kind] * n;
	else if (s->running)
		sim_spend(s->running, memory ? BUCKET_HOST_MEMORY : s->running->bucket, price[kind] * n);
}

static uint64_t sim_now(struct machine *m)
{
	struct sim *s = to_sim(m);

	if (s->run->e->experiment.schedule == SCHEDULE_LOCKSTEP || !s->running)
		return s->now_ns;
	return sim_cycles_to_ns(s, sim_clock(s->running));
}

static unsigned sim_node(struct machine *m, unsigned other)
{
	const struct sim_vcpu *v = to_sim(m)->running;

	return v && v->cpu ? v->cpu->node : other;
}

static const struct machine_ops sim_machine_ops = {
	.name = "sim",
	.populate = sim_populate,
	.release = sim_release,
	.move = sim_move,
	.share = sim_share,
	.unshare = sim_unshare,
	.compare = sim_compare,
	.checksum = sim_checksum,
	.block_checksum = sim_block_checksum,
	.read = sim_read,
	.write = sim_write,
	.take = sim_take,
	.put = sim_put,
	.save = sim_save,
	.save_patch = sim_save_patch,
	.patched_size = sim_patched_size,
	.load = sim_load,
	.write_back = sim_write_back,
	.drop = sim_drop,
	.peek = sim_peek,
	.compressed_size = sim_compressed_size,
	.swap_io = sim_swap_io,
	.flush = sim_flush,
	.charge = sim_charge,
	.now = sim_now,
	.node = sim_node,
};

uint64_t sim_cycles_to_ns(const struct sim *s, uint64_t cycles)
{
	return (uint64_t)((unsigned __int128)cycles * 1000 / s->profile->mhz);
}

uint64_t sim_ns_to_cycles(const struct sim *s, uint64_t ns)
{
	return (uint64_t)((unsigned __int128)ns * s->profile->mhz / 1000);
}

void sim_spend(struct sim_vcpu *v, enum bucket bucket, uint64_t cycles)
{
	v->cycles[bucket] += cycles;
	if (v->cpu)
		v->cpu->clock += cycles;
}

void sim_wait(struct sim_vcpu *v, uint64_t cycles)
{
	if (v->vm->sim->run->e->experiment.schedule == SCHEDULE_LOCKSTEP)
		sim_spend(v, BUCKET_SWAP, cycles);
	else
		v->waiting += cycles;
}

uint64_t sim_clock(const struct sim_vcpu *v)
{
	return v->cpu->clock + v->waiting;
}

/* The counter that each bucket becomes. */
static const size_t bucket_counter[BUCKETS] = {
	[BUCKET_WORK] = offsetof(struct counters, ns_work),
	[BUCKET_WALK] = offsetof(struct counters, ns_walk),
	[BUCKET_KERNEL] = offsetof(struct counters, ns_guest_kernel),
	[BUCKET_PAGE_FAULT] = offsetof(struct counters, ns_exit_page_fault),
	[BUCKET_TRACED_WRITE] = offsetof(struct counters, ns_exit_traced_write),
	[BUCKET_CR_WRITE] = offsetof(struct counters, ns_exit_cr_write),
	[BUCKET_INVLPG] = offsetof(struct counters, ns_exit_invlpg),
	[BUCKET_EPT] = offsetof(struct counters, ns_exit_ept),
	[BUCKET_HYPERCALL] = offsetof(struct counters, ns_exit_hypercall),
	[BUCKET_OTHER] = offsetof(struct counters, ns_exit_other),
	[BUCKET_HOST_MEMORY] = offsetof(struct counters, ns_host_memory),
	[BUCKET_SWAP] = offsetof(struct counters, ns_swap),
};

static void empty_latency(struct sim_vcpu *v)
{
	for (uint64_t cycles = 0; v->latency && cycles < MMU_LATENCY_BINS; cycles++)
		if (v->latency[cycles])
			hist_add(v->vm->out->latency, sim_cycles_to_ns(v->vm->sim, cycles), v->latency[cycles]);
	if (v->latency)
		memset(v->latency, 0, MMU_LATENCY_BINS * sizeof(*v->latency));
}

/* Free schedule: what it slept and waited; a vCPU without a CPU still does, unless it has ended. */
static uint64_t idle_until_now(const struct sim_vcpu *v)
{
	const struct sim *s = v->vm->sim;
	uint64_t now = sim_ns_to_cycles(s, s->now_ns);

	if (s->run->e->experiment.schedule == SCHEDULE_LOCKSTEP)
		return 0;
	if (v->cpu->current == v || v->vm->done || now < v->off_at)
		return v->idle_cycles;
	return v->idle_cycles + now - v->off_at;
}

/* Of the CPU where it is largest; where the VM's entries were flushed a moment ago it stays what it was. */
static void refresh_reach(struct sim_vm *vm)
{
	uint64_t reach = 0;

	for (unsigned i = 0; i < vm->sim->ncpus; i++)
		reach = MAX(reach, mmu_reach(vm->sim->cpus[i].mmu, vm->id + 1));
	if (reach)
		vm->counters.tlb_reach = reach;
}

/* What the VM's part of the compressed tier takes, and saves. */
static void refresh_tier(struct counters *c)
{
	uint64_t patches = (c->patch_size + PAGE_SIZE - 1) / PAGE_SIZE;

	c->frames_compressed = (c->compressed_size + PAGE_SIZE - 1) / PAGE_SIZE;
	c->saved_patch = c->pages_patched - MIN(patches, c->pages_patched);
	c->saved_compress = c->pages_compressed - MIN(c->frames_compressed + c->saved_patch, c->pages_compressed);
}

void sim_vm_refresh(struct sim_vm *vm)
{
	struct counters *c = &vm->counters;
	const struct kernel_counts *k = kernel_counts(vm->kernel);
	uint64_t bucket[BUCKETS] = { 0 }, idle = 0;

	for (unsigned i = 0; i < vm->nvcpus; i++) {
		for (unsigned b = 0; b < BUCKETS; b++)
			bucket[b] += vm->vcpu[i].cycles[b];
		idle += idle_until_now(&vm->vcpu[i]);
		empty_latency(&vm->vcpu[i]);
	}
	c->ns_total = 0;
	for (unsigned b = 0; b < BUCKETS; b++) {
		uint64_t ns = sim_cycles_to_ns(vm->sim, bucket[b]);

		*(uint64_t *)((char *)c + bucket_counter[b]) = ns;
		c->ns_total += ns;
	}
	c->ns_idle = sim_cycles_to_ns(vm->sim, idle) + vm->idle_ns;
	c->operations = vm->operations;
	guest_counts(k, c);
	refresh_reach(vm);
	refresh_tier(c);
	c->table_frames = vm->paging->ops->table_frames(vm->paging);
}

/* They were checked when the experiment was read. */
static void set_distances(struct sim *s)
{
	g_autofree char *why = NULL;
	g_autofree uint8_t *distances = experiment_distances(&s->run->e->host, &why);

	frames_set_distances(s->frames, distances);
}

int sim_init(struct sim *s, GError **error)
{
	const struct experiment *e = s->run->e;
	const struct conf_host *h = &e->host;

	s->machine.ops = &sim_machine_ops;
	s->job = HOST_JOBS;
	s->host.future = s->future;
	s->profile = profile_load(h->profile, error);
	if (!s->profile)
		return -EINVAL;
	for (unsigned i = 0; i < e->costs->len; i++) {
		const struct conf_cost *c = g_ptr_array_index(e->costs, i);

		if (!profile_set(s->profile, c->field, c->value, error))
			return -EINVAL;
	}
	s->frames = host_frames(s->run, false);
	s->ncontent = h->memory / PAGE_SIZE;
	s->content = lazy_new(s->ncontent * sizeof(*s->content));
	s->compress = compress_new(compressors[e->swap.compressor]);
	if (!s->frames || !s->content || sim_swap_init(s) ||
	    host_init(&s->host, s->run, &s->machine, s->frames, &sim_host_ops, s)) {
		g_set_error(error, VMM_ERROR, VMM_LACKS,
			    "no address space for a simulated host of %" G_GUINT64_FORMAT
			    " MiB: raise the limit (ulimit -v) or lower [host] memory", h->memory >> 20);
		return -ENOMEM;
	}
	set_distances(s);
	s->ncpus = (unsigned)h->cpus;
	s->cpus = g_new0(struct sim_cpu, s->ncpus);
	for (unsigned i = 0; i < s->ncpus; i++) {
		s->cpus[i].mmu = mmu_new(s->profile, h->cache_model);
		s->cpus[i].node = cpu_node(h, i);
	}
	return 0;
}

void sim_destroy(struct sim *s)
{
	host_stop(&s->host);
	for (unsigned i = 0; i < s->nvms; i++)
		sim_vm_free(s->vms[i]);
	g_free(s->vms);
	for (unsigned i = 0; i < s->ncpus; i++)
		mmu_free(s->cpus[i].mmu);
	g_free(s->cpus);
	host_destroy(&s->host);
	sim_swap_destroy(s);
	sim_patch_destroy(s);
	compress_free(s->compress);
	lazy_free(s->content, s->ncontent * sizeof(*s->content));
	if (s->frames)
		frames_free(s->frames);
	if (s->profile)
		profile_free(s->profile);
}
