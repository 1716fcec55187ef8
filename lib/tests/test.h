/* SPDX-License-Identifier: MIT */
/*
 * A small test harness with TAP output. A test is a function; a failed CHECK()
 * ends it from any depth of calls. Tests run in the order of the files and of
 * the lines in them.
 */
#ifndef WXP_TEST_H
#define WXP_TEST_H

#include <errno.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "code.h"
#include "wxpool.h"

#define PAGE	((size_t)sysconf(_SC_PAGESIZE))
#define MIB	((size_t)1 << 20)

typedef void (*test_fn)(void);

void test_add(const char *name, test_fn fn);
_Noreturn void test_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
_Noreturn void test_skip(const char *why);

#define TEST(name)							\
	static void name(void);						\
	__attribute__((constructor)) static void add_##name(void)	\
	{								\
		test_add(#name, name);					\
	}								\
	static void name(void)

#define CHECK(cond)							\
	do {								\
		if (!(cond))						\
			test_fail(__FILE__, __LINE__, "%s", #cond);	\
	} while (0)

#define CHECK_EQ(a, b)							\
	do {								\
		long long a_ = (long long)(a), b_ = (long long)(b);	\
									\
		if (a_ != b_)						\
			test_fail(__FILE__, __LINE__,			\
				  "%s is %lld, %s is %lld", #a, a_, #b, b_); \
	} while (0)

/* CHECK() for a child process, which may not jump out of the test. */
#define CHILD_CHECK(cond)						\
	do {								\
		if (!(cond)) {						\
			printf("# %s:%d: child: %s\n", __FILE__, __LINE__, #cond); \
			fflush(stdout);					\
			_exit(1);					\
		}							\
	} while (0)

/* harness.c: what several tests need */
struct wxp *open_window(size_t window);
struct wxp *open_default(void);
bool is_kernel(const struct wxp *w);
bool is_portable(const struct wxp *w);
bool is_fast(const struct wxp *w);
struct wxp *open_flags(unsigned int flags);
struct wxp_mem must_alloc(struct wxp *w, uint32_t pool, size_t size, size_t align,
			  enum wxp_prot prot);
void *must_load(struct wxp *w, uint32_t pool, uint32_t value);
struct wxp_stats stats_of(struct wxp *w, uint32_t pool);
void check_stats(struct wxp *w);
void check_same_stats(const struct wxp_stats *a, const struct wxp_stats *b);
bool is_zero(const void *p, size_t size);
int store_faults(volatile void *p);
int load_faults(const volatile void *p);
int run_faults(const void *p);
void wait_child(pid_t pid);

/* A child that runs @code when it is told to end. The newest ends first. */
struct child {
	pid_t pid;
	int pipe[2];
};

void start_child(struct child *c, const void *code, uint32_t value);
void end_child(struct child *c);
bool under_valgrind(void);
bool sanitized(void);
uint32_t random_next(uint64_t *state);

#endif /* WXP_TEST_H */
