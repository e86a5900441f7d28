/* SPDX-License-Identifier: MIT */
/*
 * Malformed experiment files: each ends in one clear message that begins with the file's name, none in a crash.
 *
 * Three sources: every key of every table given a value it cannot have, and misspelt; a good file damaged at random
 * (bytes, lines, truncation, splices), which must fail with such a message or else be a good file, that is, survive
 * being written and read again; and files of plain noise. Leaks show under `make asan`.
 */
#include <check.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/suite.h"
#include "vmm/conf.h"
#include "workloads/rng.h"

static const char good[] =
	"[experiment]\ntitle = Fuzz\nquestion = Why?\nmachine = sim\nschedule = lockstep\nseed = 5\nquantum = 1000\n"
	"duration = 1 s\nsample-interval = 10 ms\nwarm-up = 1 ms\nrepeats = 2\nevents = no\ndigest = yes\n"
	"figures = time, "
	"exits\n"
	"[host]\ncpus = 2\nmemory = 1 GiB\nnodes = 2\npage-size = 2M\ntimeslice = 1 ms\ncaches = flat\nprofile = zen3\n"
	"[vm a]\ncount = 2\nmemory = 64 MiB\narena = 8 MiB\npaging = ept\nlevels = 4\nhost-levels = 5\nmax-leaf = 2M\n"
	"pcid = yes\nept-ad = yes\nunsync = no\ndirty-log = wrprotect\ndirty-interval = 5 ms\nshadow-limit = 100\n"
	"flood-limit = 3\ncollapse = 1 s\nnode = 1\nworkload = w\n"
	"[workload w]\nprocesses = 2\nphases = p, q, c\n"
	"[phase p]\npattern = zipf\ntheta = 0.5\nscatter = 2\nregion = r\nsize = 8 MiB\noperations = 10\nduration = 1 "
	"ms\n"
	"think-time = 1 us\nthink-every = 5\nwrites = 5%\npage-size = 4K\nchild = no\ncontents = text:3\nstamps = "
	"4\nloops = 1\n"
	"[phase q]\npattern = fork\nforks = c\ntouches = 3\nwait-every = 2\noperations = 10\n"
	"[phase c]\npattern = sequential\nchild = yes\nstep = 64\noperations = 10\n"
	"[costs]\nexit_cycles = 5\n"
	"[vary]\nvm.memory = 64 MiB, 1 GiB\nphase p.theta = 0.1; 0.2\n";

static char *dir, *file;
static unsigned nfailures;

static void setup(void)
{
	dir = g_dir_make_tmp("overbook-fuzz-XXXXXX", NULL);
	file = g_build_filename(dir, "x.ini", NULL);
	nfailures = 0;
}

static void teardown(void)
{
	g_unlink(file);
	g_rmdir(dir);
	g_free(file);
	g_free(dir);
}

static void store(const char *text, size_t len)
{
	FILE *f = fopen(file, "w");

	if (!f || fwrite(text, 1, len, f) != len || fclose(f))
		ck_abort_msg("cannot write %s", file);
}

/* Load @text. On failure the message must be presentable, and is returned; NULL if it is a good file. */
static char *load(const char *text, gssize len)
{
	GError *error = NULL;
	struct experiment *e;
	char *message, *canonical;

	store(text, len < 0 ? strlen(text) : (size_t)len);
	e = experiment_load(file, NULL, &error);
	if (e) {
		canonical = experiment_to_string(e, false);
		experiment_free(e);
		store(canonical, strlen(canonical));
		e = experiment_load(file, NULL, &error);
		if (!e)
			ck_abort_msg("the canonical file does not load: %s\n%s", error->message, canonical);
		experiment_free(e);
		g_free(canonical);
		return NULL;
	}
	nfailures++;
	message = g_strdup(error->message);
	if (error->domain != EXPERIMENT_ERROR || !g_str_has_prefix(message, file) || strchr(message, '\n') ||
	    strlen(message) > 1000 || strlen(message) < strlen(file) + 10 || !g_utf8_validate(message, -1, NULL))
		ck_abort_msg("not presentable: \"%s\"", message);
	g_error_free(error);
	return message;
}

/* @text with line @at replaced. */
static char *replace_line(char **lines, guint at, const char *line)
{
	g_autofree char *old = lines[at];
	char *text;

	lines[at] = (char *)line;
	text = g_strjoinv("\n", lines);
	lines[at] = g_steal_pointer(&old);
	return text;
}

static void expect_words(const char *text, const char *a, const char *b, const char *c)
{
	g_autofree char *message = load(text, -1);

	if (!message)
		ck_abort_msg("accepted: %s in\n%s", b, text);
	if (!strstr(message, a) || !strstr(message, b) || !strstr(message, c))
		ck_abort_msg("\"%s\", \"%s\" or \"%s\" is not in: %s", a, b, c, message);
}

START_TEST(good_file_is_good)
{
	g_autofree char *message = load(good, -1);

	ck_assert_msg(!message, "%s", message);
}
END_TEST

/* What if a value is of another kind? Free text aside, every key refuses "@!", and the message names section, key and
 * value. */
START_TEST(every_key)
{
	g_auto(GStrv) lines = g_strsplit(good, "\n", -1);
	g_autofree char *section = NULL;

	for (guint i = 0; lines[i]; i++) {
		char *equals = strstr(lines[i], " = ");
		g_autofree char *key = equals ? g_strndup(lines[i], (gsize)(equals - lines[i])) : NULL;
		g_autofree char *bad = key ? g_strdup_printf("%s = @!", key) : NULL;
		g_autofree char *misspelt = key ? g_strdup_printf("x%s", lines[i]) : NULL;

		if (*lines[i] == '[') {
			g_free(section);
			section = g_strdup(lines[i]);
			g_autofree char *unknown = g_strdup_printf("[x%s", lines[i] + 1),
					*text = replace_line(lines, i, unknown);

			expect_words(text, "no such section", unknown, "Allowed are");
		}
		if (!key || !strcmp(section, "[vary]"))
			continue;
		g_autofree char *broken = replace_line(lines, i, bad), *strange = replace_line(lines, i, misspelt);

		if (strcmp(key, "title") && strcmp(key, "question"))
			expect_words(broken, section, key, "@!");
		expect_words(strange, section, key,
			     g_str_equal(key, "pattern") || g_str_equal(key, "phases") || (g_str_equal(key, "workload"))
				     ? "missing"
				     : "no such");
	}
	ck_assert_uint_ge(nfailures, 110);
}
END_TEST

/* Numbers just outside their range, for every numeric key. */
START_TEST(every_range)
{
	for (int kind = 0; kind < SECTION_COUNT; kind++)
		for (const struct conf_key *k = conf_sections[kind].keys; k && k->name; k++) {
			uint64_t value = k->max + 1;
			g_autofree char *number = NULL, *text = NULL, *why = NULL;
			struct conf_key open = *k;
			char *parsed = NULL;

			if (k->type < CONF_COUNT || k->type > CONF_MILLI || k->max == UINT64_MAX)
				continue;
			open.max = UINT64_MAX;
			number = conf_format(&open, &value);
			ck_assert(!conf_parse(k, number, &parsed, &why));
			ck_assert_ptr_nonnull(why);
			if (conf_sections[kind].named)
				text = g_strdup_printf(
					"[vm a]\nworkload = w\n[workload w]\nphases = p\n[phase p]\npattern = uniform\n"
					"[%s z]\n%s%s%s = %s\n",
					conf_sections[kind].name, kind == SECTION_VM ? "workload = w\n" : "",
					kind == SECTION_PHASE	   ? "pattern = uniform\n"
					: kind == SECTION_WORKLOAD ? "phases = p\n"
								   : "",
					k->name, number);
			else
				text = g_strdup_printf("[%s]\n%s = %s\n", conf_sections[kind].name, k->name, number);
			expect_words(text, k->name, number, " to ");
		}
	ck_assert_uint_ge(nfailures, 20);
}
END_TEST

static void damage_bytes(GString *s, struct rng *rng)
{
	static const char likely[] = "[]=#;,.\n %\\\"\t-:_09azAZ\x01\x80\xff";

	for (uint64_t n = rng_below(rng, 6) + 1; n > 0 && s->len; n--) {
		gsize at = rng_below(rng, s->len);

		switch (rng_below(rng, 3)) {
		case 0:
			s->str[at] = likely[rng_below(rng, sizeof(likely) - 1)];
			break;
		case 1:
			g_string_erase(s, (gssize)at, 1);
			break;
		default:
			g_string_insert_c(s, (gssize)at, likely[rng_below(rng, sizeof(likely) - 1)]);
		}
	}
}

static void damage_lines(GString *s, struct rng *rng)
{
	g_auto(GStrv) lines = g_strsplit(s->str, "\n", -1);
	guint n = g_strv_length(lines), a = (guint)rng_below(rng, n), b = (guint)rng_below(rng, n);

	switch (rng_below(rng, 4)) {
	case 0: /* swap two lines */
		g_string_truncate(s, 0);
		for (guint i = 0; i < n; i++)
			g_string_append_printf(s, "%s\n", lines[i == a ? b : i == b ? a : i]);
		break;
	case 1: /* the value of one for another */
		g_string_truncate(s, 0);
		for (guint i = 0; i < n; i++) {
			char *from = strstr(lines[b], " = "), *to = strstr(lines[i], " = ");

			if (i == a && from && to)
				g_string_append_printf(s, "%.*s%s\n", (int)(to - lines[i]), lines[i], from);
			else
				g_string_append_printf(s, "%s\n", lines[i]);
		}
		break;
	case 2: /* cut short */
		g_string_truncate(s, rng_below(rng, s->len + 1));
		break;
	default: /* leave one out */
		g_string_truncate(s, 0);
		for (guint i = 0; i < n; i++)
			if (i != a)
				g_string_append_printf(s, "%s\n", lines[i]);
	}
}

START_TEST(damaged)
{
	struct rng rng;

	rng_seed(&rng, 11);
	for (int i = 0; i < 1500; i++) {
		GString *s = g_string_new(good);

		if (i % 2)
			damage_lines(s, &rng);
		if (i % 4 != 1)
			damage_bytes(s, &rng);
		g_free(load(s->str, (gssize)s->len));
		g_string_free(s, TRUE);
	}
	ck_assert_uint_ge(nfailures, 700);
}
END_TEST

START_TEST(noise)
{
	struct rng rng;

	rng_seed(&rng, 12);
	for (int i = 0; i < 200; i++) {
		char text[600];
		gssize n = (gssize)rng_below(&rng, sizeof(text));

		for (gssize k = 0; k < n; k++)
			text[k] = (char)(i % 2 ? rng_below(&rng, 256) : 32 + rng_below(&rng, 95));
		g_free(load(text, n));
	}
	ck_assert_uint_eq(nfailures, 200);
}
END_TEST

/* What if a name or a value is enormous? */
START_TEST(enormous)
{
	g_autofree char *as = g_strnfill(500000, 'a'), *nines = g_strnfill(5000, '9');
	const char *const forms[] = { "[%s]\n",
				     "[vm %s]\n",
				     "[vm a]\n%s = 1\n",
				     "[vm a]\nworkload = %s\n",
				     "[experiment]\nseed = %s\n",
				     "[experiment]\nfigures = %s\n",
				     "[vary]\n%s = 1\n",
				     "[vary]\nvm.paging = %s\n",
				     "[costs]\n%s = 1\n",
				     "%s\n",
				     "%s = 1\n" };

	for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
		g_auto(GStrv) cut = g_strsplit(forms[i], "%s", -1);
		g_autofree char *a = g_strjoinv(as, cut), *b = g_strjoinv(nines, cut);

		g_free(load(a, -1));
		g_free(load(b, -1));
	}
	ck_assert_uint_eq(nfailures, 2 * G_N_ELEMENTS(forms));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("experiment_fuzz");
	TCase *tc = tcase_create("experiment_fuzz");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, good_file_is_good);
	tcase_add_test(tc, every_key);
	tcase_add_test(tc, every_range);
	tcase_add_test(tc, damaged);
	tcase_add_test(tc, noise);
	tcase_add_test(tc, enormous);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
