/* SPDX-License-Identifier: MIT */
/* cmd_list.c - overbook list WHAT: what there is to choose from, as aligned text from the program's own tables */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dedup/dedup.h"
#include "mm/estimate.h"
#include "mm/paging.h"
#include "mm/replace.h"
#include "mm/swap_pool.h"
#include "vmm/cmd.h"
#include "vmm/compressor.h"
#include "vmm/conf.h"
#include "vmm/figure.h"
#include "vmm/policy/policies.h"
#include "vmm/disk_model.h"
#include "vmm/sim/profile.h"
#include "vmm/vmm.h"
#include "workloads/pattern.h"

static void list_counters(void)
{
	for (const struct counter_info *c = counter_table; c->name; c++)
		printf("%-24s %-7s %s\n", c->name, c->unit, c->sentence);
}

static void list_workloads(void)
{
	for (int i = 0; workload_generators[i]; i++) {
		const struct workload_param *p = workload_generators[i]->params;

		printf("%-16s %s\n", workload_generators[i]->name, workload_generators[i]->summary);
		for (unsigned n = 0; p && p[n].name; n++) {
			struct conf_key k = conf_param_key(&p[n], n);
			g_autofree char *def = NULL;
			struct conf_phase ph = { .param = { 0 } };

			ph.param[n] = p[n].def;
			def = conf_format(&k, CONF_FIELD(&ph, &k));
			printf("  %-14s = %-8s %s\n", k.name, def, k.sentence);
		}
	}
	printf("%-16s %s\n", "trace", "Replays the memory trace of a real program.");
}

static void list_patterns(void)
{
	for (unsigned f = 0; f < PATTERN_FAMILIES; f++)
		printf("%-10s %s\n", pattern_family_name(f), pattern_family_summary(f));
}

static void list_profiles(void)
{
	for (int i = 0; profiles[i]; i++)
		printf("%-12s %s\n", profiles[i]->name, profiles[i]->summary);
}

static void list_modes(void)
{
	for (int i = 0; paging_modes[i]; i++)
		printf("%-8s %s\n", paging_modes[i]->name, paging_modes[i]->summary);
}

/* What [costs] may override, and a profile's file say, with the values of the processors that come built in. */
static void list_costs(void)
{
	printf("%-22s", "field");
	for (int i = 0; profiles[i]; i++)
		printf(" %12s", profiles[i]->name);
	putchar('\n');
	for (unsigned f = 0; profile_field(f); f++) {
		printf("%-22s", profile_field(f));
		for (int i = 0; profiles[i]; i++) {
			g_autofree char *value = profile_get(profiles[i], profile_field(f));

			printf(" %12s", value);
		}
		putchar('\n');
	}
}

static void list_figures(void)
{
	for (const struct figure *f = figure_table; f->name; f++)
		printf("%-16s %s%s\n", f->name, f->caption, f->asked ? " Only if asked for." : "");
}

static void list_replacement(void)
{
	for (int i = 0; replace_policies[i]; i++)
		printf("%-8s %s\n", replace_policies[i]->name, replace_policies[i]->summary);
}

static void list_policies(void)
{
	for (int i = 0; policies[i]; i++) {
		printf("%-14s %s\n", policies[i]->name, policies[i]->summary);
		for (unsigned n = 0; policies[i]->keys && policies[i]->keys[n].name; n++) {
			struct conf_key k = conf_constant_key(policies[i], n);
			struct conf_policy p = { .name = i };
			g_autofree char *def = NULL;

			p.constant[n] = policies[i]->keys[n].def;
			def = conf_format(&k, CONF_FIELD(&p, &k));
			printf("  %-14s = %-8s %s\n", k.name, def, k.sentence);
		}
	}
}

static void list_dedup(void)
{
	printf("%-8s %s\n", "none", "Nothing is merged.");
	for (int i = 0; dedup_algorithms[i]; i++)
		printf("%-8s %s\n", dedup_algorithms[i]->name, dedup_algorithms[i]->summary);
}

static void list_victims(void)
{
	for (int i = 0; swap_policies[i]; i++)
		printf("%-8s %s\n", swap_policies[i]->name, swap_policies[i]->summary);
}

static void list_estimators(void)
{
	for (int i = 0; estimator_table[i]; i++)
		printf("%-8s %s\n", estimator_table[i]->name, estimator_table[i]->summary);
}

static void list_compressors(void)
{
	for (int i = 0; compressors[i]; i++)
		printf("%-8s %s\n", compressors[i]->name, compressors[i]->summary);
}

static void list_devices(void)
{
	printf("%-8s %10s %10s %10s %8s %8s %6s  %s\n", "device", "read_ns", "write_ns", "seek_ns", "MB/s", "parallel",
	       "queue", "what it is");
	for (int i = 0; disk_profiles[i]; i++) {
		const struct disk_profile *p = disk_profiles[i];

		printf("%-8s %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %8" PRIu64 " %8u %6u  %s\n", p->name, p->read_ns,
		       p->write_ns, p->seek_ns, p->bytes_per_us, p->parallel, p->queue, p->summary);
	}
}

static void list_keys(void)
{
	g_autofree char *text = experiment_reference();

	fputs(text, stdout);
}

static const struct {
	const char *name, *summary;
	void (*print)(void);
} lists[] = {
	{ "counters", "what is counted", list_counters },
	{ "workloads", "patterns of access of a phase, and their parameters", list_workloads },
	{ "patterns", "contents of pages", list_patterns },
	{ "profiles", "processors", list_profiles },
	{ "modes", "paging modes", list_modes },
	{ "costs", "fields of a processor's profile, and their values", list_costs },
	{ "figures", "pictures that a run draws", list_figures },
	{ "policies", "who gives up how much memory ([policy] name), and its constants", list_policies },
	{ "replacement", "page replacement, for overbook trace mrc", list_replacement },
	{ "dedup", "how equal pages are found and merged", list_dedup },
	{ "victims", "which page the host swaps out ([swap] policy)", list_victims },
	{ "estimators", "how working sets are estimated ([estimate] methods)", list_estimators },
	{ "compressors", "what compresses swapped pages ([swap] compressor)", list_compressors },
	{ "devices", "swap devices ([swap] device)", list_devices },
	{ "keys", "sections and keys of an experiment file", list_keys },
};

int cmd_list(int argc, char **argv)
{
	const char *names[G_N_ELEMENTS(lists) + 1] = { NULL };
	bool help = argc == 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"));

	for (size_t i = 0; i < G_N_ELEMENTS(lists); i++)
		names[i] = lists[i].name;
	for (size_t i = 0; argc == 2 && i < G_N_ELEMENTS(lists); i++)
		if (!strcmp(argv[1], lists[i].name)) {
			lists[i].print();
			return CMD_OK;
		}
	for (size_t i = 0; help && i < G_N_ELEMENTS(lists); i++)
		printf("overbook list %-10s %s\n", lists[i].name, lists[i].summary);
	if (help)
		return CMD_OK;
	g_autofree char *all = g_strjoinv(", ", (char **)names);
	const char *near = argc == 2 ? conf_nearest(argv[1], names) : NULL;

	if (argc != 2)
		return cmd_error(CMD_USAGE, "list: one word is needed: %s", all);
	return cmd_error(CMD_USAGE, "list %s: there is no such list%s%s%s allowed are %s", argv[1],
			 near ? "; did you mean \"" : ";", near ? near : "", near ? "\"?" : "", all);
}
