// SPDX-License-Identifier: MIT
/* For profilers and debuggers: a function that takes all the time, and then aborts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile unsigned int sink;

__attribute__((noinline)) static void hot_loop(unsigned int n)
{
	unsigned int i, k;

	for (k = 0; k < n; k++)
		for (i = 0; i < 1000000; i++)
			sink += i * k;
}

__attribute__((noinline)) static void gives_up(const char *why)
{
	puts(why);
	fflush(stdout);
	abort();
}

int main(int argc, char **argv)
{
	hot_loop(argc > 1 && !strcmp(argv[1], "abort") ? 1 : 100);
	if (argc > 1)
		gives_up(argv[1]);
	return 0;
}
