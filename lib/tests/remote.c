// SPDX-License-Identifier: MIT
/*
 * WXP_COMPILE_ONLY and <wxpool-remote.h>: owners, executors, and what each of them can do
 * if it is not what it should be. Needs the module.
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "remote.h"
#include "test.h"

#ifndef PR_SET_MDWE
#define PR_SET_MDWE		65
#define PR_MDWE_REFUSE_EXEC_GAIN	1
#endif

#define WINDOW		(64 * MIB)
#define MODULES		1000
#define FUZZED		5000
#define PATIENCE	240	/* seconds, for a test that might hang */

/* ------------------------------------------------------------------ helpers */

static struct wxp *open_as(enum wxp_backend backend, unsigned int flags, size_t window, int *err)
{
	struct wxp_options opts = {
		.size = sizeof(opts), .backend = backend, .flags = flags, .window = window,
	};
	struct wxp *w = NULL;

	*err = wxp_open(&w, &opts);
	return w;
}

static struct wxp *open_owner(unsigned int flags, size_t window)
{
	int err;
	struct wxp *w = open_as(WXP_BACKEND_KERNEL, WXP_COMPILE_ONLY | flags, window, &err);

	CHECK_EQ(err, 0);
	return w;
}

struct map {
	uintptr_t start, end;
	char perms[5];
	char path[64];
};

typedef bool (*map_fn)(const struct map *m);

static bool any_map(const struct map *m)
{
	return m->end > m->start;
}

static bool is_device(const struct map *m)
{
	return strstr(m->path, "wxpool") && strstr(m->path, "/dev/");
}

static bool is_wx(const struct map *m)
{
	return m->perms[1] == 'w' && m->perms[2] == 'x';
}

static bool is_writable_device(const struct map *m)
{
	return is_device(m) && m->perms[1] == 'w';
}

static bool is_made_executable(const struct map *m)
{
	return m->perms[2] == 'x' && (is_device(m) || !m->path[0]);
}

static size_t count_maps(map_fn fn)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512];
	struct map m;
	size_t nr = 0;

	if (!f)
		return SIZE_MAX;
	while (fgets(line, sizeof(line), f)) {
		m.path[0] = 0;
		if (sscanf(line, "%lx-%lx %4s %*s %*s %*s %63s", &m.start, &m.end, m.perms,
			   m.path) >= 3)
			nr += fn(&m);
	}
	fclose(f);
	return nr;
}

static size_t count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t nr = 0;

	if (!d)
		return SIZE_MAX;
	while (readdir(d))
		nr++;
	closedir(d);
	return nr;
}

static void pair(int p[2])
{
	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p));
}

/* Another process; a hole keeps it from getting the owner's addresses. */
struct peer {
	pid_t pid;
	int socket;
};

typedef void (*peer_fn)(int socket);

static void start_peer(struct peer *p, peer_fn fn)
{
	int s[2];

	pair(s);
	fflush(stdout);
	p->pid = fork();
	if (!p->pid) {
		close(s[0]);
		alarm(PATIENCE);
		signal(SIGBUS, SIG_DFL);	/* not a sanitizer's */
		mmap(NULL, 512 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		     0);
		fn(s[1]);
		_exit(0);
	}
	CHECK(p->pid > 0);
	close(s[1]);
	p->socket = s[0];
}

static void check_executor_maps(void)
{
	CHILD_CHECK(count_maps(is_device) == 2);
	CHILD_CHECK(!count_maps(is_writable_device));
	CHILD_CHECK(!count_maps(is_wx));
	CHILD_CHECK(count_maps(is_made_executable) == 1);
}

/* As it should be. It is forked before the owner has anything. */
static void execute(int socket)
{
	size_t fds = count_fds(), maps = count_maps(any_map);
	struct wxp_executor *e;

	CHILD_CHECK(wxp_executor_attach(socket, &e) == 0);
	CHILD_CHECK(count_fds() == fds);
	check_executor_maps();
	CHILD_CHECK(wxp_executor_serve(e) == -EPIPE);
	CHILD_CHECK(wxp_executor_serve(e) == -EPIPE);
	check_executor_maps();
	wxp_executor_detach(e);
	CHILD_CHECK(count_fds() == fds - 1);
	CHILD_CHECK(!count_maps(is_device));
	/* The heap may have grown, and what was mapped merge. */
	CHILD_CHECK(count_maps(any_map) <= maps + 3);
}

/* The same, if the process has sworn to make nothing executable that was not so from the start */
static void execute_under_mdwe(int socket)
{
	if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0))
		CHILD_CHECK(errno == EINVAL);	/* before Linux 6.3 */
	execute(socket);
}

struct link {
	struct peer peer;
	struct wxp *w;
	struct wxp_remote *r;
};

static void open_link(struct link *l, unsigned int flags, peer_fn fn)
{
	start_peer(&l->peer, fn);
	l->w = open_owner(flags, WINDOW);
	CHECK_EQ(wxp_remote_connect(l->w, l->peer.socket, &l->r), 0);
}

static void close_link(struct link *l)
{
	wxp_remote_close(l->r);
	wait_child(l->peer.pid);
	wxp_close(l->w);
}

/* ------------------------------------------------------------------ modules */

/* uint64_t f(uint64_t x) { return constant + (variable += x); }, by absolute addresses */
#if defined(__x86_64__)

#define MODULE_CODE	30

static void write_module(unsigned char *p, uint64_t constant, uint64_t variable)
{
	static const unsigned char code[MODULE_CODE] = {
		0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0,	/* mov $constant, %rax */
		0x48, 0x8b, 0x00,			/* mov (%rax), %rax */
		0x48, 0xb9, 0, 0, 0, 0, 0, 0, 0, 0,	/* mov $variable, %rcx */
		0x48, 0x01, 0x39,			/* add %rdi, (%rcx) */
		0x48, 0x03, 0x01,			/* add (%rcx), %rax */
		0xc3,					/* ret */
	};

	memcpy(p, code, sizeof(code));
	memcpy(p + 2, &constant, 8);
	memcpy(p + 15, &variable, 8);
}

#else

#define MODULE_CODE	60

static void write_address(uint32_t *code, uint32_t reg, uint64_t addr)
{
	uint32_t i;

	for (i = 0; i < 4; i++)		/* movz, movk */
		code[i] = (i ? 0xf2800000u : 0xd2800000u) | i << 21 |
			  (uint32_t)(addr >> 16 * i & 0xffff) << 5 | reg;
}

static void write_module(unsigned char *p, uint64_t constant, uint64_t variable)
{
	uint32_t code[15] = {
		0xd503245fu,				/* bti c */
		0, 0, 0, 0, 0xf9400021u,		/* x1 = constant; ldr x1, [x1] */
		0, 0, 0, 0, 0xf9400043u,		/* x2 = variable; ldr x3, [x2] */
		0x8b000063u,				/* add x3, x3, x0 */
		0xf9000043u,				/* str x3, [x2] */
		0x8b030020u,				/* add x0, x1, x3 */
		0xd65f03c0u,				/* ret */
	};

	write_address(code + 1, 1, constant);
	write_address(code + 6, 2, variable);
	memcpy(p, code, sizeof(code));
}

#endif

struct module {
	struct wxp_span s[3];		/* code, constant, variable */
};

static void install_module(struct link *l, uint32_t pool, uint64_t constant, struct module *m)
{
	static const struct wxp_request r[] = {
		{ MODULE_CODE, 0, WXP_RX }, { 8, 0, WXP_R }, { 8, 0, WXP_RW },
	};
	unsigned char code[MODULE_CODE];
	struct wxp_piece p[2];

	CHECK_EQ(wxp_place(l->w, pool, r, 3, m->s), 0);
	write_module(code, wxp_remote_addr(l->r, m->s[1].addr),
		     wxp_remote_addr(l->r, m->s[2].addr));
	p[0] = (struct wxp_piece){ m->s[0].addr, code, MODULE_CODE };
	p[1] = (struct wxp_piece){ m->s[1].addr, &constant, 8 };
	CHECK_EQ(wxp_install(l->w, pool, p, 2), 0);
}

/* One message: its variable, and a first call */
static void load_module(struct link *l, uint32_t pool, uint64_t constant, uint64_t variable,
			struct module *m)
{
	struct wxp_remote_op ops[2];

	install_module(l, pool, constant, m);
	ops[0] = (struct wxp_remote_op){
		.what = WXP_REMOTE_WRITE, .addr = m->s[2].addr, .src = &variable, .size = 8,
	};
	ops[1] = (struct wxp_remote_op){
		.what = WXP_REMOTE_CALL, .addr = m->s[0].addr, .value = 5,
	};
	CHECK_EQ(wxp_remote_do(l->r, ops, 2), 0);
	CHECK_EQ(ops[1].value, constant + variable + 5);
}

/* One message: the last call */
static void unload_module(struct link *l, uint32_t pool, uint64_t expected, struct module *m)
{
	uint64_t value = 0;

	CHECK_EQ(wxp_remote_call(l->r, m->s[0].addr, 1, &value), 0);
	CHECK_EQ(value, expected + 1);
	CHECK_EQ(wxp_free(l->w, pool), 0);
}

static uint64_t code_base(struct link *l, void **here)
{
	size_t size;

	wxp_get_window(l->w, here, &size);
	CHECK_EQ(size, WINDOW);
	return wxp_remote_addr(l->r, *here);
}

TEST(thousand_modules)
{
	static struct module m[MODULES + 1];
	struct link l;
	void *here;
	uint32_t i;

	open_link(&l, 0, execute);
	CHECK(code_base(&l, &here) && code_base(&l, &here) != (uintptr_t)here);
	for (i = 1; i <= MODULES; i++)
		load_module(&l, i, i, 1000 * i, &m[i]);
	CHECK_EQ(count_maps(is_device), 0);
	CHECK_EQ(count_maps(is_made_executable), 0);
	for (i = 1; i <= MODULES; i++)
		unload_module(&l, i, 1001 * i + 5, &m[i]);
	check_stats(l.w);
	CHECK_EQ(stats_of(l.w, 0).pools, 0);
	/* One after the other, where others were */
	for (i = 1; i <= MODULES; i++) {
		load_module(&l, 7, 3 * i, i, &m[i]);
		unload_module(&l, 7, 4 * i + 5, &m[i]);
	}
	close_link(&l);
}

TEST(two_executors_of_one_context)
{
	struct peer peer;
	struct module m[2];
	struct link l, other;
	uint64_t value;

	start_peer(&peer, execute);
	open_link(&l, 0, execute);
	other = l;
	CHECK_EQ(wxp_remote_connect(l.w, peer.socket, &other.r), 0);
	load_module(&l, 1, 1, 10, &m[0]);
	load_module(&other, 2, 2, 20, &m[1]);
	CHECK_EQ(wxp_remote_call(l.r, m[0].s[0].addr, 1, &value), 0);
	CHECK_EQ(value, 17);
	CHECK_EQ(wxp_remote_call(other.r, m[1].s[0].addr, 1, &value), 0);
	CHECK_EQ(value, 28);
	wxp_remote_close(other.r);
	wait_child(peer.pid);
	close_link(&l);
}

TEST(executor_under_mdwe)
{
	struct module m;
	struct link l;

	open_link(&l, 0, execute_under_mdwe);
	load_module(&l, 1, 1, 10, &m);
	unload_module(&l, 1, 16, &m);
	close_link(&l);
}

/* Code and the rest by wxp_alloc(), and with other options */
TEST(options_of_owners)
{
	static const unsigned int flags[] = { 0, WXP_MSEAL, WXP_PKEY, WXP_EXEC_ONLY, WXP_BTI,
					      WXP_HUGE };
	struct module m;
	struct wxp_mem code;
	struct link l;
	uint64_t value;
	size_t i;

	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		open_link(&l, flags[i] | WXP_IF_POSSIBLE, execute);
		CHECK(wxp_get_flags(l.w) & WXP_COMPILE_ONLY);
		load_module(&l, 1, 3, 4, &m);
		CHECK_EQ(wxp_write_begin(l.w), 0);
		code = must_alloc(l.w, 2, CODE_SIZE, 0, WXP_RX);
		code_write(code.write, 77);
		CHECK_EQ(wxp_write_end(l.w), 0);
		CHECK_EQ(wxp_protect(l.w, 2), 0);
		CHECK_EQ(wxp_remote_call(l.r, code.addr, 0, &value), 0);
		CHECK_EQ((uint32_t)value, 77);
		CHECK_EQ(count_maps(is_made_executable), 0);
		CHECK_EQ(count_maps(is_device), 1);
		CHECK_EQ(count_maps(is_writable_device), 1);
		close_link(&l);
	}
}

/* ------------------------------------------------------- WXP_COMPILE_ONLY alone */

TEST(compile_only_has_nothing_to_run)
{
	struct wxp *w = open_owner(0, WINDOW);
	char word[8] = "constant";
	struct wxp_mem mem;
	void *code, *constant;

	code = must_load(w, 1, 5);
	CHECK_EQ(wxp_load(w, 1, word, sizeof(word), WXP_R, &constant), 0);
	CHECK_EQ(run_faults(code), SIGSEGV);
	CHECK_EQ(load_faults(code), SIGSEGV);
	CHECK_EQ(store_faults(code), SIGSEGV);
	CHECK_EQ(load_faults(constant), SIGSEGV);
	CHECK_EQ(count_maps(is_device), 0);
	mem = must_alloc(w, 2, CODE_SIZE, 0, WXP_RX);
	code_write(mem.write, 6);
	CHECK_EQ(store_faults(mem.write), 0);
	CHECK_EQ(store_faults(mem.addr), SIGSEGV);
	CHECK_EQ(wxp_protect(w, 2), 0);
	CHECK_EQ(store_faults(mem.write), SIGBUS);
	CHECK_EQ(run_faults(mem.addr), SIGSEGV);
	CHECK_EQ(count_maps(is_made_executable), 0);
	CHECK_EQ(store_faults(must_alloc(w, 3, 100, 0, WXP_RW).addr), 0);
	CHECK_EQ(wxp_free_many(w, (uint32_t[]){ 1, 2, 3 }, 3), 0);
	check_stats(w);
	wxp_close(w);
}

TEST(compile_only_is_insisted_on)
{
	enum wxp_backend b;
	struct wxp *w;
	int err;

	open_as(WXP_BACKEND_KERNEL, WXP_COMPILE_ONLY | WXP_ONE_ADDRESS, 0, &err);
	CHECK_EQ(err, -EINVAL);
	for (b = WXP_BACKEND_PORTABLE; b <= WXP_BACKEND_FAST; b++) {
		open_as(b, WXP_COMPILE_ONLY, WINDOW, &err);
		CHECK_EQ(err, -EOPNOTSUPP);
		w = open_as(b, WXP_COMPILE_ONLY | WXP_IF_POSSIBLE, WINDOW, &err);
		CHECK_EQ(err, 0);
		CHECK_EQ(wxp_get_flags(w), WXP_IF_POSSIBLE);
		CHECK_EQ(code_run(must_load(w, 1, 9)), 9);
		wxp_close(w);
	}
}

/* A child has what the parent has: nothing to run. Its own window is like that. */
TEST(compile_only_in_a_child)
{
	struct wxp *w = open_owner(0, WINDOW);
	void *code = must_load(w, 1, 5);
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		CHILD_CHECK(run_faults(code) == SIGSEGV);
		CHILD_CHECK(!wxp_free(w, 1));
		CHILD_CHECK(run_faults(must_load(w, 1, 6)) == SIGSEGV);
		CHILD_CHECK(!count_maps(is_device));
		wxp_close(w);
		_exit(0);
	}
	wait_child(pid);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(stats_of(w, 0).retired, 0);
	wxp_close(w);
}

/* --------------------------------------------------------------- what is asked for */

TEST(large_writes_and_many_things)
{
	enum { LARGE = 300000, MANY = 1300 };
	const struct wxp_request r = { LARGE, 0, WXP_RW };
	static struct wxp_remote_op ops[MANY];
	struct wxp_span s;
	struct wxp_piece p[2];
	struct module m;
	struct link l;
	uint64_t value;
	char *bytes = calloc(1, LARGE);
	size_t i;

	open_link(&l, 0, execute);
	install_module(&l, 1, 0, &m);
	CHECK_EQ(wxp_place(l.w, 2, &r, 1, &s), 0);
	memset(bytes, 1, LARGE);
	p[0] = (struct wxp_piece){ s.addr, bytes, LARGE };
	p[1] = (struct wxp_piece){ (char *)s.addr + LARGE - 8, NULL, 8 };
	CHECK_EQ(wxp_remote_write(l.r, p, 2), 0);
	for (i = 0; i < MANY; i++)
		ops[i] = (struct wxp_remote_op){
			.what = WXP_REMOTE_CALL, .addr = m.s[0].addr, .value = 1,
		};
	CHECK_EQ(wxp_remote_do(l.r, ops, MANY), 0);
	for (i = 0; i < MANY; i++)
		CHECK_EQ(ops[i].value, i + 1);
	CHECK_EQ(wxp_remote_call(l.r, m.s[0].addr, 0, &value), 0);
	CHECK_EQ(value, MANY);
	free(bytes);
	close_link(&l);
}

static size_t resident(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long total, pages = 0;

	CHILD_CHECK(f && fscanf(f, "%lu %lu", &total, &pages) == 2);
	fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* An executor that is told what to do by other means */
static void write_by_itself(int socket)
{
	enum { AREA = 4 * MIB, HOLE = 2 * MIB + 5000 };
	struct wxp_executor *e;
	struct wxp_piece p[2];
	unsigned char *base, *mine;
	size_t size, i, before;

	CHILD_CHECK(wxp_executor_attach(socket, &e) == 0);
	wxp_executor_get_window(e, (void **)&base, &size);
	mine = base + size - AREA;
	memset(mine, 1, AREA);
	before = resident();
	p[0] = (struct wxp_piece){ mine + 77, NULL, HOLE };
	p[1] = (struct wxp_piece){ mine + 77 + 8, "word", 4 };
	CHILD_CHECK(wxp_executor_write(e, p, 2) == 0);
	CHILD_CHECK(resident() + MIB < before);
	CHILD_CHECK(!memcmp(mine + 77 + 8, "word", 4));
	memset(mine + 77 + 8, 0, 4);
	for (i = 0; i < AREA; i++)
		CHILD_CHECK(mine[i] == (i < 77 || i >= 77 + HOLE));
	CHILD_CHECK(wxp_executor_write(e, NULL, 0) == 0);

	p[0] = (struct wxp_piece){ mine, "word", 4 };
	p[1] = (struct wxp_piece){ base, "word", 4 };
	CHILD_CHECK(wxp_executor_write(e, p, 2) == -EINVAL);
	p[1] = (struct wxp_piece){ base + size - 2, "word", 4 };
	CHILD_CHECK(wxp_executor_write(e, p, 2) == -EINVAL);
	p[1] = (struct wxp_piece){ base - 8, "word", 4 };
	CHILD_CHECK(wxp_executor_write(e, p, 2) == -EINVAL);
	p[1] = (struct wxp_piece){ mine, "", 0 };
	CHILD_CHECK(wxp_executor_write(e, p, 2) == -EINVAL);
	p[1] = (struct wxp_piece){ mine, NULL, SIZE_MAX };
	CHILD_CHECK(wxp_executor_write(e, p, 2) == -EINVAL);
	CHILD_CHECK(wxp_executor_write(e, NULL, 1) == -EINVAL);
	CHILD_CHECK(wxp_executor_write(NULL, p, 1) == -EINVAL);
	CHILD_CHECK(mine[0] == 1);
	wxp_executor_detach(e);
}

TEST(executor_writes)
{
	struct link l;

	open_link(&l, 0, write_by_itself);
	close_link(&l);
}

TEST(errors_of_owners)
{
	struct wxp_remote_op op = { .what = WXP_REMOTE_WRITE, .src = "x", .size = 1 };
	struct wxp_piece beyond;
	struct module m;
	struct link l;

	open_link(&l, 0, execute);
	install_module(&l, 1, 3, &m);
	CHECK_EQ(wxp_remote_call(l.r, m.s[1].addr, 0, NULL), -EINVAL);
	CHECK_EQ(wxp_remote_call(l.r, m.s[2].addr, 0, NULL), -EINVAL);
	CHECK_EQ(wxp_remote_call(l.r, &l, 0, NULL), -EINVAL);
	CHECK_EQ(wxp_remote_call(NULL, m.s[0].addr, 0, NULL), -EINVAL);
	op.addr = m.s[0].addr;
	CHECK_EQ(wxp_remote_do(l.r, &op, 1), -EINVAL);
	op.addr = m.s[2].addr;
	CHECK_EQ(wxp_remote_do(l.r, &op, 0), -EINVAL);
	CHECK_EQ(wxp_remote_do(l.r, NULL, 1), -EINVAL);
	op.src = NULL;
	CHECK_EQ(wxp_remote_do(l.r, &op, 1), -EINVAL);
	op.what = 9;
	CHECK_EQ(wxp_remote_do(l.r, &op, 1), -EINVAL);
	beyond = (struct wxp_piece){ m.s[2].addr, "x", WINDOW };
	CHECK_EQ(wxp_remote_write(l.r, &beyond, 1), -EINVAL);
	beyond.size = SIZE_MAX;
	CHECK_EQ(wxp_remote_write(l.r, &beyond, 1), -EINVAL);
	beyond.size = 0;
	CHECK_EQ(wxp_remote_write(l.r, &beyond, 1), -EINVAL);
	beyond = (struct wxp_piece){ m.s[2].addr, (void *)8, 8 };
	CHECK_EQ(wxp_remote_write(l.r, &beyond, 1), -EFAULT);
	CHECK_EQ(wxp_remote_addr(l.r, &l), 0);
	CHECK_EQ(wxp_remote_set_timeout(l.r, UINT32_MAX), -EINVAL);
	/* None of which was sent */
	load_module(&l, 2, 4, 5, &m);
	close_link(&l);
}

TEST(wrong_sockets_and_contexts)
{
	struct wxp *w = open_owner(0, WINDOW), *portable;
	struct wxp_executor *e;
	struct wxp_remote *r;
	int p[2], s[2], err;

	pair(p);
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	CHECK_EQ(wxp_remote_connect(w, s[0], &r), -EINVAL);
	CHECK_EQ(wxp_executor_attach(s[0], &e), -EINVAL);
	CHECK_EQ(wxp_remote_connect(w, -1, &r), -EINVAL);
	CHECK_EQ(wxp_executor_attach(-1, &e), -EINVAL);
	CHECK_EQ(wxp_executor_attach(p[0], NULL), -EINVAL);
	CHECK_EQ(wxp_remote_connect(NULL, p[0], &r), -EINVAL);
	CHECK_EQ(wxp_remote_connect(w, p[0], NULL), -EINVAL);
	CHECK_EQ(wxp_executor_serve(NULL), -EINVAL);
	portable = open_as(WXP_BACKEND_PORTABLE, 0, WINDOW, &err);
	CHECK_EQ(wxp_remote_connect(portable, p[0], &r), -EOPNOTSUPP);
	wxp_close(portable);
	close(p[1]);
	CHECK_EQ(wxp_remote_connect(w, p[0], &r), -EPIPE);
	CHECK_EQ(wxp_executor_attach(p[0], &e), -EPIPE);
	wxp_remote_close(NULL);
	wxp_executor_detach(NULL);
	close(p[0]);
	close(s[0]);
	close(s[1]);
	wxp_close(w);
}

static void *connect_thread(void *arg)
{
	struct link *l = arg;

	return (void *)(intptr_t)wxp_remote_connect(l->w, l->peer.socket, &l->r);
}

/* Both ends in one process: it would have an owner's rights. */
TEST(owner_is_no_executor)
{
	struct link l = { .w = open_owner(0, WINDOW) };
	struct wxp_executor *e;
	pthread_t thread;
	void *result;
	int p[2];

	pair(p);
	l.peer.socket = p[0];
	CHECK(!pthread_create(&thread, NULL, connect_thread, &l));
	CHECK_EQ(wxp_executor_attach(p[1], &e), -EXDEV);
	CHECK(!pthread_join(thread, &result));
	CHECK_EQ((intptr_t)result, -EPIPE);
	close(p[0]);
	close(p[1]);
	wxp_close(l.w);
}

struct calls {
	struct link *l;
	void *fn;
};

static void *call_thread(void *arg)
{
	struct calls *c = arg;
	int i, err = 0;

	for (i = 0; i < 1000 && !err; i++)
		err = wxp_remote_call(c->l->r, c->fn, 1, NULL);
	return (void *)(intptr_t)err;
}

TEST(threads_share_a_connection)
{
	pthread_t threads[4];
	struct calls c;
	struct module m;
	struct link l;
	void *result;
	int i;

	open_link(&l, 0, execute);
	load_module(&l, 1, 0, 0, &m);
	c = (struct calls){ &l, m.s[0].addr };
	for (i = 0; i < 4; i++)
		CHECK(!pthread_create(&threads[i], NULL, call_thread, &c));
	for (i = 0; i < 4; i++) {
		CHECK(!pthread_join(threads[i], &result));
		CHECK(!result);
	}
	unload_module(&l, 1, 4005, &m);
	close_link(&l);
}

TEST(forked_owner)
{
	struct module m;
	struct link l;
	pid_t pid;

	open_link(&l, 0, execute);
	load_module(&l, 1, 4, 5, &m);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		CHILD_CHECK(wxp_remote_call(l.r, m.s[0].addr, 0, NULL) == -EXDEV);
		wxp_remote_close(l.r);
		_exit(0);
	}
	wait_child(pid);
	unload_module(&l, 1, 14, &m);
	close_link(&l);
}

/* ---------------------------------------------------------------------- deaths */

/* An owner that dies without a word. Tells the executor's address of its code. */
static void own_and_die(int socket)
{
	struct link l = { .w = open_owner(0, WINDOW) };
	struct module m;
	uint64_t addr;

	CHILD_CHECK(!wxp_remote_connect(l.w, socket, &l.r));
	load_module(&l, 1, 40, 1, &m);
	addr = wxp_remote_addr(l.r, m.s[0].addr);
	CHILD_CHECK(!wxp_remote_write(l.r, &(struct wxp_piece){ m.s[2].addr, &addr, 8 }, 1));
	raise(SIGKILL);
}

static void wait_killed(pid_t pid)
{
	int status;

	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status));
}

TEST(dead_owner)
{
	size_t maps = count_maps(is_device), fds = count_fds(), size;
	uint64_t (*function)(uint64_t), addr;
	struct wxp_executor *e;
	struct peer peer;
	void *base;

	start_peer(&peer, own_and_die);
	CHECK_EQ(wxp_executor_attach(peer.socket, &e), 0);
	CHECK_EQ(wxp_executor_serve(e), -EPIPE);
	wait_killed(peer.pid);
	wxp_executor_get_window(e, &base, &size);
	CHECK_EQ(size, WINDOW);
	/* The first variable: 75 percent of the window are before it. */
	memcpy(&addr, (char *)base + WINDOW / 4 * 3, 8);
	CHECK(addr >= (uintptr_t)base && addr < (uintptr_t)base + WINDOW / 2);
	memcpy(&function, &addr, sizeof(function));
	CHECK_EQ(function(2), 40 + addr + 2);
	CHECK_EQ(store_faults((void *)(uintptr_t)addr), SIGSEGV);
	CHECK_EQ(wxp_executor_serve(e), -EPIPE);
	wxp_executor_detach(e);
	CHECK_EQ(count_maps(is_device), maps);
	CHECK_EQ(count_fds(), fds);
}

TEST(dead_executor)
{
	struct module m;
	struct link l;

	open_link(&l, 0, execute);
	load_module(&l, 1, 3, 4, &m);
	CHECK(!kill(l.peer.pid, SIGKILL));
	wait_killed(l.peer.pid);
	CHECK_EQ(wxp_remote_call(l.r, m.s[0].addr, 0, NULL), -EPIPE);
	CHECK_EQ(wxp_remote_call(l.r, m.s[0].addr, 0, NULL), -EPIPE);
	CHECK_EQ(wxp_free(l.w, 1), 0);
	CHECK_EQ(stats_of(l.w, 0).pools, 0);
	wxp_remote_close(l.r);
	wxp_close(l.w);
}

/* Code that is freed is not there for the executor, either. */
TEST(executor_dies_in_a_call)
{
	struct module m;
	struct link l;

	open_link(&l, 0, execute);
	load_module(&l, 1, 3, 4, &m);
	CHECK_EQ(wxp_free(l.w, 1), 0);
	CHECK_EQ(wxp_remote_call(l.r, m.s[0].addr, 0, NULL), -EPIPE);
	wait_killed(l.peer.pid);
	wxp_remote_close(l.r);
	wxp_close(l.w);
}

/* What is mapped stays mapped, but a context that is closed is empty. */
TEST(closed_context)
{
	struct module m;
	struct link l;

	open_link(&l, 0, execute);
	load_module(&l, 1, 3, 4, &m);
	wxp_close(l.w);
	CHECK_EQ(wxp_remote_write(l.r, &(struct wxp_piece){ m.s[2].addr, NULL, 8 }, 1), 0);
	wxp_remote_close(l.r);
	wait_child(l.peer.pid);
}

static void say_nothing(int socket)
{
	struct remote_welcome welcome = {
		.type = REMOTE_WELCOME, .version = REMOTE_VERSION, .base = BLOCK,
	};
	char byte;

	CHILD_CHECK(send(socket, &welcome, sizeof(welcome), MSG_NOSIGNAL) == sizeof(welcome));
	while (recv(socket, &byte, 1, 0) > 0)
		;
}

TEST(silent_executor)
{
	struct module m;
	struct link l;

	open_link(&l, 0, say_nothing);
	install_module(&l, 1, 3, &m);
	CHECK_EQ(wxp_remote_set_timeout(l.r, 50), 0);
	CHECK_EQ(wxp_remote_call(l.r, m.s[0].addr, 0, NULL), -ETIMEDOUT);
	CHECK_EQ(wxp_remote_call(l.r, m.s[0].addr, 0, NULL), -EPIPE);
	close_link(&l);
}

/* --------------------------------------------------------------------- attacks */

static int receive_fd(int socket, struct remote_hello *hello)
{
	int fd;

	CHILD_CHECK(message_receive(socket, hello, sizeof(*hello), &fd, 10000) == sizeof(*hello));
	return fd;
}

static int tried(unsigned long op, void *arg, int fd)
{
	return ioctl(fd, op, arg) ? errno : 0;
}

/* By an executor that kept the descriptor: EXDEV means "not the owner". */
static void attack_by_ioctl(int fd, uint64_t context)
{
	static char bytes[64];
	struct wxpool_install_range in = { 1 << 20, 64, (uintptr_t)bytes, WXPOOL_PROT_X, 0 };
	struct wxpool_alloc_range al = { 1 << 20, PAGE };
	struct wxpool_protect_range pr = { 1 << 20, PAGE, WXPOOL_PROT_X, 0 };
	uint32_t pool = 1;
	struct wxpool_install install = { sizeof(install), 9, context, (uintptr_t)&in, 1, 0 };
	struct wxpool_alloc alloc = { sizeof(alloc), 9, context, (uintptr_t)&al, 1, 0 };
	struct wxpool_protect protect = { sizeof(protect), 9, context, (uintptr_t)&pr, 1, 0 };
	struct wxpool_free one = { .size = sizeof(one), .context = context,
				   .pools = (uintptr_t)&pool, .nr_pools = 1 };
	struct wxpool_free all = { .size = sizeof(all), .flags = WXPOOL_FREE_ALL };
	struct wxpool_freeze freeze = { .size = sizeof(freeze) };

	CHILD_CHECK(tried(WXPOOL_IOC_INSTALL, &install, fd) == EXDEV);
	CHILD_CHECK(tried(WXPOOL_IOC_ALLOC, &alloc, fd) == EXDEV);
	CHILD_CHECK(tried(WXPOOL_IOC_PROTECT, &protect, fd) == EXDEV);
	CHILD_CHECK(tried(WXPOOL_IOC_FREE, &one, fd) == EXDEV);
	CHILD_CHECK(tried(WXPOOL_IOC_FREE, &all, fd) == EXDEV);
	CHILD_CHECK(tried(WXPOOL_IOC_FREEZE, &freeze, fd) == EXDEV);
}

static int mapped(int prot, int flags, int fd)
{
	return mmap(NULL, PAGE, prot, flags, fd, 0) == MAP_FAILED ? errno : 0;
}

static void attack_by_mapping(int fd, char *code, char *constants)
{
	CHILD_CHECK(mapped(PROT_READ | PROT_WRITE, MAP_SHARED, fd) == EXDEV);
	CHILD_CHECK(mapped(PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED, fd) == EACCES);
	CHILD_CHECK(mapped(PROT_READ | PROT_WRITE, MAP_PRIVATE, fd) == EACCES);
	CHILD_CHECK(mprotect(code, PAGE, PROT_READ | PROT_WRITE) && errno == EACCES);
	CHILD_CHECK(mprotect(code, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) && errno == EACCES);
	CHILD_CHECK(mprotect(constants, PAGE, PROT_READ | PROT_WRITE) && errno == EACCES);
	CHILD_CHECK(mprotect(constants, PAGE, PROT_READ | PROT_EXEC) && errno == EACCES);
}

static void attack_by_writing(int fd, char *code)
{
	int mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	char byte = 0;
	struct iovec from = { &byte, 1 }, to = { code, 1 };

	CHILD_CHECK(mem >= 0);
	CHILD_CHECK(pwrite(mem, &byte, 1, (off_t)(uintptr_t)code) < 0);
	CHILD_CHECK(pwrite(fd, &byte, 1, 0) < 0);
	CHILD_CHECK(ftruncate(fd, 0));
	CHILD_CHECK(process_vm_writev(getpid(), &from, 1, &to, 1, 0) < 0);
	close(mem);
}

/* What is opened by the descriptor's name is another context, and empty. */
static void attack_by_opening(int fd, uint64_t context)
{
	struct wxpool_info info = { .size = sizeof(info) };
	char name[64];
	int other;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	other = open(name, O_RDWR | O_CLOEXEC);
	if (other < 0) {
		CHILD_CHECK(errno == EACCES || errno == EPERM);
		return;
	}
	CHILD_CHECK(!tried(WXPOOL_IOC_INFO, &info, other));
	CHILD_CHECK(info.context != context && !info.pools);
	close(other);
}

static void attack(int socket)
{
	struct remote_welcome welcome = { .type = REMOTE_WELCOME, .version = REMOTE_VERSION };
	char *constants, *code, byte;
	struct remote_hello h;
	int fd = receive_fd(socket, &h);

	code = mmap(NULL, h.code, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	constants = mmap(NULL, h.constants - h.code, PROT_READ, MAP_SHARED, fd, (off_t)h.code);
	CHILD_CHECK(code != MAP_FAILED && constants != MAP_FAILED);
	CHILD_CHECK(code_run(code) == 99);
	attack_by_ioctl(fd, h.context);
	attack_by_mapping(fd, code, constants);
	attack_by_writing(fd, code);
	attack_by_opening(fd, h.context);
	CHILD_CHECK(code_run(code) == 99);
	welcome.base = BLOCK;
	CHILD_CHECK(send(socket, &welcome, sizeof(welcome), 0) == sizeof(welcome));
	CHILD_CHECK(recv(socket, &byte, 1, 0) == 0);
}

TEST(executor_attacks_with_its_descriptor)
{
	struct link l;
	void *code, *base;
	size_t size;

	start_peer(&l.peer, attack);
	l.w = open_owner(0, WINDOW);
	code = must_load(l.w, 1, 99);
	wxp_get_window(l.w, &base, &size);
	CHECK(code == base);
	CHECK_EQ(wxp_remote_connect(l.w, l.peer.socket, &l.r), 0);
	CHECK_EQ(stats_of(l.w, 0).pools, 1);
	must_load(l.w, 2, 100);
	close_link(&l);
}

/* --------------------------------------------- peers that say what they should not */

#define MANY_FDS	40

static void raw_send(int socket, const void *buf, size_t size, const int *fds, size_t nr)
{
	union {
		char room[CMSG_SPACE(MANY_FDS * sizeof(int))];
		struct cmsghdr align;
	} control = { .room = { 0 } };
	struct iovec iov = { (void *)(uintptr_t)buf, size };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (nr) {
		m.msg_control = control.room;
		m.msg_controllen = CMSG_SPACE(nr * sizeof(int));
		CMSG_FIRSTHDR(&m)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&m)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&m)->cmsg_len = CMSG_LEN(nr * sizeof(int));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), fds, nr * sizeof(int));
	}
	/* What does not fit is not sent. */
	if (sendmsg(socket, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		errno = 0;
}

/* What an honest owner would say, and what a child may try with it. */
static struct remote_hello hello;
static int context_fd;
static uint64_t good_code;

static void open_context(struct wxp **w)
{
	struct wxpool_info info = { .size = sizeof(info) };
	size_t size;
	void *base;

	*w = open_owner(0, MIN_WINDOW);
	wxp_get_window(*w, &base, &size);
	context_fd = wxp_get_fd(*w);
	CHECK(!ioctl(context_fd, WXPOOL_IOC_INFO, &info));
	hello = (struct remote_hello){
		.type = REMOTE_HELLO, .version = REMOTE_VERSION, .context = info.context,
		.window = MIN_WINDOW, .code = BLOCK, .constants = 2 * BLOCK,
	};
	good_code = (uint64_t)((char *)must_load(*w, 1, 42) - (char *)base);
}

/* All that is said is there before the executor looks: nothing can depend on time. */
static int attach_with(const struct remote_hello *h, size_t size, const int *fds, size_t nr)
{
	struct wxp_executor *e = NULL;
	int p[2], err;

	pair(p);
	raw_send(p[0], h, size, fds, nr);
	shutdown(p[0], SHUT_WR);
	err = wxp_executor_attach(p[1], &e);
	if (!err)
		wxp_executor_detach(e);
	else
		close(p[1]);
	close(p[0]);
	return err;
}

static int attach_but(size_t at, uint64_t value, size_t size)
{
	struct remote_hello h = hello;

	memcpy((char *)&h + at, &value, size);
	return attach_with(&h, sizeof(h), &context_fd, 1);
}

#define ATTACH_BUT(field, value)	\
	attach_but(offsetof(struct remote_hello, field), value, sizeof(hello.field))

static void try_hellos(void)
{
	CHILD_CHECK(!attach_with(&hello, sizeof(hello), &context_fd, 1));
	CHILD_CHECK(attach_with(&hello, sizeof(hello) - 1, &context_fd, 1) == -EPROTO);
	CHILD_CHECK(attach_with(&hello, 0, &context_fd, 1) == -EPIPE);
	CHILD_CHECK(ATTACH_BUT(type, REMOTE_WELCOME) == -EPROTO);
	CHILD_CHECK(ATTACH_BUT(version, 2) == -EPROTO);
	CHILD_CHECK(ATTACH_BUT(context, 0) == -EPROTO);
	CHILD_CHECK(ATTACH_BUT(context, hello.context + 1) == -EPROTO);
	CHILD_CHECK(ATTACH_BUT(window, 0) == -EPROTO);
	CHILD_CHECK(ATTACH_BUT(window, 2 * BLOCK) == -EPROTO);
	CHILD_CHECK(ATTACH_BUT(window, MIN_WINDOW + 4096) == -EPROTO);
	CHILD_CHECK(ATTACH_BUT(window, MAX_WINDOW + BLOCK) == -EPROTO);
	CHILD_CHECK(ATTACH_BUT(window, UINT64_MAX - BLOCK + 1) == -EPROTO);
	CHILD_CHECK(ATTACH_BUT(code, 0) == -EPROTO);
	CHILD_CHECK(ATTACH_BUT(code, 2 * BLOCK) == -EPROTO);
	CHILD_CHECK(ATTACH_BUT(code, 4096) == -EPROTO);
	CHILD_CHECK(ATTACH_BUT(constants, 3 * BLOCK) == -EPROTO);
	CHILD_CHECK(ATTACH_BUT(flags, WXP_COMPILE_ONLY) == -EPROTO);
	CHILD_CHECK(ATTACH_BUT(reserved, 1) == -EPROTO);
}

/* Too many, too few, and what is no context */
static void try_descriptors(void)
{
	int p[2], fds[MANY_FDS], i;

	for (i = 0; i < MANY_FDS; i++)
		fds[i] = context_fd;
	for (i = 2; i <= MANY_FDS; i++)
		CHILD_CHECK(attach_with(&hello, sizeof(hello), fds, (size_t)i) == -EPROTO);
	CHILD_CHECK(attach_with(&hello, sizeof(hello), NULL, 0) == -EPROTO);
	CHILD_CHECK(attach_with(&hello, 0, fds, 3) == -EPIPE);
	fds[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
	fds[1] = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	fds[2] = open("/dev/wxpool", O_RDWR | O_CLOEXEC);
	CHILD_CHECK(!pipe2(p, O_CLOEXEC));
	fds[3] = p[0];
	fds[4] = p[1];
	for (i = 0; i < 5; i++) {
		CHILD_CHECK(fds[i] >= 0);
		CHILD_CHECK(attach_with(&hello, sizeof(hello), &fds[i], 1) == -EPROTO);
		close(fds[i]);
	}
}

static void in_child(void (*fn)(void))
{
	size_t maps, fds;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		alarm(PATIENCE);
		fn();		/* once, for what the C library allocates */
		fds = count_fds();
		maps = count_maps(is_device);
		fn();
		CHILD_CHECK(count_fds() == fds);
		CHILD_CHECK(count_maps(is_device) == maps);
		_exit(0);
	}
	wait_child(pid);
}

TEST(owners_that_lie)
{
	struct wxp *w;

	open_context(&w);
	in_child(try_hellos);
	in_child(try_descriptors);
	wxp_close(w);
}

/* A message of two operations: one store, one call */
struct two {
	struct remote_request head;
	struct remote_op ops[2];
	char bytes[8];
};

/* What serving makes of a message, of which @size bytes are sent */
static int serve_with(const struct two *m, size_t size, const int *fds, size_t nr)
{
	struct wxp_executor *e = NULL;
	int p[2], err;

	pair(p);
	raw_send(p[0], &hello, sizeof(hello), &context_fd, 1);
	raw_send(p[0], m, size, fds, nr);
	shutdown(p[0], SHUT_WR);
	CHILD_CHECK(!wxp_executor_attach(p[1], &e));
	err = wxp_executor_serve(e);
	wxp_executor_detach(e);
	close(p[0]);
	return err;
}

static struct two good_request(void)
{
	return (struct two){
		.head = { REMOTE_REQUEST, 2, 1 },
		.ops = { { WXP_REMOTE_WRITE, 8, 3 * BLOCK - 8, 0 },
			 { WXP_REMOTE_CALL, 0, good_code, 1 } },
	};
}

static int serve_but(size_t at, uint64_t value, size_t size)
{
	struct two m = good_request();

	memcpy((char *)&m + at, &value, size);
	return serve_with(&m, sizeof(m), NULL, 0);
}

#define SERVE_BUT(field, value)	\
	serve_but(offsetof(struct two, field), value, sizeof(((struct two *)NULL)->field))

static void try_requests(void)
{
	struct two m = good_request();

	CHILD_CHECK(serve_with(&m, sizeof(m), NULL, 0) == -EPIPE);
	CHILD_CHECK(serve_with(&m, sizeof(m), &context_fd, 1) == -EPROTO);
	CHILD_CHECK(serve_with(&m, sizeof(m) - 1, NULL, 0) == -EPROTO);
	CHILD_CHECK(serve_with(&m, sizeof(m.head) + sizeof(m.ops), NULL, 0) == -EPROTO);
	CHILD_CHECK(serve_with(&m, sizeof(m.head), NULL, 0) == -EPROTO);
	CHILD_CHECK(serve_with(&m, 4, NULL, 0) == -EPROTO);
	CHILD_CHECK(SERVE_BUT(head.type, REMOTE_ANSWER) == -EPROTO);
	CHILD_CHECK(SERVE_BUT(head.nr, 0) == -EPROTO);
	CHILD_CHECK(SERVE_BUT(head.nr, 1) == -EPROTO);
	CHILD_CHECK(SERVE_BUT(head.nr, 3) == -EPROTO);
	CHILD_CHECK(SERVE_BUT(head.nr, WXP_REMOTE_MAX_OPS + 1) == -EPROTO);
	CHILD_CHECK(SERVE_BUT(head.nr, UINT32_MAX) == -EPROTO);
	CHILD_CHECK(SERVE_BUT(ops[0].what, 0) == -EPROTO);
	CHILD_CHECK(SERVE_BUT(ops[0].what, 4) == -EPROTO);
	CHILD_CHECK(SERVE_BUT(ops[0].size, 0) == -EPROTO);
	CHILD_CHECK(SERVE_BUT(ops[0].size, 7) == -EPROTO);
	CHILD_CHECK(SERVE_BUT(ops[0].size, 9) == -EPROTO);
	CHILD_CHECK(SERVE_BUT(ops[0].offset, 3 * BLOCK - 7) == -EPROTO);
	CHILD_CHECK(SERVE_BUT(ops[0].offset, 2 * BLOCK - 1) == -EPROTO);
	CHILD_CHECK(SERVE_BUT(ops[0].offset, 3 * BLOCK) == -EPROTO);
	CHILD_CHECK(SERVE_BUT(ops[0].offset, 0) == -EPROTO);
	CHILD_CHECK(SERVE_BUT(ops[0].offset, UINT64_MAX - 6) == -EPROTO);
	CHILD_CHECK(SERVE_BUT(ops[0].value, 1) == -EPROTO);
	CHILD_CHECK(SERVE_BUT(ops[1].size, 1) == -EPROTO);
	CHILD_CHECK(SERVE_BUT(ops[1].offset, BLOCK) == -EPROTO);
	CHILD_CHECK(SERVE_BUT(ops[1].offset, UINT64_MAX) == -EPROTO);
}

TEST(requests_that_lie)
{
	struct wxp *w;

	open_context(&w);
	in_child(try_requests);
	wxp_close(w);
}

struct answered {
	struct remote_answer head;
	uint64_t results[2];
};

/* Is the connection ended, as the other side sees it? */
static bool is_shut(int socket)
{
	char bytes[256];
	ssize_t n;

	do {
		n = recv(socket, bytes, sizeof(bytes), MSG_DONTWAIT);
	} while (n > 0);
	return !n;
}

/* What connecting makes of a welcome, of which @size bytes are sent, and a call of an answer */
static int owner_with(struct wxp *w, const struct remote_welcome *welcome, size_t size,
		      const struct answered *answer, size_t answer_size, const int *fds, size_t nr)
{
	struct wxp_remote *r = NULL;
	uint64_t value = 0;
	int p[2], err;
	size_t window;
	void *base;

	wxp_get_window(w, &base, &window);
	pair(p);
	raw_send(p[1], welcome, size, fds, answer ? 0 : nr);
	if (answer)
		raw_send(p[1], answer, answer_size, fds, nr);
	err = wxp_remote_connect(w, p[0], &r);
	if (!err && answer) {
		err = wxp_remote_call(r, base, 1, &value);
		CHECK_EQ(value, err ? 0 : answer->results[0]);
	}
	if (err)
		CHECK(is_shut(p[1]));
	if (r)
		wxp_remote_close(r);
	else
		close(p[0]);
	close(p[1]);
	return err;
}

static const struct remote_welcome good_welcome = { REMOTE_WELCOME, REMOTE_VERSION, 8 * BLOCK };

static int welcome_with(struct wxp *w, uint32_t type, uint32_t version, uint64_t base)
{
	struct remote_welcome welcome = { type, version, base };

	return owner_with(w, &welcome, sizeof(welcome), NULL, 0, NULL, 0);
}

static int answer_with(struct wxp *w, uint32_t type, uint32_t nr, uint64_t serial, size_t size,
		       size_t nr_fds)
{
	struct answered answer = { { type, nr, serial }, { 77, 78 } };

	return owner_with(w, &good_welcome, sizeof(good_welcome), &answer, size, &context_fd,
			  nr_fds);
}

TEST(executors_that_lie)
{
	size_t size = sizeof(struct remote_answer) + 8, fds;
	struct wxp *w;

	open_context(&w);
	fds = count_fds();
	CHECK_EQ(welcome_with(w, REMOTE_WELCOME, REMOTE_VERSION, BLOCK), 0);
	CHECK_EQ(welcome_with(w, REMOTE_HELLO, REMOTE_VERSION, BLOCK), -EPROTO);
	CHECK_EQ(welcome_with(w, REMOTE_WELCOME, 2, BLOCK), -EPROTO);
	CHECK_EQ(welcome_with(w, REMOTE_WELCOME, REMOTE_VERSION, 0), -EPROTO);
	CHECK_EQ(welcome_with(w, REMOTE_WELCOME, REMOTE_VERSION, BLOCK + 4096), -EPROTO);
	CHECK_EQ(welcome_with(w, REMOTE_WELCOME, REMOTE_VERSION, -BLOCK), -EPROTO);
	CHECK_EQ(owner_with(w, &good_welcome, sizeof(good_welcome) - 1, NULL, 0, NULL, 0),
		 -EPROTO);
	CHECK_EQ(owner_with(w, &good_welcome, sizeof(good_welcome), NULL, 0, &context_fd, 1),
		 -EPROTO);
	CHECK_EQ(answer_with(w, REMOTE_ANSWER, 1, 1, size, 0), 0);
	CHECK_EQ(answer_with(w, REMOTE_ANSWER, 1, 1, size, 1), -EPROTO);
	CHECK_EQ(answer_with(w, REMOTE_ANSWER, 1, 0, size, 0), -EPROTO);
	CHECK_EQ(answer_with(w, REMOTE_ANSWER, 1, 2, size, 0), -EPROTO);
	CHECK_EQ(answer_with(w, REMOTE_ANSWER, 0, 1, size, 0), -EPROTO);
	CHECK_EQ(answer_with(w, REMOTE_ANSWER, 0, 1, size - 8, 0), -EPROTO);
	CHECK_EQ(answer_with(w, REMOTE_ANSWER, 2, 1, size + 8, 0), -EPROTO);
	CHECK_EQ(answer_with(w, REMOTE_ANSWER, 1, 1, size - 1, 0), -EPROTO);
	CHECK_EQ(answer_with(w, REMOTE_WELCOME, 1, 1, size, 0), -EPROTO);
	CHECK_EQ(count_fds(), fds);
	CHECK_EQ(wxp_free(w, 1), 0);
	wxp_close(w);
}

union fuzzed {
	struct remote_request head;
	struct remote_answer answer;
	struct remote_welcome welcome;
	struct remote_hello hello;
	struct {
		struct remote_request head;
		struct remote_op ops[8];
	} request;
	char bytes[4096];
};

static uint64_t seed;

static uint32_t rnd(uint32_t below)
{
	return random_next(&seed) % below;
}

static uint64_t interesting(void)
{
	static const uint64_t values[] = {
		0, 1, 7, 8, 24, 63, 64, 511, 512, 513, 4095, 4096, 65535, 65536, BLOCK - 1, BLOCK,
		2 * BLOCK - 1, 2 * BLOCK, 3 * BLOCK - 8, 3 * BLOCK, INT32_MAX, UINT32_MAX,
		INT64_MAX, UINT64_MAX, UINT64_MAX - 7, 1ull << 63, (1ull << 32) + 1,
		REMOTE_HELLO, REMOTE_WELCOME, REMOTE_REQUEST, REMOTE_ANSWER,
	};

	return values[rnd(sizeof(values) / sizeof(values[0]))];
}

/* Changes some of @size bytes, or the size; returns it. */
static size_t mutate(union fuzzed *m, size_t size)
{
	uint32_t n = 1 + rnd(3), width;
	uint64_t value;
	size_t at;

	while (n--) {
		value = rnd(2) ? interesting() : (uint64_t)rnd(UINT32_MAX) << rnd(33);
		width = 1u << rnd(4);
		switch (rnd(6)) {
		case 0:
			size = rnd((uint32_t)size + 1);
			break;
		case 1:
			size = rnd(sizeof(*m) + 1);
			break;
		case 2:
			for (at = 0; at < size; at++)
				m->bytes[at] = (char)rnd(256);
			break;
		default:
			at = (rnd(64) * width) % (sizeof(*m) / 8);
			memcpy(m->bytes + at, &value, width);
			break;
		}
	}
	return size;
}

/*
 * What the owner has not installed is not to be called: that is the executor's end, which
 * has to trust its owner in this.
 */
static void keep_from_calling(union fuzzed *m, size_t size)
{
	size_t i;

	for (i = 0; sizeof(m->head) + (i + 1) * sizeof(struct remote_op) <= size; i++) {
		struct remote_op *op = (struct remote_op *)(m->bytes + sizeof(m->head)) + i;

		if (op->what == WXP_REMOTE_CALL && op->offset < BLOCK)
			op->offset = good_code;
	}
}

static size_t make_request(union fuzzed *m)
{
	uint32_t i, nr = 1 + rnd(8);
	size_t size = sizeof(m->head) + nr * sizeof(struct remote_op);

	memset(m, 0, sizeof(*m));
	m->head = (struct remote_request){ REMOTE_REQUEST, nr, rnd(1000) };
	for (i = 0; i < nr; i++) {
		struct remote_op *op = &m->request.ops[i];

		op->what = 1 + rnd(3);
		op->offset = op->what == WXP_REMOTE_CALL ? good_code : 2 * BLOCK + rnd(BLOCK - 100);
		op->size = op->what == WXP_REMOTE_CALL ? 0 : 1 + rnd(100);
		size += op->what == WXP_REMOTE_WRITE ? op->size : 0;
	}
	return size;
}

static void send_fuzzed(int socket, union fuzzed *m, size_t size, bool changed)
{
	int fds[3] = { context_fd, 0, 0 };

	if (changed)
		size = mutate(m, size);
	keep_from_calling(m, size);
	raw_send(socket, m, size, fds, rnd(12) ? 0 : 1 + rnd(3));
}

static unsigned int attached, served;

static void fuzz_one_executor(void)
{
	struct wxp_executor *e = NULL;
	static union fuzzed m;
	int p[2], err, n;
	size_t size;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p))
		_exit(2);
	m.hello = hello;
	size = rnd(4) ? sizeof(hello) : mutate(&m, sizeof(hello));
	raw_send(p[0], &m, size, &context_fd, rnd(50) ? 1 : 0);
	for (n = (int)rnd(5); n > 0; n--) {
		size = make_request(&m);
		send_fuzzed(p[0], &m, size, rnd(3));
	}
	shutdown(p[0], SHUT_WR);
	err = wxp_executor_attach(p[1], &e);
	CHILD_CHECK(!err || err == -EPROTO || err == -EPIPE);
	if (!err) {
		attached++;
		err = wxp_executor_serve(e);
		CHILD_CHECK(err == -EPROTO || err == -EPIPE);
		served += err == -EPIPE;
		wxp_executor_detach(e);
	} else {
		close(p[1]);
	}
	close(p[0]);
}

static void fuzz_executors(void)
{
	int i;

	seed = 1;
	attached = served = 0;
	for (i = 0; i < FUZZED; i++)
		fuzz_one_executor();
	/* It gets beyond the first checks, and has something to refuse. */
	CHILD_CHECK(attached > FUZZED / 3 && served > FUZZED / 20 && served < attached);
}

TEST(fuzzed_executors)
{
	struct wxp *w;

	open_context(&w);
	in_child(fuzz_executors);
	/* The context has what it had. */
	CHECK_EQ(stats_of(w, 0).pools, 1);
	CHECK_EQ(wxp_free(w, 1), 0);
	wxp_close(w);
}

static void queue_answers(int socket)
{
	static union fuzzed m;
	uint32_t i, n = rnd(4);

	memset(&m, 0, sizeof(m));
	m.welcome = (struct remote_welcome){ REMOTE_WELCOME, REMOTE_VERSION, 64 * BLOCK };
	send_fuzzed(socket, &m, sizeof(m.welcome), !rnd(4));
	for (i = 1; i <= n; i++) {
		memset(&m, 0, sizeof(m));
		m.answer = (struct remote_answer){ REMOTE_ANSWER, 1, i };
		send_fuzzed(socket, &m, sizeof(m.answer) + 8, rnd(2));
	}
	shutdown(socket, SHUT_WR);
}

static void fuzz_one_owner(struct wxp *w, const void *code)
{
	struct wxp_remote *r = NULL;
	int p[2], err, i;

	pair(p);
	queue_answers(p[1]);
	err = wxp_remote_connect(w, p[0], &r);
	CHECK(!err || err == -EPROTO || err == -EPIPE);
	if (err) {
		close(p[0]);
	} else {
		attached++;
		for (i = 0; i < 3 && !err; i++)
			err = wxp_remote_call(r, code, 1, NULL);
		CHECK(!err || err == -EPROTO || err == -EPIPE);
		served += i > 1;
		if (err)
			CHECK_EQ(wxp_remote_call(r, code, 1, NULL), -EPIPE);
		wxp_remote_close(r);
	}
	close(p[1]);
}

TEST(fuzzed_owners)
{
	size_t fds, maps;
	void *base;
	struct wxp *w;
	size_t size;
	int i;

	open_context(&w);
	wxp_get_window(w, &base, &size);
	fds = count_fds();
	maps = count_maps(is_device);
	alarm(PATIENCE);
	seed = 2;
	attached = served = 0;
	for (i = 0; i < FUZZED; i++)
		fuzz_one_owner(w, base);
	alarm(0);
	CHECK(attached > FUZZED / 3 && served > FUZZED / 20 && served < attached);
	CHECK_EQ(count_fds(), fds);
	CHECK_EQ(count_maps(is_device), maps);
	CHECK_EQ(stats_of(w, 0).pools, 1);
	CHECK_EQ(wxp_free(w, 1), 0);
	wxp_close(w);
}
