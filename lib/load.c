// SPDX-License-Identifier: MIT
/* Bytes in, function out: wxp_place() and wxp_install() in one. */
#include <stdlib.h>

#include "internal.h"

#define FEW	64		/* parts, for which no memory is needed */

static bool is_loadable(const struct wxp_part *part)
{
	return part->size && (part->prot == WXP_RX || part->prot == WXP_R);
}

/* Finds places for all; they count as installed, so that they are nobody else's. */
static int load_place(struct window *w, uint32_t pool, const struct wxp_part *parts, size_t nr,
		      struct wxpool_install_range *r)
{
	uint32_t before = pool_at(w, pool)->spans, line;
	enum area_kind area;
	size_t i;

	for (i = 0; i < nr; i++) {
		area = area_for(parts[i].prot);
		line = span_place(w, pool, area, parts[i].size, 0);
		if (unlikely(line == NONE)) {
			spans_drop_to(w, pool, before);
			return -ENOMEM;
		}
		bits_set(w->bits, BIT_FILLED, line, lines_for(parts[i].size));
		r[i] = (struct wxpool_install_range){
			.offset = (uint64_t)line * WXP_LINE,
			.length = parts[i].size,
			.source = (uintptr_t)parts[i].bytes,
			.prot = device_prot(w, area),
		};
	}
	return 0;
}

static void load_undo(struct wxp *x, struct window *w, uint32_t pool,
		      const struct wxpool_install_range *r, size_t nr)
{
	pthread_mutex_lock(&x->lock);
	while (nr--)
		span_remove(w, pool, (uint32_t)(r[nr].offset / WXP_LINE));
	pool_release(pool_at(w, pool), false);
	pool_put(w, pool);
	context_leave(x);
}

static int load(struct wxp *x, uint32_t id, const struct wxp_part *parts, size_t nr,
		struct wxpool_install_range *r)
{
	int err = context_enter_new(x);
	struct window *w;
	struct pool *p = NULL;
	uint32_t pool;

	if (unlikely(err))
		return err;
	w = x->window;
	err = pool_get(w, id, &pool);
	if (likely(!err)) {
		err = load_place(w, pool, parts, nr, r);
		if (unlikely(err))
			pool_put(w, pool);
	}
	if (likely(!err)) {
		p = pool_at(w, pool);
		pool_hold(p);
	}
	context_leave(x);
	if (unlikely(err))
		return err;
	err = w->backend->install(w, id, r, (uint32_t)nr);
	if (unlikely(err))
		load_undo(x, w, pool, r, nr);
	else
		pool_release(p, true);
	return err;
}

static char *range_addr(const struct wxp *x, const struct wxpool_install_range *r)
{
	return x->window->base + r->offset;
}

WXP_EXPORT int wxp_load(struct wxp *x, uint32_t pool, const void *bytes, size_t size,
			enum wxp_prot prot, void **addr)
{
	const struct wxp_part part = { .bytes = bytes, .size = size, .prot = prot };
	struct wxpool_install_range r;
	int err;

	if (unlikely(!pool || !addr || !is_loadable(&part)))
		return -EINVAL;
	if (unlikely(size > WXP_MAX_INSTALL))
		return -E2BIG;
	err = load(x, pool, &part, 1, &r);
	if (likely(!err))
		*addr = range_addr(x, &r);
	return err;
}

WXP_EXPORT int wxp_load_many(struct wxp *x, uint32_t pool, struct wxp_part *parts, size_t nr)
{
	struct wxpool_install_range few[FEW], *r = few;
	size_t lines = 0, i;
	int err;

	if (unlikely(!pool || !parts || !nr))
		return -EINVAL;
	if (unlikely(nr > WXP_MAX_PIECES))
		return -E2BIG;
	for (i = 0; i < nr; i++) {
		if (unlikely(!is_loadable(&parts[i])))
			return -EINVAL;
		if (unlikely(parts[i].size > WXP_MAX_INSTALL))
			return -E2BIG;
		lines += lines_for(parts[i].size);
	}
	if (unlikely(lines > WXP_MAX_INSTALL / WXP_LINE))
		return -E2BIG;
	if (nr > FEW) {
		r = calloc(nr, sizeof(*r));
		if (!r)
			return -ENOMEM;
	}
	err = load(x, pool, parts, nr, r);
	for (i = 0; i < nr && !err; i++)
		parts[i].addr = range_addr(x, &r[i]);
	if (r != few)
		free(r);
	return err;
}
