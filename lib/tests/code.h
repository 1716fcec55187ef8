/* SPDX-License-Identifier: MIT */
/* Machine code for the tests: a function that returns a number. */
#ifndef WXP_TEST_CODE_H
#define WXP_TEST_CODE_H

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)

#define CODE_SIZE	6
#define CODE_TRAP	"\xcc\xcc\xcc\xcc"	/* int3 */

static inline void code_write(void *p, uint32_t value)
{
	unsigned char code[CODE_SIZE] = { 0xb8, 0, 0, 0, 0, 0xc3 };	/* mov $value, %eax; ret */

	memcpy(code + 1, &value, sizeof(value));
	memcpy(p, code, sizeof(code));
}

#elif defined(__aarch64__)

#define CODE_SIZE	16
#define CODE_TRAP	"\x00\x00\x20\xd4"	/* brk #0 */

static inline void code_write(void *p, uint32_t value)
{
	uint32_t code[4] = {
		0xd503245fu,				/* bti c, for WXP_BTI */
		0x52800000u | (value & 0xffff) << 5,	/* mov w0, #low */
		0x72a00000u | (value >> 16) << 5,	/* movk w0, #high, lsl #16 */
		0xd65f03c0u,				/* ret */
	};

	memcpy(p, code, sizeof(code));
}

#else
#error "code.h: no machine code for this architecture yet"
#endif

static inline uint32_t code_run(const void *p)
{
	uint32_t (*function)(void);

	memcpy(&function, &p, sizeof(function));
	return function();
}

#endif /* WXP_TEST_CODE_H */
