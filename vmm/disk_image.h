/* SPDX-License-Identifier: MIT */
/*
 * disk_image.h - what is on a VM's disk: pages of 4096 bytes, first those of files, then those of the guest's swap
 *
 * It holds contents and knows neither guests nor time. Every page has some from the start, made from a family of
 * patterns (files) or zeros (swap); an untouched disk of any size costs nothing.
 */
#ifndef OVERBOOK_VMM_DISK_IMAGE_H
#define OVERBOOK_VMM_DISK_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "mm/machine.h"

struct disk_image;

struct disk_image_config {
	uint64_t file_pages, swap_pages;
	uint64_t content; /* of the files at first, as phase.content of workloads/workload.h; 0: zeros */
	uint64_t key;	  /* of this disk, for contents that differ between disks */
};

/* NULL and ENOMEM when there is no address space for it. */
struct disk_image *disk_image_new(const struct disk_image_config *cfg);
void disk_image_free(struct disk_image *d);

const struct disk_image_config *disk_image_config(const struct disk_image *d);
uint64_t disk_image_pages(const struct disk_image *d); /* of both ranges */

/* One page, below disk_image_pages(). */
void disk_image_read(const struct disk_image *d, uint64_t page, struct page_content *out);
void disk_image_write(struct disk_image *d, uint64_t page, const struct page_content *in);

/* Bytes [offset, offset + len), which lie on the disk. */
void disk_image_read_bytes(const struct disk_image *d, uint64_t offset, void *buf, uint64_t len);
void disk_image_write_bytes(struct disk_image *d, uint64_t offset, const void *buf, uint64_t len);
void disk_image_zero(struct disk_image *d, uint64_t offset, uint64_t len);

/* The first page from @page on that was ever written, or UINT64_MAX. */
uint64_t disk_image_next_written(const struct disk_image *d, uint64_t page);
/* Is the page's content what it was at first? */
bool disk_image_is_initial(const struct disk_image *d, uint64_t page, const struct page_content *c);

#endif
