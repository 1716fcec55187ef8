// SPDX-License-Identifier: MIT
/* Installing: bytes go to spans, each line once. */
#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

_Static_assert(MAX_BATCH <= WXPOOL_MAX_RANGES, "a batch is one call");

/* How far through the pieces a call has come. */
struct cursor {
	size_t i, done;
};

/* Where the span begins that @rel, a line that is held, is part of. */
static uint32_t span_first(const struct zone *zone, uint32_t rel)
{
	uint32_t i = rel / 64;
	uint64_t word = zone->first[i] & ~0ull >> (63 - rel % 64);

	while (!word)
		word = zone->first[--i];
	return i * 64 + 63 - (uint32_t)__builtin_clzll(word);
}

/* Whether all the lines are of one span, which is the pool's. */
static bool is_of_pool(const struct zone *zone, uint32_t rel, uint32_t nr, uint32_t id)
{
	return bits_all(zone->held, rel, nr) && !bits_any(zone->first, rel + 1, nr - 1) &&
	       zone->info[span_first(zone, rel)].owner == id;
}

/* The same for a span's first lines, within one word: that is the common case. */
static inline bool is_begin_of_pool(const struct zone *zone, uint32_t rel, uint64_t mask,
				    uint32_t id)
{
	return (zone->held[rel / 64] & mask) == mask &&
	       (zone->first[rel / 64] & mask) == 1ull << rel % 64 && zone->info[rel].owner == id;
}

static inline int mark_lines(struct zone *zone, uint32_t rel, uint32_t nr, uint32_t id)
{
	uint64_t mask = in_one_word(rel, nr) ? bits_mask(rel, nr) : 0;

	if (mask && is_begin_of_pool(zone, rel, mask, id)) {
		if (zone->live[rel / 64] & mask)
			return -EEXIST;
		zone->live[rel / 64] |= mask;
		return 0;
	}
	if (!is_of_pool(zone, rel, nr, id))
		return -EINVAL;
	if (bits_any(zone->live, rel, nr))
		return -EEXIST;
	bits_set(zone->live, rel, nr);
	return 0;
}

/*
 * Counts a piece as installed, if it is within a span of the pool, and fills
 * in its range, if there is one.
 */
static inline int mark_piece(const struct wxp *w, const struct pool *pool,
			     const struct wxp_piece *piece, struct wxpool_install_range *range)
{
	size_t offset = (uintptr_t)piece->addr - (uintptr_t)w->base;
	uint32_t line = (uint32_t)(offset / WXP_LINE), nr = lines_for(piece->size);
	struct zone *zone;
	int ret;

	if (offset >= w->size || offset % WXP_LINE || piece->size - 1 >= w->size - offset)
		return -EINVAL;
	zone = zone_at(w, line);
	if (!zone || zone->prot == WXP_RW || nr > zone->nr_lines - (line - zone->start))
		return -EINVAL;
	ret = mark_lines(zone, line - zone->start, nr, pool->id);
	if (ret)
		return ret;
	if (range)
		*range = (struct wxpool_install_range){
			.offset = offset,
			.length = piece->size,
			.source = (uintptr_t)piece->src,
			.prot = device_prot(zone->prot),
		};
	return 0;
}

static void lines_unmark(struct wxp *w, struct pool *pool, size_t offset, size_t bytes)
{
	uint32_t line = (uint32_t)(offset / WXP_LINE), nr = lines_for(bytes);
	struct zone *zone = zone_at(w, line);

	bits_clear(zone->live, line - zone->start, nr);
	pool->placed.live -= nr;
	w->placed.live -= nr;
}

static void unmark_pieces(struct wxp *w, struct pool *pool, const struct wxp_piece *pieces,
			  struct cursor c, size_t nr)
{
	for (; c.i < nr; c.i++, c.done = 0)
		lines_unmark(w, pool, (size_t)((char *)pieces[c.i].addr - w->base) + c.done,
			     pieces[c.i].size - c.done);
}

/* @ranges: room for the first MAX_BATCH */
static int mark_pieces(struct wxp *w, struct pool *pool, const struct wxp_piece *pieces, size_t nr,
		       struct wxpool_install_range *ranges)
{
	uint32_t lines = 0;
	int ret = 0;
	size_t i;

	for (i = 0; i < nr; i++) {
		ret = mark_piece(w, pool, &pieces[i], i < MAX_BATCH ? &ranges[i] : NULL);
		if (ret)
			break;
		lines += lines_for(pieces[i].size);
	}
	pool->placed.live += lines;
	w->placed.live += lines;
	if (ret)
		unmark_pieces(w, pool, pieces, (struct cursor){ 0 }, i);
	return ret;
}

/* Lists as much as one call takes, from @c on. */
static unsigned int next_ranges(const struct wxp *w, const struct wxp_piece *pieces, size_t nr,
				struct cursor *c, struct wxpool_install_range *ranges)
{
	size_t room = WXPOOL_MAX_INSTALL, offset, len;
	const struct wxp_piece *p;
	unsigned int n = 0;

	while (c->i < nr && n < MAX_BATCH && room) {
		p = &pieces[c->i];
		offset = (size_t)((char *)p->addr - w->base) + c->done;
		len = min_size(p->size - c->done, room);
		ranges[n++] = (struct wxpool_install_range){
			.offset = offset,
			.length = len,
			.source = (uintptr_t)p->src + c->done,
			.prot = device_prot(zone_at(w, (uint32_t)(offset / WXP_LINE))->prot),
		};
		room -= round_up(len, WXP_LINE);
		c->done += len;
		if (c->done == p->size)
			*c = (struct cursor){ c->i + 1, 0 };
	}
	return n;
}

void install_op(const struct wxp *w, struct wxpool_install *op, uint32_t id,
		const struct wxpool_install_range *ranges, unsigned int nr)
{
	*op = (struct wxpool_install){
		.size = sizeof(*op),
		.pool = id,
		.context = w->context,
		.ranges = (uintptr_t)ranges,
		.nr_ranges = nr,
		.flags = w->flags & WXP_HUGE ? WXPOOL_INSTALL_BLOCKS : 0,
	};
}

/* More than one call takes. */
static int install_parts(struct wxp *w, struct pool *pool, const struct wxp_piece *pieces,
			 size_t nr)
{
	struct cursor c = { 0 }, before;
	unsigned int n;
	int ret = 0;

	while (!ret && c.i < nr) {
		before = c;
		n = next_ranges(w, pieces, nr, &c, w->ranges);
		ret = w->ops->install(w, pool, w->ranges, n);
	}
	if (ret)
		unmark_pieces(w, pool, pieces, before, nr);
	return ret;
}

/* Whether one call can take it all. */
bool install_fits(const struct wxp_piece *pieces, size_t nr)
{
	size_t room = WXPOOL_MAX_INSTALL, i;

	if (nr > MAX_BATCH)
		return false;
	for (i = 0; i < nr; i++) {
		if (pieces[i].size > room)
			return false;
		room -= round_up(pieces[i].size, WXP_LINE);
	}
	return true;
}

int install_locked(struct wxp *w, uint32_t id, const struct wxp_piece *pieces, size_t nr)
{
	struct pool *pool = pool_find(w, id);
	int ret;

	if (!pieces || !nr)
		return -EINVAL;
	ret = pool ? mark_pieces(w, pool, pieces, nr, w->ranges) : -ENOENT;
	if (ret)
		return ret;
	if (!install_fits(pieces, nr))
		return install_parts(w, pool, pieces, nr);
	ret = w->ops->install(w, pool, w->ranges, (unsigned int)nr);
	if (ret)
		unmark_pieces(w, pool, pieces, (struct cursor){ 0 }, nr);
	return ret;
}

WXP_EXPORT int wxp_install(struct wxp *w, uint32_t id, const struct wxp_piece *pieces, size_t nr)
{
	int ret = wxp_enter_change(w);

	if (ret)
		return ret;
	ret = install_locked(w, id, pieces, nr);
	wxp_leave(w);
	return ret;
}

/* Counts as installed from here on, until install_done() says otherwise. */
int install_prepare(struct wxp *w, uint32_t id, const struct wxp_piece *pieces, size_t nr,
		    struct wxpool_install *op, struct wxpool_install_range *ranges)
{
	struct pool *pool = pool_find(w, id);
	int ret = pool ? mark_pieces(w, pool, pieces, nr, ranges) : -ENOENT;

	if (ret)
		return ret;
	pool->in_flight++;
	install_op(w, op, id, ranges, (unsigned int)nr);
	return 0;
}

int install_done(struct wxp *w, const struct wxpool_install *op, int result)
{
	const struct wxpool_install_range *ranges = (void *)(uintptr_t)op->ranges;
	struct pool *pool = pool_find(w, op->pool);
	uint32_t i;

	if (!pool || !pool->in_flight)
		return -EINVAL;
	pool->in_flight--;
	if (!result)
		pool->on_device = true;
	for (i = 0; i < op->nr_ranges && result; i++)
		lines_unmark(w, pool, ranges[i].offset, ranges[i].length);
	return result;
}

WXP_EXPORT int wxp_install_prepare(struct wxp *w, uint32_t id, const struct wxp_piece *pieces,
				   size_t nr, struct wxpool_install *op,
				   struct wxpool_install_range *ranges)
{
	int ret = wxp_enter_change(w);

	if (ret)
		return ret;
	if (w->fd < 0)
		ret = -EOPNOTSUPP;
	else if (!pieces || !nr || !op || !ranges || !install_fits(pieces, nr))
		ret = -EINVAL;
	else
		ret = install_prepare(w, id, pieces, nr, op, ranges);
	wxp_leave(w);
	return ret;
}

/*
 * A system call returns with all processor state fresh; a completion may be read
 * from memory without one, and then on arm64 the thread has to see to it.
 */
static void sync_this_thread(void)
{
#ifdef __aarch64__
	__asm__ volatile("isb" : : : "memory");
#endif
}

WXP_EXPORT int wxp_install_done(struct wxp *w, const struct wxpool_install *op, int result)
{
	int ret = wxp_enter(w);

	if (ret)
		return ret;
	ret = op && result <= 0 ? install_done(w, op, result) : -EINVAL;
	wxp_leave(w);
	sync_this_thread();
	return ret;
}

static int membarrier(struct wxp *w, int cmd)
{
	w->syscalls++;
	return syscall(SYS_membarrier, cmd, 0, 0) < 0 ? -errno : 0;
}

WXP_EXPORT int wxp_sync_cores(struct wxp *w)
{
	int ret = wxp_enter(w);

	if (ret)
		return ret;
	ret = membarrier(w, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE);
	if (ret == -EPERM) {
		/* The first call of this process. */
		ret = membarrier(w, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE);
		if (!ret)
			ret = membarrier(w, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE);
	}
	wxp_leave(w);
	return ret == -EINVAL ? -ENOSYS : ret;
}
