// SPDX-License-Identifier: MIT
/* Variable arguments, of our own and of the C library. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One letter of @types for each argument: i, l, d, s. */
__attribute__((noinline)) static double sum(const char *types, ...)
{
	double total = 0;
	va_list ap;

	va_start(ap, types);
	for (; *types; types++) {
		switch (*types) {
		case 'i':
			total += va_arg(ap, int);
			break;
		case 'l':
			total += (double)va_arg(ap, long long);
			break;
		case 'd':
			total += va_arg(ap, double);
			break;
		case 's':
			total += (double)strlen(va_arg(ap, const char *));
			break;
		}
	}
	va_end(ap);
	return total;
}

__attribute__((noinline, format(printf, 3, 4)))
static int format(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap, again;
	int len, once_more;

	va_start(ap, fmt);
	va_copy(again, ap);
	len = vsnprintf(NULL, 0, fmt, ap);
	once_more = vsnprintf(buf, size, fmt, again);
	va_end(again);
	va_end(ap);
	return len == once_more ? len : -1;
}

int main(int argc, char **argv)
{
	char buf[64];
	int len, nr = 0;

	printf("%d %5d|%-5d|%05d %+d %x %#o\n", 1, 22, 333, 44, 5, 0xbeef, 8);
	printf("%s|%8s|%-8s|%.3s %c %%\n", "plain", "right", "left", "cut off",
	       'z');
	printf("%ld %lld %zu %hhd\n", -1L, 1LL << 40, sizeof(buf), (char)-7);
	printf("%f %.2f %e %g %a\n", 1.5, 3.14159, 12345.678, 1e-9, 0.5);
	printf("sum = %.3f\n",
	       sum("idlsdddddddddii", 1, 0.5, 1LL << 33, "four", 1.0, 2.0, 3.0,
		   4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10, 11));
	len = format(buf, sizeof(buf), "%s-%d-%.1f", "abc", 42, 2.5);
	printf("%d: %s%n", len, buf, &nr);
	printf(" (%d)\n", nr);
	for (int i = 1; i < argc; i++)
		printf("argument %d is '%s'\n", i, argv[i]);
	return argc;
}
