/* SPDX-License-Identifier: MIT */
/*
 * vm_balloon.h - a VM's balloon on any machine: the device behind its registers, and what the host asks of it when
 */
#ifndef OVERBOOK_VMM_VM_BALLOON_H
#define OVERBOOK_VMM_VM_BALLOON_H

#include "mm/gmem.h"
#include "vmm/experiment.h"
#include "workloads/guest/abi.h"

struct vm_balloon;

/* What boot_info says of the balloon, whose registers are at guest-physical @registers; all zero if @vm has none. */
struct balloon_info vm_balloon_info(const struct experiment *e, const struct conf_vm *vm, gpa_t registers);
struct vm_balloon *vm_balloon_new(const struct experiment *e, const struct conf_vm *vm, struct gmem *g);
void vm_balloon_free(struct vm_balloon *b);

/* The guest reads or writes @len bytes (1, 2, 4 or 8) at @offset of the registers. */
uint64_t vm_balloon_read(struct vm_balloon *b, uint64_t offset, unsigned len);
void vm_balloon_write(struct vm_balloon *b, uint64_t offset, uint64_t value, unsigned len);

/* It is @now in the guest: ask for what the experiment says. True: the device interrupts, once for each such answer. */
bool vm_balloon_tick(struct vm_balloon *b, uint64_t now);
/* When the host wants something of the guest by the experiment; UINT64_MAX: never again. */
uint64_t vm_balloon_next(const struct vm_balloon *b, uint64_t now);

/* The device; NULL if @b is. */
struct balloon_device *vm_balloon_device(const struct vm_balloon *b);

/* Pages that @vm is to give up at @now, and when that changes next. */
uint64_t vm_balloon_wanted(const struct conf_vm *vm, uint64_t now, uint64_t *next);

#endif
