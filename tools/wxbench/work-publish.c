// SPDX-License-Identifier: MIT
/*
 * Publishing functions, batch= in a call, each called once right after. live=
 * of them are published before, and not counted.
 */
#include <stdio.h>
#include <stdlib.h>

#include "code.h"
#include "measure.h"

#define WARM_POOL	0x40000000

/**
 * batch_init() - a module of batch= functions
 * @mod: receives it
 * @opt: options
 */
void batch_init(struct module *mod, const struct options *opt)
{
	char *bytes = malloc(opt->batch * opt->size);

	mod->parts = calloc(opt->batch, sizeof(*mod->parts));
	if (!bytes || !mod->parts)
		die("out of memory");
	mod->nr = (unsigned int)opt->batch;
	mod->id = 0;
	for (size_t i = 0; i < opt->batch; i++) {
		code_make(bytes + i * opt->size, opt->size, 0);
		mod->parts[i] = (struct part){
			.kind = CODE, .size = opt->size, .bytes = bytes + i * opt->size,
		};
	}
}

/**
 * publish_batch() - one load
 * @peer: the way
 * @mod: the functions
 * @id: the module's number: its pool
 * @value: what the first function is to return; the others count up from there
 */
void publish_batch(const struct peer *peer, struct module *mod, uint32_t id, uint32_t value)
{
	unsigned int i;

	mod->id = id;
	for (i = 0; i < mod->nr; i++)
		code_set((void *)(uintptr_t)mod->parts[i].bytes, value + i);
	lap(PH_WRITE);
	peer->load(mod);
	for (i = 0; i < mod->nr; i++)
		code_run(mod->parts[i].at, value + i);
	lap(PH_RUN);
}

static void publish_many(const struct options *opt, struct module *mod, size_t loads,
			 size_t pool, uint32_t *value)
{
	while (loads-- > 0) {
		publish_batch(opt->peer, mod, pool ? (uint32_t)pool : *value, *value);
		*value += mod->nr;
	}
}

/* For peers that free a whole pool by the number of the module alone. */
static void warm_up(const struct options *opt, struct module *mod, size_t loads, uint32_t *value)
{
	publish_many(opt, mod, loads, WARM_POOL, value);
	opt->peer->unload(mod);
}

/** work_publish() - cost of one function with live= others there */
void work_publish(const struct options *opt)
{
	size_t before = opt->live / opt->batch, loads = (opt->n + opt->batch - 1) / opt->batch;
	size_t functions = (before + loads * (opt->warm ? 2 : 1)) * opt->batch;
	const char *why = opt->peer->open(functions, functions * round_up(opt->size, 64));
	struct counters c;
	struct module mod;
	uint32_t value = 1;

	print_head("publish");
	if (why) {
		printf(" unavailable=%s", why);
		return;
	}
	batch_init(&mod, opt);
	publish_many(opt, &mod, before, opt->pool, &value);
	if (opt->warm)
		warm_up(opt, &mod, loads, &value);
	measure_start(&c);
	publish_many(opt, &mod, loads, opt->pool, &value);
	measure_stop(&c);
	measure_print(&c, (double)(loads * opt->batch), !opt->busy);
	opt->peer->close();
}
