// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: INSTALL puts bytes into lines of packed pages, all of a vector or none
 *
 * 1. Without a lock, the bytes are copied from the user: into a buffer or, if
 *    there are many, those of whole pages and blocks into new ones.
 * 2. Under the context's lock all lines are claimed. If a page is absent that
 *    has been filled, it takes its place as it is.
 * 3. What is not in place yet is copied there. Nothing can fail any more.
 *
 * So nothing of a call that fails was ever in an executable page.
 */
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "internal.h"

/*
 * Adjacent lines of a call: first a run, which goes on as far as ranges adjoin, then
 * what of it has its bytes in one place.
 */
struct wxpool_part {
	u64 line;
	u32 nr;
	enum wxpool_state state;
	void *bytes;			/* full lines; NULL once they are where they belong */
	struct wxpool_region *region;	/* of the new page or block that they are in, or NULL */
};

#define WXPOOL_FEW_PARTS	64

/*
 * What most calls need beside the stack. The context keeps one, so that a function
 * or a module needs no memory to be got and, as many kernels do then, cleared.
 */
struct wxpool_buffer {
	struct wxpool_part runs[WXPOOL_FEW_PARTS], parts[WXPOOL_FEW_PARTS];
	u64 bytes[(SZ_32K - 2 * WXPOOL_FEW_PARTS * sizeof(struct wxpool_part)) / sizeof(u64)];
};

/* One INSTALL on its way */
struct wxpool_inst {
	struct wxpool_context *ctx;
	struct wxpool_buffer *buffer;
	gfp_t gfp;
	bool blocks;			/* prefer them */
	const struct wxpool_install_range *ranges;
	u32 nr_ranges, nr_runs, nr_parts;
	struct wxpool_part *runs, *parts;
	u64 nr_lines;			/* of all */
	u64 nr_claimed;			/* of them, from the first */
	void *bytes;			/* for parts without a region, if @buffer is too small */
};

static int wxpool_check_install(const struct wxpool_install_range *range, bool first)
{
	if (!range->length || range->flags & ~WXPOOL_RANGE_CONT)
		return -EINVAL;
	if (range->flags)
		return first || range->offset || range->prot ? -EINVAL : 0;
	if (!IS_ALIGNED(range->offset, WXPOOL_LINE_SIZE) || !range->prot ||
	    range->prot >= WXPOOL_NR_STATES)
		return -EINVAL;
	return range->offset > WXPOOL_SPACE ? -EOVERFLOW : 0;
}

/* @end: of the bytes before, as an offset */
static int wxpool_add_range(struct wxpool_inst *inst, const struct wxpool_install_range *range,
			    u64 *end)
{
	struct wxpool_part *run = inst->runs + inst->nr_runs - 1;
	u64 nr;
	int err;

	err = wxpool_check_install(range, !inst->nr_runs);
	if (err)
		return err;
	if (!range->flags) {
		if (!inst->nr_runs || range->prot != run->state ||
		    range->offset != ALIGN(*end, WXPOOL_LINE_SIZE)) {
			run = inst->runs + inst->nr_runs++;
			*run = (struct wxpool_part){
				.line = range->offset >> WXPOOL_LINE_SHIFT,
				.state = range->prot,
			};
		}
		*end = range->offset;
	}
	if (range->length > WXPOOL_SPACE - *end)
		return -EOVERFLOW;
	*end += range->length;
	nr = DIV_ROUND_UP_ULL(*end, WXPOOL_LINE_SIZE) - run->line;
	inst->nr_lines += nr - run->nr;
	run->nr = nr;
	return inst->nr_lines > WXPOOL_MAX_INSTALL >> WXPOOL_LINE_SHIFT ? -EINVAL : 0;
}

static struct wxpool_part *wxpool_get_parts(struct wxpool_part *few, u32 nr, gfp_t gfp)
{
	return nr <= WXPOOL_FEW_PARTS ? few : kvmalloc_array(nr, sizeof(*few), gfp);
}

static int wxpool_find_runs(struct wxpool_inst *inst)
{
	u64 end = 0;
	u32 i;
	int err = 0;

	inst->runs = wxpool_get_parts(inst->buffer->runs, inst->nr_ranges, inst->gfp);
	if (!inst->runs)
		return -ENOMEM;
	for (i = 0; i < inst->nr_ranges && !err; i++)
		err = wxpool_add_range(inst, &inst->ranges[i], &end);
	return err;
}

static bool wxpool_is_full(u64 line, u64 left, unsigned int order)
{
	return left >= WXPOOL_LINES << order && !(line % (WXPOOL_LINES << order));
}

/* The next part of a run, of which @left lines are left: a block, a page, or less */
static int wxpool_split_off(struct wxpool_inst *inst, struct wxpool_part *part, u64 left)
{
	struct wxpool_region *region = ERR_PTR(-ENOMEM);

	if (!wxpool_is_full(part->line, left, 0)) {
		part->nr = min(left, WXPOOL_LINES - part->line % WXPOOL_LINES);
		return 0;
	}
	if (inst->blocks && WXPOOL_HAS_BLOCKS &&
	    wxpool_is_full(part->line, left, WXPOOL_BLOCK_ORDER))
		region = wxpool_packed_new(inst->ctx, WXPOOL_BLOCK_ORDER, part->state, inst->gfp);
	if (IS_ERR(region))
		region = wxpool_packed_new(inst->ctx, 0, part->state, inst->gfp);
	if (IS_ERR(region))
		return PTR_ERR(region);
	part->nr = region->nr_pages << WXPOOL_LINES_SHIFT;
	part->region = region;
	part->bytes = page_address(region->page);
	return 0;
}

static int wxpool_split_run(struct wxpool_inst *inst, const struct wxpool_part *run, void **bytes,
			    bool large)
{
	u64 line = run->line, end = run->line + run->nr;
	struct wxpool_part *part;
	int err;

	for (; line < end; line += part->nr) {
		if (fatal_signal_pending(current))
			return -EINTR;
		part = &inst->parts[inst->nr_parts];
		*part = (struct wxpool_part){ line, end - line, run->state };
		err = large ? wxpool_split_off(inst, part, end - line) : 0;
		if (err)
			return err;
		inst->nr_parts++;
		if (!part->bytes) {
			part->bytes = *bytes;
			*bytes += part->nr << WXPOOL_LINE_SHIFT;
		}
		cond_resched();
	}
	return 0;
}

/* Bytes of whole pages of a large call are copied once, if the pages are absent. */
static int wxpool_split_runs(struct wxpool_inst *inst)
{
	bool large = inst->nr_lines << WXPOOL_LINE_SHIFT > sizeof(inst->buffer->bytes);
	void *bytes = inst->buffer->bytes;
	u32 nr = inst->nr_runs, i;
	int err = 0;

	if (large) {
		/* Its pages, and less than a page at each end of a run */
		nr += inst->nr_runs + (inst->nr_lines >> WXPOOL_LINES_SHIFT);
		inst->bytes = kvmalloc(min(inst->nr_lines << WXPOOL_LINE_SHIFT,
					   (u64)inst->nr_runs << (PAGE_SHIFT + 1)), inst->gfp);
		bytes = inst->bytes;
	}
	inst->parts = wxpool_get_parts(inst->buffer->parts, nr, inst->gfp);
	if (!bytes || !inst->parts)
		return -ENOMEM;
	for (i = 0; i < inst->nr_runs && !err; i++)
		err = wxpool_split_run(inst, &inst->runs[i], &bytes, large);
	return err;
}

/* Where the next byte goes */
struct wxpool_cursor {
	const struct wxpool_part *part;
	u32 pos;
};

static void wxpool_advance(struct wxpool_cursor *at, u32 n)
{
	at->pos += n;
	if (at->pos == at->part->nr << WXPOOL_LINE_SHIFT) {
		at->part++;
		at->pos = 0;
	}
}

static int wxpool_copy_range(struct wxpool_cursor *at, const struct wxpool_install_range *range)
{
	const void __user *from = u64_to_user_ptr(range->source);
	u32 left = range->length, n;

	for (; left; left -= n, from += n) {
		if (fatal_signal_pending(current))
			return -EINTR;
		n = min_t(u32, left, PAGE_SIZE);
		n = min(n, (at->part->nr << WXPOOL_LINE_SHIFT) - at->pos);
		if (wxpool_copy_words(at->part->bytes + at->pos, from, n))
			return -EFAULT;
		wxpool_advance(at, n);
		cond_resched();
	}
	return 0;
}

/* What is left of the line */
static void wxpool_pad(struct wxpool_cursor *at)
{
	u8 fill[WXPOOL_LINE_SIZE] __aligned(sizeof(u64));
	u32 used = at->pos % WXPOOL_LINE_SIZE;

	if (!used)
		return;
	wxpool_fill(fill, at->part->state, sizeof(fill));
	memcpy(at->part->bytes + at->pos, fill + used, sizeof(fill) - used);
	wxpool_advance(at, sizeof(fill) - used);
}

static int wxpool_stage(struct wxpool_inst *inst)
{
	struct wxpool_cursor at = {};
	int err;
	u32 i;

	err = wxpool_find_runs(inst);
	if (!err)
		err = wxpool_split_runs(inst);
	at.part = inst->parts;
	for (i = 0; i < inst->nr_ranges && !err; i++) {
		if (!inst->ranges[i].flags && i)
			wxpool_pad(&at);
		err = wxpool_copy_range(&at, &inst->ranges[i]);
	}
	if (!err)
		wxpool_pad(&at);
	return err;
}

/* Lets its new page or block take its place, if that is absent. */
static int wxpool_insert_part(struct wxpool_inst *inst, struct wxpool_part *part)
{
	int err;

	/* A block is made of all its pages. */
	if (!part->region || (inst->blocks && part->region->nr_pages == 1))
		return 0;
	err = wxpool_packed_insert(inst->ctx, part->region, part->line >> WXPOOL_LINES_SHIFT,
				   inst->gfp);
	if (err)
		return err == -EEXIST ? 0 : err;
	part->region = NULL;
	part->bytes = NULL;
	return 0;
}

static int wxpool_claim_part(struct wxpool_inst *inst, struct wxpool_part *part)
{
	u64 line = part->line, end = line + part->nr;
	struct wxpool_region *region;
	unsigned int nr;
	int err;

	err = wxpool_insert_part(inst, part);
	if (err)
		return err;
	for (; line < end; line += nr) {
		region = wxpool_packed_get(inst->ctx, line, end - line, part->state, inst->blocks,
					   inst->gfp);
		if (IS_ERR(region))
			return PTR_ERR(region);
		nr = wxpool_lines_of_region(region, line, end);
		err = wxpool_claim_lines(inst->ctx, region, line, nr);
		if (err)
			return err;
		inst->nr_claimed += nr;
		/* Each may have needed a block to be made. */
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

static void wxpool_drop_claims(struct wxpool_inst *inst)
{
	struct wxpool_ending ending = { .ctx = inst->ctx, .undone = true };
	struct wxpool_extent claimed;
	struct wxpool_part *part;

	for (part = inst->parts; inst->nr_claimed; part++) {
		claimed.line = part->line;
		claimed.nr = min_t(u64, part->nr, inst->nr_claimed);
		inst->nr_claimed -= claimed.nr;
		wxpool_end_extent(inst->ctx, &claimed, WXPOOL_FREED, &ending);
	}
	wxpool_unmap_ended(inst->ctx, &ending);
}

static int wxpool_install_locked(struct wxpool_inst *inst, u32 id)
{
	struct wxpool_pool *pool = wxpool_pool_get(inst->ctx, id, inst->gfp);
	struct wxpool_part *part, *stop = inst->parts + inst->nr_parts;
	int err;

	if (IS_ERR(pool))
		return PTR_ERR(pool);
	err = wxpool_pool_room(inst->ctx, pool, inst->nr_runs, inst->gfp);
	for (part = inst->parts; part < stop && !err; part++)
		err = wxpool_claim_part(inst, part);
	if (err) {
		wxpool_drop_claims(inst);
		wxpool_pool_put(inst->ctx, pool);
		return err;
	}
	for (part = inst->parts; part < stop; part++) {
		if (part->bytes)
			wxpool_write_lines(inst->ctx, part->line, part->nr, part->bytes);
		wxpool_pool_add(pool, part->line, part->nr);
		cond_resched();
	}
	return 0;
}

static void wxpool_put_parts(struct wxpool_inst *inst)
{
	u32 i;

	for (i = 0; i < inst->nr_parts; i++) {
		if (!inst->parts[i].region)
			continue;
		/* It has found no place. */
		wxpool_packed_free(inst->ctx, inst->parts[i].region);
		cond_resched();
	}
	if (inst->parts != inst->buffer->parts)
		kvfree(inst->parts);
	if (inst->runs != inst->buffer->runs)
		kvfree(inst->runs);
	kvfree(inst->bytes);
}

/* With the context for nobody else */
void wxpool_free_spare(struct wxpool_context *ctx)
{
	if (ctx->spare)
		wxpool_put_memory(ctx, ctx->spare, sizeof(*ctx->spare));
}

int wxpool_op_install(struct wxpool_context *ctx, union wxpool_args *args, const void *vec,
		      gfp_t gfp)
{
	const struct wxpool_install *arg = &args->install;
	struct wxpool_inst inst = {
		.ctx = ctx,
		.gfp = gfp,
		.blocks = arg->flags,
		.ranges = vec,
		.nr_ranges = arg->nr_ranges,
	};
	int err;

	if (!arg->pool || arg->flags & ~WXPOOL_INSTALL_BLOCKS || !arg->nr_ranges)
		return -EINVAL;
	inst.buffer = xchg(&ctx->spare, NULL);
	if (!inst.buffer)
		inst.buffer = wxpool_get_memory(ctx, sizeof(*inst.buffer), gfp);
	if (IS_ERR(inst.buffer))
		return PTR_ERR(inst.buffer);
	err = wxpool_stage(&inst);
	if (!err)
		err = wxpool_lock(ctx, gfp);
	if (!err) {
		err = wxpool_install_locked(&inst, arg->pool);
		up_write(&ctx->lock);
	}
	wxpool_put_parts(&inst);
	if (cmpxchg(&ctx->spare, NULL, inst.buffer))
		wxpool_put_memory(ctx, inst.buffer, sizeof(*inst.buffer));
	return err;
}
