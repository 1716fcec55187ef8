/* SPDX-License-Identifier: MIT */
/*
 * Places for modules in one piece of address space, for peers that have no
 * allocator of their own: given out in order, reused last in, first out. All
 * modules of a run have parts of the same sizes. Several threads may call.
 */
#ifndef WXBENCH_AREA_H
#define WXBENCH_AREA_H

#include <pthread.h>

#include "wxbench.h"

/**
 * struct area - places
 * @base: the start
 * @kinds: bits of the kinds of parts that belong here
 * @align: of parts
 * @unit: what modules are rounded to
 * @next: offset of the first byte never used; under @lock, as what follows
 * @spare: offsets given back
 * @nr_spare: their number
 * @held: bytes in use
 */
struct area {
	char *base;
	unsigned int kinds;
	size_t align;
	size_t unit;
	size_t next;
	size_t *spare;
	size_t nr_spare;
	size_t held;
	pthread_mutex_t lock;
};

#define KIND(k)	(1u << (k))

void area_init(struct area *area, char *base, unsigned int kinds, size_t align, size_t unit,
	       size_t modules);
char *area_map_data(size_t size);
size_t area_place(struct area *area, struct module *mod);
void area_give(struct area *area, struct module *mod);
void area_exit(struct area *area);

/* The first part of the module that belongs to @area, or NULL. */
static inline struct part *area_first(const struct area *area, const struct module *mod)
{
	for (unsigned int i = 0; i < mod->nr; i++)
		if (area->kinds & KIND(mod->parts[i].kind))
			return &mod->parts[i];
	return NULL;
}

#endif /* WXBENCH_AREA_H */
