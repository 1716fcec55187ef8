// SPDX-License-Identifier: MIT
/* Contexts: opening, closing, and who may use them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

#define DEFAULT_WINDOW	(1ul << 30)
#define MAX_WINDOW	(2ul << 30)
#define WINDOW_UNIT	(2ul << 20)
#define HUGE_WINDOW	(16ul << 20)
#define ZONE_MAX	(2ul << 20)
#define ZONE_SHARE	16		/* without huge pages: part of the window */

static const struct wxp_ops *const backends[] = {
	[WXP_BACKEND_KERNEL] = &wxp_kernel_ops,
	[WXP_BACKEND_PORTABLE] = &wxp_portable_ops,
	[WXP_BACKEND_FAST] = &wxp_fast_ops,
};

WXP_EXPORT const char *wxp_backend_name(enum wxp_backend backend)
{
	if (backend == WXP_BACKEND_AUTO)
		return "auto";
	if ((unsigned int)backend > WXP_BACKEND_FAST)
		return "unknown";
	return backends[backend]->name;
}

WXP_EXPORT enum wxp_backend wxp_get_backend(const struct wxp *w)
{
	return w->backend;
}

WXP_EXPORT unsigned int wxp_get_flags(const struct wxp *w)
{
	return w->flags & ~WXP_IF_POSSIBLE;
}

WXP_EXPORT void wxp_get_window(const struct wxp *w, void **base, size_t *size)
{
	*base = w->base;
	*size = w->size;
}

WXP_EXPORT int wxp_get_fd(const struct wxp *w)
{
	return w->fd < 0 ? -EOPNOTSUPP : w->fd;
}

/*
 * The page reads as zero in a child, which is thus known without a system
 * call in every operation.
 */
static int alive_open(struct wxp *w)
{
	uint32_t *page = mmap(NULL, w->page_size, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int ret;

	if (page == MAP_FAILED)
		return -ENOMEM;
	if (madvise(page, w->page_size, MADV_WIPEONFORK)) {
		ret = errno == EINVAL ? -ENOSYS : -errno;
		munmap(page, w->page_size);
		return ret;
	}
	*page = 1;
	w->alive = page;
	return 0;
}

static void alive_close(struct wxp *w)
{
	munmap((void *)(uintptr_t)w->alive, w->page_size);
}

static int read_options(const struct wxp_options *in, struct wxp_options *opts)
{
	const unsigned char *bytes = (const unsigned char *)in;
	size_t i;

	if (in && in->size < sizeof(*opts))
		return -EINVAL;
	for (i = sizeof(*opts); in && i < in->size; i++)
		if (bytes[i])
			return -EINVAL;
	if (in)
		*opts = *in;
	if (!opts->window)
		opts->window = DEFAULT_WINDOW;
	if (opts->window > MAX_WINDOW || opts->window % WINDOW_UNIT)
		return -EINVAL;
	if (opts->flags & ~(WXP_HUGE | GUARDS | WXP_IF_POSSIBLE))
		return -EINVAL;
	if (opts->flags & WXP_HUGE && opts->window < HUGE_WINDOW)
		return -EINVAL;
	return (unsigned int)opts->backend > WXP_BACKEND_FAST ? -EINVAL : 0;
}

/* The environment must not weaken a set-uid program. */
static int ask_environment(enum wxp_backend *backend)
{
	const char *name = secure_getenv("WXPOOL_BACKEND");
	enum wxp_backend b;

	if (*backend != WXP_BACKEND_AUTO || !name)
		return 0;
	for (b = WXP_BACKEND_AUTO; b <= WXP_BACKEND_FAST; b++) {
		if (!strcmp(name, wxp_backend_name(b))) {
			*backend = b;
			return 0;
		}
	}
	return -EINVAL;
}

static int open_with(struct wxp *w, enum wxp_backend backend)
{
	w->backend = backend;
	w->ops = backends[backend];
	w->fd = -1;
	w->memfd = -1;
	w->key = -1;
	if (backend != WXP_BACKEND_KERNEL) {
		if (guard_insists(w))
			return -EOPNOTSUPP;
		w->flags &= ~GUARDS;
	}
	return w->ops->open(w);
}

static int open_backend(struct wxp *w, enum wxp_backend backend)
{
	int ret;

	if (backend != WXP_BACKEND_AUTO)
		return open_with(w, backend);
	ret = open_with(w, WXP_BACKEND_KERNEL);
	if (guard_insists(w))
		return ret;
	/* Only where there is no usable device, not where memory is short. */
	if (ret == -ENOENT || ret == -EACCES || ret == -EPERM || ret == -EPROTO)
		ret = open_with(w, WXP_BACKEND_PORTABLE);
	return ret;
}

static int setup(struct wxp *w, const struct wxp_options *opts)
{
	int ret = alive_open(w);

	if (ret)
		return ret;
	ret = cache_open(w);
	if (ret)
		goto out_alive;
	ret = window_open(w);
	if (ret)
		goto out_cache;
	ret = open_backend(w, opts->backend);
	if (ret)
		goto out_window;
	w->syscalls = 0;
	return 0;

out_window:
	window_close(w);
out_cache:
	cache_close(w);
out_alive:
	alive_close(w);
	return ret;
}

static uint32_t zone_unit(const struct wxp *w)
{
	size_t size = ZONE_MAX;

	while (!(w->flags & WXP_HUGE) && size > w->size / ZONE_SHARE)
		size /= 2;
	return (uint32_t)(size / w->page_size);
}

WXP_EXPORT int wxp_open(struct wxp **wxp, const struct wxp_options *in)
{
	struct wxp_options opts = { .size = sizeof(opts) };
	struct wxp *w;
	int ret = wxp ? read_options(in, &opts) : -EINVAL;

	if (!ret)
		ret = ask_environment(&opts.backend);
	if (ret)
		return ret;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->size = opts.window;
	w->page_size = (size_t)sysconf(_SC_PAGESIZE);
	w->nr_pages = (uint32_t)(w->size / w->page_size);
	w->flags = opts.flags;
	w->zone_pages = zone_unit(w);
	w->zone_shift = (unsigned int)__builtin_ctz(w->zone_pages * lines_per_page(w));
	pthread_mutex_init(&w->lock, NULL);
	ret = setup(w, &opts);
	if (ret) {
		pthread_mutex_destroy(&w->lock);
		free(w);
		return ret;
	}
	*wxp = w;
	return 0;
}

static void unmap_runs(struct wxp *w, const struct run *run)
{
	for (; run; run = run->next)
		munmap(page_addr(w, run->page), run_bytes(w, run));
}

static void unmap_zones(struct wxp *w, const struct zone *zone)
{
	for (; zone; zone = zone->next)
		munmap(page_addr(w, zone->page), zone->ready * w->page_size);
}

/*
 * With a device, a child's window has holes where the parent had open pages,
 * and anything may have been mapped there since: only what was inherited is
 * unmapped.
 */
static void close_window_forked(struct wxp *w)
{
	struct pool *pool;
	size_t i;

	if (w->fd < 0) {
		munmap(w->base, w->size);
		return;
	}
	for (i = 0; i < w->nr_buckets; i++) {
		for (pool = w->buckets[i]; pool; pool = pool->next) {
			if (!pool->regions)
				continue;
			unmap_runs(w, pool->regions->bins[WXP_R].done);
			unmap_runs(w, pool->regions->bins[WXP_RX].done);
		}
	}
	unmap_zones(w, w->areas[WXP_R].zones);
	unmap_zones(w, w->areas[WXP_RX].zones);
	munmap(page_addr(w, w->rw_start), (w->nr_pages - w->rw_start) * w->page_size);
}

static void destroy(struct wxp *w)
{
	pools_destroy(w);
	zones_destroy(w);
	space_exit(&w->space);
	cache_close(w);
	guard_close(w);
	alive_close(w);
	free(w);
}

/*
 * Where another thread of the parent was inside a call at the fork, the lists
 * may be half-way through a change, and are left alone.
 */
static void close_forked(struct wxp *w)
{
	w->ops->close(w, true);
	ring_close(w, true);
	if (pthread_mutex_trylock(&w->lock))
		return;
	close_window_forked(w);
	destroy(w);
}

WXP_EXPORT void wxp_close(struct wxp *w)
{
	if (!w)
		return;
	if (!*w->alive) {
		close_forked(w);
		return;
	}
	window_unmap(w);
	w->ops->close(w, false);
	ring_close(w, false);
	pthread_mutex_destroy(&w->lock);
	destroy(w);
}

WXP_EXPORT int wxp_freeze(struct wxp *w)
{
	int ret = wxp_enter(w);

	if (ret)
		return ret;
	if (w->ops->freeze)
		ret = w->ops->freeze(w);
	w->frozen |= !ret;
	wxp_leave(w);
	return ret;
}
