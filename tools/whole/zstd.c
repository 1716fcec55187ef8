// SPDX-License-Identifier: MIT
/* A round trip through zstd, at several levels. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#define SIZE	(256 << 10)

static char data[SIZE], back[SIZE], packed[SIZE + 4096];

static void fill(void)
{
	unsigned int seed = 3;
	int i;

	for (i = 0; i < SIZE; i++) {
		seed = seed * 1103515245 + 12345;
		data[i] = i % 1000 < 700 ? "a line of text that comes again. "[i % 33] :
			  (char)(seed >> 24);
	}
}

int main(void)
{
	static const int levels[] = { 1, 3, 9, 19 };
	size_t n, m;
	int i;

	fill();
	for (i = 0; i < 4; i++) {
		n = ZSTD_compress(packed, sizeof(packed), data, SIZE, levels[i]);
		memset(back, 0, SIZE);
		m = ZSTD_decompress(back, SIZE, packed, n);
		printf("level %d: %zu to %zu, %s\n", levels[i], m, n,
		       m == SIZE && !memcmp(data, back, SIZE) ? "same" : "different");
	}
	packed[100] ^= 1;
	m = ZSTD_decompress(back, SIZE, packed, n);
	printf("damaged: %s\n", ZSTD_isError(m) || memcmp(data, back, SIZE) ? "noticed" : "missed");
	return 0;
}
