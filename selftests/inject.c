// SPDX-License-Identifier: GPL-2.0
/*
 * What can fail, fails: the first, second, third allocation or user copy of
 * each operation, until it comes through undisturbed. After each failure
 * everything must be as before, nothing lost, and the operation must work.
 *
 * The kernel's fault injection does it (Documentation/fault-injection), so most
 * of this needs a kernel that was built for it. Copies from the user of which
 * it does not know, as those of structures of the usual size, fail by memory that
 * cannot be read, on any kernel.
 *
 * Each loop runs in a process of its own, and all of these in a memory cgroup:
 * when they have ended, no page may be charged there.
 *
 * With WXPOOL_FEWER=N each Nth of them fails.
 */
#include <dirent.h>
#include <limits.h>
#include <sys/mount.h>
#if __has_include("sys/rseq.h")
#include <sys/rseq.h>
#endif

#include "wxpool_group.h"
#include "wxpool_uring.h"
#include "wxpool_util.h"

#define DEBUGFS		"/sys/kernel/debug/"
#define CONTEXT_PARAM	WX_PARAM_DIR "max_bytes_per_context"
#define USER_PARAM	WX_PARAM_DIR "max_bytes_per_user"

/* Offsets in pages: what tests look at, a block, far away */
#define NEAR		32
#define BLOCK		512
#define VIEW		1024
#define FAR		4096

#define AT(page, line)	((uint64_t)PG(page) + (line) * LINE)

/* ---------------------------------------------------------- injecting faults */

static const char * const attrs[] = {
	"failslab", "fail_page_alloc", "fail_usercopy",
};

static int set_attr(const char *attr, const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), DEBUGFS "%s/%s", attr, file);
	return wx_write_file(path, text);
}

static int set_attr_long(const char *attr, const char *file, long val)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", val);
	return set_attr(attr, file, text);
}

static long get_attr(const char *attr, const char *file)
{
	char path[128];

	snprintf(path, sizeof(path), DEBUGFS "%s/%s", attr, file);
	return wx_read_long(path);
}

/* NULL, or why faults cannot be injected. All kinds of allocations may fail. */
static const char *enable_injection(void)
{
	unsigned int i;

	if (geteuid())
		return "only root can inject faults";
	if (access("/proc/thread-self/fail-nth", F_OK))
		return "this kernel has no fault injection";
	if (access(DEBUGFS "failslab", F_OK))
		mount("none", DEBUGFS, "debugfs", 0, NULL);
	for (i = 0; i < 3; i++) {
		if (set_attr(attrs[i], "probability", "0"))
			return "not all of failslab, fail_page_alloc and fail_usercopy";
		set_attr(attrs[i], "verbose", "0");
		set_attr(attrs[i], "task-filter", "Y");
	}
	set_attr("failslab", "ignore-gfp-wait", "N");
	set_attr("failslab", "cache-filter", "N");
	set_attr("fail_page_alloc", "ignore-gfp-wait", "N");
	set_attr("fail_page_alloc", "ignore-gfp-highmem", "N");
	set_attr("fail_page_alloc", "min-order", "0");
	return NULL;
}

/*
 * A fault on its way to a thread. With @attr, not one allocation fails, but
 * from some point on all of that kind.
 */
struct injection {
	int nth, task;			/* files of the thread */
	const char *attr;
	long at, step;			/* which allocation, or what comes before */
};

#define MANY	1000000

/* @tid: a thread of this process, 0 for the calling one */
static void injection_of(struct injection *in, int tid)
{
	char dir[64], path[96];

	if (tid)
		snprintf(dir, sizeof(dir), "/proc/self/task/%d", tid);
	else
		strcpy(dir, "/proc/thread-self");
	memset(in, 0, sizeof(*in));
	snprintf(path, sizeof(path), "%s/fail-nth", dir);
	in->nth = open(path, O_RDWR | O_CLOEXEC);
	snprintf(path, sizeof(path), "%s/make-it-fail", dir);
	in->task = open(path, O_RDWR | O_CLOEXEC);
	CHILD_CHECK(in->nth >= 0 && in->task >= 0);
	in->at = 1;
	in->step = wx_fewer();
}

static void put_injection(struct injection *in)
{
	close(in->nth);
	close(in->task);
}

static void arm(struct injection *in)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%ld", in->at);

	if (!in->attr) {
		CHILD_CHECK(pwrite(in->nth, text, len, 0) == len);
		return;
	}
	CHILD_CHECK(!set_attr_long(in->attr, "times", MANY));
	CHILD_CHECK(!set_attr_long(in->attr, "space", in->at));
	CHILD_CHECK(!set_attr_long(in->attr, "probability", 100));
	CHILD_CHECK(pwrite(in->task, "1", 1, 0) == 1);
}

static bool disarm_all(struct injection *in)
{
	CHILD_CHECK(pwrite(in->task, "0", 1, 0) == 1);
	CHILD_CHECK(!set_attr(in->attr, "probability", "0"));
	return get_attr(in->attr, "times") != MANY;
}

/*
 * Has it happened? The copies of these calls count as well, so the fault can
 * also come in one of them, which then fails: after what was to be tested.
 */
static bool disarm(struct injection *in)
{
	char text[32] = "";
	ssize_t len;

	if (in->attr)
		return disarm_all(in);
	len = pread(in->nth, text, sizeof(text) - 1, 0);
	while (pwrite(in->nth, "0", 1, 0) != 1)
		;
	return len > 0 && !atoi(text);
}

/* ----------------------------------------------------------------- a scene */

/* A context with something of everything, and one operation to be done on it */
struct scene {
	int fd;
	char *w, *r, *x;		/* views of VIEW pages */
	unsigned long cmd;
	union {
		struct {
			uint32_t size, pool;
			uint64_t context;
			uint64_t vector;
			uint32_t nr;
		};
		struct wxpool_info info;
		struct wxpool_alloc alloc;
		struct wxpool_protect protect;
		struct wxpool_install install;
		struct wxpool_free free;
		struct wxpool_freeze freeze;
		char bytes[256];
	};
	union {
		struct wxpool_alloc_range alloc_r[100];
		struct wxpool_protect_range protect_r[100];
		struct wxpool_install_range install_r[100];
		uint32_t pools[100];
	};
	size_t element;			/* size of one, 0 without a vector */
	pid_t child;
	int ask, answer;		/* to and from the child */
};

/* Bytes to install; no two tests change them. */
static char *source;

static size_t look_page(unsigned int i)
{
	static const size_t far[] = { BLOCK, BLOCK + 1, VIEW - 1 };

	return i < NEAR ? i : far[i - NEAR];
}

#define LOOKS	(NEAR + 3)

/*
 * What all bytes of a page are, in one number; or the signal that they raise.
 * madvise() tells without one, which takes much less time.
 */
static uint64_t page_digest(char *p)
{
	const uint64_t *words = (const void *)p;
	uint64_t sum = 1;
	size_t i;

	if (madvise(p, PG(1), MADV_POPULATE_READ) && errno != EINVAL)
		return SIGBUS;
	for (i = 0; i < wx_page_size / 8; i++)
		sum = (sum ^ words[i]) * 0x100000001b3ull;
	return sum | 1ull << 63;
}

static uint64_t view_digest(char *view)
{
	uint64_t sum = 1;
	unsigned int i;

	for (i = 0; i < LOOKS; i++)
		sum = (sum ^ page_digest(view + PG(look_page(i)))) * 0x100000001b3ull;
	return sum;
}

/* All that there is to be seen of a context */
struct snap {
	struct wx_stat st;
	uint64_t looks[3][LOOKS];
	uint64_t child;
};

static void take(struct scene *s, struct snap *snap)
{
	char * const views[] = { s->w, s->r, s->x };
	unsigned int i, v;

	memset(snap, 0, sizeof(*snap));
	snap->st = wx_stat(s->fd);
	/* What is kept for the next time is nobody's business. */
	memset(&snap->st.idle, 0, sizeof(snap->st) - offsetof(struct wx_stat, idle));
	for (v = 0; v < 3; v++)
		for (i = 0; i < LOOKS; i++)
			snap->looks[v][i] = page_digest(views[v] + PG(look_page(i)));
	if (s->child) {
		CHILD_CHECK(!wx_step(s->ask));
		CHILD_CHECK(read(s->answer, &snap->child, 8) == 8);
	}
}

static bool same(const struct snap *a, const struct snap *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static void differ(const struct snap *a, const struct snap *b)
{
	unsigned int i, v;

	printf("# pools %ld %ld open %ld %ld read %ld %ld exec %ld %ld xo %ld %ld kept %ld %ld packed %ld %ld lines %ld %ld kept %ld %ld child %d\n",
	       a->st.pools, b->st.pools, a->st.open, b->st.open, a->st.read,
	       b->st.read, a->st.exec, b->st.exec, a->st.exec_only, b->st.exec_only,
	       a->st.kept, b->st.kept, a->st.packed, b->st.packed, a->st.lines,
	       b->st.lines, a->st.kept_lines, b->st.kept_lines, a->child != b->child);
	for (v = 0; v < 3; v++)
		for (i = 0; i < LOOKS; i++)
			if (a->looks[v][i] != b->looks[v][i])
				printf("# %c view, page %zu: %llx %llx\n", "WRX"[v],
				       look_page(i),
				       (unsigned long long)a->looks[v][i],
				       (unsigned long long)b->looks[v][i]);
	fflush(stdout);
}

static void serve_digests(char *view, int ask, int answer)
{
	uint64_t sum;

	while (!wx_wait_step(ask)) {
		sum = view_digest(view);
		if (write(answer, &sum, 8) != 8)
			break;
	}
	_exit(0);
}

/* A child that has inherited the views, and says what it sees. */
static void add_child(struct scene *s)
{
	int ask[2], answer[2];

	CHILD_CHECK(!pipe2(ask, O_CLOEXEC) && !pipe2(answer, O_CLOEXEC));
	fflush(stdout);
	s->child = fork();
	CHILD_CHECK(s->child >= 0);
	if (!s->child) {
		close(ask[1]);
		close(answer[0]);
		serve_digests(s->x, ask[0], answer[1]);
	}
	close(ask[0]);
	close(answer[1]);
	s->ask = ask[1];
	s->answer = answer[0];
}

static void install(struct scene *s, uint32_t pool, uint64_t offset, size_t len,
		    uint32_t prot)
{
	CHILD_CHECK(!wx_install(s->fd, pool, offset, source + pool * 64, len, prot));
}

/* Pages 0 to 7: of each kind some, of four pools */
static void scene_begin(struct scene *s)
{
	memset(s, 0, sizeof(*s));
	s->fd = wx_open();
	CHILD_CHECK(s->fd >= 0);
	s->w = wx_view(s->fd, RW, 0, VIEW);
	s->r = wx_view(s->fd, PROT_READ, 0, VIEW);
	s->x = wx_view(s->fd, RX, 0, VIEW);
	CHILD_CHECK(s->w != MAP_FAILED && s->r != MAP_FAILED);
	CHILD_CHECK(s->x != MAP_FAILED);
	CHILD_CHECK(!wx_alloc(s->fd, 1, 0, 2));
	wx_pattern(s->w, PG(1), 1);
	CHILD_CHECK(!wx_alloc(s->fd, 2, 2, 2));
	wx_pattern(s->w + PG(2), PG(2), 2);
	CHILD_CHECK(!wx_protect(s->fd, 2, 2, 1, WXPOOL_PROT_X));
	CHILD_CHECK(!wx_protect(s->fd, 2, 3, 1, WXPOOL_PROT_R));
	install(s, 3, AT(4, 0), 3 * LINE + 5, WXPOOL_PROT_X);
	install(s, 4, AT(4, 8), 2 * LINE, WXPOOL_PROT_X);
	install(s, 3, AT(5, 2), LINE, WXPOOL_PROT_R);
	install(s, 4, AT(5, 9), LINE, WXPOOL_PROT_R);
	install(s, 3, AT(6, 0), PG(1) - LINE, WXPOOL_PROT_X);
	install(s, 4, AT(7, 0) - LINE, LINE, WXPOOL_PROT_X);
}

static void scene_end(struct scene *s)
{
	if (s->child) {
		close(s->ask);
		close(s->answer);
		CHILD_CHECK(!wx_wait(s->child));
	}
	munmap(s->w, PG(VIEW));
	munmap(s->r, PG(VIEW));
	munmap(s->x, PG(VIEW));
	close(s->fd);
}

/* -------------------------------------------------------------- operations */

/* A pool that no other operation has touched */
#define POOL	9

static void *vector(struct scene *s, unsigned long cmd, size_t element, uint32_t nr)
{
	s->cmd = cmd;
	memset(s->bytes, 0, sizeof(s->bytes));
	s->size = cmd == WXPOOL_IOC_FREE ? sizeof(s->free) : sizeof(s->alloc);
	s->pool = cmd == WXPOOL_IOC_FREE ? 0 : POOL;
	s->vector = (uintptr_t)s->pools;
	s->nr = nr;
	s->element = element;
	return s->pools;
}

static struct wxpool_alloc_range *alloc_op(struct scene *s, uint32_t nr)
{
	return vector(s, WXPOOL_IOC_ALLOC, sizeof(s->alloc_r[0]), nr);
}

static struct wxpool_protect_range *protect_op(struct scene *s, uint32_t nr)
{
	return vector(s, WXPOOL_IOC_PROTECT, sizeof(s->protect_r[0]), nr);
}

static struct wxpool_install_range *install_op(struct scene *s, uint32_t nr)
{
	return vector(s, WXPOOL_IOC_INSTALL, sizeof(s->install_r[0]), nr);
}

static void op_info(struct scene *s)
{
	s->cmd = WXPOOL_IOC_INFO;
	s->info = (struct wxpool_info) { .size = sizeof(s->info), .pool = 3 };
}

static void op_alloc(struct scene *s)
{
	struct wxpool_alloc_range *r = alloc_op(s, 3);

	r[0] = wx_alloc_range(8, 2);
	r[1] = wx_alloc_range(11, 1);
	r[2] = wx_alloc_range(13, 3);
}

static void op_alloc_many(struct scene *s)
{
	struct wxpool_alloc_range *r = alloc_op(s, 12);
	unsigned int i;

	for (i = 0; i < 12; i++)
		r[i] = wx_alloc_range(30 - 2 * i, 1);
}

/* Where the module has nothing yet, and tables for it may be made */
static void op_alloc_far(struct scene *s)
{
	struct wxpool_alloc_range *r = alloc_op(s, 3);

	r[0] = wx_alloc_range(8, 1);
	r[1] = wx_alloc_range(FAR * 8, 1);
	r[2] = wx_alloc_range(FAR * 4096, 1);
}

static void op_protect(struct scene *s)
{
	struct wxpool_protect_range *r = protect_op(s, 3);

	CHILD_CHECK(!wx_alloc(s->fd, POOL, 8, 5));
	wx_pattern(s->w + PG(8), PG(5), 8);
	r[0] = wx_protect_range(8, 2, WXPOOL_PROT_X);
	r[1] = wx_protect_range(11, 1, WXPOOL_PROT_R);
	r[2] = wx_protect_range(12, 1, WXPOOL_PROT_XO);
}

static void op_protect_many(struct scene *s)
{
	struct wxpool_protect_range *r = protect_op(s, 80);
	unsigned int i;

	CHILD_CHECK(!wx_alloc(s->fd, POOL, 8, 160));
	wx_pattern(s->w + PG(8), PG(12), 8);
	for (i = 0; i < 80; i++)
		r[i] = wx_protect_range(166 - 2 * i, 1, 1 + i % 3);
}

static void free_op(struct scene *s, uint32_t pool)
{
	uint32_t *pools = vector(s, WXPOOL_IOC_FREE, sizeof(*pools), 1);

	pools[0] = pool;
}

static void prepare_free(struct scene *s)
{
	CHILD_CHECK(!wx_alloc(s->fd, 3, 8, 3));
	CHILD_CHECK(!wx_protect(s->fd, 3, 8, 2, WXPOOL_PROT_X));
	install(s, 3, AT(12, 1), LINE, WXPOOL_PROT_X);
}

static void op_free(struct scene *s)
{
	prepare_free(s);
	free_op(s, 3);
}

/* Pages 4 to 6 have lines of another pool, and a child shows them. */
static void op_free_kept(struct scene *s)
{
	op_free(s);
	add_child(s);
}

/* More than fit into what is kept at hand */
static void op_free_many(struct scene *s)
{
	uint32_t *pools, i;

	prepare_free(s);
	for (i = 10; i < 100; i++)
		CHILD_CHECK(!wx_install(s->fd, i, AT(20, i - 10), source, 1,
					WXPOOL_PROT_X));
	add_child(s);
	for (i = 100; i < 108; i++)
		install(s, i - 90, AT(22, i), LINE, WXPOOL_PROT_R);
	pools = vector(s, WXPOOL_IOC_FREE, sizeof(*pools), 92);
	for (i = 0; i < 92; i++)
		pools[i] = i < 90 ? 10 + i : 3 + i - 90;
}

static void op_free_all(struct scene *s)
{
	op_free_many(s);
	s->free = (struct wxpool_free) {
		.size = sizeof(s->free), .flags = WXPOOL_FREE_ALL,
	};
	s->element = 0;
}

static void op_revoke_all(struct scene *s)
{
	op_free_all(s);
	CHILD_CHECK(!wx_free(s->fd, 3));
	s->free.flags |= WXPOOL_FREE_REVOKE;
}

static void op_install(struct scene *s)
{
	struct wxpool_install_range *r = install_op(s, 3);

	r[0] = wx_bytes(AT(4, 16), source, 100, WXPOOL_PROT_X);
	r[1] = wx_bytes(AT(12, 60), source + 1, 10 * LINE, WXPOOL_PROT_X);
	r[2] = wx_bytes(AT(15, 0), source, 1, WXPOOL_PROT_R);
}

static void op_install_pages(struct scene *s)
{
	struct wxpool_install_range *r = install_op(s, 2);

	r[0] = wx_bytes(AT(12, 0), source, PG(3), WXPOOL_PROT_X);
	r[1] = wx_bytes(AT(20, 0), source + 3, PG(1) - 3, WXPOOL_PROT_R);
}

/* More ranges, parts and bytes than fit into what is kept at hand */
static void op_install_many(struct scene *s)
{
	struct wxpool_install_range *r = install_op(s, 100);
	unsigned int i;

	for (i = 0; i < 100; i++)
		r[i] = wx_bytes(AT(12, 5 * i), source + i, 4 * LINE, WXPOOL_PROT_X);
}

/* One run of lines, gathered from a hundred places and sizes */
static void op_install_gather(struct scene *s)
{
	struct wxpool_install_range *r = install_op(s, 100);
	unsigned int i;

	r[0] = wx_bytes(AT(4, 16), source, 7, WXPOOL_PROT_X);
	for (i = 1; i < 100; i++)
		r[i] = wx_more(source + i, 1 + i % 40);
	r[50] = wx_bytes(AT(13, 3), source, 65, WXPOOL_PROT_R);
}

/* Whole pages and parts of pages, more than the buffer takes */
static void op_install_large(struct scene *s)
{
	struct wxpool_install_range *r = install_op(s, 3);

	r[0] = wx_bytes(AT(4, 40), source, 100, WXPOOL_PROT_X);
	r[1] = wx_bytes(AT(12, 50), source, PG(12), WXPOOL_PROT_X);
	r[2] = wx_bytes(AT(27, 1), source, 2 * LINE, WXPOOL_PROT_R);
}

static void op_install_xo(struct scene *s)
{
	struct wxpool_install_range *r = install_op(s, 2);

	install(s, 3, AT(12, 1), LINE, WXPOOL_PROT_XO);
	r[0] = wx_bytes(AT(12, 16), source, 100, WXPOOL_PROT_XO);
	r[1] = wx_bytes(AT(13, 60), source + 1, 10 * LINE, WXPOOL_PROT_XO);
}

static void op_install_block(struct scene *s)
{
	struct wxpool_install_range *r = install_op(s, 2);

	r[0] = wx_bytes(AT(BLOCK, 3), source, 5 * LINE, WXPOOL_PROT_X);
	r[1] = wx_bytes(AT(8, 0), source, LINE, WXPOOL_PROT_R);
	s->install.flags = WXPOOL_INSTALL_BLOCKS;
}

/* An idle block takes it, if there is one: single pages leave none. */
static void make_idle(struct scene *s)
{
	struct wxpool_install_range r = wx_bytes(AT(BLOCK, 0), source, LINE,
						 WXPOOL_PROT_X);

	CHILD_CHECK(!wx_install_flags(s->fd, POOL, &r, 1, WXPOOL_INSTALL_BLOCKS));
	CHILD_CHECK(!wx_free(s->fd, POOL));
}

static void op_install_idle(struct scene *s)
{
	struct wxpool_install_range *r = install_op(s, 1);

	make_idle(s);
	r[0] = wx_bytes(AT(BLOCK, 3), source, 5 * LINE, WXPOOL_PROT_X);
}

/* What does not fit the idle block has it go. */
static void op_alloc_over_idle(struct scene *s)
{
	struct wxpool_alloc_range *r = alloc_op(s, 2);

	make_idle(s);
	r[0] = wx_alloc_range(8, 2);
	r[1] = wx_alloc_range(BLOCK, 1);
}

/* Beside a line that is kept, in a page that a child shows */
static void op_install_beside_kept(struct scene *s)
{
	struct wxpool_install_range *r = install_op(s, 1);

	install(s, POOL, AT(12, 0), LINE, WXPOOL_PROT_X);
	install(s, 3, AT(12, 8), LINE, WXPOOL_PROT_X);
	add_child(s);
	CHILD_CHECK(!wx_free(s->fd, POOL));
	CHILD_CHECK(wx_stat(s->fd).kept_lines == 1);
	r[0] = wx_bytes(AT(12, 3), source, LINE, WXPOOL_PROT_X);
}

static void op_freeze(struct scene *s)
{
	s->cmd = WXPOOL_IOC_FREEZE;
	s->freeze = (struct wxpool_freeze) { .size = sizeof(s->freeze) };
}

/*
 * Longer than it must be: that is copied in the way of which fault injection
 * knows. The tail is zero.
 */
static void lengthen(struct scene *s)
{
	memset(s->bytes + s->size, 0, 8);
	s->size += 8;
}

struct op {
	const char *name;
	void (*prepare)(struct scene *s);
	bool results;		/* which are copied back */
	bool no_memory;		/* needs none but on its stack */
	bool takes_pages;	/* or may take some */
	bool blocks;		/* looks different without a huge page */
};

/* -------------------------------------------------- who does the operations */

enum way { BY_IOCTL, BY_SUBMITTER, BY_WORKER };

static const char * const way_names[] = {
	"ioctl", "io_uring", "a worker of io_uring",
};

static struct io_uring ring;

static int do_ioctl(struct scene *s, struct injection *in, bool *fired)
{
	int ret;

	if (in)
		arm(in);
	ret = wx_ioctl(s->fd, s->cmd, s->bytes);
	if (in)
		*fired = disarm(in);
	return ret;
}

/*
 * Where the ring takes the submission not, that is the outcome. It stays in
 * the queue then, for the next call.
 */
static int do_ring(struct scene *s, struct injection *in, enum way how,
		   bool *fired)
{
	struct io_uring_sqe sqe = ring_cmd(s->fd, s->cmd, s->bytes,
					   how == BY_WORKER ? IOSQE_ASYNC : 0, 0);
	int ret;

	if (!io_uring_sq_ready(&ring))
		ring_queue(&ring, &sqe);
	if (in)
		arm(in);
	ret = io_uring_submit(&ring);
	if (in && how == BY_SUBMITTER)
		*fired = disarm(in);
	if (ret == 1)
		ret = ring_wait(&ring);
	else
		ret = ret ? ret : -EAGAIN;
	if (in && how == BY_WORKER)
		*fired = disarm(in);
	return ret;
}

static int perform(struct scene *s, enum way how, struct injection *in,
		   bool *fired)
{
	if (how == BY_IOCTL)
		return do_ioctl(s, in, fired);
	return do_ring(s, in, how, fired);
}

/* The one worker of this process's rings, 0 if there is none yet */
static int find_worker(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	char path[300], comm[32];
	int tid = 0;
	FILE *f;

	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		if (fgets(comm, sizeof(comm), f) && !strncmp(comm, "iou-wrk", 7))
			tid = atoi(entry->d_name);
		fclose(f);
	}
	closedir(dir);
	return tid;
}

/* The ring, and what is needed to make its worker fail */
static void ring_begin(enum way how, struct injection *in)
{
	struct wxpool_info info = { .size = sizeof(info) };
	unsigned int one[2] = { 1, 1 };
	int fd, tid = 0;

	if (how != BY_IOCTL)
		CHILD_CHECK(!ring_init(&ring, 0));
	if (how == BY_WORKER) {
		CHILD_CHECK(!io_uring_register_iowq_max_workers(&ring, one));
		fd = wx_open();
		CHILD_CHECK(!ring_op(&ring, fd, WXPOOL_IOC_INFO, &info, IOSQE_ASYNC));
		close(fd);
		tid = find_worker();
		CHILD_CHECK(tid);
	}
	injection_of(in, tid);
}

static void ring_end(enum way how, struct injection *in)
{
	put_injection(in);
	if (how != BY_IOCTL)
		io_uring_queue_exit(&ring);
}

/* --------------------------------------------------------- what must be true */

static int set_limits(long context, long user)
{
	int ret;
	char text[32];

	snprintf(text, sizeof(text), "%ld", context);
	ret = wx_write_file(CONTEXT_PARAM, text);
	snprintf(text, sizeof(text), "%ld", user);
	return ret ? ret : wx_write_file(USER_PARAM, text);
}

/* Has the context give up what it keeps for the next time. */
static void make_it_lean(struct scene *s)
{
	CHILD_CHECK(!set_limits(1, 1));
	CHILD_CHECK(wx_alloc(s->fd, 77, FAR, 2) == -ENOSPC);
	CHILD_CHECK(!wx_stat(s->fd).idle);
}

/*
 * The limits are about what is charged: with room for less than two more pages
 * there are none, and with room for what else they need there are two. After FREE
 * nothing more is charged than before, and after FREE of all nothing at all.
 */
static void check_charge(struct scene *s)
{
	long context = wx_read_long(CONTEXT_PARAM), user = wx_read_long(USER_PARAM);
	struct wx_stat st, after;
	long less;

	make_it_lean(s);
	st = wx_stat(s->fd);
	less = st.charged + PG(2) - 1;
	CHILD_CHECK(st.charged == st.user_charged);
	CHILD_CHECK(!set_limits(less, user));
	CHILD_CHECK(wx_alloc(s->fd, 77, FAR, 2) == -ENOSPC);
	CHILD_CHECK(!set_limits(context, less));
	CHILD_CHECK(wx_alloc(s->fd, 77, FAR, 2) == -ENOSPC);
	CHILD_CHECK(!set_limits(less + 65536, less + 65536));
	CHILD_CHECK(!wx_alloc(s->fd, 77, FAR, 2));
	CHILD_CHECK(!wx_free(s->fd, 77));
	make_it_lean(s);
	after = wx_stat(s->fd);
	CHILD_CHECK(after.charged == st.charged && after.user_charged == st.charged);
	/* Without anything in it, it has the buffer of INSTALL at most. */
	CHILD_CHECK(!wx_free_all(s->fd, WXPOOL_FREE_REVOKE));
	make_it_lean(s);
	after = wx_stat(s->fd);
	CHILD_CHECK(!set_limits(context, user));
	CHILD_CHECK(!after.charged || (after.charged >> 10 == 32 && after.charged % 1024 < 64));
}

struct tally {
	unsigned int injections, failed, late;
};

/*
 * It is as good if single pages had to do in the place of a huge one, and after
 * an error (@failed) if there is an idle block, which views show, or none.
 */
static void forget_block(const struct op *op, bool failed, struct snap *snap)
{
	unsigned int v, i;

	if (!op->blocks)
		return;
	snap->st.exec = 0;
	snap->st.packed = 0;
	snap->st.huge = 0;
	for (v = 0; v < 3; v++)
		for (i = NEAR + !failed; i < LOOKS; i++)
			snap->looks[v][i] = 0;
}

static void check_same(const struct op *op, bool failed, struct scene *s,
		       const struct snap *want)
{
	struct snap now, then = *want;

	take(s, &now);
	forget_block(op, failed, &now);
	forget_block(op, failed, &then);
	if (!same(&now, &then))
		differ(&now, &then);
	CHILD_CHECK(same(&now, &then));
}

/*
 * After an error: as before, and then it works. The one exception is the last
 * copy: what has been done when the results cannot be stored stays done.
 */
static void check_failed(const struct op *op, struct scene *s, enum way how,
			 int ret, const struct snap *before,
			 const struct snap *done, struct tally *tally)
{
	struct snap now;

	CHILD_CHECK(ret == -ENOMEM || ret == -EFAULT ||
		    (ret == -EAGAIN && how == BY_SUBMITTER));
	tally->failed++;
	take(s, &now);
	if (op->results && ret == -EFAULT && same(&now, done) &&
	    !same(before, done)) {
		tally->late++;
		return;
	}
	check_same(op, true, s, before);
	CHILD_CHECK(!perform(s, how, NULL, NULL));
	check_same(op, false, s, done);
}

/* What it looks like before and after, which is the same each time */
static void see_both(const struct op *op, enum way how, struct snap *before,
		     struct snap *done)
{
	struct scene s;

	scene_begin(&s);
	op->prepare(&s);
	take(&s, before);
	CHILD_CHECK(!perform(&s, how, NULL, NULL));
	take(&s, done);
	scene_end(&s);
}

/* One step; false if nothing was left to fail */
static bool inject_once(const struct op *op, enum way how, struct injection *in,
			const struct snap *before, const struct snap *done,
			struct tally *tally)
{
	struct scene s;
	bool fired;
	int ret;

	scene_begin(&s);
	op->prepare(&s);
	lengthen(&s);
	ret = perform(&s, how, in, &fired);
	if (fired)
		tally->injections++;
	if (!fired && ret)
		printf("# %s: %s without a fault\n", op->name, strerror(-ret));
	CHILD_CHECK(fired || !ret);
	if (ret)
		check_failed(op, &s, how, ret, before, done, tally);
	else
		check_same(op, false, &s, done);
	if (op->prepare != op_freeze)
		check_charge(&s);
	scene_end(&s);
	CHILD_CHECK(wx_soon_nothing_charged());
	return fired;
}

static void inject(const struct op *op, enum way how, const char *attr, long step)
{
	struct tally tally = { 0 };
	struct snap before, done;
	struct injection in;

	ring_begin(how, &in);
	see_both(op, how, &before, &done);
	CHILD_CHECK(wx_soon_nothing_charged());
	in.attr = attr;
	if (attr) {
		in.at = 0;
		in.step = step * wx_fewer();
	}
	while (inject_once(op, how, &in, &before, &done, &tally))
		in.at += in.step;
	ring_end(how, &in);
	printf("# %s by %s%s%s: %u injections, %u failed, %u too late\n", op->name,
	       way_names[how], attr ? ", all of " : "", attr ? attr : "",
	       tally.injections, tally.failed, tally.late);
	fflush(stdout);
	CHILD_CHECK(tally.injections);
}

/* ---------------------------------------------------------------- fixtures */

/* Where the tests run, and what they may have changed */
struct setting {
	struct group group;
	bool grouped;
	long context, user;
};

/* NULL, or why there is nothing to be tested */
static const char *setting_begin(struct setting *set)
{
	memset(set, 0, sizeof(*set));
	if (access(WX_DEV, F_OK))
		return "no " WX_DEV ": modprobe wxpool first";
	set->context = wx_read_long(CONTEXT_PARAM);
	set->user = wx_read_long(USER_PARAM);
	source = malloc(PG(16));
	wx_pattern(source, PG(16), 5);
	return NULL;
}

/* The same for tests that need fault injection */
static const char *inject_begin(struct setting *set)
{
	const char *why = enable_injection();

	if (why)
		return why;
	why = group_make(&set->group, "wxpool-inject");
	set->grouped = !why;
	if (why)
		printf("# pages are not counted: %s\n", why);
	return NULL;
}

#define INJECT_OR_SKIP() do {						\
	const char *_why = inject_begin(&self->set);			\
									\
	if (_why)							\
		SKIP(return, "%s", _why);				\
} while (0)

static void setting_end(struct setting *set)
{
	unsigned int i;

	for (i = 0; i < 3; i++)
		set_attr(attrs[i], "probability", "0");
	if (set->context > 0 && !geteuid())
		set_limits(set->context, set->user);
}

/* Runs a function in a process of its own; its status */
static int confined(struct setting *set, void (*fn)(const void *arg),
		    const void *arg)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (set->grouped)
			CHILD_CHECK(!group_join(&set->group));
		fn(arg);
		fflush(stdout);
		_exit(0);
	}
	return pid < 0 ? -errno : wx_wait(pid);
}

FIXTURE(inject) {
	struct setting set;
};

FIXTURE_SETUP(inject)
{
	const char *why = setting_begin(&self->set);

	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN(inject)
{
	setting_end(&self->set);
}

/* --------------------------------------------------------- the operations */

FIXTURE(op) {
	struct setting set;
};

FIXTURE_VARIANT(op)
{
	struct op op;
};

FIXTURE_VARIANT_ADD(op, info) {
	.op = { "INFO", op_info, .results = true, .no_memory = true },
};

FIXTURE_VARIANT_ADD(op, alloc) {
	.op = { "ALLOC", op_alloc, .takes_pages = true },
};

FIXTURE_VARIANT_ADD(op, alloc_many) {
	.op = { "ALLOC of 12 ranges", op_alloc_many, .takes_pages = true },
};

FIXTURE_VARIANT_ADD(op, alloc_far) {
	.op = { "ALLOC far away", op_alloc_far, .takes_pages = true },
};

FIXTURE_VARIANT_ADD(op, alloc_over_idle) {
	.op = { "ALLOC over an idle block", op_alloc_over_idle,
		.takes_pages = true, .blocks = true },
};

FIXTURE_VARIANT_ADD(op, protect) {
	.op = { "PROTECT", op_protect, .no_memory = true },
};

FIXTURE_VARIANT_ADD(op, protect_many) {
	.op = { .name = "PROTECT of 80 ranges", .prepare = op_protect_many },
};

FIXTURE_VARIANT_ADD(op, free) {
	.op = { "FREE", op_free, .results = true, .no_memory = true },
};

FIXTURE_VARIANT_ADD(op, free_kept) {
	.op = { "FREE of inherited lines", op_free_kept,
		.results = true, .no_memory = true },
};

FIXTURE_VARIANT_ADD(op, free_many) {
	.op = { "FREE of 92 pools", op_free_many, .results = true },
};

FIXTURE_VARIANT_ADD(op, free_all) {
	.op = { "FREE of all", op_free_all, .results = true, .no_memory = true },
};

FIXTURE_VARIANT_ADD(op, revoke_all) {
	.op = { "FREE of all, also from heirs", op_revoke_all,
		.results = true, .no_memory = true },
};

FIXTURE_VARIANT_ADD(op, install) {
	.op = { "INSTALL", op_install, .takes_pages = true },
};

FIXTURE_VARIANT_ADD(op, install_pages) {
	.op = { "INSTALL of full pages", op_install_pages, .takes_pages = true },
};

FIXTURE_VARIANT_ADD(op, install_many) {
	.op = { "INSTALL of 100 ranges", op_install_many, .takes_pages = true },
};

FIXTURE_VARIANT_ADD(op, install_gather) {
	.op = { "INSTALL from 100 places", op_install_gather, .takes_pages = true },
};

FIXTURE_VARIANT_ADD(op, install_large) {
	.op = { "INSTALL of more than the buffer takes", op_install_large,
		.takes_pages = true },
};

FIXTURE_VARIANT_ADD(op, install_xo) {
	.op = { "INSTALL, execute only", op_install_xo, .takes_pages = true },
};

FIXTURE_VARIANT_ADD(op, install_block) {
	.op = { "INSTALL of a block", op_install_block,
		.takes_pages = true, .blocks = true },
};

FIXTURE_VARIANT_ADD(op, install_idle) {
	.op = { "INSTALL into an idle block", op_install_idle, .blocks = true },
};

FIXTURE_VARIANT_ADD(op, install_beside_kept) {
	.op = { .name = "INSTALL beside kept lines", .prepare = op_install_beside_kept },
};

FIXTURE_VARIANT_ADD(op, freeze) {
	.op = { "FREEZE", op_freeze, .no_memory = true },
};

FIXTURE_SETUP(op)
{
	const char *why = setting_begin(&self->set);

	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN(op)
{
	setting_end(&self->set);
}

static void by_ioctl(const void *op)
{
	inject(op, BY_IOCTL, NULL, 1);
}

TEST_F(op, by_ioctl)
{
	INJECT_OR_SKIP();
	EXPECT_EQ(0, confined(&self->set, by_ioctl, &variant->op));
}

/*
 * What the submitter does itself: INFO, and INSTALL where nothing blocks. A
 * fault there has INSTALL done by the worker, or the ring refuses.
 */
static void by_submitter(const void *op)
{
	inject(op, BY_SUBMITTER, NULL, 1);
}

TEST_F(op, by_io_uring)
{
	struct io_uring probe;

	INJECT_OR_SKIP();
	RING_OR_SKIP(&probe, 0);
	io_uring_queue_exit(&probe);
	EXPECT_EQ(0, confined(&self->set, by_submitter, &variant->op));
}

static void by_worker(const void *op)
{
	inject(op, BY_WORKER, NULL, 1);
}

TEST_F(op, by_worker)
{
	struct io_uring probe;

	INJECT_OR_SKIP();
	RING_OR_SKIP(&probe, 0);
	io_uring_queue_exit(&probe);
	EXPECT_EQ(0, confined(&self->set, by_worker, &variant->op));
}

/*
 * Where the kernel tries again in another way, one fault is not enough: from
 * some point on, everything fails. That point is given in bytes or pages.
 */
static void without_slabs(const void *op)
{
	inject(op, BY_IOCTL, "failslab", 128);
}

TEST_F(op, without_slabs)
{
	INJECT_OR_SKIP();
	if (variant->op.no_memory)
		SKIP(return, "it needs no memory");
	EXPECT_EQ(0, confined(&self->set, without_slabs, &variant->op));
}

static void without_pages(const void *arg)
{
	const struct op *op = arg;

	inject(op, BY_IOCTL, "fail_page_alloc", op->blocks ? 60 : 1);
}

TEST_F(op, without_pages)
{
	INJECT_OR_SKIP();
	if (!variant->op.takes_pages)
		SKIP(return, "it needs no pages");
	EXPECT_EQ(0, confined(&self->set, without_pages, &variant->op));
}

/* ----------------------------------------------- memory that cannot be read */

/* The end of two pages that can be read and written, before two that cannot */
static char *make_edge(void)
{
	char *p = mmap(NULL, PG(4), RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHILD_CHECK(p != MAP_FAILED && !mprotect(p + PG(2), PG(2), PROT_NONE));
	return p + PG(2);
}

#define EXPECT_FAULT(s, arg, before) do {				\
	struct snap _now;						\
									\
	EXPECT_EQ(-EFAULT, wx_ioctl((s)->fd, (s)->cmd, arg));		\
	take(s, &_now);							\
	EXPECT_TRUE(same(&_now, before));				\
} while (0)

/* After all that, the operation works. */
#define EXPECT_WORKS(op, s) do {					\
	struct snap _before, _done;					\
									\
	see_both(op, BY_IOCTL, &_before, &_done);			\
	EXPECT_EQ(0, perform(s, BY_IOCTL, NULL, NULL));			\
	check_same(op, false, s, &_done);				\
	scene_end(s);							\
} while (0)

/* The structure, cut off at each of its bytes, as it is and longer than it must be */
TEST_F(op, structure_cut_off)
{
	char *edge = make_edge();
	struct snap before;
	struct scene s;
	size_t cut;

	scene_begin(&s);
	variant->op.prepare(&s);
	take(&s, &before);
	for (cut = 0; cut < s.size; cut++)
		EXPECT_FAULT(&s, memcpy(edge - cut, s.bytes, cut), &before);
	lengthen(&s);
	for (cut = 0; cut < s.size; cut += 4)
		EXPECT_FAULT(&s, memcpy(edge - cut, s.bytes, cut), &before);
	EXPECT_WORKS(&variant->op, &s);
}

/* Results that cannot be stored: found out before anything is done */
TEST_F(op, results_cut_off)
{
	char *edge = make_edge(), *arg;
	unsigned int longer;
	struct snap before;
	struct scene s;
	size_t cut, len;

	if (!variant->op.results)
		SKIP(return, "it has no results");
	scene_begin(&s);
	variant->op.prepare(&s);
	take(&s, &before);
	len = s.size;
	for (longer = 0; longer < 2; longer++) {
		for (cut = 0; cut < len; cut += 4) {
			ASSERT_EQ(0, mprotect(edge, PG(2), RW));
			arg = memcpy(edge - cut, s.bytes, s.size);
			ASSERT_EQ(0, mprotect(edge, PG(2), PROT_READ));
			EXPECT_FAULT(&s, arg, &before);
		}
		lengthen(&s);
	}
	EXPECT_WORKS(&variant->op, &s);
}

/* The vector, cut off at some byte of each element */
TEST_F(op, vector_cut_off)
{
	char *edge = make_edge();
	struct snap before;
	size_t len, cut;
	struct scene s;

	scene_begin(&s);
	variant->op.prepare(&s);
	if (!s.element) {
		scene_end(&s);
		SKIP(return, "it has no vector");
	}
	len = s.nr * s.element;
	take(&s, &before);
	for (cut = 0; cut < len; cut += len > 200 ? 31 : 3) {
		s.vector = (uintptr_t)memcpy(edge - cut, s.pools, cut);
		EXPECT_FAULT(&s, s.bytes, &before);
	}
	s.vector = (uintptr_t)s.pools;
	EXPECT_WORKS(&variant->op, &s);
}

/* The bytes to install: some of each line, and each byte of the last */
TEST_F(op, source_cut_off)
{
	const size_t len = wx_page_size + 3 * LINE - 5;
	struct wxpool_install_range *r;
	char *edge = make_edge();
	struct snap before, now;
	struct scene s;
	size_t cut;

	if (variant->op.prepare != op_install)
		SKIP(return, "one test for all of INSTALL");
	scene_begin(&s);
	take(&s, &before);
	for (cut = 0; cut < len; cut += cut + LINE < len ? LINE - 1 : 1) {
		r = install_op(&s, 4);
		r[0] = wx_bytes(AT(12, 0), source, LINE, WXPOOL_PROT_R);
		r[1] = wx_bytes(AT(13, 0), edge - cut, len, WXPOOL_PROT_X);
		r[2] = wx_bytes(AT(16, 5), source, LINE + 3, WXPOOL_PROT_X);
		r[3] = wx_more(source, LINE);
		EXPECT_FAULT(&s, s.bytes, &before);
		/* Behind another one that it goes on from */
		r[1].source = (uintptr_t)source;
		r[3].source = (uintptr_t)edge - cut % LINE;
		EXPECT_FAULT(&s, s.bytes, &before);
	}
	r[3].source = (uintptr_t)source;
	EXPECT_EQ(0, perform(&s, BY_IOCTL, NULL, NULL));
	EXPECT_EQ(0, wx_free(s.fd, POOL));
	take(&s, &now);
	EXPECT_TRUE(same(&now, &before));
	scene_end(&s);
}

/* ------------------------------------------------ open, mmap, faults, fork */

/* The number of what was tried, as a tally of faults at least one of which is */
static void report(const char *what, unsigned int injections, unsigned int failed)
{
	printf("# %s: %u injections, %u failed\n", what, injections, failed);
	fflush(stdout);
	CHILD_CHECK(injections);
}

/* The module's file system is mounted and its user made by the first. */
static void each_open(const void *arg)
{
	unsigned int injections = 0, failed = 0;
	long refs = wx_read_long(WX_MODULE "/refcnt");
	struct injection in;
	bool fired;
	int fd;

	injection_of(&in, 0);
	do {
		arm(&in);
		fd = wx_open();
		fired = disarm(&in);
		in.at++;
		injections += fired;
		failed += fd < 0;
		CHILD_CHECK(fd >= 0 || fired);
		CHILD_CHECK(fd >= 0 || fd == -ENOMEM || fd == -EFAULT);
		if (fd < 0) {
			CHILD_CHECK(wx_read_long(WX_MODULE "/refcnt") == refs);
			fd = wx_open();
		}
		CHILD_CHECK(fd >= 0 && !wx_make_code(fd, 1, 0, 7));
		close(fd);
		CHILD_CHECK(wx_read_long(WX_MODULE "/refcnt") == refs);
	} while (fired);
	report("open", injections, failed);
	CHILD_CHECK(failed);
}

TEST_F(inject, open)
{
	INJECT_OR_SKIP();
	EXPECT_EQ(0, confined(&self->set, each_open, NULL));
}

static const struct {
	const char *name;
	int prot;
	size_t page;		/* where there is something to see */
} kinds[] = {
	{ "W view", RW, 0 }, { "R view", PROT_READ, 3 }, { "X view", RX, 2 },
	{ "XO view", XO, 10 },
};

#define NR_KINDS	(sizeof(kinds) / sizeof(kinds[0]))

/* And code for the last of them */
static void scene_of_kinds(struct scene *s)
{
	scene_begin(s);
	CHILD_CHECK(!wx_make_code(s->fd, 5, 10, 7));
}

static int touch(char *v, unsigned int kind)
{
	volatile char *p = v;

	return kinds[kind].prot == RW ? WX_CATCH(*p = *p) :
	       kinds[kind].prot == XO ? try_exec(v, NULL) : try_read(v);
}

static void each_mmap_of(struct scene *s, unsigned int kind)
{
	unsigned int injections = 0, failed = 0;
	struct snap before, now;
	struct injection in;
	char *win, *v, what[32];
	bool fired;

	injection_of(&in, 0);
	win = mmap(NULL, PG(NEAR), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHILD_CHECK(win != MAP_FAILED);
	take(s, &before);
	do {
		arm(&in);
		v = mmap(win, PG(NEAR), kinds[kind].prot, MAP_SHARED | MAP_FIXED,
			 s->fd, 0);
		fired = disarm(&in);
		in.at++;
		injections += fired;
		failed += v == MAP_FAILED;
		CHILD_CHECK(v != MAP_FAILED || (fired && errno == ENOMEM));
		if (v == MAP_FAILED) {
			take(s, &now);
			CHILD_CHECK(same(&now, &before));
			CHILD_CHECK(!wx_view_at(s->fd, kinds[kind].prot, 0, NEAR, win));
		}
		CHILD_CHECK(wx_vma_prot(win) == kinds[kind].prot);
		CHILD_CHECK(!touch(win + PG(kinds[kind].page), kind));
		CHILD_CHECK(mmap(win, PG(NEAR), PROT_NONE, MAP_PRIVATE |
				 MAP_ANONYMOUS | MAP_FIXED, -1, 0) == win);
	} while (fired);
	put_injection(&in);
	munmap(win, PG(NEAR));
	snprintf(what, sizeof(what), "mmap of a %s", kinds[kind].name);
	report(what, injections, failed);
}

static void each_mmap(const void *arg)
{
	struct scene s;
	unsigned int i;

	scene_of_kinds(&s);
	for (i = 0; i < NR_KINDS; i++)
		each_mmap_of(&s, i);
	scene_end(&s);
}

TEST_F(inject, mmap)
{
	INJECT_OR_SKIP();
	EXPECT_EQ(0, confined(&self->set, each_mmap, NULL));
}

/* Where nothing is mapped around it, so that page tables are needed as well */
static char *lonely_view(struct scene *s, unsigned int kind, char **around)
{
	size_t len = (size_t)4 << 30;
	char *v;

	*around = mmap(NULL, len, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHILD_CHECK(*around != MAP_FAILED);
	v = *around + (len / 2 & -PG(1));
	CHILD_CHECK(!wx_view_at(s->fd, kinds[kind].prot, kinds[kind].page, 1, v));
	return v;
}

/* A fault fails or is tried again, but shows nothing else than what is there. */
static void each_fault_of(struct scene *s, unsigned int kind)
{
	unsigned int injections = 0, failed = 0;
	struct snap before, now;
	struct injection in;
	char *v, *around;
	bool fired;
	int sig;

	injection_of(&in, 0);
	take(s, &before);
	do {
		v = lonely_view(s, kind, &around);
		arm(&in);
		sig = touch(v, kind);
		fired = disarm(&in);
		in.at++;
		injections += fired;
		failed += !!sig;
		CHILD_CHECK(!sig || (fired && sig == SIGBUS));
		CHILD_CHECK(kinds[kind].prot == RW || kinds[kind].prot == XO ||
			    page_digest(v) == page_digest(s->r + PG(kinds[kind].page)));
		CHILD_CHECK(!touch(v, kind));
		munmap(around, (size_t)4 << 30);
		take(s, &now);
		CHILD_CHECK(same(&now, &before));
	} while (fired);
	put_injection(&in);
	report(kinds[kind].name, injections, failed);
}

static void each_fault(const void *arg)
{
	struct scene s;
	unsigned int i;

	scene_of_kinds(&s);
	for (i = 0; i < NR_KINDS; i++)
		each_fault_of(&s, i);
	scene_end(&s);
}

TEST_F(inject, faults)
{
	INJECT_OR_SKIP();
	EXPECT_EQ(0, confined(&self->set, each_fault, NULL));
}

/* A fork that fails half-way leaves no heir: what is freed is gone at once. */
static void check_no_heir(struct scene *s)
{
	struct wxpool_free arg;

	CHILD_CHECK(!wx_free_out(s->fd, POOL, &arg));
	CHILD_CHECK(!arg.pages_kept && !arg.lines_kept && arg.pages_freed == 2);
}

static pid_t quiet_fork(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	return pid < 0 ? -errno : pid;
}

static pid_t fork_once(struct scene *s, struct injection *in, bool *fired)
{
	struct snap before, now;
	pid_t pid;

	CHILD_CHECK(!wx_make_code(s->fd, POOL, 8, 7));
	install(s, POOL, AT(9, 0), LINE, WXPOOL_PROT_X);
	take(s, &before);
	arm(in);
	pid = quiet_fork();
	*fired = disarm(in);
	CHILD_CHECK(pid > 0 || *fired);
	CHILD_CHECK(pid > 0 || pid == -ENOMEM || pid == -EAGAIN || pid == -EFAULT);
	if (pid > 0)
		CHILD_CHECK(!wx_wait(pid));
	take(s, &now);
	CHILD_CHECK(same(&now, &before));
	check_no_heir(s);
	return pid;
}

/*
 * The kernel ends a thread whose restartable sequences' area it cannot write when
 * it returns from a fork, as that page is to be copied then. That is how it is:
 * glibc's registration, which is in the way here, goes.
 */
static void leave_rseq(void)
{
#if __has_include("sys/rseq.h")
	char *area = (char *)__builtin_thread_pointer() + __rseq_offset;
	unsigned int len;
	int ret = -1;

	/* Which length glibc gave it says to nobody. */
	for (len = 32; __rseq_size && ret && len <= 1024; len += 32)
		ret = syscall(__NR_rseq, area, len, RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
	CHILD_CHECK(!__rseq_size || !ret);
#endif
}

static void each_fork(const void *arg)
{
	unsigned int injections = 0, failed = 0;
	struct injection in;
	struct scene s;
	bool fired;

	leave_rseq();
	injection_of(&in, 0);
	scene_begin(&s);
	do {
		failed += fork_once(&s, &in, &fired) < 0;
		injections += fired;
		in.at += in.step;
	} while (fired);
	check_charge(&s);
	scene_end(&s);
	put_injection(&in);
	report("fork", injections, failed);
	CHILD_CHECK(failed);
}

TEST_F(inject, fork)
{
	INJECT_OR_SKIP();
	EXPECT_EQ(0, confined(&self->set, each_fork, NULL));
}

/* -------------------------------------------------------------- the module */

/* The module's file: what modprobe would load */
static int open_module(void)
{
	const char *path = getenv("WXPOOL_KO");
	char line[512] = "";
	FILE *f;

	if (!path) {
		f = popen("modprobe --show-depends wxpool 2>/dev/null", "r");
		while (f && fgets(line, sizeof(line), f))
			if (!strncmp(line, "insmod ", 7) && strstr(line, "/wxpool.ko"))
				path = strtok(line + 7, "\n ");
		if (f)
			pclose(f);
	}
	return path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
}

static int load(int fd)
{
	return syscall(__NR_finit_module, fd, "", 0) ? -errno : 0;
}

/* Loaded or not, and nothing between */
static void check_module(bool loaded)
{
	int fd = wx_open();

	CHILD_CHECK(!access(WX_MODULE, F_OK) == loaded);
	CHILD_CHECK(!access(WX_DEV, F_OK) == loaded);
	CHILD_CHECK(loaded ? fd >= 0 && !wx_make_code(fd, 1, 0, 7) : fd == -ENOENT);
	if (fd >= 0)
		close(fd);
}

/* Where the kernel's function is that calls the module's, 0 if unknown */
static unsigned long find_init(unsigned long *end)
{
	unsigned long start = 0, addr;
	char line[256], name[128];
	FILE *f = fopen("/proc/kallsyms", "r");

	*end = 0;
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx %*c %127s", &addr, name) != 2)
			continue;
		if (!strcmp(name, "do_init_module"))
			start = addr;
		else if (start && addr > start && (!*end || addr < *end))
			*end = addr;
	}
	if (f)
		fclose(f);
	return start;
}

static int filter(unsigned long start, unsigned long end)
{
	char text[32];
	int ret;

	snprintf(text, sizeof(text), "%lu", start);
	ret = set_attr("failslab", "require-start", text);
	snprintf(text, sizeof(text), "%lu", end);
	return ret ? ret : set_attr("failslab", "require-end", text);
}

/* The first allocation that is a multiple of @nth, and within the filter */
static int load_once(struct injection *in, int fd, int nth, bool *fired)
{
	int ret;

	CHILD_CHECK(!set_attr_long("failslab", "interval", nth));
	CHILD_CHECK(!set_attr_long("failslab", "space", 0));
	CHILD_CHECK(!set_attr_long("failslab", "times", 1));
	CHILD_CHECK(!set_attr_long("failslab", "probability", 100));
	CHILD_CHECK(pwrite(in->task, "1", 1, 0) == 1);
	ret = load(fd);
	CHILD_CHECK(pwrite(in->task, "0", 1, 0) == 1);
	CHILD_CHECK(!set_attr("failslab", "probability", "0"));
	*fired = !get_attr("failslab", "times");
	return ret;
}

#define LOADS	48

/*
 * Only what is done for the module's own start fails: the kernel itself does
 * not take every failure before that in good grace.
 */
static void each_load(const void *arg)
{
	unsigned int injections = 0, failed = 0;
	const int *fd = arg;
	struct injection in;
	bool fired;
	int ret, nth;

	injection_of(&in, 0);
	for (nth = 1; nth <= LOADS; nth++) {
		CHILD_CHECK(!wx_unload());
		check_module(false);
		ret = load_once(&in, *fd, nth, &fired);
		injections += fired;
		failed += !!ret;
		CHILD_CHECK(!ret || (fired && ret == -ENOMEM));
		if (ret) {
			check_module(false);
			CHILD_CHECK(!load(*fd));
		}
		check_module(true);
	}
	put_injection(&in);
	report("load of the module", injections, failed);
	CHILD_CHECK(failed);
}

TEST_F(inject, load)
{
	unsigned long start, end;
	int fd = open_module();

	INJECT_OR_SKIP();
	if (access(WX_MODULE "/refcnt", F_OK))
		SKIP(return, "wxpool is not loaded as a module");
	if (fd < 0)
		SKIP(return, "cannot find wxpool.ko; set WXPOOL_KO");
	start = find_init(&end);
	if (!start || filter(start, end))
		SKIP(return, "fault injection has no stacktrace filter");
	EXPECT_EQ(0, confined(&self->set, each_load, &fd));
	filter(0, ULONG_MAX);
	set_attr("failslab", "interval", "1");
	if (access(WX_DEV, F_OK))
		load(fd);
}

/* ------------------------------------------------------------ after all that */

FIXTURE(after) {
};

FIXTURE_SETUP(after)
{
}

FIXTURE_TEARDOWN(after)
{
}

TEST_F(after, no_page_is_left)
{
	const char *why = enable_injection();

	if (!why)
		why = group_await_empty("wxpool-inject");
	if (why)
		SKIP(return, "%s", why);
}

TEST_HARNESS_MAIN
