// SPDX-License-Identifier: GPL-2.0
/*
 * What can fail, fails: the first, second, third allocation or user copy of
 * each operation, until it comes through undisturbed. After each failure
 * everything must be as before, nothing lost, and the operation must work.
 *
 * The kernel's fault injection does it (Documentation/fault-injection), so most
 * of this needs a kernel that was built for it. Copies from the user of which
 * it does not know fail by memory that cannot be read, on any kernel.
 *
 * Each loop runs in a process of its own, and all of these in a memory cgroup:
 * when they have ended, no page may be charged there.
 *
 * With WXPOOL_FEWER=N each Nth of them fails.
 */
#include <dirent.h>
#include <limits.h>
#include <sys/mount.h>

#include "wxpool_group.h"
#include "wxpool_uring.h"
#include "wxpool_util.h"

#define DEBUGFS		"/sys/kernel/debug/"
#define CONTEXT_PARAM	WX_PARAM_DIR "max_pages_per_context"
#define USER_PARAM	WX_PARAM_DIR "max_pages_per_user"

/* Offsets in pages: what tests look at, a window of huge size, far away */
#define NEAR		32
#define HUGE		512
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
	char *win;			/* addresses for views in place */
	unsigned long cmd;
	void *arg;
	union {
		struct wxpool_info info;
		struct wxpool_vec vec;
		struct wxpool_free free;
		struct {
			struct wxpool_freeze freeze;
			uint64_t tail;
		};
	};
	struct wxpool_range r_[100];
	pid_t child;
	int ask, answer;		/* to and from the child */
};

/* Bytes to install; no two tests change them. */
static char *source;

static size_t look_page(unsigned int i)
{
	static const size_t far[] = { HUGE, HUGE + 1, VIEW - 1 };

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
	int prot[NEAR];
};

/* The protections in the window, in one look at the mappings */
static void take_prots(struct scene *s, int *prot)
{
	unsigned long start, end, win = (uintptr_t)s->win, i;
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512], perms[5];

	CHILD_CHECK(f);
	for (i = 0; i < NEAR; i++)
		prot[i] = -1;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx %4s", &start, &end, perms) != 3 ||
		    start >= win + PG(NEAR))
			break;
		for (i = 0; i < NEAR; i++)
			if (start <= win + PG(i) && end > win + PG(i))
				prot[i] = (perms[0] == 'r' ? PROT_READ : 0) |
					  (perms[1] == 'w' ? PROT_WRITE : 0) |
					  (perms[2] == 'x' ? PROT_EXEC : 0);
	}
	fclose(f);
}

static void take(struct scene *s, struct snap *snap)
{
	char * const views[] = { s->w, s->r, s->x };
	unsigned int i, v;

	memset(snap, 0, sizeof(*snap));
	snap->st = wx_stat(s->fd);
	for (v = 0; v < 3; v++)
		for (i = 0; i < LOOKS; i++)
			snap->looks[v][i] = page_digest(views[v] + PG(look_page(i)));
	take_prots(s, snap->prot);
	if (s->child) {
		CHILD_CHECK(!wx_step(s->ask));
		CHILD_CHECK(read(s->answer, &snap->child, 8) == 8);
	}
}

static bool same(const struct snap *a, const struct snap *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* But for what is mapped where */
static bool same_pages(const struct snap *a, const struct snap *b)
{
	return !memcmp(a, b, offsetof(struct snap, prot));
}

static void differ(const struct snap *a, const struct snap *b)
{
	unsigned int i, v;

	printf("# pools %ld %ld open %ld %ld read %ld %ld exec %ld %ld kept %ld %ld packed %ld %ld lines %ld %ld child %d\n",
	       a->st.pools, b->st.pools, a->st.open, b->st.open, a->st.read,
	       b->st.read, a->st.exec, b->st.exec, a->st.kept, b->st.kept,
	       a->st.packed, b->st.packed, a->st.lines, b->st.lines,
	       a->child != b->child);
	for (v = 0; v < 3; v++)
		for (i = 0; i < LOOKS; i++)
			if (a->looks[v][i] != b->looks[v][i])
				printf("# %c view, page %zu: %llx %llx\n", "WRX"[v],
				       look_page(i),
				       (unsigned long long)a->looks[v][i],
				       (unsigned long long)b->looks[v][i]);
	for (i = 0; i < NEAR; i++)
		if (a->prot[i] != b->prot[i])
			printf("# mapping %u: %d %d\n", i, a->prot[i], b->prot[i]);
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
	s->win = mmap(NULL, PG(NEAR), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	CHILD_CHECK(s->w != MAP_FAILED && s->r != MAP_FAILED);
	CHILD_CHECK(s->x != MAP_FAILED && s->win != MAP_FAILED);
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
	munmap(s->win, PG(NEAR));
	close(s->fd);
}

/* -------------------------------------------------------------- operations */

/* A pool that no other operation has touched */
#define POOL	9

static void vec_op(struct scene *s, unsigned long cmd, uint32_t nr)
{
	s->cmd = cmd;
	s->vec = (struct wxpool_vec) {
		.size = sizeof(s->vec), .pool = POOL,
		.ranges = (uintptr_t)s->r_, .nr_ranges = nr,
	};
	s->arg = &s->vec;
}

static void op_info(struct scene *s)
{
	s->cmd = WXPOOL_IOC_INFO;
	s->info.size = sizeof(s->info);
	s->arg = &s->info;
}

static void op_alloc(struct scene *s)
{
	s->r_[0] = wx_range(8, 2, 0, NULL);
	s->r_[1] = wx_range(11, 1, 0, NULL);
	s->r_[2] = wx_range(13, 3, 0, NULL);
	vec_op(s, WXPOOL_IOC_ALLOC, 3);
}

static void op_alloc_many(struct scene *s)
{
	unsigned int i;

	for (i = 0; i < 12; i++)
		s->r_[i] = wx_range(30 - 2 * i, 1, 0, NULL);
	vec_op(s, WXPOOL_IOC_ALLOC, 12);
}

static void op_alloc_mapped(struct scene *s)
{
	s->r_[0] = wx_range(8, 2, 0, s->win + PG(8));
	s->r_[1] = wx_range(11, 1, 0, s->win + PG(20));
	vec_op(s, WXPOOL_IOC_ALLOC, 2);
}

static void op_protect(struct scene *s)
{
	CHILD_CHECK(!wx_alloc(s->fd, POOL, 8, 4));
	wx_pattern(s->w + PG(8), PG(4), 8);
	s->r_[0] = wx_range(8, 2, WXPOOL_PROT_X, NULL);
	s->r_[1] = wx_range(11, 1, WXPOOL_PROT_R, NULL);
	vec_op(s, WXPOOL_IOC_PROTECT, 2);
}

static void op_protect_many(struct scene *s)
{
	unsigned int i;

	CHILD_CHECK(!wx_alloc(s->fd, POOL, 8, 12));
	wx_pattern(s->w + PG(8), PG(12), 8);
	for (i = 0; i < 6; i++)
		s->r_[i] = wx_range(18 - 2 * i, 1, 1 + i % 2, NULL);
	vec_op(s, WXPOOL_IOC_PROTECT, 6);
}

static void op_protect_mapped(struct scene *s)
{
	CHILD_CHECK(!wx_alloc_at(s->fd, POOL, 8, 4, s->win + PG(8)));
	wx_pattern(s->win + PG(8), PG(4), 8);
	s->r_[0] = wx_range(8, 2, WXPOOL_PROT_X, s->win + PG(8));
	s->r_[1] = wx_range(11, 1, WXPOOL_PROT_R, s->win + PG(11));
	vec_op(s, WXPOOL_IOC_PROTECT, 2);
}

static void free_op(struct scene *s, uint32_t pool)
{
	s->cmd = WXPOOL_IOC_FREE;
	s->free = (struct wxpool_free) { .size = sizeof(s->free), .pool = pool };
	s->arg = &s->free;
}

static void op_free(struct scene *s)
{
	CHILD_CHECK(!wx_alloc(s->fd, 3, 8, 3));
	CHILD_CHECK(!wx_protect(s->fd, 3, 8, 2, WXPOOL_PROT_X));
	install(s, 3, AT(12, 1), LINE, WXPOOL_PROT_X);
	free_op(s, 3);
}

/* Pages 4 to 6 have lines of another pool, and a child shows them. */
static void op_free_split(struct scene *s)
{
	op_free(s);
	add_child(s);
}

static void op_install(struct scene *s)
{
	s->r_[0] = wx_bytes(AT(4, 16), source, 100, WXPOOL_PROT_X);
	s->r_[1] = wx_bytes(AT(12, 60), source + 1, 10 * LINE, WXPOOL_PROT_X);
	s->r_[2] = wx_bytes(AT(15, 0), source, 1, WXPOOL_PROT_R);
	vec_op(s, WXPOOL_IOC_INSTALL, 3);
}

static void op_install_pages(struct scene *s)
{
	s->r_[0] = wx_bytes(AT(12, 0), source, PG(3), WXPOOL_PROT_X);
	s->r_[1] = wx_bytes(AT(20, 0), source + 3, PG(1) - 3, WXPOOL_PROT_R);
	vec_op(s, WXPOOL_IOC_INSTALL, 2);
}

/* More ranges, parts and bytes than fit into what is kept at hand */
static void op_install_many(struct scene *s)
{
	unsigned int i;

	for (i = 0; i < 100; i++)
		s->r_[i] = wx_bytes(AT(12, 5 * i), source + i, 4 * LINE,
				    WXPOOL_PROT_X);
	vec_op(s, WXPOOL_IOC_INSTALL, 100);
}

static void op_install_huge(struct scene *s)
{
	s->r_[0] = wx_bytes(AT(HUGE, 3), source, 5 * LINE, WXPOOL_PROT_X);
	s->r_[1] = wx_bytes(AT(8, 0), source, LINE, WXPOOL_PROT_R);
	vec_op(s, WXPOOL_IOC_INSTALL, 2);
	s->vec.flags = WXPOOL_INSTALL_HUGE;
}

/* Where a child shows what was there before */
static void op_install_again(struct scene *s)
{
	install(s, POOL, AT(12, 0), PG(1), WXPOOL_PROT_X);
	add_child(s);
	CHILD_CHECK(!wx_free(s->fd, POOL));
	CHILD_CHECK(wx_stat(s->fd).kept == 1);
	s->r_[0] = wx_bytes(AT(12, 3), source, LINE, WXPOOL_PROT_X);
	vec_op(s, WXPOOL_IOC_INSTALL, 1);
}

/* Longer than it must be: that is copied in the way that can fail. */
static void op_freeze(struct scene *s)
{
	s->cmd = WXPOOL_IOC_FREEZE;
	s->freeze.size = sizeof(s->freeze) + sizeof(s->tail);
	s->tail = 0;
	s->arg = &s->freeze;
}

struct op {
	const char *name;
	void (*prepare)(struct scene *s);
	size_t len;		/* of its structure */
	bool results;		/* which are copied back */
	bool mapped;		/* with views in place */
	bool no_memory;		/* needs none but on its stack */
	bool takes_pages;	/* for more than views */
};

#define INFO_LEN	sizeof(struct wxpool_info)
#define VEC_LEN		sizeof(struct wxpool_vec)
#define FREE_LEN	sizeof(struct wxpool_free)
#define FREEZE_LEN	sizeof(struct wxpool_freeze)

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
	ret = wx_ioctl(s->fd, s->cmd, s->arg);
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
	struct io_uring_sqe sqe = ring_cmd(s->fd, s->cmd, s->arg,
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

/*
 * What is charged to the context and to the user is what they have: with room
 * for two pages more, there are two pages more.
 */
static void check_charge(struct scene *s)
{
	long context = wx_read_long(CONTEXT_PARAM), user = wx_read_long(USER_PARAM);
	struct wx_stat st = wx_stat(s->fd);
	long held = st.open + st.read + st.exec + st.kept;
	int over, fits;

	CHILD_CHECK(!set_limits(held + 2, held + 2));
	over = wx_alloc(s->fd, 77, FAR, 3);
	fits = wx_alloc(s->fd, 77, FAR, 2);
	CHILD_CHECK(!set_limits(context, user));
	CHILD_CHECK(over == -ENOSPC && !fits);
	CHILD_CHECK(!wx_free(s->fd, 77));
}

struct tally {
	unsigned int injections, failed, late;
};

/* Done, but for a view that the kernel had no memory for: mapped by hand */
static void map_the_rest(struct scene *s)
{
	unsigned int i;
	int prot;

	for (i = s->vec.nr_mapped; i < s->vec.nr_ranges; i++) {
		prot = s->r_[i].prot == WXPOOL_PROT_X ? RX :
		       s->r_[i].prot == WXPOOL_PROT_R ? PROT_READ : RW;
		CHILD_CHECK(!wx_view_at(s->fd, prot, s->r_[i].offset / wx_page_size,
					s->r_[i].length / wx_page_size,
					(void *)(uintptr_t)s->r_[i].addr));
	}
}

/* It is as good if single pages had to do in the place of a huge one. */
static void forget_huge(const struct op *op, struct snap *snap)
{
	unsigned int v, i;

	if (op->prepare != op_install_huge)
		return;
	snap->st.exec = 0;
	snap->st.packed = 0;
	snap->st.huge = 0;
	for (v = 0; v < 3; v++)
		for (i = NEAR + 1; i < LOOKS; i++)
			snap->looks[v][i] = 0;
}

static void check_done(const struct op *op, struct scene *s,
		       const struct snap *done)
{
	struct snap now;

	if (op->mapped && s->vec.map_error) {
		CHILD_CHECK(s->vec.map_error == ENOMEM);
		take(s, &now);
		CHILD_CHECK(same_pages(&now, done));
		map_the_rest(s);
	}
	take(s, &now);
	forget_huge(op, &now);
	if (!same(&now, done))
		differ(&now, done);
	CHILD_CHECK(same(&now, done));
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
	if (op->results && ret == -EFAULT && same_pages(&now, done) &&
	    !same(before, done)) {
		tally->late++;
		return;
	}
	if (!same(&now, before))
		differ(&now, before);
	CHILD_CHECK(same(&now, before));
	CHILD_CHECK(!perform(s, how, NULL, NULL));
	check_done(op, s, done);
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
	forget_huge(op, done);
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
	ret = perform(&s, how, in, &fired);
	if (fired)
		tally->injections++;
	if (!fired && ret)
		printf("# %s: %s without a fault\n", op->name, strerror(-ret));
	CHILD_CHECK(fired || !ret);
	if (ret)
		check_failed(op, &s, how, ret, before, done, tally);
	else
		check_done(op, &s, done);
	if (op->prepare != op_freeze)
		check_charge(&s);
	scene_end(&s);
	return fired;
}

static void inject(const struct op *op, enum way how, const char *attr, long step)
{
	struct tally tally = { 0 };
	struct snap before, done;
	struct injection in;

	ring_begin(how, &in);
	see_both(op, how, &before, &done);
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
	source = malloc(PG(8));
	wx_pattern(source, PG(8), 5);
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
	.op = { "INFO", op_info, INFO_LEN,
		.results = true, .no_memory = true },
};

FIXTURE_VARIANT_ADD(op, alloc) {
	.op = { "ALLOC", op_alloc, VEC_LEN,
		.results = true, .takes_pages = true },
};

FIXTURE_VARIANT_ADD(op, alloc_many) {
	.op = { "ALLOC of 12 ranges", op_alloc_many, VEC_LEN,
		.results = true, .takes_pages = true },
};

FIXTURE_VARIANT_ADD(op, alloc_mapped) {
	.op = { "ALLOC with views", op_alloc_mapped, VEC_LEN,
		.results = true, .mapped = true, .takes_pages = true },
};

FIXTURE_VARIANT_ADD(op, protect) {
	.op = { "PROTECT", op_protect, VEC_LEN,
		.results = true, .no_memory = true },
};

FIXTURE_VARIANT_ADD(op, protect_many) {
	.op = { "PROTECT of 6 ranges", op_protect_many, VEC_LEN,
		.results = true },
};

FIXTURE_VARIANT_ADD(op, protect_mapped) {
	.op = { "PROTECT with views", op_protect_mapped, VEC_LEN,
		.results = true, .mapped = true },
};

FIXTURE_VARIANT_ADD(op, free) {
	.op = { "FREE", op_free, FREE_LEN,
		.results = true, .no_memory = true },
};

FIXTURE_VARIANT_ADD(op, free_split) {
	.op = { "FREE of inherited lines", op_free_split, FREE_LEN,
		.results = true, .takes_pages = true },
};

FIXTURE_VARIANT_ADD(op, install) {
	.op = { "INSTALL", op_install, VEC_LEN,
		.takes_pages = true },
};

FIXTURE_VARIANT_ADD(op, install_pages) {
	.op = { "INSTALL of full pages", op_install_pages, VEC_LEN,
		.takes_pages = true },
};

FIXTURE_VARIANT_ADD(op, install_many) {
	.op = { "INSTALL of 100 ranges", op_install_many, VEC_LEN,
		.takes_pages = true },
};

FIXTURE_VARIANT_ADD(op, install_huge) {
	.op = { "INSTALL of a huge page", op_install_huge, VEC_LEN,
		.takes_pages = true },
};

FIXTURE_VARIANT_ADD(op, install_again) {
	.op = { "INSTALL over kept lines", op_install_again, VEC_LEN,
		.takes_pages = true },
};

FIXTURE_VARIANT_ADD(op, freeze) {
	.op = { "FREEZE", op_freeze, FREEZE_LEN,
		.no_memory = true },
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

	inject(op, BY_IOCTL, "fail_page_alloc",
	       op->prepare == op_install_huge ? 60 : 1);
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

#define EXPECT_FAULT(s, before) do {					\
	struct snap _now;						\
									\
	EXPECT_EQ(-EFAULT, wx_ioctl((s)->fd, (s)->cmd, (s)->arg));	\
	take(s, &_now);							\
	EXPECT_TRUE(same(&_now, before));				\
} while (0)

/* After all that, the operation works. */
#define EXPECT_WORKS(op, s) do {					\
	struct snap _before, _done;					\
									\
	see_both(op, BY_IOCTL, &_before, &_done);			\
	EXPECT_EQ(0, perform(s, BY_IOCTL, NULL, NULL));			\
	check_done(op, s, &_done);					\
	scene_end(s);							\
} while (0)

/* The structure, cut off at each of its bytes */
TEST_F(op, structure_cut_off)
{
	char *edge = make_edge();
	struct snap before;
	struct scene s;
	size_t cut;
	void *arg;

	scene_begin(&s);
	variant->op.prepare(&s);
	s.info.size = variant->op.len;
	take(&s, &before);
	arg = s.arg;
	for (cut = 0; cut < variant->op.len; cut++) {
		s.arg = memcpy(edge - cut, arg, cut);
		EXPECT_FAULT(&s, &before);
	}
	s.arg = arg;
	EXPECT_WORKS(&variant->op, &s);
}

/* Results that cannot be stored: found out before anything is done */
TEST_F(op, results_cut_off)
{
	char *edge = make_edge();
	struct snap before;
	struct scene s;
	size_t cut;
	void *arg;

	if (!variant->op.results)
		SKIP(return, "it has no results");
	scene_begin(&s);
	variant->op.prepare(&s);
	take(&s, &before);
	arg = s.arg;
	for (cut = 0; cut < variant->op.len; cut += 4) {
		ASSERT_EQ(0, mprotect(edge, PG(2), RW));
		s.arg = memcpy(edge - cut, arg, variant->op.len);
		ASSERT_EQ(0, mprotect(edge, PG(2), PROT_READ));
		EXPECT_FAULT(&s, &before);
	}
	s.arg = arg;
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
	if (s.cmd != WXPOOL_IOC_ALLOC && s.cmd != WXPOOL_IOC_PROTECT &&
	    s.cmd != WXPOOL_IOC_INSTALL) {
		scene_end(&s);
		SKIP(return, "it has no vector");
	}
	len = s.vec.nr_ranges * sizeof(s.r_[0]);
	take(&s, &before);
	for (cut = 0; cut < len; cut += len > 200 ? 31 : 3) {
		s.vec.ranges = (uintptr_t)memcpy(edge - cut, s.r_, cut);
		EXPECT_FAULT(&s, &before);
	}
	s.vec.ranges = (uintptr_t)s.r_;
	EXPECT_WORKS(&variant->op, &s);
}

/* The bytes to install: some of each line, and each byte of the last */
TEST_F(op, source_cut_off)
{
	const size_t len = wx_page_size + 3 * LINE - 5;
	char *edge = make_edge();
	struct snap before, now;
	struct scene s;
	size_t cut;

	if (variant->op.prepare != op_install)
		SKIP(return, "one test for all of INSTALL");
	scene_begin(&s);
	take(&s, &before);
	for (cut = 0; cut < len; cut += cut + LINE < len ? LINE - 1 : 1) {
		s.r_[0] = wx_bytes(AT(12, 0), source, LINE, WXPOOL_PROT_R);
		s.r_[1] = wx_bytes(AT(13, 0), edge - cut, len, WXPOOL_PROT_X);
		s.r_[2] = wx_bytes(AT(16, 5), source, LINE, WXPOOL_PROT_X);
		vec_op(&s, WXPOOL_IOC_INSTALL, 3);
		EXPECT_FAULT(&s, &before);
	}
	s.r_[1].addr = (uintptr_t)source;
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
};

static void each_mmap_of(struct scene *s, unsigned int kind)
{
	unsigned int injections = 0, failed = 0;
	struct snap before, now;
	struct injection in;
	char *v, what[32];
	bool fired;

	injection_of(&in, 0);
	take(s, &before);
	do {
		arm(&in);
		v = mmap(s->win, PG(4), kinds[kind].prot, MAP_SHARED | MAP_FIXED,
			 s->fd, 0);
		fired = disarm(&in);
		in.at++;
		injections += fired;
		failed += v == MAP_FAILED;
		CHILD_CHECK(v != MAP_FAILED || (fired && errno == ENOMEM));
		if (v == MAP_FAILED) {
			take(s, &now);
			CHILD_CHECK(same_pages(&now, &before));
			CHILD_CHECK(!wx_view_at(s->fd, kinds[kind].prot, 0, 4, s->win));
		}
		CHILD_CHECK(wx_vma_prot(s->win) == kinds[kind].prot);
		CHILD_CHECK(!try_read(s->win + PG(kinds[kind].page)));
		CHILD_CHECK(mmap(s->win, PG(NEAR), PROT_NONE, MAP_PRIVATE |
				 MAP_ANONYMOUS | MAP_FIXED, -1, 0) == s->win);
	} while (fired);
	put_injection(&in);
	snprintf(what, sizeof(what), "mmap of a %s", kinds[kind].name);
	report(what, injections, failed);
}

static void each_mmap(const void *arg)
{
	struct scene s;
	unsigned int i;

	scene_begin(&s);
	for (i = 0; i < 3; i++)
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

static int touch(char *v, unsigned int kind)
{
	volatile char *p = v;

	return kinds[kind].prot == RW ? WX_CATCH(*p = *p) : try_read(v);
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
		CHILD_CHECK(page_digest(v) == page_digest(s->r + PG(kinds[kind].page)) ||
			    kinds[kind].prot == RW);
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

	scene_begin(&s);
	for (i = 0; i < 3; i++)
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
	CHILD_CHECK(!arg.nr_kept && arg.nr_freed == 2);
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

static void each_fork(const void *arg)
{
	unsigned int injections = 0, failed = 0;
	struct injection in;
	struct scene s;
	bool fired;

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
