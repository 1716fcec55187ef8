// SPDX-License-Identifier: MIT
/*
 * threads= threads publish n= functions each, while busy= others only spin.
 * Events are counted; and instructions with cpus=1, as all CPUs share one clock.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "code.h"
#include "measure.h"

struct publisher {
	pthread_t thread;
	const struct options *opt;
	uint32_t first_id;
};

static atomic_bool stop;
static atomic_size_t spinning;
static pthread_t spinners[64];

static void *spin(void *arg)
{
	(void)arg;
	spinning++;
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		;
	return NULL;
}

/** busy_start() - make @nr threads spin, until busy_stop() */
void busy_start(size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (pthread_create(&spinners[i], NULL, spin, NULL))
			die("cannot start a thread");
	while (spinning < nr)
		;
}

/** busy_stop() - end them */
void busy_stop(size_t nr)
{
	stop = true;
	for (size_t i = 0; i < nr; i++)
		pthread_join(spinners[i], NULL);
}

static void *publish(void *arg)
{
	struct publisher *p = arg;
	struct module mod;
	uint32_t id = p->first_id;
	size_t i;

	batch_init(&mod, p->opt);
	for (i = 0; i < p->opt->n; i += mod.nr) {
		publish_batch(p->opt->peer, &mod, id, id);
		id += mod.nr;
	}
	return NULL;
}

/* All threads run on the first CPUs from now on. */
static void use_first(size_t cpus)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (size_t i = 0; i < cpus; i++)
		CPU_SET(i, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("cannot run on %zu CPUs only: %m", cpus);
}

/** work_threads() - events for each function that several threads publish */
void work_threads(const struct options *opt)
{
	size_t functions = opt->threads * (opt->n + opt->batch), i;
	const char *why = opt->peer->open(functions, functions * round_up(opt->size, 64));
	struct publisher pub[64];
	struct counters c;

	print_head("threads");
	if (why) {
		printf(" unavailable=%s", why);
		return;
	}
	if (opt->cpus)
		use_first(opt->cpus);
	measure_start(&c);
	for (i = 0; i < opt->threads; i++) {
		pub[i].opt = opt;
		pub[i].first_id = (uint32_t)(1 + i * (opt->n + opt->batch));
		if (pthread_create(&pub[i].thread, NULL, publish, &pub[i]))
			die("cannot start a thread");
	}
	for (i = 0; i < opt->threads; i++)
		pthread_join(pub[i].thread, NULL);
	measure_stop(&c);
	measure_print(&c, (double)(opt->threads * opt->n), opt->cpus == 1 && !opt->busy);
}
