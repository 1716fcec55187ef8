/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * wxpool: all differences between the kernels that it builds for, 6.1 to 7.x
 *
 * The other files are written for the newest; what older ones lack is here.
 */
#ifndef WXPOOL_COMPAT_H
#define WXPOOL_COMPAT_H

#include <linux/mm.h>
#include <linux/version.h>
#include <asm/cacheflush.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
#include <linux/pagevec.h>
#else
#include <linux/writeback.h>		/* struct folio_batch */
#endif

/*
 * Eight bytes of instructions that trap, and how processors come to see
 * instructions that the kernel has written through its own mapping.
 */
#if defined(CONFIG_X86)
#define WXP_TRAPS	0xccccccccccccccccull	/* int3 */

static inline void wxp_sync_icache(unsigned long start, unsigned long end)
{
}
#elif defined(CONFIG_ARM64)
#include <asm/cpufeature.h>

#define WXP_TRAPS	0xd4200000d4200000ull	/* brk #0 */

/*
 * Cleans and invalidates to the point of unification, which reaches all
 * processors. A VIPT instruction cache may hold the old bytes under users'
 * addresses, which an invalidation by the kernel's does not find: all of it
 * goes, as in the core's sync_icache_aliases(), which is not exported.
 *
 * Each processor has to execute an ISB, too, before it runs what was written.
 * The caller does on its return to user space; for other threads that is up to
 * the user, as with any other code (flush_icache_range() would interrupt all
 * processors for it).
 */
static inline void wxp_sync_icache(unsigned long start, unsigned long end)
{
	u64 ctr = read_sanitised_ftr_reg(SYS_CTR_EL0);

	caches_clean_inval_pou(start, end);
	if (SYS_FIELD_GET(CTR_EL0, L1Ip, ctr) != CTR_EL0_L1Ip_PIPT)
		icache_inval_all_pou();
}
#else
#error "wxpool: what is a trap instruction here, and how are caches synchronised?"
#endif

#ifndef __counted_by			/* 6.6 */
#define __counted_by(member)
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_init(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags = flags;
}
#endif

/*
 * lru_add_drain() is not exported; releasing a batch, even an empty one, calls
 * it.
 */
static inline void wxp_lru_add_drain(void)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
	struct pagevec batch;

	pagevec_init(&batch);
	__pagevec_release(&batch);
#else
	struct folio_batch batch;

	folio_batch_init(&batch);
	__folio_batch_release(&batch);
#endif
}

/* io_uring's header has moved, and hands out its command in different ways. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
#include <linux/io_uring.h>
#else
#include <linux/io_uring/cmd.h>
#endif

#ifndef IORING_URING_CMD_MASK		/* 6.6 */
#define IORING_URING_CMD_MASK	IORING_URING_CMD_FIXED
#endif

static inline const void *wxp_uring_payload(const struct io_uring_cmd *cmd)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
	return cmd->cmd;
#else
	return cmd->sqe->cmd;
#endif
}

/*
 * From 6.16 on a view is described before its VMA exists (->mmap_prepare);
 * before, ->mmap gets the VMA. Only with the former can it merge with its
 * neighbours on these kernels.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 16, 0)

#define vm_area_desc vm_area_struct

int wxp_mmap(struct vm_area_desc *view, struct file *file);

static inline vm_flags_t wxp_view_get_flags(const struct vm_area_struct *vma)
{
	return vma->vm_flags;
}

/*
 * 6.12 tries to merge a view with the one before it again, after ->mmap has
 * changed its flags, with an iterator that is only sound if what the view
 * replaces is one VMA or nothing; else it warns in commit_merge(), and may do
 * worse. A flag that means nothing to us, and that the one before lacks, keeps
 * such a view apart.
 */
static inline vm_flags_t wxp_no_merge(const struct vm_area_struct *vma)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0) && \
	LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
	struct vm_area_struct *old = find_vma(vma->vm_mm, vma->vm_start);
	struct vm_area_struct *prev;

	if (old && old->vm_start < vma->vm_end &&
	    (old->vm_start > vma->vm_start || old->vm_end < vma->vm_end)) {
		prev = find_vma(vma->vm_mm, vma->vm_start - 1);
		if (prev && prev->vm_flags & VM_RAND_READ)
			return VM_SEQ_READ;
		return VM_RAND_READ;
	}
#endif
	return 0;
}

static inline void wxp_view_set_flags(struct vm_area_struct *vma,
				      vm_flags_t flags)
{
	vm_flags_init(vma, flags | wxp_no_merge(vma));
}

static inline void wxp_view_set_private(struct vm_area_struct *vma, void *data)
{
	vma->vm_private_data = data;
}

static inline int wxp_fop_mmap(struct file *file, struct vm_area_struct *vma)
{
	return wxp_mmap(vma, file);
}

#define WXP_FOP_MMAP	.mmap = wxp_fop_mmap

#else

int wxp_mmap(struct vm_area_desc *view, struct file *file);

#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)
static inline vm_flags_t wxp_view_get_flags(const struct vm_area_desc *desc)
{
	return desc->vm_flags;
}

static inline void wxp_view_set_flags(struct vm_area_desc *desc,
				      vm_flags_t flags)
{
	desc->vm_flags = flags;
}
#else
static inline vm_flags_t wxp_view_get_flags(const struct vm_area_desc *desc)
{
	return vma_flags_to_legacy(desc->vma_flags);
}

static inline void wxp_view_set_flags(struct vm_area_desc *desc,
				      vm_flags_t flags)
{
	desc->vma_flags = legacy_to_vma_flags(flags);
}
#endif

static inline void wxp_view_set_private(struct vm_area_desc *desc, void *data)
{
	desc->private_data = data;
}

static inline int wxp_fop_mmap(struct vm_area_desc *desc)
{
	return wxp_mmap(desc, desc->file);
}

#define WXP_FOP_MMAP	.mmap_prepare = wxp_fop_mmap

#endif

#endif /* WXPOOL_COMPAT_H */
