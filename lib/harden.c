// SPDX-License-Identifier: MIT
/*
 * What the device does not stop the process from doing to itself, and Linux can: mseal()
 * keeps the views of code where they are, and a protection key keeps other threads from
 * writing through the W view.
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"
#include "pkey.h"

#ifndef SYS_mseal
#define SYS_mseal	462		/* on all architectures that have the device */
#endif

static unsigned int options_offered(const struct window *w)
{
	unsigned int offered = w->backend->flags;

	/* If there is mseal(), nothing can be sealed at any time. */
	if (offered & WXP_MSEAL && syscall(SYS_mseal, 0ul, 0ul, 0ul))
		offered &= ~WXP_MSEAL;
	if (!(w->features & WXPOOL_FEATURE_XO))
		offered &= ~WXP_EXEC_ONLY;
	if (!arch_prot_bti())
		offered &= ~WXP_BTI;
	return offered;
}

/*
 * Leaves out what cannot be had, or fails. Of a new key other threads get no access at all,
 * and those that this one starts what it has: to read.
 */
int harden_check(struct wxp *x, const struct window *w)
{
	unsigned int lacks = x->flags & HARDENED & ~options_offered(w);

	if (x->flags & WXP_PKEY & ~lacks && x->key < 0) {
		x->key = pkey_alloc(0, PKEY_DISABLE_WRITE);
		if (x->key < 0)
			lacks |= WXP_PKEY;
	}
	if (lacks && !(x->flags & WXP_IF_POSSIBLE))
		return -EOPNOTSUPP;
	x->flags &= ~lacks;
	return 0;
}

/* Before there is anything that another thread could write to */
int harden_key(struct window *w)
{
	int err;

	if (!(w->flags & WXP_PKEY))
		return 0;
	err = w->backend->open_write(w);
	if (!err && pkey_mprotect(w->write, window_sealable(w), PROT_READ | PROT_WRITE, w->key))
		err = -errno;
	w->writable = !err;
	return err;
}

/* Has the views of code and constants stay as they are until the process ends. */
int harden_views(struct window *w)
{
	if (w->flags & WXP_MSEAL && syscall(SYS_mseal, w->base, window_sealable(w), 0ul))
		return -errno;
	return 0;
}

/*
 * For the library's own stores: a thread that may write goes on to, and one that may not,
 * not even read, does not get more.
 */
int harden_enter(const struct window *w)
{
	int rights = w->key < 0 ? 0 : pkey_get(w->key);

	if (w->key >= 0)
		pkey_set(w->key, 0);
	return rights;
}

void harden_leave(const struct window *w, int rights)
{
	if (w->key >= 0)
		pkey_set(w->key, (unsigned int)rights);
}

/* Without the lock, as rights are a thread's own */
static int set_rights(const struct wxp *x, unsigned int rights)
{
	if (!x)
		return -EINVAL;
	if (x->key >= 0)
		pkey_set(x->key, rights);
	return 0;
}

WXP_EXPORT int wxp_write_begin(struct wxp *x)
{
	return set_rights(x, 0);
}

WXP_EXPORT int wxp_write_end(struct wxp *x)
{
	return set_rights(x, PKEY_DISABLE_WRITE);
}
