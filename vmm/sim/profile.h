/* SPDX-License-Identifier: MIT */
/*
 * profile.h - a processor, described: geometry and costs
 *
 * Everything the simulator knows about a CPU model is one of these structs; docs/cost-model.md gives the source of
 * every number. Built-in profiles are the table profiles[]; a file with a [profile] section (GKeyFile, key = field
 * name, `base` = name of the profile it starts from) describes another. Costs are cycles of the core at `mhz`.
 */
#ifndef OVERBOOK_SIM_PROFILE_H
#define OVERBOOK_SIM_PROFILE_H

#include <glib.h>
#include <stdint.h>

/* entries == 0: there is none; ways == entries: fully associative. ways divides entries; sets are a power of two. */
struct geometry {
	uint32_t entries, ways;
};

/* At least 64 sets, a power of two. */
struct cache_geometry {
	uint32_t kib, ways;
};

struct sim_profile {
	const char *name, *summary;
	const char *vendor; /* "intel", "amd": names second-stage paging and picks EPT or NPT rules */
	uint32_t mhz;
	uint32_t maxphyaddr;

	/* Data TLBs; L2 holds 4K and 2M together where l2_shared_2m, else 4K only. */
	struct geometry l1_4k, l1_2m, l1_1g, l2, l2_1g;
	uint32_t l1_unified; /* l1_4k holds pages of every size; l1_2m and l1_1g are unused */
	uint32_t l2_shared_2m;
	/* Page-walk caches: entries that point to tables, by the level of the entry (2: PDE, 3: PDPTE, 4: PML4E, 5). */
	struct geometry pwc[6];
	struct geometry npwc[6]; /* the same for the second stage */
	struct geometry ntlb;	 /* gpa -> hpa of guest table pages and data */

	/* Data caches of 64-byte lines, and their load-to-use cycles; l3 is this core's share. */
	struct cache_geometry l1d, l2d, l3d;
	uint32_t l1d_cycles, l2d_cycles, l3d_cycles;
	uint32_t mem_cycles;
	uint32_t flat_ref_cycles; /* one table reference with caches = flat */
	uint32_t flat_data_cycles; /* one data access with caches = flat */

	/* TLB */
	uint32_t l2_tlb_cycles; /* an L1 miss that hits L2 */
	uint32_t walk_start_cycles;
	uint32_t ad_update_cycles; /* one locked A/D update */
	uint32_t invlpg_cycles, cr3_cycles, invpcid_cycles;

	/* Exits: hardware round trip; then what the VMM does, by cause */
	uint32_t exit_cycles;
	uint32_t handle_page_fault, handle_traced_write, handle_cr, handle_invlpg, handle_ept, handle_pml,
		handle_hypercall, handle_io, handle_halt, handle_interrupt;
	uint32_t inject_cycles;

	/* Guest kernel: exception delivery and return, a system call, a fault's bookkeeping, a switch, fork, exit */
	uint32_t exception_cycles, syscall_cycles, fault_cycles, switch_cycles, fork_cycles, exit_process_cycles;
	uint32_t zero_page_cycles, copy_page_cycles, fill_page_cycles;
	uint32_t op_cycles; /* the instructions around one workload access */

	/* Memory manager, by enum charge_kind */
	uint32_t populate_cycles, release_cycles, move_cycles, table_write_cycles, table_page_cycles, guest_read_cycles;
	uint32_t checksum_cycles, compare_cycles, merge_cycles; /* of a page */
	uint32_t compress_cycles, decompress_cycles;
	uint32_t lz4_compress_cycles, lz4_decompress_cycles;
	uint32_t pv_update_cycles; /* validating one update in a batch */
};

extern const struct sim_profile *const profiles[]; /* NULL-ended */

/* By name, or from a file if @name contains a '/' or ends in ".ini". The caller frees with profile_free(). */
struct sim_profile *profile_load(const char *name, GError **error);
/*
 * Override one field by its name, as [costs] does: "l1_4k" takes entries and ways, "64/4" or "0", "l1d" takes KiB and
 * ways, numbers are cycles; elements of arrays are pwc2 to pwc5 and npwc2 to npwc5. An unknown field or a value that is
 * not allowed is an error of domain VMM_ERROR that names field, value and what is allowed, and leaves @p as it was.
 */
gboolean profile_set(struct sim_profile *p, const char *field, const char *value, GError **error);
/* Field names, for messages and canonical output; NULL past the end. */
const char *profile_field(unsigned i);
char *profile_get(const struct sim_profile *p, const char *field); /* as profile_set takes it; g_free */
void profile_free(struct sim_profile *p);
/*
 * Write @p as a file that profile_load() reads: fields that differ from built-in profile @base, each under what
 * @comment says of it, and those that @comment has something to say of. @comment returns NULL for nothing; g_free.
 */
gboolean profile_write(const struct sim_profile *p, const char *base, const char *path,
		       char *(*comment)(const char *field, void *ctx), void *ctx, GError **error);

#endif
