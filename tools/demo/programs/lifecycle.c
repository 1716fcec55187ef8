// SPDX-License-Identifier: MIT
/*
 * What happens before and after main, and each way to end a program. The
 * argument chooses: return, exit, _exit, abort, or quiet.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char buffer[BUFSIZ];

void not_defined_anywhere(void);
#pragma weak not_defined_anywhere

__attribute__((constructor(300))) static void second(void)
{
	puts("constructor 300");
}

__attribute__((constructor(200))) static void first(void)
{
	puts("constructor 200");
}

__attribute__((constructor)) static void last(void)
{
	puts("constructor");
}

__attribute__((destructor(200))) static void after_all(void)
{
	puts("destructor 200");
}

__attribute__((destructor)) static void after(void)
{
	puts("destructor");
}

static void handler1(void)
{
	puts("atexit 1");
}

static void handler2(void)
{
	puts("atexit 2");
}

int main(int argc, char **argv, char **envp)
{
	const char *how = argc > 1 ? argv[1] : "return";

	/* Flushed after main has returned, from the program's own data. */
	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
	atexit(handler1);
	atexit(handler2);
	for (int i = 1; i <= argc; i++)
		printf("argv[%d] = %s\n", i, argv[i] ? argv[i] : "NULL");
	for (; *envp; envp++)
		if (!strncmp(*envp, "LIFECYCLE=", 10))
			puts(*envp);
	printf("getenv: %s\n", getenv("LIFECYCLE") ? "set" : "not set");
	if (not_defined_anywhere)
		not_defined_anywhere();
	if (!strcmp(how, "exit"))
		exit(9);
	if (!strcmp(how, "_exit"))
		_exit(10);
	if (!strcmp(how, "abort"))
		abort();
	return 300;	/* the status has 8 bits */
}
