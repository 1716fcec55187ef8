// SPDX-License-Identifier: MIT
#include <stdexcept>

struct Left {
	explicit Left(int *n) : nr(n) {}
	~Left() { ++*nr; }
	int *nr;
};

int thrower(int n, int *left)
{
	Left l(left);

	if (n % 2)
		throw std::runtime_error("odd");
	return n;
}
