/* SPDX-License-Identifier: MIT */
/*
 * events.c - the event log on disk
 *
 * One zstd stream (`zstdcat events.zst` shows it raw). Uncompressed, all numbers little-endian:
 *
 *	0	"OBEVENT\n"	8 bytes
 *	8	version		4 bytes, 1
 *	12	record size	4 bytes, 32
 *	16	records		struct event, until the stream's end
 *
 *	 0        8        16       24    26   27 28    29    30
 *	+--------+--------+--------+-----+----+--+-----+-----+----+
 *	| time_ns| gfn    | hfn    | vm  |from|to|cause|level| 0  |
 *	+--------+--------+--------+-----+----+--+-----+-----+----+
 *
 * Neighbouring records differ in few bytes, so a record costs two or three bytes on disk. A reader knows a log cut
 * short by its zstd frame, which does not end. Errors of writing are kept until events_close(), because nobody who
 * changes a page's state can do anything about a full disk.
 */
#include "mm/events.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <zstd.h>

#include "mm/err.h"

#define MAGIC	 "OBEVENT\n"
#define VERSION	 1u
#define NRECORDS 4096

_Static_assert(sizeof(struct event) == 32, "the record on disk");
#if G_BYTE_ORDER != G_LITTLE_ENDIAN
#error "the log is written from memory as it is; overbook runs on x86-64 only"
#endif

struct header {
	char magic[8];
	uint32_t version, record;
};

struct events {
	FILE *file;
	ZSTD_CStream *zstd;
	char *out;
	bool lost;
	unsigned n;
	struct event record[NRECORDS];
};

static void compress_out(struct events *ev, const void *data, size_t nbytes, ZSTD_EndDirective end)
{
	ZSTD_inBuffer in = { data, nbytes, 0 };
	size_t left;

	do {
		ZSTD_outBuffer out = { ev->out, ZSTD_CStreamOutSize(), 0 };

		left = ZSTD_compressStream2(ev->zstd, &out, &in, end);
		if (ZSTD_isError(left) || fwrite(ev->out, 1, out.pos, ev->file) != out.pos) {
			ev->lost = true;
			return;
		}
	} while (end == ZSTD_e_end ? left != 0 : in.pos < in.size);
}

struct events *events_open(const char *path)
{
	const struct header h = { .magic = MAGIC, .version = VERSION, .record = sizeof(struct event) };
	FILE *file = fopen(path, "wbe");
	struct events *ev;

	if (!file)
		return NULL;
	ev = g_new0(struct events, 1);
	ev->file = file;
	ev->zstd = ZSTD_createCStream();
	ev->out = g_malloc(ZSTD_CStreamOutSize());
	compress_out(ev, &h, sizeof(h), ZSTD_e_continue);
	return ev;
}

void events_add(struct events *ev, const struct event *e)
{
	if (!ev)
		return;
	ev->record[ev->n++] = *e;
	if (ev->n == NRECORDS) {
		compress_out(ev, ev->record, sizeof(ev->record), ZSTD_e_continue);
		ev->n = 0;
	}
}

int events_close(struct events *ev)
{
	bool lost;

	if (!ev)
		return 0;
	compress_out(ev, ev->record, ev->n * sizeof(struct event), ZSTD_e_end);
	lost = ev->lost;
	if (fclose(ev->file))
		lost = true;
	ZSTD_freeCStream(ev->zstd);
	g_free(ev->out);
	g_free(ev);
	return lost ? ERR(-EIO) : 0;
}

struct reader {
	FILE *file;
	ZSTD_DStream *zstd;
	char *in_buf;
	ZSTD_inBuffer in;
	bool ended; /* the frame is complete */
};

/* Decompress up to @nbytes; fewer only at the stream's end. */
static int64_t reader_read(struct reader *r, void *buf, size_t nbytes)
{
	ZSTD_outBuffer out = { buf, nbytes, 0 };

	while (out.pos < out.size) {
		size_t before = out.pos, ret;

		if (r->in.pos == r->in.size && !r->ended) {
			r->in.size = fread(r->in_buf, 1, ZSTD_DStreamInSize(), r->file);
			r->in.pos = 0;
			if (ferror(r->file))
				return ERR(-EIO);
		}
		if (r->ended)
			return r->in.pos == r->in.size ? (int64_t)out.pos : ERR(-EINVAL);
		ret = ZSTD_decompressStream(r->zstd, &out, &r->in);
		if (ZSTD_isError(ret))
			return ERR(-EINVAL);
		r->ended = ret == 0;
		if (!r->ended && r->in.size == 0 && out.pos == before)
			return ERR(-EINVAL); /* cut short */
	}
	return (int64_t)out.pos;
}

static int reader_run(struct reader *r, int (*fn)(const struct event *e, void *ctx), void *ctx)
{
	struct event *record = g_new(struct event, NRECORDS);
	struct header h;
	int64_t n = reader_read(r, &h, sizeof(h));
	int ret = 0;

	if (n >= 0 && (n < (int64_t)sizeof(h) || memcmp(h.magic, MAGIC, sizeof(h.magic)) || h.version != VERSION ||
		       h.record != sizeof(struct event)))
		n = ERR(-EINVAL);
	while (n > 0 && !ret) {
		n = reader_read(r, record, NRECORDS * sizeof(*record));
		for (int64_t i = 0; i < n / (int64_t)sizeof(*record) && !ret; i++)
			ret = fn(&record[i], ctx);
		if (n > 0 && n % (int64_t)sizeof(*record))
			n = ERR(-EINVAL);
	}
	g_free(record);
	return ret ? ret : n < 0 ? (int)n : 0;
}

int events_read(const char *path, int (*fn)(const struct event *e, void *ctx), void *ctx)
{
	struct reader r = { .file = fopen(path, "rbe") };
	int err;

	if (!r.file)
		return ERR(-errno);
	r.zstd = ZSTD_createDStream();
	r.in_buf = g_malloc(ZSTD_DStreamInSize());
	r.in.src = r.in_buf;
	err = reader_run(&r, fn, ctx);
	ZSTD_freeDStream(r.zstd);
	g_free(r.in_buf);
	fclose(r.file);
	return err;
}

const char *event_cause_name(unsigned cause)
{
	static const char *const names[EVENT_CAUSES] = {
		[EVENT_FAULT] = "fault",       [EVENT_DMA] = "dma",   [EVENT_PREFETCH] = "prefetch",
		[EVENT_RELEASE] = "release",   [EVENT_MOVE] = "move", [EVENT_COLLAPSE] = "collapse",
		[EVENT_SPLIT] = "split",       [EVENT_YOUNG] = "young", [EVENT_DIRTY] = "dirty",
		[EVENT_IDLE] = "idle",	       [EVENT_BALLOON] = "balloon", [EVENT_DEFLATE] = "deflate",
		[EVENT_MERGE] = "merge",       [EVENT_UNSHARE] = "unshare",
		[EVENT_EVICT] = "evict",       [EVENT_SWAP_IN] = "swap-in", [EVENT_READAHEAD] = "readahead",
		[EVENT_HINT] = "hint",	       [EVENT_REPORT] = "report",
		[EVENT_OVERWRITE] = "overwrite",
	};

	return cause < EVENT_CAUSES ? names[cause] : "unknown";
}
