// SPDX-License-Identifier: MIT
#include <stdexcept>
#include <string>

int thrower(int n, int *left);

/* 1,000 calls, half of which throw through code of two modules */
extern "C" int catches(void)
{
	int left = 0, caught = 0;

	for (int i = 0; i < 1000; i++) {
		try {
			thrower(i, &left);
		} catch (const std::runtime_error &e) {
			caught += e.what() == std::string("odd");
		}
	}
	return left == 1000 && caught == 500;
}
