// SPDX-License-Identifier: GPL-2.0
/*
 * The attack book, memory: advice, userfaultfd, protection keys, and using up
 * what there is.
 */
#include "attack.h"

#ifndef __NR_process_madvise
#define __NR_process_madvise	440
#endif

/* --------------------------------------------------------------- madvise() */

/* Does any advice change bytes, or take them away? */
static int look_after_advice(const struct victim *v)
{
	int sig, differs = 0;

	sig = WX_CATCH(differs = memcmp(v->code, v->was, PG(1)));
	return sig || differs ? DONE : HARMLESS;
}

/*
 * In both mappings; up to 25 there are gaps, which are errors. What poisons memory
 * is left out: only an administrator may give it.
 */
ATTACK(madvise_all, HARMLESS, DONE, DONE)
{
	int advice, ret;

	for (advice = 0; advice <= 25; advice++) {
		madvise(v->code, PG(1), advice);
		madvise(v->w, PG(1), advice);
		ret = look_after_advice(v);
		if (ret)
			return ret;
	}
	return HARMLESS;
}

/* A guard page, and gone again: anonymous memory has lost its page by then. */
ATTACK(madvise_guard, HARMLESS, DONE, HARMLESS)
{
	if (madvise(v->code, PG(1), MADV_GUARD_INSTALL)) {
		if (v->kind == MPROTECT)
			return missing(v, "no MADV_GUARD_INSTALL");
		return HARMLESS;
	}
	if (madvise(v->code, PG(1), MADV_GUARD_REMOVE))
		return -errno;
	return look_after_advice(v);
}

/* Advice for a process, which since 6.13 may be all that one gives oneself */
ATTACK(process_madvise_all, HARMLESS, DONE, DONE)
{
	int pidfd = syscall(__NR_pidfd_open, getpid(), 0), advice, ret;
	struct iovec iov = { v->code, PG(1) };

	for (advice = 0; advice <= 25; advice++) {
		syscall(__NR_process_madvise, pidfd, &iov, 1UL, advice, 0);
		ret = look_after_advice(v);
		if (ret)
			return ret;
	}
	if (v->kind != WXPOOL)
		return missing(v, "process_madvise() takes no destructive advice here");
	return HARMLESS;
}

/* ------------------------------------------------------------- userfaultfd */

#ifndef UFFDIO_MOVE
struct uffdio_move {
	uint64_t dst, src, len, mode;
	int64_t move;
};

#define UFFDIO_MOVE		_IOWR(UFFDIO, 0x05, struct uffdio_move)
#define UFFD_FEATURE_MOVE	(1 << 16)
#endif

/* Has the kernel ask the attacker for pages of the code. */
static int uffd_on_code(struct victim *v, uint64_t features, uint64_t mode)
{
	int uffd = uffd_open(UFFD_USER_MODE_ONLY, features), ret;

	if (uffd < 0) {
		missing(v, features ? "no such feature of userfaultfd" : "no userfaultfd");
		return uffd;
	}
	ret = uffd_register(uffd, v->code, 1, mode);
	return ret ? ret : uffd;
}

/* Drops the page that is there, where that can be done. */
static void drop_code(struct victim *v)
{
	if (v->kind == MPROTECT)
		madvise(v->code, PG(1), MADV_DONTNEED);
	else if (fallocate(v->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			   (off_t)PG(1)))
		perror("# fallocate");
}

ATTACK(uffd_copy_page, -EINVAL, DONE, DONE)
{
	int uffd = uffd_on_code(v, 0, UFFDIO_REGISTER_MODE_MISSING);

	if (uffd < 0)
		return v->missing ? MISSING : uffd;
	drop_code(v);
	return uffd_copy(uffd, v->code, evil_page());
}

ATTACK(uffd_zero_page, -EINVAL, DONE, DONE)
{
	int uffd = uffd_on_code(v, 0, UFFDIO_REGISTER_MODE_MISSING);
	struct uffdio_zeropage zero = {
		.range = { .start = (uintptr_t)v->code, .len = PG(1) },
	};

	if (uffd < 0)
		return v->missing ? MISSING : uffd;
	drop_code(v);
	return ioctl(uffd, UFFDIO_ZEROPAGE, &zero) ? -errno : 0;
}

/* Maps what the file holds, which the attacker has changed meanwhile. */
ATTACK(uffd_continue, -EINVAL, NONE, DONE)
{
	int uffd = uffd_on_code(v, UFFD_FEATURE_MINOR_SHMEM, UFFDIO_REGISTER_MODE_MINOR);
	struct uffdio_continue cont = {
		.range = { .start = (uintptr_t)v->code, .len = PG(1) },
	};

	if (uffd < 0)
		return v->missing ? MISSING : uffd;
	madvise(v->code, PG(1), MADV_DONTNEED);
	overwrite(v->w);
	return ioctl(uffd, UFFDIO_CONTINUE, &cont) ? -errno : 0;
}

/* Taking write protection away gives nobody the right to write. */
ATTACK(uffd_writeprotect, REFUSED, SIGSEGV, NONE)
{
	int uffd = uffd_on_code(v, UFFD_FEATURE_PAGEFAULT_FLAG_WP,
				UFFDIO_REGISTER_MODE_WP);
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)v->code, .len = PG(1) },
	};

	if (uffd < 0)
		return v->missing ? MISSING : uffd;
	if (ioctl(uffd, UFFDIO_WRITEPROTECT, &wp))
		return -errno;
	return overwrite(v->code);
}

/* ... nor does it in the mapping that the code was written by, if it is let in. */
ATTACK(uffd_writeprotect_alias, -EINVAL, NONE, DONE)
{
	int uffd = uffd_open(UFFD_USER_MODE_ONLY, UFFD_FEATURE_WP_ASYNC);
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)v->w, .len = PG(1) },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};

	if (uffd < 0)
		return missing(v, "no asynchronous write protection by userfaultfd");
	if (uffd_register(uffd, v->w, 1, UFFDIO_REGISTER_MODE_WP) ||
	    ioctl(uffd, UFFDIO_WRITEPROTECT, &wp))
		return -errno;
	wp.mode = 0;
	if (ioctl(uffd, UFFDIO_WRITEPROTECT, &wp))
		return -errno;
	return overwrite(v->w);
}

/* Moves a page to where the code is still written: for anonymous memory only. */
ATTACK_OPEN(uffd_move_page, -EINVAL, DONE, -EINVAL)
{
	int uffd = uffd_open(UFFD_USER_MODE_ONLY, UFFD_FEATURE_MOVE), ret;
	struct uffdio_move move = {
		.dst = (uintptr_t)v->w, .src = (uintptr_t)evil_page(), .len = PG(1),
	};

	if (uffd < 0)
		return missing(v, "no UFFDIO_MOVE");
	ret = uffd_register(uffd, v->w, 1, UFFDIO_REGISTER_MODE_MISSING);
	if (ret)
		return ret;
	if (v->kind == MPROTECT)
		drop_code(v);
	ret = ioctl(uffd, UFFDIO_MOVE, &move) ? -errno : 0;
	return ret ? ret : victim_publish(v);
}

/* --------------------------------------------------- before it is published */

/* Not prevented by wxpool: what is written before the seal is what is run. */
ATTACK_OPEN(staging_race, DONE, DONE, DONE)
{
	int sig = overwrite(v->w);

	return sig ? sig : victim_publish(v);
}

/* ... and so is what an INSTALL finds in its source when it copies. */
static void *give_evil(void *arg)
{
	int *uffd = arg;
	char *page = uffd_wait(*uffd);

	if (page)
		uffd_copy(*uffd, page, evil_page());
	return NULL;
}

ATTACK_OPEN(staging_race_install, DONE, DONE, DONE)
{
	char *src = plain_pages(1, RW), *x = v->code;
	int uffd = uffd_open(0, 0), ret;
	pthread_t t;

	if (uffd < 0)
		return missing(v, "no userfaultfd for faults of the kernel");
	ret = uffd_register(uffd, src, 1, UFFDIO_REGISTER_MODE_MISSING);
	if (ret)
		return ret;
	/* The JIT's code is there only when somebody asks for it. */
	pthread_create(&t, NULL, give_evil, &uffd);
	if (v->kind == WXPOOL) {
		x = wx_view(v->fd, RX, 4, 1);
		ret = wx_install(v->fd, POOL, PG(4), src, LINE, WXPOOL_PROT_X);
	} else {
		memcpy(v->w, src, LINE);
		__builtin___clear_cache(v->code, v->code + LINE);
		ret = victim_publish(v);
	}
	pthread_join(t, NULL);
	return ret ? ret : run(x);
}

/* A source that is never given holds up nobody but its own INSTALL. */
static void *install_slowly(void *arg)
{
	struct victim *v = arg;
	int ret = wx_install(v->fd, POOL, PG(4), v->was, LINE, WXPOOL_PROT_X);

	return (void *)(long)ret;
}

ATTACK_OPEN(install_source_stalls, HARMLESS, NONE, NONE)
{
	int uffd = uffd_open(0, 0), ret;
	struct victim slow = *v;
	pthread_t t;
	void *late;

	if (uffd < 0)
		return missing(v, "no userfaultfd for faults of the kernel");
	slow.was = plain_pages(1, RW);
	ret = uffd_register(uffd, slow.was, 1, UFFDIO_REGISTER_MODE_MISSING);
	if (ret)
		return ret;
	pthread_create(&t, NULL, install_slowly, &slow);
	if (!uffd_wait(uffd))
		return BROKEN;
	ret = victim_publish(v);
	uffd_copy(uffd, slow.was, evil_page());
	pthread_join(t, &late);
	return ret ? ret : (int)(long)late;
}

/* A thread that stores, started without the right of a protection key */
struct storer {
	char *to;
	int sig;
};

static void *store(void *arg)
{
	struct storer *s = arg;

	s->sig = overwrite(s->to);
	return NULL;
}

/*
 * What the library's WXP_PKEY does: only the thread that writes has the right to.
 */
static int store_without_key(struct victim *v)
{
	int key = pkey_alloc(0, PKEY_DISABLE_WRITE);
	struct storer s = { .to = v->w };
	pthread_t t;
	int ret;

	if (key < 0)
		return missing(v, "no protection keys");
	if (pkey_mprotect(v->w, PG(1), RW, key))
		return -errno;
	pthread_create(&t, NULL, store, &s);
	pthread_join(t, NULL);
	/* The writing thread itself can. */
	pkey_set(key, 0);
	ret = WX_CATCH(wx_emit(v->w, GOOD));
	pkey_mprotect(v->w, PG(1), RW, 0);
	pkey_free(key);
	return ret ? BROKEN : s.sig;
}

ATTACK_OPEN(staging_race_pkey, SIGSEGV, SIGSEGV, SIGSEGV)
{
	return store_without_key(v);
}

/* Not prevented by wxpool: a system call takes the key away. */
ATTACK_OPEN(staging_race_pkey_removed, DONE, DONE, DONE)
{
	int key = pkey_alloc(0, PKEY_DISABLE_WRITE);

	if (key < 0)
		return missing(v, "no protection keys");
	if (pkey_mprotect(v->w, PG(1), RW, key) || pkey_mprotect(v->w, PG(1), RW, 0))
		return -errno;
	return attack_staging_race(v);
}

/* ------------------------------------------------------ using everything up */

#define LIMIT	64	/* pages */

static int take_pages(struct victim *v, size_t nr)
{
	char *p;
	int fd;

	if (v->kind == WXPOOL) {
		fd = wx_open();
		return fd < 0 ? fd : wx_alloc(fd, POOL, 0, nr);
	}
	if (v->kind == MPROTECT) {
		p = plain_pages(nr, RW);
	} else {
		fd = memfd_create("hoard", MFD_CLOEXEC);
		if (ftruncate(fd, (off_t)PG(nr)))
			return -errno;
		p = wx_view(fd, RW, 0, nr);
	}
	if (p == MAP_FAILED)
		return -errno;
	memset(p, 1, PG(nr));
	return 0;
}

static int take_from_all_sides(struct victim *v)
{
	int i, ret = 0;

	for (i = 0; i < 4 && !ret; i++)
		ret = take_pages(v, LIMIT / 2);
	return ret ? ret : DONE;
}

/* Has a child take what it can get, as a user who may have LIMIT pages */
static int take_as_user(struct victim *v, attack_fn fn)
{
	const char *param = WX_PARAM_DIR "max_bytes_per_user";
	long old = wx_read_long(param);
	char text[32];
	int ret;

	snprintf(text, sizeof(text), "%zu", PG(LIMIT));
	if (wx_write_file(param, text))
		return missing(v, "the limit cannot be set");
	ret = in_child(v, fn);
	snprintf(text, sizeof(text), "%ld", old);
	wx_write_file(param, text);
	return ret;
}

/* By several opens and processes, more memory than a user is to have */
ATTACK(exhaust_memory, -ENOSPC, DONE, DONE)
{
	return take_as_user(v, take_from_all_sides);
}

/* ... where the pages are few, and what the kernel has to know of them is much */
static int take_by_pools(struct victim *v)
{
	int fd = wx_open(), ret = 0;
	uint32_t i;

	for (i = 0; i < LIMIT / 4 * 3 * PAGE_LINES && !ret; i++)
		ret = wx_install_code(fd, 1 + i, (uint64_t)i * LINE, EVIL);
	return ret ? ret : DONE;
}

ATTACK(exhaust_kernel_memory, -ENOSPC, NONE, NONE)
{
	return take_as_user(v, take_by_pools);
}

/* Functions as a JIT publishes them, one at a time, none beside another */
static int publish_many(struct victim *v, size_t nr)
{
	char *p = plain_pages(2 * nr, PROT_NONE);
	size_t i;
	int ret = 0;

	for (i = 0; i < nr && !ret; i++) {
		if (v->kind == WXPOOL)
			ret = wx_install_code(v->fd, 100 + i, PG(8) + 2 * i * LINE, GOOD);
		else if (v->kind == MPROTECT)
			ret = mprotect(p + PG(2 * i), PG(1), RX) ? -errno : 0;
		else
			ret = wx_view_at(v->fd, RX, 0, 1, p + PG(2 * i));
	}
	return ret;
}

/* How many a process can have: pools and lines need no mapping of their own. */
ATTACK(exhaust_mappings, HARMLESS, DONE, DONE)
{
	const char *max = "/proc/sys/vm/max_map_count";
	long old = wx_read_long(max);
	char text[32];
	int ret;

	snprintf(text, sizeof(text), "%d", wx_count_vmas(NULL, (void *)-1L) + 100);
	if (old < 0 || wx_write_file(max, text))
		return missing(v, "vm.max_map_count cannot be set");
	ret = publish_many(v, 1000);
	snprintf(text, sizeof(text), "%ld", old);
	wx_write_file(max, text);
	return ret == -ENOMEM && v->kind != WXPOOL ? DONE : ret;
}

/* All numbers of pools are one context's: another has its own. */
ATTACK(exhaust_ids, HARMLESS, NONE, NONE)
{
	struct victim other;
	unsigned int i;
	int ret = 0;

	for (i = 2; i < 10000 && !ret; i++)
		ret = wx_install_code(v->fd, i * 429496, PG(8) + (uint64_t)i * LINE, EVIL);
	return ret ? ret : victim_new(&other, WXPOOL);
}

TEST_HARNESS_MAIN
