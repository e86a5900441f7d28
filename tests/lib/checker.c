/* SPDX-License-Identifier: MIT */
/* checker.c - see checker.h */
#include "tests/lib/checker.h"

#include <string.h>

#include "workloads/guest/kernel.h"
#include "workloads/op.h"

#define CHECKER_AT  2048
#define DATA_VA	    0x10000000ull
#define VERSIONS_VA 0x60000000ull
#define NWORDS	    (PAGE_SIZE / 8)

#define VISIBLE_TO_GUEST __attribute__((section("checker"), used, noinline, no_sanitize("address", "undefined")))

/* What a process keeps in the state of its program, which does not run. */
enum { MAPPED, SEED, JOURNAL, JOURNAL_PAGE, JOURNAL_VERSION, FINAL, BEGUN };

/* One version of a page's data: word w is base + w * step. Version 0 is a page nobody has written. */
#define STEP_OF(page)	  ((page) & 4 ? 1 : 0x9e3779b97f4a7c15ull)
#define BASE_OF(page, version, tag)                                                    \
	((((page) & 3 ? (page) ^ (tag) : (page) % 61) * 0xff51afd7ed558ccdull) ^       \
	 (((version) & 3) + 1) * 0xc4ceb9fe1a85ec53ull)
#define WORD_OF(page, version, tag, w) \
	((version) ? BASE_OF(page, version, tag) + (w) * STEP_OF(page) : 0)

/* The kernel performs the operation, or finds that something else is due; either way the process is begun anew. */
#define SYSTEM_CALL(rt, op_kind_va, op_arg)                                                                            \
	do {                                                                                                           \
		(rt)->ops[0].va_kind = (op_kind_va);                                                                   \
		(rt)->ops[0].arg = (op_arg);                                                                           \
		(rt)->n = 1;                                                                                           \
		(rt)->pos = 0;                                                                                         \
		__asm__ volatile("int3" ::: "memory");                                                                 \
	} while (0)

#define PART_OF_IT static inline __attribute__((always_inline, no_sanitize("address", "undefined")))

/* What a process is: pointers that are the same whenever it is begun anew. */
struct self {
	volatile struct runtime *rt;
	volatile struct vcpu_page *v;
	volatile struct checker *c;
	volatile uint64_t *mine;
	uint64_t tag, npages;
};

/* Two regions: was the call that maps the next one performed? */
PART_OF_IT void map_regions(const struct self *s)
{
	while (s->mine[MAPPED] < 2) {
		const uint64_t va = s->mine[MAPPED] ? VERSIONS_VA : DATA_VA;
		const uint64_t n = s->mine[MAPPED] ? (s->npages * 16 + PAGE_SIZE - 1) / PAGE_SIZE : s->npages;

		if (s->rt->n == 1 && s->rt->pos == 1 && s->rt->ops[0].va_kind == OP_MAKE(OP_MMAP, va))
			s->mine[MAPPED]++;
		else
			SYSTEM_CALL(s->rt, OP_MAKE(OP_MMAP, va), OP_MAP(n, PROT_R | PROT_W, 1));
	}
	if (s->mine[BEGUN])
		return;
	s->mine[SEED] = s->tag | 1;
	s->mine[BEGUN] = 1;
	s->c->begun++;
}

PART_OF_IT volatile uint64_t *data_of(uint64_t page)
{
	return (volatile uint64_t *)(DATA_VA + page * PAGE_SIZE);
}

/* A version and its complement. */
PART_OF_IT volatile uint64_t *version_of(uint64_t page)
{
	return (volatile uint64_t *)(VERSIONS_VA + page * 16);
}

PART_OF_IT void write_page(const struct self *s)
{
	const uint64_t page = s->mine[JOURNAL_PAGE], version = s->mine[JOURNAL_VERSION];

	for (uint64_t w = 0; w < NWORDS; w++)
		data_of(page)[w] = WORD_OF(page, version, s->tag, w);
	version_of(page)[0] = version;
	version_of(page)[1] = ~version;
	s->mine[JOURNAL] = 0;
	s->c->written++;
	s->v->operations++;
}

PART_OF_IT void report(const struct self *s, uint64_t page, uint64_t version, uint64_t word, uint64_t found,
		       uint64_t expected)
{
	s->c->page = page;
	s->c->version = version;
	s->c->word = word;
	s->c->found = found;
	s->c->expected = expected;
	s->c->wrong = 1;
	__asm__ volatile("ud2");
}

/* Returns the page's version. */
PART_OF_IT uint64_t verify_page(const struct self *s, uint64_t page)
{
	const uint64_t version = version_of(page)[0], complement = version_of(page)[1];

	if (version != ~complement && (version | complement))
		report(s, page, version, NWORDS, complement, ~version);
	for (uint64_t w = 0; w < NWORDS; w++) {
		const uint64_t found = data_of(page)[w], expected = WORD_OF(page, version, s->tag, w);

		if (found != expected)
			report(s, page, version, w, found, expected);
	}
	s->c->verified++;
	s->v->operations++;
	return version;
}

/* The process was told to stop: the next page of the last pass, or its end. */
PART_OF_IT void finish(const struct self *s)
{
	const uint64_t page = s->mine[FINAL];

	if (page < s->npages && s->c->stop == CHECKER_FINISH) {
		verify_page(s, page);
		s->mine[FINAL] = page + 1;
		return;
	}
	if (page <= s->npages) {
		s->mine[FINAL] = s->npages + 1;
		s->c->ended++;
	}
	SYSTEM_CALL(s->rt, OP_MAKE(OP_EXIT, 0), 0);
}

PART_OF_IT uint64_t draw(const struct self *s)
{
	uint64_t x = s->mine[SEED];

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return s->mine[SEED] = x;
}

/* The only function of its section, and it calls none: it runs in the guest, at another address. */
VISIBLE_TO_GUEST void checker_code(void);
void checker_code(void)
{
	struct self s = {
		.rt = (volatile struct runtime *)RUNTIME_VA,
		.v = (volatile struct vcpu_page *)VCPU_VA,
		.c = (volatile struct checker *)(VCPU_VA + CHECKER_AT),
	};

	s.mine = s.rt->program.state;
	s.tag = s.rt->program.tag;
	s.npages = s.c->npages;
	map_regions(&s);
	for (;;) {
		if (s.v->operations >= s.v->quantum_end)
			SYSTEM_CALL(s.rt, OP_MAKE(OP_READ, RUNTIME_VA), 0);
		if (s.mine[JOURNAL]) {
			write_page(&s);
		} else if (s.c->stop) {
			finish(&s);
		} else {
			const uint64_t x = draw(&s), page = (x >> 8) % s.npages, version = verify_page(&s, page);

			if ((x & 3) != 1)
				continue;
			s.mine[JOURNAL_PAGE] = page;
			s.mine[JOURNAL_VERSION] = version + 1;
			s.mine[JOURNAL] = 1;
		}
	}
}

extern const uint8_t __start_checker[], __stop_checker[];

void checker_install(struct kvm_vm *vm, uint64_t npages)
{
	const struct image_header *h = kvm_image_header();
	uint8_t *at = kvm_arena(vm, USER_TEXT_GPA + (h->process - USER_TEXT_VA));
	/* call, so that the stack is as a function expects it; it never returns */
	const uint8_t call[] = { 0xe8, 11, 0, 0, 0 };

	memcpy(at, call, sizeof(call));
	memcpy(at + 16, __start_checker, (size_t)(__stop_checker - __start_checker));
	checker_of(vm)->npages = npages;
}

volatile struct checker *checker_of(const struct kvm_vm *vm)
{
	return (volatile struct checker *)((uint8_t *)kvm_vcpu_page(vm) + CHECKER_AT);
}
