/* SPDX-License-Identifier: MIT */
#ifndef TWOMOD_H
#define TWOMOD_H

struct OtherError {
	int code;
};

extern int shared_by_main, shared_by_other;
extern int (*const other_pointer)(int);

int called_by_other(int x);
int other_helper(int x);
int other_calls_main(int x);
void other_sets(int x);
int other_applies(int (*fn)(int), int x);
int (*other_next_number())();
void other_throws();

/* Defined in both modules; there must be one counter. */
__attribute__((noinline)) inline int next_number()
{
	static int number;

	return ++number;
}

#endif
