// SPDX-License-Identifier: MIT
#include <cstdio>
#include <regex>

#include "cxx.hpp"

static int left;

/* Throws, from @n calls deeper, through what has to be destroyed */
static void depth(int n)
{
	struct Note {
		~Note() { left++; }
	} note;

	if (n)
		depth(n - 1);
	else
		limited(100, 10);
}

int main()
{
	for (const std::string &m : matches("pool 17, line 42, block 9", "([a-z]+) ([0-9]+)"))
		std::printf("%s\n", m.c_str());
	try {
		matches("text", "(");
	} catch (const std::regex_error &e) {
		std::printf("regex: %d\n", e.code() == std::regex_constants::error_paren);
	}
	for (int s : squares(6))
		std::printf("%d ", s);
	std::printf("\n%ld\n", sumByThreads(4, 10000));
	for (int i = 0; i < 50; i++) {
		try {
			depth(i);
			std::puts("nothing was thrown");
		} catch (const TooMany &e) {
			if (e.nr != 100)
				std::puts("something else");
		}
	}
	try {
		depth(3);
	} catch (const std::exception &e) {
		std::printf("%s, %d\n", e.what(), left);
	}
	return limited(7, 10);
}
