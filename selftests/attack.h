/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The attack book: each attack is tried on code in three kinds of memory, two
 * of which give way. Documentation/attacks.md has a row for each ATTACK(), with
 * the outcomes that are written here.
 *
 * A victim is two pages of a JIT. The first holds a function that returns GOOD,
 * and is published; the second is still being written. The attacker has a
 * function that returns EVIL.
 */
#ifndef ATTACK_H
#define ATTACK_H

#include <pthread.h>

#include "wxpool_util.h"

#define GOOD	0x600du
#define EVIL	0xe411u

#define POOL	1

enum victim_kind {
	WXPOOL,		/* ALLOC, a W view, PROTECT to X, an X view beside it */
	MPROTECT,	/* anonymous memory: mprotect() to RW, then to RX */
	MEMFD,		/* a memfd, mapped RW and RX */
	NR_VICTIMS
};

/**
 * struct victim - code to attack
 * @fd: what the code is mapped from; anonymous memory has none
 * @code: where it runs
 * @w: where it was written, and where that mapping stays
 * @published: can it run?
 * @freed: the JIT has given it back
 * @missing: set by an attack that cannot be tried: what the machine lacks
 * @was: the published page
 */
struct victim {
	enum victim_kind kind;
	int fd;
	char *code;
	char *w;
	bool published;
	bool freed;
	const char *missing;
	char *was;
};

/* How an attack ended: a negative errno, a signal (less than 100), or this */
enum outcome {
	HARMLESS = 0,	/* nothing refused it, and the code is what it was */
	DONE = 100,	/* the code has changed, or runs what it should not */
	REFUSED,	/* any errno: they differ between kernels */
	NONE,		/* means nothing for this kind of memory: not tried */
	MISSING,	/* cannot be tried here: see victim.missing */
	BROKEN,		/* neither the code nor the attacker's is there */
};

typedef int (*attack_fn)(struct victim *v);

/* --------------------------------------------------------------- victims */

static inline int victim_open_wxpool(struct victim *v)
{
	int ret;

	v->fd = wx_open();
	if (v->fd < 0)
		return v->fd;
	ret = wx_alloc(v->fd, POOL, 0, 2);
	if (ret)
		return ret;
	v->w = wx_view(v->fd, RW, 0, 2);
	v->code = wx_view(v->fd, RX, 0, 2);
	return 0;
}

static inline int victim_open_memfd(struct victim *v)
{
	v->fd = memfd_create("code", MFD_CLOEXEC);
	if (v->fd < 0 || ftruncate(v->fd, (off_t)PG(2)))
		return -errno;
	v->w = wx_view(v->fd, RW, 0, 2);
	v->code = wx_view(v->fd, RX, 0, 2);
	return 0;
}

static inline char *plain_pages(size_t nr, int prot)
{
	return mmap(NULL, PG(nr), prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* Memory that can be written, with the code in it: 0 or a negative errno */
static inline int victim_open(struct victim *v, enum victim_kind kind)
{
	int ret = 0;

	memset(v, 0, sizeof(*v));
	v->kind = kind;
	v->fd = -1;
	if (kind == WXPOOL)
		ret = victim_open_wxpool(v);
	else if (kind == MEMFD)
		ret = victim_open_memfd(v);
	else
		v->w = v->code = plain_pages(2, RW);
	v->was = plain_pages(1, RW);
	if (ret)
		return ret;
	if (v->w == MAP_FAILED || v->code == MAP_FAILED || v->was == MAP_FAILED)
		return -ENOMEM;
	wx_emit(v->w, GOOD);
	return 0;
}

/* Of a memfd nothing is left to do. */
static inline int victim_publish(struct victim *v)
{
	int ret = 0;

	if (v->kind == WXPOOL)
		ret = wx_protect(v->fd, POOL, 0, 1, WXPOOL_PROT_X);
	else if (v->kind == MPROTECT)
		ret = wx_mprotect(v->code, 1, RX);
	if (ret)
		return ret;
	v->published = true;
	memcpy(v->was, v->code, PG(1));
	return 0;
}

static inline int victim_new(struct victim *v, enum victim_kind kind)
{
	int ret = victim_open(v, kind);

	return ret ? ret : victim_publish(v);
}

/* Gives the memory back as the JIT does: a memfd's pages it keeps for reuse. */
static inline int victim_free(struct victim *v)
{
	v->freed = true;
	if (v->kind == WXPOOL)
		return wx_free(v->fd, POOL);
	if (v->kind == MPROTECT)
		return munmap(v->code, PG(1)) ? -errno : 0;
	return 0;
}

/* ------------------------------------------------- what attackers have to do */

/* Stores the attacker's function: 0 or the signal that it raised */
static inline int overwrite(void *p)
{
	return WX_CATCH(wx_emit(p, EVIL));
}

/* Calls it: DONE if it is the attacker's, else HARMLESS or a signal */
static inline int run(const void *p)
{
	uint32_t val;
	int sig = try_exec(p, &val);

	return sig ? sig : val == EVIL ? DONE : HARMLESS;
}

static inline int overwrite_and_run(void *p)
{
	int sig = overwrite(p);

	return sig ? sig : run(p);
}

/* A page with the attacker's function in it */
static inline char *evil_page(void)
{
	char *p = plain_pages(1, RW);

	wx_emit(p, EVIL);
	return p;
}

/* A file of one such page */
static inline int evil_file(void)
{
	int fd = memfd_create("evil", MFD_CLOEXEC);

	if (fd >= 0 && write(fd, evil_page(), PG(1)) != (ssize_t)PG(1))
		return -1;
	return fd;
}

static inline int missing(struct victim *v, const char *what)
{
	v->missing = what;
	return MISSING;
}

/* ------------------------------------------------------- other processes */

/* A child that attacks when it is told to, and says how that ended */
struct attacker {
	struct child child;
	int out[2];
};

static inline int attacker_fork(struct attacker *a, struct victim *v,
				attack_fn fn)
{
	int ret;

	if (pipe(a->out) || FORK(&a->child) < 0)
		return -errno;
	if (a->child.pid)
		return 0;
	CHILD_CHECK(!wx_wait_step(a->child.go[0]));
	ret = fn(v);
	CHILD_CHECK(write(a->out[1], &ret, sizeof(ret)) == sizeof(ret));
	_exit(0);
}

/* Lets it attack: what that returned, or BROKEN if it did not */
static inline int attacker_run(struct attacker *a)
{
	int ret = BROKEN;

	close(a->out[1]);
	wx_step(a->child.go[1]);
	if (read(a->out[0], &ret, sizeof(ret)) != sizeof(ret))
		ret = BROKEN;
	wx_wait(a->child.pid);
	return ret;
}

static inline int in_child(struct victim *v, attack_fn fn)
{
	struct attacker a;
	int ret = attacker_fork(&a, v, fn);

	return ret ? ret : attacker_run(&a);
}

/* --------------------------------------------------------------- verdict */

/* Bytes that changed are looked at before they are run: they may be anything. */
static inline int victim_look(const struct victim *v)
{
	int differs = 0, sig;

	sig = WX_CATCH(differs = memcmp(v->code, v->was, PG(1)));
	if (sig)
		return BROKEN;
	if (differs)
		return DONE;
	sig = run(v->code);
	return sig == HARMLESS || sig == DONE ? sig : BROKEN;
}

/* What became of the code; if nothing did, then what stopped the attack */
static inline int verdict(struct victim *v, int ret)
{
	int now;

	if (ret >= DONE || v->freed)
		return ret;
	/* A seal that a pin refused; the kernel may drop it a little later. */
	while (!v->published && (now = victim_publish(v)))
		if (now != -EBUSY)
			return BROKEN;
	now = victim_look(v);
	return now == HARMLESS ? ret : now;
}

static inline const char *outcome_name(int ret)
{
	static const char *const names[] = {
		"done", "refused", "none", "missing", "broken",
	};

	if (ret < 0)
		return strerrorname_np(-ret);
	if (ret >= DONE)
		return names[ret - DONE];
	return ret ? sigabbrev_np(ret) : "harmless";
}

/* One attack on one victim. Returns what is missing to try it, or NULL. */
static inline const char *attack_one(struct __test_metadata *_metadata,
				     attack_fn fn, enum victim_kind kind,
				     int want, bool published)
{
	static const char *const names[] = { "wxpool", "mprotect", "memfd" };
	struct victim v;
	int got;

	ASSERT_EQ(0, victim_open(&v, kind));
	if (published) {
		ASSERT_EQ(0, victim_publish(&v));
		ASSERT_EQ(HARMLESS, victim_look(&v));
	}
	got = verdict(&v, fn(&v));
	if (got == MISSING)
		return v.missing;
	EXPECT_TRUE(got == want || (want == REFUSED && got < 0)) {
		TH_LOG("%s: %s, and not %s", names[kind], outcome_name(got),
		       outcome_name(want));
	}
	return NULL;
}

static inline const char *attack_all(struct __test_metadata *_metadata,
				     attack_fn fn, const int *want,
				     bool published)
{
	const char *lack, *lacks = NULL;
	int kind;

	if (access(WX_DEV, F_OK))
		return "no " WX_DEV ": modprobe wxpool first";
	for (kind = 0; kind < NR_VICTIMS; kind++) {
		if (want[kind] == NONE)
			continue;
		lack = attack_one(_metadata, fn, kind, want[kind], published);
		if (lack)
			lacks = lack;
	}
	/* A failure counts, whatever else could not be tried. */
	return __test_passed(_metadata) ? lacks : NULL;
}

#define __ATTACK(name, published, ...)					\
	static int attack_##name(struct victim *v);			\
									\
	TEST(name)							\
	{								\
		static const int want[NR_VICTIMS] = { __VA_ARGS__ };	\
		const char *lacks = attack_all(_metadata,		\
					       attack_##name, want,	\
					       published);		\
									\
		if (lacks)						\
			SKIP(return, "%s", lacks);			\
	}								\
									\
	static int attack_##name(struct victim *v)

/* ATTACK(name, outcome on wxpool, with mprotect(), with a memfd) on code */
#define ATTACK(name, ...)	__ATTACK(name, true, __VA_ARGS__)

/* ... that is not published yet */
#define ATTACK_OPEN(name, ...)	__ATTACK(name, false, __VA_ARGS__)

#endif /* ATTACK_H */
