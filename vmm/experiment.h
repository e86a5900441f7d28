/* SPDX-License-Identifier: MIT */
/*
 * experiment.h - an experiment file, read and checked
 *
 * GKeyFile in, plain structs out. Every key is one row of a table (experiment_keys.c): section kind, name, type,
 * default, range, sentence. From it come the parser, its messages, the canonical file that a run writes, `overbook list
 * keys` and the reference in docs/. Nothing is ignored and nothing is defaulted without being written out.
 *
 * Errors: GError of domain EXPERIMENT_ERROR; its message names file, section, key, value and what is allowed.
 */
#ifndef OVERBOOK_VMM_EXPERIMENT_H
#define OVERBOOK_VMM_EXPERIMENT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/policy.h"
#include "workloads/workload.h"

#define EXPERIMENT_ERROR experiment_error_quark()
GQuark experiment_error_quark(void);

/* What a phase's region is. */
enum backing { BACKING_ANONYMOUS, BACKING_FILE };

enum schedule { SCHEDULE_LOCKSTEP, SCHEDULE_FREE };

struct conf_experiment {
	char *title, *question;
	char *metric; /* what the report compares: a counter, or "counter/counter"; less is better */
	int machine;  /* index: sim, kvm */
	int schedule; /* enum schedule */
	uint64_t seed;
	uint64_t quantum;     /* lockstep: operations */
	uint64_t tick_ns;     /* free: period of the guests' timers */
	uint64_t duration_ns; /* end the run after so much time; 0: until the workloads end */
	uint64_t sample_ns;   /* interval of samples.csv */
	uint64_t warmup_ns;   /* counters start when it is over */
	uint64_t repeats;
	bool events;	/* write events.zst */
	bool digest;	/* compute digests at the end */
	char **figures; /* names of figure templates to draw; empty: those that fit */
};

/* conf_host.young: how the host learns that a page was touched */
enum host_young { YOUNG_REFAULT, YOUNG_BIT };

/* conf_host.backing: what a real guest's memory is */
enum host_backing { HOST_MEMFD, HOST_ANONYMOUS };

struct conf_host {
	uint64_t cpus;
	uint64_t memory; /* bytes */
	uint64_t nodes;
	char *distances; /* as conf_distances() reads it */
	unsigned page_level; /* largest backing: 4K, 2M, 1G as level 1 to 3 */
	uint64_t timeslice_ns;
	bool cache_model; /* caches = flat | model */
	int young;	  /* enum host_young */
	int backing;	  /* enum host_backing */
	uint64_t mappings; /* that merged pages may take; 0: what the system leaves */
	char *profile;
};

/* What holds for every balloon. */
struct conf_balloon {
	uint64_t limit_ppm; /* of a guest's memory, most that its balloon may hold */
	uint64_t rate;	    /* pages in each interval */
	uint64_t interval_ns;
	bool must_tell, deflate_on_oom;
	bool free_page_hint, reporting, page_poison; /* features to offer */
	uint64_t hint_ns; /* how often hints are asked for */
	uint64_t free_order, report_delay_ns;
	int poisoned; /* restore, keep */
	int queues;   /* linux, spec */
	uint64_t stats_ns; /* how often drivers are asked for statistics; 0: never */
};

struct conf_dedup {
	int algorithm; /* 0: none; else 1 + index into dedup_algorithms[] */
	uint64_t pages_to_scan, sleep_ns;
	bool smart_scan, use_zero_pages, split_huge, merge_across_nodes, share_before_swap;
	uint64_t max_page_sharing, prune_ns;
	int advisor; /* none, scan-time */
	bool patch, compress, potential; /* beyond merging */
	uint64_t cold_passes;
	uint64_t advisor_target_ns, advisor_min_cpu_ppm, advisor_max_cpu_ppm, advisor_min_pages, advisor_max_pages;
	uint64_t stop_ns; /* 0: never */
	bool unmerge;	  /* at that time */
};

/* conf_swap.latency */
enum swap_latency { SWAP_LATENCY_FIXED, SWAP_LATENCY_SPREAD };
/* conf_swap.engine */
enum swap_engine { SWAP_ENGINE_OVERBOOK, SWAP_ENGINE_KERNEL };

/* The host's swap; size 0: there is none. */
struct conf_swap {
	uint64_t size; /* bytes */
	int device;    /* index into disk_profiles[] */
	int policy;    /* index into swap_policies[] */
	int order;     /* enum swap_order */
	uint64_t page_cluster;
	uint64_t pool; /* bytes of host memory for compressed pages, at most */
	int compressor; /* index into compressors[] */
	bool writeback; /* a full pool writes its oldest pages to the device */
	bool mapper, preventer; /* VSwapper's remedies */
	uint64_t low_ppm, high_ppm; /* watermarks, of the host's memory */
	int latency;		    /* enum swap_latency */
	uint64_t read_error_ppm, write_error_ppm, fails_at_ns; /* of the device */
	int engine;	 /* enum swap_engine */
	char *directory; /* kvm: of the swap file; "": $TMPDIR or /var/tmp */
	bool direct;	 /* kvm: O_DIRECT */
};

/* Who gives up how much memory. */
struct conf_policy {
	int name; /* index into policies[] */
	uint64_t interval_ns;
	char *module; /* a user's shared object instead; "": none */
	const struct policy_ops *ops;
	uint64_t constant[POLICY_KEYS];
	GPtrArray *others; /* of struct conf_cost: constants of policies that [vary] names, as text */
};

/* Estimators of working sets. */
struct conf_estimate {
	char **methods; /* names of estimator_table[]; empty, or "none" alone: there is none */
	char *active;	/* the one that policies go by; empty: the first */
	uint64_t window_ns;
	uint64_t sample_pages; /* esx */
	uint64_t sampling_ppm; /* mrc */
	bool truth;
};

struct conf_vm {
	char *name;
	uint64_t count;
	uint64_t memory;
	uint64_t arena; /* bytes, 0: computed */
	int paging;	/* index into paging_modes[] */
	unsigned guest_levels, host_levels;
	unsigned max_leaf; /* largest leaf of the VMM's tables, level */
	bool pcid, ept_ad, unsync;
	int dirty_log; /* none, wrprotect, pml */
	uint64_t dirty_interval_ns;
	uint64_t shadow_limit, flood_limit; /* table pages; writes */
	uint64_t collapse_ns;		    /* how often to try to collapse; 0: never */
	uint64_t collapse_blocks, collapse_none, collapse_shared, collapse_swap;
	uint64_t node;			    /* preferred */
	int placement;			    /* enum placement */
	uint64_t nodes, cpu_nodes;	    /* one bit a node; 0: all */
	uint64_t swap_limit;		    /* bytes; 0: none */
	uint64_t balloon_target;	    /* bytes to give up; 0: there is no balloon */
	uint64_t balloon_from_ns, balloon_until_ns, balloon_period_ns;
	int balloon_behaviour; /* enum balloon_behaviour */
	uint64_t disk, guest_swap; /* bytes for files, for the guest's swap; both 0: there is no disk */
	int disk_device;	   /* index into disk_profiles[] */
	char *disk_contents;	   /* of the files at first: family[:number], "zero" */
	bool balloon;		    /* one may be used for policies, reporting and hints */
	uint64_t shares, min, max;  /* for policies; bytes, max 0: all of its memory */
	bool reporting, free_page_hint; /* features its driver accepts */
	int page_poison;       /* enum page_poison */
	uint64_t start_ns;	    /* when it begins to run, if a policy admits it */
	uint64_t swappiness;		    /* of the guest's own reclaim, 0 to 200 */
	char *workload;			    /* name of a [workload] */
};

struct conf_workload {
	char *name;
	uint64_t processes;
	char **phases; /* names of [phase] sections, in order */
};

struct conf_phase {
	char *name;
	int pattern;   /* index into workload_generators[], or PHASE_TRACE */
	char *region;  /* phases that name the same region share it; default: the phase's own name */
	uint64_t size; /* bytes of the region */
	uint64_t operations, duration_ns, think_ns, think_every;
	uint64_t write_ppm;
	unsigned leaf_level; /* page-size of the region */
	int backing;	     /* enum backing */
	uint64_t offset;     /* bytes, of the disk's files: where the region begins */
	bool child;	     /* runs only in forked children */
	char *contents;	     /* family[:number], "zero" */
	uint64_t stamps;
	uint64_t param[PHASE_PARAMS];
	char *forks;	/* the phase that forked children run, for patterns that fork */
	char *trace;	/* absolute name of the file, for pattern = trace */
	uint64_t loops; /* how often a trace is replayed */
};

#define PHASE_TRACE (-1)

/* What the literature lets one expect: [expect NAME]. See vmm/expect.h. */
struct conf_expect {
	char *name;
	char *claim;	 /* in words */
	char *value;	 /* SUM, or SUM / SUM: counters joined by + and - */
	char *vm;	 /* whose: host, a VM, or a [vm NAME] for the sum over its VMs */
	char *where;	 /* "SECTION.KEY=VALUE, ...": in which combinations of [vary] */
	char *against;	 /* likewise: the keys in which the combination differs that the value is divided by */
	char *against_vm; /* whose value it is divided by; empty: the same VM's */
	char *min, *max; /* 1.5 or 40%; empty: no bound */
	char *source;
	char *not_comparable; /* why the figure cannot be held against the source's; empty: it can */
};

/* An override of one profile field. */
struct conf_cost {
	char *field, *value;
};

/* One row of [vary]: SECTION.KEY = a, b, c */
struct conf_vary {
	char *section, *key;
	char **values;
};

struct experiment {
	char *path; /* as given; for messages */
	struct conf_experiment experiment;
	struct conf_host host;
	struct conf_balloon balloon;
	struct conf_dedup dedup;
	struct conf_swap swap;
	struct conf_policy policy;
	struct conf_estimate estimate;
	GPtrArray *vms;	      /* of struct conf_vm */
	GPtrArray *workloads; /* of struct conf_workload */
	GPtrArray *phases;    /* of struct conf_phase */
	GPtrArray *expects;   /* of struct conf_expect */
	GPtrArray *costs;     /* of struct conf_cost */
	GPtrArray *vary;      /* of struct conf_vary */
};

/* Is any method asked for? */
bool conf_estimates(const struct conf_estimate *c);

/* One --set SECTION.KEY=VALUE or one cell of [vary]; a section is `vm NAME`, or `vm` for all of them. */
struct override {
	char *section, *key, *value;
};

/*
 * Read @path, apply @overrides in order (NULL: none), check everything, every combination of [vary] included. NULL and
 * @error on any fault. An override of just what a row of [vary] lists fixes it: the row is dropped.
 */
struct experiment *experiment_load(const char *path, const GPtrArray *overrides, GError **error);
void experiment_free(struct experiment *e);

/* Parse "SECTION.KEY=VALUE". */
struct override *override_parse(const char *text, GError **error);
void override_free(struct override *o);

/* [host] profile is a file, not a name of `overbook list profiles`. */
bool experiment_names_file(const char *profile);
/* The canonical file, every default written out; loading it gives the same experiment. [vary] is left out if
 * @without_vary. */
char *experiment_to_string(const struct experiment *e, bool without_vary);

/* Every combination of [vary], in order (last key fastest): an array of arrays of overrides; one empty array when there
 * is none. */
GPtrArray *experiment_combinations(const struct experiment *e);
/* A directory name for one combination: "paging=shadow,seed=2", or "" . */
char *combination_name(const GPtrArray *overrides);

const struct conf_workload *experiment_workload(const struct experiment *e, const char *name);
const struct conf_phase *experiment_phase(const struct experiment *e, const char *name);

/* Does somebody decide? */
bool experiment_has_policy(const struct experiment *e);
/* The VM has a balloon: the experiment asks for it, or a policy may, or guests may say what is free. */
bool experiment_has_balloon(const struct experiment *e, const struct conf_vm *vm);

/* The most that a VM's balloon may hold, in bytes. */
uint64_t balloon_limit(const struct experiment *e, const struct conf_vm *vm);

/* What the files on a VM's disk hold at first, as phase.content of workload.h. */
uint64_t vm_disk_content(const struct conf_vm *vm);

/*
 * The script that a workload's phases make for one VM (heap, g_free), seeded for VM number @vm. A phase that replays a
 * trace has its index in e->phases as param[0] and its loops as param[1].
 */
struct script *experiment_script(const struct experiment *e, const struct conf_workload *w, unsigned vm,
				 GError **error);

/*
 * The distances of the host's nodes, [from * nodes + to], as frames_set_distances() takes them; NULL and what is wrong
 * with them.
 */
uint8_t *experiment_distances(const struct conf_host *h, char **why);

/* The node of a CPU: each node has as many, as far as the numbers go. */
static inline unsigned cpu_node(const struct conf_host *h, uint64_t cpu)
{
	return (unsigned)(cpu * h->nodes / h->cpus);
}

/* For `overbook list keys` and the docs: every key with its sentence and default, as GKeyFile text. g_free. */
char *experiment_reference(void);

#endif
