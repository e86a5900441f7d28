/* SPDX-License-Identifier: MIT */
/*
 * policy_load.c - a user's policy: loaded, and its tables checked before anything believes them
 *
 * A shared object runs with all the rights of the program; what is checked here is against mistakes, not malice:
 * another version of the header, a missing function, a key that cannot be written in a file.
 */
#include "vmm/policy_load.h"

#include <glib.h>
#include <gmodule.h>
#include <string.h>

#define SYMBOL "overbook_policy"

static gboolean is_word(const char *text, const char *extra)
{
	size_t n = text ? strlen(text) : 0;

	if (!n || n > 40)
		return FALSE;
	for (size_t i = 0; i < n; i++)
		if (!g_ascii_islower(text[i]) && !g_ascii_isdigit(text[i]) && !strchr(extra, text[i]))
			return FALSE;
	return g_ascii_islower(*text);
}

static char *key_fault(const struct policy_ops *ops, unsigned i)
{
	static const char *const taken[] = { "name", "interval", "module", NULL };
	const struct policy_key *k = &ops->keys[i];

	if (i >= POLICY_KEYS)
		return g_strdup_printf("it has more than %u keys", POLICY_KEYS);
	if (!is_word(k->name, "-"))
		return g_strdup_printf("the name of its key %u is not made of small letters, digits and '-'", i + 1);
	if (g_strv_contains(taken, k->name))
		return g_strdup_printf("its key \"%s\" is one that every policy has", k->name);
	if (!k->sentence)
		return g_strdup_printf("its key \"%s\" has no sentence", k->name);
	if ((unsigned)k->unit > POLICY_SHARE || k->min > k->def || k->def > k->max)
		return g_strdup_printf("its key \"%s\" has no default within its bounds, or no unit", k->name);
	return NULL;
}

char *policy_fault(const struct policy_ops *ops)
{
	if (ops->abi != POLICY_ABI)
		return g_strdup_printf("it was built for version %u of overbook/policy.h, this program has version %u: "
				       "build it again",
				       ops->abi, POLICY_ABI);
	if (!is_word(ops->name, "-"))
		return g_strdup("its name is not made of small letters, digits and '-'");
	if (!ops->summary)
		return g_strdup("it has no summary");
	if (!ops->decide)
		return g_strdup("it has no decide()");
	if (!ops->create != !ops->destroy)
		return g_strdup("it has one of create() and destroy() without the other");
	for (unsigned i = 0; ops->keys && ops->keys[i].name; i++) {
		char *why = key_fault(ops, i);

		if (why)
			return why;
	}
	for (const struct policy_sentence *s = ops->rules; s && s->rule; s++)
		if (!s->text)
			return g_strdup_printf("its rule \"%s\" has no sentence", s->rule);
	return NULL;
}

const struct policy_ops *policy_load(const char *path, char **why)
{
	GModule *module;
	gpointer symbol = NULL;

	if (!g_file_test(path, G_FILE_TEST_IS_REGULAR)) {
		*why = g_strdup("there is no such file");
		return NULL;
	}
	module = g_module_open(path, G_MODULE_BIND_LOCAL);
	if (!module) {
		*why = g_strdup_printf("it cannot be loaded: %s", g_module_error());
		return NULL;
	}
	if (!g_module_symbol(module, SYMBOL, &symbol) || !symbol)
		*why = g_strdup("it is no policy: there is no symbol " SYMBOL " in it (see docs/extending.md)");
	else
		*why = policy_fault(symbol);
	if (*why) {
		g_module_close(module);
		return NULL;
	}
	g_module_make_resident(module);
	return symbol;
}
