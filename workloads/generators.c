/* SPDX-License-Identifier: MIT */
/*
 * generators.c - the table of generators
 *
 * A script names a generator by its index here, so new ones go to the end.
 */
#include "workloads/gen.h"

const struct workload_ops *const workload_generators[] = {
	&gen_sequential, &gen_strided, &gen_uniform, &gen_zipf,	   &gen_hotcold, &gen_moving, &gen_chase,
	&gen_fork,	 &gen_switch,  &gen_mmap,    &gen_content, &gen_mix,	 NULL,
};
