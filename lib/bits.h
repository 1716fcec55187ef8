/* SPDX-License-Identifier: MIT */
/*
 * Three bits for each line. Their words lie side by side, so that few pages of
 * memory are touched for lines that are near each other.
 */
#ifndef WXP_BITS_H
#define WXP_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bit {
	BIT_BEGIN,		/* a span or a run begins here */
	BIT_FREE,		/* first or last line of a listed run */
	BIT_FILLED,		/* installed; variables: may be not zero */
	NR_BITS
};

static inline size_t bits_size(uint32_t nr_lines)
{
	return ((size_t)nr_lines / 64 + 1) * NR_BITS * sizeof(uint64_t);
}

static inline uint64_t *bits_word(uint64_t *bits, enum bit bit, uint32_t line)
{
	return &bits[(size_t)line / 64 * NR_BITS + bit];
}

static inline bool bit_test(uint64_t *bits, enum bit bit, uint32_t line)
{
	return *bits_word(bits, bit, line) >> line % 64 & 1;
}

static inline void bit_set(uint64_t *bits, enum bit bit, uint32_t line)
{
	*bits_word(bits, bit, line) |= 1ull << line % 64;
}

static inline void bit_clear(uint64_t *bits, enum bit bit, uint32_t line)
{
	*bits_word(bits, bit, line) &= ~(1ull << line % 64);
}

/* The bits of @line and up to @nr - 1 lines after it that are in one word */
static inline uint64_t bits_mask(uint32_t line, uint32_t nr)
{
	return nr >= 64 ? ~0ull << line % 64 : ((1ull << nr) - 1) << line % 64;
}

static inline uint32_t bits_in_word(uint32_t line, uint32_t nr)
{
	uint32_t n = 64 - line % 64;

	return n < nr ? n : nr;
}

static inline void bits_set(uint64_t *bits, enum bit bit, uint32_t line, uint32_t nr)
{
	uint32_t n;

	for (; nr; line += n, nr -= n) {
		n = bits_in_word(line, nr);
		*bits_word(bits, bit, line) |= bits_mask(line, n);
	}
}

static inline void bits_clear(uint64_t *bits, enum bit bit, uint32_t line, uint32_t nr)
{
	uint32_t n;

	for (; nr; line += n, nr -= n) {
		n = bits_in_word(line, nr);
		*bits_word(bits, bit, line) &= ~bits_mask(line, n);
	}
}

static inline uint32_t bits_count(uint64_t *bits, enum bit bit, uint32_t line, uint32_t nr)
{
	uint32_t n, sum = 0;

	for (; nr; line += n, nr -= n) {
		n = bits_in_word(line, nr);
		sum += (uint32_t)__builtin_popcountll(*bits_word(bits, bit, line) &
						      bits_mask(line, n));
	}
	return sum;
}

static inline bool bits_any(uint64_t *bits, enum bit bit, uint32_t line, uint32_t nr)
{
	uint32_t n;

	for (; nr; line += n, nr -= n) {
		n = bits_in_word(line, nr);
		if (*bits_word(bits, bit, line) & bits_mask(line, n))
			return true;
	}
	return false;
}

/* The last line up to @line that has the bit, or UINT32_MAX */
static inline uint32_t bits_last(uint64_t *bits, enum bit bit, uint32_t line)
{
	uint64_t word = *bits_word(bits, bit, line) & ~0ull >> (63 - line % 64);

	while (!word) {
		if (line < 64)
			return UINT32_MAX;
		line -= 64;
		word = *bits_word(bits, bit, line);
	}
	return line / 64 * 64 + 63 - (uint32_t)__builtin_clzll(word);
}

#endif /* WXP_BITS_H */
