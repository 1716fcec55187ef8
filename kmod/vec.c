// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: vectors from the user
 */
#include <linux/uaccess.h>

#include "internal.h"

/*
 * copy_from_user() for a page at most, and mostly less, at any alignment. For a function or a few
 * ranges that spends more on its checks of @to than on the bytes: some 150 instructions.
 */
int wxpool_copy_words(void *to, const void __user *from, size_t len)
{
	unsigned int i;

	might_fault();
	if (!user_access_begin(from, len))
		return -EFAULT;
	for (; len >= 8 * sizeof(u64); len -= 8 * sizeof(u64)) {
#pragma GCC unroll 8
		for (i = 0; i < 8; i++)
			unsafe_get_user(((u64 *)to)[i], (const u64 __user *)from + i, fault);
		from += 8 * sizeof(u64);
		to += 8 * sizeof(u64);
	}
	for (; len >= sizeof(u64); len -= sizeof(u64), from += sizeof(u64), to += sizeof(u64))
		unsafe_get_user(*(u64 *)to, (const u64 __user *)from, fault);
	for (; len; len--, from++, to++)
		unsafe_get_user(*(u8 *)to, (const u8 __user *)from, fault);
	user_access_end();
	return 0;

fault:
	user_access_end();
	return -EFAULT;
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
