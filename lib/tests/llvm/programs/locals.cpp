// SPDX-License-Identifier: MIT
#include <thread>
#include <vector>

static thread_local int count = 5;
static int constructed;

struct Early {
	Early() { constructed = 7; }
} early;

extern "C" int locals(void)
{
	std::vector<std::thread> threads;
	int right[4] = {};

	for (int i = 0; i < 4; i++)
		threads.emplace_back([&right, i] {
			for (int k = 0; k < 1000; k++)
				count += i;
			right[i] = count == 5 + 1000 * i;
		});
	for (auto &t : threads)
		t.join();
	return count == 5 && right[0] + right[1] + right[2] + right[3] == 4 && constructed == 7;
}
