// SPDX-License-Identifier: MIT
/*
 * Functions that return a number, and modules of them. The same bytes are
 * written, run and read whoever publishes them.
 */
#include <stdlib.h>
#include <string.h>

#include "code.h"

#if defined(__x86_64__)
/* mov $value, %eax; ret */
void code_set(void *buf, uint32_t value)
{
	memcpy((char *)buf + 1, &value, sizeof(value));
}

static void code_begin(char *code)
{
	static const unsigned char insns[] = { 0xb8, 0, 0, 0, 0, 0xc3 };

	memcpy(code, insns, sizeof(insns));
}
#elif defined(__aarch64__)
/* movz w0, #low; movk w0, #high, lsl #16; ret */
void code_set(void *buf, uint32_t value)
{
	uint32_t *insn = buf;

	insn[0] = 0x52800000 | (value & 0xffff) << 5;
	insn[1] = 0x72a00000 | value >> 16 << 5;
}

static void code_begin(char *code)
{
	uint32_t ret = 0xd65f03c0;

	memcpy(code + 8, &ret, sizeof(ret));
}
#else
#error "wxbench has no code for this architecture"
#endif

/**
 * code_make() - a function that returns @value, and fills @size bytes
 * @buf: receives it, with such a function at the start of each page
 * @size: at least 16
 * @value: what it returns
 *
 * code_set() changes the number of the first one afterwards.
 */
void code_make(void *buf, size_t size, uint32_t value)
{
	char *code = buf;

	memset(code, 0xc3, size);
	for (size_t at = 0; at < size; at += PAGE) {
		code_begin(code + at);
		code_set(code + at, value);
	}
}

/** code_run() - call @code, which must return @value */
void code_run(const void *code, uint32_t value)
{
	uint32_t (*fn)(void) = (uint32_t (*)(void))(uintptr_t)code;

	if (fn() != value)
		die("published code returned a wrong value");
}

/**
 * module_init() - make a module of code, read-only and writable data
 * @mod: receives it
 * @parts: three of them
 * @sizes: bytes of each, in the order of enum kind
 */
void module_init(struct module *mod, struct part *parts, const size_t sizes[3])
{
	char *bytes;

	memset(mod, 0, sizeof(*mod));
	mod->nr = 3;
	mod->parts = parts;
	for (unsigned int i = 0; i < mod->nr; i++) {
		bytes = malloc(sizes[i]);
		if (!bytes)
			die("out of memory");
		if (i == CODE)
			code_make(bytes, sizes[i], 42);
		else
			memset(bytes, 7, sizes[i]);
		parts[i] = (struct part){ .kind = i, .size = sizes[i], .bytes = bytes };
	}
}

/** module_touch() - run code in each of its pages, read and write its data */
void module_touch(const struct module *mod)
{
	const struct part *p = mod->parts;
	volatile char *data = mod->parts[DATA].at;

	for (size_t at = 0; at < p[CODE].size; at += PAGE)
		code_run(p[CODE].at + at, 42);
	if (*(volatile const char *)p[RODATA].at != 7 || *data != 7)
		die("published data is wrong");
	*data = 8;
}

/** random_below() - a number from 0 to @n - 1; the same ones in each run */
size_t random_below(size_t n)
{
	static uint64_t state = 88172645463325252;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % n;
}
