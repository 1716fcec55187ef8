/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * wxpool: all differences between the kernels that it builds for, 6.1 to 7.x
 *
 * The other files are written for the newest; what older ones lack is here.
 */
#ifndef WXPOOL_COMPAT_H
#define WXPOOL_COMPAT_H

#include <linux/mm.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_init(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags = flags;
}

static inline void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags |= flags;
}
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
static inline struct shrinker *shrinker_alloc(unsigned int flags, const char *name)
{
	return kzalloc(sizeof(struct shrinker), GFP_KERNEL);
}

/* If it fails, what it is for goes back at the limit only. */
static inline void shrinker_register(struct shrinker *shrinker)
{
	shrinker->seeks = DEFAULT_SEEKS;
	register_shrinker(shrinker, "wxpool");
}

static inline void shrinker_free(struct shrinker *shrinker)
{
	unregister_shrinker(shrinker);
	kfree(shrinker);
}
#endif

/* io_uring's header has moved, and hands out its command in different ways. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
#include <linux/io_uring.h>
#else
#include <linux/io_uring/cmd.h>
#endif

#ifndef IORING_URING_CMD_MASK		/* 6.6 */
#define IORING_URING_CMD_MASK	IORING_URING_CMD_FIXED
#endif

static inline const void *wxpool_uring_payload(const struct io_uring_cmd *cmd)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
	return cmd->cmd;
#else
	return cmd->sqe->cmd;
#endif
}

int wxpool_judge_view(struct file *file, vm_flags_t *flags,
		      const struct vm_operations_struct **vm_ops);

/*
 * From 6.16 on a view is described before its VMA exists (->mmap_prepare); before, ->mmap gets
 * the VMA. Only with the former can it merge with its neighbours on these kernels.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 16, 0)

/*
 * 6.12 tries to merge a view with the one before it again, after ->mmap has changed its flags,
 * with an iterator that is only sound if what the view replaces is one VMA or nothing; else it
 * warns in commit_merge(), and may do worse. A flag that means nothing to us, and that the one
 * before lacks, keeps such a view apart.
 */
static inline vm_flags_t wxpool_no_merge(const struct vm_area_struct *vma)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0) && LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
	struct vm_area_struct *old = find_vma(vma->vm_mm, vma->vm_start);
	struct vm_area_struct *prev;

	if (old && old->vm_start < vma->vm_end &&
	    (old->vm_start > vma->vm_start || old->vm_end < vma->vm_end)) {
		prev = find_vma(vma->vm_mm, vma->vm_start - 1);
		return prev && prev->vm_flags & VM_RAND_READ ? VM_SEQ_READ : VM_RAND_READ;
	}
#endif
	return 0;
}

static inline int wxpool_mmap(struct file *file, struct vm_area_struct *vma)
{
	vm_flags_t flags = vma->vm_flags;
	int err = wxpool_judge_view(file, &flags, &vma->vm_ops);

	if (!err)
		vm_flags_init(vma, flags | wxpool_no_merge(vma));
	return err;
}

#define WXPOOL_FOP_MMAP	.mmap = wxpool_mmap
#else
static inline int wxpool_mmap(struct vm_area_desc *desc)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)
	return wxpool_judge_view(desc->file, &desc->vm_flags, &desc->vm_ops);
#else
	vm_flags_t flags = vma_flags_to_legacy(desc->vma_flags);
	int err = wxpool_judge_view(desc->file, &flags, &desc->vm_ops);

	desc->vma_flags = legacy_to_vma_flags(flags);
	return err;
#endif
}

#define WXPOOL_FOP_MMAP	.mmap_prepare = wxpool_mmap
#endif

#endif /* WXPOOL_COMPAT_H */
