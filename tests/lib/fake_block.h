/* SPDX-License-Identifier: MIT */
/*
 * fake_block.h - the driver of fake_disk.h, in place of workloads/guest/block.c: for one file of a test program
 */
#ifndef OVERBOOK_TESTS_FAKE_BLOCK_H
#define OVERBOOK_TESTS_FAKE_BLOCK_H

#include "tests/lib/fake_disk.h"

void block_start(struct kernel *k)
{
	(void)k;
}

bool block_present(const struct kernel *k)
{
	return k->hal->disk != NULL;
}

uint64_t block_file_pages(const struct kernel *k)
{
	return k->hal->disk->info.file_pages;
}

uint64_t block_swap_pages(const struct kernel *k)
{
	return k->hal->disk->info.swap_pages;
}

bool block_submit(struct kernel *k, bool write, uint64_t disk_page, uint64_t gfn, uint32_t npages, uint64_t cookie)
{
	return fake_disk_submit(k, write, disk_page, gfn, npages, cookie);
}

void block_interrupt(struct kernel *k)
{
	fake_disk_interrupt(k);
}

#endif
