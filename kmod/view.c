// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: views, and the faults in them
 *
 * A view's kind is in its MAY bits, which nothing can add to: VM_MAYWRITE is a
 * W view, VM_MAYEXEC an X view, neither an R view. Faults go by these bits and
 * not by the current ones, as mprotect() can take the current ones away, let a
 * page be mapped, and give them back.
 */
#include <linux/pagemap.h>

#include "internal.h"

/*
 * An heir is a view that fork() copied from the owner. Its vm_private_data is
 * its number, that of all other views 0.
 */
static unsigned long wxp_heir_nr(const struct vm_area_struct *vma)
{
	return (unsigned long)vma->vm_private_data;
}

/**
 * wxp_find_heirs() - which heirs are there
 * @ctx: the context
 * @mm: the process to look at, or NULL for all
 * @heirs: receives the answer
 *
 * Other processes that map the context through a passed fd are no heirs: they
 * must not be able to hold the owner's memory.
 *
 * The core has no exported way to ask, but its tree of all views is short, as
 * views of one kind merge.
 */
void wxp_find_heirs(struct wxp_ctx *ctx, const struct mm_struct *mm,
		    struct wxp_heirs *heirs)
{
	struct address_space *mapping = ctx->inode->i_mapping;
	struct vm_area_struct *vma;
	struct rb_node *node;

	heirs->oldest = ULONG_MAX;
	heirs->newest = 0;
	if (!atomic_long_read(&ctx->forks))
		return;
	i_mmap_lock_read(mapping);
	for (node = rb_first_cached(&mapping->i_mmap); node; node = rb_next(node)) {
		cond_resched();
		vma = rb_entry(node, struct vm_area_struct, shared.rb);
		if (!wxp_heir_nr(vma) || (mm && vma->vm_mm != mm))
			continue;
		heirs->oldest = min(heirs->oldest, wxp_heir_nr(vma));
		heirs->newest = max(heirs->newest, wxp_heir_nr(vma));
	}
	i_mmap_unlock_read(mapping);
}

/*
 * What a new view of the caller has as vm_private_data. Views may merge
 * whatever that is, so it must be the same for all views of a process: an heir
 * remains one in the views that it adds.
 */
static void *wxp_view_private(struct wxp_ctx *ctx)
{
	struct wxp_heirs heirs;

	if (wxp_is_owner(ctx))
		return NULL;
	wxp_find_heirs(ctx, current->mm, &heirs);
	return (void *)heirs.newest;
}

/**
 * wxp_judge_view() - judge a view to be made, and fix its kind
 * @ctx: the context
 * @flags: the view's flags, with the protection asked for
 *
 * VM_LOCKED goes because the pages are always in memory, and the core's
 * bookkeeping of it holds references that a seal would have to wait for.
 *
 * Return: 0, -EACCES (never allowed) or -EXDEV (not the owner).
 */
static int wxp_judge_view(struct wxp_ctx *ctx, vm_flags_t *flags)
{
	if (!(*flags & VM_MAYSHARE))
		return -EACCES;
	*flags &= ~(VM_LOCKED | VM_LOCKONFAULT);
	switch (*flags & (VM_WRITE | VM_EXEC)) {
	case VM_WRITE | VM_EXEC:
		return -EACCES;
	case VM_WRITE:
		if (!wxp_is_owner(ctx))
			return -EXDEV;
		*flags &= ~VM_MAYEXEC;
		*flags |= VM_DONTCOPY;
		return 0;
	case VM_EXEC:
		*flags &= ~VM_MAYWRITE;
		return 0;
	default:
		*flags &= ~(VM_MAYWRITE | VM_MAYEXEC);
		return 0;
	}
}

/* Was the view made by a fork() during the region's life? */
static bool wxp_inherited(const struct wxp_region *region,
			  const struct vm_area_struct *vma)
{
	return wxp_heir_nr(vma) > region->born &&
	       wxp_heir_nr(vma) <= region->ended;
}

/* What is there now, or what was there when the view was inherited. */
static struct wxp_region *wxp_find_region(struct wxp_ctx *ctx,
					  const struct vm_area_struct *vma,
					  pgoff_t pgoff)
{
	struct wxp_region *newest = mtree_load(&ctx->regions, pgoff), *region;

	for (region = newest; region; region = region->older)
		if (wxp_inherited(region, vma))
			return region;
	return newest && !wxp_is_kept(newest) ? newest : NULL;
}

/*
 * madvise(MADV_DOFORK) can bring a W view into a child after all, hence the
 * owner's check at each fault.
 */
static bool wxp_may_show(struct wxp_ctx *ctx, const struct vm_area_struct *vma,
			 const struct wxp_page *page)
{
	if (vma->vm_flags & VM_MAYWRITE)
		return page->state == WXP_OPEN && vma->vm_mm == ctx->owner;
	if (vma->vm_flags & VM_MAYEXEC)
		return page->state == WXP_SEALED_X;
	return page->state != WXP_OPEN;
}

static vm_fault_t wxp_fault(struct vm_fault *vmf)
{
	struct wxp_ctx *ctx = vmf->vma->vm_file->private_data;
	vm_fault_t ret = VM_FAULT_SIGBUS;
	struct wxp_region *region;
	struct wxp_page *page;

	down_read(&ctx->lock);
	region = wxp_find_region(ctx, vmf->vma, vmf->pgoff);
	if (!region)
		goto out;
	page = &region->pages[vmf->pgoff - region->pgoff];
	if (!wxp_may_show(ctx, vmf->vma, page))
		goto out;
	folio_get(page->folio);
	folio_lock(page->folio);
	vmf->page = wxp_region_page(region, vmf->pgoff);
	ret = VM_FAULT_LOCKED;
out:
	up_read(&ctx->lock);
	return ret;
}

/*
 * Called when a view is split, moved or copied. fork() is the one that comes
 * from another mm than the new view's, with faults locked out of both.
 *
 * A W view comes here only after madvise(MADV_DOFORK). Some of the core's
 * features have page tables copied even for file mappings; so nothing must be
 * left in them to copy.
 */
static void wxp_view_open(struct vm_area_struct *vma)
{
	struct wxp_ctx *ctx = vma->vm_file->private_data;

	if (!wxp_is_owner(ctx) || vma->vm_mm == ctx->owner)
		return;
	vma->vm_private_data = (void *)atomic_long_inc_return(&ctx->forks);
	if (vma->vm_flags & VM_MAYWRITE)
		wxp_unmap(ctx, (loff_t)vma->vm_pgoff << PAGE_SHIFT,
			  vma->vm_end - vma->vm_start);
}

/* No ->close: old kernels do not merge views that have one. */
static const struct vm_operations_struct wxp_vm_ops = {
	.open = wxp_view_open,
	.fault = wxp_fault,
};

/* ->mmap_prepare where there is one, else ->mmap: see compat.h */
int wxp_mmap(struct vm_area_desc *view, struct file *file)
{
	struct wxp_ctx *ctx = file->private_data;
	vm_flags_t flags = wxp_view_get_flags(view);
	int err;

	err = wxp_judge_view(ctx, &flags);
	if (err)
		return err;
	wxp_view_set_flags(view, flags);
	wxp_view_set_private(view, wxp_view_private(ctx));
	view->vm_ops = &wxp_vm_ops;
	return 0;
}
