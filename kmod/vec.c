// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: vectors from the user
 */
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "internal.h"

/*
 * copy_from_user() for some pages at most, and mostly less, at any alignment. For a
 * function or a few ranges that spends more on its checks of @to than on the bytes:
 * some 150 instructions.
 */
int wxpool_copy_words(void *to, const void __user *from, size_t len)
{
	const void __user *end = from + len;

	might_fault();
	if (!user_access_begin(from, len))
		return -EFAULT;
	for (; end - from >= 4 * sizeof(u64); from += 4 * sizeof(u64)) {
		unsafe_get_user(((u64 *)to)[0], (const u64 __user *)from, fault);
		unsafe_get_user(((u64 *)to)[1], (const u64 __user *)from + 1, fault);
		unsafe_get_user(((u64 *)to)[2], (const u64 __user *)from + 2, fault);
		unsafe_get_user(((u64 *)to)[3], (const u64 __user *)from + 3, fault);
		to += 4 * sizeof(u64);
	}
	for (; end - from >= sizeof(u64); from += sizeof(u64), to += sizeof(u64))
		unsafe_get_user(*(u64 *)to, (const u64 __user *)from, fault);
	for (; from < end; from++, to++)
		unsafe_get_user(*(u8 *)to, (const u8 __user *)from, fault);
	user_access_end();
	return 0;

fault:
	user_access_end();
	return -EFAULT;
}

/*
 * Copies a vector of elements of @size into @few, if that is large enough, or else into
 * what is to be given to kvfree(). As with any other system call, that is not charged for
 * the time of the call. -EINVAL, -ENOMEM or -EFAULT
 */
void *wxpool_copy_vec(const struct wxpool_vec *vec, size_t size, void *few, size_t few_size,
		      gfp_t gfp)
{
	void *p = few;

	if (vec->nr > WXPOOL_MAX_RANGES)
		return ERR_PTR(-EINVAL);
	if (vec->nr * size > few_size)
		p = kvmalloc(vec->nr * size, gfp);
	if (!p)
		return ERR_PTR(-ENOMEM);
	if (!wxpool_copy_words(p, u64_to_user_ptr(vec->addr), vec->nr * size))
		return p;
	if (p != few)
		kvfree(p);
	return ERR_PTR(-EFAULT);
}

/* Are these pages of the space? 0, -EINVAL or -EOVERFLOW */
int wxpool_check_pages(u64 offset, u64 length)
{
	if (!length || !PAGE_ALIGNED(offset | length))
		return -EINVAL;
	if (offset > WXPOOL_SPACE || length > WXPOOL_SPACE - offset)
		return -EOVERFLOW;
	return 0;
}
