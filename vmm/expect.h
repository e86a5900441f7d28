/* SPDX-License-Identifier: MIT */
/*
 * expect.h - figures of the literature, held against a run: [expect NAME]
 *
 * An expectation names a value (sums of counters, perhaps divided by one another) of the host or of a VM, perhaps
 * divided by the same value of another combination of [vary], and the band in which it was found before. Its verdict is
 * *reproduced*, *not reproduced*, or *not comparable* with the reason. Values are means over repetitions.
 *
 * Everything is read from a finished directory's files, so a report can be made again at any time.
 */
#ifndef OVERBOOK_VMM_EXPECT_H
#define OVERBOOK_VMM_EXPECT_H

#include "mm/counters.h"
#include "vmm/experiment.h"
#include "vmm/view.h"

enum verdict { VERDICT_REPRODUCED, VERDICT_NOT_REPRODUCED, VERDICT_NOT_COMPARABLE };

/* One expectation in one combination. */
struct judgement {
	const struct conf_expect *expect;
	char *label;	 /* the combination's, as in struct view; "" in a single run */
	char *against;	 /* that of the combination divided by, or "" */
	double value;	 /* NAN: there is none */
	double ci;	 /* half-width of its 95% interval; 0 without repetitions */
	double min, max; /* -INFINITY, INFINITY: no bound */
	bool percent;	 /* the band is written in per cent */
	enum verdict verdict;
	char *reason; /* VERDICT_NOT_COMPARABLE: why */
};

struct expected {
	GPtrArray *expects;	/* of struct conf_expect */
	GPtrArray *judgements; /* of struct judgement: expectations in the file's order, combinations in order within */
};

/* Judge what @v's experiment.ini expects. NULL and @error if that file is damaged. */
struct expected *expected_judge(const struct view *v, GError **error);
void expected_free(struct expected *x);

/* For readers: "reproduced"; "66.5%"; "60% to 70%". The latter two g_free. */
const char *verdict_name(enum verdict verdict);
char *judgement_value(const struct judgement *j);
char *judgement_band(const struct judgement *j);

/* Judge @dir, write DIR/expected.csv and, unless @quiet, say each verdict on stderr; nothing if nothing is expected. */
gboolean expected_write(const char *dir, gboolean quiet, GError **error);

/* A counter of a value: added or subtracted, above or below the line. */
struct expect_term {
	const struct counter_info *counter;
	int sign;
	bool below;
};

/* The terms of "a + b / c - d", of struct expect_term. NULL, and why in *why (g_free). */
GArray *expect_terms(const char *text, char **why);
/* "SECTION.KEY=VALUE, ..." as overrides; split at ';' alone if there is one. NULL: it is none. */
GPtrArray *expect_where(const char *text);
/* A bound; @def if it is empty. */
double expect_bound(const char *text, double def);

#endif
