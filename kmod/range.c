// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: the vectors of ALLOC, PROTECT and INSTALL
 */
#include <linux/mman.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "internal.h"

/*
 * struct wxp_form - what a vector may contain
 * @flags: of the vector
 * @min_prot: of the ranges
 * @max_prot: of the ranges
 * @packed: offsets are multiples of lines, addresses and lengths of nothing;
 *	else all are multiples of pages
 */
struct wxp_form {
	u32 flags;
	u32 min_prot;
	u32 max_prot;
	bool packed;
};

const struct wxp_form wxp_alloc_form = {};

const struct wxp_form wxp_protect_form = {
	.min_prot = WXPOOL_PROT_R,
	.max_prot = WXPOOL_PROT_X,
};

const struct wxp_form wxp_install_form = {
	.flags = WXPOOL_INSTALL_HUGE,
	.min_prot = WXPOOL_PROT_R,
	.max_prot = WXPOOL_PROT_X,
	.packed = true,
};

/**
 * wxp_copy_words() - copy_from_user() for some pages at most, and mostly less
 * @to: where to
 * @from: where from, at any alignment
 * @len: bytes
 *
 * For a function or a few ranges, copy_from_user() spends more on its checks of
 * @to than on the bytes.
 *
 * Return: 0 or -EFAULT.
 */
int wxp_copy_words(void *to, const void __user *from, size_t len)
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

void wxp_put_ranges(struct wxp_ranges *ranges)
{
	if (ranges->r != ranges->room)
		kvfree(ranges->r);
}

static bool wxp_is_aligned(const struct wxpool_range *range, bool packed)
{
	if (packed)
		return IS_ALIGNED(range->offset, WXP_LINE_SIZE);
	return PAGE_ALIGNED(range->offset | range->length | range->addr);
}

static int wxp_check_range(const struct wxpool_range *range,
			   const struct wxp_form *form)
{
	if (!wxp_is_aligned(range, form->packed))
		return -EINVAL;
	if (!range->length || range->__reserved)
		return -EINVAL;
	if (range->prot < form->min_prot || range->prot > form->max_prot)
		return -EINVAL;
	if (range->length > WXP_SPACE ||
	    range->offset > WXP_SPACE - range->length)
		return -EOVERFLOW;
	return 0;
}

/**
 * wxp_copy_ranges() - copy a vector from the user and check its form
 * @ranges: with its room set; receives the vector, to be given to
 *	wxp_put_ranges()
 * @vec: the structure with its address
 * @form: what is allowed
 *
 * Return: 0 or an error, after which there is nothing to put.
 */
int wxp_copy_ranges(struct wxp_ranges *ranges, const struct wxpool_vec *vec,
		    const struct wxp_form *form)
{
	size_t size = array_size(vec->nr_ranges, sizeof(*ranges->r));
	u32 i;
	int err;

	if (!vec->pool || vec->flags & ~form->flags ||
	    !vec->nr_ranges || vec->nr_ranges > WXPOOL_MAX_RANGES)
		return -EINVAL;
	ranges->nr = vec->nr_ranges;
	ranges->r = ranges->room;
	if (ranges->nr > ranges->nr_room)
		ranges->r = kvmalloc(size, WXP_GFP);
	if (!ranges->r)
		return -ENOMEM;
	err = wxp_copy_words(ranges->r, u64_to_user_ptr(vec->ranges), size);
	for (i = 0; i < ranges->nr && !err; i++)
		err = wxp_check_range(&ranges->r[i], form);
	if (err)
		wxp_put_ranges(ranges);
	return err;
}

static unsigned long wxp_view_prot(const struct wxpool_range *range)
{
	switch (range->prot) {
	case WXPOOL_PROT_R:
		return PROT_READ;
	case WXPOOL_PROT_X:
		return PROT_READ | PROT_EXEC;
	default:
		return PROT_READ | PROT_WRITE;
	}
}

/**
 * wxp_map_views() - map the views that a vector asks for
 * @file: the context's file
 * @ranges: the vector
 * @vec: receives how far it went, and the error that stopped it
 *
 * Goes through the core's mmap, with all that it and security modules check.
 */
void wxp_map_views(struct file *file, const struct wxp_ranges *ranges,
		   struct wxpool_vec *vec)
{
	const struct wxpool_range *range;
	unsigned long addr;
	u32 i;

	vec->map_error = 0;
	for (i = 0; i < ranges->nr; i++) {
		range = &ranges->r[i];
		if (!range->addr)
			continue;
		addr = vm_mmap(file, range->addr, range->length,
			       wxp_view_prot(range),
			       MAP_SHARED | MAP_FIXED, range->offset);
		if (IS_ERR_VALUE(addr)) {
			vec->map_error = -(long)addr;
			break;
		}
	}
	vec->nr_mapped = i;
}
