/* SPDX-License-Identifier: MIT */
/*
 * stats.c - what KVM itself counted while a guest ran: kvm-stats.csv
 *
 * KVM describes its statistics in binary, names included (KVM_GET_STATS_FD): a header, descriptors, values. They are
 * read when the run begins and when it ends; of what only grows the difference is written, of all else what it is at
 * the end, of histograms one row a bucket that is not empty. A KVM without them (before Linux 5.14) leaves no file.
 *
 * Source: Linux Documentation/virt/kvm/api.rst, 4.133 KVM_GET_STATS_FD. Tests: tests/guest/test_kvm_stats.c.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/kvm/kvm.h"

#define MOST_STATS 4096u
#define MOST_VALUES 65536u

/* Of the VM or of its vCPU. */
struct kvm_stats {
	int fd;
	struct kvm_stats_header head;
	uint8_t *descriptors; /* head.num_desc of them */
	uint64_t *first;      /* all values, as they were at the beginning */
	uint32_t nvalues;
};

static size_t descriptor_size(const struct kvm_stats *s)
{
	return sizeof(struct kvm_stats_desc) + s->head.name_size;
}

static const struct kvm_stats_desc *descriptor(const struct kvm_stats *s, uint32_t i)
{
	return (const void *)(s->descriptors + i * descriptor_size(s));
}

static bool read_all(int fd, void *to, size_t nbytes, uint32_t offset)
{
	return pread(fd, to, nbytes, offset) == (ssize_t)nbytes;
}

static uint64_t *read_values(const struct kvm_stats *s)
{
	uint64_t *values = g_new0(uint64_t, s->nvalues + 1);

	if (read_all(s->fd, values, s->nvalues * sizeof(*values), s->head.data_offset))
		return values;
	g_free(values);
	return NULL;
}

/* Descriptors and first values. False: they make no sense. */
static bool read_first(struct kvm_stats *s)
{
	if (!read_all(s->fd, &s->head, sizeof(s->head), 0) || s->head.num_desc > MOST_STATS ||
	    s->head.name_size > 256)
		return false;
	s->descriptors = g_malloc0(s->head.num_desc * descriptor_size(s) + 1);
	if (!read_all(s->fd, s->descriptors, s->head.num_desc * descriptor_size(s), s->head.desc_offset))
		return false;
	for (uint32_t i = 0; i < s->head.num_desc; i++) {
		const struct kvm_stats_desc *d = descriptor(s, i);

		s->nvalues = MAX(s->nvalues, d->offset / 8 + d->size);
		if (d->offset % 8 || s->nvalues > MOST_VALUES || !memchr(d->name, 0, s->head.name_size))
			return false;
	}
	s->first = read_values(s);
	return s->first;
}

static void close_stats(struct kvm_stats *s)
{
	if (!s)
		return;
	close(s->fd);
	g_free(s->descriptors);
	g_free(s->first);
	g_free(s);
}

static struct kvm_stats *open_stats(int object)
{
	struct kvm_stats *s = g_new0(struct kvm_stats, 1);

	s->fd = ioctl(object, KVM_GET_STATS_FD, NULL);
	if (s->fd >= 0 && read_first(s))
		return s;
	if (s->fd >= 0)
		close_stats(s);
	else
		g_free(s);
	return NULL;
}

void kvm_stats_begin(struct kvm_vm *vm)
{
	vm->stats[0] = open_stats(vm->fd);
	vm->stats[1] = open_stats(vm->vcpu_fd);
}

void kvm_stats_end(struct kvm_vm *vm)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(vm->stats); i++) {
		close_stats(vm->stats[i]);
		vm->stats[i] = NULL;
	}
}

/* "ns", "count", "2^10 bytes": as the descriptor says it. */
static char *unit_of(const struct kvm_stats_desc *d)
{
	static const char *const units[] = { "count", "bytes", "s", "cycles", "boolean" };
	unsigned unit = (d->flags & KVM_STATS_UNIT_MASK) >> KVM_STATS_UNIT_SHIFT;
	const char *name = unit < G_N_ELEMENTS(units) ? units[unit] : "?";

	if (!d->exponent)
		return g_strdup(name);
	if (unit == 2 && (d->flags & KVM_STATS_BASE_MASK) == KVM_STATS_BASE_POW10 && d->exponent == -9)
		return g_strdup("ns");
	return g_strdup_printf("%s^%d %s", (d->flags & KVM_STATS_BASE_MASK) == KVM_STATS_BASE_POW10 ? "10" : "2",
			       d->exponent, name);
}

static void write_one(GString *csv, const char *vm, const char *of, const struct kvm_stats_desc *d,
		      const uint64_t *first, const uint64_t *last)
{
	unsigned type = d->flags & KVM_STATS_TYPE_MASK;
	bool grows = type != KVM_STATS_TYPE_INSTANT && type != KVM_STATS_TYPE_PEAK;
	g_autofree char *unit = unit_of(d);

	for (unsigned i = 0; i < d->size; i++) {
		uint64_t value = last[i] - (grows ? first[i] : 0);

		if (d->size > 1 && !value)
			continue;
		g_string_append_printf(csv, "%s,%s,%s", vm, of, d->name);
		if (d->size > 1)
			g_string_append_printf(csv, "[%u]", i);
		g_string_append_printf(csv, ",%s,%" G_GUINT64_FORMAT "\n", unit, value);
	}
}

static void write_stats(GString *csv, const char *vm, const char *of, const struct kvm_stats *s)
{
	uint64_t *last = s ? read_values(s) : NULL;

	for (uint32_t i = 0; last && i < s->head.num_desc; i++) {
		const struct kvm_stats_desc *d = descriptor(s, i);

		write_one(csv, vm, of, d, s->first + d->offset / 8, last + d->offset / 8);
	}
	g_free(last);
}

void kvm_stats_write(struct kvm_machine *m)
{
	GString *csv = g_string_new("vm,of,name,unit,value\n");
	gsize empty = csv->len;

	for (unsigned i = 0; i < m->nvms; i++) {
		write_stats(csv, m->vms[i]->out->name, "vm", m->vms[i]->stats[0]);
		write_stats(csv, m->vms[i]->out->name, "vcpu", m->vms[i]->stats[1]);
	}
	if (csv->len > empty)
		m->run->kvm_stats = csv;
	else
		g_string_free(csv, TRUE);
}
