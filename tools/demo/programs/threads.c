// SPDX-License-Identifier: MIT
/*
 * Threads and children: worker threads, a child process that goes on running
 * the code it inherited, and a thread that still runs when main returns.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long total;
static _Thread_local long mine = 100;
static volatile unsigned long spins;

static void *work(void *arg)
{
	for (long i = 0; i < 1000; i++) {
		pthread_mutex_lock(&lock);
		total += i * (long)arg;
		mine++;
		pthread_mutex_unlock(&lock);
	}
	printf("own count of a thread: %ld\n", mine);
	return arg;
}

static void *spin(void *arg)
{
	for (;;)
		spins++;
	return arg;
}

__attribute__((destructor)) static void report(void)
{
	puts("destructor");
}

int main(void)
{
	pthread_t threads[3], spinner;
	int status;
	pid_t pid;

	for (long i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, work, (void *)(i + 1));
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	printf("total %ld, own count of main: %ld\n", total, mine);

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		printf("child: %ld\n", (long)work((void *)7));
		exit(44);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 1;
	printf("child's status %d\n", WEXITSTATUS(status));

	pthread_create(&spinner, NULL, spin, NULL);
	while (!spins)
		sched_yield();
	return 12;
}
