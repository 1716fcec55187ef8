/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What tests with children share: processes that take steps in turn, and code that
 * they recognize.
 */
#ifndef WXPOOL_FORK_H
#define WXPOOL_FORK_H

#include <sys/ptrace.h>
#ifdef __x86_64__
#include <sys/user.h>
#endif

#include "wxpool_util.h"

#define AT(page, line)	((uint64_t)PG(page) + (line) * LINE)

/* ------------------------------------------------------- steps of a child */

static inline void child_waits(struct child *c)
{
	CHILD_CHECK(!wx_wait_step(c->go[0]));
}

/* A byte for the parent, which is in child_step() */
static inline void child_says(struct child *c, char what)
{
	CHILD_CHECK(write(c->done[1], &what, 1) == 1);
}

/* Leaves open what one side uses of a child's pipes: the child's, or the other. */
static inline void child_ends(struct child *c, bool inside)
{
	close(c->go[inside]);
	close(c->done[!inside]);
}

static inline pid_t child_start(struct child *c)
{
	if (FORK(c) >= 0)
		child_ends(c, !c->pid);
	return c->pid;
}

/* Pipes of a child that a child is to fork, with child_start_own() */
static inline int child_pipes(struct child *c)
{
	return pipe(c->go) || pipe(c->done) ? -errno : 0;
}

/* It ends when whoever has the other ends does. */
static inline pid_t child_start_own(struct child *c)
{
	c->pid = fork();
	child_ends(c, !c->pid);
	if (c->pid) {
		close(c->go[1]);
		close(c->done[0]);
	}
	return c->pid;
}

/* Lets the child take a step: what it says then, or -1 if it says nothing */
static inline int child_step(struct child *c)
{
	char what;

	wx_step(c->go[1]);
	return read(c->done[0], &what, 1) == 1 ? what : -1;
}

/* Lets the child go on, or end, and gets its status if it ends. */
static inline int child_end(struct child *c)
{
	wx_step(c->go[1]);
	return wx_wait(c->pid);
}

/* All that the child has is gone once this returns. */
static inline void child_kill(struct child *c)
{
	kill(c->pid, SIGKILL);
	wx_wait(c->pid);
	close(c->go[1]);
	close(c->done[0]);
}

/* ------------------------------------------------------------------- code */

static inline bool runs(const char *p, uint32_t want)
{
	uint32_t val = 0;

	return !try_exec(p, &val) && val == want;
}

#define EXPECT_CODE(p, want) do {					\
	uint32_t _val = 0;						\
									\
	EXPECT_EQ(0, try_exec(p, &_val));				\
	EXPECT_EQ((want), _val);					\
} while (0)

/* @nr pages, sealed X, each with a function: @val, @val + 1, ... */
static inline int wx_make_pages(int fd, uint32_t pool, size_t page, size_t nr,
				uint32_t val)
{
	int ret = wx_alloc(fd, pool, page, nr);
	char *w;

	if (ret)
		return ret;
	w = wx_view(fd, RW, page, nr);
	if (w == MAP_FAILED)
		return -errno;
	wx_emit_pages(w, nr, val);
	munmap(w, PG(nr));
	return wx_protect(fd, pool, page, nr, WXPOOL_PROT_X);
}

/*
 * A context keeps what its operations need for the next ones: of one that has had
 * them all, what is charged says what it holds.
 */
static inline int wx_warm_up(int fd)
{
	int ret = wx_alloc(fd, 1, 0, 1);

	if (!ret)
		ret = wx_free(fd, 1);
	if (!ret)
		ret = wx_install_code(fd, 1, 0, 0);
	return ret ? ret : wx_free(fd, 1);
}

/* Do such pages show, and run, all of them? */
static inline bool runs_pages(const char *x, size_t nr, uint32_t val)
{
	size_t i;

	for (i = 0; i < nr; i++)
		if (!runs(x + PG(i), val + (uint32_t)i))
			return false;
	return true;
}

/* How many of @nr pages can be read */
static inline size_t readable_pages(const char *x, size_t nr)
{
	size_t i, n = 0;

	for (i = 0; i < nr; i++)
		n += !try_read(x + PG(i));
	return n;
}

/* --------------------------------------------- system calls from outside */

#ifdef __x86_64__

#define HAVE_INJECT	true

/* At this address in every process of the test's */
extern char wx_syscall_instruction[];

asm(".pushsection .text\nwx_syscall_instruction: syscall\n.popsection");

/*
 * Has a process that the caller traces, and that is stopped, do a system call:
 * its result.
 */
static inline long wx_inject(pid_t pid, long nr, unsigned long a, unsigned long b,
			     unsigned long c, unsigned long d, unsigned long e)
{
	struct user_regs_struct old, regs;
	int status;

	if (ptrace(PTRACE_GETREGS, pid, NULL, &old))
		return -errno;
	regs = old;
	regs.rip = (uintptr_t)wx_syscall_instruction;
	regs.rax = nr;
	regs.orig_rax = -1;	/* nothing to restart */
	regs.rdi = a;
	regs.rsi = b;
	regs.rdx = c;
	regs.r10 = d;
	regs.r8 = e;
	if (ptrace(PTRACE_SETREGS, pid, NULL, &regs) ||
	    ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) ||
	    waitpid(pid, &status, __WALL) != pid ||
	    ptrace(PTRACE_GETREGS, pid, NULL, &regs) ||
	    ptrace(PTRACE_SETREGS, pid, NULL, &old))
		return -errno;
	return (long)regs.rax;
}

#else

#define HAVE_INJECT	false

static inline long wx_inject(pid_t pid, long nr, unsigned long a, unsigned long b,
			     unsigned long c, unsigned long d, unsigned long e)
{
	return -ENOSYS;
}

#endif

/* Stops a process, to be a tracer of: 0 or a negative errno */
static inline int wx_attach(pid_t pid)
{
	int status;

	if (ptrace(PTRACE_ATTACH, pid, NULL, NULL))
		return -errno;
	return waitpid(pid, &status, __WALL) == pid ? 0 : -errno;
}

#endif /* WXPOOL_FORK_H */
