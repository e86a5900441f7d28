/* SPDX-License-Identifier: MIT */
/*
 * blk.h - a simulated VM's disk: image, device behind its registers, and when each request is done
 */
#ifndef OVERBOOK_SIM_BLK_H
#define OVERBOOK_SIM_BLK_H

#include "vmm/disk_image.h"
#include "vmm/experiment.h"
#include "workloads/guest/abi.h"

/* Guest-physical address of the registers: above the balloon's. */
#define SIM_BLK_GPA ((1ull << 45) + 0x1000)

struct sim_blk;
struct sim_vm;

/* What boot_info says of the disk; all zero if @vm has none. */
struct disk_info sim_blk_info(const struct conf_vm *vm);
/* Give @vm, which has its gmem, the disk that its section asks for: vm->blk, NULL if none. -ENOMEM. */
int sim_blk_init(struct sim_vm *vm);
void sim_blk_free(struct sim_blk *b);

uint32_t sim_blk_read(struct sim_blk *b, uint64_t gpa);
/* It is @now in the guest. */
void sim_blk_write(struct sim_blk *b, uint64_t gpa, uint32_t value, uint64_t now);

/* End what is done by @now. True: the device interrupts, once for each such answer. */
bool sim_blk_tick(struct sim_blk *b, uint64_t now);
/* When the next request is done; UINT64_MAX: none is under way. */
uint64_t sim_blk_next(const struct sim_blk *b);

const struct disk_image *sim_blk_image(const struct sim_blk *b);

#endif
