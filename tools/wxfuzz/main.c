// SPDX-License-Identifier: MIT
/*
 * wxfuzz: random operations on /dev/wxpool against a model
 *
 * All operations are cut into runs. Each begins with a fresh process and no
 * context, so that what went wrong can be repeated from the run's start.
 */
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>

#include "wxfuzz.h"

#define PARAMS "/sys/module/wxpool/parameters/"

static struct options {
	uint64_t seed;
	uint64_t ops;
	uint64_t lie;
	unsigned int run_ops;
	unsigned int threads;
	unsigned int look;
	bool no_uring;
} opt = { .ops = 100000, .run_ops = 1000, .threads = 4, .look = 1 };

static const struct option options[] = {
	{ "seed", required_argument, NULL, 's' },
	{ "ops", required_argument, NULL, 'n' },
	{ "run", required_argument, NULL, 'r' },
	{ "threads", required_argument, NULL, 't' },
	{ "look", required_argument, NULL, 'k' },
	{ "sample", no_argument, NULL, 'p' },
	{ "lie", required_argument, NULL, 'l' },
	{ "no-uring", no_argument, NULL, 'u' },
	{ "after-exec", required_argument, NULL, 'x' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static const char usage[] =
"usage: wxfuzz [OPTION]...\n"
"  --seed N      what comes is decided by N (default: by chance)\n"
"  --ops N       operations to do (default 100000)\n"
"  --run N       of these, as many in each run (default 1000, at most 2045)\n"
"  --threads N   each Nth run is one of several threads (default 4; 0: none)\n"
"  --look N      try what one operation in N has touched (default 1: each)\n"
"  --lie N       tell the model something wrong before operation N\n"
"  --no-uring    do without io_uring\n"
"  --sample      print a reproducer with operations of all kinds; needs no device\n";

static void die(const char *what)
{
	fprintf(stderr, "wxfuzz: %s\n", what);
	exit(2);
}

static uint64_t number(const char *s)
{
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(s, &end, 0);
	if (errno || end == s || *end || *s == '-')
		die("not a value; see wxfuzz --help");
	return n;
}

static uint64_t random_seed(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ((uint64_t)ts.tv_sec * 1000000007 + ts.tv_nsec) % 1000000000000ull;
}

/* Of a program that the owner of a context became: it must be a stranger. */
static int after_exec(const char *arg)
{
	struct wxpool_freeze freeze = { .size = sizeof(freeze) };
	int fd = atoi(arg);
	bool both;

	if (fd < 0)
		return 0;
	both = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;
	if (ioctl(fd, WXPOOL_IOC_FREEZE, &freeze) == 0 || errno != (both ? EXDEV : EBADF))
		return 1;
	if (mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED)
		return 1;
	return errno != (both ? EXDEV : EACCES);
}

static void parse(int argc, char **argv)
{
	int c;

	opt.seed = random_seed();
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 's':
			opt.seed = number(optarg);
			break;
		case 'n':
			opt.ops = number(optarg);
			break;
		case 'r':
			opt.run_ops = number(optarg);
			break;
		case 't':
			opt.threads = number(optarg);
			break;
		case 'k':
			opt.look = number(optarg);
			break;
		case 'l':
			opt.lie = number(optarg);
			break;
		case 'u':
			opt.no_uring = true;
			break;
		case 'p':
			emit_sample();
			exit(0);
		case 'x':
			exit(after_exec(optarg));
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			exit(2);
		}
	}
	if (optind != argc || opt.run_ops < 2 || opt.run_ops > MAX_OPS - NR_CTX ||
	    !opt.look)
		die("bad arguments; see wxfuzz --help");
}

static int write_param(const char *name, unsigned long val)
{
	char path[128], text[32];
	int fd, ret;

	snprintf(path, sizeof(path), PARAMS "%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ret = write(fd, text, snprintf(text, sizeof(text), "%lu", val));
	close(fd);
	return ret;
}

static void set_limits(const struct world *w)
{
	if (write_param("max_bytes_per_context", w->ctx_limit) < 0 ||
	    write_param("max_bytes_per_user", w->user_limit) < 0)
		die("cannot set the limits; run as root, after modprobe wxpool");
}

/* A run of one thread, with limits that are met now and then, or all the time */
static void setup(struct world *w, uint64_t rng)
{
	/* In pages */
	static const uint16_t ctx[] = { 64, 580, 1060, 1200 };
	static const uint16_t user[] = { 1600, 1100, 600, 90 };

	w->seed = rng;
	w->shared = w->blind = 0;
	w->block_prot = 0;
	/* Also where offsets end, and numbers of pools */
	w->page_base = splitmix(&rng) % 4 ? 0 : SPACE / PAGE - NR_PAGES;
	w->pool_base = splitmix(&rng) % 4 ? 0 : UINT32_MAX - NR_POOLS;
	w->arena = ARENA;
	w->ctx_limit = (uint64_t)ctx[splitmix(&rng) % 4] * PAGE;
	w->user_limit = (uint64_t)user[splitmix(&rng) % 4] * PAGE;
	/* A request to a ring may keep a closed context for a moment. */
	w->uring = splitmix(&rng) % 4 != 0;
	if (w->uring)
		w->user_limit = 5000 * PAGE;
}

static struct world *new_worlds(void)
{
	struct world *w = mmap(NULL, NR_THREADS * sizeof(*w), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (w == MAP_FAILED)
		die("out of memory");
	return w;
}

static uint32_t steps_of(const struct world *worlds)
{
	uint32_t sum = 0;
	unsigned int i;

	for (i = 0; i < NR_THREADS; i++)
		sum += worlds[i].step;
	return sum;
}

/* Seconds without a step after which a run is taken for dead */
#define PATIENCE	150

static void wait_child(struct world *w, pid_t pid, int *status)
{
	struct timespec second = { .tv_sec = 1 };
	uint32_t last = 0;
	sigset_t set;
	int secs = 0;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	while (waitpid(pid, status, WNOHANG) == 0) {
		sigtimedwait(&set, NULL, &second);
		secs = steps_of(w) == last ? secs + 1 : 0;
		last = steps_of(w);
		if (secs < PATIENCE)
			continue;
		kill(pid, SIGKILL);
		w->miss.kind = MISS_HANG;
		w->miss.step = w->step;
		strcpy(w->miss.what, "a hang");
		secs = 0;
	}
}

/*
 * In a process of its own, one thread for @w, or as many as there are worlds.
 * What is wrong, if anything, is in w->miss of one of them: the first to notice.
 */
static struct world *run_child(struct world *w)
{
	unsigned int i, nr = w->shared ? NR_THREADS : 1;
	int status;
	pid_t pid;

	for (i = 0; i < nr; i++) {
		w[i].miss.kind = MISS_NONE;
		w[i].step = 0;
	}
	set_limits(w);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		if (w->shared)
			threads_run(w);
		else
			run_world(w);
		_exit(0);
	}
	wait_child(w, pid, &status);
	for (i = 0; i < nr; i++)
		if (w[i].miss.kind)
			return &w[i];
	/* Perhaps as the contexts went */
	if (!w->replay && kernel_complains()) {
		w->miss.kind = MISS_KERNEL;
		w->miss.step = w->step;
		strcpy(w->miss.what, KERNEL_COMPLAINS);
		return w;
	}
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return NULL;
	w->miss.kind = MISS_CRASH;
	w->miss.step = w->step;
	w->miss.op = w->log[w->step].kind;
	w->miss.got = status;
	strcpy(w->miss.what, "how the process ended");
	return w;
}

/* The same list again, or another one, in a fresh process */
bool replay(struct world *w, const struct op *ops, unsigned int nr)
{
	bool good;

	memcpy(w->log, ops, nr * sizeof(*ops));
	w->nr_ops = nr;
	w->replay = 1;
	good = !run_child(w);
	w->replay = 0;
	return good;
}

/* What one of several threads did, for one that is alone */
static void make_alone(struct world *w)
{
	unsigned int i;

	memmove(w->log + NR_CTX, w->log, (w->miss.step + 1) * sizeof(w->log[0]));
	memset(w->log, 0, NR_CTX * sizeof(w->log[0]));
	for (i = 0; i < NR_CTX; i++) {
		w->log[i].kind = OP_OPEN;
		w->log[i].ctx = i;
	}
	w->miss.step += NR_CTX;
	w->nr_ops = w->miss.step + 1;
	w->shared = 0;
}

static void report(struct world *w)
{
	const struct miss *m = &w->miss;

	printf("# seed %llu, run seed %llu%s, operation %u (%s) of process %u: %s:\n"
	       "#   at %#llx expected %ld, got %ld\n",
	       (unsigned long long)opt.seed, (unsigned long long)w->seed,
	       w->shared ? " (of a thread)" : "", m->step, op_names[m->op], m->proc,
	       m->what, (unsigned long long)m->addr, m->want, m->got);
	fflush(stdout);
	if (m->kind == MISS_KERNEL || m->kind == MISS_HANG)
		return;
	if (w->shared)
		make_alone(w);
	shrink(w);
	printf("# ---- reproducer of %u operations\n", w->nr_ops);
	emit_reproducer(stdout, w);
	printf("# ---- end of reproducer\n");
	fflush(stdout);
}

static uint64_t count_of(const struct world *worlds, unsigned int kind, unsigned int err)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < NR_THREADS; i++)
		sum += worlds[i].count[kind][err];
	return sum;
}

static uint64_t count_kind(const struct world *worlds, unsigned int kind)
{
	uint64_t sum = 0;
	unsigned int e;

	for (e = 0; e < NR_ERRS; e++)
		sum += count_of(worlds, kind, e);
	return sum;
}

static uint64_t count_all(const struct world *worlds)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < NR_OPS; i++)
		if (i != OP_CHECK && i != OP_LIE)
			sum += count_kind(worlds, i);
	return sum;
}

static const char *const event_names[NR_EVENTS] = {
	"blocks made", "blocks refused", "blocks idle", "idle ones used",
	"idle ones dropped", "idle ones gone otherwise", "pools kept",
	"pools revoked", "kept pools passed on", "kept pools gone", "pages hidden",
	"hidden pages shown", "hidden pages shared again", "kept lines in the way",
	"execute-only lines run", "execute-only lines not read", "ranges gathered",
	"contexts empty again",
};

/* What is rarer than an operation's outcome; 0 says that nothing tried it. */
static void print_events(const struct world *worlds)
{
	uint64_t sum;
	unsigned int e, i;

	for (e = 0; e < NR_EVENTS; e++) {
		for (sum = 0, i = 0; i < NR_THREADS; i++)
			sum += worlds[i].events[e];
		printf("# %s %llu\n", event_names[e], (unsigned long long)sum);
	}
}

static void print_counts(const struct world *worlds)
{
	unsigned int i, e;

	for (i = 1; i < NR_OPS; i++) {
		if (!count_kind(worlds, i))
			continue;
		printf("# %-9s %9llu: ok %llu", op_names[i],
		       (unsigned long long)count_kind(worlds, i),
		       (unsigned long long)count_of(worlds, i, 0));
		for (e = 1; e < NR_ERRS; e++)
			if (count_of(worlds, i, e))
				printf(", %s %llu",
				       e < NR_ERRS - 1 ? strerrorname_np(e) : "other",
				       (unsigned long long)count_of(worlds, i, e));
		putchar('\n');
	}
}

static void setup_lie(struct world *w, uint64_t done)
{
	w->lie_at = 0;
	if (opt.lie > done && opt.lie <= done + opt.run_ops && !w->shared)
		w->lie_at = opt.lie - done;
}

static struct world *fuzz(struct world *worlds)
{
	uint64_t rng = opt.seed, seed;
	struct world *bad = NULL;
	unsigned int run, i;

	for (run = 1; !bad && count_all(worlds) < opt.ops; run++) {
		seed = splitmix(&rng);
		if (opt.threads && run % opt.threads == 0)
			threads_setup(worlds, seed);
		else
			setup(worlds, seed);
		setup_lie(worlds, count_all(worlds));
		for (i = 0; i < NR_THREADS; i++) {
			worlds[i].nr_ops = opt.run_ops;
			worlds[i].look = opt.look;
			worlds[i].uring &= !opt.no_uring;
		}
		bad = run_child(worlds);
	}
	return bad;
}

int main(int argc, char **argv)
{
	struct world *worlds, *bad;
	uint64_t done;
	sigset_t set;

	parse(argc, argv);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (access("/dev/wxpool", R_OK | W_OK))
		die("no /dev/wxpool: modprobe wxpool first");
	content_init();
	kernel_complains();
	worlds = new_worlds();
	printf("TAP version 13\n1..1\n# seed %llu\n", (unsigned long long)opt.seed);
	fflush(stdout);
	bad = fuzz(worlds);
	done = count_all(worlds);
	print_counts(worlds);
	print_events(worlds);
	if (bad)
		report(bad);
	printf("%s 1 %llu operations, seed %llu\n", bad ? "not ok" : "ok",
	       (unsigned long long)done, (unsigned long long)opt.seed);
	return bad ? 1 : 0;
}
