/* SPDX-License-Identifier: MIT */
/*
 * virtio_blk.c - the virtio block device
 *
 * Problem: a guest asks for sectors, in buffers of any shape, many requests at once, and may say anything.
 *
 * Idea: a request is checked and begun when the driver notifies, and ended when the host says so (virtio_blk_host): it
 * has its chain's head as its number meanwhile. What a write carries is taken when it begins, what a read brings is
 * put into guest memory when it ends. Data that is aligned to pages on both sides moves as pages (gmem_read_page), the
 * rest as bytes; all of it through gmem, which faults pages in, breaks sharing and refuses what is ballooned.
 *
 * What is wrong about a request is counted in blk_errors and answered: IOERR for sectors that are not there, lengths
 * that are none, memory that cannot be had; UNSUPP for what was not offered or accepted. Where there is no place for
 * an answer, or the ring is malformed, the device needs a reset.
 *
 * Structures: request[head] keeps the chain of a request that was begun.
 *
 * Invariants (tests/unit/test_virtio_blk.c, tests/fuzz/test_virtio_fuzz.c):
 *  - what is outside the buffers that a chain lets the device write is never written;
 *  - each chain taken is returned once, or the device needs a reset;
 *  - the image changes only within its size, by writes that were answered with OK or failed half-way.
 *
 * Source: VIRTIO 1.2, section 5.2.
 */
#include "vmm/virtio_blk.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define SECTORS	     (PAGE_SIZE / VIRTIO_BLK_SECTOR)
#define MOST_RANGES  16u
#define MOST_SECTORS (VIRTIO_BLK_MOST_BYTES / VIRTIO_BLK_SECTOR)

struct request {
	struct virtqueue_chain *chain; /* NULL: none of this number */
	uint32_t type;
	uint64_t offset; /* bytes */
	uint8_t status;
};

struct virtio_blk {
	struct virtio_device virtio; /* first */
	struct gmem *gmem;
	struct counters *c;
	struct disk_image *image;
	struct virtio_blk_host host;
	struct virtio_blk_config config;
	char identity[VIRTIO_BLK_ID];
	struct request request[VIRTQUEUE_MAX];
	struct virtqueue_chain chain; /* the one being taken */
};

static struct virtio_blk *blk(struct virtio_device *d)
{
	return (struct virtio_blk *)d;
}

static uint8_t config_read(struct virtio_device *d, unsigned offset)
{
	return ((const uint8_t *)&blk(d)->config)[offset];
}

static void violated(struct virtio_device *d)
{
	blk(d)->c->blk_errors++;
}

/* No field is the driver's without F_CONFIG_WCE, which is not offered. */
static void config_write(struct virtio_device *d, unsigned offset, uint8_t value)
{
	(void)offset;
	(void)value;
	violated(d);
}

static void broken(struct virtio_blk *b)
{
	b->c->blk_errors++;
	virtio_needs_reset(&b->virtio);
}

/* One way of copying or the other: between page @block of the image and the guest's. */
static int copy_page(struct virtio_blk *b, uint64_t block, gfn_t gfn, bool to_guest)
{
	struct page_content page;
	int err;

	if (to_guest) {
		disk_image_read(b->image, block, &page);
		return gmem_page_from_disk(b->gmem, gfn, block, &page);
	}
	err = gmem_page_to_disk(b->gmem, gfn, block, &page);
	if (!err)
		disk_image_write(b->image, block, &page);
	return err;
}

/* At most a page's length, and of one page of the image. */
static int copy_bytes(struct virtio_blk *b, uint64_t offset, gpa_t gpa, uint64_t len, bool to_guest)
{
	uint8_t bytes[PAGE_SIZE];
	int err;

	if (to_guest) {
		disk_image_read_bytes(b->image, offset, bytes, len);
		return gmem_write(b->gmem, gpa, bytes, len);
	}
	err = gmem_read(b->gmem, gpa, bytes, len);
	if (!err)
		err = gmem_disk_changes(b->gmem, offset / PAGE_SIZE, 1);
	if (!err)
		disk_image_write_bytes(b->image, offset, bytes, len);
	return err;
}

/* Between the image at *@offset and the guest's buffer. */
static int copy_buffer(struct virtio_blk *b, uint64_t *offset, gpa_t gpa, uint64_t len, bool to_guest)
{
	while (len) {
		uint64_t n = MIN(len, PAGE_SIZE - MAX(*offset % PAGE_SIZE, gpa % PAGE_SIZE));
		int err = n == PAGE_SIZE ? copy_page(b, *offset / PAGE_SIZE, gpa >> PAGE_SHIFT, to_guest) :
					   copy_bytes(b, *offset, gpa, n, to_guest);

		if (err)
			return err;
		*offset += n;
		gpa += n;
		len -= n;
	}
	return 0;
}

/* Data of the request: what is readable after the header, or writable before the status. */
static uint8_t move(struct virtio_blk *b, const struct request *r, bool to_guest)
{
	const struct virtqueue_chain *c = r->chain;
	const struct virtqueue_buffer *buffer = c->buffer + (to_guest ? c->nread : 0);
	unsigned n = to_guest ? c->nwrite : c->nread;
	uint64_t skip = to_guest ? 0 : sizeof(struct virtio_blk_header), offset = r->offset;
	uint64_t left = to_guest ? c->write_len - 1 : c->read_len - skip;

	for (unsigned i = 0; i < n && left; i++) {
		uint64_t at = MIN(skip, buffer[i].len), len = MIN(buffer[i].len - at, left);

		if (copy_buffer(b, &offset, buffer[i].gpa + at, len, to_guest))
			return VIRTIO_BLK_IOERR;
		skip -= at;
		left -= len;
	}
	return VIRTIO_BLK_OK;
}

/* Write to what the device may write, before the status. */
static uint8_t answer(struct virtio_blk *b, const struct virtqueue_chain *c, const char *bytes, uint64_t len)
{
	const struct virtqueue_buffer *buffer = c->buffer + c->nread;

	for (unsigned i = 0; i < c->nwrite && len; i++) {
		uint64_t n = MIN(buffer[i].len, len);

		if (gmem_write(b->gmem, buffer[i].gpa, bytes, n))
			return VIRTIO_BLK_IOERR;
		bytes += n;
		len -= n;
	}
	return VIRTIO_BLK_OK;
}

/* The last byte that the device may write; the writable part is not empty. */
static int put_status(struct virtio_blk *b, const struct virtqueue_chain *c, uint8_t status)
{
	unsigned i = c->nread + c->nwrite - 1;

	while (!c->buffer[i].len)
		i--;
	return gmem_write(b->gmem, c->buffer[i].gpa + c->buffer[i].len - 1, &status, 1);
}

static void finish(struct virtio_blk *b, const struct virtqueue_chain *c, uint8_t status, uint64_t written)
{
	bool interrupt;

	b->c->blk_errors += status != VIRTIO_BLK_OK;
	if (put_status(b, c, status) ||
	    virtqueue_push(&b->virtio.queue[0], c->head, (uint32_t)(written + 1), &interrupt))
		broken(b);
	else if (interrupt)
		virtio_interrupt(&b->virtio, VIRTIO_INT_USED);
}

static bool on_disk(const struct virtio_blk *b, uint64_t sector, uint64_t nsectors)
{
	return sector <= b->config.capacity && nsectors <= b->config.capacity - sector;
}

static int clear_range(struct virtio_blk *b, uint64_t offset, uint64_t nbytes)
{
	uint64_t end = (offset + nbytes + PAGE_SIZE - 1) / PAGE_SIZE;
	int err = gmem_disk_changes(b->gmem, offset / PAGE_SIZE, end - offset / PAGE_SIZE);

	if (!err)
		disk_image_zero(b->image, offset, nbytes);
	return err;
}

/* DISCARD and WRITE_ZEROES: both leave zeros. */
static uint8_t clear_ranges(struct virtio_blk *b, const struct virtqueue_chain *c, bool discard)
{
	uint64_t len = c->read_len - sizeof(struct virtio_blk_header);
	struct virtio_blk_range r[MOST_RANGES];

	if (!len || len % sizeof(*r) || len > sizeof(r))
		return VIRTIO_BLK_IOERR;
	if (virtqueue_read(&b->virtio.queue[0], c, sizeof(struct virtio_blk_header), r, (uint32_t)len) != (int)len)
		return VIRTIO_BLK_IOERR;
	len /= sizeof(*r);
	for (uint64_t i = 0; i < len; i++) {
		if (r[i].flags & ~(discard ? 0 : VIRTIO_BLK_UNMAP))
			return VIRTIO_BLK_UNSUPP;
		if (r[i].num_sectors > MOST_SECTORS || !on_disk(b, r[i].sector, r[i].num_sectors))
			return VIRTIO_BLK_IOERR;
	}
	for (uint64_t i = 0; i < len; i++)
		if (clear_range(b, r[i].sector * VIRTIO_BLK_SECTOR, (uint64_t)r[i].num_sectors * VIRTIO_BLK_SECTOR))
			return VIRTIO_BLK_IOERR;
	b->c->blk_discards++;
	return VIRTIO_BLK_OK;
}

/* It ends when the host says so. */
static void begin(struct virtio_blk *b, struct request *r, uint64_t nbytes)
{
	uint64_t first = r->offset / PAGE_SIZE, end = (r->offset + nbytes + PAGE_SIZE - 1) / PAGE_SIZE;
	bool write = r->type != VIRTIO_BLK_T_IN;
	unsigned nbuffers = b->chain.nread + b->chain.nwrite;
	size_t size = offsetof(struct virtqueue_chain, buffer) + nbuffers * sizeof(b->chain.buffer[0]);

	r->chain = g_memdup2(&b->chain, size);
	r->status = VIRTIO_BLK_OK;
	if (r->type == VIRTIO_BLK_T_OUT)
		r->status = move(b, r, false);
	b->host.begin(b->host.ctx, r->chain->head, write, nbytes ? first : 0, nbytes ? end - first : 0);
}

static uint8_t begin_transfer(struct virtio_blk *b, struct request *r, uint64_t nbytes, uint64_t sector)
{
	bool write = r->type == VIRTIO_BLK_T_OUT;
	uint64_t npages;

	if (!nbytes || nbytes % VIRTIO_BLK_SECTOR || nbytes > VIRTIO_BLK_MOST_BYTES ||
	    !on_disk(b, sector, nbytes / VIRTIO_BLK_SECTOR))
		return VIRTIO_BLK_IOERR;
	r->offset = sector * VIRTIO_BLK_SECTOR;
	npages = (r->offset % PAGE_SIZE + nbytes + PAGE_SIZE - 1) / PAGE_SIZE;
	b->c->blk_reads += !write;
	b->c->blk_writes += write;
	b->c->blk_read_pages += write ? 0 : npages;
	b->c->blk_write_pages += write ? npages : 0;
	begin(b, r, nbytes);
	return VIRTIO_BLK_OK;
}

/* Begin what takes time; *@done: it is over at once, with the status returned. */
static uint8_t serve(struct virtio_blk *b, struct request *r, const struct virtio_blk_header *h, bool *done)
{
	const struct virtqueue_chain *c = &b->chain;
	uint64_t features = b->virtio.features;
	uint8_t status = VIRTIO_BLK_OK;

	r->type = h->type;
	r->offset = 0;
	*done = true;
	switch (h->type) {
	case VIRTIO_BLK_T_IN:
		status = begin_transfer(b, r, c->write_len - 1, h->sector);
		*done = status != VIRTIO_BLK_OK;
		return status;
	case VIRTIO_BLK_T_OUT:
		status = begin_transfer(b, r, c->read_len - sizeof(*h), h->sector);
		*done = status != VIRTIO_BLK_OK;
		return status;
	case VIRTIO_BLK_T_FLUSH:
		if (!(features & VIRTIO_BLK_F_FLUSH))
			return VIRTIO_BLK_UNSUPP;
		b->c->blk_flushes++;
		begin(b, r, 0);
		*done = false;
		return VIRTIO_BLK_OK;
	case VIRTIO_BLK_T_GET_ID:
		return answer(b, c, b->identity, MIN(c->write_len - 1, sizeof(b->identity)));
	case VIRTIO_BLK_T_DISCARD:
		return features & VIRTIO_BLK_F_DISCARD ? clear_ranges(b, c, true) : VIRTIO_BLK_UNSUPP;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return features & VIRTIO_BLK_F_WRITE_ZEROES ? clear_ranges(b, c, false) : VIRTIO_BLK_UNSUPP;
	default:
		return VIRTIO_BLK_UNSUPP;
	}
}

/* The chain taken; false: it is no request. */
static bool take_request(struct virtio_blk *b)
{
	const struct virtqueue_chain *c = &b->chain;
	struct request *r = &b->request[c->head];
	struct virtio_blk_header h;
	uint8_t status;
	bool done;

	if (r->chain || !c->write_len || c->read_len < sizeof(h))
		return false;
	if (virtqueue_read(&b->virtio.queue[0], c, 0, &h, sizeof(h)) != sizeof(h))
		return false;
	status = serve(b, r, &h, &done);
	if (done)
		finish(b, c, status,
		       h.type == VIRTIO_BLK_T_GET_ID && !status ? MIN(c->write_len - 1, VIRTIO_BLK_ID) : 0);
	return true;
}

static void notify(struct virtio_device *d, unsigned queue)
{
	struct virtio_blk *b = blk(d);
	int got = 0;

	/* A driver on another CPU could go on adding: what one notification is worth is bounded. */
	for (unsigned i = 0; i < VIRTQUEUE_MAX && virtio_running(d); i++) {
		got = virtqueue_pop(&d->queue[queue], &b->chain);
		if (got <= 0)
			break;
		if (!take_request(b)) {
			got = -EINVAL;
			break;
		}
	}
	if (got < 0)
		broken(b);
}

void virtio_blk_end(struct virtio_blk *b, unsigned id)
{
	struct request *r = &b->request[id];
	g_autofree struct virtqueue_chain *c = r->chain;
	uint64_t written = 0;

	g_assert(c);
	if (r->type == VIRTIO_BLK_T_IN && virtio_running(&b->virtio)) {
		r->status = move(b, r, true);
		written = r->status == VIRTIO_BLK_OK ? c->write_len - 1 : 0;
	}
	r->chain = NULL;
	if (virtio_running(&b->virtio) && b->virtio.queue[0].ready)
		finish(b, c, r->status, written);
}

static void drop_requests(struct virtio_blk *b)
{
	for (unsigned i = 0; i < VIRTQUEUE_MAX; i++) {
		g_free(b->request[i].chain);
		b->request[i].chain = NULL;
	}
}

static void reset(struct virtio_device *d)
{
	struct virtio_blk *b = blk(d);

	b->host.cancel(b->host.ctx);
	drop_requests(b);
}

static void started(struct virtio_device *d)
{
	(void)d;
}

static void block_content(void *ctx, uint64_t block, struct page_content *out)
{
	struct virtio_blk *b = ctx;

	disk_image_read(b->image, block, out);
}

static void block_read(void *ctx, uint64_t block, uint64_t npages)
{
	struct virtio_blk *b = ctx;

	b->host.read(b->host.ctx, block, npages);
}

static const struct virtio_ops blk_ops = {
	.id = VIRTIO_ID_BLOCK,
	.nqueues = 1,
	.config_size = sizeof(struct virtio_blk_config),
	.config_read = config_read,
	.config_write = config_write,
	.notify = notify,
	.reset = reset,
	.started = started,
	.violated = violated,
};

struct virtio_blk *virtio_blk_new(struct gmem *g, struct disk_image *image, const struct virtio_blk_host *host,
				  const char *identity)
{
	struct virtio_blk *b = g_new0(struct virtio_blk, 1);
	const struct gmem_backing backing = {
		.file_pages = disk_image_config(image)->file_pages,
		.npages = disk_image_pages(image),
		.content = block_content,
		.read = block_read,
		.ctx = b,
	};

	if (gmem_set_backing(g, &backing)) {
		g_free(b);
		errno = ENOMEM;
		return NULL;
	}
	b->gmem = g;
	b->c = gmem_counters(g);
	b->image = image;
	b->host = *host;
	memcpy(b->identity, identity, MIN(strlen(identity), sizeof(b->identity)));
	b->config = (struct virtio_blk_config){
		.capacity = disk_image_pages(image) * SECTORS,
		.seg_max = VIRTQUEUE_MAX - 2,
		.blk_size = PAGE_SIZE,
		.num_queues = 1,
		.max_discard_sectors = MOST_SECTORS,
		.max_discard_seg = MOST_RANGES,
		.discard_sector_alignment = SECTORS,
		.max_write_zeroes_sectors = MOST_SECTORS,
		.max_write_zeroes_seg = MOST_RANGES,
		.write_zeroes_may_unmap = 1,
	};
	b->virtio.ops = &blk_ops;
	b->virtio.offered = VIRTIO_F_VERSION_1 | VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_FLUSH |
			    VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES;
	for (unsigned i = 0; i < VIRTIO_QUEUES; i++)
		b->virtio.queue[i].gmem = g;
	virtio_reset(&b->virtio);
	return b;
}

void virtio_blk_free(struct virtio_blk *b)
{
	if (!b)
		return;
	drop_requests(b);
	g_free(b);
}

struct virtio_device *virtio_blk_virtio(struct virtio_blk *b)
{
	return &b->virtio;
}
