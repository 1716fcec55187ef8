// SPDX-License-Identifier: MIT
/* Places for modules. */
#include <stdlib.h>
#include <sys/mman.h>

#include "area.h"

/**
 * area_map_data() - plain writable memory
 * @size: bytes
 *
 * Never huge pages: else it is chance, the address, that decides whether some
 * module pays for clearing 2 MiB.
 */
char *area_map_data(size_t size)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		die("mmap of %zu bytes failed: %m", size);
	madvise(p, size, MADV_NOHUGEPAGE);
	return p;
}

/**
 * area_init() - begin with an empty area
 * @area: the area
 * @base: its start
 * @kinds: bits of the kinds of parts that it takes
 * @align: of parts, a power of two
 * @unit: what the size of a module is rounded to
 * @modules: how many at most
 */
void area_init(struct area *area, char *base, unsigned int kinds, size_t align, size_t unit,
	       size_t modules)
{
	*area = (struct area){
		.base = base,
		.kinds = kinds,
		.align = align,
		.unit = unit,
		.spare = calloc(modules, sizeof(*area->spare)),
	};
	if (!area->spare)
		die("out of memory");
	pthread_mutex_init(&area->lock, NULL);
}

static size_t size_of(const struct area *area, const struct module *mod)
{
	size_t size = 0;

	for (unsigned int i = 0; i < mod->nr; i++)
		if (area->kinds & KIND(mod->parts[i].kind))
			size += round_up(mod->parts[i].size, area->align);
	return round_up(size, area->unit);
}

static size_t take(struct area *area, size_t size)
{
	size_t at;

	pthread_mutex_lock(&area->lock);
	if (area->nr_spare) {
		at = area->spare[--area->nr_spare];
	} else {
		at = area->next;
		area->next += size;
	}
	area->held += size;
	pthread_mutex_unlock(&area->lock);
	return at;
}

/** area_place() - set where the parts go that belong here; returns their size */
size_t area_place(struct area *area, struct module *mod)
{
	size_t size = size_of(area, mod), at;

	if (!size)
		return 0;
	at = take(area, size);
	for (unsigned int i = 0; i < mod->nr; i++) {
		if (!(area->kinds & KIND(mod->parts[i].kind)))
			continue;
		mod->parts[i].at = area->base + at;
		at += round_up(mod->parts[i].size, area->align);
	}
	return size;
}

/** area_give() - what area_place() took is free again */
void area_give(struct area *area, struct module *mod)
{
	const struct part *first = area_first(area, mod);

	if (!first)
		return;
	pthread_mutex_lock(&area->lock);
	area->spare[area->nr_spare++] = (size_t)(first->at - area->base);
	area->held -= size_of(area, mod);
	pthread_mutex_unlock(&area->lock);
}

/** area_exit() - forget all */
void area_exit(struct area *area)
{
	free(area->spare);
	pthread_mutex_destroy(&area->lock);
}
