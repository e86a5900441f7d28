/* SPDX-License-Identifier: MIT */
/*
 * conf.h - keys of experiment files: the tables, and how a value is read and written
 *
 * For the files experiment*.c only. A key is a row: name, type, where its value lies in the section's struct, default,
 * range and sentence; a section is a table of keys. conf_value.c turns text into the value and back, exactly:
 * formatting and parsing again gives the same value.
 */
#ifndef OVERBOOK_VMM_CONF_H
#define OVERBOOK_VMM_CONF_H

#include "vmm/experiment.h"

enum conf_type {
	CONF_TEXT,     /* char *, any text */
	CONF_NAME,     /* char *, letters, digits, '-' and '_'; may be empty if the default is */
	CONF_FILE,     /* char *, made absolute from the experiment file's folder */
	CONF_PROFILE,  /* char *, a profile's name; or a file, if it has a '/' or ends in ".ini" */
	CONF_NAMES,    /* char **, separated by ',' or ';' */
	CONF_COUNT,    /* uint64_t; 5000, 2k, 1.5M */
	CONF_SIZE,     /* uint64_t bytes; 64 MiB, 4K */
	CONF_TIME,     /* uint64_t ns; 20 ms */
	CONF_SHARE,    /* ppm; 30%, 500 ppm. uint64_t */
	CONF_MILLI,    /* uint64_t thousandths; 0.99 */
	CONF_NODES,    /* uint64_t, one bit a node; "0, 2", "0-3", "all" is 0 */
	CONF_BOOL,     /* bool; yes, no */
	CONF_ENUM,     /* int: base + index into choices */
	CONF_PATTERN,  /* int: index into workload_generators[], or PHASE_TRACE */
	CONF_CONTENTS, /* char *; family or family:number */
	CONF_NUMBER,   /* char *; 1.5, -2 or 40%; may be empty if the default is */
};

struct conf_key {
	const char *name; /* NULL ends a table */
	enum conf_type type;
	size_t offset;
	const char *def;	    /* as a file would say it; NULL: must be given */
	uint64_t min, max;	    /* of numbers; of the length of a list */
	const char *const *choices; /* CONF_ENUM, NULL-ended */
	int base;
	const char *sentence;
};

enum conf_section {
	SECTION_EXPERIMENT,
	SECTION_HOST,
	SECTION_BALLOON,
	SECTION_DEDUP,
	SECTION_SWAP,
	SECTION_POLICY, /* and the policy's own keys */
	SECTION_ESTIMATE,
	SECTION_VM,
	SECTION_WORKLOAD,
	SECTION_PHASE,
	SECTION_EXPECT,
	SECTION_COSTS, /* keys are fields of a profile */
	SECTION_VARY,  /* keys are SECTION.KEY */
	SECTION_COUNT,
};

struct conf_section_info {
	const char *name;
	bool named;		     /* [vm NAME]; else [host] */
	size_t size;		     /* of its struct; for named ones, that begins with char *name */
	const struct conf_key *keys; /* NULL: free */
	const char *sentence;
};

extern const struct conf_section_info conf_sections[SECTION_COUNT];

/* Read @text into the value at @field. False, and why in *why (g_free): what is allowed. */
bool conf_parse(const struct conf_key *k, const char *text, void *field, char **why);
/* As a file would say it; g_free. */
char *conf_format(const struct conf_key *k, const void *field);
/* Free what the value owns. */
void conf_clear(const struct conf_key *k, void *field);
/* What values the key takes, in words; g_free. */
char *conf_describe(const struct conf_key *k);

/* A generator's parameter number @i as a key of struct conf_phase; def is NULL: it is in the workload_param. */
struct conf_key conf_param_key(const struct workload_param *p, unsigned i);
/* The parameters of a phase's pattern, or NULL. */
const struct workload_param *conf_params(int pattern);
/* Family and number of a CONF_CONTENTS text, as phase.content of workload.h. */
uint64_t conf_contents_base(const char *text);

bool conf_is_name(const char *text);
/* The name in the NULL-ended list that is nearest to @text if any is close, else NULL. */
const char *conf_nearest(const char *text, const char *const *names);

/* The text of a file, before it is typed: what overrides are applied to. Owns everything in it. */
struct raw_entry {
	char *key, *value;
	const char *from; /* "", or where an override came from, for messages */
};

struct raw_section {
	enum conf_section kind;
	char *name;	    /* of a named section, else "" */
	GPtrArray *entries; /* of struct raw_entry */
};

struct raw {
	char *path;
	GPtrArray *sections; /* of struct raw_section */
};

struct raw *raw_read(const char *path, GError **error);
struct raw *raw_copy(const struct raw *raw);
void raw_free(struct raw *raw);
gboolean raw_override(struct raw *raw, const struct override *o, const char *from, GError **error);
const struct raw_entry *raw_find(const struct raw_section *s, const char *key);
gboolean raw_fault(const struct raw *raw, const struct raw_section *s, const struct raw_entry *e, GError **error,
		   const char *format, ...) G_GNUC_PRINTF(5, 6); /* FALSE */

/* experiment_policy.c: a policy's constant number @i as a key of struct conf_policy. */
struct conf_key conf_constant_key(const struct policy_ops *ops, unsigned i);
bool conf_find_constant(const struct conf_policy *p, const char *name, struct conf_key *out);
/* Once name and module are known: the policy, and its constants from the section. */
gboolean conf_fill_policy(const struct raw *raw, const struct raw_section *s, struct conf_policy *p, GError **error);
void conf_clear_policy(struct conf_policy *p);
void conf_put_policy(GString *out, const struct conf_policy *p, bool without_vary);
void conf_refer_policies(GString *out);

/* experiment.c: the typed form of @raw, each value checked by itself; [vary] is not looked at. */
struct experiment *experiment_build(const struct raw *raw, GError **error);
/* experiment_vary.c: the rows of [vary], less those that an override fixes. */
gboolean vary_read(struct experiment *e, const struct raw *raw, const GPtrArray *overrides, GError **error);
/* Load and check every combination. */
gboolean vary_check(const struct experiment *e, const struct raw *raw, GError **error);
/* experiment_expect.c: each [expect NAME] by itself, and against what [vary] lists. */
gboolean expect_check(const struct experiment *e, const struct raw *raw, GError **error);
/* experiment.c: the [expect NAME] sections of @raw alone, of struct conf_expect; NULL and @error. */
GPtrArray *expects_build(const struct raw *raw, GError **error);
/* experiment_check.c: what no single key can say. */
gboolean experiment_check(const struct experiment *e, GError **error);

/* A key of the section's table. */
bool conf_find_static_key(enum conf_section kind, const char *name, struct conf_key *out);
/* "No such key", with those that there are. FALSE. */
gboolean conf_unknown_key(const struct raw *raw, const struct raw_section *s, const struct raw_entry *entry,
			  const void *section, GError **error);
/* experiment_numa.c: do node, nodes, cpu-node, placement of a VM go with the host? If not, which, and why (g_free). */
bool experiment_check_nodes(const struct experiment *e, const struct conf_vm *vm, const char **key, char **why);

/* A key of a section, a generator's parameter included; @section is its struct. False: there is none. */
bool conf_find_key(enum conf_section kind, const void *section, const char *name, struct conf_key *out);

/* The value at a key of a section's struct. */
#define CONF_FIELD(section, k) ((void *)((char *)(section) + (k)->offset))

#endif
