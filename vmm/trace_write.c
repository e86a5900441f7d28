/* SPDX-License-Identifier: MIT */
/*
 * trace_write.c - the writer of trace files
 *
 * Tokens gather in a buffer, the buffer goes through zstd into a file under a temporary name; the header is written
 * last, in its place at the front, so a file that was never completed has no header. Which pages were touched, and how,
 * is kept in a hash table that a small direct-mapped cache spares nearly all accesses; trace_commit() sorts it into
 * ranges.
 */
#include "vmm/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "vmm/trace_format.h"
#include "vmm/unfinished.h"
#include "vmm/vmm.h"

#define BUFFER	    (64 * 1024)
#define SEEN	    1024
#define LEVEL	    9  /* of zstd: 5 M accesses a second, a hundred times what a recording makes */
#define LARGEST_LOG 23 /* zstd's window: 8 MiB, the most a decoder takes without being asked */

struct trace_writer {
	char *path;
	struct unfinished file; /* until it is renamed */
	int fd;
	uint64_t offset; /* where in the file the next compressed bytes go */
	ZSTD_CCtx *zstd;
	struct trace_places places;
	uint64_t naccesses[TRACE_KINDS];
	GHashTable *pages; /* page + 1 -> bits of kinds */
	struct {
		uint64_t page;
		unsigned kinds;
	} seen[SEEN];
	size_t nbuffered;
	uint8_t buffer[BUFFER + VARINT_MAX];
};

static gboolean fail_io(const struct trace_writer *w, const char *what, GError **error)
{
	int e = errno;

	g_set_error(error, VMM_ERROR, VMM_FAILED, "%s: %s: %s", w->path, what, g_strerror(e));
	return FALSE;
}

struct trace_writer *trace_create(const char *path, GError **error)
{
	struct trace_writer *w = g_new0(struct trace_writer, 1);
	/* Say now what rename() would say after hours of recording. */
	int ret = g_file_test(path, G_FILE_TEST_IS_DIR) ? -EISDIR : unfinished_file(&w->file, path);

	w->path = g_strdup(path);
	if (ret) {
		g_set_error(error, VMM_ERROR, VMM_USAGE, "%s: cannot be written: %s", path, g_strerror(-ret));
		trace_abandon(w);
		return NULL;
	}
	w->offset = sizeof(struct trace_header);
	w->zstd = ZSTD_createCCtx();
	ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, LEVEL);
	ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_windowLog, LARGEST_LOG);
	ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1);
	w->pages = g_hash_table_new(NULL, NULL);
	for (int i = 0; i < SEEN; i++)
		w->seen[i].page = UINT64_MAX;
	return w;
}

static gboolean write_at(struct trace_writer *w, const void *data, size_t n, uint64_t offset, GError **error)
{
	while (n) {
		ssize_t k = pwrite(w->file.fd, data, n, offset);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return fail_io(w, "writing", error);
		data = (const char *)data + k;
		n -= k;
		offset += k;
	}
	return TRUE;
}

static gboolean compress(struct trace_writer *w, const void *data, size_t n, ZSTD_EndDirective end, GError **error)
{
	uint8_t out[16384];
	ZSTD_inBuffer in = { data, n, 0 };
	size_t left;

	do {
		ZSTD_outBuffer o = { out, sizeof(out), 0 };

		left = ZSTD_compressStream2(w->zstd, &o, &in, end);
		if (ZSTD_isError(left)) {
			g_set_error(error, VMM_ERROR, VMM_FAILED, "%s: compressing: %s", w->path,
				    ZSTD_getErrorName(left));
			return FALSE;
		}
		if (!write_at(w, out, o.pos, w->offset, error))
			return FALSE;
		w->offset += o.pos;
	} while (end == ZSTD_e_end ? left : in.pos < in.size);
	return TRUE;
}

static void touch(struct trace_writer *w, uint64_t page, unsigned kinds)
{
	gpointer key = GSIZE_TO_POINTER(page + 1);

	if (w->seen[page % SEEN].page != page) {
		w->seen[page % SEEN].page = page;
		w->seen[page % SEEN].kinds = GPOINTER_TO_UINT(g_hash_table_lookup(w->pages, key));
	}
	kinds |= w->seen[page % SEEN].kinds;
	if (kinds != w->seen[page % SEEN].kinds) {
		w->seen[page % SEEN].kinds = kinds;
		g_hash_table_insert(w->pages, key, GUINT_TO_POINTER(kinds));
	}
}

gboolean trace_write(struct trace_writer *w, uint64_t address, unsigned kind, GError **error)
{
	uint64_t page = address >> 12;

	g_assert(kind < TRACE_KINDS);
	if (address > OP_VA_MASK) {
		g_set_error(error, VMM_ERROR, VMM_USAGE, "address 0x%" PRIx64 " has more than 57 bits", address);
		return FALSE;
	}
	if (w->seen[page % SEEN].page != page || !(w->seen[page % SEEN].kinds & 1u << kind))
		touch(w, page, 1u << kind);
	w->naccesses[kind]++;
	w->nbuffered = varint_put(w->buffer + w->nbuffered, places_encode(&w->places, address, kind)) - w->buffer;
	if (w->nbuffered < BUFFER)
		return TRUE;
	if (!compress(w, w->buffer, w->nbuffered, ZSTD_e_continue, error))
		return FALSE;
	w->nbuffered = 0;
	return TRUE;
}

uint64_t trace_written(const struct trace_writer *w)
{
	return w->naccesses[0] + w->naccesses[1] + w->naccesses[2];
}

static int compare_pages(gconstpointer a, gconstpointer b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* All touched pages in order of address, as page << 3 | kinds. */
static GArray *sorted_pages(struct trace_writer *w)
{
	GArray *a = g_array_sized_new(FALSE, FALSE, sizeof(uint64_t), g_hash_table_size(w->pages));
	GHashTableIter it;
	gpointer key, value;

	g_hash_table_iter_init(&it, w->pages);
	while (g_hash_table_iter_next(&it, &key, &value)) {
		uint64_t v = (GPOINTER_TO_SIZE(key) - 1) << 3 | GPOINTER_TO_UINT(value);

		g_array_append_val(a, v);
	}
	g_array_sort(a, compare_pages);
	return a;
}

/* The range section, uncompressed. */
static GByteArray *encode_ranges(const GArray *pages, uint64_t *nranges)
{
	GByteArray *out = g_byte_array_new();
	uint64_t end = 0; /* page after the last range */

	*nranges = 0;
	for (guint i = 0, next; i < pages->len; i = next) {
		const uint64_t *p = &g_array_index(pages, uint64_t, i);
		uint64_t first = *p >> 3, kinds = 0;
		uint8_t pair[2 * VARINT_MAX], *at = pair;

		for (next = i; next < pages->len && (p[next - i] >> 3) == first + next - i; next++)
			kinds |= p[next - i] & 7;
		at = varint_put(at, first - end);
		at = varint_put(at, (uint64_t)(next - i) << 3 | kinds);
		g_byte_array_append(out, pair, at - pair);
		end = first + next - i;
		++*nranges;
	}
	return out;
}

static gboolean finish(struct trace_writer *w, GError **error)
{
	struct trace_header h = { .magic = TRACE_MAGIC, .version = TRACE_VERSION, .header_bytes = sizeof(h) };
	g_autoptr(GArray) pages = sorted_pages(w);
	g_autoptr(GByteArray) ranges = encode_ranges(pages, &h.nranges);
	uint64_t body_end;

	if (!trace_written(w)) {
		g_set_error(error, VMM_ERROR, VMM_USAGE, "%s: not written: no access to put into it", w->path);
		return FALSE;
	}
	if (!compress(w, w->buffer, w->nbuffered, ZSTD_e_end, error))
		return FALSE;
	body_end = w->offset;
	if (!compress(w, ranges->data, ranges->len, ZSTD_e_end, error))
		return FALSE;
	memcpy(h.naccesses, w->naccesses, sizeof(h.naccesses));
	h.npages = pages->len;
	h.body_bytes = body_end - sizeof(h);
	h.ranges_bytes = w->offset - body_end;
	h.checksum = XXH3_64bits(&h, offsetof(struct trace_header, checksum));
	if (!write_at(w, &h, sizeof(h), 0, error))
		return FALSE;
	if (fsync(w->file.fd))
		return fail_io(w, "writing", error);
	if (rename(w->file.path, w->path))
		return fail_io(w, "renaming", error);
	unfinished_end(&w->file);
	return TRUE;
}

gboolean trace_commit(struct trace_writer *w, GError **error)
{
	gboolean ok = finish(w, error);

	trace_abandon(w);
	return ok;
}

void trace_abandon(struct trace_writer *w)
{
	if (!w)
		return;
	if (w->file.path)
		unlink(w->file.path);
	unfinished_end(&w->file);
	ZSTD_freeCCtx(w->zstd);
	g_clear_pointer(&w->pages, g_hash_table_destroy);
	g_free(w->path);
	g_free(w);
}
