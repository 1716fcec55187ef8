// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: installing bytes in the lines of packed pages, all of a vector or none
 *
 * 1. Without a lock, the bytes are copied from the user. Those of pages that
 *    the vector covers in full go straight into new pages, others into a buffer.
 * 2. Under the context's lock all lines are claimed. Where a page is absent,
 *    the new one takes its place.
 * 3. What is not in place yet is copied there. Nothing can fail any more.
 *
 * So nothing of a call that fails was ever in an executable page.
 */
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "internal.h"

/*
 * struct wxp_part - what of a range is in one page
 * @line: the first line
 * @nr: number of lines
 * @len: bytes from the user; the rest of the last line is filled
 * @full: the page is new, and covered in full by this part and its neighbours
 * @from: the user's address
 * @bytes: where the lines are staged
 * @fresh: the new page that @bytes is in, or NULL
 * @region: where the lines are claimed
 */
struct wxp_part {
	u64 line;
	unsigned int nr;
	unsigned int len;
	enum wxp_state state;
	bool full;
	const void __user *from;
	void *bytes;
	struct wxp_region *fresh;
	struct wxp_region *region;
};

/*
 * struct wxp_install - one INSTALL on its way
 * @nonblock: for io_uring: -EAGAIN where it would block
 * @gfp: WXP_GFP or WXP_GFP_NOWAIT
 * @huge: prefer windows of huge size
 * @parts: of all ranges, in their order
 * @nr_parts: how many
 * @claimed: how many have their lines, from the first
 * @buffer: for the lines of pages that are not covered in full
 * @staged: new pages that have found no place
 * @ending: pages of a call that failed
 * @few_ranges: for @ranges
 * @few: is @parts, if that is enough
 * @small: is @buffer, if that is enough
 *
 * With all this a function, a vector of them or a module needs no memory to be
 * got and, as many kernels do then, cleared.
 */
struct wxp_install {
	struct wxp_ctx *ctx;
	struct wxp_ranges ranges;
	bool nonblock;
	gfp_t gfp;
	bool huge;
	struct wxp_part *parts;
	unsigned int nr_parts;
	unsigned int claimed;
	void *buffer;
	struct list_head staged;
	struct wxp_ending ending;
	struct wxpool_range few_ranges[64];
	struct wxp_part few[80];
	u64 small[SZ_16K / sizeof(u64)];
};

static u64 wxp_first_line(const struct wxpool_range *range)
{
	return range->offset >> WXP_LINE_SHIFT;
}

static u64 wxp_nr_lines(const struct wxpool_range *range)
{
	return DIV_ROUND_UP_ULL(range->length, WXP_LINE_SIZE);
}

static unsigned int wxp_nr_parts(const struct wxpool_range *range)
{
	u64 first = wxp_first_line(range);
	u64 last = first + wxp_nr_lines(range) - 1;

	return (last >> WXP_LINES_SHIFT) - (first >> WXP_LINES_SHIFT) + 1;
}

static int wxp_alloc_parts(struct wxp_install *inst)
{
	const struct wxp_ranges *ranges = &inst->ranges;
	unsigned int nr_parts = 0;
	u64 nr_lines = 0;
	u32 i;

	for (i = 0; i < ranges->nr; i++) {
		nr_lines += wxp_nr_lines(&ranges->r[i]);
		if (nr_lines > WXPOOL_MAX_INSTALL >> WXP_LINE_SHIFT)
			return -EINVAL;
		nr_parts += wxp_nr_parts(&ranges->r[i]);
	}
	if (nr_parts <= ARRAY_SIZE(inst->few))
		inst->parts = inst->few;
	else
		inst->parts = kvmalloc_array(nr_parts, sizeof(*inst->parts),
					     inst->gfp);
	return inst->parts ? 0 : -ENOMEM;
}

static unsigned int wxp_split_range(struct wxp_install *inst,
				    const struct wxpool_range *range)
{
	u64 line = wxp_first_line(range), end = line + wxp_nr_lines(range);
	const void __user *from = u64_to_user_ptr(range->addr);
	struct wxp_part *part;
	u64 left = range->length;

	for (; line < end; line += part->nr) {
		part = &inst->parts[inst->nr_parts++];
		part->line = line;
		part->nr = wxp_lines_of_page(line, end);
		part->len = min_t(u64, left, part->nr * WXP_LINE_SIZE);
		part->state = wxp_range_state(range);
		part->full = false;
		part->from = from;
		part->fresh = NULL;
		from += part->len;
		left -= part->len;
	}
	return wxp_nr_lines(range);
}

/*
 * Marks the parts of new pages that are covered in full; counts other lines.
 * What is absent may be there before the lines are claimed.
 */
static unsigned int wxp_find_full(struct wxp_install *inst)
{
	struct wxp_part *head = NULL, *part, *p;
	unsigned int nr_lines = 0;

	lockdep_assert_held(&inst->ctx->lock);
	for (part = inst->parts; part < inst->parts + inst->nr_parts; part++) {
		nr_lines += part->nr;
		if (part->line % WXP_LINES == 0)
			head = part;
		else if (head && part[-1].line + part[-1].nr != part->line)
			head = NULL;
		if (!head || (part->line + part->nr) % WXP_LINES ||
		    mtree_load(&inst->ctx->regions, part->line >> WXP_LINES_SHIFT))
			continue;
		for (p = head; p <= part; p++)
			p->full = true;
		nr_lines -= WXP_LINES;
		head = NULL;
	}
	return nr_lines;
}

static int wxp_lock_read(struct wxp_install *inst)
{
	if (inst->nonblock)
		return down_read_trylock(&inst->ctx->lock) ? 0 : -EAGAIN;
	return down_read_killable(&inst->ctx->lock);
}

static int wxp_lock_write(struct wxp_install *inst)
{
	if (inst->nonblock)
		return down_write_trylock(&inst->ctx->lock) ? 0 : -EAGAIN;
	return down_write_killable(&inst->ctx->lock);
}

static int wxp_split_ranges(struct wxp_install *inst)
{
	const struct wxp_ranges *ranges = &inst->ranges;
	unsigned int nr_lines = 0;
	size_t size;
	u32 i;
	int err;

	err = wxp_alloc_parts(inst);
	if (err)
		return err;
	for (i = 0; i < ranges->nr; i++)
		nr_lines += wxp_split_range(inst, &ranges->r[i]);
	/* With huge pages it is likely that the page is there already. */
	if (nr_lines >= WXP_LINES && !inst->huge) {
		err = wxp_lock_read(inst);
		if (err)
			return err;
		nr_lines = wxp_find_full(inst);
		up_read(&inst->ctx->lock);
	}
	size = nr_lines * WXP_LINE_SIZE;
	if (size > sizeof(inst->small))
		inst->buffer = kvmalloc(size, inst->gfp);
	return inst->buffer ? 0 : -ENOMEM;
}

static int wxp_stage_part(struct wxp_install *inst, struct wxp_part *part,
			  void **buffer)
{
	if (!part->full) {
		part->bytes = *buffer;
		*buffer += part->nr * WXP_LINE_SIZE;
	} else if (part->line % WXP_LINES) {
		part->fresh = part[-1].fresh;
		part->bytes = part[-1].bytes + part[-1].nr * WXP_LINE_SIZE;
	} else {
		part->fresh = wxp_packed_new(inst->ctx,
					     part->line >> WXP_LINES_SHIFT, 1,
					     part->state, inst->gfp);
		if (IS_ERR(part->fresh))
			return PTR_ERR(part->fresh);
		list_add(&part->fresh->link, &inst->staged);
		part->bytes = folio_address(part->fresh->pages[0].folio);
	}
	if (part->len % WXP_LINE_SIZE)
		wxp_fill(part->bytes + (part->nr - 1) * WXP_LINE_SIZE,
			 part->state, WXP_LINE_SIZE);
	return wxp_copy_words(part->bytes, part->from, part->len);
}

static int wxp_stage(struct wxp_install *inst)
{
	void *buffer;
	unsigned int i;
	int err;

	err = wxp_split_ranges(inst);
	buffer = inst->buffer;
	for (i = 0; i < inst->nr_parts && !err; i++) {
		if (fatal_signal_pending(current))
			return -EINTR;
		err = wxp_stage_part(inst, &inst->parts[i], &buffer);
		cond_resched();
	}
	return err;
}

static struct wxp_region *wxp_find_place(struct wxp_install *inst,
					 struct wxp_part *part)
{
	int err;

	if (part->full && part->line % WXP_LINES == 0) {
		err = wxp_packed_insert(inst->ctx, part->fresh, inst->gfp);
		if (err != -EEXIST)
			return err ? ERR_PTR(err) : part->fresh;
	}
	return wxp_packed_get(inst->ctx, part->line >> WXP_LINES_SHIFT,
			      part->state, inst->huge, inst->gfp);
}

static int wxp_claim_parts(struct wxp_install *inst)
{
	struct wxp_part *part;
	int err;

	for (; inst->claimed < inst->nr_parts; inst->claimed++) {
		/* Each may need a window of huge size. */
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
		part = &inst->parts[inst->claimed];
		part->region = wxp_find_place(inst, part);
		if (IS_ERR(part->region))
			return PTR_ERR(part->region);
		if (part->region->pages[0].state != part->state)
			return -EEXIST;
		err = wxp_claim_lines(inst->ctx, part->region, part->line, part->nr);
		if (err)
			return err;
	}
	return 0;
}

static void wxp_drop_parts(struct wxp_install *inst)
{
	unsigned int i;

	for (i = 0; i < inst->claimed; i++)
		wxp_drop_lines(inst->ctx, inst->parts[i].region,
			       inst->parts[i].line, inst->parts[i].nr,
			       &inst->ending);
}

static void wxp_write_parts(struct wxp_install *inst)
{
	struct wxp_part *part;

	for (part = inst->parts; part < inst->parts + inst->nr_parts; part++)
		if (part->region != part->fresh)
			wxp_write_lines(part->region, part->line, part->nr,
					part->bytes);
}

/* Does a range go on where the one before it ends? */
static bool wxp_goes_on(const struct wxpool_range *range)
{
	return wxp_first_line(range) ==
	       wxp_first_line(range - 1) + wxp_nr_lines(range - 1);
}

static struct wxp_batch *wxp_batch_new(struct wxp_install *inst)
{
	const struct wxp_ranges *ranges = &inst->ranges;
	struct wxp_extent *extent;
	struct wxp_batch *batch;
	u32 nr = 1, i;

	for (i = 1; i < ranges->nr; i++)
		nr += !wxp_goes_on(&ranges->r[i]);
	batch = kvzalloc(struct_size(batch, extents, nr), inst->gfp);
	if (!batch)
		return NULL;
	batch->nr = nr;
	extent = batch->extents;
	for (i = 0; i < ranges->nr; i++) {
		if (i && !wxp_goes_on(&ranges->r[i]))
			extent++;
		if (!extent->nr)
			extent->line = wxp_first_line(&ranges->r[i]);
		extent->nr += wxp_nr_lines(&ranges->r[i]);
	}
	return batch;
}

/* What a pool got last, if the call goes on there: then it needs no batch. */
static struct wxp_extent *wxp_last_extent(const struct wxp_install *inst,
					  const struct wxp_pool *pool)
{
	struct wxp_extent *extent;
	struct wxp_batch *batch;

	if (inst->ranges.nr > 1 || list_empty(&pool->batches))
		return NULL;
	batch = list_last_entry(&pool->batches, struct wxp_batch, link);
	extent = &batch->extents[batch->nr - 1];
	if (extent->line + extent->nr != wxp_first_line(inst->ranges.r))
		return NULL;
	return extent;
}

static int wxp_install_in_pool(struct wxp_install *inst, struct wxp_pool *pool)
{
	struct wxp_extent *last = wxp_last_extent(inst, pool);
	struct wxp_batch *batch = NULL;
	int err;

	if (!last) {
		batch = wxp_batch_new(inst);
		if (!batch)
			return -ENOMEM;
	}
	err = wxp_claim_parts(inst);
	if (err) {
		wxp_drop_parts(inst);
		kvfree(batch);
		return err;
	}
	wxp_write_parts(inst);
	if (last)
		last->nr += wxp_nr_lines(inst->ranges.r);
	else
		list_add_tail(&batch->link, &pool->batches);
	return 0;
}

static int wxp_install_locked(struct wxp_install *inst, u32 id)
{
	struct wxp_pool *pool;
	int err;

	lockdep_assert_held_write(&inst->ctx->lock);
	if (inst->ctx->frozen)
		return -EROFS;
	pool = wxp_pool_get(inst->ctx, id, inst->gfp);
	if (IS_ERR(pool))
		return PTR_ERR(pool);
	err = wxp_install_in_pool(inst, pool);
	if (err)
		wxp_pool_put(inst->ctx, pool);
	return err;
}

static int wxp_install(struct wxp_install *inst, u32 id)
{
	int err;

	err = wxp_stage(inst);
	if (err)
		goto out;
	err = wxp_lock_write(inst);
	if (err)
		goto out;
	err = wxp_install_locked(inst, id);
	up_write(&inst->ctx->lock);
out:
	wxp_free_regions(inst->ctx, &inst->staged);
	wxp_free_regions(inst->ctx, &inst->ending.dead);
	if (inst->buffer != inst->small)
		kvfree(inst->buffer);
	if (inst->parts != inst->few)
		kvfree(inst->parts);
	return err;
}

static struct wxp_install *wxp_install_get(struct wxp_ctx *ctx, bool nonblock)
{
	struct wxp_install *inst = xchg(&ctx->spare, NULL);
	gfp_t gfp = nonblock ? WXP_GFP_NOWAIT : WXP_GFP;

	if (!inst)
		inst = kvmalloc(sizeof(*inst), gfp);
	if (!inst)
		return NULL;
	memset(inst, 0, offsetof(struct wxp_install, few_ranges));
	inst->ctx = ctx;
	inst->nonblock = nonblock;
	inst->gfp = gfp;
	inst->ranges.room = inst->few_ranges;
	inst->ranges.nr_room = ARRAY_SIZE(inst->few_ranges);
	inst->parts = inst->few;
	inst->buffer = inst->small;
	INIT_LIST_HEAD(&inst->staged);
	INIT_LIST_HEAD(&inst->ending.dead);
	return inst;
}

static void wxp_install_put(struct wxp_install *inst)
{
	if (cmpxchg(&inst->ctx->spare, NULL, inst))
		kvfree(inst);
}

void wxp_free_spare(struct wxp_ctx *ctx)
{
	kvfree(ctx->spare);
}

static int wxp_install_vec(struct wxp_ctx *ctx, const struct wxpool_vec *vec,
			   bool nonblock)
{
	struct wxp_install *inst;
	int err;

	inst = wxp_install_get(ctx, nonblock);
	if (!inst)
		return -ENOMEM;
	err = wxp_copy_ranges(&inst->ranges, vec, &wxp_install_form);
	if (err)
		goto out;
	inst->huge = vec->flags & WXPOOL_INSTALL_HUGE;
	err = wxp_install(inst, vec->pool);
	wxp_put_ranges(&inst->ranges);
out:
	wxp_install_put(inst);
	return err;
}

int wxp_ioc_install(struct file *file, void *arg)
{
	struct wxp_ctx *ctx = file->private_data;
	int err;

	err = wxp_reap_kept(ctx);
	return err ? err : wxp_install_vec(ctx, arg, false);
}

int wxp_try_install(struct file *file, void *arg)
{
	struct wxp_ctx *ctx = file->private_data;
	int err;

	if (READ_ONCE(ctx->nr_kept))
		return -EAGAIN;
	err = wxp_install_vec(ctx, arg, true);
	return err == -ENOMEM ? -EAGAIN : err;
}
