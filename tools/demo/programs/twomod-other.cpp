// SPDX-License-Identifier: MIT
#include <cstdio>

#include "twomod.h"

int shared_by_other = 6;
static int local = 1000;

__attribute__((noinline)) static int helper(int x) { return x + local; }

namespace {
struct Init {
	Init() { std::printf("other's constructor, helper %d\n", helper(1)); }
	~Init() { std::puts("other's destructor"); }
} init;
} // namespace

int (*const other_pointer)(int) = helper;

int other_helper(int x) { return helper(x); }

int other_calls_main(int x) { return called_by_other(x) + next_number(); }

void other_sets(int x)
{
	shared_by_main = x;
	shared_by_other = x + 1;
}

int other_applies(int (*fn)(int), int x) { return fn(fn(x)); }

int (*other_next_number())() { return next_number; }

void other_throws() { throw OtherError{ 23 }; }
