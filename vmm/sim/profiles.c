/* SPDX-License-Identifier: MIT */
/*
 * profiles.c - the processors that come built in
 *
 * Each number's source, and which are estimates, is in docs/cost-model.md; a test keeps the two in step.
 * A field not named is 0: there is no such structure, or no such cost.
 */
#include "vmm/sim/profile.h"

#include <stddef.h>

/* What a VMM, a guest kernel and a memory manager do in software takes about as many cycles on either vendor's core. */
#define SOFTWARE_COSTS                                                                                              \
	.handle_page_fault = 2200, .handle_traced_write = 3500, .handle_cr = 900, .handle_invlpg = 800,             \
	.handle_ept = 1800, .handle_pml = 6000, .handle_hypercall = 300, .handle_io = 2500, .handle_halt = 1500,    \
	.handle_interrupt = 1500,                                                                                   \
	.inject_cycles = 400, .exception_cycles = 800, .syscall_cycles = 150, .fault_cycles = 900,                  \
	.switch_cycles = 1500, .fork_cycles = 60000, .exit_process_cycles = 40000, .zero_page_cycles = 250,         \
	.copy_page_cycles = 600, .fill_page_cycles = 1000, .op_cycles = 4, .populate_cycles = 1000,                 \
	.release_cycles = 400, .move_cycles = 2000, .table_write_cycles = 40, .table_page_cycles = 1200,            \
	.guest_read_cycles = 40, .pv_update_cycles = 150, .checksum_cycles = 800, .compare_cycles = 1200,             \
	.merge_cycles = 10000, .compress_cycles = 25000, .decompress_cycles = 9000, \
	.lz4_compress_cycles = 12000, .lz4_decompress_cycles = 4000

static const struct sim_profile skylake_sp = {
	.name = "skylake-sp",
	.summary = "Intel Xeon Scalable, 1st generation (Skylake-SP, 2017)",
	.vendor = "intel",
	.mhz = 2500,
	.maxphyaddr = 46,
	.l1_4k = { 64, 4 },
	.l1_2m = { 32, 4 },
	.l1_1g = { 4, 4 },
	.l2 = { 1536, 12 },
	.l2_1g = { 16, 4 },
	.l2_shared_2m = 1,
	.pwc = { [2] = { 32, 4 }, [3] = { 4, 4 }, [4] = { 2, 2 }, [5] = { 2, 2 } },
	.npwc = { [2] = { 32, 4 }, [3] = { 4, 4 }, [4] = { 2, 2 }, [5] = { 2, 2 } },
	.ntlb = { 32, 4 },
	.l1d = { 32, 8 },
	.l2d = { 1024, 16 },
	.l3d = { 1408, 11 },
	.l1d_cycles = 4,
	.l2d_cycles = 14,
	.l3d_cycles = 68,
	.mem_cycles = 250,
	.flat_ref_cycles = 20,
	.flat_data_cycles = 5,
	.l2_tlb_cycles = 9,
	.walk_start_cycles = 10,
	.ad_update_cycles = 60,
	.invlpg_cycles = 200,
	.cr3_cycles = 190,
	.invpcid_cycles = 230,
	.exit_cycles = 1200,
	SOFTWARE_COSTS,
};

static const struct sim_profile icelake_sp = {
	.name = "icelake-sp",
	.summary = "Intel Xeon Scalable, 3rd generation (Ice Lake-SP, 2021)",
	.vendor = "intel",
	.mhz = 2300,
	.maxphyaddr = 52,
	.l1_4k = { 64, 4 },
	.l1_2m = { 32, 4 },
	.l1_1g = { 8, 8 },
	.l2 = { 2048, 16 },
	.l2_1g = { 1024, 16 },
	.l2_shared_2m = 1,
	.pwc = { [2] = { 32, 4 }, [3] = { 4, 4 }, [4] = { 2, 2 }, [5] = { 2, 2 } },
	.npwc = { [2] = { 32, 4 }, [3] = { 4, 4 }, [4] = { 2, 2 }, [5] = { 2, 2 } },
	.ntlb = { 32, 4 },
	.l1d = { 48, 12 },
	.l2d = { 1280, 20 },
	.l3d = { 1536, 12 },
	.l1d_cycles = 5,
	.l2d_cycles = 14,
	.l3d_cycles = 70,
	.mem_cycles = 230,
	.flat_ref_cycles = 20,
	.flat_data_cycles = 5,
	.l2_tlb_cycles = 8,
	.walk_start_cycles = 10,
	.ad_update_cycles = 60,
	.invlpg_cycles = 200,
	.cr3_cycles = 190,
	.invpcid_cycles = 230,
	.exit_cycles = 1100,
	SOFTWARE_COSTS,
};

static const struct sim_profile zen3 = {
	.name = "zen3",
	.summary = "AMD EPYC 7003 (Zen 3, family 19h, 2021)",
	.vendor = "amd",
	.mhz = 2450,
	.maxphyaddr = 48,
	.l1_4k = { 64, 64 },
	.l1_unified = 1,
	.l2 = { 2048, 8 },
	.l2_shared_2m = 1,
	.pwc = { [2] = { 64, 64 }, [3] = { 16, 16 }, [4] = { 8, 8 }, [5] = { 4, 4 } },
	.npwc = { [2] = { 64, 64 }, [3] = { 16, 16 }, [4] = { 8, 8 }, [5] = { 4, 4 } },
	.ntlb = { 64, 8 },
	.l1d = { 32, 8 },
	.l2d = { 512, 8 },
	.l3d = { 4096, 16 },
	.l1d_cycles = 4,
	.l2d_cycles = 12,
	.l3d_cycles = 46,
	.mem_cycles = 260,
	.flat_ref_cycles = 20,
	.flat_data_cycles = 5,
	.l2_tlb_cycles = 7,
	.walk_start_cycles = 10,
	.ad_update_cycles = 60,
	.invlpg_cycles = 150,
	.cr3_cycles = 200,
	.invpcid_cycles = 220,
	.exit_cycles = 1000,
	SOFTWARE_COSTS,
};

static const struct sim_profile bare = {
	.name = "bare",
	.summary = "skylake-sp without second-level TLB, page-walk caches and nested TLB: every miss walks in full",
	.vendor = "intel",
	.mhz = 2500,
	.maxphyaddr = 52,
	.l1_4k = { 64, 4 },
	.l1_2m = { 32, 4 },
	.l1_1g = { 4, 4 },
	.l1d = { 32, 8 },
	.l2d = { 1024, 16 },
	.l3d = { 1408, 11 },
	.l1d_cycles = 4,
	.l2d_cycles = 14,
	.l3d_cycles = 68,
	.mem_cycles = 250,
	.flat_ref_cycles = 20,
	.flat_data_cycles = 5,
	.walk_start_cycles = 10,
	.ad_update_cycles = 60,
	.invlpg_cycles = 200,
	.cr3_cycles = 190,
	.invpcid_cycles = 230,
	.exit_cycles = 1200,
	SOFTWARE_COSTS,
};

const struct sim_profile *const profiles[] = { &skylake_sp, &icelake_sp, &zen3, &bare, NULL };
