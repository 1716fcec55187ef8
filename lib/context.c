// SPDX-License-Identifier: MIT
/*
 * Contexts: opening, closing, and what becomes of them at a fork.
 *
 * fork() takes all locks, so that the child's tables are whole. The child then has no
 * window of its own: what it inherited can be run and be freed, and the first call that
 * makes code opens one (context_enter_new()).
 *
 * A page that the kernel wipes in every child tells a process that was made in another way,
 * in which locks may be held for ever, from one that fork() made, in which fork_child() has
 * written a new generation there. Its own children are like it.
 *
 * The handlers are there before the program's own, unless it has any before the library is
 * loaded: so these can make calls.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"
#include "pkey.h"

#define ALL_FLAGS	(WXP_HUGE | WXP_ONE_ADDRESS | WXP_IF_POSSIBLE | HARDENED)

#define DEFAULT_SHARE	25
#define MAX_SHARES	90		/* percent, of constants and variables */

static pthread_mutex_t contexts_lock = PTHREAD_MUTEX_INITIALIZER;
static struct wxp *contexts;
static volatile uint32_t *generation;
static uint32_t last_generation = 1;
static int fork_err = -ENOMEM;		/* of the handlers */

/* Before any lock: was this process made in another way than by fork()? */
static bool is_cloned(void)
{
	volatile uint32_t *g = __atomic_load_n(&generation, __ATOMIC_ACQUIRE);

	return g && !*g;
}

/* Of this process, known since it began to fork */
static bool fork_cloned;

static void fork_prepare(void)
{
	struct wxp *x;

	fork_cloned = is_cloned();
	if (fork_cloned)
		return;
	pthread_mutex_lock(&contexts_lock);
	for (x = contexts; x; x = x->next)
		pthread_mutex_lock(&x->lock);
}

static void fork_parent(void)
{
	struct wxp *x;

	if (fork_cloned)
		return;
	for (x = contexts; x; x = x->next) {
		pools_forked(x->window);
		pthread_mutex_unlock(&x->lock);
	}
	pthread_mutex_unlock(&contexts_lock);
}

static void fork_child(void)
{
	struct wxp *x;

	if (fork_cloned)
		return;
	if (generation)
		*generation = ++last_generation;
	for (x = contexts; x; x = x->next) {
		if (!x->window->inherited)
			window_disown(x->window);
		ops_forget(x);
		pthread_mutex_unlock(&x->lock);
	}
	pthread_mutex_unlock(&contexts_lock);
}

__attribute__((constructor(101))) static void fork_init(void)
{
	fork_err = -pthread_atfork(fork_prepare, fork_parent, fork_child);
}

/* Once in a process; with contexts_lock */
static int generation_open(void)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	void *p;

	if (generation || fork_err)
		return fork_err;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	if (madvise(p, size, MADV_WIPEONFORK)) {
		munmap(p, size);
		return -ENOSYS;
	}
	*(uint32_t *)p = last_generation;
	__atomic_store_n(&generation, p, __ATOMIC_RELEASE);
	return 0;
}

/* Takes the lock, but not in a process in which that may be held for ever. */
int context_enter(struct wxp *x)
{
	if (unlikely(!x))
		return -EINVAL;
	if (unlikely(!*generation))
		return -EXDEV;
	pthread_mutex_lock(&x->lock);
	return 0;
}

/* The same for calls that make code, for which a child needs a window of its own */
int context_enter_new(struct wxp *x)
{
	int err = context_enter(x);
	struct window *w;

	if (unlikely(err))
		return err;
	if (likely(!x->frozen && !x->window->inherited))
		return 0;
	err = x->frozen ? -EROFS : window_open(x, &w);
	if (err) {
		context_leave(x);
		return err;
	}
	w->older = x->window;
	x->window = w;
	return 0;
}

static const char *const names[] = {
	[WXP_BACKEND_AUTO] = "auto",
	[WXP_BACKEND_KERNEL] = "kernel",
	[WXP_BACKEND_PORTABLE] = "portable",
	[WXP_BACKEND_FAST] = "fast",
};

/* The environment must not weaken a set-uid program. */
static int ask_environment(enum wxp_backend *backend)
{
	const char *name = secure_getenv("WXPOOL_BACKEND");
	unsigned int i;

	if (*backend != WXP_BACKEND_AUTO || !name || !*name)
		return 0;
	for (i = WXP_BACKEND_AUTO; i <= WXP_BACKEND_FAST; i++) {
		if (!strcmp(name, names[i])) {
			*backend = i;
			return 0;
		}
	}
	return -EINVAL;
}

static bool is_window(size_t size)
{
	return !size || (size >= MIN_WINDOW && size <= MAX_WINDOW && !(size % BLOCK));
}

static int check_options(const struct wxp_options *o)
{
	if (o->size != sizeof(*o) || (unsigned int)o->backend > WXP_BACKEND_FAST ||
	    o->flags & ~ALL_FLAGS || !is_window(o->window))
		return -EINVAL;
	if (o->flags & WXP_ONE_ADDRESS && o->flags & (WXP_MSEAL | WXP_PKEY | WXP_COMPILE_ONLY))
		return -EINVAL;
	if (o->r_share > MAX_SHARES || o->rw_share > MAX_SHARES ||
	    o->r_share + o->rw_share > MAX_SHARES)
		return -EINVAL;
	return 0;
}

/* What must not be had by half */
static bool insists(const struct wxp *x)
{
	return x->flags & HARDENED && !(x->flags & WXP_IF_POSSIBLE);
}

static void key_free(struct wxp *x)
{
	if (x->key >= 0)
		pkey_free(x->key);
	x->key = -1;
}

static int open_auto(struct wxp *x)
{
	int err;

	x->backend = WXP_BACKEND_KERNEL;
	err = window_open(x, &x->window);
	/* Only if there is no device that can be used, not if memory is short */
	if (insists(x) || (err != -ENODEV && err != -EACCES && err != -EPERM && err != -EPROTO))
		return err;
	x->fallback = err;
	x->backend = WXP_BACKEND_PORTABLE;
	key_free(x);
	return window_open(x, &x->window) ? err : 0;
}

static struct wxp *context_new(const struct wxp_options *o)
{
	struct wxp *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->backend = o->backend;
	x->flags = o->flags;
	x->key = -1;
	x->asked = o->window;
	x->r_share = o->r_share;
	x->rw_share = o->rw_share;
	pthread_mutex_init(&x->lock, NULL);
	return x;
}

static void context_delete(struct wxp *x)
{
	key_free(x);
	pthread_mutex_destroy(&x->lock);
	free(x);
}

static int context_open(struct wxp *x)
{
	int err;

	if (is_cloned())
		return -EXDEV;
	pthread_mutex_lock(&contexts_lock);
	err = generation_open();
	pthread_mutex_unlock(&contexts_lock);
	if (!err)
		err = x->backend == WXP_BACKEND_AUTO ? open_auto(x) : window_open(x, &x->window);
	if (err)
		return err;
	pthread_mutex_lock(&contexts_lock);
	x->next = contexts;
	contexts = x;
	pthread_mutex_unlock(&contexts_lock);
	return 0;
}

WXP_EXPORT int wxp_open(struct wxp **out, const struct wxp_options *in)
{
	struct wxp_options o = { .size = sizeof(o) };
	struct wxp *x;
	int err;

	if (in)
		o = *in;
	o.r_share = o.r_share ? o.r_share : DEFAULT_SHARE;
	o.rw_share = o.rw_share ? o.rw_share : DEFAULT_SHARE;
	err = out ? check_options(&o) : -EINVAL;
	if (!err)
		err = ask_environment(&o.backend);
	if (err)
		return err;
	x = context_new(&o);
	if (!x)
		return -ENOMEM;
	err = context_open(x);
	if (err)
		context_delete(x);
	else
		*out = x;
	return err;
}

static void context_unlink(struct wxp *x)
{
	struct wxp **link;

	for (link = &contexts; *link != x;)
		link = &(*link)->next;
	*link = x->next;
}

WXP_EXPORT void wxp_close(struct wxp *x)
{
	struct window *w;

	if (!x)
		return;
	/* A process that fork() did not make may wait for a lock for ever. */
	if (!*generation)
		return;
	pthread_mutex_lock(&contexts_lock);
	context_unlink(x);
	pthread_mutex_unlock(&contexts_lock);
	ops_forget(x);
	while ((w = x->window)) {
		x->window = w->older;
		window_close(w);
	}
	context_delete(x);
}

WXP_EXPORT int wxp_freeze(struct wxp *x)
{
	int err = context_enter(x);
	struct window *w;

	if (err)
		return err;
	w = x->window;
	if (!w->inherited && w->backend->freeze)
		err = w->backend->freeze(w);
	x->frozen |= !err;
	context_leave(x);
	return err;
}

WXP_EXPORT enum wxp_backend wxp_get_backend(const struct wxp *x)
{
	return x->backend;
}

WXP_EXPORT const char *wxp_backend_name(enum wxp_backend backend)
{
	return (unsigned int)backend <= WXP_BACKEND_FAST ? names[backend] : "unknown";
}

WXP_EXPORT int wxp_get_fallback(const struct wxp *x)
{
	return x->fallback;
}

WXP_EXPORT unsigned int wxp_get_flags(const struct wxp *x)
{
	return x->flags;
}

WXP_EXPORT void wxp_get_window(struct wxp *x, void **base, size_t *size)
{
	*base = NULL;
	*size = 0;
	if (context_enter(x))
		return;
	*base = x->window->base;
	*size = x->window->size;
	context_leave(x);
}

WXP_EXPORT int wxp_get_fd(struct wxp *x)
{
	int err = context_enter(x);

	if (err)
		return err;
	err = x->backend == WXP_BACKEND_KERNEL ? x->window->fd : -EOPNOTSUPP;
	context_leave(x);
	return err;
}
