/* SPDX-License-Identifier: MIT */
/*
 * trace.h - memory traces of real programs: recorded, imported, replayed
 *
 * A trace is the sequence of a program's accesses, each an address and a type (read, write, instruction fetch), in one
 * compressed file of about one bit an access; vmm/trace_format.h draws it. Files stream both ways in constant memory,
 * whatever their length (a writer remembers the pages it has seen, 16 bytes each). Who replays one first maps its
 * ranges, then emits its operations.
 *
 * Errors: GError of VMM_ERROR; the message begins with the file's name and says where in it: a line of a text, an
 * access of a trace. VMM_USAGE for contents and names, VMM_FAILED for a disk that fails.
 */
#ifndef OVERBOOK_VMM_TRACE_H
#define OVERBOOK_VMM_TRACE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "mm/replace.h"
#include "workloads/op.h"

/* Types of access are OP_READ, OP_WRITE, OP_EXEC of workloads/op.h; an access in one word is OP_MAKE(type, address). */
#define TRACE_KINDS 3

/* A run of touched pages. Ranges are in order of address and never adjoin. */
struct trace_range {
	uint64_t start; /* bytes, a multiple of 4096 */
	uint64_t npages;
	unsigned kinds;	   /* bit 1 << OP_READ etc. for each type of access that touched it */
	uint64_t first_id; /* pages are numbered densely in order of address: the number of its first page */
};

struct trace_info {
	uint64_t naccesses[TRACE_KINDS]; /* by type */
	uint64_t total;
	uint64_t npages; /* distinct pages touched: all of them cold misses */
	uint64_t nranges;
	uint64_t nbytes; /* of the file */
};

/* --- writing --- */
struct trace_writer;

/* Begin a trace that will be at @path; until trace_commit() it lives under a temporary name beside it. */
struct trace_writer *trace_create(const char *path, GError **error);

/* FALSE: the disk failed, or the address is no user address (57 bits); the writer can only be abandoned then. */
gboolean trace_write(struct trace_writer *w, uint64_t address, unsigned kind, GError **error);
uint64_t trace_written(const struct trace_writer *w); /* accesses so far */

/* Complete the file and give it its name; frees @w in any case. A trace without accesses is an error. */
gboolean trace_commit(struct trace_writer *w, GError **error);
/* Leave nothing behind; frees @w. NULL is fine. */
void trace_abandon(struct trace_writer *w);

/* --- reading --- */
struct trace_reader;

/* Checks header, sizes and ranges. The body is checked as it is read: see trace_error(). */
struct trace_reader *trace_open(const char *path, GError **error);
void trace_close(struct trace_reader *r);
const struct trace_info *trace_info(const struct trace_reader *r);
const struct trace_range *trace_ranges(const struct trace_reader *r, size_t *n);

/* At most @max accesses as OP_MAKE(type, address); 0 at the end of the trace, or at its first fault. */
uint32_t trace_read(struct trace_reader *r, uint64_t *out, uint32_t max);
/* The same as operations for a machine: addresses aligned down to the 8 bytes that an operation touches, arg 0. */
uint32_t trace_next(struct trace_reader *r, struct op *out, uint32_t max);
/* Why reading ended early, or NULL. */
const GError *trace_error(const struct trace_reader *r);
/* Back to the first access. */
void trace_rewind(struct trace_reader *r);
/* The dense number of a page (address >> 12), or REPLACE_NONE if the trace does not touch it. */
uint32_t trace_page_id(struct trace_reader *r, uint64_t page);

/* --- texts --- */
enum trace_format { TRACE_AUTO, TRACE_LACKEY, TRACE_CSV };

struct trace_import {
	enum trace_format format; /* TRACE_AUTO: what the first line that says anything looks like */
	uint64_t limit;		  /* accesses after which to stop reading; 0: none */
	bool data_only;		  /* leave instruction fetches out */
};

/*
 * Read the text behind @fd to its end (or the limit) and write every access to @w. @name is for messages. Two forms:
 *  - valgrind's lackey: " L addr,size", " S addr,size", " M addr,size" (a load, then a store), "I addr,size", addresses
 *    in bare hexadecimal; lines that begin with == or -- are valgrind's talk and are skipped. An access belongs to the
 *    page of its first byte;
 *  - CSV: "address,type", the address decimal or 0x hexadecimal, the type r, w or i in either case; a first line that
 *    reads "address,type" is a heading.
 * In both, empty lines and lines that begin with # are skipped, blanks around a field and a carriage return are let
 * pass, and anything else is an error that names the line.
 */
gboolean trace_import(struct trace_writer *w, int fd, const char *name, const struct trace_import *how, GError **error);

/* --- miss-ratio curves --- */

/* A trace as page numbers, in memory, for replays by the dozen. */
struct trace_pages {
	uint32_t *ids; /* [n] */
	size_t n;
	uint32_t nids;
	uint64_t nrequests; /* what n stands for, see trace_pages_load() */
};

/*
 * Decode all of @r. A third access in a row to one page, and all that follow it, changes nothing in any policy's state
 * and always hits: runs are cut to two, and nrequests counts them all.
 */
gboolean trace_pages_load(struct trace_pages *p, struct trace_reader *r, GError **error);
void trace_pages_free(struct trace_pages *p);

/* Misses of each of @nsizes memories of nframes[i] pages under @ops, into misses[i]. Exact. */
void trace_mrc(const struct trace_pages *p, const struct replace_ops *ops, const uint32_t *nframes, size_t nsizes,
	       uint64_t seed, uint64_t *misses);

#endif
