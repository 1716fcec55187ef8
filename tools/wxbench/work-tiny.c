// SPDX-License-Identifier: MIT
/*
 * Many tiny modules alive at the same time: what they take of mappings and
 * memory. The sizes are those of a small function with its constants and
 * variables.
 */
#include <stdio.h>
#include <stdlib.h>

#include "code.h"
#include "measure.h"

static const size_t sizes[3] = { [CODE] = 107, [RODATA] = 145, [DATA] = 132 };

static size_t bytes_in(size_t modules, size_t unit)
{
	size_t sum = 0;

	for (int k = 0; k < 3; k++)
		sum += round_up(sizes[k], unit);
	return modules * sum;
}

static double percent_lost(size_t bytes, size_t held)
{
	return 100 - 100.0 * (double)bytes / (double)held;
}

/** work_tiny() - VMAs, memory and lost bytes of n= modules */
void work_tiny(const struct options *opt)
{
	int64_t vmas = measure_vmas();
	const char *why = opt->peer->open(opt->n, bytes_in(opt->n, LINE));
	struct part parts[3];
	struct counters c;
	struct module mod;
	size_t held;

	print_head("tiny");
	if (why) {
		printf(" unavailable=%s", why);
		return;
	}
	module_init(&mod, parts, sizes);
	measure_start(&c);
	for (size_t i = 1; i <= opt->n; i++) {
		mod.id = (uint32_t)i;
		opt->peer->load(&mod);
		module_touch(&mod);
		lap(PH_RUN);
	}
	measure_stop(&c);
	held = opt->peer->held();
	measure_print(&c, (double)opt->n, !opt->busy);
	printf(" mappings=%ld held=%zu lost=%.2f lost_lines=%.2f",
	       (long)(measure_vmas() - vmas), held,
	       percent_lost(bytes_in(opt->n, 1), held),
	       percent_lost(bytes_in(opt->n, LINE), held));
}
