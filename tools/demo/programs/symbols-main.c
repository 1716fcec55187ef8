// SPDX-License-Identifier: MIT
/* What a linker has to do right, in two modules: see symbols-other.c. */
#include <pthread.h>
#include <stdio.h>

/* Weak references to aliases, to a function, and to nothing */
extern int aliased(void) __attribute__((weak));
extern int aliased_variable __attribute__((weak));
extern int plain(void) __attribute__((weak));
extern int nowhere(void) __attribute__((weak));
extern int nowhere_variable __attribute__((weak));

/* The other one's is strong; and both are weak: then the first is taken */
__attribute__((weak)) int which(void) { return 1; }
__attribute__((weak)) int first(void) { return 10; }
int other_which(void);
int other_first(void);

/* Several tentative definitions are one variable, as large as the largest */
int tentative __attribute__((common));
int *other_tentative(void);

extern __thread int per_thread;
int other_per_thread(void);

__attribute__((visibility("hidden"))) int hidden_here = 4;
int other_hidden(void);

static int same_name(void) { return 100; }
int other_same_name(void);

__attribute__((constructor(200))) static void early(void) { puts("200 main"); }
__attribute__((constructor(300))) static void later(void) { puts("300 main"); }
__attribute__((constructor)) static void usual(void) { puts("usual main"); }
__attribute__((destructor)) static void end(void) { puts("end main"); }
__attribute__((destructor(300))) static void last(void) { puts("300 end main"); }

#ifdef __x86_64__
/* Assembly that names a static symbol, and defines a global one */
__attribute__((used)) static void entry(long x) { printf("entry %ld\n", x); }

__asm__(".text\n"
	"trampoline:\n"
	"	sub $8, %rsp\n"
	"	mov $41, %edi\n"
	"	movabsq $entry, %rax\n"
	"	call *%rax\n"
	"	add $8, %rsp\n"
	"	ret\n");
void trampoline(void) __attribute__((visibility("hidden")));
int asm_answer(void);
int chosen(void);
int (*other_chosen(void))(void);
#endif

static void *thread(void *arg)
{
	per_thread += 5;
	*(int *)arg = per_thread + other_per_thread();
	return NULL;
}

int main(void)
{
	pthread_t t;
	int sum;

	printf("%d %d %d\n", aliased ? aliased() : -1,
	       &aliased_variable ? aliased_variable : -1, plain ? plain() : -1);
	printf("%d %d\n", nowhere ? nowhere() : -1, &nowhere_variable ? nowhere_variable : -1);
	printf("%d %d %d %d\n", which(), other_which(), first(), other_first());
	tentative = 6;
	printf("%d %d\n", *other_tentative(), other_tentative() == &tentative);
	per_thread = 70;
	pthread_create(&t, NULL, thread, &sum);
	pthread_join(t, NULL);
	printf("%d %d %d\n", sum, per_thread, other_per_thread());
	printf("%d %d %d\n", other_hidden(), same_name(), other_same_name());
#ifdef __x86_64__
	trampoline();
	printf("%d %d %d\n", asm_answer(), chosen(), other_chosen()());
	__builtin_cpu_init();
	printf("%d\n", !!__builtin_cpu_supports("sse2"));
#endif
	return 9;
}
