// SPDX-License-Identifier: MIT
/*
 * hardened mdwe|seccomp COMMAND...: run a command as services with systemd's
 * MemoryDenyWriteExecute= run: by the kernel's PR_SET_MDWE, or by the seccomp filter
 * that systemd installs.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE		65
#define PR_MDWE_REFUSE_EXEC_GAIN	1
#endif

#define LOAD(field)	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ARG(n)		LOAD(args[n])
#define REFUSE		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)
#define ALLOW		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* If the call is @nr, refuse it if all of @bits are in argument @n */
#define DENY(nr, n, bits)						\
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 5),			\
	ARG(n),								\
	BPF_STMT(BPF_ALU | BPF_AND | BPF_K, bits),			\
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, bits, 0, 1),		\
	REFUSE,								\
	ALLOW

static int filter(void)
{
	struct sock_filter code[] = {
		LOAD(nr),
		DENY(SYS_mmap, 2, PROT_WRITE | PROT_EXEC),
		DENY(SYS_mprotect, 2, PROT_EXEC),
		DENY(SYS_pkey_mprotect, 2, PROT_EXEC),
		DENY(SYS_shmat, 2, SHM_EXEC),
		ALLOW,
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

int main(int argc, char **argv)
{
	int err;

	if (argc < 3) {
		fputs("usage: hardened mdwe|seccomp COMMAND...\n", stderr);
		return 2;
	}
	if (strcmp(argv[1], "mdwe"))
		err = filter();
	else
		err = prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0);
	if (err) {
		perror(argv[1]);
		return 77;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 1;
}
