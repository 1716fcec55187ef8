// SPDX-License-Identifier: MIT
/*
 * The fast backend: private memory that is readable, writable and executable from the
 * start. Protecting it does nothing.
 */
#include <sys/mman.h>

#include "internal.h"

static int fast_map(struct window *w)
{
	if (!mprotect(w->base, window_sealable(w), PROT_READ | PROT_WRITE | PROT_EXEC))
		return 0;
	return errno == EACCES ? -EPERM : -errno;
}

static int fast_protect(struct window *w, uint32_t pool, struct wxpool_protect_range *r,
			uint32_t nr)
{
	(void)pool;
	for (; nr; r++, nr--)
		if (is_code(w, r->offset))
			sync_icache(w->base + r->offset, r->length);
	return 0;
}

static int put(struct window *w, size_t offset, const void *from, size_t size)
{
	memcpy(w->base + offset, from, size);
	return 0;
}

static int discard(struct window *w, size_t offset, size_t size)
{
	window_discard(w->base + offset, size);
	return 0;
}

/* Pages that were packed lines before may have traps left in them. */
static int fast_alloc(struct window *w, uint32_t pool, const struct wxpool_protect_range *r,
		      uint32_t nr)
{
	(void)pool;
	for (; nr; r++, nr--)
		discard(w, r->offset, r->length);
	return 0;
}

static int fast_install(struct window *w, uint32_t pool, struct wxpool_install_range *ranges,
			uint32_t nr)
{
	(void)pool;
	return backend_install(w, ranges, nr, put);
}

static int fast_clear(struct window *w, uint32_t line, uint32_t nr)
{
	return backend_clear(w, line, nr, put, discard);
}

const struct backend wxp_fast = {
	.name = "fast",
	.map = fast_map,
	.alloc = fast_alloc,
	.protect = fast_protect,
	.install = fast_install,
	.clear = fast_clear,
};
