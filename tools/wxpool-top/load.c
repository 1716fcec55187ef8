// SPDX-License-Identifier: MIT
/*
 * load: does things with /dev/wxpool of which a test knows what is to be seen
 *
 *   load work    each kind of thing once or twice, and ends
 *   load hold    holds contexts, by itself and with a child, until its input ends
 *   load threads the same, with threads: one has a table of its own, the child's main one ended
 *   load many    the same of 600 descriptors of 200 contexts, of which the child has all
 *   sleep 10     a link to it: writes a line to the file "ready", and reads "go" to its end
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/wxpool.h>

#define CHECK(cond) do {						\
	if (!(cond)) {							\
		fprintf(stderr, "load: %s:%d: %s\n", __FILE__, __LINE__, #cond);	\
		exit(1);						\
	}								\
} while (0)

static int page_size;

static int open_context(void)
{
	int fd = open("/dev/wxpool", O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0);
	return fd;
}

static int alloc(int fd, uint32_t pool, int page, int nr)
{
	struct wxpool_alloc_range range = {
		.offset = (uint64_t)page * page_size, .length = (uint64_t)nr * page_size,
	};
	struct wxpool_alloc arg = {
		.size = sizeof(arg), .pool = pool, .ranges = (uintptr_t)&range, .nr_ranges = 1,
	};

	return ioctl(fd, WXPOOL_IOC_ALLOC, &arg);
}

static int protect(int fd, uint32_t pool, int page, int nr, uint32_t prot)
{
	struct wxpool_protect_range range = {
		.offset = (uint64_t)page * page_size, .length = (uint64_t)nr * page_size,
		.prot = prot,
	};
	struct wxpool_protect arg = {
		.size = sizeof(arg), .pool = pool, .ranges = (uintptr_t)&range, .nr_ranges = 1,
	};

	return ioctl(fd, WXPOOL_IOC_PROTECT, &arg);
}

/* Lines of zeros */
static int install(int fd, uint32_t pool, int line, int nr, uint32_t prot)
{
	static const char zeros[1 << 14];
	struct wxpool_install_range range = {
		.offset = (uint64_t)line * 64, .length = (uint64_t)nr * 64,
		.source = (uintptr_t)zeros, .prot = prot,
	};
	struct wxpool_install arg = {
		.size = sizeof(arg), .pool = pool, .ranges = (uintptr_t)&range, .nr_ranges = 1,
	};

	return ioctl(fd, WXPOOL_IOC_INSTALL, &arg);
}

static int free_pool(int fd, uint32_t pool)
{
	struct wxpool_free arg = {
		.size = sizeof(arg), .pools = (uintptr_t)&pool, .nr_pools = 1,
	};

	return ioctl(fd, WXPOOL_IOC_FREE, &arg);
}

static int freeze(int fd)
{
	struct wxpool_freeze arg = { .size = sizeof(arg) };

	return ioctl(fd, WXPOOL_IOC_FREEZE, &arg);
}

/*
 * In place: 8 pages of pool 1, of which 3 become code and 1 constants; 4 stay as they are.
 * Installed: pools 2 to 5 get 2 lines of code each, and pool 2 one of constants. Four pools
 * are freed, one goes with the context. Refused: twice ENOENT, once EEXIST, one view,
 * two of other devices' ioctl()s, of which one ends as INSTALL does; and what is over the limit
 * of the context.
 */
static void work(void)
{
	int fd = open_context();
	uint32_t pool;

	CHECK(!alloc(fd, 1, 0, 8));
	CHECK(!protect(fd, 1, 0, 3, WXPOOL_PROT_X));
	CHECK(!protect(fd, 1, 3, 1, WXPOOL_PROT_R));
	for (pool = 2; pool <= 5; pool++)
		CHECK(!install(fd, pool, 65536 + 2 * pool, 2, WXPOOL_PROT_X));
	CHECK(!install(fd, 2, 131072, 1, WXPOOL_PROT_R));
	CHECK(free_pool(fd, 9) && errno == ENOENT);
	CHECK(free_pool(fd, 9) && errno == ENOENT);
	CHECK(install(fd, 6, 65536 + 4, 1, WXPOOL_PROT_X) && errno == EEXIST);
	CHECK(mmap(NULL, page_size, PROT_WRITE | PROT_EXEC, MAP_SHARED, fd, 0) == MAP_FAILED &&
	      errno == EACCES);
	CHECK(ioctl(fd, TCGETS) == -1 && errno == ENOTTY);
	CHECK(ioctl(fd, _IO('A', _IOC_NR(WXPOOL_IOC_INSTALL))) == -1 && errno == ENOTTY);
	CHECK(alloc(fd, 7, 1000, 1 << 20) && errno == ENOSPC);
	for (pool = 1; pool <= 4; pool++)
		CHECK(!free_pool(fd, pool));
	close(fd);
}

/* Three contexts: one of its own twice, one with a child, one that is frozen and the child's. */
static void hold(void)
{
	int fd = open_context(), copy = dup(fd), shared = open_context(), child;
	char c;

	prctl(PR_SET_NAME, "a \"b\\c\"");
	CHECK(copy >= 0 && !alloc(fd, 1, 0, 4));
	CHECK(!alloc(shared, 1, 0, 8) && !protect(shared, 1, 0, 5, WXPOOL_PROT_X));
	child = fork();
	CHECK(child >= 0);
	if (!child) {
		close(fd);
		close(copy);
		prctl(PR_SET_NAME, "child\n");
		fd = open_context();
		CHECK(!install(fd, 1, 0, 1, WXPOOL_PROT_R) && !freeze(fd));
		printf("%d %d\n", getppid(), getpid());
		fflush(stdout);
	}
	while (read(0, &c, 1) == 1)
		;
	if (child)
		waitpid(child, NULL, 0);
}

static void *be_separate(void *ready)
{
	CHECK(!unshare(CLONE_FILES));
	CHECK(!alloc(open_context(), 1, 0, 2));
	CHECK(!sem_post(ready));
	pause();
	return NULL;
}

static void *be_last(void *main_thread)
{
	char c;

	CHECK(!pthread_join(*(pthread_t *)main_thread, NULL));
	printf("%d %d\n", getppid(), getpid());
	fflush(stdout);
	while (read(0, &c, 1) == 1)
		;
	exit(0);
}

static void hold_by_threads(void)
{
	static pthread_t self;
	pthread_t thread;
	sem_t ready;
	int child;

	CHECK(!sem_init(&ready, 0, 0));
	CHECK(!pthread_create(&thread, NULL, be_separate, &ready) && !sem_wait(&ready));
	child = fork();
	CHECK(child >= 0);
	if (child) {
		waitpid(child, NULL, 0);
		return;
	}
	CHECK(!alloc(open_context(), 1, 0, 3));
	self = pthread_self();
	CHECK(!pthread_create(&thread, NULL, be_last, &self));
	pthread_exit(NULL);
}

/* Their descriptors are not side by side: all contexts, all again, and once more. */
static void hold_many(void)
{
	int fds[600], i, child;
	char c;

	for (i = 0; i < 600; i++) {
		fds[i] = i < 200 ? open_context() : dup(fds[i - 200]);
		CHECK(fds[i] >= 0 && (i >= 200 || !alloc(fds[i], 1, 0, 1 + i % 3)));
	}
	child = fork();
	CHECK(child >= 0);
	if (!child) {
		printf("%d %d\n", getppid(), getpid());
		fflush(stdout);
	}
	while (read(0, &c, 1) == 1)
		;
	if (child)
		waitpid(child, NULL, 0);
}

/*
 * In the place of one that looks at the clock, for what shall look until the work is done.
 * Somebody has "go" open for writing until then, so that it is open here before "ready" says so.
 */
static void wait_for_work(void)
{
	int go = open("go", O_RDONLY), ready;
	char c;

	ready = open("ready", O_WRONLY | O_APPEND | O_CREAT, 0644);
	CHECK(go >= 0 && ready >= 0 && write(ready, "\n", 1) == 1 && !close(ready));
	while (read(go, &c, 1) == 1)
		;
}

int main(int argc, char **argv)
{
	page_size = (int)sysconf(_SC_PAGESIZE);
	if (argc == 2 && !strcmp(argv[1], "work"))
		work();
	else if (argc == 2 && !strcmp(argv[1], "hold"))
		hold();
	else if (argc == 2 && !strcmp(argv[1], "threads"))
		hold_by_threads();
	else if (argc == 2 && !strcmp(argv[1], "many"))
		hold_many();
	else if (!strcmp(program_invocation_short_name, "sleep"))
		wait_for_work();
	else
		return 2;
	return 0;
}
