// SPDX-License-Identifier: MIT
/*
 * wxfuzz: processes
 *
 * The first one runs the list; the others wait for their turn. One at a time is
 * at work, so all share one model.
 *
 * fork:  proc forks process a; exit: process proc; exec: likewise, by another
 * program with the same memory map; pass: proc sends a context to process a
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "wxfuzz.h"

static void futex_wait(uint32_t *word, uint32_t val)
{
	struct timespec ts = { .tv_sec = 1 };

	syscall(SYS_futex, word, FUTEX_WAIT, val, &ts, NULL, 0);
}

static void futex_wake(uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static uint32_t load(uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void store(uint32_t *word, uint32_t val)
{
	__atomic_store_n(word, val, __ATOMIC_RELEASE);
}

/* A process that waits for operations, until the first one is gone. */
static void __attribute__((noreturn)) serve(unsigned int proc)
{
	me = proc;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin_forget();
	for (;;) {
		uint32_t seen = load(&W->done[me]);

		while (load(&W->turn[me]) == seen) {
			futex_wait(&W->turn[me], seen);
			if (getppid() == 1)
				_exit(0);
		}
		run_here(&W->cmd);
		store(&W->done[me], seen + 1);
		futex_wake(&W->done[me]);
	}
}

static void check_alive(unsigned int proc)
{
	int status;

	if (waitpid(W->proc[proc].pid, &status, WNOHANG) != W->proc[proc].pid)
		return;
	if (!W->miss.kind && WIFSIGNALED(status))
		miss(MISS_CRASH, 0, 0, WTERMSIG(status), "process %u died", proc);
	_exit(3);
}

/* Has another process execute an operation. */
static void serve_me(unsigned int proc, const struct op *op)
{
	uint32_t seen = W->done[proc];

	W->cmd = *op;
	store(&W->turn[proc], seen + 1);
	futex_wake(&W->turn[proc]);
	while (load(&W->done[proc]) == seen) {
		futex_wait(&W->done[proc], seen);
		if (load(&W->done[proc]) == seen)
			check_alive(proc);
	}
}

void run_op(const struct op *op)
{
	struct op recv;

	if (op->proc == me)
		run_here(op);
	else
		serve_me(op->proc, op);
	if (op->kind == OP_EXIT || op->kind == OP_EXEC) {
		proc_wait_done(op->proc);
		expect_ret(op, 0, 0);
	} else if (op->kind == OP_PASS) {
		recv = *op;
		recv.proc = op->a;
		recv.flags = 1;
		if (recv.proc == me)
			run_here(&recv);
		else
			serve_me(recv.proc, &recv);
	}
}

/* All are children of the first process, also those that another one forks. */
static long do_fork(const struct op *op)
{
	unsigned int n = op->a;
	long pid;

	W->done[n] = W->turn[n] = 0;
	fflush(NULL);
	if (me == 0)
		pid = fork();
	else
		pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
	if (!pid)
		serve(n);
	expect_ret(op, 0, pid < 0 ? -errno : 0);
	W->proc[n].pid = pid;
	space_fork(me, n);
	return 0;
}

/* Before any context is opened, so that nothing is inherited. */
void proc_start_stranger(void)
{
	struct op op = { .kind = OP_FORK, .a = 1 };
	unsigned int i;

	for (i = 0; i < NR_PROCS; i++)
		if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, W->sock[i]))
			abort();
	do_fork(&op);
}

static long send_fd(int sock, int fd)
{
	char c = 0, buf[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &c, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = buf, .msg_controllen = sizeof(buf),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	return sendmsg(sock, &msg, 0) == 1 ? 0 : -errno;
}

static long recv_fd(int sock)
{
	char c, buf[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &c, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = buf, .msg_controllen = sizeof(buf),
	};
	struct cmsghdr *cmsg;
	int fd;

	if (recvmsg(sock, &msg, MSG_DONTWAIT) != 1)
		return -errno;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS)
		return ERR(EBADMSG);
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(int));
	return fd;
}

static long do_pass(const struct op *op)
{
	long ret;

	if (!op->flags) {
		ret = send_fd(W->sock[op->a][0], FD_CTX + op->ctx);
		expect_ret(op, 0, ret);
		return ret;
	}
	ret = recv_fd(W->sock[op->a][1]);
	expect_ret(op, 0, ret < 0 ? ret : 0);
	dup3(ret, FD_CTX + op->ctx, O_CLOEXEC);
	close(ret);
	W->proc[me].fd[op->ctx] = 1;
	return 0;
}

/* Runs the other half of this program: see main.c. */
static void __attribute__((noreturn)) do_exec(const struct op *op)
{
	char fd[16] = "-1";

	if (W->proc[me].fd[op->ctx]) {
		snprintf(fd, sizeof(fd), "%d", FD_CTX + op->ctx);
		fcntl(FD_CTX + op->ctx, F_SETFD, 0);
	}
	execl("/proc/self/exe", "wxfuzz", "--after-exec", fd, NULL);
	_exit(5);
}

/* An EXIT or EXEC: until its memory is gone */
bool proc_wait_done(unsigned int proc)
{
	int status = 0;

	while (waitpid(W->proc[proc].pid, &status, 0) < 0)
		if (errno != EINTR)
			abort();
	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		if (!W->miss.kind)
			miss(MISS_CRASH, 0, 0, status, "how process %u ended", proc);
		_exit(3);
	}
	space_exit(proc);
	return true;
}

long proc_do(const struct op *op)
{
	switch (op->kind) {
	case OP_FORK:
		return do_fork(op);
	case OP_PASS:
		return do_pass(op);
	case OP_EXEC:
		store(&W->done[me], load(&W->turn[me]));
		futex_wake(&W->done[me]);
		do_exec(op);
	default:
		store(&W->done[me], load(&W->turn[me]));
		futex_wake(&W->done[me]);
		_exit(0);
	}
}

void proc_end_all(void)
{
	unsigned int i;

	for (i = 1; i < NR_PROCS; i++) {
		if (!W->proc[i].alive)
			continue;
		kill(W->proc[i].pid, SIGKILL);
		waitpid(W->proc[i].pid, NULL, 0);
	}
	for (i = 0; i < NR_PROCS; i++) {
		if (!W->sock[i][0])
			continue;
		close(W->sock[i][0]);
		close(W->sock[i][1]);
	}
}
