/* SPDX-License-Identifier: MIT */
/* counters.c - the table of counters, made from counters.def; see counters.h */
#include "mm/counters.h"

#include <string.h>

const struct counter_info counter_table[] = {
#define COUNTER(name, unit, sentence) { #name, #unit, sentence, offsetof(struct counters, name) },
#include "mm/counters.def"
#undef COUNTER
	{ NULL, NULL, NULL, 0 },
};

bool counter_is_gauge(const struct counter_info *info)
{
	static const char *const gauges[] = { "pages", "frames", "size", "guests" };

	for (unsigned i = 0; i < sizeof(gauges) / sizeof(gauges[0]); i++)
		if (!strcmp(info->unit, gauges[i]))
			return true;
	return false;
}

void counters_add(struct counters *sum, const struct counters *add)
{
	for (const struct counter_info *info = counter_table; info->name; info++)
		*(uint64_t *)((char *)sum + info->offset) += counter_get(add, info);
}
