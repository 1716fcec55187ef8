// SPDX-License-Identifier: MIT
/*
 * Freeing a pool of n= functions, with live= others there: linear in the pool's
 * own size, or not.
 */
#include <stdio.h>

#include "code.h"
#include "measure.h"

#define OTHERS	1
#define POOL	2

static void fill(const struct options *opt, struct module *mod, uint32_t pool, size_t functions)
{
	size_t i;

	for (i = 0; i < functions; i += mod->nr)
		publish_batch(opt->peer, mod, pool, (uint32_t)i);
}

/** work_free() - instructions for each function of a pool that is freed */
void work_free(const struct options *opt)
{
	size_t functions = opt->live + opt->n + 2 * opt->batch;
	const char *why = opt->peer->open(functions, functions * round_up(opt->size, 64));
	struct counters c;
	struct module mod;

	print_head("free");
	if (why || !opt->peer->unload) {
		printf(" unavailable=%s", why ? why : "cannot-unload");
		return;
	}
	batch_init(&mod, opt);
	fill(opt, &mod, OTHERS, opt->live);
	fill(opt, &mod, POOL, opt->n);
	measure_start(&c);
	opt->peer->unload(&mod);
	lap(PH_FREE);
	measure_stop(&c);
	measure_print(&c, (double)round_up(opt->n, opt->batch), !opt->busy);
	opt->peer->close();
}
