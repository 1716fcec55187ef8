// SPDX-License-Identifier: MIT
/*
 * Tries to change code that was made at run time, in every way that a process
 * has, and says which attempts came through. The same attempts are made on
 * code in three kinds of memory: anonymous memory and a memfd, both made
 * executable by mprotect() as JITs do, and /dev/wxpool.
 *
 * Exit status 0 if each attempt ended as it should: all refused on
 * /dev/wxpool, and on the others those done that they cannot prevent.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <wxpool.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define PAGE	4096
#define POOL	7

/* mov $42, %eax; ret - and the byte of it that an attacker would change */
static const unsigned char good[] = { 0xb8, 42, 0, 0, 0, 0xc3 };
#define AT	1
#define BAD	43

enum kind { ANON, MEMFD, WXPOOL, NR_KINDS };

static const char *const kind_names[] = { "anonymous", "memfd", "/dev/wxpool" };

struct victim {
	enum kind kind;
	unsigned char *code;
	unsigned char *written;	/* where the code was written */
	int fd;		/* MEMFD, WXPOOL: what the code is mapped from */
	off_t offset;
};

static struct wxp *wxp;
static sigjmp_buf jump;
static bool failed;

__attribute__((noreturn)) static void die(const char *what, int err)
{
	fprintf(stderr, "attack: %s: %s\n", what, strerror(err));
	exit(1);
}

static void on_signal(int sig)
{
	siglongjmp(jump, sig);
}

/* Returns 0 or the signal that stopped it. */
static int store(unsigned char *code)
{
	int sig = sigsetjmp(jump, 1);

	if (sig)
		return sig;
	*(volatile unsigned char *)(code + AT) = BAD;
	return 0;
}

static int call(const struct victim *v)
{
	return ((int (*)(void))(uintptr_t)v->code)();
}

/* ---- the three kinds of memory */

/* Where the kernel says that @addr is; its line goes to @line if not NULL. */
static off_t map_offset(const void *addr, char *line, size_t size)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long start, end, offset;
	char buf[512];

	if (!f)
		die("/proc/self/maps", errno);
	while (fgets(buf, sizeof(buf), f)) {
		if (sscanf(buf, "%lx-%lx %*s %lx", &start, &end, &offset) != 3)
			continue;
		if ((uintptr_t)addr < start || (uintptr_t)addr >= end)
			continue;
		fclose(f);
		if (line)
			snprintf(line, size, "%s", buf);
		return (off_t)(offset + ((uintptr_t)addr - start));
	}
	fclose(f);
	die("/proc/self/maps lacks the code", 0);
}

/* The library keeps the file to itself, which does not hide it. */
static int find_device(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *d;
	char to[64];
	int fd = -1;

	if (!dir)
		die("/proc/self/fd", errno);
	while (fd < 0 && (d = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), d->d_name, to, sizeof(to));

		if (n == 11 && !memcmp(to, "/dev/wxpool", 11))
			fd = atoi(d->d_name);
	}
	closedir(dir);
	if (fd < 0)
		die("no file of /dev/wxpool", ENOENT);
	return fd;
}

static void make_plain(struct victim *v)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;

	v->fd = -1;
	if (v->kind == MEMFD) {
		flags = MAP_SHARED;
		v->fd = memfd_create("code", MFD_CLOEXEC);
		if (v->fd < 0 || ftruncate(v->fd, PAGE))
			die("memfd", errno);
	}
	v->code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, flags, v->fd, 0);
	if (v->code == MAP_FAILED)
		die("mmap", errno);
	v->written = v->code;
	memcpy(v->code, good, sizeof(good));
	if (mprotect(v->code, PAGE, PROT_READ | PROT_EXEC))
		die("mprotect", errno);
}

static void make_sealed(struct victim *v)
{
	struct wxp_mem mem;
	int err;

	err = wxp_alloc(wxp, POOL, sizeof(good), 0, WXP_RX, &mem);
	if (!err) {
		memcpy(mem.write, good, sizeof(good));
		err = wxp_protect(wxp, POOL);
	}
	if (err) {
		fprintf(stderr, "attack: %s\n", wxp_strerror(err));
		exit(1);
	}
	v->code = mem.addr;
	v->written = mem.write;
	v->fd = find_device();
}

static void make(struct victim *v, enum kind kind)
{
	memset(v, 0, sizeof(*v));
	v->kind = kind;
	if (kind == WXPOOL)
		make_sealed(v);
	else
		make_plain(v);
	v->offset = map_offset(v->code, NULL, 0);
	if (call(v) != 42)
		die("the code does not work", 0);
}

static void unmake(struct victim *v)
{
	int err;

	if (v->kind == WXPOOL) {
		err = wxp_free(wxp, POOL);
		if (err)
			die("wxp_free", -err);
		return;
	}
	munmap(v->code, PAGE);
	if (v->fd >= 0)
		close(v->fd);
}

/* ---- the attempts: 0, a negative errno or the signal that ended it */

static unsigned char *page_of(const struct victim *v)
{
	return (unsigned char *)((uintptr_t)v->code & ~(uintptr_t)(PAGE - 1));
}

static int try_store(struct victim *v)
{
	return store(v->code);
}

/* On /dev/wxpool that is another view, which can be written as long as nothing is sealed. */
static int try_store_written(struct victim *v)
{
	return store(v->written);
}

static int try_mprotect_rw(struct victim *v)
{
	if (mprotect(page_of(v), PAGE, PROT_READ | PROT_WRITE))
		return -errno;
	return store(v->code);
}

static int try_mprotect_rwx(struct victim *v)
{
	if (mprotect(page_of(v), PAGE, PROT_READ | PROT_WRITE | PROT_EXEC))
		return -errno;
	return store(v->code);
}

static int try_proc_mem(struct victim *v)
{
	unsigned char bad = BAD;
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (pwrite(fd, &bad, 1, (off_t)(uintptr_t)(v->code + AT)) != 1)
		err = -errno;
	close(fd);
	return err;
}

static int try_vm_writev(struct victim *v)
{
	unsigned char bad = BAD;
	struct iovec from = { &bad, 1 }, to = { v->code + AT, 1 };

	return process_vm_writev(getpid(), &from, 1, &to, 1, 0) == 1 ? 0 :
								       -errno;
}

static int second_view(struct victim *v, int prot, int flags)
{
	unsigned char *view;
	off_t start = v->offset & ~(off_t)(PAGE - 1);
	int res;

	if (v->fd < 0)
		return -EBADF;	/* anonymous memory has no file */
	view = mmap(NULL, PAGE, prot, flags, v->fd, start);
	if (view == MAP_FAILED)
		return -errno;
	res = store(view + (v->offset - start));
	munmap(view, PAGE);
	return res;
}

static int try_view_rw(struct victim *v)
{
	return second_view(v, PROT_READ | PROT_WRITE, MAP_SHARED);
}

static int try_view_rwx(struct victim *v)
{
	return second_view(v, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED);
}

/* With an old size of 0, mremap() makes another view of a shared mapping. */
static int try_mremap(struct victim *v)
{
	unsigned char *view = mremap(page_of(v), 0, PAGE, MREMAP_MAYMOVE);
	int res;

	if (view == MAP_FAILED)
		return -errno;
	if (mprotect(view, PAGE, PROT_READ | PROT_WRITE))
		res = -errno;
	else
		res = store(view + (v->code - page_of(v)));
	munmap(view, PAGE);
	return res;
}

static int try_pwrite(struct victim *v)
{
	unsigned char bad = BAD;

	return pwrite(v->fd, &bad, 1, v->offset + AT) == 1 ? 0 : -errno;
}

enum outcome { REFUSED, DONE, EITHER };

/* EITHER: newer kernels can be configured to refuse this. */
static const struct {
	const char *what;
	int (*fn)(struct victim *v);
	enum outcome outcome[NR_KINDS];
} attempts[] = {
	{ "a store into the code", try_store,
	  { REFUSED, REFUSED, REFUSED } },
	{ "a store where it was written", try_store_written,
	  { REFUSED, REFUSED, REFUSED } },
	{ "mprotect() to RW, a store", try_mprotect_rw,
	  { DONE, DONE, REFUSED } },
	{ "mprotect() to RWX, a store", try_mprotect_rwx,
	  { DONE, DONE, REFUSED } },
	{ "a write to /proc/self/mem", try_proc_mem,
	  { EITHER, REFUSED, REFUSED } },
	{ "process_vm_writev()", try_vm_writev,
	  { REFUSED, REFUSED, REFUSED } },
	{ "a new RW view, a store", try_view_rw,
	  { REFUSED, DONE, REFUSED } },
	{ "a new RWX view, a store", try_view_rwx,
	  { REFUSED, DONE, REFUSED } },
	{ "mremap() to a view, to RW", try_mremap,
	  { REFUSED, DONE, REFUSED } },
	{ "pwrite() to the file", try_pwrite,
	  { REFUSED, DONE, REFUSED } },
};

static const char *result_name(int res)
{
	if (res < 0)
		return strerrorname_np(-res);
	return res == SIGSEGV ? "SIGSEGV" : res == SIGBUS ? "SIGBUS" : "signal";
}

/* Each attempt finds fresh code, so that none depends on another. */
static void attempt(size_t i, enum kind kind)
{
	enum outcome want = attempts[i].outcome[kind];
	struct victim v;
	char cell[32];
	bool changed;
	int res;

	make(&v, kind);
	res = attempts[i].fn(&v);
	/* Attempts may leave the code writable; it must run to be judged. */
	if (kind != WXPOOL)
		mprotect(v.code, PAGE, PROT_READ | PROT_EXEC);
	changed = call(&v) == BAD;
	unmake(&v);

	if (changed)
		snprintf(cell, sizeof(cell), "CHANGED");
	else if (res == -EBADF)
		snprintf(cell, sizeof(cell), "no: no file");
	else if (res)
		snprintf(cell, sizeof(cell), "no: %s", result_name(res));
	else
		snprintf(cell, sizeof(cell), "no effect");
	if (changed ? want == REFUSED : want == DONE) {
		strcat(cell, " (!)");
		failed = true;
	}
	printf("  %-14s", cell);
}

static void show_maps(void)
{
	struct victim v;
	char line[512];

	printf("The mapping of the code, from /proc/self/maps:\n");
	for (int k = 0; k < NR_KINDS; k++) {
		make(&v, (enum kind)k);
		map_offset(v.code, line, sizeof(line));
		printf("  %-12s %s", kind_names[k], line);
		if (k == ANON)
			mprotect(v.code, PAGE, PROT_READ | PROT_EXEC);
		unmake(&v);
	}
}

static void show_attempts(void)
{
	printf("\n%-30s", "Attempts to change it:");
	for (int k = 0; k < NR_KINDS; k++)
		printf("  %-14s", kind_names[k]);
	putchar('\n');
	for (size_t i = 0; i < ARRAY_SIZE(attempts); i++) {
		printf("  %-28s", attempts[i].what);
		for (int k = 0; k < NR_KINDS; k++)
			attempt(i, (enum kind)k);
		putchar('\n');
	}
}

/* ---- what the kernel counts */

static void read_counts(char *buf, size_t size)
{
	char path[64], line[256];
	size_t len = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", find_device());
	f = fopen(path, "r");
	if (!f)
		die(path, errno);
	buf[0] = '\0';
	while (fgets(line, sizeof(line), f)) {
		/* The first lines are those of every file. */
		if (!strncmp(line, "pos:", 4) || !strncmp(line, "flags:", 6) ||
		    !strncmp(line, "mnt_id:", 7) || !strncmp(line, "ino:", 4))
			continue;
		len += (size_t)snprintf(buf + len, size - len, "    %s", line);
		if (len >= size)
			die("fdinfo is too long", EOVERFLOW);
	}
	fclose(f);
	f = fopen("/sys/module/wxpool/refcnt", "r");
	if (f && fgets(line, sizeof(line), f))
		snprintf(buf + len, size - len, "    module references: %s",
			 line);
	if (f)
		fclose(f);
}

static void show_counts(void)
{
	char before[2048], with[2048], after[2048];
	struct victim v;

	read_counts(before, sizeof(before));
	make(&v, WXPOOL);
	read_counts(with, sizeof(with));
	unmake(&v);
	read_counts(after, sizeof(after));

	printf("\nThe kernel's counts, from fdinfo, with one sealed pool:\n%s", with);
	printf("and when it is freed:\n%s", after);
	if (!strcmp(before, with) || strcmp(before, after)) {
		printf("(!) they did not return to what they were\n");
		failed = true;
	}
}

int main(void)
{
	struct wxp_options opts = {
		.size = sizeof(opts),
		.backend = WXP_BACKEND_KERNEL,
	};
	struct sigaction sa = { .sa_handler = on_signal };
	int err = wxp_open(&wxp, &opts);

	if (err) {
		fprintf(stderr, "attack: %s\n", wxp_strerror(err));
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	show_maps();
	show_attempts();
	show_counts();
	wxp_close(wxp);
	puts(failed ? "\nNot as promised: see (!)" : "\nAll as promised.");
	return failed;
}
