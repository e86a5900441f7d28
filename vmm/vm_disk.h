/* SPDX-License-Identifier: MIT */
/*
 * vm_disk.h - a VM's disk on any machine: image, device behind its registers, and when each request is done
 */
#ifndef OVERBOOK_VMM_VM_DISK_H
#define OVERBOOK_VMM_VM_DISK_H

#include "mm/gmem.h"
#include "vmm/disk_image.h"
#include "vmm/experiment.h"
#include "workloads/guest/abi.h"

struct vm_disk;

struct vm_disk_config {
	const struct conf_vm *conf;
	const char *name;  /* of the VM */
	struct gmem *gmem; /* whose counters count */
	uint64_t seed;	   /* of the VM's script, for contents that differ between disks */
	bool lockstep;
	/* The clock for a read that the host does of its own will; in lockstep it is not called. */
	uint64_t (*now)(void *ctx);
	/* The vCPU now running waits for such a read for @ns. NULL: nobody does. */
	void (*wait)(void *ctx, uint64_t ns);
	void *ctx;
};

/* What boot_info says of the disk, whose registers are at guest-physical @registers; all zero if @vm has none. */
struct disk_info vm_disk_info(const struct conf_vm *vm, gpa_t registers);
/* 0 and the disk that the VM's section asks for, *out NULL if none; -ENOMEM. */
int vm_disk_new(const struct vm_disk_config *cfg, struct vm_disk **out);
void vm_disk_free(struct vm_disk *b);

/* The guest reads or writes @len bytes (1, 2, 4 or 8) at @offset of the registers; it is @now in the guest. */
uint64_t vm_disk_read(struct vm_disk *b, uint64_t offset, unsigned len);
void vm_disk_write(struct vm_disk *b, uint64_t offset, uint64_t value, unsigned len, uint64_t now);

/* End what is done by @now. True: the device interrupts, once for each such answer. */
bool vm_disk_tick(struct vm_disk *b, uint64_t now);
/* When the next request is done; UINT64_MAX: none is under way. */
uint64_t vm_disk_next(const struct vm_disk *b);

const struct disk_image *vm_disk_image(const struct vm_disk *b);

#endif
