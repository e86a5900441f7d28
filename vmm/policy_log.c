/* SPDX-License-Identifier: MIT */
/*
 * policy_log.c - decisions.csv
 *
 * A row for each mechanism of which something was asked: time, guest, rule, the inputs it looked at, the mechanism,
 * what was before, what was asked, and what there was at the next decision. Names come from a policy, which may be a
 * user's: what could damage the file is replaced.
 */
#include <string.h>

#include "vmm/policy_impl.h"

#define FIGURE "%" G_GUINT64_FORMAT
#define HEADER "time_ns,vm,rule,inputs,mechanism,before,asked,actual\n"

static const char *const mechanism_names[MECHANISMS] = {
	[MECHANISM_NONE] = "none",   [MECHANISM_BALLOON] = "balloon", [MECHANISM_LIMIT] = "limit",
	[MECHANISM_BLOCK] = "block", [MECHANISM_ADMIT] = "admit",     [MECHANISM_SCAN] = "scan",
};

static void put_word(GString *s, const char *word)
{
	for (unsigned i = 0; word && word[i] && i < 40; i++)
		g_string_append_c(s, g_ascii_isalnum(word[i]) || strchr("-_.", word[i]) ? word[i] : '?');
}

void policy_log_add(struct policy_run *p, unsigned vm, enum policy_mechanism mechanism, uint64_t before, uint64_t asked,
		    const struct policy_rule *rule)
{
	GString *why = g_string_new(NULL);
	struct pending d = { .vm = vm, .mechanism = mechanism, .before = before, .asked = asked };

	put_word(why, rule->name ? rule->name : "unnamed");
	g_string_append_c(why, ',');
	for (uint32_t i = 0; i < MIN(rule->ninputs, POLICY_INPUTS); i++) {
		g_string_append(why, i ? ";" : "");
		put_word(why, rule->input[i].name);
		g_string_append_printf(why, "=" FIGURE, rule->input[i].value);
	}
	d.why = g_string_free(why, FALSE);
	g_array_append_val(p->pending, d);
}

/* What there is now of what the mechanism works on. */
static uint64_t outcome(const struct policy_run *p, const struct pending *d)
{
	const struct policy_vm *v = d->vm == RUN_HOST ? NULL : &p->seen[d->vm];

	switch (d->mechanism) {
	case MECHANISM_BALLOON:
		return v->balloon_actual;
	case MECHANISM_LIMIT:
		return v->resident;
	case MECHANISM_BLOCK:
		return v->since.operations == 0;
	case MECHANISM_ADMIT:
		return v->running;
	case MECHANISM_SCAN:
		return p->host.pages_to_scan;
	default:
		return 0;
	}
}

void policy_log_settle(struct policy_run *p, uint64_t decided)
{
	GString *out = p->cfg.run->decisions;

	if (!out->len)
		g_string_append(out, HEADER);
	for (guint i = 0; i < p->pending->len; i++) {
		struct pending *d = &g_array_index(p->pending, struct pending, i);
		const char *vm = d->vm == RUN_HOST ? "host" : p->seen[d->vm].name;

		g_string_append_printf(out, FIGURE ",%s,%s,%s,", decided, vm, d->why, mechanism_names[d->mechanism]);
		if (d->mechanism == MECHANISM_NONE)
			g_string_append(out, ",,\n");
		else
			g_string_append_printf(out, FIGURE "," FIGURE "," FIGURE "\n", d->before, d->asked,
					       outcome(p, d));
		g_free(d->why);
	}
	g_array_set_size(p->pending, 0);
}
