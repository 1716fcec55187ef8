// SPDX-License-Identifier: MIT
/*
 * wxfuzz: several threads at once, in contexts that they share
 *
 * Each has pages, pools and addresses of its own, and a model of these: what
 * the others do must not be noticed. But the last two have the same pages and
 * pools. Nobody can know what comes of what they do; the others and the kernel
 * must not care.
 */
#include <fcntl.h>
#include <pthread.h>

#include "wxfuzz.h"

/* No context, and no user, reaches these: limits are not met by chance. */
#define MANY_BYTES	(30000ull * PAGE)

/* With a gap between one's and the other's, into which views may grow */
#define PART_PAGES	(NR_PAGES + BLOCK_PAGES)

void threads_setup(struct world *worlds, uint64_t seed)
{
	unsigned int i;

	for (i = 0; i < NR_THREADS; i++) {
		struct world *w = &worlds[i];
		unsigned int part = i < NR_THREADS - 1 ? i : i - 1;

		w->seed = splitmix(&seed);
		w->shared = 1;
		w->blind = i >= NR_THREADS - 2;
		w->uring = 1;
		w->ctx_limit = w->user_limit = MANY_BYTES;
		/* A context has one idle block of a protection: so it is this part's. */
		w->block_prot = 1 + part;
		w->page_base = part * PART_PAGES;
		w->pool_base = part * 100;
		w->arena = ARENA + 2ull * i * NR_SLOTS * PAGE;
	}
}

static void *thread(void *arg)
{
	unsigned int i;

	W = arg;
	model_init();
	info_init();
	for (i = 0; i < NR_CTX; i++) {
		const struct op op = { .kind = OP_OPEN, .ctx = i };

		W->ctx[i].used = 1;
		W->ctx[i].mode = view_open_mode(&op);
		W->proc[0].fd[i] = 1;
		info_open(i);
	}
	run_list(W->seed);
	return NULL;
}

/* Does not return if something is wrong. */
void threads_run(struct world *worlds)
{
	pthread_t threads[NR_THREADS];
	unsigned int i;
	int fd;

	W = worlds;
	probe_init();
	for (i = 0; i < NR_CTX; i++) {
		const struct op op = { .kind = OP_OPEN, .ctx = i };

		fd = open("/dev/wxpool", view_open_mode(&op) | O_CLOEXEC);
		if (fd < 0 || dup3(fd, FD_CTX + i, O_CLOEXEC) < 0)
			abort();
		close(fd);
	}
	for (i = 0; i < NR_THREADS; i++)
		if (pthread_create(&threads[i], NULL, thread, &worlds[i]))
			abort();
	for (i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
}
