// SPDX-License-Identifier: MIT
/*
 * A module's whole life: load, touch, unload. live= of them exist at a time:
 * the oldest goes before another is loaded.
 */
#include <stdio.h>
#include <stdlib.h>

#include "code.h"
#include "measure.h"

static const size_t sizes[3] = { [CODE] = 8192, [RODATA] = 4096, [DATA] = 4096 };

struct ring {
	struct module *mods;
	size_t live, next;
	uint32_t id;
};

static void ring_init(struct ring *ring, size_t live)
{
	struct part *parts = calloc(live, 3 * sizeof(*parts));

	ring->mods = calloc(live, sizeof(*ring->mods));
	if (!ring->mods || !parts)
		die("out of memory");
	for (size_t i = 0; i < live; i++)
		module_init(&ring->mods[i], &parts[3 * i], sizes);
	ring->live = live;
	ring->next = 0;
	ring->id = 0;
}

static void step(const struct peer *peer, struct ring *ring, bool full)
{
	struct module *mod = &ring->mods[ring->next];

	if (full) {
		peer->unload(mod);
		lap(PH_FREE);
	}
	mod->id = ++ring->id;
	peer->load(mod);
	module_touch(mod);
	lap(PH_RUN);
	ring->next = (ring->next + 1) % ring->live;
}

/** work_module() - instructions and calls of one module's life */
void work_module(const struct options *opt)
{
	size_t bytes = sizes[CODE] + sizes[RODATA] + sizes[DATA];
	const char *why = opt->peer->open(opt->live + 1, bytes * (opt->live + 1));
	struct counters c;
	struct ring ring;
	size_t i;

	print_head("module");
	if (why || !opt->peer->unload) {
		printf(" unavailable=%s", why ? why : "cannot-unload");
		return;
	}
	ring_init(&ring, opt->live);
	for (i = 0; i < opt->live; i++)
		step(opt->peer, &ring, false);
	for (i = 0; i < 2 * opt->live; i++)	/* warm */
		step(opt->peer, &ring, true);
	measure_start(&c);
	for (i = 0; i < opt->n; i++)
		step(opt->peer, &ring, true);
	measure_stop(&c);
	measure_print(&c, (double)opt->n, !opt->busy);
	opt->peer->close();
}
