/* SPDX-License-Identifier: MIT */
/*
 * divide.c - shares, minimum and maximum, and the tax on idle memory
 *
 * Problem. Guests with shares S want more memory than there is. Pure proportional shares let an idle guest with many
 * shares hoard what a busy one needs.
 *
 * Idea. Min-funding revocation takes a page from the guest that pays the fewest shares for each page it holds. With f
 * the part of its pages P in use, an idle page costs it k = 1 / (1 - tax) times as much as one in use:
 *
 *	rho = S / (P * (f + k * (1 - f)))
 *
 * Taking page after page from the lowest rho, never below a minimum, ends where all rho are equal but for those at a
 * bound. What a guest uses, A = f * P, does not change with what it is given, so the price of P pages is P up to A, and
 * A + k * (P - A) beyond; where rho are equal, prices are in proportion to shares. That point is found directly: the
 * grants rise with the common level of price for a share, so the level is searched by halving, in integers; the few
 * pages that rounding leaves go to guests in order of number.
 *
 * What counts as wanted: a guest that has touched little of its memory leaves the rest to others, with some room to
 * grow until the next decision. What counts as used: what the estimate says, and the pages that came back since.
 *
 * Invariants (tests/unit/test_divide.c): min <= grant <= max; the sum is exact; dividing is the end of revoking page by
 * page; where no bound holds, all rho are equal.
 *
 * Source: C. Waldspurger, Memory Resource Management in VMware ESX Server, OSDI 2002, section 5. That f is taken at the
 * P to come and not at the present one is ours: otherwise grants swing, for a guest that shrinks looks busier.
 */
#include "vmm/policy/divide.h"

#define LEVEL_BITS 20 /* of the level's fraction: a step of it changes a price by one page at most */

/* What a claim gets for that price of a share. */
static uint64_t at_level(const struct claim *c, uint64_t level, uint64_t idle_price)
{
	unsigned __int128 price = (unsigned __int128)c->shares * level >> LEVEL_BITS;

	if (price > c->active)
		price = c->active + (price - c->active) * POLICY_PPM / idle_price;
	return price >= c->max ? c->max : max64((uint64_t)price, c->min);
}

static unsigned __int128 sum_at(const struct claim *claim, uint32_t n, uint64_t level, uint64_t idle_price)
{
	unsigned __int128 sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += at_level(&claim[i], level, idle_price);
	return sum;
}

void divide(struct claim *claim, uint32_t n, uint64_t total, uint64_t idle_price)
{
	uint64_t level = 0, left;
	unsigned __int128 sum;

	for (int bit = 62; bit >= 0; bit--)
		if (sum_at(claim, n, level | 1ull << bit, idle_price) <= total)
			level |= 1ull << bit;
	sum = sum_at(claim, n, level, idle_price);
	left = sum < total ? total - (uint64_t)sum : 0;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t grant = at_level(&claim[i], level, idle_price);
		bool rounded = at_level(&claim[i], level + 1, idle_price) > grant;

		claim[i].grant = grant + (left && rounded);
		left -= left && rounded;
	}
	/* Nobody with shares wants more. */
	for (uint32_t i = 0; i < n && left; i++) {
		uint64_t more = min64(left, claim[i].max - claim[i].grant);

		claim[i].grant += more;
		left -= more;
	}
}

uint64_t divide_part(uint64_t pages, uint64_t ppm)
{
	return (uint64_t)((unsigned __int128)pages * ppm / POLICY_PPM);
}

uint64_t divide_idle_price(uint64_t tax_ppm)
{
	return (uint64_t)POLICY_PPM * POLICY_PPM / (POLICY_PPM - tax_ppm);
}

/* f + k * (1 - f), in ppm */
static uint64_t price(uint64_t active_ppm, uint64_t tax_ppm)
{
	uint64_t f = min64(active_ppm, POLICY_PPM);

	return f + divide_idle_price(tax_ppm) * (POLICY_PPM - f) / POLICY_PPM;
}

uint64_t divide_rho(const struct policy_vm *vm, uint64_t tax_ppm)
{
	unsigned __int128 paid = (unsigned __int128)max64(vm->resident, 1) * price(vm->active_ppm, tax_ppm);

	return (uint64_t)((unsigned __int128)vm->shares * POLICY_PPM * POLICY_PPM / paid);
}

uint64_t divide_demand(const struct policy_vm *vm)
{
	uint64_t has = vm->resident + vm->merged + vm->swapped + vm->compressed + vm->balloon_actual;
	uint64_t room = max64(vm->memory / 16, 2 * vm->since.first_touches);

	return min64(vm->max, max64(has + room, vm->min));
}

bool divide_host(const struct policy_view *view, uint64_t tax_ppm, uint64_t reserve, struct claim *claim)
{
	const struct policy_host *h = &view->host;
	uint64_t there = h->frames - min64(h->frames, h->overhead + reserve) + h->saved, wanted = 0;

	for (uint32_t i = 0; i < view->nvms; i++) {
		const struct policy_vm *vm = &view->vm[i];

		claim[i] = (struct claim){
			.shares = vm->running ? min64(vm->shares, 1u << LEVEL_BITS) : 0,
			.active = divide_part(vm->resident, vm->active_ppm) + vm->since.refaults,
			.min = max64(vm->pinned, vm->running ? vm->min : 0),
		};
		claim[i].max = max64(claim[i].min, vm->running ? divide_demand(vm) : vm->resident);
		wanted += claim[i].max;
	}
	divide(claim, view->nvms, there, divide_idle_price(tax_ppm));
	return wanted > there;
}

uint64_t divide_balloon(const struct policy_vm *vm, uint64_t grant)
{
	return min64(vm->memory - min64(vm->memory, grant), vm->balloon_limit);
}

void divide_ask(const struct policy_vm *vm, uint64_t grant, struct policy_vm_plan *plan)
{
	bool balloon = vm->has_balloon && vm->responding && vm->running;

	if (vm->has_balloon && vm->running)
		plan->balloon = divide_balloon(vm, grant);
	if (grant >= vm->memory || (balloon && vm->memory - plan->balloon <= grant))
		plan->limit = POLICY_NO_LIMIT;
	else
		plan->limit = grant;
}

static bool gives_by_balloon(const struct policy_vm *vm)
{
	return vm->has_balloon && vm->responding;
}

uint64_t divide_size(const struct policy_vm *vm)
{
	if (gives_by_balloon(vm))
		return vm->memory - min64(vm->memory, vm->balloon_actual);
	return vm->resident + vm->merged;
}

void divide_resize(const struct policy_vm *vm, uint64_t size, struct policy_vm_plan *plan)
{
	uint64_t kept = max64(vm->min, vm->pinned);

	size = max64(size, kept);
	if (gives_by_balloon(vm)) {
		plan->balloon = divide_balloon(vm, size);
		plan->limit = POLICY_NO_LIMIT;
	} else {
		uint64_t more = size - min64(size, divide_size(vm));

		/* What its balloon holds and cannot add to, it may at least have back. */
		if (vm->has_balloon && more && vm->balloon_actual)
			plan->balloon = vm->balloon_actual - min64(vm->balloon_actual, more);
		size += 2 * vm->since.first_touches;
		plan->limit = size >= vm->memory ? POLICY_NO_LIMIT : size;
	}
}

void divide_free(const struct policy_vm *vm, struct policy_vm_plan *plan)
{
	if (vm->has_balloon && vm->running)
		plan->balloon = 0;
	plan->limit = POLICY_NO_LIMIT;
}
