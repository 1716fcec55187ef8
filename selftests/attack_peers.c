// SPDX-License-Identifier: GPL-2.0
/*
 * The attack book, other processes and files: children that inherited, peers
 * that were given, debuggers, and what /proc and the file itself offer.
 */
#include <sys/sendfile.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

#include "attack.h"
#include "wxpool_fork.h"
#include "wxpool_uring.h"

#ifndef __NR_pidfd_getfd
#define __NR_pidfd_getfd	438
#endif

static const char no_force[] =
	"/proc/PID/mem overrides nothing (proc_mem.force_override=)";
static const char no_dofork[] = "MADV_DOFORK is refused for W views";

/* ----------------------------------------------------------------- fork() */

static int store_alias(struct victim *v)
{
	return overwrite(v->w);
}

/* Forked off while the code was written, stores when it is published. */
static int alias_of_child(struct victim *v)
{
	struct attacker a;
	int ret = attacker_fork(&a, v, store_alias);

	if (!ret)
		ret = victim_publish(v);
	return ret ? ret : attacker_run(&a);
}

ATTACK_OPEN(child_alias, SIGSEGV, NONE, DONE)
{
	return alias_of_child(v);
}

/* madvise() has the child inherit the mapping after all. */
ATTACK_OPEN(child_alias_dofork, SIGBUS, NONE, DONE)
{
	if (madvise(v->w, PG(2), MADV_DOFORK))
		return v->kind == WXPOOL ? missing(v, no_dofork) : -errno;
	return alias_of_child(v);
}

/* ... and the child stores before the seal: is it the owner's page? */
ATTACK_OPEN(child_alias_open, SIGBUS, NONE, DONE)
{
	int ret;

	overwrite(v->w);
	wx_emit(v->w, GOOD);
	if (madvise(v->w, PG(2), MADV_DOFORK))
		return v->kind == WXPOOL ? missing(v, no_dofork) : -errno;
	ret = in_child(v, store_alias);
	return ret ? ret : victim_publish(v);
}

static int mprotect_code(struct victim *v)
{
	if (mprotect(v->code, PG(1), RW))
		return -errno;
	return overwrite(v->code);
}

ATTACK(child_mprotect, -EACCES, NONE, DONE)
{
	return in_child(v, mprotect_code);
}

static int map_fd_rw(struct victim *v)
{
	char *p = wx_view(v->fd, RW, 0, 1);

	return p == MAP_FAILED ? -errno : overwrite(p);
}

ATTACK(child_fd, -EXDEV, NONE, DONE)
{
	return in_child(v, map_fd_rw);
}

/* ------------------------------------------------------- a peer with the fd */

/* Got no mapping by fork(), only a file descriptor in a message. */
static int forget_code(struct victim *v)
{
	int pair[2], fd;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || wx_send_fd(pair[0], v->fd))
		return -errno;
	fd = wx_recv_fd(pair[1]);
	if (fd < 0)
		return fd;
	munmap(v->code, PG(2));
	munmap(v->w, PG(2));
	close(v->fd);
	v->fd = fd;
	return 0;
}

static int map_passed_rw(struct victim *v)
{
	int ret = forget_code(v);

	return ret ? ret : map_fd_rw(v);
}

ATTACK(peer_map_rw, -EXDEV, NONE, DONE)
{
	return in_child(v, map_passed_rw);
}

static int mprotect_passed(struct victim *v)
{
	int ret = forget_code(v);

	if (ret)
		return ret;
	v->code = wx_view(v->fd, RX, 0, 1);
	return v->code == MAP_FAILED ? -errno : mprotect_code(v);
}

ATTACK(peer_mprotect, -EACCES, NONE, DONE)
{
	return in_child(v, mprotect_passed);
}

/* Code of its own into the other's pages */
static int add_passed(struct victim *v)
{
	int ret = forget_code(v);

	if (ret)
		return ret;
	if (v->kind == MEMFD)
		return pwrite(v->fd, evil_page(), LINE, 0) == LINE ? HARMLESS : -errno;
	return wx_install(v->fd, POOL, PG(4), evil_page(), LINE, WXPOOL_PROT_X);
}

ATTACK(peer_add_code, -EXDEV, NONE, DONE)
{
	return in_child(v, add_passed);
}

static struct wxpool_install install_of(const struct wxpool_install_range *r)
{
	return (struct wxpool_install) {
		.size = sizeof(struct wxpool_install), .pool = POOL,
		.ranges = (uintptr_t)r, .nr_ranges = 1,
	};
}

/* The same by io_uring, which asks as whom it executes, and not who opened */
static int add_by_uring(struct victim *v)
{
	struct wxpool_install_range r = wx_bytes(PG(4), evil_page(), LINE, WXPOOL_PROT_X);
	struct wxpool_install arg = install_of(&r);
	struct io_uring_sqe sqe;
	struct io_uring ring;

	if (ring_init(&ring, 0))
		return MISSING;
	sqe = ring_cmd(v->fd, WXPOOL_IOC_INSTALL, &arg, IOSQE_ASYNC, 0);
	if (v->kind == MEMFD)
		sqe = (struct io_uring_sqe) {
			.opcode = IORING_OP_WRITE, .fd = v->fd,
			.addr = (uintptr_t)evil_page(), .len = LINE,
		};
	ring_submit(&ring, &sqe);
	return ring_wait(&ring);
}

ATTACK(peer_uring, -EXDEV, NONE, DONE)
{
	int ret = in_child(v, add_by_uring);

	return ret == MISSING ? missing(v, "no io_uring") : ret;
}

/* Takes the code away: of a file its pages, of wxpool its pool. */
static int take_passed(struct victim *v)
{
	int ret = forget_code(v);

	if (ret)
		return ret;
	if (v->kind == WXPOOL)
		return wx_free(v->fd, POOL);
	return ftruncate(v->fd, 0) ? -errno : HARMLESS;
}

ATTACK(peer_take_away, -EXDEV, NONE, DONE)
{
	int ret = in_child(v, take_passed);

	if (ret)
		return ret;
	return try_read(v->code) ? DONE : HARMLESS;
}

/* Nothing can be added any more, by anybody: that only the owner may ask for. */
static int freeze_passed(struct victim *v)
{
	int ret = forget_code(v);

	return ret ? ret : wx_freeze(v->fd);
}

ATTACK(peer_freeze, -EXDEV, NONE, NONE)
{
	int ret = in_child(v, freeze_passed);

	return ret ? ret : DONE;
}

/* Waits until the owner has freed the code, and runs it. */
static int hold_code(struct victim *v, struct child *c)
{
	uint32_t val;
	int sig;

	CHILD_CHECK(run(v->code) == HARMLESS);
	CHILD_CHECK(!wx_step(c->done[1]) && !wx_wait_step(c->go[0]));
	sig = try_exec(v->code, &val);
	return sig ? sig : val == GOOD ? DONE : HARMLESS;
}

static int hold_inherited(struct victim *v, struct child *c)
{
	return hold_code(v, c);
}

static int hold_passed(struct victim *v, struct child *c)
{
	CHILD_CHECK(!forget_code(v));
	v->code = wx_view(v->fd, RX, 0, 1);
	CHILD_CHECK(v->code != MAP_FAILED);
	return hold_code(v, c);
}

/* Of the child the owner knows that it holds memory, of the peer that it can't. */
static int free_all(struct victim *v, unsigned int kept, uint32_t flags)
{
	const uint32_t pool = POOL;
	struct wxpool_free arg;

	v->freed = true;
	if (v->kind == WXPOOL)
		return wx_free_vec(v->fd, &pool, 1, flags, &arg) ||
		       arg.pages_kept != kept ? -EBUSY : 0;
	if (munmap(v->code, PG(2)) || (v->kind == MEMFD && munmap(v->w, PG(2))))
		return -errno;
	return v->kind == MEMFD && close(v->fd) ? -errno : 0;
}

static int run_freed(struct victim *v, int (*hold)(struct victim *v, struct child *c),
		     unsigned int kept, uint32_t flags)
{
	struct child c;
	int ret;

	if (FORK(&c) < 0)
		return -errno;
	if (!c.pid)
		_exit(hold(v, &c));
	close(c.done[1]);
	if (wx_wait_step(c.done[0]))
		return BROKEN;
	ret = free_all(v, kept, flags);
	wx_step(c.go[1]);
	return ret ? ret : wx_wait(c.pid);
}

/* Who maps the code has its memory, whatever the owner does. */
ATTACK(peer_hold_memory, SIGBUS, NONE, DONE)
{
	return run_freed(v, hold_passed, 0, 0);
}

/* Not prevented by wxpool: what fork() gave to a child it keeps. */
ATTACK(child_hold_memory, DONE, DONE, DONE)
{
	return run_freed(v, hold_inherited, 2, 0);
}

/* ... but from an owner who wants it back from all. */
ATTACK(child_hold_revoked, SIGBUS, DONE, DONE)
{
	return run_freed(v, hold_inherited, 0, WXPOOL_FREE_REVOKE);
}

/* ------------------------------------------------------ a ring of the owner's */

/* What a child finds at the addresses where its parent has it */
struct request {
	struct wxpool_install_range range;
	struct wxpool_install arg;
	struct io_uring ring;
	struct io_uring_sqe sqe;
};

static struct request request;

static int submit_request(struct victim *v)
{
	ring_submit(&request.ring, &request.sqe);
	return ring_wait(&request.ring);
}

/* Not prevented by wxpool: a thread of the owner's does what the ring says. */
ATTACK(child_sqpoll, DONE, -EFAULT, DONE)
{
	struct request *r = &request;
	int ret;

	if (ring_init(&r->ring, IORING_SETUP_SQPOLL))
		return missing(v, "no io_uring with SQPOLL");
	r->range = wx_bytes(PG(4), evil_page(), LINE, WXPOOL_PROT_X);
	r->arg = install_of(&r->range);
	r->sqe = ring_cmd(v->fd, WXPOOL_IOC_INSTALL, &r->arg, 0, 0);
	if (v->kind != WXPOOL)
		r->sqe = (struct io_uring_sqe) {
			.opcode = IORING_OP_READ, .fd = evil_file(),
			.addr = (uintptr_t)v->w, .len = LINE,
		};
	ret = in_child(v, submit_request);
	if (v->kind == WXPOOL && !ret)
		ret = run(wx_view(v->fd, RX, 4, 1));
	return ret == LINE ? HARMLESS : ret;
}

/* Takes a descriptor out of another process. */
static int getfd_of_parent(struct victim *v)
{
	int pidfd = syscall(__NR_pidfd_open, getppid(), 0);

	v->fd = syscall(__NR_pidfd_getfd, pidfd, v->fd, 0);
	return v->fd < 0 ? -errno : map_fd_rw(v);
}

ATTACK(pidfd_getfd_map_rw, -EXDEV, NONE, DONE)
{
	return in_child(v, getfd_of_parent);
}

/* ---------------------------------------------------- through /proc/PID/mem */

static int write_mem(struct victim *v, pid_t pid, void *p)
{
	char path[64];
	int mem, ret;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	mem = open(path, O_RDWR | O_CLOEXEC);
	if (mem < 0)
		return -errno;
	ret = pwrite(mem, evil_page(), LINE, (off_t)(uintptr_t)p) == LINE ? 0 : -errno;
	close(mem);
	if (ret && v->kind == MPROTECT)
		return missing(v, no_force);
	return ret;
}

ATTACK(proc_self_mem, -EIO, DONE, -EIO)
{
	return write_mem(v, getpid(), v->code);
}

/* Through the mapping that it was written by: on a memfd that is a store. */
ATTACK(proc_self_mem_alias, -EIO, NONE, DONE)
{
	return write_mem(v, getpid(), v->w);
}

static int write_mem_of_parent(struct victim *v)
{
	return write_mem(v, getppid(), v->code);
}

ATTACK(proc_pid_mem, -EIO, DONE, -EIO)
{
	int ret = in_child(v, write_mem_of_parent);

	return ret == MISSING ? missing(v, no_force) : ret;
}

/* A forced read of the page that is still written, through what may run it */
ATTACK_OPEN(proc_self_mem_read, SIGBUS, NONE, DONE)
{
	int mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC), ret;
	char byte;

	overwrite(v->w);
	if (mprotect(v->code, PG(1), PROT_NONE))
		return -errno;
	if (pread(mem, &byte, 1, (off_t)(uintptr_t)v->code) != 1 && v->kind == MEMFD)
		ret = missing(v, no_force);
	else
		ret = mprotect(v->code, PG(1), RX) ? -errno : run(v->code);
	wx_emit(v->w, GOOD);
	return ret;
}

/* ---------------------------------------------------------------- ptrace */

static int poke(pid_t pid, char *to)
{
	char *from = evil_page();
	size_t i;
	long word;

	for (i = 0; i < LINE; i += sizeof(word)) {
		memcpy(&word, from + i, sizeof(word));
		if (ptrace(PTRACE_POKEDATA, pid, to + i, word))
			return -errno;
	}
	return 0;
}

/* The traced process is the parent, in read(), which goes on afterwards. */
static int poke_parent(struct victim *v)
{
	pid_t pid = getppid();
	int ret = wx_attach(pid);

	if (ret)
		return ret;
	ret = poke(pid, v->code);
	ptrace(PTRACE_DETACH, pid, NULL, NULL);
	return ret;
}

ATTACK(ptrace_poke, -EIO, DONE, -EIO)
{
	return in_child(v, poke_parent);
}

static int poke_alias_of_parent(struct victim *v)
{
	v->code = v->w;
	return poke_parent(v);
}

ATTACK(ptrace_poke_alias, -EIO, NONE, DONE)
{
	return in_child(v, poke_alias_of_parent);
}

static int inject_into_parent(struct victim *v)
{
	pid_t pid = getppid();
	int ret = HAVE_INJECT ? wx_attach(pid) : MISSING;

	if (ret)
		return ret;
	ret = wx_inject(pid, __NR_mprotect, (uintptr_t)v->code, PG(1), RWX, 0, 0);
	if (!ret)
		ret = poke(pid, v->code);
	ptrace(PTRACE_DETACH, pid, NULL, NULL);
	return ret;
}

/* A system call in the owner's name, from outside */
ATTACK(ptrace_inject, -EACCES, DONE, DONE)
{
	int ret = in_child(v, inject_into_parent);

	return ret == MISSING ? missing(v, "no code to inject on this architecture") : ret;
}

static int writev_to_parent(struct victim *v)
{
	struct iovec local = { evil_page(), LINE }, remote = { v->w, LINE };

	return process_vm_writev(getppid(), &local, 1, &remote, 1, 0) == LINE ?
	       0 : -errno;
}

/* Where the code was written; with mprotect() that is the code, and refused. */
ATTACK(process_vm_writev_alias, -EFAULT, -EFAULT, DONE)
{
	return in_child(v, writev_to_parent);
}

/* ------------------------------------------------------------- opened anew */

static int open_and_map(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	char *p;

	if (fd < 0)
		return -errno;
	p = wx_view(fd, RW, 0, 1);
	return p == MAP_FAILED ? -errno : overwrite(p);
}

/* wxpool: a context of its own, with nothing in it */
ATTACK(reopen_proc_fd, SIGBUS, NONE, DONE)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", v->fd);
	return open_and_map(path);
}

ATTACK(reopen_map_files, SIGBUS, NONE, DONE)
{
	char path[64];
	int ret;

	/* A mapping of which this is all, so that its name is known */
	munmap(v->code + PG(1), PG(1));
	snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx", (int)getpid(),
		 (unsigned long)v->code, (unsigned long)(v->code + PG(1)));
	ret = open_and_map(path);
	return ret == -ENOENT || ret == -EPERM ? missing(v, "no /proc/PID/map_files") : ret;
}

/* ----------------------------------------------------- writing to the file */

ATTACK(file_pwrite, REFUSED, NONE, DONE)
{
	return pwrite(v->fd, evil_page(), LINE, 0) == LINE ? 0 : -errno;
}

ATTACK(file_write, REFUSED, NONE, DONE)
{
	lseek(v->fd, 0, SEEK_SET);
	return write(v->fd, evil_page(), LINE) == LINE ? 0 : -errno;
}

ATTACK(file_sendfile, REFUSED, NONE, DONE)
{
	off_t from = 0;

	lseek(v->fd, 0, SEEK_SET);
	return sendfile(v->fd, evil_file(), &from, LINE) == LINE ? 0 : -errno;
}

ATTACK(file_splice, REFUSED, NONE, DONE)
{
	loff_t to = 0;
	int p[2];

	if (pipe(p) || write(p[1], evil_page(), LINE) != LINE)
		return BROKEN;
	return splice(p[0], NULL, v->fd, &to, LINE, 0) == LINE ? 0 : -errno;
}

ATTACK(file_copy_range, REFUSED, NONE, DONE)
{
	loff_t from = 0, to = 0;

	return copy_file_range(evil_file(), &from, v->fd, &to, LINE, 0) == LINE ?
	       0 : -errno;
}

ATTACK(file_punch_hole, REFUSED, NONE, DONE)
{
	return fallocate(v->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			 (off_t)PG(1)) ? -errno : 0;
}

ATTACK(file_truncate, REFUSED, NONE, DONE)
{
	if (ftruncate(v->fd, 0))
		return -errno;
	return try_read(v->code) ? DONE : HARMLESS;
}

TEST_HARNESS_MAIN
