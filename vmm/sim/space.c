/* SPDX-License-Identifier: MIT */
/* space.c - numbering address spaces; see space.h */
#include "vmm/sim/space.h"

#include "vmm/sim/assoc.h"

void spaces_init(struct spaces *s)
{
	s->ids = g_hash_table_new(NULL, NULL);
	s->tags = g_array_new(FALSE, TRUE, sizeof(uint32_t));
	spaces_reset(s);
}

void spaces_free(struct spaces *s)
{
	g_hash_table_destroy(s->ids);
	g_array_free(s->tags, TRUE);
}

void spaces_reset(struct spaces *s)
{
	g_hash_table_remove_all(s->ids);
	g_array_set_size(s->tags, 0);
	g_array_set_size(s->tags, 1);
}

unsigned space_id(struct spaces *s, unsigned vpid, unsigned pcid)
{
	uint32_t tag = vpid << 13 | pcid;
	unsigned id = GPOINTER_TO_UINT(g_hash_table_lookup(s->ids, GUINT_TO_POINTER(tag)));

	if (id || s->tags->len > KEY_SPACE_MASK)
		return id;
	id = s->tags->len;
	g_array_append_val(s->tags, tag);
	g_hash_table_insert(s->ids, GUINT_TO_POINTER(tag), GUINT_TO_POINTER(id));
	return id;
}
