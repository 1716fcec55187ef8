// SPDX-License-Identifier: MIT
/*
 * A library with a thread of its own, which runs until the process ends: a while after
 * exit() has called the library.
 */
#include <pthread.h>
#include <unistd.h>

static volatile unsigned long turns;

__attribute__((noreturn)) static void *work(void *unused)
{
	(void)unused;
	for (;;)
		turns++;
}

__attribute__((constructor)) static void start(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, work, NULL);
}

__attribute__((destructor)) static void linger(void)
{
	usleep(100000);
}
