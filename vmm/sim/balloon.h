/* SPDX-License-Identifier: MIT */
/*
 * balloon.h - a simulated VM's balloon: the device behind its registers, and what the host asks of it when
 */
#ifndef OVERBOOK_SIM_BALLOON_H
#define OVERBOOK_SIM_BALLOON_H

#include "mm/gmem.h"
#include "vmm/experiment.h"
#include "workloads/guest/abi.h"

/* Guest-physical address of the registers: above all memory that a guest can have. */
#define SIM_BALLOON_GPA (1ull << 45)

struct sim_balloon;

/* What boot_info says of the balloon; all zero if @vm has none. */
struct balloon_info sim_balloon_info(const struct experiment *e, const struct conf_vm *vm);
struct sim_balloon *sim_balloon_new(const struct experiment *e, const struct conf_vm *vm, struct gmem *g);
void sim_balloon_free(struct sim_balloon *b);

uint32_t sim_balloon_read(struct sim_balloon *b, uint64_t gpa);
void sim_balloon_write(struct sim_balloon *b, uint64_t gpa, uint32_t value);

/* It is @now in the guest: ask for what the experiment says. True: the device interrupts, once for each such answer. */
bool sim_balloon_tick(struct sim_balloon *b, uint64_t now);
/* When the host wants something of the guest by the experiment; UINT64_MAX: never again. */
uint64_t sim_balloon_next(const struct sim_balloon *b, uint64_t now);

/* The device; NULL if @b is. */
struct balloon_device *sim_balloon_device(const struct sim_balloon *b);

/* Pages that @vm is to give up at @now, and when that changes next. */
uint64_t sim_balloon_wanted(const struct conf_vm *vm, uint64_t now, uint64_t *next);

#endif
