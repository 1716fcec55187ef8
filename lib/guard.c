// SPDX-License-Identifier: MIT
/*
 * What the device does not stop the process from doing to itself, and Linux
 * can: mseal() keeps views where they are, and a protection key keeps other
 * threads from storing in writable ones.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

#ifndef SYS_mseal
#define SYS_mseal	462		/* on all architectures that have the device */
#endif

static int mseal_pages(struct wxp *w, uint32_t page, uint32_t nr)
{
	w->syscalls++;
	return syscall(SYS_mseal, page_addr(w, page), nr * w->page_size, 0ul) ? -errno : 0;
}

static int fixed_open(struct wxp *w)
{
	/* Where there is mseal(), nothing can be sealed at any time. */
	if (mseal_pages(w, 0, 0))
		return -ENOSYS;
	w->fixed = calloc((w->nr_pages + 63) / 64, sizeof(*w->fixed));
	return w->fixed ? 0 : -ENOMEM;
}

/*
 * Threads that are there already get no access at all by the new key, those
 * that this one starts what it has: to read. (The kernel does not say whether
 * there are no keys, or none left.)
 */
static int key_open(struct wxp *w)
{
	w->syscalls++;
	w->key = pkey_alloc(0, PKEY_DISABLE_WRITE);
	return w->key < 0 ? -ENOSYS : 0;
}

static int guard_try(struct wxp *w, unsigned int flag, int (*open)(struct wxp *w))
{
	int ret = w->flags & flag ? open(w) : 0;

	if (ret != -ENOSYS || !(w->flags & WXP_IF_POSSIBLE))
		return ret;
	w->flags &= ~flag;
	return 0;
}

int guard_open(struct wxp *w)
{
	int ret = guard_try(w, WXP_MSEAL, fixed_open);

	if (!ret)
		ret = guard_try(w, WXP_PKEY, key_open);
	if (ret)
		guard_close(w);
	return ret;
}

/* Called when no view with the key is left. */
void guard_close(struct wxp *w)
{
	free(w->fixed);
	w->fixed = NULL;
	if (w->key >= 0)
		pkey_free(w->key);
	w->key = -1;
}

/* Has the views of the pages stay as they are until the process ends. */
int guard_fix(struct wxp *w, uint32_t page, uint32_t nr)
{
	int ret = w->fixed ? mseal_pages(w, page, nr) : 0;

	if (w->fixed && !ret)
		bits_set(w->fixed, page, nr);
	return ret;
}

/* Gives a writable view the key. */
int guard_lock(struct wxp *w, uint32_t page, uint32_t nr)
{
	w->syscalls++;
	return pkey_mprotect(page_addr(w, page), nr * w->page_size, PROT_READ | PROT_WRITE,
			     w->key) ? -errno : 0;
}

/*
 * For the library's own stores: a thread that may write goes on to, and one that
 * may not, not even read, does not get more.
 */
int guard_enter(const struct wxp *w)
{
	int rights = w->key < 0 ? 0 : pkey_get(w->key);

	if (w->key >= 0)
		pkey_set(w->key, 0);
	return rights;
}

void guard_leave(const struct wxp *w, int rights)
{
	if (w->key >= 0)
		pkey_set(w->key, (unsigned int)rights);
}

/* Without the lock, as rights are a thread's own. */
static int set_rights(const struct wxp *w, unsigned int rights)
{
	if (!w)
		return -EINVAL;
	if (!*w->alive)
		return -EXDEV;
	if (w->key >= 0)
		pkey_set(w->key, rights);
	return 0;
}

WXP_EXPORT int wxp_write_begin(struct wxp *w)
{
	return set_rights(w, 0);
}

WXP_EXPORT int wxp_write_end(struct wxp *w)
{
	return set_rights(w, PKEY_DISABLE_WRITE);
}
