/* SPDX-License-Identifier: MIT */
/*
 * profile.c - reading and changing a processor's description, field by field
 *
 * One table names every field, says where it lies and what it may be; loading, overriding, echoing and messages all
 * come from it, so a field added to struct sim_profile and to the table is complete.
 */
#define G_LOG_DOMAIN "sim"
#include "vmm/sim/profile.h"

#include <stddef.h>
#include <string.h>

#include "vmm/vmm.h"

enum field_kind {
	FIELD_NUMBER,
	FIELD_FLAG,
	FIELD_TLB,   /* struct geometry that must exist */
	FIELD_ARRAY, /* struct geometry, may be 0 */
	FIELD_CACHE,
	FIELD_VENDOR,
};

struct field {
	const char *name;
	size_t offset;
	enum field_kind kind;
	uint32_t min, max;
};

#define MAX_CYCLES  1000000000u
#define MAX_ENTRIES 65536u
#define MAX_KIB	    1048576u

#define AT(member)	   offsetof(struct sim_profile, member)
#define NUMBER(f, lo, hi)  { #f, AT(f), FIELD_NUMBER, lo, hi }
#define CYCLES(f)	   NUMBER(f, 0, MAX_CYCLES)
#define FLAG(f)		   { #f, AT(f), FIELD_FLAG, 0, 1 }
#define ARRAY(f)	   { #f, AT(f), FIELD_ARRAY, 0, MAX_ENTRIES }
#define ARRAY_OF(f, level) { #f #level, AT(f) + (level) * sizeof(struct geometry), FIELD_ARRAY, 0, MAX_ENTRIES }
#define CACHE(f)	   { #f, AT(f), FIELD_CACHE, 4, MAX_KIB }

static const struct field fields[] = {
	{ "vendor", AT(vendor), FIELD_VENDOR, 0, 0 },
	NUMBER(mhz, 1, 100000),
	NUMBER(maxphyaddr, 36, 52),
	{ "l1_4k", AT(l1_4k), FIELD_TLB, 1, MAX_ENTRIES },
	ARRAY(l1_2m), ARRAY(l1_1g), FLAG(l1_unified), ARRAY(l2), ARRAY(l2_1g), FLAG(l2_shared_2m),
	ARRAY_OF(pwc, 2), ARRAY_OF(pwc, 3), ARRAY_OF(pwc, 4), ARRAY_OF(pwc, 5),
	ARRAY_OF(npwc, 2), ARRAY_OF(npwc, 3), ARRAY_OF(npwc, 4), ARRAY_OF(npwc, 5),
	ARRAY(ntlb),
	CACHE(l1d), CACHE(l2d), CACHE(l3d),
	CYCLES(l1d_cycles), CYCLES(l2d_cycles), CYCLES(l3d_cycles), CYCLES(mem_cycles),
	CYCLES(flat_ref_cycles), CYCLES(flat_data_cycles),
	CYCLES(l2_tlb_cycles), CYCLES(walk_start_cycles), CYCLES(ad_update_cycles),
	CYCLES(invlpg_cycles), CYCLES(cr3_cycles), CYCLES(invpcid_cycles),
	CYCLES(exit_cycles), CYCLES(handle_page_fault), CYCLES(handle_traced_write), CYCLES(handle_cr),
	CYCLES(handle_invlpg), CYCLES(handle_ept), CYCLES(handle_pml), CYCLES(handle_hypercall), CYCLES(handle_io),
	CYCLES(handle_halt), CYCLES(handle_interrupt), CYCLES(inject_cycles),
	CYCLES(exception_cycles), CYCLES(syscall_cycles), CYCLES(fault_cycles), CYCLES(switch_cycles),
	CYCLES(fork_cycles), CYCLES(exit_process_cycles),
	CYCLES(zero_page_cycles), CYCLES(copy_page_cycles), CYCLES(fill_page_cycles), CYCLES(op_cycles),
	CYCLES(populate_cycles), CYCLES(release_cycles), CYCLES(move_cycles), CYCLES(table_write_cycles),
	CYCLES(checksum_cycles), CYCLES(compare_cycles), CYCLES(merge_cycles),
	CYCLES(table_page_cycles), CYCLES(guest_read_cycles), CYCLES(compress_cycles), CYCLES(decompress_cycles),
	CYCLES(lz4_compress_cycles), CYCLES(lz4_decompress_cycles),
	CYCLES(pv_update_cycles),
};

const char *profile_field(unsigned i)
{
	return i < G_N_ELEMENTS(fields) ? fields[i].name : NULL;
}

static const struct field *field_find(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(fields); i++)
		if (!strcmp(fields[i].name, name))
			return &fields[i];
	return NULL;
}

/* A field's own memory. */
static void *field_at(const struct sim_profile *p, const struct field *f)
{
	return (char *)p + f->offset;
}

static gboolean refuse(const struct field *f, const char *value, GError **error)
{
	char *allowed = NULL;

	switch (f->kind) {
	case FIELD_NUMBER:
		allowed = g_strdup_printf("a number from %u to %u", f->min, f->max);
		break;
	case FIELD_FLAG:
		allowed = g_strdup("0 or 1");
		break;
	case FIELD_TLB:
	case FIELD_ARRAY:
		allowed = g_strdup_printf("ENTRIES/WAYS, at most %u entries, in sets whose number is a power of two%s",
					  f->max, f->kind == FIELD_ARRAY ? ", or 0" : "");
		break;
	case FIELD_CACHE:
		allowed = g_strdup_printf("KIB/WAYS, %u to %u KiB of 64-byte lines, in at least 64 sets whose number "
					  "is a power of two", f->min, f->max);
		break;
	case FIELD_VENDOR:
		allowed = g_strdup("intel or amd");
		break;
	}
	g_set_error(error, VMM_ERROR, VMM_USAGE, "%s = %s: expected %s", f->name, value, allowed);
	g_free(allowed);
	return FALSE;
}

/* Digits only, up to @end. */
static gboolean parse_number(const char *s, char end, uint32_t max, uint32_t *out, const char **rest)
{
	uint64_t n = 0;
	const char *p = s;

	for (; g_ascii_isdigit(*p) && n <= max; p++)
		n = n * 10 + (uint64_t)(*p - '0');
	if (p == s || *p != end || n > max)
		return FALSE;
	*out = (uint32_t)n;
	*rest = p + 1;
	return TRUE;
}

static gboolean power_of_two(uint32_t n)
{
	return n && !(n & (n - 1));
}

/* "N/WAYS" with N of @unit entries each. */
static gboolean parse_pair(const struct field *f, const char *s, uint32_t unit, uint32_t min_sets, uint32_t out[2])
{
	uint32_t n, ways;

	if (f->kind == FIELD_ARRAY && !strcmp(s, "0")) {
		out[0] = out[1] = 0;
		return TRUE;
	}
	if (!parse_number(s, '/', f->max, &n, &s) || !parse_number(s, '\0', MAX_ENTRIES, &ways, &s))
		return FALSE;
	if (n < f->min || !n || !ways || (uint64_t)n * unit % ways)
		return FALSE;
	uint32_t sets = (uint32_t)((uint64_t)n * unit / ways);

	if (!power_of_two(sets) || sets < min_sets)
		return FALSE;
	out[0] = n;
	out[1] = ways;
	return TRUE;
}

static gboolean field_set(struct sim_profile *p, const struct field *f, const char *value, GError **error)
{
	char *s = g_strstrip(g_strdup(value));
	uint32_t v[2] = { 0, 0 };
	const char *rest;
	gboolean ok = FALSE;

	switch (f->kind) {
	case FIELD_NUMBER:
	case FIELD_FLAG:
		ok = parse_number(s, '\0', f->max, v, &rest) && v[0] >= f->min;
		if (ok)
			memcpy(field_at(p, f), v, sizeof(uint32_t));
		break;
	case FIELD_TLB:
	case FIELD_ARRAY:
		ok = parse_pair(f, s, 1, 1, v);
		if (ok)
			*(struct geometry *)field_at(p, f) = (struct geometry){ v[0], v[1] };
		break;
	case FIELD_CACHE:
		ok = parse_pair(f, s, 1024 / 64, 64, v);
		if (ok)
			*(struct cache_geometry *)field_at(p, f) = (struct cache_geometry){ v[0], v[1] };
		break;
	case FIELD_VENDOR:
		ok = !strcmp(s, "intel") || !strcmp(s, "amd");
		if (ok)
			p->vendor = g_intern_string(s);
		break;
	}
	g_free(s);
	return ok || refuse(f, value, error);
}

gboolean profile_set(struct sim_profile *p, const char *field, const char *value, GError **error)
{
	const struct field *f = field_find(field);

	if (f)
		return field_set(p, f, value, error);
	g_set_error(error, VMM_ERROR, VMM_USAGE, "%s = %s: there is no such field in a profile", field, value);
	return FALSE;
}

char *profile_get(const struct sim_profile *p, const char *field)
{
	const struct field *f = field_find(field);

	if (!f)
		return NULL;
	const uint32_t *v = field_at(p, f);

	switch (f->kind) {
	case FIELD_NUMBER:
	case FIELD_FLAG:
		return g_strdup_printf("%u", v[0]);
	case FIELD_VENDOR:
		return g_strdup(p->vendor);
	default:
		return v[0] ? g_strdup_printf("%u/%u", v[0], v[1]) : g_strdup("0");
	}
}

static struct sim_profile *copy_builtin(const char *name)
{
	for (size_t i = 0; profiles[i]; i++)
		if (!strcmp(profiles[i]->name, name))
			return g_memdup2(profiles[i], sizeof(**profiles));
	return NULL;
}

static char *builtin_names(void)
{
	GString *s = g_string_new(NULL);

	for (size_t i = 0; profiles[i]; i++)
		g_string_append_printf(s, "%s%s", i ? ", " : "", profiles[i]->name);
	return g_string_free(s, FALSE);
}

static struct sim_profile *no_such_profile(const char *where, const char *name, GError **error)
{
	char *names = builtin_names();

	g_set_error(error, VMM_ERROR, VMM_USAGE, "%s%s: no such profile: expected %s, or a file NAME.ini", where, name,
		    names);
	g_free(names);
	return NULL;
}

static gboolean read_key(struct sim_profile *p, GKeyFile *kf, const char *key, GError **error)
{
	char *value = g_key_file_get_string(kf, "profile", key, error);
	gboolean ok = value != NULL;

	if (!ok)
		g_prefix_error(error, "%s: ", key);
	else if (!strcmp(key, "name"))
		p->name = g_intern_string(value);
	else if (!strcmp(key, "summary"))
		p->summary = g_intern_string(value);
	else if (strcmp(key, "base"))
		ok = profile_set(p, key, value, error);
	g_free(value);
	return ok;
}

static gboolean read_keys(struct sim_profile *p, GKeyFile *kf, GError **error)
{
	char **keys = g_key_file_get_keys(kf, "profile", NULL, error);
	gboolean ok = keys != NULL;

	for (size_t i = 0; ok && keys[i]; i++)
		ok = read_key(p, kf, keys[i], error);
	g_strfreev(keys);
	return ok;
}

/* The only section is [profile], and its `base` is a built-in profile. */
static struct sim_profile *read_file(const char *name, GKeyFile *kf, GError **error)
{
	char **groups = g_key_file_get_groups(kf, NULL);
	const char *stray = NULL;
	struct sim_profile *p = NULL;

	for (size_t i = 0; groups[i] && !stray; i++)
		stray = strcmp(groups[i], "profile") ? groups[i] : NULL;
	if (stray) {
		g_set_error(error, VMM_ERROR, VMM_USAGE, "[%s]: expected only [profile]", stray);
	} else {
		char *base = g_key_file_get_string(kf, "profile", "base", error);

		p = base ? copy_builtin(base) : NULL;
		if (base && !p)
			no_such_profile("base = ", base, error);
		g_free(base);
	}
	g_strfreev(groups);
	if (p)
		p->name = g_intern_string(name);
	if (p && !read_keys(p, kf, error)) {
		profile_free(p);
		return NULL;
	}
	return p;
}

struct sim_profile *profile_load(const char *name, GError **error)
{
	if (!strchr(name, '/') && !g_str_has_suffix(name, ".ini")) {
		struct sim_profile *p = copy_builtin(name);

		return p ? p : no_such_profile("", name, error);
	}
	GKeyFile *kf = g_key_file_new();
	GError *err = NULL;
	struct sim_profile *p = NULL;

	if (g_key_file_load_from_file(kf, name, G_KEY_FILE_NONE, &err))
		p = read_file(name, kf, &err);
	g_key_file_free(kf);
	if (err) {
		g_set_error(error, VMM_ERROR, VMM_USAGE, "%s: %s", name, err->message);
		g_error_free(err);
	}
	return p;
}

void profile_free(struct sim_profile *p)
{
	g_free(p);
}
