/* SPDX-License-Identifier: MIT */
/*
 * divide.h - dividing the host's memory among guests; what several policies share
 */
#ifndef OVERBOOK_POLICY_DIVIDE_H
#define OVERBOOK_POLICY_DIVIDE_H

#include "vmm/policy.h"

static inline uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* One guest's claim. */
struct claim {
	uint64_t shares;   /* at most 2^20; 0: it gets its minimum and what nobody else wants */
	uint64_t active;   /* pages that it uses: those beyond cost more */
	uint64_t min, max; /* pages, below 2^36; min <= max */
	uint64_t grant;	   /* what it gets: min <= grant <= max */
};

/*
 * Divide @total pages: what grants cost is in proportion to shares, between min and max; a page beyond what is in use
 * costs @idle_price, in ppm of one that is. The sum of the grants is the smaller of @total and the sum of all max; but
 * if all min are more than @total, each gets its min.
 */
void divide(struct claim *claim, uint32_t n, uint64_t total, uint64_t idle_price);

/* The price of a page that is idle, in pages in use: k = 1 / (1 - tax), in ppm. */
uint64_t divide_idle_price(uint64_t tax_ppm);
/* Shares for each page, in ppm: the paper's rho; the guest with the lowest loses pages first. */
uint64_t divide_rho(const struct policy_vm *vm, uint64_t tax_ppm);

/* @ppm of @pages. */
uint64_t divide_part(uint64_t pages, uint64_t ppm);

/* What @vm would use if it could: what it has, what was taken from it, and room to grow; between its min and max. */
uint64_t divide_demand(const struct policy_vm *vm);

/*
 * Divide what is left of the host's memory when @reserve pages of it stay free. True: not everybody gets what he wants.
 * @claim has room for view->nvms.
 */
bool divide_host(const struct policy_view *view, uint64_t tax_ppm, uint64_t reserve, struct claim *claim);

/* Pages of @vm's balloon when it is to have @grant pages. */
uint64_t divide_balloon(const struct policy_vm *vm, uint64_t grant);
/* Ask @vm to live with @grant pages: by its balloon as far as that can, for the rest by swap. */
void divide_ask(const struct policy_vm *vm, uint64_t grant, struct policy_vm_plan *plan);
/* The memory it has now: all but its balloon, or what is resident if it has none that answers. */
uint64_t divide_size(const struct policy_vm *vm);
/* Change that to @size, by the balloon or else by swap; never below its minimum. */
void divide_resize(const struct policy_vm *vm, uint64_t size, struct policy_vm_plan *plan);
/* Take back whatever was asked of it. */
void divide_free(const struct policy_vm *vm, struct policy_vm_plan *plan);

#endif
