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
#define JUMP_EQUAL(k, skip)	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, k, 0, skip)

/* A call, and the bits that may not all be in one of its arguments */
struct rule {
	unsigned int nr, arg, bits;
};

static const struct rule rules[] = {
	{ SYS_mmap, 2, PROT_WRITE | PROT_EXEC },
	{ SYS_mprotect, 2, PROT_EXEC },
	{ SYS_pkey_mprotect, 2, PROT_EXEC },
	{ SYS_shmat, 2, SHM_EXEC },
};

#define NR_RULES	(sizeof(rules) / sizeof(rules[0]))

static int filter(void)
{
	struct sock_filter code[2 + 6 * NR_RULES], *p = code;
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };
	const struct rule *r;

	*p++ = (struct sock_filter)LOAD(nr);
	for (r = rules; r < rules + NR_RULES; r++) {
		*p++ = (struct sock_filter)JUMP_EQUAL(r->nr, 5);
		*p++ = (struct sock_filter)LOAD(args[r->arg]);
		*p++ = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, r->bits);
		*p++ = (struct sock_filter)JUMP_EQUAL(r->bits, 1);
		*p++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
		*p++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	*p = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
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
