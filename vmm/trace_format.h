/* SPDX-License-Identifier: MIT */
/*
 * trace_format.h - how a trace lies in its file; for trace_write.c and trace_read.c
 *
 *   0    struct trace_header, 80 bytes, little-endian
 *   80   body: one zstd frame (with its checksum) of tokens
 *   ...  ranges: one zstd frame (with its checksum) of pairs of integers
 *
 * Problem: accesses by the ten million should fit in a repository. A single running difference is large whenever a
 * program turns from its stack to its heap to a table; but it turns back.
 *
 * Idea: keep the last few places a program worked at, most recent first, and code an access as (place, difference to
 * it). A near access moves its place to the front with the new address; a far one begins a new place there and drops
 * the oldest. A loop over the same places then makes the same tokens again and again, which zstd finds: about 1 bit an
 * access for sort and cc1, where one running difference takes 3.
 *
 * A token is an integer: type in bits 1:0, place in bits 4:2, zigzag difference in the bits above; integers are written
 * seven bits a byte, low bits first, bit 7 set on all but the last (as LEB128). A range is two integers: pages left out
 * since the end of the range before, and npages << 3 | kinds.
 *
 * Invariants (tests/unit/test_trace.c, roundtrip_of_random_accesses; tests/fuzz/test_trace_fuzz.c): writer and reader
 * make the same moves on the same places after every token; what the reader emits lies inside the ranges, and its
 * counts are the header's.
 */
#ifndef OVERBOOK_VMM_TRACE_FORMAT_H
#define OVERBOOK_VMM_TRACE_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "workloads/op.h"

#define TRACE_MAGIC   "OBTRACE\n"
#define TRACE_VERSION 1

struct trace_header {
	char magic[8];
	uint32_t version, header_bytes;
	uint64_t naccesses[3]; /* read, write, fetch */
	uint64_t npages, nranges;
	uint64_t body_bytes, ranges_bytes; /* compressed */
	uint64_t checksum;		   /* XXH3-64 of all before it */
};
_Static_assert(sizeof(struct trace_header) == 80, "the header has no holes");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the header is read as it lies");

#define TRACE_PLACES 8
#define TRACE_FAR    8192 /* a difference beyond this, in zigzag, begins a new place */
#define VARINT_MAX   10	  /* bytes of a 64-bit integer */

struct trace_places {
	uint64_t at[TRACE_PLACES]; /* most recent first */
};

static inline uint64_t zigzag(int64_t d)
{
	return ((uint64_t)d << 1) ^ (uint64_t)(d >> 63);
}

static inline int64_t unzigzag(uint64_t z)
{
	return (int64_t)(z >> 1) ^ -(int64_t)(z & 1);
}

/* What both sides do to the places after an access to @address, coded by place @i with difference @z. */
static inline void places_move(struct trace_places *p, unsigned i, uint64_t z, uint64_t address)
{
	if (z > TRACE_FAR)
		i = TRACE_PLACES - 1;
	for (; i > 0; i--)
		p->at[i] = p->at[i - 1];
	p->at[0] = address;
}

static inline uint64_t places_encode(struct trace_places *p, uint64_t address, unsigned kind)
{
	uint64_t z, best = zigzag(address - p->at[0]);
	unsigned place = 0;

	for (unsigned i = 1; i < TRACE_PLACES; i++) {
		z = zigzag(address - p->at[i]);
		if (z < best) {
			best = z;
			place = i;
		}
	}
	places_move(p, place, best, address);
	return best << 5 | place << 2 | kind;
}

static inline uint64_t places_decode(struct trace_places *p, uint64_t token)
{
	unsigned place = token >> 2 & (TRACE_PLACES - 1);
	uint64_t z = token >> 5, address = p->at[place] + unzigzag(z);

	places_move(p, place, z, address);
	return address;
}

/* Write @v at @out (room for VARINT_MAX); returns the byte after it. */
static inline uint8_t *varint_put(uint8_t *out, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*out++ = v | 0x80;
	*out++ = v;
	return out;
}

/* Read one integer from [in, end) into *v; returns the byte after it, or NULL if it does not end there or has more than
 * 64 bits. */
static inline const uint8_t *varint_get(const uint8_t *in, const uint8_t *end, uint64_t *v)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64 && in < end; shift += 7) {
		uint64_t byte = *in++;

		value |= (byte & 0x7f) << shift;
		if (byte < 0x80) {
			*v = value;
			return shift == 63 && byte > 1 ? NULL : in;
		}
	}
	return NULL;
}

#endif
