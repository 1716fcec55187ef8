// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: the vectors of ALLOC and PROTECT
 */
#include <linux/mman.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "internal.h"

static int wxp_check_range(const struct wxpool_range *range, u32 max_prot)
{
	if (!PAGE_ALIGNED(range->offset | range->length | range->addr))
		return -EINVAL;
	if (!range->length || range->__reserved)
		return -EINVAL;
	if (max_prot ? !range->prot || range->prot > max_prot : range->prot)
		return -EINVAL;
	if (range->length > WXP_SPACE ||
	    range->offset > WXP_SPACE - range->length)
		return -EOVERFLOW;
	return 0;
}

/**
 * wxp_copy_ranges() - copy a vector from the user and check its form
 * @vec: the structure with its address
 * @max_prot: the largest &enum wxpool_prot allowed; 0 if there must be none
 *
 * Return: the vector, to be kvfree()d, or an ERR_PTR.
 */
struct wxpool_range *wxp_copy_ranges(const struct wxpool_vec *vec, u32 max_prot)
{
	struct wxpool_range *ranges;
	u32 i;
	int err;

	if (!vec->pool || vec->flags ||
	    !vec->nr_ranges || vec->nr_ranges > WXPOOL_MAX_RANGES)
		return ERR_PTR(-EINVAL);
	ranges = vmemdup_user(u64_to_user_ptr(vec->ranges),
			      array_size(vec->nr_ranges, sizeof(*ranges)));
	if (IS_ERR(ranges))
		return ranges;
	for (i = 0; i < vec->nr_ranges; i++) {
		err = wxp_check_range(&ranges[i], max_prot);
		if (err) {
			kvfree(ranges);
			return ERR_PTR(err);
		}
	}
	return ranges;
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
void wxp_map_views(struct file *file, const struct wxpool_range *ranges,
		   struct wxpool_vec *vec)
{
	unsigned long addr;
	u32 i;

	vec->map_error = 0;
	for (i = 0; i < vec->nr_ranges; i++) {
		if (!ranges[i].addr)
			continue;
		addr = vm_mmap(file, ranges[i].addr, ranges[i].length,
			       wxp_view_prot(&ranges[i]),
			       MAP_SHARED | MAP_FIXED, ranges[i].offset);
		if (IS_ERR_VALUE(addr)) {
			vec->map_error = -(long)addr;
			break;
		}
	}
	vec->nr_mapped = i;
}
