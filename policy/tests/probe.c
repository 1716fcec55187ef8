// SPDX-License-Identifier: MIT
/*
 * probe: what a program may do with the device under the policy at hand, a line for each step:
 * its name, and "ok" or the error.
 *
 *	probe [COMMAND...]	opens the device; the command gets the descriptor as number 9
 *	probe --fd 9		was handed it
 *	probe --fill		allocates until it is refused
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <liburing.h>
#include <wxpool.h>

#include <linux/wxpool.h>

#define HANDED	9
#define PAGE	4096

enum { ALLOCATED, INSTALLED = PAGE, BY_RING = 2 * PAGE };	/* offsets */

static const unsigned char code[] = { 0xb8, 42, 0, 0, 0, 0xc3 };	/* return 42 */

static void say(const char *step, int err)
{
	printf("%s %s\n", step, err ? strerrorname_np(err) : "ok");
	fflush(stdout);
}

static void anonymous(void)
{
	void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	say("anonymous", mprotect(p, PAGE, PROT_READ | PROT_EXEC) ? errno : 0);
	munmap(p, PAGE);
}

/* A file that was written is mapped executable. */
static void of_file(const char *step, int fd)
{
	void *p = MAP_FAILED;

	if (fd >= 0 && write(fd, code, sizeof(code)) == sizeof(code))
		p = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	say(step, p == MAP_FAILED ? errno : 0);
	if (p != MAP_FAILED)
		munmap(p, PAGE);
	if (fd >= 0)
		close(fd);
}

static void temporary(const char *step, const char *folder)
{
	of_file(step, open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
}

static void shared_memory(void)
{
	int id = shmget(IPC_PRIVATE, PAGE, IPC_CREAT | 0600);
	void *p = id < 0 ? (void *)-1 : shmat(id, NULL, SHM_EXEC | SHM_RDONLY);

	say("shm", p == (void *)-1 ? errno : 0);
	if (id >= 0)
		shmctl(id, IPC_RMID, NULL);
	if (p != (void *)-1)
		shmdt(p);
}

static void over_code(void)
{
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC), err = errno;

	if (fd >= 0)
		err = pwrite(fd, (void *)say, 1, (uintptr_t)say) == 1 ? 0 : errno;
	say("mem", err);
	if (fd >= 0)
		close(fd);
}

/* Ways to executable memory that are not the device's */
static void other_ways(void)
{
	anonymous();
	of_file("memfd", memfd_create("probe", MFD_CLOEXEC));
	temporary("tmp", "/tmp");
	temporary("var-tmp", "/var/tmp");
	temporary("dev-shm", "/dev/shm");
	shared_memory();
	over_code();
}

static void operation(const char *step, int fd, unsigned long op, void *arg)
{
	say(step, ioctl(fd, op, arg) ? errno : 0);
}

static struct wxpool_install_range range;
static struct wxpool_install install;

static struct wxpool_install *install_at(uint64_t offset, uint32_t pool)
{
	range = (struct wxpool_install_range){
		.offset = offset,
		.length = sizeof(code),
		.source = (uintptr_t)code,
		.prot = WXPOOL_PROT_X,
	};
	install = (struct wxpool_install){
		.size = sizeof(install),
		.pool = pool,
		.ranges = (uintptr_t)&range,
		.nr_ranges = 1,
	};
	return &install;
}

/* The same number to the kernel, which takes 32 bits of it */
static void high_number(int fd)
{
	long ret = syscall(SYS_ioctl, fd, WXPOOL_IOC_INSTALL | 1ul << 32,
			   install_at(INSTALLED + PAGE / 2, 2));

	say("high", ret ? errno : 0);
}

static void in_place(int fd)
{
	struct wxpool_alloc_range ranges = { .offset = ALLOCATED, .length = PAGE };
	struct wxpool_protect_range sealed = {
		.offset = ALLOCATED,
		.length = PAGE,
		.prot = WXPOOL_PROT_X,
	};
	struct wxpool_alloc alloc = {
		.size = sizeof(alloc),
		.pool = 1,
		.ranges = (uintptr_t)&ranges,
		.nr_ranges = 1,
	};
	struct wxpool_protect protect = {
		.size = sizeof(protect),
		.pool = 1,
		.ranges = (uintptr_t)&sealed,
		.nr_ranges = 1,
	};

	operation("alloc", fd, WXPOOL_IOC_ALLOC, &alloc);
	operation("protect", fd, WXPOOL_IOC_PROTECT, &protect);
}

static void by_ring(int fd)
{
	struct wxpool_uring_cmd cmd = { .arg = (uintptr_t)install_at(BY_RING, 3) };
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;
	struct io_uring ring;
	int ret = io_uring_queue_init(1, &ring, 0);

	if (ret) {
		say("ring", -ret);
		return;
	}
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, fd, NULL, 0, 0);
	sqe->cmd_op = WXPOOL_IOC_INSTALL;
	memcpy(&sqe->addr3, &cmd, sizeof(cmd));
	ret = io_uring_submit_and_wait(&ring, 1);
	if (ret > 0 && !io_uring_wait_cqe(&ring, &cqe))
		ret = cqe->res;
	say("ring", ret < 0 ? -ret : 0);
	io_uring_queue_exit(&ring);
}

static void died(int sig)
{
	printf("run SIG%s\n", sigabbrev_np(sig));
	fflush(stdout);
	_exit(1);
}

/* In a child: what is not there ends it. */
static void run(const char *at)
{
	int (*function)(void);
	pid_t pid = fork();

	if (!pid) {
		signal(SIGBUS, died);
		signal(SIGSEGV, died);
		memcpy(&function, &at, sizeof(function));
		say("run", function() == 42 ? 0 : EILSEQ);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

static void map_and_run(int fd)
{
	char *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);

	say("map", p == MAP_FAILED ? errno : 0);
	if (p == MAP_FAILED)
		return;
	run(p + INSTALLED);
	munmap(p, 3 * PAGE);
}

static void map_writable(int fd)
{
	void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	say("write", p == MAP_FAILED ? errno : 0);
}

static void last_operations(int fd)
{
	uint32_t pool = 1;
	struct wxpool_free arg = {
		.size = sizeof(arg),
		.pools = (uintptr_t)&pool,
		.nr_pools = 1,
	};
	struct wxpool_freeze freeze = { .size = sizeof(freeze) };

	operation("free", fd, WXPOOL_IOC_FREE, &arg);
	operation("freeze", fd, WXPOOL_IOC_FREEZE, &freeze);
}

/* With the words for what went wrong */
static void library(void)
{
	const struct wxp_options options = {
		.size = sizeof(options),
		.backend = WXP_BACKEND_KERNEL,
	};
	struct wxp *wxp;
	void *addr;
	int err = wxp_open(&wxp, &options);

	if (!err)
		err = wxp_load(wxp, 1, code, sizeof(code), WXP_RX, &addr);
	say("library", -err);
	if (err)
		printf("# %s\n", wxp_strerror(err));
}

static void hand_over(int fd, char **command)
{
	pid_t pid = fork();

	if (!pid) {
		dup2(fd, HANDED);
		execvp(command[0], command);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

static void opened(int fd, char **command)
{
	struct wxpool_info info = { .size = sizeof(info) };

	operation("info", fd, WXPOOL_IOC_INFO, &info);
	in_place(fd);
	operation("install", fd, WXPOOL_IOC_INSTALL, install_at(INSTALLED, 2));
	high_number(fd);
	map_and_run(fd);
	if (*command) {
		hand_over(fd, command);
		return;
	}
	by_ring(fd);
	last_operations(fd);
}

/* Pages are there from ALLOC on. */
static void fill(void)
{
	struct wxpool_alloc_range part = { .length = 1 << 20 };
	struct wxpool_alloc alloc = {
		.size = sizeof(alloc),
		.pool = 1,
		.ranges = (uintptr_t)&part,
		.nr_ranges = 1,
	};
	int fd = open("/dev/wxpool", O_RDWR | O_CLOEXEC);

	while (!ioctl(fd, WXPOOL_IOC_ALLOC, &alloc))
		part.offset += part.length;
	say("fill", errno);
	printf("filled %d\n", (int)(part.offset >> 20));
}

int main(int argc, char **argv)
{
	int fd;

	if (argc == 3 && !strcmp(argv[1], "--fd")) {
		fd = atoi(argv[2]);
		map_and_run(fd);
		map_writable(fd);
		operation("install", fd, WXPOOL_IOC_INSTALL, install_at(INSTALLED + 64, 2));
		return 0;
	}
	if (argc == 2 && !strcmp(argv[1], "--fill")) {
		fill();
		return 0;
	}
	other_ways();
	fd = open("/dev/wxpool", O_RDWR | O_CLOEXEC);
	say("open", fd < 0 ? errno : 0);
	if (fd < 0) {
		fd = open("/dev/wxpool", O_RDONLY | O_CLOEXEC);
		say("open-read", fd < 0 ? errno : 0);
	}
	if (fd >= 0)
		opened(fd, argv + 1);
	library();
	return 0;
}
