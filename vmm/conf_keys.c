/* SPDX-License-Identifier: MIT */
/* conf_keys.c - every section and key of an experiment file: the table that parser, messages and reference are made
 * from */
#include <stddef.h>

#include "vmm/conf.h"

static const char *const machines[] = { "sim", "kvm", NULL };
static const char *const schedules[] = { "lockstep", "free", NULL };
static const char *const youngs[] = { "refault", "accessed-bit", NULL }; /* enum host_young */
static const char *const host_backings[] = { "memfd", "anonymous", NULL }; /* enum host_backing */
static const char *const cache_models[] = { "flat", "model", NULL };
static const char *const paging_names[] = { "native", "shadow", "ept", "pv", NULL };
static const char *const page_sizes[] = { "4K", "2M", "1G", NULL };
static const char *const table_levels[] = { "4", "5", NULL };
static const char *const placements[] = { "preferred", "bind", "interleave", "local", NULL };
static const char *const behaviours[] = { "good", "slow", "silent", "hostile", "reckless", NULL };
static const char *const poisons[] = { "none", "zero", "aa", NULL };
static const char *const poisoned[] = { "restore", "keep", NULL };
static const char *const numberings[] = { "linux", "spec", NULL };
static const char *const dedup_names[] = { "none", "ksm", "hash", "oracle", "kernel", NULL };
static const char *const advisors[] = { "none", "scan-time", NULL };
static const char *const swap_devices[] = { "nvme", "ssd", "disk", "zram", "far", NULL };
static const char *const compressor_names[] = { "zstd", "lz4", "table", NULL }; /* compressors[] */
static const char *const swap_engines[] = { "overbook", "kernel", NULL }; /* enum swap_engine */
static const char *const latencies[] = { "fixed", "spread", NULL }; /* enum swap_latency */
static const char *const orders[] = { "host", "proportional", "largest", NULL }; /* enum swap_order */
static const char *const victims[] = { "fifo", "random", "clock", "lru", "mglru", "opt", NULL };
static const char *const policy_names[] = { "none", "static", "swap-only", "proportional", "esx",
					   "esx-minfree", "mom", "psi", "refault", NULL };
static const char *const backings[] = { "anonymous", "file", NULL }; /* enum backing */
static const char *const dirty_logs[] = { "none", "wrprotect", "pml", NULL };

#define GIB	(1ull << 30)
#define HOUR_NS (3600ull * 1000000000)

#define EXPERIMENT(field) offsetof(struct conf_experiment, field)
static const struct conf_key experiment_keys[] = {
	{ "title", CONF_TEXT, EXPERIMENT(title), "", 0, 0, NULL, 0, "What reports and figures are headed with." },
	{ "question", CONF_TEXT, EXPERIMENT(question), "", 0, 0, NULL, 0,
	  "What the experiment is to answer; the report opens with it." },
	{ "metric", CONF_TEXT, EXPERIMENT(metric), "ns_total/operations", 0, 0, NULL, 0,
	  "What the report compares: a counter, or one divided by another; less is better." },
	{ "machine", CONF_ENUM, EXPERIMENT(machine), "sim", 0, 0, machines, 0,
	  "What executes it: the simulator, or real guests on /dev/kvm." },
	{ "schedule", CONF_ENUM, EXPERIMENT(schedule), "free", 0, 0, schedules, 0,
	  "lockstep: counts are the same on every machine, time is operations x 100 ns; free: time comes "
	  "from costs, on kvm from the clock." },
	{ "seed", CONF_COUNT, EXPERIMENT(seed), "1", 0, UINT64_MAX, NULL, 0, "Where every random stream begins." },
	{ "tick", CONF_TIME, EXPERIMENT(tick_ns), "1 ms", 1000, HOUR_NS, NULL, 0,
	  "Free schedule: period of the guest kernels' timers; another process's turn comes with it." },
	{ "quantum", CONF_COUNT, EXPERIMENT(quantum), "1000", 1, 1000000000, NULL, 0,
	  "Operations of a process until the generator yields to the host." },
	{ "duration", CONF_TIME, EXPERIMENT(duration_ns), "0", 0, 1000 * HOUR_NS, NULL, 0,
	  "The run ends after so much time; 0: when every workload has ended." },
	{ "sample-interval", CONF_TIME, EXPERIMENT(sample_ns), "10 ms", 0, 1000 * HOUR_NS, NULL, 0,
	  "Time between two rows of samples.csv; 0: only one at the end." },
	{ "warm-up", CONF_TIME, EXPERIMENT(warmup_ns), "0", 0, 1000 * HOUR_NS, NULL, 0,
	  "Counters of the summary begin when it is over." },
	{ "repeats", CONF_COUNT, EXPERIMENT(repeats), "1", 1, 1000, NULL, 0,
	  "Runs with seed, seed + 1, ...; tables then give means." },
	{ "events", CONF_BOOL, EXPERIMENT(events), "no", 0, 0, NULL, 0,
	  "Write every state change of every page to events.zst." },
	{ "digest", CONF_BOOL, EXPERIMENT(digest), "yes", 0, 0, NULL, 0,
	  "Compute each VM's digest of its memory at the end." },
	{ "figures", CONF_NAMES, EXPERIMENT(figures), "", 0, 100, NULL, 0,
	  "Figure templates to draw; empty: all that fit." },
	{ .name = NULL },
};

#define HOST(field) offsetof(struct conf_host, field)
static const struct conf_key host_keys[] = {
	{ "cpus", CONF_COUNT, HOST(cpus), "1", 1, 1024, NULL, 0, "CPUs the VMs share." },
	{ "memory", CONF_SIZE, HOST(memory), "4 GiB", 8ull << 20, 1ull << 46, NULL, 0, "The host's physical memory." },
	{ "nodes", CONF_COUNT, HOST(nodes), "1", 1, 64, NULL, 0, "NUMA nodes it is divided into, equally." },
	{ "distances", CONF_TEXT, HOST(distances), "", 0, 0, NULL, 0,
	  "How far nodes are, as numactl prints it: a row of numbers for each, separated by commas: 10 21, 21 10. 10 "
	  "is local, 20 twice the latency. Empty: 20 between any two." },
	{ "page-size", CONF_ENUM, HOST(page_level), "4K", 0, 0, page_sizes, 1,
	  "Largest pages that guests are backed with." },
	{ "timeslice", CONF_TIME, HOST(timeslice_ns), "10 ms", 1000, HOUR_NS, NULL, 0,
	  "Time until another vCPU's turn on the same CPU." },
	{ "caches", CONF_ENUM, HOST(cache_model), "model", 0, 0, cache_models, 0,
	  "model: references go through simulated data caches; flat: each costs the same." },
	{ "young", CONF_ENUM, HOST(young), "refault", 0, 0, youngs, 0,
	  "How the host learns that a page was touched: it unmaps it and waits for a fault; or by the accessed bits of "
	  "second-stage tables, where there are any (sim, free schedule)." },
	{ "backing", CONF_ENUM, HOST(backing), "memfd", 0, 0, host_backings, 0,
	  "machine = kvm: what guests' memory is. memfd: files in memory, which overbook itself merges and swaps; "
	  "anonymous: private memory, which the kernel may merge and swap." },
	{ "mappings", CONF_COUNT, HOST(mappings), "0", 0, 1ull << 32, NULL, 0,
	  "machine = kvm, memfd: most mappings that merged pages may take, up to two each; 0: what vm.max_map_count "
	  "leaves." },
	{ "profile", CONF_PROFILE, HOST(profile), "icelake-sp", 0, 0, NULL, 0,
	  "The processor: one of `overbook list profiles`, or a file with a [profile] section." },
	{ .name = NULL },
};

#define BALLOON(field) offsetof(struct conf_balloon, field)
static const struct conf_key balloon_keys[] = {
	{ "limit", CONF_SHARE, BALLOON(limit_ppm), "65%", 0, 1000000, NULL, 0,
	  "Most of a guest's memory that its balloon may hold." },
	{ "rate", CONF_COUNT, BALLOON(rate), "1024", 1, 1ull << 32, NULL, 0,
	  "Most pages that a driver gives up or takes back in each interval." },
	{ "interval", CONF_TIME, BALLOON(interval_ns), "1 ms", 1000, HOUR_NS, NULL, 0,
	  "How often a driver works towards its target." },
	{ "must-tell-host", CONF_BOOL, BALLOON(must_tell), "yes", 0, 0, NULL, 0,
	  "Offer VIRTIO_BALLOON_F_MUST_TELL_HOST: a page may be used again only after the host was told." },
	{ "deflate-on-oom", CONF_BOOL, BALLOON(deflate_on_oom), "yes", 0, 0, NULL, 0,
	  "Offer VIRTIO_BALLOON_F_DEFLATE_ON_OOM: out of memory, a guest takes pages back before it kills a process." },
	{ "reporting", CONF_BOOL, BALLOON(reporting), "no", 0, 0, NULL, 0,
	  "Offer VIRTIO_BALLOON_F_REPORTING: guests report free pages, and the host takes their frames at once." },
	{ "reporting-delay", CONF_TIME, BALLOON(report_delay_ns), "2 s", 1000, HOUR_NS, NULL, 0,
	  "From the first page freed until a driver reports what is free." },
	{ "free-page-hint", CONF_BOOL, BALLOON(free_page_hint), "no", 0, 0, NULL, 0,
	  "Offer VIRTIO_BALLOON_F_FREE_PAGE_HINT: guests say which pages are free, and the host drops those first." },
	{ "hint-interval", CONF_TIME, BALLOON(hint_ns), "100 ms", 1000, HOUR_NS, NULL, 0,
	  "How often the host asks for hints." },
	{ "free-order", CONF_COUNT, BALLOON(free_order), "9", 0, 9, NULL, 0,
	  "Free pages are reported and hinted in aligned blocks of 2^n pages." },
	{ "page-poison", CONF_BOOL, BALLOON(page_poison), "yes", 0, 0, NULL, 0,
	  "Offer VIRTIO_BALLOON_F_PAGE_POISON; without it a guest that poisons free pages neither reports nor hints." },
	{ "poisoned-pages", CONF_ENUM, BALLOON(poisoned), "restore", 0, 0, poisoned, 0,
	  "Free pages that hold a poison value: restore takes them and writes it when they come back; keep leaves them "
	  "alone, as QEMU does." },
	{ "queues", CONF_ENUM, BALLOON(queues), "linux", 0, 0, numberings, 0,
	  "Numbers of the queues: as Linux and QEMU have them, or as the specification." },
	{ "stats-interval", CONF_TIME, BALLOON(stats_ns), "10 ms", 0, HOUR_NS, NULL, 0,
	  "How often drivers are asked for their statistics; 0: never." },
	{ .name = NULL },
};

#define DEDUP(field) offsetof(struct conf_dedup, field)
static const struct conf_key dedup_keys[] = {
	{ "algorithm", CONF_ENUM, DEDUP(algorithm), "none", 0, 0, dedup_names, 0,
	  "How equal pages are found; see `overbook list dedup`. none: nothing is merged." },
	{ "pages-to-scan", CONF_COUNT, DEDUP(pages_to_scan), "100", 1, 1ull << 32, NULL, 0,
	  "Pages looked at until the scanner sleeps." },
	{ "sleep", CONF_TIME, DEDUP(sleep_ns), "20 ms", 1000, HOUR_NS, NULL, 0,
	  "How long it sleeps then." },
	{ "smart-scan", CONF_BOOL, DEDUP(smart_scan), "yes", 0, 0, NULL, 0,
	  "ksm: pages that did not merge in three passes are looked at more rarely." },
	{ "use-zero-pages", CONF_BOOL, DEDUP(use_zero_pages), "no", 0, 0, NULL, 0,
	  "Pages of zeros map the host's one zero frame; no: they merge like others." },
	{ "max-page-sharing", CONF_COUNT, DEDUP(max_page_sharing), "256", 2, 1ull << 32, NULL, 0,
	  "Most pages of one merged frame; more equal pages get another." },
	{ "split-huge", CONF_BOOL, DEDUP(split_huge), "yes", 0, 0, NULL, 0,
	  "A large host page is split to merge a part of it; no: it is left whole." },
	{ "merge-across-nodes", CONF_BOOL, DEDUP(merge_across_nodes), "yes", 0, 0, NULL, 0,
	  "Pages on different NUMA nodes merge; no: each node merges its own." },
	{ "share-before-swap", CONF_BOOL, DEDUP(share_before_swap), "yes", 0, 0, NULL, 0,
	  "hash: a page that is to be swapped out is looked up first, and merged instead if an equal one is known." },
	{ "stable-node-chains-prune", CONF_TIME, DEDUP(prune_ns), "2 s", 0, HOUR_NS, NULL, 0,
	  "How long frames that are gone stay in their chain and in stable_node_dups; 0: not at all." },
	{ "patch", CONF_BOOL, DEDUP(patch), "no", 0, 0, NULL, 0,
	  "Cold pages that do not merge, but are like another, are kept as their difference to it." },
	{ "compress", CONF_BOOL, DEDUP(compress), "no", 0, 0, NULL, 0,
	  "Cold pages that do not merge, nor become patches, are compressed ([swap] compressed-pool)." },
	{ "cold-passes", CONF_COUNT, DEDUP(cold_passes), "2", 1, 127, NULL, 0,
	  "Looks in a row at which a page was not touched, until it is cold." },
	{ "potential", CONF_BOOL, DEDUP(potential), "no", 0, 0, NULL, 0,
	  "Measure what patching and compressing every page that does not merge would save." },
	{ "advisor", CONF_ENUM, DEDUP(advisor), "none", 0, 0, advisors, 0,
	  "Who sets pages-to-scan: nobody, or KSM's advisor, so that a pass over all memory takes its target time." },
	{ "advisor-target-scan-time", CONF_TIME, DEDUP(advisor_target_ns), "200 s", 1000, 1000 * HOUR_NS, NULL, 0,
	  "That time." },
	{ "advisor-min-cpu", CONF_SHARE, DEDUP(advisor_min_cpu_ppm), "10%", 0, 1000000, NULL, 0,
	  "The advisor lets the scanner take at least so much of a CPU (free schedule)." },
	{ "advisor-max-cpu", CONF_SHARE, DEDUP(advisor_max_cpu_ppm), "70%", 10000, 1000000, NULL, 0,
	  "And at most so much (free schedule)." },
	{ "advisor-min-pages-to-scan", CONF_COUNT, DEDUP(advisor_min_pages), "500", 1, 1ull << 32, NULL, 0,
	  "The least pages-to-scan that it sets; it begins with that." },
	{ "advisor-max-pages-to-scan", CONF_COUNT, DEDUP(advisor_max_pages), "30000", 1, 1ull << 32, NULL, 0,
	  "The most." },
	{ "stop", CONF_TIME, DEDUP(stop_ns), "0", 0, 1000 * HOUR_NS, NULL, 0,
	  "From this time on nothing is scanned; 0: to the end." },
	{ "unmerge", CONF_BOOL, DEDUP(unmerge), "no", 0, 0, NULL, 0,
	  "At that time every merged page gets a frame of its own again." },
	{ .name = NULL },
};

#define SWAP(field) offsetof(struct conf_swap, field)
static const struct conf_key swap_keys[] = {
	{ "size", CONF_SIZE, SWAP(size), "0", 0, 1ull << 43, NULL, 0,
	 "The host's swap device; 0: there is none, and a guest that needs a frame when none is free fails." },
	{ "device", CONF_ENUM, SWAP(device), "nvme", 0, 0, swap_devices, 0,
	 "What kind of device: its latency, bandwidth and queue." },
	{ "policy", CONF_ENUM, SWAP(policy), "clock", 0, 0, victims, 0,
	 "Which page goes: the oldest, any, or the oldest that was not touched lately." },
	{ "reclaim-from", CONF_ENUM, SWAP(order), "host", 0, 0, orders, 0,
	 "Whose: any VM's, as if they were one; in proportion to their resident pages; or the largest VM's. A VM "
	 "beyond its swap-limit comes first." },
	{ "page-cluster", CONF_COUNT, SWAP(page_cluster), "3", 0, 10, NULL, 0,
	 "A read from swap brings in its aligned group of 2^n slots; 0: no readahead." },
	{ "compressed-pool", CONF_SIZE, SWAP(pool), "0", 0, 1ull << 43, NULL, 0,
	 "Most host memory that compressed pages may take before the device is used; 0: nothing is compressed." },
	{ "compressor", CONF_ENUM, SWAP(compressor), "zstd", 0, 0, compressor_names, 0,
	 "What compresses them, and what it costs; table: sizes that do not depend on any library's version." },
	{ "writeback", CONF_BOOL, SWAP(writeback), "no", 0, 0, NULL, 0,
	 "When it is full, its oldest pages go to the device; no: new ones go there." },
	{ "mapper", CONF_BOOL, SWAP(mapper), "no", 0, 0, NULL, 0,
	 "A page that is equal to a page of the guest's own disk is dropped instead, and read from there again." },
	{ "preventer", CONF_BOOL, SWAP(preventer), "no", 0, 0, NULL, 0,
	 "A page in swap that is about to be overwritten whole is not read from there first." },
	{ "latency", CONF_ENUM, SWAP(latency), "fixed", 0, 0, latencies, 0,
	 "fixed: each command takes the device's latency; spread: drawn from its quantiles, from the seed." },
	{ "read-error-rate", CONF_SHARE, SWAP(read_error_ppm), "0", 0, 1000000, NULL, 0,
	 "Share of pages that the device fails to read, from the seed: the VM that needs one ends." },
	{ "write-error-rate", CONF_SHARE, SWAP(write_error_ppm), "0", 0, 1000000, NULL, 0,
	 "Share of pages that it fails to write: they stay in memory." },
	{ "fails-at", CONF_TIME, SWAP(fails_at_ns), "0", 0, 1000 * HOUR_NS, NULL, 0,
	 "From then on it fails to read or write any page; 0: never." },
	{ "engine", CONF_ENUM, SWAP(engine), "overbook", 0, 0, swap_engines, 0,
	 "Whose swap a real machine's pages go to: overbook, a file of this run; kernel, the host's own (kvm)." },
	{ "directory", CONF_FILE, SWAP(directory), "", 0, 0, NULL, 0,
	 "Where the swap file of a real machine is made (kvm); empty: in $TMPDIR, or in /var/tmp." },
	{ "direct", CONF_BOOL, SWAP(direct), "yes", 0, 0, NULL, 0,
	 "Read and write it around the kernel's page cache (O_DIRECT), where its file system can (kvm)." },
	{ "low-watermark", CONF_SHARE, SWAP(low_ppm), "2%", 1, 500000, NULL, 0,
	 "With less of the host's memory free, pages are evicted ahead of need." },
	{ "high-watermark", CONF_SHARE, SWAP(high_ppm), "3%", 1, 500000, NULL, 0,
	 "Until so much of it is free." },
	{ .name = NULL },
};

#define POLICY(field) offsetof(struct conf_policy, field)
static const struct conf_key policy_keys[] = {
	{ "name", CONF_ENUM, POLICY(name), "none", 0, 0, policy_names, 0,
	 "Who decides which guest gives up how much memory, and how; see `overbook list policies`." },
	{ "interval", CONF_TIME, POLICY(interval_ns), "100 ms", 1000, HOUR_NS, NULL, 0, "How often it decides." },
	{ "module", CONF_FILE, POLICY(module), "", 0, 0, NULL, 0,
	 "A policy of your own instead: a shared object made with overbook/policy.h; relative to this file." },
	{ .name = NULL },
};

#define ESTIMATE(field) offsetof(struct conf_estimate, field)
static const struct conf_key estimate_keys[] = {
	{ "methods", CONF_NAMES, ESTIMATE(methods), "none", 1, 8, NULL, 0,
	  "How working sets are estimated, several side by side; see `overbook list estimators`. none: not at all." },
	{ "window", CONF_TIME, ESTIMATE(window_ns), "100 ms", 16000, HOUR_NS, NULL, 0,
	  "A working set is what was touched in so much time; ESX's period is 30 s." },
	{ "sample-pages", CONF_COUNT, ESTIMATE(sample_pages), "100", 1, 1ull << 32, NULL, 0,
	  "esx: pages watched in each window." },
	{ "mrc-sampling", CONF_SHARE, ESTIMATE(sampling_ppm), "10%", 100, 1000000, NULL, 0,
	  "mrc: share of all pages that is followed." },
	{ "active", CONF_NAME, ESTIMATE(active), "", 0, 0, NULL, 0,
	  "The method whose estimate policies take for the memory in use; empty: the first." },
	{ "truth", CONF_BOOL, ESTIMATE(truth), "no", 0, 0, NULL, 0,
	  "Count what is really touched, and score each method (sim; the run takes longer)." },
	{ .name = NULL },
};

#define VM(field) offsetof(struct conf_vm, field)
static const struct conf_key vm_keys[] = {
	{ "count", CONF_COUNT, VM(count), "1", 1, 4096, NULL, 0, "So many VMs like this, named NAME-0, NAME-1, ..." },
	{ "memory", CONF_SIZE, VM(memory), "256 MiB", 8ull << 20, 1ull << 44, NULL, 0,
	  "Guest-physical memory, a multiple of 2 MiB." },
	{ "arena", CONF_SIZE, VM(arena), "0", 0, 1ull << 40, NULL, 0,
	  "Of it, for the guest kernel and its page tables, a multiple of 2 MiB; 0: as much as it may need." },
	{ "paging", CONF_ENUM, VM(paging), "ept", 0, 0, paging_names, 0,
	  "How its memory is virtualized; see `overbook list modes`." },
	{ "levels", CONF_ENUM, VM(guest_levels), "4", 0, 0, table_levels, 4, "Levels of the guest's own page tables." },
	{ "host-levels", CONF_ENUM, VM(host_levels), "4", 0, 0, table_levels, 4,
	  "Levels of the second-stage tables (ept)." },
	{ "max-leaf", CONF_ENUM, VM(max_leaf), "1G", 0, 0, page_sizes, 1,
	  "Largest leaf in the tables that the VMM builds." },
	{ "pcid", CONF_BOOL, VM(pcid), "yes", 0, 0, NULL, 0, "The guest tags its address spaces." },
	{ "ept-ad", CONF_BOOL, VM(ept_ad), "yes", 0, 0, NULL, 0, "Second-stage accessed and dirty bits." },
	{ "unsync", CONF_BOOL, VM(unsync), "yes", 0, 0, NULL, 0,
	  "Shadow: let leaf tables go out of sync instead of trapping every write." },
	{ "dirty-log", CONF_ENUM, VM(dirty_log), "none", 0, 0, dirty_logs, 0,
	  "Log dirtied pages by write-protection, or by the processor's page-modification log (ept)." },
	{ "dirty-interval", CONF_TIME, VM(dirty_interval_ns), "100 ms", 1000, HOUR_NS, NULL, 0,
	  "How often the dirty log is collected." },
	{ "shadow-limit", CONF_COUNT, VM(shadow_limit), "0", 0, 1ull << 32, NULL, 0,
	  "Most shadow table pages, at least 16; 0: no bound." },
	{ "flood-limit", CONF_COUNT, VM(flood_limit), "3", 1, 1000000, NULL, 0,
	  "Writes to a traced table in a row, unused between, until its shadow is zapped." },
	{ "collapse", CONF_TIME, VM(collapse_ns), "0", 0, HOUR_NS, NULL, 0,
	  "How often small host pages are collapsed into large ones, as khugepaged does; 0: never." },
	{ "collapse-blocks", CONF_COUNT, VM(collapse_blocks), "8", 1, 1ull << 32, NULL, 0,
	  "Blocks of 2 MiB that are looked at each time." },
	{ "collapse-max-none", CONF_COUNT, VM(collapse_none), "511", 0, 511, NULL, 0,
	  "Most absent pages of a block that are populated for it." },
	{ "collapse-max-shared", CONF_COUNT, VM(collapse_shared), "256", 0, 512, NULL, 0,
	  "Most merged pages of a block that get frames of their own for it." },
	{ "collapse-max-swap", CONF_COUNT, VM(collapse_swap), "64", 0, 512, NULL, 0,
	  "Most pages of a block that are brought in from swap for it." },
	{ "placement", CONF_ENUM, VM(placement), "preferred", 0, 0, placements, 0,
	  "Where its pages get frames: preferred, on its node while there is room; bind, on its nodes only; "
	  "interleave, on its nodes in turn; local, where the CPU is that touches first." },
	{ "node", CONF_COUNT, VM(node), "0", 0, 63, NULL, 0,
	  "The NUMA node of its arena and tables, and the one that is preferred." },
	{ "nodes", CONF_NODES, VM(nodes), "all", 0, 0, NULL, 0, "The nodes of placement bind and interleave." },
	{ "cpu-node", CONF_NODES, VM(cpu_nodes), "all", 0, 0, NULL, 0, "The nodes on whose CPUs it runs." },
	{ "swap-limit", CONF_SIZE, VM(swap_limit), "0", 0, 1ull << 44, NULL, 0,
	  "Host memory beyond which its own pages are swapped out, the arena apart; 0: as much as it gets (sim)." },
	{ "balloon-target", CONF_SIZE, VM(balloon_target), "0", 0, 1ull << 44, NULL, 0,
	  "Memory that its balloon is asked to give up, a multiple of 4 KiB; 0: none." },
	{ "balloon-from", CONF_TIME, VM(balloon_from_ns), "0", 0, 1000 * HOUR_NS, NULL, 0, "When it is asked to." },
	{ "balloon-until", CONF_TIME, VM(balloon_until_ns), "0", 0, 1000 * HOUR_NS, NULL, 0,
	  "When it may take all of it back; 0: never." },
	{ "balloon-period", CONF_TIME, VM(balloon_period_ns), "0", 0, 1000 * HOUR_NS, NULL, 0,
	  "From balloon-from on, how often that repeats; 0: never." },
	{ "balloon-behaviour", CONF_ENUM, VM(balloon_behaviour), "good", 0, 0, behaviours, 0,
	  "Its driver: good; slow, a 64th of the rate; silent, never answers; hostile, sends malformed rings; "
	  "reckless, reports and hints all pages as free." },
	{ "disk", CONF_SIZE, VM(disk), "0", 0, 1ull << 44, NULL, 0,
	  "Its virtual disk's room for files; with guest-swap 0 too it has no disk." },
	{ "guest-swap", CONF_SIZE, VM(guest_swap), "0", 0, 1ull << 43, NULL, 0,
	  "Room on that disk for the guest's own swap." },
	{ "disk-device", CONF_ENUM, VM(disk_device), "ssd", 0, 0, swap_devices, 0,
	  "What the host keeps that disk on: its latency, bandwidth and queue; one for each VM." },
	{ "disk-contents", CONF_CONTENTS, VM(disk_contents), "text", 0, 0, NULL, 0,
	  "What its files hold at first; as a phase's contents. text: each page differs; text:100: one of 100 that all "
	  "VMs share." },
	{ "swappiness", CONF_COUNT, VM(swappiness), "60", 0, 200, NULL, 0,
	  "Of a guest with a disk: how readily it swaps rather than giving up page cache; 100: both cost the same." },
	{ "balloon", CONF_BOOL, VM(balloon), "yes", 0, 0, NULL, 0,
	  "It has a balloon if a [policy] decides, or if reporting or hints are offered (not with paging = "
	  "native)." },
	{ "start", CONF_TIME, VM(start_ns), "0", 0, 1000 * HOUR_NS, NULL, 0,
	  "When its processes begin to run, if the policy admits it; only its kernel's own memory is taken before." },
	{ "shares", CONF_COUNT, VM(shares), "1000", 1, 1000000, NULL, 0,
	  "For policies: what it may claim of the host's memory, in proportion to the shares of others." },
	{ "min", CONF_SIZE, VM(min), "0", 0, 1ull << 44, NULL, 0,
	  "For policies: host memory that is never taken from it." },
	{ "max", CONF_SIZE, VM(max), "0", 0, 1ull << 44, NULL, 0,
	  "For policies: most host memory that it may have; 0: as much as it has memory." },
	{ "reporting", CONF_BOOL, VM(reporting), "yes", 0, 0, NULL, 0,
	  "Its driver accepts page reporting, if that is offered." },
	{ "free-page-hint", CONF_BOOL, VM(free_page_hint), "yes", 0, 0, NULL, 0,
	  "Its driver accepts free page hints, if they are offered." },
	{ "page-poison", CONF_ENUM, VM(page_poison), "none", 0, 0, poisons, 0,
	  "What its kernel fills free pages with: zero (Linux: init_on_free=1), or bytes 0xaa, which it looks for when "
	  "it allocates (page_poison=1)." },
	{ "workload", CONF_NAME, VM(workload), NULL, 0, 0, NULL, 0, "The [workload] it runs." },
	{ .name = NULL },
};

#define WORKLOAD(field) offsetof(struct conf_workload, field)
static const struct conf_key workload_keys[] = {
	{ "processes", CONF_COUNT, WORKLOAD(processes), "1", 1, 250, NULL, 0,
	  "Processes started at boot; each runs all phases." },
	{ "phases", CONF_NAMES, WORKLOAD(phases), NULL, 1, SCRIPT_PHASES, NULL, 0, "The [phase] sections, in order." },
	{ .name = NULL },
};

#define PHASE(field) offsetof(struct conf_phase, field)
static const struct conf_key phase_keys[] = {
	{ "pattern", CONF_PATTERN, PHASE(pattern), NULL, 0, 0, NULL, 0,
	  "What makes its accesses; see `overbook list workloads`." },
	{ "region", CONF_NAME, PHASE(region), "", 0, 0, NULL, 0,
	  "Name of the memory it accesses; phases that name the same share it. Empty: the phase's own name." },
	{ "size", CONF_SIZE, PHASE(size), "16 MiB", 4096, 256 * GIB, NULL, 0,
	  "Size of the region, a multiple of page-size." },
	{ "operations", CONF_COUNT, PHASE(operations), "0", 0, UINT64_MAX, NULL, 0,
	  "Items of the pattern, accesses and calls alike; 0: until the duration is over." },
	{ "duration", CONF_TIME, PHASE(duration_ns), "0", 0, 1000 * HOUR_NS, NULL, 0,
	  "Time it lasts; 0: until the operations are done." },
	{ "think-time", CONF_TIME, PHASE(think_ns), "0", 0, HOUR_NS, NULL, 0,
	  "Sleep after every think-every operations; 0: none." },
	{ "think-every", CONF_COUNT, PHASE(think_every), "1000", 1, UINT64_MAX, NULL, 0,
	  "Operations between two sleeps." },
	{ "writes", CONF_SHARE, PHASE(write_ppm), "30%", 0, 1000000, NULL, 0, "Share of the accesses that write." },
	{ "page-size", CONF_ENUM, PHASE(leaf_level), "4K", 0, 0, page_sizes, 1,
	  "What the guest maps the region with." },
	{ "backing", CONF_ENUM, PHASE(backing), "anonymous", 0, 0, backings, 0,
	  "What the region is: memory of the process, or a part of the VM's disk, shared by all who map it." },
	{ "offset", CONF_SIZE, PHASE(offset), "0", 0, 1ull << 43, NULL, 0,
	  "backing = file: where on the disk the region begins, a multiple of 4 KiB." },
	{ "child", CONF_BOOL, PHASE(child), "no", 0, 0, NULL, 0,
	  "Runs only in children that another phase forks, which exit at its end." },
	{ "forks", CONF_NAME, PHASE(forks), "", 0, 0, NULL, 0, "The phase that forked children run (pattern = fork)." },
	{ "contents", CONF_CONTENTS, PHASE(contents), "zero", 0, 0, NULL, 0,
	  "What its pages are filled with first; see `overbook list patterns`. text: each page differs; text:100: one "
	  "of 100 that all VMs share." },
	{ "stamps", CONF_COUNT, PHASE(stamps), "0", 0, UINT32_MAX, NULL, 0,
	  "Words that writes store: 0: all differ; n: one of n that all VMs share, so that pages become equal." },
	{ "trace", CONF_FILE, PHASE(trace), "", 0, 0, NULL, 0,
	  "The trace to replay (pattern = trace); relative to this file." },
	{ "loops", CONF_COUNT, PHASE(loops), "1", 1, UINT32_MAX, NULL, 0, "How often the trace is replayed." },
	{ .name = NULL },
};

#define EXPECT(field) offsetof(struct conf_expect, field)
static const struct conf_key expect_keys[] = {
	{ "claim", CONF_TEXT, EXPECT(claim), NULL, 0, 0, NULL, 0, "What was found before, in words." },
	{ "value", CONF_TEXT, EXPECT(value), NULL, 0, 0, NULL, 0,
	  "What is held against it: counters joined by + and -, perhaps divided by as many: a + b / c - d." },
	{ "vm", CONF_NAME, EXPECT(vm), "host", 0, 0, NULL, 0,
	  "Whose counters: host, one VM, or a [vm NAME] for the sum over its VMs." },
	{ "where", CONF_TEXT, EXPECT(where), "", 0, 0, NULL, 0,
	  "In which combinations of [vary]: SECTION.KEY=VALUE, ...; empty: in all of them." },
	{ "against", CONF_TEXT, EXPECT(against), "", 0, 0, NULL, 0,
	  "SECTION.KEY=VALUE, ...: the value is divided by that of the combination that differs in these." },
	{ "against-vm", CONF_NAME, EXPECT(against_vm), "", 0, 0, NULL, 0,
	  "The value is divided by that of this VM; empty: of the same, if there is an against." },
	{ "min", CONF_NUMBER, EXPECT(min), "", 0, 0, NULL, 0, "Least value that reproduces it; empty: no bound." },
	{ "max", CONF_NUMBER, EXPECT(max), "", 0, 0, NULL, 0, "Largest value that reproduces it; empty: no bound." },
	{ "source", CONF_TEXT, EXPECT(source), NULL, 0, 0, NULL, 0, "Where it was found." },
	{ "not-comparable", CONF_TEXT, EXPECT(not_comparable), "", 0, 0, NULL, 0,
	  "Why the two cannot be compared, if so: the report then shows the value, and this for a verdict." },
	{ .name = NULL },
};

const struct conf_section_info conf_sections[SECTION_COUNT] = {
	[SECTION_EXPERIMENT] = { "experiment", false, sizeof(struct conf_experiment), experiment_keys,
				"What is asked, and how it is run." },
	[SECTION_HOST] = { "host", false, sizeof(struct conf_host), host_keys, "The machine that the VMs share." },
	[SECTION_BALLOON] = { "balloon", false, sizeof(struct conf_balloon), balloon_keys,
			      "The balloons of all VMs that have one (vm.balloon-target, vm.balloon)." },
	[SECTION_DEDUP] = { "dedup", false, sizeof(struct conf_dedup), dedup_keys,
			    "The scanner that merges equal pages." },
	[SECTION_SWAP] = { "swap", false, sizeof(struct conf_swap), swap_keys,
			   "Where the host puts guests' pages when its memory runs out." },
	[SECTION_POLICY] = { "policy", false, sizeof(struct conf_policy), policy_keys,
			     "Who gives up how much memory when guests want more than the host has." },
	[SECTION_ESTIMATE] = { "estimate", false, sizeof(struct conf_estimate), estimate_keys,
			       "How much of its memory each VM uses." },
	[SECTION_VM] = { "vm", true, sizeof(struct conf_vm), vm_keys, "One VM, or several alike." },
	[SECTION_WORKLOAD] = { "workload", true, sizeof(struct conf_workload), workload_keys, "What a VM runs." },
	[SECTION_PHASE] = { "phase", true, sizeof(struct conf_phase), phase_keys, "One stretch of a process's life." },
	[SECTION_EXPECT] = { "expect", true, sizeof(struct conf_expect), expect_keys,
			     "A figure of the literature that the report holds the results against." },
	[SECTION_COSTS] = { "costs", false, 0, NULL, "Overrides of single fields of the profile." },
	[SECTION_VARY] = { "vary", false, 0, NULL,
			  "SECTION.KEY = a, b, c: run every combination; the last key varies fastest." },
};
