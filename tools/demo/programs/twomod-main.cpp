// SPDX-License-Identifier: MIT
// Two modules that need each other: functions, data, function pointers, static
// names that are the same in both, and exceptions thrown across.
#include <cstdio>
#include <stdexcept>

#include "twomod.h"

int shared_by_main = 5;
static int local = 1;

__attribute__((noinline)) static int helper(int x) { return x + local; }

namespace {
struct Init {
	Init() { std::printf("main's constructor, helper %d\n", helper(1)); }
	~Init() { std::puts("main's destructor"); }
} init;
} // namespace

int called_by_other(int x)
{
	if (x > 100)
		throw std::out_of_range("main's exception");
	return helper(x) * 2;
}

int main()
{
	std::printf("helper %d, other's helper %d\n", helper(1),
		    other_helper(1));
	std::printf("back and forth: %d\n", other_calls_main(3));
	other_sets(77);
	std::printf("shared: %d %d\n", shared_by_main, shared_by_other);
	std::printf("by pointer: %d %d\n", other_pointer(4),
		    other_applies(helper, 9));
	std::printf("one counter: %d\n", next_number() + next_number());
	std::printf("same inline function: %d\n",
		    &next_number == other_next_number());
	try {
		other_calls_main(1000);
	} catch (const std::out_of_range &e) {
		std::printf("through the other module: %s\n", e.what());
	}
	try {
		other_throws();
	} catch (const OtherError &e) {
		std::printf("from the other module: %d\n", e.code);
		return e.code;
	}
	return 0;
}
