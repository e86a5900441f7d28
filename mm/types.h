/* SPDX-License-Identifier: MIT */
/*
 * types.h - kinds of address, and what an access may do
 *
 * gva, gpa: guest virtual and guest physical address; gfn: gpa >> 12; hpa, hfn: host physical, the same way.
 * Scalar typedefs, so that a prototype says which space a number lives in. docs/glossary.md has the words.
 */
#ifndef OVERBOOK_MM_TYPES_H
#define OVERBOOK_MM_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "workloads/x86.h"

typedef uint64_t gva_t;
typedef uint64_t gpa_t;
typedef uint64_t gfn_t;
typedef uint64_t hpa_t;
typedef uint64_t hfn_t;

#define GFN_NONE UINT64_MAX
#define HFN_NONE UINT64_MAX

/* What an access is, or what a mapping allows. */
#define ACC_R 1u
#define ACC_W 2u
#define ACC_X 4u
#define ACC_U 8u /* user mode */
#define ACC_RWX (ACC_R | ACC_W | ACC_X)

#endif
