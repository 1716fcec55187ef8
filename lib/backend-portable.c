// SPDX-License-Identifier: MIT
/*
 * The portable backend: anonymous memory and mprotect(). Never writable and
 * executable at once, but nothing stops the process from undoing it.
 */
#include <errno.h>
#include <sys/mman.h>

#include "internal.h"

/* A security policy is better met here than at the first wxp_protect(). */
static int portable_open(struct wxp *w)
{
	struct run run = { .page = 0, .nr = 1 };
	int ret = window_protect(w, &run, PROT_READ | PROT_WRITE);

	if (!ret) {
		*(volatile char *)w->base = 0;
		ret = window_protect(w, &run, PROT_READ | PROT_EXEC);
	}
	if (ret == -EACCES)
		ret = -EPERM;
	return ret ? ret : window_map(w, 0, 1, PROT_NONE);
}

static void portable_close(struct wxp *w, bool forked)
{
	(void)w;
	(void)forked;
}

static void take_back(struct wxp *w, const struct run *run)
{
	/* At the limit of mappings it can still be emptied. */
	if (window_map(w, run->page, run->nr, PROT_NONE))
		madvise(page_addr(w, run->page), run_bytes(w, run), MADV_DONTNEED);
}

static int portable_grant(struct wxp *w, struct pool *pool, struct run **runs, unsigned int nr)
{
	unsigned int i;
	int ret = 0;

	(void)pool;
	for (i = 0; i < nr && !ret; i++)
		ret = window_protect(w, runs[i], PROT_READ | PROT_WRITE);
	if (ret)
		while (--i)
			take_back(w, runs[i - 1]);
	return ret;
}

static int portable_seal(struct wxp *w, struct pool *pool, struct run **runs, unsigned int nr)
{
	unsigned int i;
	int ret;

	(void)pool;
	for (i = 0; i < nr; i++) {
		ret = window_protect(w, runs[i],
				     runs[i]->prot == WXP_RX ? PROT_READ | PROT_EXEC : PROT_READ);
		if (ret)
			return ret == -EACCES ? -EPERM : ret;
		runs[i]->state = RUN_DONE;
	}
	return 0;
}

static int portable_drop(struct wxp *w, struct pool *pool)
{
	static const enum wxp_prot prots[] = { WXP_R, WXP_RX };
	struct run *run;
	int i;

	for (i = 0; i < 2; i++) {
		for (run = pool->bins[prots[i]].fresh; run; run = run->next)
			take_back(w, run);
		for (run = pool->bins[prots[i]].done; run; run = run->next)
			take_back(w, run);
	}
	return 0;
}

const struct wxp_ops wxp_portable_ops = {
	.name = "portable",
	.unused = PROT_NONE,
	.open = portable_open,
	.close = portable_close,
	.grant = portable_grant,
	.seal = portable_seal,
	.drop = portable_drop,
};
