// SPDX-License-Identifier: MIT
/* A library that holds up whoever has forked, so that the child is long gone by then. */
#include <pthread.h>
#include <unistd.h>

static void wait_long(void)
{
	sleep(2);
}

__attribute__((constructor)) static void init(void)
{
	pthread_atfork(NULL, wait_long, NULL);
}
