// SPDX-License-Identifier: MIT
/* Ranges of bitmaps. */
#include "internal.h"

/* In the word of bit @i: the bits from @i up to @end. */
static uint64_t mask(uint32_t i, uint32_t end)
{
	uint64_t m = ~0ull << i % 64;

	if (end - i < 64 - i % 64)
		m &= ~0ull >> (64 - end % 64);
	return m;
}

static uint32_t next_word(uint32_t i)
{
	return i + 64 - i % 64;
}

void bits_set_many(uint64_t *words, uint32_t i, uint32_t nr)
{
	uint32_t end = i + nr;

	for (; i < end; i = next_word(i))
		words[i / 64] |= mask(i, end);
}

void bits_clear_many(uint64_t *words, uint32_t i, uint32_t nr)
{
	uint32_t end = i + nr;

	for (; i < end; i = next_word(i))
		words[i / 64] &= ~mask(i, end);
}

bool bits_any_many(const uint64_t *words, uint32_t i, uint32_t nr)
{
	uint32_t end = i + nr;

	for (; i < end; i = next_word(i))
		if (words[i / 64] & mask(i, end))
			return true;
	return false;
}

bool bits_all_many(const uint64_t *words, uint32_t i, uint32_t nr)
{
	uint32_t end = i + nr;

	for (; i < end; i = next_word(i))
		if (~words[i / 64] & mask(i, end))
			return false;
	return true;
}
