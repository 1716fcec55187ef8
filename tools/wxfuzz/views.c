// SPDX-License-Identifier: MIT
/*
 * wxfuzz: contexts and their views
 *
 * open:     flags: for which direction, if it is the last context's
 * mmap:     a slot, b first page, nr pages, flags protection
 * badmap:   as mmap, c what is wrong; no address, so that nothing can go
 * munmap, mprotect, madvise, mlock: a slot, b number of slots, flags what
 * poison:   a slot
 * mremap:   a slot, b new slot, c new number, flags: 0 move, 1 copy (old
 *           length 0), 2 move and leave the old view
 */
#include <fcntl.h>

#include "wxfuzz.h"

int view_open_mode(const struct op *op)
{
	if (op->ctx + 1u < NR_CTX)
		return O_RDWR;
	return op->flags & 1 ? O_WRONLY : O_RDONLY;
}

static long do_open(const struct op *op)
{
	int fd = open("/dev/wxpool", view_open_mode(op) | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (dup3(fd, FD_CTX + op->ctx, O_CLOEXEC) < 0)
		abort();
	close(fd);
	memset(&W->ctx[op->ctx], 0, sizeof(W->ctx[0]));
	W->ctx[op->ctx].used = 1;
	W->ctx[op->ctx].owner = me;
	W->ctx[op->ctx].mode = view_open_mode(op);
	W->proc[me].fd[op->ctx] = 1;
	info_open(op->ctx);
	return 0;
}

static long do_close(const struct op *op)
{
	W->proc[me].fd[op->ctx] = 0;
	return close(FD_CTX + op->ctx) ? -errno : 0;
}

static long want_mmap(const struct op *op)
{
	const struct mctx *c = &W->ctx[op->ctx];

	if (c->mode == O_WRONLY || (c->mode == O_RDONLY && op->flags & PROT_WRITE))
		return ERR(EACCES);
	if (op->flags & PROT_WRITE && (c->owner != me || c->owner_gone))
		return ERR(EXDEV);
	return 0;
}

/* Where it fails, older kernels have unmapped what was there. */
static long do_mmap(const struct op *op, long want)
{
	void *at = want ? NULL : slot_addr(op->a), *p;

	p = mmap(at, op->nr * PAGE, op->flags, MAP_SHARED | (at ? MAP_FIXED : 0),
		 FD_CTX + op->ctx, page_offset(op->b));
	if (!want)
		space_map(op->a, op->nr, op->ctx, op->b, op->flags);
	return p == MAP_FAILED ? -errno : 0;
}

static const struct {
	int prot, flags;
	off_t offset;
	long want;
} bad_maps[] = {
	{ PROT_WRITE | PROT_EXEC, MAP_SHARED, 0, ERR(EACCES) },
	{ PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED, 0, ERR(EACCES) },
	{ PROT_READ, MAP_PRIVATE, 0, ERR(EACCES) },
	{ PROT_READ | PROT_EXEC, MAP_PRIVATE, 0, ERR(EACCES) },
	{ PROT_READ | PROT_WRITE, MAP_PRIVATE, 0, ERR(EACCES) },
	{ PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE, 0, ERR(EACCES) },
	{ PROT_READ, MAP_SHARED, 8, ERR(EINVAL) },
	{ PROT_READ, 0, 0, ERR(EINVAL) },
};

#define NR_BAD_MAPS	(sizeof(bad_maps) / sizeof(bad_maps[0]))

void view_bad_map(const struct op *op, int *prot, int *flags, long *offset)
{
	unsigned int i = op->c % NR_BAD_MAPS;

	*prot = bad_maps[i].prot;
	*flags = bad_maps[i].flags;
	*offset = bad_maps[i].offset;
}

static long do_badmap(const struct op *op)
{
	int prot, flags;
	long offset;
	void *p;

	view_bad_map(op, &prot, &flags, &offset);
	p = mmap(NULL, op->nr * PAGE, prot, flags, FD_CTX + op->ctx,
		 page_offset(op->b) + offset);
	return p == MAP_FAILED ? -errno : 0;
}

static long want_badmap(const struct op *op)
{
	return bad_maps[op->c % NR_BAD_MAPS].want;
}

static long do_munmap(const struct op *op)
{
	space_unmap(op->a, op->b);
	return munmap(slot_addr(op->a), op->b * PAGE) ? -errno : 0;
}

static long do_mprotect(const struct op *op)
{
	return mprotect(slot_addr(op->a), op->b * PAGE, op->flags) ? -errno : 0;
}

static bool overlap(const struct op *op, unsigned int old_nr)
{
	return op->a < op->b + op->c && op->b < op->a + old_nr;
}

static long want_mremap(const struct op *op)
{
	struct slot old = W->proc[me].slot[op->a], *to;
	unsigned int old_nr = op->flags == 1 ? 0 : 1, i;

	if (overlap(op, old_nr) || (op->flags == 2 && op->c != 1))
		return ERR(EINVAL);
	if (!old.kind)
		return ERR(EFAULT);
	if (space_special(&old) && op->flags == 2)
		return ERR(EINVAL);
	if (space_special(&old) && (op->flags == 1 || op->c > 1))
		return ERR(EFAULT);
	for (i = 0; i < op->c; i++) {
		to = &W->proc[me].slot[op->b + i];
		*to = old;
		to->page += i;
	}
	if (op->flags == 0)
		space_unmap(op->a, 1);
	if (op->flags == 2)
		W->proc[me].slot[op->a].locked = 0;
	return 0;
}

/* Kernels differ in whether they have made room before they refuse. */
static void forget_unmapped(const struct op *op)
{
	unsigned char vec;
	unsigned int i;

	for (i = op->b; i < op->b + op->c; i++)
		if (mincore(slot_addr(i), PAGE, &vec) && errno == ENOMEM)
			space_unmap(i, 1);
}

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP	4
#endif

static long do_mremap(const struct op *op)
{
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED |
		    (op->flags == 2 ? MREMAP_DONTUNMAP : 0);
	void *p = mremap(slot_addr(op->a), op->flags == 1 ? 0 : PAGE,
			 op->c * PAGE, flags, slot_addr(op->b));

	return p == MAP_FAILED ? -errno : 0;
}

/* ---- madvise */

#define ADV_ODD		1	/* see any_result() */
#define ADV_LRU		2	/* not of a view that is locked */
#define ADV_ANY_VIEW	4	/* not of one that is special */

static const struct {
	int advice;
	int flags;
	long want;
} advices[] = {
	{ MADV_NORMAL, 0, 0 },
	{ MADV_RANDOM, 0, 0 },
	{ MADV_SEQUENTIAL, 0, 0 },
	{ MADV_WILLNEED, 0, 0 },
	{ MADV_DONTNEED, ADV_LRU, 0 },
	{ MADV_DONTFORK, 0, 0 },
	{ MADV_DOFORK, 0, 0 },
	{ MADV_DONTDUMP, 0, 0 },
	{ MADV_DODUMP, ADV_ANY_VIEW, 0 },
	{ 20 /* COLD */, ADV_LRU, 0 },
	{ 21 /* PAGEOUT */, ADV_LRU, 0 },
	{ 22 /* POPULATE_READ */, 0, 0 },
	{ 23 /* POPULATE_WRITE */, 0, 0 },
	{ MADV_FREE, 0, ERR(EINVAL) },
	{ MADV_WIPEONFORK, 0, ERR(EINVAL) },
	{ 10000, 0, ERR(EINVAL) },
	{ MADV_REMOVE, ADV_ODD, 0 },
	{ MADV_HUGEPAGE, ADV_ODD, 0 },
	{ MADV_NOHUGEPAGE, ADV_ODD, 0 },
	{ MADV_MERGEABLE, ADV_ODD, 0 },
	{ 25 /* COLLAPSE */, ADV_ODD, 0 },
	{ 24 /* DONTNEED_LOCKED */, ADV_ODD, 0 },
	{ 102 /* GUARD_INSTALL, then GUARD_REMOVE */, ADV_ODD, 0 },
};

#define NR_ADVICES	(sizeof(advices) / sizeof(advices[0]))

int view_advice(const struct op *op)
{
	return advices[op->flags % NR_ADVICES].advice;
}

/* Newer kernels refuse MADV_DOFORK for special views, as @got says. */
static long advise_slot(unsigned int i, struct slot *s, long got)
{
	int sig;

	if (advices[i].flags & ADV_LRU && s->locked)
		return ERR(EINVAL);
	if (advices[i].flags & ADV_ANY_VIEW && space_special(s))
		return ERR(EINVAL);
	switch (advices[i].advice) {
	case MADV_DONTFORK:
		s->dontcopy = 1;
		return 0;
	case MADV_DOFORK:
		if (space_special(s) && got == ERR(EINVAL))
			return got;
		s->dontcopy = 0;
		return 0;
	case 22:
		if (!(s->prot & PROT_READ))
			return ERR(EINVAL);
		sig = space_read(me, s);
		if (got == ERR(EFAULT) && probe_idle_gone(s))
			return got;
		return sig ? ERR(EFAULT) : 0;
	case 23:
		if (!(s->prot & PROT_WRITE))
			return ERR(EINVAL);
		sig = space_write(me, s);
		return sig ? ERR(EFAULT) : 0;
	}
	return advices[i].want;
}

/*
 * Some depend on the kernel's version or options; so does whether populating
 * stops at a hole or goes on behind it, to another error.
 */
static bool any_result(const struct op *op)
{
	unsigned int i = op->flags % NR_ADVICES, n;

	if (advices[i].flags & ADV_ODD)
		return true;
	if (advices[i].advice != 22 && advices[i].advice != 23)
		return false;
	for (n = 0; n < op->b; n++)
		if (!W->proc[me].slot[op->a + n].kind ||
		    space_poison(me, op->a + n))
			return true;
	return false;
}

static long want_madvise(const struct op *op, long got)
{
	unsigned int i = op->flags % NR_ADVICES, n;
	long hole = 0, err;

	if (advices[i].advice == 10000)
		return ERR(EINVAL);
	for (n = 0; n < op->b; n++) {
		struct slot *s = &W->proc[me].slot[op->a + n];

		if (!s->kind) {
			hole = ERR(ENOMEM);
			continue;
		}
		err = advise_slot(i, s, got);
		if (err)
			return err;
	}
	return hole;
}

static long do_madvise(const struct op *op)
{
	int advice = advices[op->flags % NR_ADVICES].advice;
	long ret = madvise(slot_addr(op->a), op->b * PAGE, advice) ? -errno : 0;

	if (advice == 102)		/* would be seen as a fault */
		madvise(slot_addr(op->a), op->b * PAGE, 103);
	return ret;
}

/* ---- mlock */

static long do_mlock(const struct op *op)
{
	void *p = slot_addr(op->a);
	size_t len = op->b * PAGE;

	switch (op->flags) {
	case 0:
		return mlock(p, len) ? -errno : 0;
	case 1:
		return mlock2(p, len, MLOCK_ONFAULT) ? -errno : 0;
	default:
		return munlock(p, len) ? -errno : 0;
	}
}

/* Unless there is a hole, locking fails if a page cannot be had for it. */
static long want_mlock(const struct op *op, long got)
{
	unsigned int n;

	for (n = 0; n < op->b; n++) {
		struct slot *s = &W->proc[me].slot[op->a + n];

		if (!s->kind)
			return ERR(ENOMEM);
		if (!space_special(s))
			s->locked = op->flags < 2;
	}
	if (op->flags < 2 && (got == ERR(ENOMEM) || got == ERR(EHWPOISON)))
		return got;
	return 0;
}

/* ---- memory errors */

/* The kernel says EBUSY if it cannot do more than note it, as here. */
static long do_poison(const struct op *op)
{
	long ret = madvise(slot_addr(op->a), PAGE, MADV_HWPOISON) ? -errno : 0;

	if (ret == 0 || ret == ERR(EBUSY))
		space_page(me, &W->proc[me].slot[op->a])->poison = 1;
	return ret;
}

static void probe_slots(const struct op *op)
{
	uint64_t rnd = op->rnd;
	unsigned int first = op->a, nr = op->b;

	if (op->kind == OP_MMAP)
		nr = op->nr;
	if (op->kind == OP_POISON)
		nr = 1;
	if (op->kind == OP_MREMAP) {
		first = op->b;
		nr = op->c;
		probe_slot(op->a, splitmix(&rnd));
	}
	probe_slot(first + rnd % nr, splitmix(&rnd));
	probe_slot(first + nr - 1, splitmix(&rnd));
}

long view_do(const struct op *op)
{
	long want = 0, ret;

	switch (op->kind) {
	case OP_OPEN:
		ret = do_open(op);
		expect_ret(op, 0, ret);
		return ret;
	case OP_CLOSE:
		ret = do_close(op);
		expect_ret(op, 0, ret);
		return ret;
	case OP_MMAP:
		want = want_mmap(op);
		ret = do_mmap(op, want);
		break;
	case OP_BADMAP:
		want = want_badmap(op);
		ret = do_badmap(op);
		break;
	case OP_MUNMAP:
		ret = do_munmap(op);
		break;
	case OP_MPROTECT:
		want = space_mprotect(op->a, op->b, op->flags);
		ret = do_mprotect(op);
		break;
	case OP_MREMAP:
		want = want_mremap(op);
		ret = do_mremap(op);
		if (ret)
			forget_unmapped(op);
		break;
	case OP_MLOCK:
		ret = do_mlock(op);
		want = want_mlock(op, ret);
		break;
	case OP_POISON:
		want = ret = do_poison(op);
		break;
	default:
		ret = do_madvise(op);
		want = want_madvise(op, ret);
		if (any_result(op))
			want = ret;
		break;
	}
	space_settle();
	expect_ret(op, want, ret);
	if (op->kind != OP_BADMAP && probe_due(op))
		probe_slots(op);
	return ret;
}
