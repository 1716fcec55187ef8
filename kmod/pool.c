// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: pools, and what is theirs
 */
#include <linux/rhashtable.h>

#include "internal.h"

/* Or else it is memcmp(). */
static int wxpool_pool_differs(struct rhashtable_compare_arg *arg, const void *pool)
{
	return ((const struct wxpool_pool *)pool)->id != *(const u32 *)arg->key;
}

static const struct rhashtable_params wxpool_pools_params = {
	.obj_cmpfn = wxpool_pool_differs,
	.key_len = sizeof(u32),
	.key_offset = offsetof(struct wxpool_pool, id),
	.head_offset = offsetof(struct wxpool_pool, node),
	.automatic_shrinking = true,
};

/* With its part of the hash table, which is 10 to 21 bytes */
#define WXPOOL_POOL_COST	(wxpool_cost(sizeof(struct wxpool_pool)) + 20)

int wxpool_pools_init(struct wxpool_context *ctx)
{
	return rhashtable_init(&ctx->pools, &wxpool_pools_params);
}

struct wxpool_pool *wxpool_pool_find(struct wxpool_context *ctx, u32 id)
{
	lockdep_assert_held(&ctx->lock);
	return rhashtable_lookup_fast(&ctx->pools, &id, wxpool_pools_params);
}

/* Made if it is not there; for wxpool_pool_put() if it stays empty. -EROFS, -ENOMEM or -ENOSPC */
struct wxpool_pool *wxpool_pool_get(struct wxpool_context *ctx, u32 id)
{
	struct wxpool_pool *pool;

	lockdep_assert_held_write(&ctx->lock);
	if (ctx->info.frozen)
		return ERR_PTR(-EROFS);
	pool = wxpool_pool_find(ctx, id);
	if (pool)
		return pool;
	if (wxpool_charge(ctx, WXPOOL_POOL_COST))
		return ERR_PTR(-ENOSPC);
	pool = kzalloc(sizeof(*pool), ctx->gfp);
	if (!pool)
		goto err_uncharge;
	pool->id = id;
	pool->born = ctx->forks;
	/* Whatever its error is, it comes of memory that it cannot wait for. */
	if (rhashtable_insert_fast(&ctx->pools, &pool->node, wxpool_pools_params))
		goto err_free;
	ctx->info.pools++;
	return pool;

err_free:
	kfree(pool);
err_uncharge:
	wxpool_uncharge(ctx, WXPOOL_POOL_COST);
	return ERR_PTR(-ENOMEM);
}

/* It is found no more. */
void wxpool_pool_unlink(struct wxpool_context *ctx, struct wxpool_pool *pool)
{
	lockdep_assert_held_write(&ctx->lock);
	WARN_ON_ONCE(rhashtable_remove_fast(&ctx->pools, &pool->node, wxpool_pools_params));
	ctx->info.pools--;
}

/* Its pages and lines are gone by now. */
void wxpool_pool_destroy(struct wxpool_context *ctx, struct wxpool_pool *pool)
{
	if (pool->order)
		wxpool_put_memory(ctx, pool->extents, sizeof(*pool->extents) << pool->order);
	kfree(pool);
	wxpool_uncharge(ctx, WXPOOL_POOL_COST);
}

/* Ends a pool that a failed operation made. */
void wxpool_pool_put(struct wxpool_context *ctx, struct wxpool_pool *pool)
{
	if (pool->nr)
		return;
	wxpool_pool_unlink(ctx, pool);
	wxpool_pool_destroy(ctx, pool);
}

/* Has room for @nr more extents: 0, -ENOMEM or -ENOSPC. */
int wxpool_pool_room(struct wxpool_context *ctx, struct wxpool_pool *pool, unsigned long nr)
{
	struct wxpool_extent *extents;
	unsigned int order;

	lockdep_assert_held_write(&ctx->lock);
	nr += pool->nr;
	if (nr <= BIT(pool->order))
		return 0;
	if (nr >= BIT(26))
		return -ENOSPC;
	order = order_base_2(nr);
	extents = wxpool_get_memory(ctx, sizeof(*extents) << order, ctx->gfp);
	if (IS_ERR(extents))
		return PTR_ERR(extents);
	memcpy(extents, wxpool_extents(pool), sizeof(*extents) * pool->nr);
	if (pool->order)
		wxpool_put_memory(ctx, pool->extents, sizeof(*extents) << pool->order);
	pool->extents = extents;
	pool->order = order;
	return 0;
}

/*
 * There must be room for an extent, and one more for each WXPOOL_EXTENT_MAX lines. (A sum of
 * bit-fields has no more bits than they have: the end of the space would be its beginning.)
 */
void wxpool_pool_add(struct wxpool_pool *pool, u64 line, u64 nr)
{
	struct wxpool_extent *extents = wxpool_extents(pool), *last;
	u64 n;

	for (; nr; line += n, nr -= n) {
		last = pool->nr ? &extents[pool->nr - 1] : NULL;
		if (!last || (u64)last->line + last->nr != line || last->nr == WXPOOL_EXTENT_MAX) {
			last = &extents[pool->nr++];
			*last = (struct wxpool_extent){ .line = line };
		}
		n = min_t(u64, nr, WXPOOL_EXTENT_MAX - last->nr);
		last->nr += n;
	}
}

/* Adds what a pool has to @info. */
void wxpool_count_pool(struct wxpool_context *ctx, const struct wxpool_pool *pool,
		       struct wxpool_info *info)
{
	const struct wxpool_extent *extent = wxpool_extents((struct wxpool_pool *)pool);
	const struct wxpool_extent *stop = extent + pool->nr;
	const struct wxpool_region *region;
	unsigned int nr;
	u64 line, end;

	for (; extent < stop; extent++) {
		line = extent->line;
		for (end = line + extent->nr; line < end; line += nr) {
			region = wxpool_find_page(ctx, line >> WXPOOL_LINES_SHIFT)->region;
			nr = wxpool_lines_of_region(region, line, end);
			if (region->page)
				info->pool_lines += nr;
			else
				info->pool_pages++;
			cond_resched();
		}
	}
}

/* How much it has, for the trace */
u64 wxpool_pool_bytes(const struct wxpool_pool *pool)
{
	const struct wxpool_extent *extents = wxpool_extents((struct wxpool_pool *)pool);
	u64 nr_lines = 0;
	u32 i;

	for (i = 0; i < pool->nr; i++)
		nr_lines += extents[i].nr;
	return nr_lines << WXPOOL_LINE_SHIFT;
}
