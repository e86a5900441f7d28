/* SPDX-License-Identifier: MIT */
/* Experiment files: values of every type, overrides, combinations, the canonical file, the script they make. */
#include <check.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "dedup/dedup.h"
#include "mm/swap_pool.h"
#include "tests/lib/suite.h"
#include "vmm/conf.h"
#include "vmm/sim/compress.h"
#include "vmm/disk_model.h"
#include "workloads/pattern.h"

#define BASE                                                                                                           \
	"[vm a]\nmemory = 64 MiB\nworkload = w\n"                                                                      \
	"[workload w]\nphases = p\n"                                                                                   \
	"[phase p]\npattern = uniform\noperations = 10\n"

static char *dir;

static void setup(void)
{
	g_autofree char *traces = g_canonicalize_filename("workloads/traces", NULL), *link = NULL;

	dir = g_dir_make_tmp("overbook-test-XXXXXX", NULL);
	/* Shipped experiments name traces relative to themselves. */
	link = g_build_filename(dir, "traces", NULL);
	ck_assert_int_eq(symlink(traces, link), 0);
}

static void teardown(void)
{
	g_autofree char *file = g_build_filename(dir, "x.ini", NULL), *link = g_build_filename(dir, "traces", NULL);

	g_unlink(link);
	g_unlink(file);
	g_rmdir(dir);
	g_free(dir);
}

/* Load @text with overrides @set (NULL-ended, may be NULL). */
static struct experiment *load(const char *text, const char *const *set, GError **error)
{
	g_autofree char *file = g_build_filename(dir, "x.ini", NULL);
	g_autoptr(GPtrArray) overrides = g_ptr_array_new_with_free_func((GDestroyNotify)override_free);

	ck_assert(g_file_set_contents(file, text, -1, NULL));
	for (; set && *set; set++) {
		struct override *o = override_parse(*set, error);

		if (!o)
			return NULL;
		g_ptr_array_add(overrides, o);
	}
	return experiment_load(file, overrides, error);
}

static struct experiment *load_ok(const char *text, const char *const *set)
{
	g_autoptr(GError) error = NULL;
	struct experiment *e = load(text, set, &error);

	ck_assert_msg(e != NULL, "%s", error ? error->message : "no message");
	return e;
}

/* Loading fails, and the message has every one of the words (separated by '|'). */
static void load_fails(const char *text, const char *const *set, const char *words)
{
	g_autoptr(GError) error = NULL;
	g_auto(GStrv) each = g_strsplit(words, "|", -1);
	struct experiment *e = load(text, set, &error);

	ck_assert_msg(e == NULL, "loaded, though: %s", words);
	ck_assert(g_error_matches(error, EXPERIMENT_ERROR, 0));
	for (char **w = each; *w; w++)
		ck_assert_msg(strstr(error->message, *w) != NULL, "\"%s\" is not in: %s", *w, error->message);
}

#define SET(...) ((const char *const[]){ __VA_ARGS__, NULL })

START_TEST(defaults)
{
	struct experiment *e = load_ok(BASE, NULL);
	const struct conf_vm *vm = g_ptr_array_index(e->vms, 0);
	const struct conf_phase *ph = experiment_phase(e, "p");

	ck_assert_uint_eq(e->experiment.quantum, 1000);
	ck_assert_uint_eq(e->host.page_level, 1);
	ck_assert_str_eq(vm->name, "a");
	ck_assert_uint_eq(vm->memory, 64 << 20);
	ck_assert_int_eq(vm->paging, 2);
	ck_assert_uint_eq(vm->guest_levels, 4);
	ck_assert_uint_eq(vm->max_leaf, 3);
	ck_assert_uint_eq(ph->write_ppm, 300000);
	ck_assert_uint_eq(ph->size, 16 << 20);
	ck_assert_str_eq(workload_generators[ph->pattern]->name, "uniform");
	ck_assert_ptr_nonnull(experiment_workload(e, "w"));
	ck_assert_ptr_null(experiment_workload(e, "p"));
	experiment_free(e);
}
END_TEST

static const struct {
	enum conf_type type;
	const char *text;
	uint64_t value;
	const char *canonical; /* NULL: refused */
} numbers[] = {
	{ CONF_SIZE, "4096", 4096, "4 KiB" },
	{ CONF_SIZE, "4K", 4096, "4 KiB" },
	{ CONF_SIZE, "256 MiB", 256 << 20, "256 MiB" },
	{ CONF_SIZE, "1.5GiB", 3ull << 29, "1536 MiB" },
	{ CONF_SIZE, "4097 B", 4097, "4097 B" },
	{ CONF_SIZE, "0", 0, "0" },
	{ CONF_SIZE, "0.3 B", 0, NULL },
	{ CONF_SIZE, "3x", 0, NULL },
	{ CONF_SIZE, "-1", 0, NULL },
	{ CONF_SIZE, "", 0, NULL },
	{ CONF_SIZE, "99999999999999999999", 0, NULL },
	{ CONF_SIZE, "17000000 TiB", 0, NULL },
	{ CONF_SIZE, "1 MB", 0, NULL },
	{ CONF_SIZE, "0x10", 0, NULL },
	{ CONF_TIME, "20 ms", 20000000, "20 ms" },
	{ CONF_TIME, "1.5us", 1500, "1500 ns" },
	{ CONF_TIME, "2 min", 120000000000, "120 s" },
	{ CONF_TIME, "20", 0, NULL },
	{ CONF_TIME, "0", 0, "0" },
	{ CONF_TIME, "1.5 ns", 0, NULL },
	{ CONF_TIME, "10 fortnights", 0, NULL },
	{ CONF_SHARE, "30%", 300000, "30%" },
	{ CONF_SHARE, "500 ppm", 500, "0.05%" },
	{ CONF_SHARE, "12.3456%", 123456, "12.3456%" },
	{ CONF_SHARE, "0.3", 0, NULL },
	{ CONF_SHARE, "0.00001%", 0, NULL },
	{ CONF_MILLI, "0.99", 990, "0.99" },
	{ CONF_MILLI, "1", 1000, "1" },
	{ CONF_MILLI, "0.9999", 0, NULL },
	{ CONF_COUNT, "2k", 2000, "2000" },
	{ CONF_COUNT, "1_000_000", 1000000, "1000000" },
	{ CONF_COUNT, "1.5M", 1500000, "1500000" },
	{ CONF_COUNT, "18446744073709551615", UINT64_MAX, "18446744073709551615" },
	{ CONF_COUNT, "18446744073709551616", 0, NULL },
	{ CONF_COUNT, "1e6", 0, NULL },
	{ CONF_COUNT, "1_", 0, NULL },
	{ CONF_COUNT, "5 5", 0, NULL },
};

START_TEST(values)
{
	struct conf_key k = { .name = "x", .type = numbers[_i].type, .max = UINT64_MAX };
	g_autofree char *why = NULL, *again = NULL;
	uint64_t value = 0;
	bool ok = conf_parse(&k, numbers[_i].text, &value, &why);

	ck_assert_msg(ok == (numbers[_i].canonical != NULL), "%s", numbers[_i].text);
	if (!ok) {
		ck_assert_ptr_nonnull(why);
		return;
	}
	ck_assert_uint_eq(value, numbers[_i].value);
	again = conf_format(&k, &value);
	ck_assert_str_eq(again, numbers[_i].canonical);
	ck_assert(conf_parse(&k, again, &value, &why));
	ck_assert_uint_eq(value, numbers[_i].value);
}
END_TEST

/* What if a run's own experiment.ini gave another experiment? Writing, reading and writing again gives the same text.
 */
static void fixpoint_of(const char *text, const char *const *set, bool without_vary)
{
	struct experiment *e = load_ok(text, set), *f;
	g_autofree char *one = experiment_to_string(e, without_vary), *two = NULL;

	f = load_ok(one, NULL);
	two = experiment_to_string(f, without_vary);
	ck_assert_str_eq(one, two);
	experiment_free(e);
	experiment_free(f);
}

#define RICH													\
	"[experiment]\ntitle = A = b, [c]; d\nfigures = time, exits\nwarm-up = 1.5 us\nduration = 1 s\n"	\
	"[host]\nnodes = 2\npage-size = 2M\n"									\
	"[vm a]\ncount = 3\nworkload = w\npaging = shadow\nnode = 1\n[vm b]\nworkload = w\nlevels = 5\n"	\
	"[workload w]\nphases = p; q; c\nprocesses = 2\n[phase p]\npattern = zipf\ntheta = 0.5\ncontents = text:3\n" \
	"[phase q]\npattern = fork\nforks = c\nregion = p\n"							\
	"[phase c]\npattern = sequential\nchild = yes\nregion = p\nwrites = 1234 ppm\n"				\
	"[costs]\nexit_cycles = 5\n"										\
	"[vary]\nvm.memory = 64 MiB, 1 GiB\nphase p.theta = 0.1; 0.2; 0.3\nworkload w.phases = p; p, q, c;\n"

START_TEST(fixpoint)
{
	g_autofree char *hello = NULL, *modes = NULL;

	fixpoint_of(BASE, NULL, false);
	fixpoint_of(RICH, NULL, false);
	fixpoint_of(RICH, NULL, true);
	fixpoint_of(BASE "[vary]\nworkload w.phases = p, p;\n", NULL, false);
	if (g_file_get_contents("workloads/hello.ini", &hello, NULL, NULL))
		fixpoint_of(hello, NULL, false);
	if (g_file_get_contents("workloads/paging-modes.ini", &modes, NULL, NULL))
		fixpoint_of(modes, SET("vm.paging=pv"), false);
}
END_TEST

START_TEST(shipped_files_load)
{
	static const char *const files[] = { "workloads/hello.ini", "workloads/paging-modes.ini",
					     "workloads/overcommit.ini", "workloads/idle-tax.ini",
					     "workloads/reclaim-states.ini",
					     "workloads/walk-references.ini",
					    "workloads/swap-policies.ini", "workloads/swap-optimum.ini",
					    "workloads/swap-pathologies.ini",
					    "workloads/working-set.ini", "workloads/guest-reclaim.ini"};

	for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
		g_autoptr(GError) error = NULL;
		struct experiment *e = experiment_load(files[i], NULL, &error);

		ck_assert_msg(e != NULL, "%s", error ? error->message : "");
		experiment_free(e);
	}
}
END_TEST

/* [swap] names policies and devices in the order of their tables. */
START_TEST(swap_choices)
{
	const struct conf_swap w = {0};
	struct conf_key policy, device, compressor;
	unsigned i;

	ck_assert(conf_find_key(SECTION_SWAP, &w, "policy", &policy));
	ck_assert(conf_find_key(SECTION_SWAP, &w, "device", &device));
	ck_assert(conf_find_key(SECTION_SWAP, &w, "compressor", &compressor));
	for (i = 0; compressors[i]; i++)
		ck_assert_str_eq(compressor.choices[i], compressors[i]->name);
	ck_assert_ptr_null(compressor.choices[i]);
	for (i = 0; swap_policies[i]; i++)
		ck_assert_str_eq(policy.choices[i], swap_policies[i]->name);
	ck_assert_ptr_null(policy.choices[i]);
	for (i = 0; disk_profiles[i]; i++)
		ck_assert_str_eq(device.choices[i], disk_profiles[i]->name);
	ck_assert_ptr_null(device.choices[i]);
}
END_TEST

START_TEST(overrides)
{
	struct experiment *e = load_ok(RICH, SET("vm.memory = 128 MiB", "vm b.paging=ept", "experiment.seed=9",
						 "phase p.theta=1.5", "costs.cr3_cycles=7"));
	const struct conf_vm *a = g_ptr_array_index(e->vms, 0), *b = g_ptr_array_index(e->vms, 1);

	ck_assert_uint_eq(a->memory, 128 << 20);
	ck_assert_uint_eq(b->memory, 128 << 20);
	ck_assert_int_eq(a->paging, 1);
	ck_assert_int_eq(b->paging, 2);
	ck_assert_uint_eq(e->experiment.seed, 9);
	ck_assert_uint_eq(experiment_phase(e, "p")->param[0], 1500);
	ck_assert_uint_eq(e->costs->len, 2);
	ck_assert_uint_eq(e->vary->len, 1); /* memory and theta are fixed now */
	experiment_free(e);
}
END_TEST

START_TEST(combinations)
{
	struct experiment *e = load_ok(RICH, NULL);
	g_autoptr(GPtrArray) cells = experiment_combinations(e);
	static const char *const names[] = {
		"memory=64MiB,theta=0.1,phases=p", "memory=64MiB,theta=0.1,phases=p_q_c",
		"memory=64MiB,theta=0.2,phases=p", "memory=64MiB,theta=0.2,phases=p_q_c",
		"memory=64MiB,theta=0.3,phases=p", "memory=64MiB,theta=0.3,phases=p_q_c",
		"memory=1GiB,theta=0.1,phases=p",
	};

	ck_assert_uint_eq(cells->len, 12);
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *name = combination_name(g_ptr_array_index(cells, i));

		ck_assert_str_eq(name, names[i]);
	}
	experiment_free(e);

	e = load_ok(BASE "[vary]\nvm a.memory = 64 MiB, 8 MiB\nhost.memory = 1 GiB\n", NULL);
	g_autoptr(GPtrArray) two = experiment_combinations(e);
	g_autofree char *name = combination_name(g_ptr_array_index(two, 1));

	ck_assert_str_eq(name, "vma.memory=8MiB,host.memory=1GiB");
	experiment_free(e);

	e = load_ok(BASE, NULL);
	g_autoptr(GPtrArray) one = experiment_combinations(e);

	ck_assert_uint_eq(one->len, 1);
	ck_assert_uint_eq(((GPtrArray *)g_ptr_array_index(one, 0))->len, 0);
	experiment_free(e);
}
END_TEST

static const struct {
	const char *extra; /* after BASE */
	const char *set;   /* or an override */
	const char *words; /* that the message must have */
} faults[] = {
	{ "[vm a]\n", NULL, "line 9|[vm a] appears twice|line 1" },
	{ "operations = 11\n", NULL, "line 9|operations appears twice" },
	{ "[vm]\n", NULL, "[vm]|a name is needed" },
	{ "[host x]\n", NULL, "[host x]|only one" },
	{ "[hots]\n", NULL, "[hots]|did you mean [host]" },
	{ "[zzzzzz]\n", NULL, "[zzzzzz]|Allowed are|[phase NAME]" },
	{ "[vm b c]\n", NULL, "[vm b c]|a name is needed" },
	{ "theta = 0.9\n", NULL, "[phase p] theta = 0.9|no such key|pattern" },
	{ "paterns = 0.9\n", NULL, "did you mean \"pattern\"" },
	{ "size = 3x\n", NULL, "[phase p] size = 3x|a size in B, KiB|from 4 KiB to 256 GiB" },
	{ "writes = 101%\n", NULL, "writes = 101%|from 0 to 100%" },
	{ "child = maybe\n", NULL, "child = maybe|yes or no" },
	{ "child = yes\n", NULL, "child = yes|no phase of [workload w] forks it" },
	{ "page-size = 8K\n", NULL, "page-size = 8K|4K, 2M, 1G" },
	{ "page-size = 1G\n", NULL, "size = 16 MiB|multiple of the page-size" },
	{ "contents = txet\n", NULL, "contents = txet|zero, text, pointer" },
	{ "contents = zero:4\n", NULL, "contents = zero:4" },
	{ "contents = text:0\n", NULL, "contents = text:0" },
	{ "forks = p\n", NULL, "forks = p|does not fork" },
	{ "trace = x\n", NULL, "trace = |only pattern = trace" },
	{ "loops = 3\n", NULL, "loops = 3|only pattern = trace" },
	{ "hello\n", NULL, "hello|key = value" },
	{ "[workload v]\n", NULL, "[workload v]|\"phases\" is missing" },
	{ "[workload v]\nphases = pp\n", NULL, "phases = pp|[phase pp]|allowed: p" },
	{ "[workload v]\nphases = p q\n", NULL, "phases = p q|separated by commas" },
	{ "[workload v]\nphases = ,\n", NULL, "phases = ," },
	{ "[phase q]\n", NULL, "[phase q]|\"pattern\" is missing|zipf" },
	{ "[phase q]\npattern = zip\n", NULL, "pattern = zip|one of sequential" },
	{ "[phase q]\npattern = uniform\n", NULL, "operations = 0|never ends" },
	{ "[phase q]\npattern = trace\n", NULL, "trace = |needs the name" },
	{ "[phase q]\npattern = trace\ntrace = /nonexistent\n", NULL, "trace = /nonexistent|cannot be opened" },
	{ "[phase q]\npattern = mmap\noperations = 1\ncontents = text\n", NULL, "contents = text|only zero" },
	{ "[phase q]\npattern = content\noperations = 1\n", NULL, "contents = zero|writes contents" },
	{ "[phase q]\npattern = sequential\noperations = 1\nstep = 12\n", NULL, "step = 12 B|multiple of 8" },
	{ "[phase q]\npattern = fork\noperations = 1\n[workload v]\nphases = q\n", NULL, "forks = |child = yes" },
	{ "[phase q]\npattern = mmap\noperations = 1\nregion = p\n[workload v]\nphases = p, q\n", NULL,
	  "region = |one of its own" },
	{ "[phase q]\npattern = mmap\noperations = 1\n[workload v]\nphases = q, q\n", NULL,
	  "pattern = mmap|only once" },
	{ "[phase q]\npattern = uniform\noperations = 1\nregion = p\npage-size = 2M\n[workload v]\nphases = p, q\n",
	  NULL, "page-size = 4K|[phase q]" },
	{ "[vm b]\nworkload = ww\n", NULL, "workload = ww|allowed: w" },
	{ "[vm host]\nworkload = w\n", NULL, "[vm host]|names the host" },
	{ "[vm a-0]\nworkload = w\n", "vm a.count=2", "two VMs are named a-0" },
	{ "[costs]\nexit_cycle = 4\n", NULL, "[costs] exit_cycle = 4|no such field" },
	{ "[costs]\nexit_cycles = many\n", NULL, "[costs] exit_cycles = many" },
	{ "[vary]\npaging = ept\n", NULL, "[vary] paging = ept|SECTION.KEY" },
	{ "[vary]\nvm.paging = ept, etp\n", NULL, "paging = etp|from [vary]|native, shadow, ept, pv" },
	{ "[vary]\nvm.pagin = ept\n", NULL, "pagin = ept|did you mean \"paging\"" },
	{ "[vary]\nvm q.paging = ept\n", NULL, "no [vm q]|[vm a]" },
	{ "[vary]\nvm.paging = ept, ept\n", NULL, "ept|there twice" },
	{ "[vary]\nvm.paging = ept,, pv\n", NULL, "is empty" },
	{ "[vary]\nvm.paging =\n", NULL, "paging" },
	{ "[swap]\nsize = 1 GiB\npolicy = lifo\n", NULL, "[swap] policy = lifo|fifo, random" },
	{ "[swap]\nsize = 1 GiB\ndevice = tape\n", NULL, "[swap] device = tape|nvme, ssd" },
	{ "[swap]\nsize = 1 GiB\nreclaim-from = me\n", NULL, "[swap] reclaim-from = me|host, proportional, largest" },
	{ "[swap]\nsize = 1 GiB\npolicy = opt\n[vm b]\nworkload = w\n", NULL, "[swap] policy = opt|lockstep" },
	{ "[swap]\nsize = 1 GiB\npolicy = opt\n[experiment]\nschedule = lockstep\n"
	  "[vm b]\nworkload = w\ndisk = 16 MiB\n", NULL, "[swap] policy = opt|disk" },
	{ "[host]\nyoung = accessed-bit\n[experiment]\nschedule = lockstep\n", NULL,
	  "[host] young = accessed-bit|lockstep" },
	{ "[swap]\nsize = 4097 B\n", NULL, "[swap] size = |multiple of 4 KiB" },
	{ "[swap]\nsize = 1 GiB\nlow-watermark = 4%\n", NULL, "[swap] low-watermark = 4%|high-watermark" },
	{ "[swap]\nsize = 1 GiB\n[host]\nmemory = 8 MiB\n", NULL, "[swap] low-watermark = |64 frames" },
	{ "[swap]\nsize = 1 GiB\ncompressed-pool = 3 GiB\n", NULL, "[swap] compressed-pool = 3 GiB|half" },
	{ "[swap]\nsize = 1 GiB\ncompressed-pool = 1 KiB\n", NULL, "[swap] compressed-pool = 1 KiB|multiple of 4 KiB" },
	{ "[vary]\nvm.memory = 64 MiB, 3 MiB\n", NULL, "memory = 3 MiB" },
	{ "[vary]\nvm.memory = 64 MiB, 9 MiB\n", NULL, "memory = 9 MiB|multiple of 2 MiB" },
	{ "[vary]\nvary.x = 1\n", NULL, "[vary]" },
	{ "", "vm.memory=9 MiB", "memory = 9 MiB|multiple of 2 MiB" },
	{ "", "vm.memory=4 MiB", "memory = 4 MiB (overridden)|from 8 MiB" },
	{ "", "vm.arena=64 MiB", "arena = 64 MiB|less than the VM's memory" },
	{ "", "vm.arena=1 MiB", "arena = 1 MiB|multiple of 2 MiB" },
	{ "", "vm.shadow-limit=3", "shadow-limit = 3|at least 16" },
	{ "", "vm.node=1", "node = 1|nodes 0 to 0" },
	{ "", "vm.dirty-log=pml", NULL },
	{ "ept-ad = no\n", NULL, "[phase p] ept-ad" },
	{ "[vm b]\nworkload = w\nept-ad = no\ndirty-log = pml\n", NULL, "dirty-log = pml|ept-ad = yes" },
	{ "[dedup]\nalgorithm = kms\n", NULL, "[dedup]|algorithm = kms|none, ksm, hash, oracle" },
	{ "[dedup]\nmax-page-sharing = 1\n", NULL, "max-page-sharing = 1|2" },
	{ "[dedup]\nunmerge = yes\n", NULL, "unmerge = yes|stop" },
	{ "[dedup]\nalgorithm = ksm\npatch = yes\n", NULL, "patch = yes|compressed-pool" },
	{ "[dedup]\nalgorithm = ksm\ncompress = yes\n[swap]\nsize = 1 GiB\n", NULL, "compress = yes|compressed-pool" },
	{ "[dedup]\ncold-passes = 128\n", NULL, "cold-passes = 128|127" },
	{ "[dedup]\nadvisor = cpu\n", NULL, "advisor = cpu|none, scan-time" },
	{ "[dedup]\nadvisor-min-cpu = 80%\n", NULL, "advisor-min-cpu = 80%|advisor-max-cpu" },
	{ "[dedup]\nadvisor-max-pages-to-scan = 100\n", NULL,
	  "advisor-min-pages-to-scan = 500|advisor-max-pages-to-scan" },
	{ "[dedup]\nalgorithm = ksm\n[vm b]\nworkload = w\npaging = native\n", NULL, "paging = native|ept|none" },
	{ "[vm b]\nworkload = w\npaging = native\ndirty-log = wrprotect\n", NULL, "dirty-log = wrprotect|native" },
	{ "[vm b]\nworkload = w\npaging = native\nmemory = 3 GiB\ncount = 2\n", NULL,
	  "memory = 3 GiB|6144 MiB|4096 MiB" },
	{ "[experiment]\nmachine = kvm\n[vm b]\nworkload = w\npaging = pv\n", NULL, "paging = pv|ept and shadow" },
	{ "", "vm.balloon-target=60 MiB", "balloon-target = 60 MiB|limit allows 42596 KiB" },
	{ "", "vm.balloon-target=5 KiB", "balloon-target = 5 KiB|multiple of 4 KiB" },
	{ "[balloon]\nlimit = 1%\n", "vm.balloon-target=1 MiB", "balloon-target = 1 MiB|limit allows 652 KiB" },
	{ "[balloon]\nrate = 0\n", NULL, "[balloon] rate = 0|from 1" },
	{ "[vm b]\nworkload = w\nballoon-target = 4 KiB\npaging = native\n", NULL, "balloon-target = 4 KiB|native" },
	{ "[vm b]\nworkload = w\nballoon-target = 4 KiB\nballoon-from = 2 ms\nballoon-until = 2 ms\n", NULL,
	  "balloon-until = 2 ms|later" },
	{ "[vm b]\nworkload = w\nballoon-target = 4 KiB\nballoon-until = 2 ms\nballoon-period = 2 ms\n", NULL,
	  "balloon-period = 2 ms|longer" },
	{ "[vm b]\nworkload = w\nballoon-target = 4 KiB\nballoon-period = 2 ms\n", NULL,
	  "balloon-period = 2 ms|longer" },
	{ "[vm b]\nworkload = w\nballoon-behaviour = nasty\n", NULL,
	  "balloon-behaviour = nasty|good, slow, silent, hostile" },
	{ "", "vm.disk=5 KiB", "disk = 5 KiB|multiple of 4 KiB" },
	{ "", "vm.guest-swap=5 KiB", "guest-swap = 5 KiB|multiple of 4 KiB" },
	{ "", "vm.disk-device=tape", "disk-device = tape|nvme, ssd, disk, zram, far" },
	{ "", "vm.disk-contents=prose", "disk-contents = prose|text" },
	{ "[experiment]\nduration = 1 s\nwarm-up = 1 s\n", NULL, "warm-up = 1 s|shorter" },
	{ "", "host.memory=9 MiB", "memory = 9 MiB|2 MiB" },
	{ "", "host.profile=vax", "profile = vax|zen3" },
	{ "", "experiment.seed=x", "[experiment] seed = x|whole number" },
	{ "", "vm", "SECTION.KEY=VALUE" },
	{ "", "=x", "SECTION.KEY=VALUE" },
	{ "", "vm.=x", "SECTION.KEY=VALUE" },
	{ "", ".x=x", "SECTION.KEY=VALUE" },
	{ "", "phase.size=4K", "no [phase]|[phase p]" },
	{ "", "phase q.size=4K", "no [phase q]|[phase p]" },
	{ "", "experiment.title=a\nb", "title|control characters" },
};

START_TEST(messages)
{
	g_autofree char *text = g_strconcat(BASE, faults[_i].extra, NULL);
	const char *const set[] = { faults[_i].set, NULL };

	if (faults[_i].words)
		load_fails(text, set, faults[_i].words);
	else
		experiment_free(load_ok(text, set));
}
END_TEST

START_TEST(files_that_are_none)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *large = g_strnfill(2 << 20, '\n');

	ck_assert_ptr_null(experiment_load("/nonexistent.ini", NULL, &error));
	ck_assert_ptr_nonnull(strstr(error->message, "/nonexistent.ini: cannot be read"));
	g_clear_error(&error);
	ck_assert_ptr_null(experiment_load("/", NULL, &error));
	g_clear_error(&error);
	ck_assert_ptr_null(experiment_load("/dev/zero", NULL, &error));
	load_fails("", NULL, "there is no [vm NAME]");
	load_fails("\xff\xfe", NULL, "UTF-8");
	load_fails(large, NULL, "too large");
}
END_TEST

START_TEST(script)
{
	struct experiment *e = load_ok(RICH, NULL);
	const struct conf_workload *w = experiment_workload(e, "w");
	g_autofree struct script *s = experiment_script(e, w, 0, NULL), *t = experiment_script(e, w, 1, NULL);

	ck_assert_uint_eq(s->nphases, 3);
	ck_assert_uint_eq(s->nprocesses, 2);
	ck_assert_uint_ne(s->seed, t->seed);
	ck_assert_uint_eq(s->phase[0].region, s->phase[1].region);
	ck_assert_uint_eq(s->phase[0].flags, PHASE_MAPS | PHASE_FILLS);
	ck_assert_uint_eq(s->phase[0].content, PATTERN_BASE(PATTERN_TEXT, 3));
	ck_assert_uint_eq(s->phase[0].param[0], 500);
	ck_assert_uint_gt(s->phase[0].table_words, 64);
	ck_assert_uint_eq(s->phase[1].flags, PHASE_MAPS | PHASE_WAITS);
	ck_assert_uint_eq(s->phase[1].fork_phase, 2);
	ck_assert_uint_eq(s->phase[2].flags, PHASE_MAPS | PHASE_CHILD);
	ck_assert_uint_eq(s->phase[2].write_ppm, 1234);
	experiment_free(e);
}
END_TEST

START_TEST(script_layout)
{
	struct experiment *e = load_ok("[vm a]\nworkload = w\n[workload w]\nphases = p, q, r, s\n"
				       "[phase p]\npattern = zipf\noperations = 1\nsize = 3 GiB\n"
				       "[phase q]\npattern = zipf\noperations = 1\nsize = 4 KiB\n"
				       "[phase r]\npattern = zipf\noperations = 1\nsize = 5 GiB\nregion = p\n"
				       "[phase s]\npattern = zipf\noperations = 1\nsize = 3 GiB\nregion = t\n",
				       NULL);
	g_autofree struct script *s = experiment_script(e, experiment_workload(e, "w"), 0, NULL);

	ck_assert_uint_eq(s->phase[0].region, 0);
	ck_assert_uint_eq(s->phase[1].region, 6 << 18); /* behind 5 GiB and a gap */
	ck_assert_uint_eq(s->phase[2].region, 0);
	ck_assert_uint_eq(s->phase[3].region, 8 << 18);
	ck_assert_uint_eq(s->phase[3].table, s->phase[0].table); /* the same draws: one table */
	ck_assert_uint_ne(s->phase[2].table, s->phase[0].table);
	experiment_free(e);
}
END_TEST

/* What if tables do not fit? A message when the file is read, not a surprise in the run. */
START_TEST(script_too_large)
{
	GString *text = g_string_new("[vm a]\nworkload = w\n[workload w]\nphases = p0, p1, p2, p3, p4\n");

	for (int i = 0; i < 5; i++)
		g_string_append_printf(text, "[phase p%d]\npattern = zipf\noperations = 1\nsize = %d GiB\n", i, 8 + i);
	load_fails(text->str, NULL, "[workload w]|2048 words");
	g_string_free(text, TRUE);
}
END_TEST

/* The names that a file may say are the algorithms there are, in order. */
START_TEST(dedup_names)
{
	struct conf_key k;
	int n;

	ck_assert(conf_find_key(SECTION_DEDUP, NULL, "algorithm", &k));
	ck_assert_str_eq(k.choices[0], "none");
	for (n = 0; dedup_algorithms[n]; n++)
		ck_assert_str_eq(k.choices[n + 1], dedup_algorithms[n]->name);
	ck_assert_ptr_null(k.choices[n + 1]);
}
END_TEST

START_TEST(reference)
{
	g_autofree char *text = experiment_reference();
	g_autoptr(GKeyFile) kf = g_key_file_new();

	ck_assert(g_key_file_load_from_data(kf, text, strlen(text), G_KEY_FILE_NONE, NULL));
	for (int i = 0; i < SECTION_COUNT; i++)
		for (const struct conf_key *k = conf_sections[i].keys; k && k->name; k++) {
			ck_assert_ptr_nonnull(strstr(text, k->name));
			ck_assert_ptr_nonnull(strstr(text, k->sentence));
		}
	for (int i = 0; workload_generators[i]; i++)
		ck_assert_ptr_nonnull(strstr(text, workload_generators[i]->summary));
}
END_TEST

START_TEST(nearest)
{
	static const char *const names[] = { "paging", "memory", "page-size", NULL };

	ck_assert_str_eq(conf_nearest("pagin", names), "paging");
	ck_assert_str_eq(conf_nearest("memmory", names), "memory");
	ck_assert_str_eq(conf_nearest("pagesize", names), "page-size");
	ck_assert_ptr_null(conf_nearest("workload", names));
	ck_assert_ptr_null(conf_nearest("", names));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("experiment");
	TCase *tc = tcase_create("experiment");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, defaults);
	tcase_add_loop_test(tc, values, 0, G_N_ELEMENTS(numbers));
	tcase_add_test(tc, fixpoint);
	tcase_add_test(tc, shipped_files_load);
	tcase_add_test(tc, swap_choices);
	tcase_add_test(tc, overrides);
	tcase_add_test(tc, combinations);
	tcase_add_loop_test(tc, messages, 0, G_N_ELEMENTS(faults));
	tcase_add_test(tc, files_that_are_none);
	tcase_add_test(tc, script);
	tcase_add_test(tc, script_layout);
	tcase_add_test(tc, script_too_large);
	tcase_add_test(tc, dedup_names);
	tcase_add_test(tc, reference);
	tcase_add_test(tc, nearest);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
