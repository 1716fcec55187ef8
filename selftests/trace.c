// SPDX-License-Identifier: GPL-2.0
/*
 * What the module tells those who look at it: trace events, each once and only for what
 * happened, and who holds how much.
 */
#include "wxpool_trace.h"
#include "wxpool_uring.h"

#define POOL	7
#define MIB	(1L << 20)
#define EVENTS	"events/wxpool/enable"
#define USERS	"/sys/kernel/debug/wxpool/users"

FIXTURE(trace) {
	int fd;
	char pid[16];
};

FIXTURE_SETUP(trace)
{
	self->fd = wx_open();
	if (self->fd == -ENOENT)
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	ASSERT_GE(self->fd, 0);
	snprintf(self->pid, sizeof(self->pid), "%d", (int)getpid());
	if (trace_write("set_event_pid", O_TRUNC, self->pid) || trace_write(EVENTS, 0, "1"))
		SKIP(return, "no trace events: no " TRACING EVENTS ", or not root");
	trace_write("tracing_on", 0, "1");
	ASSERT_EQ(0, trace_write("trace", O_TRUNC, ""));
}

FIXTURE_TEARDOWN(trace)
{
	trace_write(EVENTS, 0, "0");
	trace_write("set_event_pid", O_TRUNC, "");
}

/* One event is in the trace, and no other; the trace is empty then. */
#define EXPECT_EVENT(fmt, ...) do {					\
	char _text[256];						\
									\
	snprintf(_text, sizeof(_text), ": " fmt "\n", ##__VA_ARGS__);	\
	EXPECT_EQ(1, trace_lines(_text)) {				\
		TH_LOG("not in the trace: %s", _text);			\
	}								\
	EXPECT_EQ(1, trace_lines(": wxpool_"));				\
	EXPECT_EQ(0, trace_write("trace", O_TRUNC, ""));		\
} while (0)

#define EXPECT_NO_EVENT() \
	EXPECT_EQ(0, trace_lines(": wxpool_"))

#define EXPECT_REFUSED(fd, op, error) \
	EXPECT_EVENT("wxpool_refuse: context=%llu op=" op " error=" error, id_of(fd))

static unsigned long long id_of(int fd)
{
	return wx_id(fd);
}

TEST_F(trace, alloc)
{
	struct wxpool_alloc_range r[] = { wx_alloc_range(3, 2), wx_alloc_range(9, 1) };

	ASSERT_EQ(0, wx_alloc_vec(self->fd, POOL, r, 2));
	EXPECT_EVENT("wxpool_alloc: context=%llu pool=7 ranges=2 bytes=%zu", id_of(self->fd),
		     PG(3));
}

TEST_F(trace, protect)
{
	struct wxpool_protect_range r[] = {
		wx_protect_range(0, 1, WXPOOL_PROT_R), wx_protect_range(1, 2, WXPOOL_PROT_X),
		wx_protect_range(3, 4, WXPOOL_PROT_XO),
	};

	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 8));
	trace_write("trace", O_TRUNC, "");
	ASSERT_EQ(0, wx_protect_vec(self->fd, POOL, r, 3));
	EXPECT_EVENT("wxpool_protect: context=%llu pool=7 ranges=3 bytes=%zu exec=%zu",
		     id_of(self->fd), PG(7), PG(6));
}

/* Full lines, of which ranges that go on from others share some */
TEST_F(trace, install)
{
	struct wxpool_install_range r[] = {
		wx_bytes(0, "abc", 3, WXPOOL_PROT_X), wx_more("def", 3),
		wx_bytes(PG(1), "r", 1, WXPOOL_PROT_R), wx_bytes(PG(2), "x", 1, WXPOOL_PROT_XO),
	};

	ASSERT_EQ(0, wx_install_vec(self->fd, POOL, r, 4));
	EXPECT_EVENT("wxpool_install: context=%llu pool=7 ranges=4 bytes=192 exec=128",
		     id_of(self->fd));
}

/* Large ones take another way: what is split is one event still. */
TEST_F(trace, install_large)
{
	char *src = calloc(1, MIB);

	ASSERT_NE(NULL, src);
	ASSERT_EQ(0, wx_install(self->fd, POOL, LINE, src, MIB, WXPOOL_PROT_X));
	EXPECT_EVENT("wxpool_install: context=%llu pool=7 ranges=1 bytes=%ld exec=%ld",
		     id_of(self->fd), MIB, MIB);
	free(src);
}

TEST_F(trace, free)
{
	unsigned long long id = id_of(self->fd);

	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 2));
	ASSERT_EQ(0, wx_install_code(self->fd, POOL, PG(8), 1));
	trace_write("trace", O_TRUNC, "");
	ASSERT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_EVENT("wxpool_free: context=%llu pool=7 bytes=%zu fate=freed", id, PG(2) + LINE);
}

/* All at once, be it by FREE or because the context ends */
TEST_F(trace, free_all)
{
	unsigned long long id = id_of(self->fd);
	uint32_t pool;
	int i;

	for (i = 0; i < 3; i++) {
		for (pool = 1; pool <= 3; pool++)
			ASSERT_EQ(0, wx_install_code(self->fd, pool, pool * LINE, 1));
		trace_write("trace", O_TRUNC, "");
		ASSERT_EQ(0, i < 2 ? wx_free_all(self->fd, i * WXPOOL_FREE_REVOKE) :
				     close(self->fd));
		for (pool = 1; pool <= 3; pool++) {
			char text[128];

			snprintf(text, sizeof(text),
				 ": wxpool_free: context=%llu pool=%u bytes=64 fate=freed\n", id,
				 pool);
			EXPECT_EQ(1, trace_lines(text));
		}
		EXPECT_EQ(3, trace_lines(": wxpool_"));
	}
}

/* What a child inherited is kept, and ends with the child or is revoked. */
TEST_F(trace, kept)
{
	unsigned long long id = id_of(self->fd);
	struct child c;
	int i;

	/* The last view goes in the child, which is traced with its parent. */
	trace_write("options/event-fork", 0, "1");
	for (i = 0; i < 2; i++) {
		char *x = wx_view(self->fd, RX, 0, 1);

		ASSERT_NE(MAP_FAILED, x);
		ASSERT_EQ(0, wx_install_code(self->fd, POOL, 0, 1));
		ASSERT_GE(FORK(&c), 0);
		if (!c.pid) {
			wx_wait_step(c.go[0]);
			_exit(0);
		}
		trace_write("trace", O_TRUNC, "");
		ASSERT_EQ(0, wx_free(self->fd, POOL));
		EXPECT_EVENT("wxpool_free: context=%llu pool=7 bytes=64 fate=kept", id);
		if (i) {
			ASSERT_EQ(0, wx_free_all(self->fd, WXPOOL_FREE_REVOKE));
			EXPECT_EVENT("wxpool_free: context=%llu pool=7 bytes=64 fate=reaped", id);
		}
		wx_step(c.go[1]);
		EXPECT_EQ(0, wx_wait(c.pid));
		if (!i)
			EXPECT_EVENT("wxpool_free: context=%llu pool=7 bytes=64 fate=reaped", id);
		EXPECT_NO_EVENT();
		munmap(x, PG(1));
		close(c.go[0]);
		close(c.go[1]);
	}
	trace_write("options/event-fork", 0, "0");
}

/* Operations that fail leave their name and reason, and nothing else. */
TEST_F(trace, refuse)
{
	struct wxpool_info info;
	int fd = self->fd, ro;

	ASSERT_EQ(-EINVAL, wx_alloc(fd, 0, 0, 1));
	EXPECT_REFUSED(fd, "ALLOC", "EINVAL");
	ASSERT_EQ(-ENOENT, wx_protect(fd, POOL, 0, 1, WXPOOL_PROT_X));
	EXPECT_REFUSED(fd, "PROTECT", "ENOENT");
	ASSERT_EQ(-EFAULT, wx_install(fd, POOL, 0, NULL, 1, WXPOOL_PROT_X));
	EXPECT_REFUSED(fd, "INSTALL", "EFAULT");
	ASSERT_EQ(-EOVERFLOW, wx_install(fd, POOL, 1ULL << 40, "x", 1, WXPOOL_PROT_X));
	EXPECT_REFUSED(fd, "INSTALL", "EOVERFLOW");
	ASSERT_EQ(-ENOENT, wx_free(fd, POOL));
	EXPECT_REFUSED(fd, "FREE", "ENOENT");
	ASSERT_EQ(-EFAULT, wx_ioctl(fd, WXPOOL_IOC_FREEZE, (void *)8));
	EXPECT_REFUSED(fd, "FREEZE", "EFAULT");
	memset(&info, 0, sizeof(info));
	info.size = sizeof(info);
	info.context = 1ULL << 60;
	ASSERT_EQ(-ESTALE, wx_ioctl(fd, WXPOOL_IOC_INFO, &info));
	EXPECT_REFUSED(fd, "INFO", "ESTALE");
	ASSERT_EQ(-ENOTTY, wx_ioctl(fd, _IO(WXPOOL_TYPE, 0x86), &info));
	EXPECT_REFUSED(fd, "none", "ENOTTY");
	/* As a library asks if a policy is in the way */
	ASSERT_EQ(-EFAULT, wx_ioctl(fd, WXPOOL_IOC_INSTALL, NULL));
	ASSERT_EQ(0, trace_lines("error=EFAULT"));
	/* As isatty() asks, and another device's that ends in the number of INSTALL */
	ASSERT_EQ(-ENOTTY, wx_ioctl(fd, 0x5400, &info));
	EXPECT_REFUSED(fd, "none", "ENOTTY");
	ASSERT_EQ(-ENOTTY, wx_ioctl(fd, 0x4184, &info));
	EXPECT_REFUSED(fd, "none", "ENOTTY");
	ro = open(WX_DEV, O_RDONLY | O_CLOEXEC);
	ASSERT_GE(ro, 0);
	ASSERT_EQ(-EBADF, wx_alloc(ro, POOL, 0, 1));
	EXPECT_REFUSED(ro, "ALLOC", "EBADF");
	ASSERT_EQ(0, wx_freeze(fd));
	ASSERT_EQ(-EROFS, wx_install(fd, POOL, 0, "x", 1, WXPOOL_PROT_X));
	EXPECT_REFUSED(fd, "INSTALL", "EROFS");
	EXPECT_EQ(0, wx_info(fd, &info));
	EXPECT_NO_EVENT();
}

/* Views: of no kind that there is, or not for who asks */
TEST_F(trace, refuse_view)
{
	pid_t pid;

	ASSERT_EQ(-EACCES, wx_try_mmap(self->fd, RWX, MAP_SHARED, 0, 1));
	EXPECT_REFUSED(self->fd, "MMAP", "EACCES");
	ASSERT_EQ(-EACCES, wx_try_mmap(self->fd, PROT_READ, MAP_PRIVATE, 0, 1));
	EXPECT_REFUSED(self->fd, "MMAP", "EACCES");
	trace_write("options/event-fork", 0, "1");
	pid = fork();
	if (!pid) {
		CHILD_CHECK(wx_try_mmap(self->fd, RW, MAP_SHARED, 0, 1) == -EXDEV);
		CHILD_CHECK(wx_alloc(self->fd, POOL, 0, 1) == -EXDEV);
		_exit(0);
	}
	ASSERT_EQ(0, wx_wait(pid));
	trace_write("options/event-fork", 0, "0");
	EXPECT_EQ(1, trace_lines("op=MMAP error=EXDEV\n"));
	EXPECT_EQ(1, trace_lines("op=ALLOC error=EXDEV\n"));
	EXPECT_EQ(2, trace_lines(": wxpool_"));
	ASSERT_EQ(0, trace_write("trace", O_TRUNC, ""));
	ASSERT_EQ(0, wx_try_mmap(self->fd, RX, MAP_SHARED, 0, 1));
	EXPECT_NO_EVENT();
}

/* What io_uring tries and then has a worker do is not refused; what the worker cannot is, once. */
TEST_F(trace, uring)
{
	struct wxpool_alloc_range r = wx_alloc_range(0, 1);
	struct wxpool_alloc arg = {
		.size = sizeof(arg), .pool = POOL, .ranges = (uintptr_t)&r, .nr_ranges = 1,
	};
	struct io_uring_sqe sqe = ring_cmd(self->fd, WXPOOL_IOC_ALLOC, &arg, 0, 0);
	unsigned long long id = id_of(self->fd);
	struct io_uring ring;

	/* Workers are no forks of ours for the trace. */
	trace_write("set_event_pid", O_TRUNC, "");
	RING_OR_SKIP(&ring, 0);
	ring_submit(&ring, &sqe);
	ASSERT_EQ(0, ring_wait(&ring));
	EXPECT_EVENT("wxpool_alloc: context=%llu pool=7 ranges=1 bytes=%zu", id, PG(1));
	ring_submit(&ring, &sqe);
	ASSERT_EQ(-EEXIST, ring_wait(&ring));
	EXPECT_EVENT("wxpool_refuse: context=%llu op=ALLOC error=EEXIST", id);
	/* Fields of the submission that have no meaning yet */
	((char *)&sqe)[offsetof(struct io_uring_sqe, cmd) +
		       offsetof(struct wxpool_uring_cmd, __reserved)] = 1;
	ring_submit(&ring, &sqe);
	ASSERT_EQ(-EINVAL, ring_wait(&ring));
	EXPECT_EVENT("wxpool_refuse: context=%llu op=ALLOC error=EINVAL", id);
	io_uring_queue_exit(&ring);
}

/* --------------------------------------------------------------- limits */

FIXTURE(bounded) {
	char context[32], user[32];
	int fd;
};

FIXTURE_SETUP(bounded)
{
	self->fd = wx_open();
	if (self->fd == -ENOENT)
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	ASSERT_GE(self->fd, 0);
	if (trace_write(EVENTS, 0, "1"))
		SKIP(return, "no trace events: no " TRACING EVENTS ", or not root");
	snprintf(self->context, sizeof(self->context), "%ld",
		 wx_read_long(WX_PARAM_DIR "max_bytes_per_context"));
	snprintf(self->user, sizeof(self->user), "%ld",
		 wx_read_long(WX_PARAM_DIR "max_bytes_per_user"));
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 1));
	trace_write("tracing_on", 0, "1");
	ASSERT_EQ(0, trace_write("trace", O_TRUNC, ""));
}

FIXTURE_TEARDOWN(bounded)
{
	wx_write_file(WX_PARAM_DIR "max_bytes_per_context", self->context);
	wx_write_file(WX_PARAM_DIR "max_bytes_per_user", self->user);
	trace_write(EVENTS, 0, "0");
}

static int beyond(int fd, const char *param)
{
	char limit[32];

	snprintf(limit, sizeof(limit), "%llu", (unsigned long long)wx_stat(fd).charged + 100000);
	return wx_write_file(param, limit) ?: wx_alloc(fd, POOL, 100, 1000);
}

TEST_F(bounded, context)
{
	unsigned long long charged = wx_stat(self->fd).charged;
	char text[256];

	ASSERT_EQ(-ENOSPC, beyond(self->fd, WX_PARAM_DIR "max_bytes_per_context"));
	snprintf(text, sizeof(text),
		 ": wxpool_limit: context=%llu uid=%d of=context charged=%llu wanted=%zu limit=%llu\n",
		 id_of(self->fd), (int)getuid(), charged, PG(1000), charged + 100000);
	EXPECT_LE(1, trace_lines(text));
	EXPECT_EQ(1, trace_lines("op=ALLOC error=ENOSPC\n"));
	EXPECT_EQ(trace_lines(": wxpool_limit: "), trace_lines(text));
}

/* Other contexts of the user count. */
TEST_F(bounded, user)
{
	unsigned long long charged;
	int other = wx_open();
	char text[256];

	ASSERT_GE(other, 0);
	ASSERT_EQ(0, wx_alloc(other, POOL, 0, 30));
	charged = wx_stat(self->fd).user_charged;
	ASSERT_LT(wx_stat(self->fd).charged, charged);
	trace_write("trace", O_TRUNC, "");
	ASSERT_EQ(-ENOSPC, beyond(self->fd, WX_PARAM_DIR "max_bytes_per_user"));
	snprintf(text, sizeof(text), " of=user charged=%llu wanted=%zu ", charged, PG(1000));
	EXPECT_LE(1, trace_lines(text));
	EXPECT_EQ(trace_lines(": wxpool_limit: "), trace_lines(text));
}

/* What is within the limits is not told of. */
TEST_F(bounded, within)
{
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 100, 10));
	EXPECT_EQ(0, trace_lines(": wxpool_limit: "));
	EXPECT_EQ(1, trace_lines(": wxpool_alloc: "));
}

/* ---------------------------------------------------------------- users */

struct user {
	unsigned int contexts;
	long charged;
	unsigned long limit;
};

/* Their line of a user: 0, -ENOENT, or another negative errno */
static int read_user(unsigned int uid, struct user *user)
{
	unsigned int found;
	int ret = -ENOENT;
	char line[128];
	FILE *f = fopen(USERS, "r");

	if (!f)
		return -errno;
	if (!fgets(line, sizeof(line), f) || strcmp(line, "uid\tcontexts\tcharged\tlimit\n"))
		ret = -EBADMSG;
	while (ret == -ENOENT && fscanf(f, "%u %u %ld %lu", &found, &user->contexts,
					&user->charged, &user->limit) == 4)
		if (found == uid)
			ret = 0;
	fclose(f);
	return ret;
}

FIXTURE(users) {
};

FIXTURE_SETUP(users)
{
	if (access(WX_DEV, F_OK))
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	if (access(USERS, R_OK))
		SKIP(return, "cannot read " USERS);
	NODE_OR_SKIP();
}

FIXTURE_TEARDOWN(users)
{
}

#define SOME_UID	54321

static void hold_some(int said, int told)
{
	int fd[2];

	CHILD_CHECK(!setuid(SOME_UID));
	CHILD_CHECK(access(USERS, R_OK));
	fd[0] = wx_open();
	fd[1] = wx_open();
	CHILD_CHECK(fd[0] >= 0 && fd[1] >= 0);
	CHILD_CHECK(!wx_alloc(fd[0], POOL, 0, 10) && !wx_alloc(fd[1], POOL, 0, 20));
	wx_step(said);
	wx_wait_step(told);
	close(fd[1]);
	wx_step(said);
	wx_wait_step(told);
	_exit(0);
}

/* A user has a line from the first open to the last close. */
TEST_F(users, come_and_go)
{
	struct user two, one;
	struct child c;

	ASSERT_EQ(-ENOENT, read_user(SOME_UID, &two));
	ASSERT_GE(FORK(&c), 0);
	if (!c.pid)
		hold_some(c.done[1], c.go[0]);
	ASSERT_EQ(0, wx_wait_step(c.done[0]));
	ASSERT_EQ(0, read_user(SOME_UID, &two));
	EXPECT_EQ(2, two.contexts);
	EXPECT_LE((long)PG(30), two.charged);
	EXPECT_GT((long)PG(60), two.charged);
	EXPECT_EQ(wx_read_long(WX_PARAM_DIR "max_bytes_per_user"), two.limit);
	wx_step(c.go[1]);
	ASSERT_EQ(0, wx_wait_step(c.done[0]));
	ASSERT_EQ(0, read_user(SOME_UID, &one));
	EXPECT_EQ(1, one.contexts);
	EXPECT_EQ(two.limit, one.limit);
	EXPECT_LE((long)PG(20), two.charged - one.charged);
	wx_step(c.go[1]);
	EXPECT_EQ(0, wx_wait(c.pid));
	EXPECT_EQ(-ENOENT, read_user(SOME_UID, &one));
}

/* A user who comes and goes as soon as its time is up, whoever is at work then */
static void come_and_go(int said)
{
	const struct sched_param first = { .sched_priority = 1 };
	unsigned int i, rounds = wx_rounds(10000);
	int fd;

	CHILD_CHECK(!sched_setscheduler(0, SCHED_FIFO, &first));
	CHILD_CHECK(!setresuid(SOME_UID, -1, -1));
	for (i = 0; i < rounds; i++) {
		fd = wx_open();
		CHILD_CHECK(fd >= 0);
		if (!i)
			wx_step(said);
		usleep(50 + i % 150);
		close(fd);
	}
	_exit(0);
}

/*
 * Nobody is gone while looked at without a lock: KASAN would see it. On one CPU who goes interrupts
 * who looks, anywhere, if the kernel can be preempted. One run may miss it.
 */
TEST_F(users, look_while_they_go)
{
	struct user user;
	struct child c;
	char text[256];
	cpu_set_t cpu;
	int fd, i, status;

	CPU_ZERO(&cpu);
	CPU_SET(sched_getcpu(), &cpu);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(cpu), &cpu));
	fd = open(USERS, O_RDONLY | O_CLOEXEC);
	ASSERT_GE(fd, 0);
	ASSERT_GE(FORK(&c), 0);
	if (!c.pid)
		come_and_go(c.done[1]);
	ASSERT_EQ(0, wx_wait_step(c.done[0]));
	do {
		for (i = 0; i < 100; i++)
			ASSERT_LT(0, pread(fd, text, sizeof(text), 0));
	} while (!waitpid(c.pid, &status, WNOHANG));
	EXPECT_EQ(0, status);
	close(fd);
	EXPECT_EQ(-ENOENT, read_user(SOME_UID, &user));
}

/* It agrees with what the user's contexts say. */
TEST_F(users, as_info)
{
	int fd = wx_open();
	struct user user;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, wx_alloc(fd, POOL, 0, 5));
	ASSERT_EQ(0, read_user(getuid(), &user));
	EXPECT_EQ(wx_stat(fd).user_charged, (uint64_t)user.charged);
}

/* Who has it open keeps the module; else it goes with the module. */
TEST_F(users, unload)
{
	int fd;

	if (access(WX_MODULE "/refcnt", F_OK))
		SKIP(return, "wxpool is not loaded as a module");
	fd = open(USERS, O_RDONLY | O_CLOEXEC);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(-EAGAIN, wx_unload());
	close(fd);
	ASSERT_EQ(0, wx_unload());
	EXPECT_NE(0, access("/sys/kernel/debug/wxpool", F_OK));
	ASSERT_EQ(0, wx_load());
	EXPECT_EQ(0, access(USERS, R_OK));
	/* Nobody has a context yet. */
	fd = open(USERS, O_RDONLY | O_CLOEXEC);
	ASSERT_GE(fd, 0);
	close(fd);
}

TEST_HARNESS_MAIN
