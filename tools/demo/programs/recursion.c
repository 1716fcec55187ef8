// SPDX-License-Identifier: MIT
/* Recursion: plain, mutual, deep, and with back-tracking. */
#include <stdio.h>

static unsigned int ackermann(unsigned int m, unsigned int n)
{
	if (m == 0)
		return n + 1;
	if (n == 0)
		return ackermann(m - 1, 1);
	return ackermann(m - 1, ackermann(m, n - 1));
}

static int is_odd(unsigned int n);

__attribute__((noinline)) static int is_even(unsigned int n)
{
	return n == 0 ? 1 : is_odd(n - 1);
}

__attribute__((noinline)) static int is_odd(unsigned int n)
{
	return n == 0 ? 0 : is_even(n - 1);
}

static unsigned int hanoi(unsigned int n, char from, char to, char via)
{
	unsigned int moves;

	if (n == 0)
		return 0;
	moves = hanoi(n - 1, from, via, to);
	if (n == 3)
		printf("disc %u: %c to %c\n", n, from, to);
	return moves + 1 + hanoi(n - 1, via, to, from);
}

static unsigned int queens(unsigned int n, unsigned int row, unsigned int cols,
			   unsigned int left, unsigned int right)
{
	unsigned int nr = 0;

	if (row == n)
		return 1;
	for (unsigned int c = 0; c < n; c++) {
		unsigned int l = 1U << (row + c), r = 1U << (row + n - c);

		if (!(cols & 1U << c) && !(left & l) && !(right & r))
			nr += queens(n, row + 1, cols | 1U << c, left | l,
				     right | r);
	}
	return nr;
}

int main(void)
{
	printf("ackermann(2, 9) = %u\n", ackermann(2, 9));
	printf("even(10001) = %d, odd(10001) = %d\n", is_even(10001),
	       is_odd(10001));
	printf("hanoi(6): %u moves\n", hanoi(6, 'A', 'B', 'C'));
	for (unsigned int n = 1; n <= 7; n++)
		printf("%u queens: %u solutions\n", n, queens(n, 0, 0, 0, 0));
	return 61;
}
