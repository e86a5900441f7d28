/* SPDX-License-Identifier: MIT */
/* trace_feed.c - replaying traces; see trace_feed.h */
#include "vmm/trace_feed.h"
#include "vmm/trace.h"
#include "vmm/vmm.h"
#include "workloads/guest/abi.h"

/* Words of the cursor; word TRACE_PASS is the program's. */
enum {
	CURSOR_READER, /* 1 + index into readers, 0: none yet */
	CURSOR_RANGE,  /* the next range to map */
};

struct trace_feed {
	const struct experiment *e;
	GPtrArray *readers; /* NULL: closed */
	unsigned nopen;
	char *error;
};

static void close_reader(gpointer reader)
{
	if (reader)
		trace_close(reader);
}

struct trace_feed *trace_feed_new(const struct experiment *e)
{
	struct trace_feed *f = g_new0(struct trace_feed, 1);

	f->e = e;
	f->readers = g_ptr_array_new_with_free_func(close_reader);
	return f;
}

void trace_feed_free(struct trace_feed *f)
{
	if (!f)
		return;
	g_ptr_array_unref(f->readers);
	g_free(f->error);
	g_free(f);
}

const char *trace_feed_error(const struct trace_feed *f)
{
	return f->error;
}

static void keep_error(struct trace_feed *f, const GError *error)
{
	if (error && !f->error)
		f->error = g_strdup(error->message);
}

static struct trace_reader *reader_of(struct trace_feed *f, uint32_t trace, uint64_t *cursor)
{
	const struct conf_phase *ph = g_ptr_array_index(f->e->phases, trace);
	GError *error = NULL;

	if (cursor[CURSOR_READER] > f->readers->len)
		return NULL;
	if (cursor[CURSOR_READER])
		return g_ptr_array_index(f->readers, cursor[CURSOR_READER] - 1);

	struct trace_reader *r = NULL;

	/* On real guests the cursor is in their hands: one that is lost again and again must not take all files. */
	if (f->nopen == EXPORT_PROCESSES)
		g_set_error(&error, VMM_ERROR, VMM_FAILED, "%s: more replays begun than there can be processes",
			    ph->trace);
	else
		r = trace_open(ph->trace, &error);
	if (!r) {
		keep_error(f, error);
		g_error_free(error);
		return NULL;
	}
	f->nopen++;
	g_ptr_array_add(f->readers, r);
	cursor[CURSOR_READER] = f->readers->len;
	return r;
}

/* The mappings that make the trace's addresses valid: one a range, readable, writable, executable if fetched from. */
static uint32_t emit_maps(const struct trace_reader *r, uint64_t *cursor, struct op *out, uint32_t max)
{
	size_t nranges;
	const struct trace_range *range = trace_ranges(r, &nranges);
	uint32_t n = 0;

	for (; n < max && cursor[CURSOR_RANGE] < nranges; cursor[CURSOR_RANGE]++) {
		const struct trace_range *at = &range[cursor[CURSOR_RANGE]];
		unsigned prot = PROT_R | PROT_W | (at->kinds & (1u << OP_EXEC) ? PROT_X : 0);

		out[n++] = (struct op){ OP_MAKE(OP_MMAP, at->start), OP_MAP(at->npages, prot, 1) };
	}
	return n;
}

uint32_t trace_feed_next(void *feed, uint32_t trace, uint64_t *cursor, struct op *out, uint32_t max)
{
	struct trace_feed *f = feed;
	struct trace_reader *r = reader_of(f, trace, cursor);
	uint32_t n;

	if (!r)
		return 0;
	if (!cursor[TRACE_PASS]) {
		n = emit_maps(r, cursor, out, max);
		if (n)
			return n;
	}
	n = trace_next(r, out, max);
	if (n)
		return n;
	/* The program begins its next pass, if any, with a cursor of its own. */
	keep_error(f, trace_error(r));
	trace_close(r);
	f->nopen--;
	f->readers->pdata[cursor[CURSOR_READER] - 1] = NULL;
	return 0;
}
