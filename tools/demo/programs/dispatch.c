// SPDX-License-Identifier: MIT
/* Jump tables, tables of function pointers, callbacks from the C library. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef long (*binary_fn)(long, long);

static long add(long a, long b) { return a + b; }
static long sub(long a, long b) { return a - b; }
static long mul(long a, long b) { return a * b; }
static long quo(long a, long b) { return b ? a / b : 0; }
static long rem_(long a, long b) { return b ? a % b : 0; }
static long max(long a, long b) { return a > b ? a : b; }

static const struct {
	const char *name;
	binary_fn fn;
} operators[] = {
	{ "add", add }, { "sub", sub }, { "mul", mul },
	{ "quo", quo }, { "rem", rem_ }, { "max", max },
};

/* Dense cases with bodies of their own: becomes a jump table. */
__attribute__((noinline)) static unsigned int step(unsigned int op,
						   unsigned int x)
{
	switch (op) {
	case 0:
		return x + 7;
	case 1:
		return x * 3;
	case 2:
		return x ^ 0x5a5a;
	case 3:
		return x << 3 | x >> 29;
	case 4:
		return ~x;
	case 5:
		return x / 5;
	case 6:
		return x % 1009;
	case 7:
		return x - 0x1234;
	case 8:
		return x & 0xffff;
	case 9:
		return x | 0x8001;
	case 10:
		return (unsigned int)__builtin_popcount(x);
	default:
		abort();
	}
}

/* Dense cases with constant results: becomes a table of values. */
__attribute__((noinline)) static const char *weekday(int day)
{
	switch (day) {
	case 0:
		return "Monday";
	case 1:
		return "Tuesday";
	case 2:
		return "Wednesday";
	case 3:
		return "Thursday";
	case 4:
		return "Friday";
	case 5:
		return "Saturday";
	case 6:
		return "Sunday";
	default:
		return "no day";
	}
}

/* Labels as values. */
__attribute__((noinline)) static int threaded(const unsigned char *code)
{
	static const void *const labels[] = { &&push, &&plus, &&twice, &&end };
	int stack[8], sp = 0;

	goto *labels[*code];
push:
	stack[sp++] = code[1];
	code += 2;
	goto *labels[*code];
plus:
	sp--;
	stack[sp - 1] += stack[sp];
	code++;
	goto *labels[*code];
twice:
	stack[sp - 1] *= 2;
	code++;
	goto *labels[*code];
end:
	return stack[sp - 1];
}

static int by_length(const void *a, const void *b)
{
	const char *x = *(const char *const *)a, *y = *(const char *const *)b;
	size_t lx = strlen(x), ly = strlen(y);

	return lx != ly ? (lx < ly ? -1 : 1) : strcmp(x, y);
}

int main(void)
{
	static const unsigned char code[] = { 0, 10, 0, 9, 1, 2, 0, 4, 1, 3 };
	const char *words[] = { "region", "pool", "view", "seal", "fault",
				"folio", "context" };
	unsigned int x = 1;

	for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++)
		printf("%s(17, 5) = %ld\n", operators[i].name,
		       operators[i].fn(17, 5));
	for (unsigned int i = 0; i < 1000; i++)
		x = step((i * 7 + x) % 11, x);
	printf("steps: %u\n", x);
	for (int day = -1; day <= 7; day += 2)
		printf("%d: %s\n", day, weekday(day));
	printf("threaded: %d\n", threaded(code));
	qsort(words, 7, sizeof(words[0]), by_length);
	for (int i = 0; i < 7; i++)
		printf("%s%c", words[i], i < 6 ? ' ' : '\n');
	return 0;
}
