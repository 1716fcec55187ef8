// SPDX-License-Identifier: MIT
/*
 * Churn: live= functions exist, each with a lifetime of its own; n= times one of
 * them, at random, is freed and another published.
 */
#include <stdio.h>
#include <stdlib.h>

#include "code.h"
#include "measure.h"

struct set {
	struct module *mods;
	struct part *parts;
	uint32_t id;
};

static void set_init(struct set *set, const struct options *opt)
{
	struct module one;

	batch_init(&one, opt);
	set->mods = calloc(opt->live, sizeof(*set->mods));
	set->parts = calloc(opt->live, sizeof(*set->parts));
	if (!set->mods || !set->parts)
		die("out of memory");
	for (size_t i = 0; i < opt->live; i++) {
		set->parts[i] = one.parts[0];
		set->mods[i] = (struct module){ .nr = 1, .parts = &set->parts[i] };
	}
	set->id = 0;
}

static void replace(const struct peer *peer, struct set *set, size_t i)
{
	peer->unload(&set->mods[i]);
	lap(PH_FREE);
	set->id++;
	publish_batch(peer, &set->mods[i], set->id, set->id);
}

/** work_churn() - cost of a free and a publish among live= functions */
void work_churn(const struct options *opt)
{
	const char *why = opt->peer->open(opt->live + 1, (opt->live + 1) * round_up(opt->size, 64));
	struct counters c;
	struct set set;
	size_t i;

	print_head("churn");
	if (why || !opt->peer->unload) {
		printf(" unavailable=%s", why ? why : "cannot-unload");
		return;
	}
	set_init(&set, opt);
	for (i = 0; i < opt->live; i++) {
		set.id++;
		publish_batch(opt->peer, &set.mods[i], set.id, set.id);
	}
	for (i = 0; i < opt->n / 10; i++)	/* warm */
		replace(opt->peer, &set, random_below(opt->live));
	measure_start(&c);
	for (i = 0; i < opt->n; i++)
		replace(opt->peer, &set, random_below(opt->live));
	measure_stop(&c);
	measure_print(&c, (double)opt->n, !opt->busy);
	opt->peer->close();
}
