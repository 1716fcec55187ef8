// SPDX-License-Identifier: MIT
/*
 * One thread loads code, another one runs it. An atomic variable hands it over. On x86 that
 * is enough for code at addresses that nobody ran before. For code at addresses that a pool
 * left, and on arm64 always, wxp_sync_cores() comes before.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "code.h"

#define ROUNDS	5

static void *_Atomic published;	/* to be run; NULL: there is none */
static atomic_int results;

static void *runner(void *unused)
{
	void *f;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		while (!(f = atomic_load_explicit(&published, memory_order_acquire)))
			sched_yield();
		atomic_store(&results, code_run(f));
		/* From here on this thread is not in the code any more. */
		atomic_store_explicit(&published, NULL, memory_order_release);
	}
	return unused;
}

int main(void)
{
	char code[ANSWER_SIZE];
	pthread_t thread;
	struct wxp *wxp;
	void *f;
	int i;

	must(wxp_open(&wxp, NULL), "wxp_open");
	must(-pthread_create(&thread, NULL, runner, NULL), "pthread_create");
	for (i = 0; i < ROUNDS; i++) {
		code_answer(code, (uint16_t)(10 + i));
		must(wxp_load(wxp, 1, code, sizeof(code), WXP_RX, &f), "wxp_load");
		/* Before the code is published, and once for all that was loaded so far */
		must(wxp_sync_cores(wxp), "wxp_sync_cores");
		atomic_store_explicit(&published, f, memory_order_release);

		while (atomic_load_explicit(&published, memory_order_acquire))
			sched_yield();
		printf("The other thread ran the function at %p: %d.\n", f,
		       atomic_load(&results));
		if (atomic_load(&results) != 10 + i)
			return 1;
		/* Nobody is in it: its addresses may be used again. */
		must(wxp_free(wxp, 1), "wxp_free");
	}
	pthread_join(thread, NULL);
	wxp_close(wxp);
	return 0;
}
