// SPDX-License-Identifier: MIT
/*
 * Code of size= bytes, in 64 pieces, published by one load() and then run once
 * in each page: page faults, and how much of it is mapped by huge pages.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "code.h"
#include "measure.h"

/* Bytes that huge pages map, of any kind, in the whole process. */
static int64_t huge_bytes(void)
{
	static const char *const rows[] = { "AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:" };

	return measure_rows("/proc/self/smaps_rollup", rows, ARRAY_SIZE(rows));
}

static void run_all(const struct module *mod, size_t piece)
{
	for (unsigned int i = 0; i < mod->nr; i++)
		for (size_t at = 0; at < piece; at += PAGE)
			code_run(mod->parts[i].at + at, 1);
	lap(PH_RUN);
}

static void print_phase(const char *name, const struct counters *c)
{
	printf(" %s_instructions=%lu %s_faults=%ld", name, (unsigned long)c->instructions,
	       name, (long)c->faults);
}

/** work_footprint() - page faults of publishing size= bytes, and of running them */
void work_footprint(const struct options *opt)
{
	struct options pieces = *opt;
	struct counters load, run;
	struct module mod;
	const char *why;
	long huge;

	pieces.batch = MAX_PARTS;
	pieces.size = opt->size / MAX_PARTS;
	why = opt->peer->open(1, opt->size);
	print_head("footprint");
	if (why) {
		printf(" unavailable=%s", why);
		return;
	}
	batch_init(&mod, &pieces);
	for (unsigned int i = 0; i < mod.nr; i++)
		code_make((void *)(uintptr_t)mod.parts[i].bytes, pieces.size, 1);
	mod.id = 1;
	huge = huge_bytes();
	measure_start(&load);
	opt->peer->load(&mod);
	measure_stop(&load);
	measure_start(&run);
	run_all(&mod, pieces.size);
	measure_stop(&run);
	print_phase("load", &load);
	print_phase("run", &run);
	printf(" faults=%ld calls=%ld vmas=%ld huge=%ld", (long)(load.faults + run.faults),
	       (long)(load.calls + run.calls), (long)(load.vmas + run.vmas),
	       huge_bytes() - huge);
}
