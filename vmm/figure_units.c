/* SPDX-License-Identifier: MIT */
/* figure_units.c - units in which the largest number of a figure is short: a guest on KVM may be slower by thousands */
#include "vmm/figure.h"

static const struct figure_unit rates[] = {
	{ 1e-6, "million operations per second" },
	{ 1e-3, "thousand operations per second" },
	{ 1, "operations per second" },
};
static const struct figure_unit times[] = {
	{ 1e-6, "ms per operation" },
	{ 1e-3, "us per operation" },
	{ 1, "ns per operation" },
};

/* The first in which @largest is at least @least; else the last. */
static const struct figure_unit *pick(const struct figure_unit *units, double largest, double least)
{
	unsigned i = 0;

	while (i < 2 && largest * units[i].factor < least)
		i++;
	return &units[i];
}

const struct figure_unit *figure_rate_unit(double per_second)
{
	return pick(rates, per_second, 0.1);
}

const struct figure_unit *figure_time_unit(double ns)
{
	return pick(times, ns, 20);
}
