/* SPDX-License-Identifier: MIT */
/* replace.c - the table of replacement policies, and what the offline ones need to know of the future */
#include "mm/replace.h"

#include <glib.h>
#include <string.h>

const struct replace_ops *const replace_policies[] = {
	&replace_lru, &replace_clock, &replace_clock0, &replace_fifo, &replace_random, &replace_opt, NULL,
};

const struct replace_ops *replace_find(const char *name)
{
	for (const struct replace_ops *const *p = replace_policies; *p; p++)
		if (!strcmp((*p)->name, name))
			return *p;
	return NULL;
}

uint32_t *replace_next_use(const uint32_t *ids, size_t n, uint32_t nids)
{
	uint32_t *next = g_new(uint32_t, n), *seen = g_new(uint32_t, nids);

	g_assert(n <= UINT32_MAX);
	for (uint32_t i = 0; i < nids; i++)
		seen[i] = REPLACE_NONE;
	for (size_t i = n; i-- > 0;) {
		next[i] = seen[ids[i]];
		seen[ids[i]] = i;
	}
	g_free(seen);
	return next;
}
