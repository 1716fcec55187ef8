/* SPDX-License-Identifier: MIT */
/*
 * What the examples share: machine code for x86-64 and arm64, and what to do if a call
 * fails. A program of its own would have a code generator in the place of this file.
 */
#ifndef CODE_H
#define CODE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wxpool.h>

/* Ends the program if @ret is an error. */
static inline void must(int ret, const char *what)
{
	if (!ret)
		return;
	fprintf(stderr, "%s: %s\n", what, wxp_strerror(ret));
	exit(1);
}

static inline int code_run(const void *addr)
{
	int (*function)(void);

	memcpy(&function, &addr, sizeof(function));
	return function();
}

#ifdef __x86_64__

#define ANSWER_SIZE	6
#define COUNTER_SIZE	19

/* int function(void) { return value; } */
static inline void code_answer(void *to, uint16_t value)
{
	unsigned char code[ANSWER_SIZE] = { 0xb8, 0, 0, 0, 0, 0xc3 };	/* mov $value, %eax; ret */

	memcpy(code + 1, &value, sizeof(value));
	memcpy(to, code, sizeof(code));
}

/* A 32-bit address, relative to the end of the instruction at @at of 6 bytes */
static inline void code_op(unsigned char *to, const char *at, unsigned char op, const void *addr)
{
	int32_t distance = (int32_t)((const char *)addr - (at + 6));

	to[0] = op;
	to[1] = 0x05;
	memcpy(to + 2, &distance, sizeof(distance));
}

/* int function(void) { return *counter += *step; }, written to @to, to run at @at */
static inline void code_counter(void *to, const void *at, const void *counter, const void *step)
{
	unsigned char *p = to;

	code_op(p, at, 0x8b, counter);					/* mov counter, %eax */
	code_op(p + 6, (const char *)at + 6, 0x03, step);		/* add step, %eax */
	code_op(p + 12, (const char *)at + 12, 0x89, counter);		/* mov %eax, counter */
	p[18] = 0xc3;							/* ret */
}

#elif defined(__aarch64__)

#define ANSWER_SIZE	8
#define COUNTER_SIZE	28

static inline void code_answer(void *to, uint16_t value)
{
	uint32_t code[] = { 0x52800000u | (uint32_t)value << 5, 0xd65f03c0u };	/* mov w0; ret */

	memcpy(to, code, sizeof(code));
}

/* adrp: the page of @addr, relative to that of the instruction at @at */
static inline uint32_t code_adrp(uint32_t op, const void *at, const void *addr)
{
	int64_t pages = (int64_t)((uintptr_t)addr >> 12) - (int64_t)((uintptr_t)at >> 12);

	return op | ((uint32_t)pages & 3) << 29 | ((uint32_t)(pages >> 2) & 0x7ffff) << 5;
}

/* ldr, str: the offset of a word in its page */
static inline uint32_t code_offset(uint32_t op, const void *addr)
{
	return op | (uint32_t)((uintptr_t)addr & 0xfff) / 4 << 10;
}

static inline void code_counter(void *to, const void *at, const void *counter, const void *step)
{
	uint32_t code[] = {
		code_adrp(0x90000001u, at, counter),			/* adrp x1, counter */
		code_adrp(0x90000002u, (const char *)at + 4, step),	/* adrp x2, step */
		code_offset(0xb9400020u, counter),			/* ldr w0, [x1, counter] */
		code_offset(0xb9400043u, step),				/* ldr w3, [x2, step] */
		0x0b030000u,						/* add w0, w0, w3 */
		code_offset(0xb9000020u, counter),			/* str w0, [x1, counter] */
		0xd65f03c0u,						/* ret */
	};

	memcpy(to, code, sizeof(code));
}

#else
#error "the examples have machine code for x86-64 and arm64 only"
#endif

#endif /* CODE_H */
