// SPDX-License-Identifier: MIT
#include <stdio.h>

static int impl(void) { return 7; }
int aliased(void) __attribute__((alias("impl")));
static int variable = 8;
extern int aliased_variable __attribute__((alias("variable")));
int plain(void) { return 11; }

int which(void) { return 2; }
__attribute__((weak)) int first(void) { return 20; }
int other_which(void) { return which(); }
int other_first(void) { return first(); }

int tentative[100] __attribute__((common));
int *other_tentative(void)
{
	tentative[99] = 1;
	return tentative;
}

__thread int per_thread = 3;
int other_per_thread(void) { return per_thread; }

extern int hidden_here __attribute__((visibility("hidden")));
int other_hidden(void) { return hidden_here; }

static int same_name(void) { return 200; }
int other_same_name(void) { return same_name(); }

__attribute__((constructor(200))) static void early(void) { puts("200 other"); }
__attribute__((constructor(250))) static void middle(void) { puts("250 other"); }
__attribute__((constructor)) static void usual(void) { puts("usual other"); }
__attribute__((destructor)) static void end(void) { puts("end other"); }

#ifdef __x86_64__
__asm__(".text\n"
	".globl asm_answer\n"
	".type asm_answer, @function\n"
	"asm_answer:\n"
	"	mov $42, %eax\n"
	"	ret\n");

static int fast(void) { return 33; }
static int (*resolve(void))(void) { return fast; }
int chosen(void) __attribute__((ifunc("resolve")));
int (*other_chosen(void))(void) { return chosen; }
#endif
