/* SPDX-License-Identifier: MIT */
/*
 * trace_read.c - the reader of trace files
 *
 * A file may be anything: cut short, damaged, not a trace at all. trace_open() believes nothing it has not checked;
 * afterwards the first fault in the body ends the reading and is kept for trace_error(). Memory: two buffers, the
 * ranges, zstd's window.
 */
#include "vmm/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "vmm/trace_format.h"
#include "vmm/vmm.h"

#define BUFFER (64 * 1024)
#define CACHED 1024

struct trace_reader {
	char *path;
	int fd;
	struct trace_header h;
	struct trace_info info;
	GArray *ranges; /* of struct trace_range */
	GError *error;

	/* The body: compressed bytes in in[], tokens in out[]. */
	ZSTD_DCtx *zstd;
	uint64_t offset, left; /* of the section being read: place in the file, bytes not read yet */
	bool frame_ended;
	ZSTD_inBuffer in;
	size_t at, end; /* tokens not decoded yet: out[at..end) */
	struct trace_places places;
	uint64_t counted[4]; /* accesses emitted so far, by type */
	struct {
		uint64_t page;
		uint32_t id;
	} cache[CACHED];
	uint8_t in_bytes[BUFFER], out[BUFFER];
};

static gboolean fail(struct trace_reader *r, GError **error, const char *format, ...) G_GNUC_PRINTF(3, 4);

static gboolean fail(struct trace_reader *r, GError **error, const char *format, ...)
{
	g_autofree char *what = NULL;
	va_list args;

	va_start(args, format);
	what = g_strdup_vprintf(format, args);
	va_end(args);
	g_set_error(error, VMM_ERROR, VMM_USAGE, "%s: %s", r->path, what);
	return FALSE;
}

/* @n bytes at @offset, all of them. */
static gboolean read_at(struct trace_reader *r, void *data, size_t n, uint64_t offset, GError **error)
{
	while (n) {
		ssize_t k = pread(r->fd, data, n, offset);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return fail(r, error, "reading at byte %" PRIu64 ": %s", offset, g_strerror(errno));
		if (k == 0)
			return fail(r, error, "ends at byte %" PRIu64, offset);
		data = (char *)data + k;
		n -= k;
		offset += k;
	}
	return TRUE;
}

static gboolean read_header(struct trace_reader *r, GError **error)
{
	struct trace_header *h = &r->h;
	uint64_t total;
	struct stat st;

	if (fstat(r->fd, &st) || !S_ISREG(st.st_mode))
		return fail(r, error, "is not a file");
	if ((size_t)st.st_size < sizeof(*h))
		return fail(r, error, "is not a trace: %" PRIu64 " bytes are too few", (uint64_t)st.st_size);
	if (!read_at(r, h, sizeof(*h), 0, error))
		return FALSE;
	if (memcmp(h->magic, TRACE_MAGIC, sizeof(h->magic)))
		return fail(r, error, "is not a trace (texts of lackey and CSV go through `overbook trace import`)");
	if (h->version != TRACE_VERSION || h->header_bytes != sizeof(*h))
		return fail(r, error, "header: version %u of the trace format is not known, only %d", h->version,
			    TRACE_VERSION);
	if (h->checksum != XXH3_64bits(h, offsetof(struct trace_header, checksum)))
		return fail(r, error, "header: damaged (wrong checksum)");
	if (__builtin_add_overflow(h->body_bytes, h->ranges_bytes, &total) || total > UINT64_MAX - sizeof(*h))
		return fail(r, error, "header: impossible sizes");
	total += sizeof(*h);
	if (total != (uint64_t)st.st_size)
		return fail(r, error, "is %s: %" PRIu64 " bytes, its header says %" PRIu64,
			    total > (uint64_t)st.st_size ? "cut short" : "too long", (uint64_t)st.st_size, total);
	r->info.nbytes = total;
	for (int k = 0; k < TRACE_KINDS; k++) {
		r->info.naccesses[k] = h->naccesses[k];
		if (__builtin_add_overflow(r->info.total, h->naccesses[k], &r->info.total))
			return fail(r, error, "header: impossible number of accesses");
	}
	if (h->npages > r->info.total || h->nranges > h->npages || !h->nranges || h->npages >= REPLACE_NONE)
		return fail(r, error, "header: impossible numbers of pages and ranges");
	r->info.npages = h->npages;
	r->info.nranges = h->nranges;
	return TRUE;
}

static void start_section(struct trace_reader *r, uint64_t offset, uint64_t nbytes)
{
	ZSTD_DCtx_reset(r->zstd, ZSTD_reset_session_only);
	r->offset = offset;
	r->left = nbytes;
	r->frame_ended = false;
	r->in = (ZSTD_inBuffer){ r->in_bytes, 0, 0 };
	r->at = r->end = 0;
}

/* Decompress more into out[], keeping what is not decoded yet. At the section's end nothing is added. */
static gboolean fill(struct trace_reader *r, const char *section, GError **error)
{
	ZSTD_outBuffer out;
	size_t status;

	memmove(r->out, r->out + r->at, r->end - r->at);
	r->end -= r->at;
	r->at = 0;
	out = (ZSTD_outBuffer){ r->out, sizeof(r->out), r->end };
	while (out.pos < out.size) {
		if (r->in.pos == r->in.size && r->left) {
			size_t n = MIN(r->left, sizeof(r->in_bytes));

			if (!read_at(r, r->in_bytes, n, r->offset, error))
				return FALSE;
			r->offset += n;
			r->left -= n;
			r->in = (ZSTD_inBuffer){ r->in_bytes, n, 0 };
		}
		if (r->frame_ended) {
			if (r->in.pos < r->in.size)
				return fail(r, error, "%s: bytes after its end", section);
			break;
		}
		size_t before_in = r->in.pos, before_out = out.pos;

		status = ZSTD_decompressStream(r->zstd, &out, &r->in);
		if (ZSTD_isError(status))
			return fail(r, error, "%s: damaged at byte %" PRIu64 " (%s)", section,
				    r->offset - r->in.size + r->in.pos, ZSTD_getErrorName(status));
		r->frame_ended = status == 0;
		if (!r->frame_ended && r->in.pos == before_in && out.pos == before_out && !r->left)
			return fail(r, error, "%s: ends in the middle", section);
	}
	r->end = out.pos;
	return TRUE;
}

/* One integer of the section; FALSE at a fault. */
static gboolean next_integer(struct trace_reader *r, uint64_t *v, const char *section, GError **error)
{
	const uint8_t *p;

	if (r->end - r->at < VARINT_MAX && !fill(r, section, error))
		return FALSE;
	p = varint_get(r->out + r->at, r->out + r->end, v);
	if (!p)
		return fail(r, error, "%s: malformed integer", section);
	r->at = p - r->out;
	return TRUE;
}

static gboolean read_ranges(struct trace_reader *r, GError **error)
{
	uint64_t end = 0, npages = 0, gap, v;

	start_section(r, sizeof(r->h) + r->h.body_bytes, r->h.ranges_bytes);
	for (uint64_t i = 0; i < r->h.nranges; i++) {
		struct trace_range range = { .first_id = npages };

		if (!next_integer(r, &gap, "ranges", error) || !next_integer(r, &v, "ranges", error))
			return FALSE;
		range.kinds = v & 7;
		range.npages = v >> 3;
		if (!range.kinds || !range.npages || (i && !gap) || gap > OP_VA_MASK >> 12 ||
		    range.npages > OP_VA_MASK >> 12 || end + gap + range.npages > (OP_VA_MASK >> 12) + 1)
			return fail(r, error, "ranges: range %" PRIu64 " is impossible", i);
		range.start = (end + gap) << 12;
		end += gap + range.npages;
		npages += range.npages;
		g_array_append_val(r->ranges, range);
	}
	if (npages != r->h.npages)
		return fail(r, error, "ranges: %" PRIu64 " pages, the header says %" PRIu64, npages, r->h.npages);
	if (!fill(r, "ranges", error))
		return FALSE;
	return r->at == r->end ? TRUE : fail(r, error, "ranges: more of them than the header says");
}

struct trace_reader *trace_open(const char *path, GError **error)
{
	struct trace_reader *r = g_new0(struct trace_reader, 1);

	r->path = g_strdup(path);
	r->ranges = g_array_new(FALSE, FALSE, sizeof(struct trace_range));
	r->zstd = ZSTD_createDCtx();
	for (int i = 0; i < CACHED; i++)
		r->cache[i].page = UINT64_MAX;
	r->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (r->fd < 0) {
		fail(r, error, "cannot be opened: %s", g_strerror(errno));
		goto close;
	}
	if (!read_header(r, error) || !read_ranges(r, error))
		goto close;
	trace_rewind(r);
	return r;
close:
	trace_close(r);
	return NULL;
}

void trace_close(struct trace_reader *r)
{
	if (!r)
		return;
	if (r->fd >= 0)
		close(r->fd);
	ZSTD_freeDCtx(r->zstd);
	g_array_free(r->ranges, TRUE);
	g_clear_error(&r->error);
	g_free(r->path);
	g_free(r);
}

const struct trace_info *trace_info(const struct trace_reader *r)
{
	return &r->info;
}

const struct trace_range *trace_ranges(const struct trace_reader *r, size_t *n)
{
	*n = r->ranges->len;
	return (const struct trace_range *)r->ranges->data;
}

const GError *trace_error(const struct trace_reader *r)
{
	return r->error;
}

void trace_rewind(struct trace_reader *r)
{
	start_section(r, sizeof(r->h), r->h.body_bytes);
	memset(&r->places, 0, sizeof(r->places));
	memset(r->counted, 0, sizeof(r->counted));
	g_clear_error(&r->error);
}

/* The range that holds @page, or the one after it. */
static size_t find_range(const struct trace_reader *r, uint64_t page)
{
	size_t low = 0, high = r->ranges->len;

	while (low < high) {
		size_t mid = (low + high) / 2;
		const struct trace_range *range = &g_array_index(r->ranges, struct trace_range, mid);

		if ((range->start >> 12) + range->npages <= page)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

uint32_t trace_page_id(struct trace_reader *r, uint64_t page)
{
	const struct trace_range *range;
	size_t i;

	if (r->cache[page % CACHED].page == page)
		return r->cache[page % CACHED].id;
	i = find_range(r, page);
	range = &g_array_index(r->ranges, struct trace_range, i);
	if (i == r->ranges->len || page < range->start >> 12)
		return REPLACE_NONE;
	r->cache[page % CACHED].page = page;
	return r->cache[page % CACHED].id = range->first_id + (page - (range->start >> 12));
}

static uint64_t position(const struct trace_reader *r)
{
	return r->counted[0] + r->counted[1] + r->counted[2];
}

/* The next access as OP_MAKE(); false at the end or at a fault, which is then in r->error. */
static inline bool next_access(struct trace_reader *r, uint64_t *access)
{
	uint64_t token, address;
	const uint8_t *p;

	if (G_UNLIKELY(r->end - r->at < VARINT_MAX)) {
		if (r->error || !fill(r, "body", &r->error))
			return false;
		if (r->at == r->end) {
			if (memcmp(r->counted, r->h.naccesses, sizeof(r->h.naccesses)))
				fail(r, &r->error,
				     "body: ends after %" PRIu64 " accesses, the header says %" PRIu64
				     " (or their types differ)",
				     position(r), r->info.total);
			return false;
		}
	}
	p = varint_get(r->out + r->at, r->out + r->end, &token);
	if (G_UNLIKELY(!p || (token & 3) >= TRACE_KINDS)) {
		fail(r, &r->error, "body: access %" PRIu64 " is malformed", position(r));
		return false;
	}
	address = places_decode(&r->places, token);
	if (G_UNLIKELY(address > OP_VA_MASK || trace_page_id(r, address >> 12) == REPLACE_NONE)) {
		fail(r, &r->error, "body: access %" PRIu64 " lies outside the ranges", position(r));
		return false;
	}
	r->at = p - r->out;
	r->counted[token & 3]++;
	*access = OP_MAKE(token & 3, address);
	return true;
}

uint32_t trace_read(struct trace_reader *r, uint64_t *out, uint32_t max)
{
	uint32_t n;

	for (n = 0; n < max && next_access(r, &out[n]); n++)
		;
	return n;
}

uint32_t trace_next(struct trace_reader *r, struct op *out, uint32_t max)
{
	uint32_t n;
	uint64_t access;

	for (n = 0; n < max && next_access(r, &access); n++)
		out[n] = (struct op){ .va_kind = access & ~7ull };
	return n;
}
