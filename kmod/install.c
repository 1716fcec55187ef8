// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: INSTALL puts bytes into lines of packed pages, all of a vector or none
 *
 * 1. Without a lock, the bytes are copied from the user: into a buffer or, if there are many,
 *    those of whole pages and blocks into new ones.
 * 2. Under the context's lock all lines are claimed. A new page takes the place of an absent one.
 * 3. What is not in place yet is copied there. Nothing can fail any more, so nothing of a call that
 *    fails was ever in an executable page.
 */
#include "internal.h"
#include "trace.h"

/* Adjacent lines: a run of ranges that adjoin; of large calls a page, a block, or what is left */
struct wxpool_part {
	u64 line;
	u32 nr;
	enum wxpool_state state;
	void *bytes;			/* full lines; NULL once they are where they belong */
	struct wxpool_region *region;	/* of the new page or block that they are in, or NULL */
};

/* The context keeps one of %WXPOOL_FEW runs, so that a function or a module needs no memory. */
struct wxpool_buffer {
	u64 bytes[(SZ_32K - SZ_4K) / sizeof(u64)];
	struct wxpool_part runs[];	/* and as many ranges */
};

#define WXPOOL_FEW	64
#define WXPOOL_BUFFER_SIZE(_nr)	(sizeof(struct wxpool_buffer) +			\
	(_nr) * (sizeof(struct wxpool_part) + sizeof(struct wxpool_install_range)))

/* One INSTALL on its way */
struct wxpool_inst {
	struct wxpool_context *ctx;
	struct wxpool_buffer *buffer;
	gfp_t gfp;
	bool blocks;			/* prefer them */
	const struct wxpool_install_range *ranges;
	u32 nr_ranges, nr_runs, nr_parts;
	struct wxpool_part *runs, *parts;	/* the same, if none is split */
	void *bytes;			/* if they are: for what goes to pages that are there */
	size_t nr_bytes;
	const struct wxpool_part *at;	/* where the next byte goes, and after how many of it */
	u32 pos;
	u64 nr_lines;			/* of all */
	u64 nr_claimed;			/* of them, from the first */
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
			inst->nr_runs++;
			*++run = (struct wxpool_part){
				.line = range->offset >> WXPOOL_LINE_SHIFT,
				.state = range->prot,
				.bytes = (void *)inst->buffer->bytes +
					 (inst->nr_lines << WXPOOL_LINE_SHIFT),
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

static bool wxpool_is_full(u64 line, u64 left, unsigned int order)
{
	return left >= WXPOOL_LINES << order && !(line % (WXPOOL_LINES << order));
}

/* The next part of a run, of which @left lines are left: a block, a page, or less */
static int wxpool_split_off(struct wxpool_inst *inst, struct wxpool_part *part, u64 left)
{
	unsigned int order = inst->blocks ? WXPOOL_BLOCK_ORDER : 0;
	struct wxpool_region *region;

	part->nr = min(left, WXPOOL_LINES - part->line % WXPOOL_LINES);
	if (!wxpool_is_full(part->line, left, order))
		return 0;
	region = wxpool_packed_new(inst->ctx, order, part->state, inst->gfp);
	if (IS_ERR(region))
		return inst->blocks ? 0 : PTR_ERR(region);
	part->nr = region->nr_pages << WXPOOL_LINES_SHIFT;
	part->region = region;
	part->bytes = page_address(region->page);
	return 0;
}

static int wxpool_split_run(struct wxpool_inst *inst, const struct wxpool_part *run)
{
	u64 line = run->line, end = run->line + run->nr;
	struct wxpool_part *part;
	int err;

	for (; line < end; line += part->nr) {
		part = &inst->parts[inst->nr_parts];
		*part = (struct wxpool_part){ .line = line, .state = run->state };
		err = wxpool_pause() ?: wxpool_split_off(inst, part, end - line);
		if (err)
			return err;
		inst->nr_parts++;
		if (!part->region)
			inst->nr_bytes += part->nr << WXPOOL_LINE_SHIFT;
	}
	return 0;
}

static int wxpool_get_bytes(struct wxpool_inst *inst)
{
	struct wxpool_part *part = inst->parts, *stop = part + inst->nr_parts;
	void *bytes = kvmalloc(inst->nr_bytes, inst->gfp);

	inst->bytes = bytes;
	for (; bytes && part < stop; part++) {
		part->bytes = part->region ? part->bytes : bytes;
		bytes += part->region ? 0 : part->nr << WXPOOL_LINE_SHIFT;
	}
	return bytes ? 0 : -ENOMEM;
}

/* Bytes of whole pages of a large call, or whole blocks, are copied once if these are absent. */
static int wxpool_split_runs(struct wxpool_inst *inst)
{
	/* Its pages, and less than a page at each end of a run */
	u32 nr = 2 * inst->nr_runs + (inst->nr_lines >> WXPOOL_LINES_SHIFT), i;
	int err = 0;

	inst->parts = kvmalloc_array(nr, sizeof(*inst->parts), inst->gfp);
	if (!inst->parts)
		return -ENOMEM;
	for (i = 0; i < inst->nr_runs && !err; i++)
		err = wxpool_split_run(inst, &inst->runs[i]);
	return err ?: wxpool_get_bytes(inst);
}

static int wxpool_find_parts(struct wxpool_inst *inst)
{
	u64 end = 0;
	u32 i;
	int err;

	for (i = 0; i < inst->nr_ranges; i++) {
		err = wxpool_add_range(inst, &inst->ranges[i], &end);
		if (err)
			return err;
	}
	if (inst->nr_lines << WXPOOL_LINE_SHIFT > sizeof(inst->buffer->bytes))
		return wxpool_split_runs(inst);
	inst->parts = inst->runs;
	inst->nr_parts = inst->nr_runs;
	return 0;
}

static void wxpool_advance(struct wxpool_inst *inst, u32 n)
{
	inst->pos += n;
	if (inst->pos == inst->at->nr << WXPOOL_LINE_SHIFT) {
		inst->at++;
		inst->pos = 0;
	}
}

static int wxpool_copy_range(struct wxpool_inst *inst, const struct wxpool_install_range *range)
{
	const void __user *from = u64_to_user_ptr(range->source);
	u32 left = range->length, n;
	int err;

	for (;;) {
		n = min_t(u32, left, PAGE_SIZE);
		n = min(n, (inst->at->nr << WXPOOL_LINE_SHIFT) - inst->pos);
		if (wxpool_copy_words(inst->at->bytes + inst->pos, from, n))
			return -EFAULT;
		wxpool_advance(inst, n);
		left -= n;
		if (!left)
			return 0;
		from += n;
		err = wxpool_pause();
		if (err)
			return err;
	}
}

/* What is left of the line */
static void wxpool_pad(struct wxpool_inst *inst)
{
	u8 fill[WXPOOL_LINE_SIZE] __aligned(sizeof(u64));
	u32 used = inst->pos % WXPOOL_LINE_SIZE;

	wxpool_fill(fill, inst->at->state, sizeof(fill));
	memcpy(inst->at->bytes + inst->pos, fill + used, sizeof(fill) - used);
	wxpool_advance(inst, sizeof(fill) - used);
}

static int wxpool_stage(struct wxpool_inst *inst, u64 addr)
{
	struct wxpool_install_range *range = (void *)(inst->runs + inst->nr_ranges);
	struct wxpool_install_range *stop = range + inst->nr_ranges;
	int err;

	if (wxpool_copy_words(range, u64_to_user_ptr(addr), (void *)stop - (void *)range))
		return -EFAULT;
	inst->ranges = range;
	err = wxpool_find_parts(inst);
	inst->at = inst->parts;
	for (; range < stop && !err; range++) {
		err = wxpool_copy_range(inst, range);
		if (inst->pos % WXPOOL_LINE_SIZE && (range + 1 == stop || !range[1].flags))
			wxpool_pad(inst);
	}
	return err;
}

/* Lets its new page or block take its place, if that is absent. */
static int wxpool_insert_part(struct wxpool_inst *inst, struct wxpool_part *part)
{
	int err;

	if (!part->region)
		return 0;
	err = wxpool_packed_insert(inst->ctx, part->region, part->line >> WXPOOL_LINES_SHIFT);
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
		region = wxpool_packed_get(inst->ctx, line, end - line, part->state, inst->blocks);
		if (IS_ERR(region))
			return PTR_ERR(region);
		nr = wxpool_lines_of_region(region, line, end);
		err = wxpool_claim_lines(inst->ctx, region, line, nr);
		if (err)
			return err;
		inst->nr_claimed += nr;
		if (wxpool_are_broken(region, line, nr))
			return -EHWPOISON;
		/* Each may have needed a block to be made. */
		err = wxpool_pause();
		if (err)
			return err;
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
		wxpool_end_extent(&ending, &claimed);
	}
	wxpool_unmap_ended(&ending);
}

static void wxpool_trace_inst(const struct wxpool_inst *inst, u32 id)
{
	u64 nr_exec = 0;
	u32 i;

	for (i = 0; i < inst->nr_runs; i++)
		nr_exec += inst->runs[i].state != WXPOOL_SEALED_R ? inst->runs[i].nr : 0;
	trace_wxpool_install(inst->ctx, id, inst->nr_ranges, inst->nr_lines << WXPOOL_LINE_SHIFT,
			     nr_exec << WXPOOL_LINE_SHIFT);
}

static int wxpool_install_locked(struct wxpool_inst *inst, u32 id)
{
	struct wxpool_pool *pool = wxpool_pool_get(inst->ctx, id);
	struct wxpool_part *part, *stop = inst->parts + inst->nr_parts;
	int err;

	if (IS_ERR(pool))
		return PTR_ERR(pool);
	err = wxpool_pool_room(inst->ctx, pool, inst->nr_runs);
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
	if (trace_wxpool_install_enabled())
		wxpool_trace_inst(inst, id);
	return 0;
}

static void wxpool_put_parts(struct wxpool_inst *inst)
{
	u32 i;

	if (inst->parts == inst->runs)
		return;
	for (i = 0; i < inst->nr_parts; i++) {
		/* It has found no place. */
		if (inst->parts[i].region)
			wxpool_packed_free(inst->ctx, inst->parts[i].region);
		cond_resched();
	}
	kvfree(inst->bytes);
	kvfree(inst->parts);
}

/* Not charged, as with any other system call, if it is for this call alone */
static int wxpool_get_buffer(struct wxpool_inst *inst)
{
	struct wxpool_buffer *buffer;

	if (inst->nr_ranges > WXPOOL_FEW)
		buffer = kvmalloc(WXPOOL_BUFFER_SIZE(inst->nr_ranges), inst->gfp) ?:
			 ERR_PTR(-ENOMEM);
	else
		buffer = xchg(&inst->ctx->spare, NULL) ?:
			 wxpool_get_memory(inst->ctx, WXPOOL_BUFFER_SIZE(WXPOOL_FEW), inst->gfp);
	if (IS_ERR(buffer))
		return PTR_ERR(buffer);
	inst->buffer = buffer;
	inst->runs = buffer->runs;
	return 0;
}

static void wxpool_put_buffer(struct wxpool_inst *inst)
{
	if (inst->nr_ranges > WXPOOL_FEW)
		kvfree(inst->buffer);
	else if (cmpxchg(&inst->ctx->spare, NULL, inst->buffer))
		wxpool_put_memory(inst->ctx, inst->buffer, WXPOOL_BUFFER_SIZE(WXPOOL_FEW));
}

/* With the context for nobody else */
void wxpool_free_spare(struct wxpool_context *ctx)
{
	if (ctx->spare)
		wxpool_put_memory(ctx, ctx->spare, WXPOOL_BUFFER_SIZE(WXPOOL_FEW));
}

int wxpool_op_install(struct wxpool_context *ctx, union wxpool_args *args, const void *vec,
		      gfp_t gfp)
{
	const struct wxpool_install *arg = &args->install;
	struct wxpool_inst inst = {
		.ctx = ctx,
		.gfp = gfp,
		.blocks = arg->flags && WXPOOL_HAS_BLOCKS,
		.nr_ranges = arg->nr_ranges,
	};
	int err;

	if (!arg->pool || arg->flags & ~WXPOOL_INSTALL_BLOCKS || !arg->nr_ranges ||
	    arg->nr_ranges > WXPOOL_MAX_RANGES)
		return -EINVAL;
	err = wxpool_get_buffer(&inst);
	if (err)
		return err;
	err = wxpool_stage(&inst, arg->ranges) ?: wxpool_lock(ctx, gfp);
	if (!err) {
		err = wxpool_install_locked(&inst, arg->pool);
		up_write(&ctx->lock);
	}
	wxpool_put_parts(&inst);
	wxpool_put_buffer(&inst);
	return err;
}
