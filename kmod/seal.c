// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: sealing pages, all of a vector or none
 *
 * Under the context's lock, so that no fault reads a state meanwhile:
 *
 * 1. each page must be OPEN and the pool's; it changes its state, and waits
 *    for faults in flight;
 * 2. the ranges are unmapped, with which the last PTE that could write is gone
 *    from all processes and TLBs;
 * 3. whoever still holds a reference can write through a pin: all pages go
 *    back to OPEN. Nobody can have read or run them in between.
 *
 * On architectures whose instruction caches do not follow stores (arm64), the
 * core makes them agree when it maps a page executable for the first time
 * (set_pte_at and PG_dcache_clean): every page comes here fresh, and is never
 * written again.
 */
#include <linux/cpu.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "internal.h"

/*
 * struct wxp_seal - one PROTECT on its way
 * @done: pages that have changed their state, from the first
 */
struct wxp_seal {
	struct wxp_ctx *ctx;
	struct wxp_pool *pool;
	struct wxp_ranges ranges;
	unsigned long done;
};

typedef int (*wxp_page_fn)(struct wxp_seal *seal, struct wxp_page *page,
			   enum wxp_state to);

static int wxp_walk_range(struct wxp_seal *seal,
			  const struct wxpool_range *range, wxp_page_fn fn)
{
	enum wxp_state to = wxp_range_state(range);
	pgoff_t pgoff = range->offset >> PAGE_SHIFT;
	pgoff_t end = pgoff + (range->length >> PAGE_SHIFT);
	struct wxp_region *region;
	pgoff_t stop;
	int ret;

	while (pgoff < end) {
		region = mtree_load(&seal->ctx->regions, pgoff);
		if (!region || region->pool != seal->pool)
			return -ENOENT;
		stop = min(end, region->pgoff + region->nr_pages);
		for (; pgoff < stop; pgoff++) {
			ret = fn(seal, &region->pages[pgoff - region->pgoff], to);
			if (ret)
				return ret;
			cond_resched();
		}
	}
	return 0;
}

/* Calls @fn for each page in order, until it returns other than 0. */
static int wxp_walk(struct wxp_seal *seal, wxp_page_fn fn)
{
	u32 i;
	int ret = 0;

	lockdep_assert_held_write(&seal->ctx->lock);
	for (i = 0; i < seal->ranges.nr && !ret; i++)
		ret = wxp_walk_range(seal, &seal->ranges.r[i], fn);
	return ret;
}

static int wxp_seal_page(struct wxp_seal *seal, struct wxp_page *page,
			 enum wxp_state to)
{
	if (fatal_signal_pending(current))
		return -EINTR;
	if (page->state != WXP_OPEN)
		return -EPERM;
	wxp_settle_page(page, to);
	seal->ctx->nr[WXP_OPEN]--;
	seal->ctx->nr[to]++;
	seal->done++;
	return 0;
}

static int wxp_reopen_page(struct wxp_seal *seal, struct wxp_page *page,
			   enum wxp_state to)
{
	if (!seal->done)
		return 1;
	wxp_settle_page(page, WXP_OPEN);
	seal->ctx->nr[WXP_OPEN]++;
	seal->ctx->nr[to]--;
	seal->done--;
	return 0;
}

static int wxp_check_pin(struct wxp_seal *seal, struct wxp_page *page,
			 enum wxp_state to)
{
	return folio_ref_count(page->folio) > 1 ? -EBUSY : 0;
}

static int wxp_seal(struct wxp_seal *seal)
{
	u32 i;
	int err;

	err = wxp_walk(seal, wxp_seal_page);
	if (err)
		goto err_reopen;
	for (i = 0; i < seal->ranges.nr; i++)
		wxp_unmap(seal->ctx, seal->ranges.r[i].offset,
			  seal->ranges.r[i].length);
	/*
	 * Pairs with GUP-fast, which takes its reference and then looks at the
	 * PTE again: it finds the PTE gone, or we find the reference.
	 */
	smp_mb();
	err = wxp_walk(seal, wxp_check_pin);
	if (err)
		goto err_reopen;
	return 0;

err_reopen:
	wxp_walk(seal, wxp_reopen_page);
	return err;
}

static int wxp_seal_locked(struct wxp_seal *seal, u32 pool)
{
	int err;

	if (down_write_killable(&seal->ctx->lock))
		return -EINTR;
	seal->pool = xa_load(&seal->ctx->pools, pool);
	if (seal->ctx->frozen)
		err = -EROFS;
	else if (!seal->pool)
		err = -ENOENT;
	else
		err = wxp_seal(seal);
	up_write(&seal->ctx->lock);
	return err;
}

static long wxp_drain_cpu(void *unused)
{
	wxp_lru_add_drain();
	return 0;
}

/*
 * In a process that uses mlock(), each CPU's batches of the core hold a
 * reference to pages that were lately mapped or unmapped there. These are not
 * pins, but look like them.
 */
static void wxp_drain_all(void)
{
	int cpu;

	cpus_read_lock();
	for_each_online_cpu(cpu)
		work_on_cpu(cpu, wxp_drain_cpu, NULL);
	cpus_read_unlock();
}

int wxp_ioc_protect(struct file *file, void *arg)
{
	struct wxpool_range few[WXP_FEW_RANGES];
	struct wxp_seal seal = {
		.ctx = file->private_data,
		.ranges = { .room = few, .nr_room = WXP_FEW_RANGES },
	};
	struct wxpool_vec *vec = arg;
	int err;

	err = wxp_copy_ranges(&seal.ranges, vec, &wxp_protect_form);
	if (err)
		return err;
	err = wxp_seal_locked(&seal, vec->pool);
	if (err == -EBUSY) {
		wxp_drain_all();
		err = wxp_seal_locked(&seal, vec->pool);
	}
	if (!err)
		wxp_map_views(file, &seal.ranges, vec);
	wxp_put_ranges(&seal.ranges);
	return err;
}
