// SPDX-License-Identifier: MIT
/*
 * The fast backend: code and read-only data are readable, writable and
 * executable from the start, and protecting them does nothing.
 */
#include <errno.h>
#include <sys/mman.h>

#include "internal.h"

#define PROT_ALL	(PROT_READ | PROT_WRITE | PROT_EXEC)

static int fast_open(struct wxp *w)
{
	int ret = window_map(w, 0, w->nr_pages, PROT_ALL);

	return ret == -EACCES ? -EPERM : ret;
}

static void fast_close(struct wxp *w, bool forked)
{
	(void)w;
	(void)forked;
}

static int fast_grant(struct wxp *w, struct pool *pool, struct run **runs, unsigned int nr)
{
	(void)w;
	(void)pool;
	(void)runs;
	(void)nr;
	return 0;
}

static int fast_seal(struct wxp *w, struct pool *pool, struct run **runs, unsigned int nr)
{
	unsigned int i;

	(void)w;
	(void)pool;
	for (i = 0; i < nr; i++)
		runs[i]->state = RUN_DONE;
	return 0;
}

static int fast_drop(struct wxp *w, struct pool *pool)
{
	static const enum wxp_prot prots[] = { WXP_R, WXP_RX };
	struct run *run;
	int i;

	for (i = 0; i < 2; i++) {
		for (run = pool->bins[prots[i]].fresh; run; run = run->next)
			window_discard(w, run);
		for (run = pool->bins[prots[i]].done; run; run = run->next)
			window_discard(w, run);
	}
	return 0;
}

const struct wxp_ops wxp_fast_ops = {
	.name = "fast",
	.unused = PROT_ALL,
	.open = fast_open,
	.close = fast_close,
	.grant = fast_grant,
	.seal = fast_seal,
	.drop = fast_drop,
};
