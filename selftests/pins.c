// SPDX-License-Identifier: GPL-2.0
/*
 * Pins: references to a page that outlive the mapping they were taken through.
 * A page that somebody could still write cannot be sealed: EBUSY, and nothing
 * has changed; once the pin is gone, it can. And the kernel's own ways to write
 * another process's memory end at sealed pages.
 */
#include <linux/aio_abi.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "wxpool_uring.h"
#include "wxpool_util.h"

#define POOL	1
#define NR	4		/* pages of the fixture, of which page 1 is pinned */
#define PINNED	1

FIXTURE(pin) {
	int fd;
	char *w, *x, *xo;
};

/* NR open pages with a function each, in a W and an X view */
#define OPEN_PAGES() do {						\
	self->fd = wx_open();						\
	if (self->fd == -ENOENT)					\
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");	\
	ASSERT_GE(self->fd, 0);						\
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, NR));			\
	self->w = wx_view(self->fd, RW, 0, NR);				\
	self->x = wx_view(self->fd, RX, 0, NR);				\
	ASSERT_NE(MAP_FAILED, self->w);					\
	ASSERT_NE(MAP_FAILED, self->x);					\
	wx_emit_pages(self->w, NR, 100);				\
} while (0)

FIXTURE_SETUP(pin)
{
	OPEN_PAGES();
}

FIXTURE_TEARDOWN(pin)
{
}

/*
 * While PINNED is held no vector with it is sealed, and all its pages, also
 * those that were visited before it, are OPEN, mapped and with their content.
 */
#define EXPECT_BUSY() do {						\
	struct wxpool_protect_range _r[2];				\
	int _i;								\
									\
	EXPECT_EQ(-EBUSY, wx_protect(self->fd, POOL, 0, NR,		\
				     WXPOOL_PROT_X));			\
	EXPECT_EQ(-EBUSY, wx_protect(self->fd, POOL, PINNED, 1,		\
				     WXPOOL_PROT_R));			\
	_r[0] = wx_protect_range(2, 2, WXPOOL_PROT_XO);			\
	_r[1] = wx_protect_range(0, 2, WXPOOL_PROT_R);			\
	EXPECT_EQ(-EBUSY, wx_protect_vec(self->fd, POOL, _r, 2));	\
	EXPECT_STAT(self->fd, 1, NR, 0, 0, 0);				\
	EXPECT_EQ(RX, wx_vma_prot(self->x));				\
	for (_i = 0; _i < NR; _i++) {					\
		EXPECT_EQ(SIGBUS, try_read(self->x + PG(_i)));		\
		EXPECT_EQ(0, try_write(self->w + PG(_i) + 128, 5));	\
		EXPECT_EQ(5, self->w[PG(_i) + 128]);			\
	}								\
} while (0)

/* The pin is gone: everything is sealed, with what was written last. */
#define EXPECT_SEALABLE() do {						\
	uint32_t _val;							\
	int _i;								\
									\
	EXPECT_EQ(0, wx_protect_wait(self->fd, POOL, 0, NR,		\
				     WXPOOL_PROT_X));			\
	EXPECT_STAT(self->fd, 1, 0, 0, NR, 0);				\
	for (_i = 0; _i < NR; _i++) {					\
		EXPECT_EQ(0, try_exec(self->x + PG(_i), &_val));	\
		EXPECT_EQ(100 + _i, _val);				\
		EXPECT_EQ(5, self->x[PG(_i) + 128]);			\
		EXPECT_EQ(SIGBUS, try_write(self->w + PG(_i), 0));	\
	}								\
} while (0)

/* ------------------------------------------------------------------ pipes */

TEST_F(pin, vmsplice)
{
	struct iovec iov = { self->w + PG(PINNED), PG(1) };
	char buf[64 * 1024];
	int p[2];

	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(PG(1), vmsplice(p[1], &iov, 1, 0));
	EXPECT_BUSY();
	ASSERT_EQ(PG(1), read(p[0], buf, PG(1)));
	EXPECT_SEALABLE();
}

/* A pipe's page given away (GIFT) cannot be stolen from its pool either. */
TEST_F(pin, vmsplice_gift)
{
	struct iovec iov = { self->w + PG(PINNED), PG(1) };
	int p[2], tmp;

	tmp = memfd_create("steal", 0);
	ASSERT_GE(tmp, 0);
	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(PG(1), vmsplice(p[1], &iov, 1, SPLICE_F_GIFT));
	EXPECT_BUSY();
	ASSERT_EQ(PG(1), splice(p[0], NULL, tmp, NULL, PG(1), SPLICE_F_MOVE));
	EXPECT_SEALABLE();
	EXPECT_EQ(1, pwrite(tmp, "\xcc", 1, 0));
	EXPECT_EQ(0, try_exec(self->x + PG(PINNED), NULL));
}

/* What is sealed may be read through a pipe, and freed meanwhile. */
TEST_F(pin, vmsplice_of_sealed)
{
	struct iovec iov = { self->x, PG(2) };
	char buf[64 * 1024];
	int p[2];

	ASSERT_EQ(0, wx_protect(self->fd, POOL, 0, NR, WXPOOL_PROT_X));
	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(PG(2), vmsplice(p[1], &iov, 1, 0));
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, NR));
	/* New pages, and not those in the pipe */
	EXPECT_EQ(0, self->w[0]);
	memset(self->w, 0x77, PG(2));
	ASSERT_EQ(PG(2), read(p[0], buf, PG(2)));
	EXPECT_NE(0x77, buf[0]);
	EXPECT_EQ(0, wx_protect(self->fd, POOL, 0, NR, WXPOOL_PROT_X));
}

/* A pin in another context's or process's hands is as good as one's own. */
TEST_F(pin, vmsplice_by_another_thread_group)
{
	struct iovec iov = { self->w + PG(PINNED), PG(1) };
	int p[2], go[2];
	pid_t pid;

	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(0, pipe(go));
	ASSERT_EQ(PG(1), vmsplice(p[1], &iov, 1, 0));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		close(go[1]);
		wx_wait_step(go[0]);
		_exit(0);
	}
	close(p[0]);
	close(p[1]);
	EXPECT_BUSY();
	close(go[1]);
	close(go[0]);
	ASSERT_EQ(0, wx_wait(pid));
	EXPECT_SEALABLE();
}

/*
 * Whether a page is pinned is told at once, however busy other processors are:
 * here one is kept by a thread that lets nothing else run there.
 */
static struct hog {
	atomic_bool stop;
} *hog;

static void be_hog(int cpu, int ready)
{
	struct sched_param param = { .sched_priority = 50 };
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) ||
	    sched_setscheduler(0, SCHED_FIFO, &param))
		_exit(4);
	wx_step(ready);
	while (!hog->stop)
		;
	_exit(0);
}

#define RT_RUNTIME	"/proc/sys/kernel/sched_rt_runtime_us"
#define HOG_PATIENCE	60	/* seconds */

TEST_F(pin, beside_a_busy_processor)
{
	struct iovec iov = { self->w + PG(PINNED), PG(1) };
	int p[2], ready[2], i, status = 0;
	char runtime[32];
	pid_t pid, hog_pid;
	cpu_set_t all;
	long old;

	sched_getaffinity(0, sizeof(all), &all);
	if (CPU_COUNT(&all) < 2 || !CPU_ISSET(0, &all) || !CPU_ISSET(1, &all))
		SKIP(return, "needs two processors");
	old = wx_read_long(RT_RUNTIME);
	if (geteuid() || wx_write_file(RT_RUNTIME, "-1"))
		SKIP(return, "not allowed to keep a processor");
	hog = mmap(NULL, PG(1), RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)hog);
	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(0, pipe(ready));
	pid = wx_fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		/* Has a context of its own, and stays where the hog is not. */
		int fd = wx_open();
		char *w = wx_view(fd, RW, 0, 1);

		CPU_ZERO(&all);
		CPU_SET(0, &all);
		CHILD_CHECK(!sched_setaffinity(0, sizeof(all), &all));
		CHILD_CHECK(!wx_alloc(fd, POOL, 0, 1) && !try_write(w, 1));
		iov.iov_base = w;
		CHILD_CHECK(vmsplice(p[1], &iov, 1, 0) == PG(1));
		CHILD_CHECK(!wx_wait_step(ready[0]));
		for (i = 0; i < 10; i++)
			CHILD_CHECK(wx_protect(fd, POOL, 0, 1, WXPOOL_PROT_X) == -EBUSY);
		_exit(0);
	}
	hog_pid = wx_fork();
	if (!hog_pid)
		be_hog(1, ready[1]);
	CPU_ZERO(&all);
	CPU_SET(0, &all);
	sched_setaffinity(0, sizeof(all), &all);
	for (i = 0; i < HOG_PATIENCE * 10; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			break;
		usleep(100000);
	}
	hog->stop = true;
	snprintf(runtime, sizeof(runtime), "%ld", old);
	wx_write_file(RT_RUNTIME, runtime);
	EXPECT_EQ(0, wx_wait(hog_pid));
	EXPECT_LT(i, HOG_PATIENCE * 10) {
		kill(pid, SIGKILL);
		wx_wait(pid);
	}
	EXPECT_EQ(0, status);
}

/* Memory that is locked, now and in the future, is no pin of pages to write. */
TEST_F(pin, mlock)
{
	unsigned int round;
	char *w;
	int ret;

	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		SKIP(return, "mlockall: %s", strerror(errno));
	ASSERT_EQ(0, wx_free(self->fd, POOL));
	for (round = 0; round < 50; round++) {
		ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, NR));
		w = wx_view(self->fd, RW, 0, NR);
		ASSERT_NE(MAP_FAILED, w);
		mlock(w, PG(NR));
		mlock(self->w, PG(NR));
		EXPECT_EQ(0, wx_smaps(w, "Locked"));
		EXPECT_EQ(0, wx_smaps(self->w, "Locked"));
		wx_emit_pages(w, NR, 100);
		if (round % 2)
			munlock(w, PG(NR));
		ret = wx_protect(self->fd, POOL, 0, NR, WXPOOL_PROT_X);
		ASSERT_EQ(0, ret);
		ASSERT_EQ(0, try_exec(self->x, NULL));
		munmap(w, PG(NR));
		ASSERT_EQ(0, wx_free(self->fd, POOL));
	}
	munlockall();
}

/* --------------------------------------------------------------- io_uring */

static int ring_register(struct io_uring *ring, void *p, size_t len)
{
	struct iovec iov = { p, len };

	return io_uring_register_buffers(ring, &iov, 1);
}

/* Stores @len bytes from @fd at @to, through the fixed buffer 0 */
static int ring_read_fixed(struct io_uring *ring, int fd, void *to, unsigned int len)
{
	struct io_uring_sqe sqe = {
		.opcode = IORING_OP_READ_FIXED,
		.fd = fd, .addr = (uintptr_t)to, .len = len,
	};

	ring_submit(ring, &sqe);
	return ring_wait(ring);
}

/* Kernels up to 6.4 take no fixed buffer in a mapping of any file. */
#define REGISTER_OR_SKIP(ring, p, len) do {				\
	int _ret = ring_register(ring, p, len);				\
									\
	if (_ret == -EOPNOTSUPP)					\
		SKIP(return, "no fixed buffers in file mappings");	\
	ASSERT_EQ(0, _ret);						\
} while (0)

TEST_F(pin, io_uring_fixed_buffer)
{
	int zero = open("/dev/zero", O_RDONLY);
	struct io_uring ring;

	ASSERT_GE(zero, 0);
	RING_OR_SKIP(&ring, 0);
	REGISTER_OR_SKIP(&ring, self->w + PG(PINNED), PG(1));
	EXPECT_BUSY();
	/* The pin is a live one: this stores without any mapping. */
	self->w[PG(PINNED) + 512] = 1;
	EXPECT_EQ(8, ring_read_fixed(&ring, zero, self->w + PG(PINNED) + 512, 8));
	EXPECT_EQ(0, self->w[PG(PINNED) + 512]);
	EXPECT_BUSY();
	EXPECT_EQ(0, io_uring_unregister_buffers(&ring));
	EXPECT_SEALABLE();
}

/* A ring that is closed with its buffers registered lets go of them. */
TEST_F(pin, io_uring_closed)
{
	struct io_uring ring;

	RING_OR_SKIP(&ring, 0);
	REGISTER_OR_SKIP(&ring, self->w + PG(PINNED), PG(1));
	EXPECT_BUSY();
	io_uring_queue_exit(&ring);
	EXPECT_SEALABLE();
}

/* Buffers that are to be written cannot be registered over sealed pages. */
TEST_F(pin, io_uring_over_sealed)
{
	struct io_uring ring;
	char *plain = mmap(NULL, PG(1), RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	RING_OR_SKIP(&ring, 0);
	ASSERT_EQ(0, ring_register(&ring, plain, PG(1)));
	ASSERT_EQ(0, io_uring_unregister_buffers(&ring));
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 0, 2, WXPOOL_PROT_X));
	EXPECT_NE(0, ring_register(&ring, self->x, PG(1)));
	EXPECT_NE(0, ring_register(&ring, self->w, PG(1)));
	EXPECT_NE(0, ring_register(&ring, self->w, PG(NR)));
}

/*
 * FREE with a pin: the pinned page leaves the pool, and what comes to its
 * offset is another page, which the pin does not reach.
 */
TEST_F(pin, pin_outlives_free)
{
	int zero = open("/dev/zero", O_RDONLY);
	struct io_uring ring;
	uint32_t val;

	ASSERT_GE(zero, 0);
	RING_OR_SKIP(&ring, 0);
	REGISTER_OR_SKIP(&ring, self->w, PG(1));
	ASSERT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_EQ(SIGBUS, try_read(self->w));
	ASSERT_EQ(0, wx_make_code(self->fd, 2, 0, 55));
	EXPECT_EQ(0, try_exec(self->x, &val));
	EXPECT_EQ(55, val);
	EXPECT_EQ((int)PG(1), ring_read_fixed(&ring, zero, self->w, PG(1)));
	EXPECT_EQ(0, try_exec(self->x, &val));
	EXPECT_EQ(55, val);
	EXPECT_EQ(0, io_uring_unregister_buffers(&ring));
	EXPECT_EQ(0, wx_free(self->fd, 2));
}

/* The same through a read that waits for data while the page is sealed */
TEST_F(pin, io_uring_read_across_seal)
{
	struct io_uring_sqe sqe = { .opcode = IORING_OP_READ };
	struct io_uring ring;
	int p[2];

	RING_OR_SKIP(&ring, 0);
	ASSERT_EQ(0, pipe(p));
	sqe.fd = p[0];
	sqe.addr = (uintptr_t)self->w + 64;
	sqe.len = 64;
	sqe.off = -1;
	ring_submit(&ring, &sqe);
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 0, 1, WXPOOL_PROT_X));
	ASSERT_EQ(64, write(p[1], self->w + PG(1), 64));
	EXPECT_EQ(-EFAULT, ring_wait(&ring));
	EXPECT_EQ(0, self->x[64]);
	EXPECT_EQ(0, try_exec(self->x, NULL));
}

/* ------------------------------------------------------- direct I/O (FUSE) */

/*
 * A file system of one file, "f", whose server answers a read when the test
 * says so. A read with O_DIRECT pins its buffer for as long as that takes. The
 * server is a process of its own, as the test's exit waits for its answers.
 */
struct fuse {
	int dev;		/* the server's end */
	char dir[32];
	int asked[2];		/* the server has got a READ */
	int answer[2];		/* ... and may answer it */
};

#define FUSE_BUF	(128 * 1024)
#define FUSE_CONTENT	0xe7

static void fuse_attr(struct fuse_attr *attr, uint64_t ino)
{
	attr->ino = ino;
	attr->mode = ino == 1 ? S_IFDIR | 0755 : S_IFREG | 0644;
	attr->size = ino == 1 ? 0 : 1 << 20;
	attr->nlink = 1;
	attr->blksize = 4096;
}

static void fuse_reply(struct fuse *f, uint64_t unique, int err, void *data,
		       size_t len)
{
	struct fuse_out_header out = {
		.len = sizeof(out) + (err ? 0 : len),
		.error = err, .unique = unique,
	};
	struct iovec iov[2] = { { &out, sizeof(out) }, { data, err ? 0 : len } };

	if (writev(f->dev, iov, 2) < 0 && errno != ENOENT)
		perror("# fuse reply");
}

static void fuse_handle(struct fuse *f, struct fuse_in_header *in, void *arg,
			char *content)
{
	union {
		struct fuse_init_out init;
		struct fuse_entry_out entry;
		struct fuse_attr_out attr;
		struct fuse_open_out open;
	} out = { 0 };

	switch (in->opcode) {
	case FUSE_INIT:
		out.init.major = FUSE_KERNEL_VERSION;
		out.init.minor = ((struct fuse_init_in *)arg)->minor;
		if (out.init.minor > FUSE_KERNEL_MINOR_VERSION)
			out.init.minor = FUSE_KERNEL_MINOR_VERSION;
		out.init.max_write = 65536;
		out.init.max_readahead = 65536;
		fuse_reply(f, in->unique, 0, &out.init, sizeof(out.init));
		return;
	case FUSE_LOOKUP:
		out.entry.nodeid = 2;
		out.entry.attr_valid = out.entry.entry_valid = 1000;
		fuse_attr(&out.entry.attr, 2);
		fuse_reply(f, in->unique, 0, &out.entry, sizeof(out.entry));
		return;
	case FUSE_GETATTR:
		out.attr.attr_valid = 1000;
		fuse_attr(&out.attr.attr, in->nodeid);
		fuse_reply(f, in->unique, 0, &out.attr, sizeof(out.attr));
		return;
	case FUSE_OPEN:
		fuse_reply(f, in->unique, 0, &out.open, sizeof(out.open));
		return;
	case FUSE_READ:
		wx_step(f->asked[1]);
		wx_wait_step(f->answer[0]);
		fuse_reply(f, in->unique, 0, content,
			   ((struct fuse_read_in *)arg)->size);
		return;
	case FUSE_FORGET:
	case FUSE_INTERRUPT:
		return;
	case FUSE_FLUSH:
	case FUSE_RELEASE:
		fuse_reply(f, in->unique, 0, NULL, 0);
		return;
	default:
		fuse_reply(f, in->unique, -ENOSYS, NULL, 0);
	}
}

static void fuse_server(struct fuse *f)
{
	static char buf[FUSE_BUF], content[FUSE_BUF];

	memset(content, FUSE_CONTENT, sizeof(content));
	while (read(f->dev, buf, sizeof(buf)) > 0)
		fuse_handle(f, (void *)buf, buf + sizeof(struct fuse_in_header),
			    content);
	_exit(0);
}

static int fuse_start(struct fuse *f)
{
	char opts[64];
	pid_t pid;

	f->dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (f->dev < 0) {
		if (system("modprobe -q fuse"))
			return -ENODEV;
		f->dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	}
	if (f->dev < 0)
		return -errno;
	strcpy(f->dir, "/tmp/wxpool.XXXXXX");
	if (!mkdtemp(f->dir) || pipe(f->asked) || pipe(f->answer))
		return -errno;
	snprintf(opts, sizeof(opts), "fd=%d,rootmode=40000,user_id=0,group_id=0",
		 f->dev);
	if (mount("wxpool-test", f->dir, "fuse", 0, opts))
		return -errno;
	pid = wx_fork();
	if (!pid)
		fuse_server(f);
	close(f->dev);
	return pid < 0 ? -errno : 0;
}

/* The file, or a negative errno; nothing is left of the mount but the fd. */
static int fuse_open(struct fuse *f)
{
	char path[64];
	int fd, ret = fuse_start(f);

	if (ret)
		return ret;
	snprintf(path, sizeof(path), "%s/f", f->dir);
	fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	umount2(f->dir, MNT_DETACH);
	rmdir(f->dir);
	return fd;
}

struct read_args {
	int fd;
	void *to;
	size_t len;
	ssize_t ret;
};

static void *read_thread(void *arg)
{
	struct read_args *r = arg;

	r->ret = pread(r->fd, r->to, r->len, 0);
	if (r->ret < 0)
		r->ret = -errno;
	return NULL;
}

FIXTURE(dio) {
	int fd, file;
	char *w, *x;
	struct fuse fuse;
};

/* The server is forked off before there is a context that it would inherit. */
FIXTURE_SETUP(dio)
{
	self->file = fuse_open(&self->fuse);
	if (self->file < 0)
		SKIP(return, "no FUSE: %s", strerror(-self->file));
	OPEN_PAGES();
}

FIXTURE_TEARDOWN(dio)
{
}

TEST_F(dio, read_in_flight)
{
	struct read_args r = { .fd = self->file, .len = 512 };
	pthread_t t;

	/* Beyond the code, so that it can be run afterwards */
	r.to = self->w + PG(PINNED) + 1024;
	ASSERT_EQ(0, pthread_create(&t, NULL, read_thread, &r));
	ASSERT_EQ(0, wx_wait_step(self->fuse.asked[0]));
	EXPECT_BUSY();
	ASSERT_EQ(0, wx_step(self->fuse.answer[1]));
	ASSERT_EQ(0, pthread_join(t, NULL));
	EXPECT_EQ(512, r.ret);
	EXPECT_EQ(FUSE_CONTENT, (unsigned char)self->w[PG(PINNED) + 1024]);
	EXPECT_EQ(FUSE_CONTENT, (unsigned char)self->w[PG(PINNED) + 1535]);
	EXPECT_SEALABLE();
	EXPECT_EQ(FUSE_CONTENT, (unsigned char)self->x[PG(PINNED) + 1024]);

	/* And the other way round: none begins once the page is sealed. */
	ASSERT_EQ(0, wx_step(self->fuse.answer[1]));
	EXPECT_EQ(-1, pread(self->file, self->w + PG(PINNED), 512, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, pread(self->file, self->x + PG(PINNED), 512, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(0, try_exec(self->x + PG(PINNED), NULL));
}

/* FREE with direct I/O in flight: the data goes to the page that was. */
TEST_F(dio, free_in_flight)
{
	struct read_args r = { .fd = self->file, .to = self->w, .len = 4096 };
	uint32_t val;
	pthread_t t;

	ASSERT_EQ(0, pthread_create(&t, NULL, read_thread, &r));
	ASSERT_EQ(0, wx_wait_step(self->fuse.asked[0]));
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	ASSERT_EQ(0, wx_make_code(self->fd, 2, 0, 56));
	ASSERT_EQ(0, wx_step(self->fuse.answer[1]));
	ASSERT_EQ(0, pthread_join(t, NULL));
	EXPECT_EQ(4096, r.ret);
	EXPECT_EQ(0, try_exec(self->x, &val));
	EXPECT_EQ(56, val);
}

/* Writing sealed pages out, which only reads them, is fine. */
TEST_F(dio, write_from_sealed)
{
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 0, NR, WXPOOL_PROT_X));
	/* The server knows no WRITE; that it is asked shows it got so far. */
	EXPECT_EQ(-1, pwrite(self->file, self->x, 4096, 0));
	EXPECT_EQ(ENOSYS, errno);
	EXPECT_EQ(0, try_exec(self->x, NULL));
}

/* --------------------------------------------- direct I/O on a real device */

/* A block device that takes O_DIRECT and whose first sectors may be read */
static int open_block_device(void)
{
	static const char * const names[] = {
		"/dev/vda", "/dev/vdb", "/dev/sda", "/dev/nvme0n1",
	};
	unsigned int i;
	int fd;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		fd = open(names[i], O_RDONLY | O_DIRECT);
		if (fd >= 0)
			return fd;
	}
	return -ENODEV;
}

/* A loop device over a file of 0xa5; the file is unlinked at once. */
static int open_loop(void)
{
	char path[] = "/tmp/wxpool-loop.XXXXXX", cmd[128], dev[64] = "";
	char block[4096];
	int tmp = mkstemp(path), fd = -ENODEV, i;
	FILE *p;

	if (tmp < 0)
		return -errno;
	memset(block, 0xa5, sizeof(block));
	for (i = 0; i < 64; i++)
		if (write(tmp, block, sizeof(block)) != sizeof(block))
			goto out;
	snprintf(cmd, sizeof(cmd),
		 "modprobe -q loop; losetup --show -f %s 2>/dev/null", path);
	p = popen(cmd, "r");
	if (p) {
		if (fscanf(p, "%63s", dev) == 1)
			fd = open(dev, O_RDONLY | O_DIRECT);
		pclose(p);
	}
	if (fd >= 0) {
		snprintf(cmd, sizeof(cmd), "losetup -d %s", dev);
		if (system(cmd))
			perror("# losetup");	/* goes at the last close */
	}
out:
	close(tmp);
	unlink(path);
	return fd < 0 ? -ENODEV : fd;
}

/*
 * AIO in flight while the page is sealed: each seal is refused or the read had
 * ended, and what is sealed stays as it was then.
 */
TEST_F(pin, aio_race)
{
	aio_context_t aio = 0;
	struct io_event event;
	struct iocb cb, *cbs = &cb;
	int dev, i, busy = 0;
	char snap[4096];

	dev = open_loop();
	if (dev < 0)
		dev = open_block_device();
	if (dev < 0)
		SKIP(return, "no block device for O_DIRECT");
	if (syscall(__NR_io_setup, 4, &aio))
		SKIP(return, "no AIO: %s", strerror(errno));
	ASSERT_EQ(0, wx_free(self->fd, POOL));
	for (i = 0; i < 200; i++) {
		ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 1));
		cb = (struct iocb) {
			.aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = dev,
			.aio_buf = (uintptr_t)self->w, .aio_nbytes = 4096,
		};
		ASSERT_EQ(1, syscall(__NR_io_submit, aio, 1, &cbs));
		while (wx_protect(self->fd, POOL, 0, 1, WXPOOL_PROT_X) == -EBUSY)
			busy++;
		memcpy(snap, self->x, 4096);
		ASSERT_EQ(1, syscall(__NR_io_getevents, aio, 1, 1, &event, NULL));
		ASSERT_EQ(0, memcmp(snap, self->x, 4096));
		ASSERT_EQ(4096, event.res);
		ASSERT_EQ(0, wx_free(self->fd, POOL));
	}
	TH_LOG("%d seals were refused in 200 rounds", busy);
}

/* ------------------------------------------------------------ memory errors */

/*
 * The kernel marks the page as broken, whatever it says: it can do nothing more
 * with a page that is not of its own making.
 */
#define POISON_OR_SKIP(p) do {						\
	if (geteuid() || access("/proc/sys/vm/memory_failure_early_kill", F_OK)) \
		SKIP(return, "no simulated memory errors");		\
	WX_CATCH(madvise(p, PG(1), 100 /* MADV_HWPOISON */));		\
} while (0)

/*
 * A page to be written that a pipe holds and that is broken: not sealed, whichever
 * of the two it is refused for, and in nobody's way.
 */
TEST_F(pin, poisoned_page_in_a_pipe)
{
	struct iovec iov = { self->w + PG(PINNED), PG(1) };
	char buf[64 * 1024];
	int p[2], ret;

	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(PG(1), vmsplice(p[1], &iov, 1, 0));
	POISON_OR_SKIP(self->w + PG(PINNED));
	ret = wx_protect(self->fd, POOL, 0, NR, WXPOOL_PROT_X);
	EXPECT_TRUE(ret == -EBUSY || ret == -EHWPOISON);
	EXPECT_STAT(self->fd, 1, NR, 0, 0, 0);
	/* The pipe's reader gets it or an error, as it is broken in name only. */
	ret = read(p[0], buf, PG(1));
	EXPECT_TRUE(ret == PG(1) || ret < 0);
	close(p[0]);
	close(p[1]);
	EXPECT_EQ(-EHWPOISON, wx_protect(self->fd, POOL, 0, NR, WXPOOL_PROT_X));
	EXPECT_STAT(self->fd, 1, NR, 0, 0, 0);
	EXPECT_EQ(0, try_write(self->w, self->w[0]));
	EXPECT_EQ(0, wx_protect(self->fd, POOL, PINNED + 1, NR - PINNED - 1,
				WXPOOL_PROT_X));
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_EQ(0, wx_alloc(self->fd, POOL, 0, NR));
	EXPECT_EQ(0, try_write(self->w + PG(PINNED), 1));
	EXPECT_EQ(0, wx_protect(self->fd, POOL, 0, NR, WXPOOL_PROT_X));
}

/* --------------------------------------------- writing for another process */

TEST_F(pin, process_vm_writev)
{
	char byte = (char)0xcc, *x = self->x;
	struct iovec local = { &byte, 1 }, remote = { self->w + 200, 1 };

	ASSERT_EQ(1, process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
	EXPECT_EQ((char)0xcc, self->w[200]);
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 0, NR, WXPOOL_PROT_X));
	EXPECT_EQ(-1, process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
	EXPECT_EQ(EFAULT, errno);
	remote.iov_base = x + 201;
	EXPECT_EQ(-1, process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ((char)0xcc, x[200]);
	EXPECT_EQ(0, x[201]);
	remote.iov_base = x;
	EXPECT_EQ(1, process_vm_readv(getpid(), &local, 1, &remote, 1, 0));
	EXPECT_EQ(x[0], byte);
}

TEST_F(pin, proc_self_mem)
{
	int mem = open("/proc/self/mem", O_RDWR), i;
	char *plain = mmap(NULL, PG(1), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	char *r = wx_view(self->fd, PROT_READ, 0, NR), byte;
	bool force;

	ASSERT_GE(mem, 0);
	ASSERT_NE(MAP_FAILED, plain);
	ASSERT_NE(MAP_FAILED, r);
	/*
	 * What it does to plain memory that is mapped for reading only: it is
	 * written, unless proc_mem.force_override= says that it must not be.
	 */
	force = pwrite(mem, "\xcc", 1, (off_t)(uintptr_t)plain) == 1;
	ASSERT_EQ(force ? (char)0xcc : 0, plain[0]);
	if (!force)
		TH_LOG("this kernel's /proc/self/mem overrides no protection");
	ASSERT_EQ(1, pwrite(mem, "\xcc", 1, (off_t)(uintptr_t)self->w + 200));
	EXPECT_EQ((char)0xcc, self->w[200]);
	/* Also while the view is not writable at the moment: it is a W view. */
	ASSERT_EQ(0, wx_mprotect(self->w, NR, PROT_READ));
	if (pwrite(mem, "\x05", 1, (off_t)(uintptr_t)self->w + 128) == 1)
		EXPECT_EQ(5, self->w[128]);

	ASSERT_EQ(0, wx_protect(self->fd, POOL, 0, 2, WXPOOL_PROT_X));
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 2, 1, WXPOOL_PROT_R));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(-1, pwrite(mem, "", 1, (off_t)(uintptr_t)self->x + PG(i)));
		EXPECT_EQ(-1, pwrite(mem, "", 1, (off_t)(uintptr_t)r + PG(i)));
		EXPECT_EQ(-1, pwrite(mem, "", 1, (off_t)(uintptr_t)self->w + PG(i)));
		EXPECT_EQ(1, pread(mem, &byte, 1, (off_t)(uintptr_t)r + PG(i)));
		EXPECT_EQ(r[PG(i)], byte);
	}
	/* Without access at the moment, it is still no way in to write. */
	ASSERT_EQ(0, wx_mprotect(self->x, NR, PROT_NONE));
	ASSERT_EQ(0, wx_mprotect(r, NR, PROT_NONE));
	EXPECT_EQ(-1, pwrite(mem, "", 1, (off_t)(uintptr_t)self->x));
	EXPECT_EQ(-1, pwrite(mem, "", 1, (off_t)(uintptr_t)r));
	EXPECT_EQ(force ? 1 : -1,
		  pread(mem, &byte, 1, (off_t)(uintptr_t)self->x));
	ASSERT_EQ(0, wx_mprotect(self->x, NR, RX));
	EXPECT_EQ(0, try_exec(self->x, NULL));
}

/*
 * A page mapped by a forced read must not stay behind with more rights than
 * its view has. (A kernel without forced reads has nothing to leave behind.)
 */
TEST_F(pin, forced_read_then_exec)
{
	int mem = open("/proc/self/mem", O_RDWR);
	char byte, *x = self->x;

	ASSERT_GE(mem, 0);
	/* Of the OPEN page, through an X view */
	ASSERT_EQ(0, wx_mprotect(x, NR, PROT_NONE));
	EXPECT_EQ(-1, pread(mem, &byte, 1, (off_t)(uintptr_t)x));
	ASSERT_EQ(0, wx_mprotect(x, NR, RX));
	EXPECT_EQ(SIGBUS, try_exec(x, NULL));
	/* Of the OPEN page, through a W view without access, then sealed */
	ASSERT_EQ(0, wx_mprotect(self->w, NR, PROT_NONE));
	if (pread(mem, &byte, 1, (off_t)(uintptr_t)self->w) != 1)
		TH_LOG("no forced reads here");
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 0, 1, WXPOOL_PROT_X));
	EXPECT_EQ(-1, pread(mem, &byte, 1, (off_t)(uintptr_t)self->w));
	ASSERT_EQ(0, wx_mprotect(self->w, NR, RW));
	EXPECT_EQ(SIGBUS, try_write(self->w, 0));
	EXPECT_EQ(0, try_exec(x, NULL));
}

/* What can be run and not read, the kernel reads for nobody, by whatever call. */
TEST_F(pin, execute_only)
{
	int mem = open("/proc/self/mem", O_RDWR), p[2];
	char *xo = wx_view(self->fd, XO, 0, NR), byte = 0;
	struct iovec local = { &byte, 1 }, remote = { xo, 1 };
	struct wxpool_info info;
	struct io_uring ring;
	uint32_t val;

	ASSERT_GE(mem, 0);
	ASSERT_NE(MAP_FAILED, xo);
	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(0, wx_info(self->fd, &info));
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 0, 2, WXPOOL_PROT_XO));
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 2, 2, WXPOOL_PROT_X));
	ASSERT_EQ(0, try_exec(xo, &val));
	EXPECT_EQ(100, val);

	EXPECT_EQ(-1, process_vm_readv(getpid(), &local, 1, &remote, 1, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
	EXPECT_EQ(-1, pread(mem, &byte, 1, (off_t)(uintptr_t)xo));
	EXPECT_EQ(-1, pwrite(mem, &byte, 1, (off_t)(uintptr_t)xo));
	EXPECT_EQ(0, byte);
	/* What does as the program itself would do is up to the processor. */
	if (info.features & WXPOOL_FEATURE_XO) {
		EXPECT_EQ(-1, vmsplice(p[1], &remote, 1, 0));
		EXPECT_EQ(EFAULT, errno);
		EXPECT_EQ(-1, write(p[1], xo, 1));
		EXPECT_EQ(EFAULT, errno);
		EXPECT_EQ(-EFAULT, wx_install(self->fd, 2, PG(20), xo, 1,
					      WXPOOL_PROT_R));
	}
	/* Nor by views of other kinds, which do not show it at all */
	remote.iov_base = self->x;
	EXPECT_EQ(-1, process_vm_readv(getpid(), &local, 1, &remote, 1, 0));
	EXPECT_EQ(-1, pread(mem, &byte, 1, (off_t)(uintptr_t)self->x));
	EXPECT_EQ(-1, vmsplice(p[1], &remote, 1, 0));
	EXPECT_EQ(0, byte);
	/* An X page is for reading, but not through this view. */
	EXPECT_EQ(-1, pread(mem, &byte, 1, (off_t)(uintptr_t)xo + PG(2)));
	EXPECT_EQ(1, pread(mem, &byte, 1, (off_t)(uintptr_t)self->x + PG(2)));
	EXPECT_EQ(self->x[PG(2)], byte);
	RING_OR_SKIP(&ring, 0);
	EXPECT_NE(0, ring_register(&ring, xo, PG(1)));
	EXPECT_EQ(0, try_exec(xo, &val));
	EXPECT_EQ(100, val);
}

static void traced_child(int fd, char *w)
{
	CHILD_CHECK(!ptrace(PTRACE_TRACEME, 0, NULL, NULL));
	raise(SIGSTOP);
	/* Sealed at the tracer's word; the views stay where they are. */
	CHILD_CHECK(!wx_protect(fd, POOL, 0, NR - 1, WXPOOL_PROT_X));
	CHILD_CHECK(!wx_protect(fd, POOL, NR - 1, 1, WXPOOL_PROT_XO));
	raise(SIGSTOP);
	_exit(try_write(w, 0) == SIGBUS ? 0 : 1);
}

/*
 * A debugger, which is another process: it reads code, unless that is execute
 * only, and cannot set a breakpoint in it.
 */
TEST_F(pin, ptrace)
{
	char *plain = mmap(NULL, PG(1), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	long word, open_word;
	int status, i;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, plain);
	self->xo = wx_view(self->fd, XO, 0, NR);
	ASSERT_NE(MAP_FAILED, self->xo);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		/* A context of the child's own, at the same addresses */
		int fd = wx_open();

		CHILD_CHECK(fd >= 0 && !wx_alloc(fd, POOL, 0, NR));
		CHILD_CHECK(!wx_view_at(fd, RW, 0, NR, self->w));
		CHILD_CHECK(!wx_view_at(fd, RX, 0, NR, self->x));
		CHILD_CHECK(!wx_view_at(fd, XO, 0, NR, self->xo));
		wx_emit_pages(self->w, NR, 100);
		traced_child(fd, self->w);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFSTOPPED(status));
	/* Plain memory without write access, a W view, an X view of OPEN */
	EXPECT_EQ(0, ptrace(PTRACE_POKEDATA, pid, plain, 1L));
	EXPECT_EQ(1, ptrace(PTRACE_PEEKDATA, pid, plain, NULL));
	EXPECT_EQ(0, ptrace(PTRACE_POKEDATA, pid, self->w + 64, 42L));
	EXPECT_EQ(42, ptrace(PTRACE_PEEKDATA, pid, self->w + 64, NULL));
	EXPECT_EQ(-1, ptrace(PTRACE_POKETEXT, pid, self->x + 64, 43L));
	errno = 0;
	open_word = ptrace(PTRACE_PEEKDATA, pid, self->w, NULL);
	EXPECT_EQ(0, errno);
	EXPECT_EQ(0, ptrace(PTRACE_CONT, pid, NULL, NULL));

	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFSTOPPED(status));
	errno = 0;
	word = ptrace(PTRACE_PEEKTEXT, pid, self->x, NULL);
	EXPECT_EQ(0, errno);
	EXPECT_EQ(open_word, word);
	EXPECT_EQ(-1, ptrace(PTRACE_POKETEXT, pid, self->x, 0xccL));
	EXPECT_EQ(-1, ptrace(PTRACE_POKEDATA, pid, self->x + 64, 0xccL));
	EXPECT_EQ(-1, ptrace(PTRACE_POKEDATA, pid, self->w + 64, 0xccL));
	EXPECT_EQ(42, ptrace(PTRACE_PEEKDATA, pid, self->x + 64, NULL));
	for (i = 0; i < NR; i++) {
		errno = 0;
		EXPECT_EQ(-1, ptrace(PTRACE_PEEKTEXT, pid, self->xo + PG(i), NULL));
		EXPECT_NE(0, errno);
		EXPECT_EQ(-1, ptrace(PTRACE_POKETEXT, pid, self->xo + PG(i), 0xccL));
	}
	errno = 0;
	EXPECT_EQ(-1, ptrace(PTRACE_PEEKTEXT, pid, self->x + PG(NR - 1), NULL));
	EXPECT_NE(0, errno);
	EXPECT_EQ(0, ptrace(PTRACE_DETACH, pid, NULL, NULL));
	EXPECT_EQ(0, wx_wait(pid));
}

TEST_HARNESS_MAIN
