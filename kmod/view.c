// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: views, the faults in them, and heirs
 *
 * A view's kind is in its MAY bits, which nothing can add to: VM_MAYWRITE is a W view, VM_MAYEXEC
 * an X view, without VM_MAYREAD an XO view, and none of them an R view. Faults go by these bits,
 * not by those that mprotect() can take away and give back.
 *
 * Whose a view is, is in its vm_ops: the owner's, an heir's, or that of a guest, who is any other
 * process that maps the context. The core merges views without comparing them; so heirs' views,
 * whose number counts, must never merge.
 */
#include <linux/pagemap.h>
#include <linux/sched/mm.h>

#include "internal.h"
#include "trace.h"

#define WXPOOL_MAY	(VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC)

static const struct vm_operations_struct wxpool_heir_vm_ops;

/* What is hidden is there only for who inherited it. */
static bool wxpool_is_for(const struct wxpool_region *region, const struct vm_area_struct *vma)
{
	const struct wxpool_heirs *heirs = vma->vm_private_data;

	if (!region->hidden)
		return true;
	return vma->vm_ops == &wxpool_heir_vm_ops && heirs->nr > region->born &&
	       heirs->nr <= region->ended;
}

static bool wxpool_may_show(const struct vm_area_struct *vma, enum wxpool_state state)
{
	if (vma->vm_flags & VM_MAYWRITE)
		return state == WXPOOL_OPEN;
	if (!(vma->vm_flags & VM_MAYEXEC))
		return state == WXPOOL_SEALED_R || state == WXPOOL_SEALED_X;
	return state == WXPOOL_SEALED_X ||
	       (state == WXPOOL_SEALED_XO && !(vma->vm_flags & VM_MAYREAD));
}

/* For a memory error, the core would look in the page cache, where our pages are not. */
static vm_fault_t wxpool_show_page(struct vm_fault *vmf, const struct wxpool_page *page)
{
	struct page *p;

	if (!page || !wxpool_is_for(page->region, vmf->vma) ||
	    !wxpool_may_show(vmf->vma, wxpool_state(page)))
		return VM_FAULT_SIGBUS;
	p = wxpool_page(page);
	if (PageHWPoison(p))
		return VM_FAULT_HWPOISON;
	folio_get(page_folio(p));
	folio_lock(page_folio(p));
	vmf->page = p;
	return VM_FAULT_LOCKED;
}

static vm_fault_t wxpool_fault(struct vm_fault *vmf)
{
	struct wxpool_context *ctx = vmf->vma->vm_file->private_data;
	vm_fault_t ret;

	/* Killed: whatever is raised, nobody is there to see it. */
	if (down_read_killable(&ctx->lock))
		return VM_FAULT_SIGBUS;
	ret = wxpool_show_page(vmf, wxpool_find_page(ctx, vmf->pgoff));
	up_read(&ctx->lock);
	return ret;
}

/*
 * One more view of those that a fork gives to a child. fork() has the owner's mmap_lock for
 * writing from its first view to its last, so @mm is that of the last fork or a new one; and as
 * the child does not run yet, what the first view got is still there for the others.
 */
static struct wxpool_heirs *wxpool_heirs_get(struct wxpool_context *ctx, struct mm_struct *mm)
{
	struct wxpool_heirs *heirs;
	struct mm_struct *old;

	if (READ_ONCE(ctx->fork_mm) == mm) {
		heirs = READ_ONCE(ctx->fork_heirs);
		atomic_long_inc(&heirs->views);
		return heirs;
	}
	heirs = kzalloc(sizeof(*heirs), GFP_KERNEL_ACCOUNT | __GFP_NOFAIL);
	atomic_long_set(&heirs->views, 1);
	mmgrab(mm);
	down_write(&ctx->lock);
	old = ctx->fork_mm;
	WRITE_ONCE(ctx->fork_heirs, heirs);
	WRITE_ONCE(ctx->fork_mm, mm);
	heirs->nr = ++ctx->forks;
	list_add_tail(&heirs->link, &ctx->heirs);
	up_write(&ctx->lock);
	if (old)
		mmdrop(old);
	return heirs;
}

/* What they keep goes to the next older ones that inherited it, or away. */
static void wxpool_heirs_end(struct wxpool_context *ctx, struct wxpool_heirs *heirs)
{
	struct wxpool_ending ending = { .ctx = ctx, .fate = WXPOOL_REAPED };
	struct wxpool_heirs *older = NULL;
	struct wxpool_pool *pool;

	if (!list_is_first(&heirs->link, &ctx->heirs))
		older = list_prev_entry(heirs, link);
	list_del(&heirs->link);
	while ((pool = heirs->kept)) {
		heirs->kept = pool->next;
		if (older && older->nr > pool->born) {
			pool->next = older->kept;
			older->kept = pool;
		} else {
			wxpool_end_pool(&ending, pool);
		}
		cond_resched();
	}
	/* Others may show a page of it that hid later than they were forked. */
	wxpool_unmap_ended(&ending);
}

/* A view less. With the mmap_lock of its mm held. */
static void wxpool_heirs_put(struct wxpool_context *ctx, struct wxpool_heirs *heirs)
{
	struct mm_struct *mm = NULL;

	if (atomic_long_add_unless(&heirs->views, -1, 1))
		return;
	down_write(&ctx->lock);
	WARN_ON_ONCE(!atomic_long_dec_and_test(&heirs->views));
	if (ctx->fork_heirs == heirs) {
		mm = ctx->fork_mm;
		WRITE_ONCE(ctx->fork_mm, NULL);
		WRITE_ONCE(ctx->fork_heirs, NULL);
	}
	wxpool_heirs_end(ctx, heirs);
	up_write(&ctx->lock);
	kfree(heirs);
	if (mm)
		mmdrop(mm);
}

static void wxpool_heir_open(struct vm_area_struct *vma)
{
	struct wxpool_heirs *heirs = vma->vm_private_data;

	atomic_long_inc(&heirs->views);
}

static void wxpool_heir_close(struct vm_area_struct *vma)
{
	wxpool_heirs_put(vma->vm_file->private_data, vma->vm_private_data);
}

static const struct vm_operations_struct wxpool_heir_vm_ops = {
	.open = wxpool_heir_open,
	.close = wxpool_heir_close,
	.fault = wxpool_fault,
};

static vm_fault_t wxpool_no_fault(struct vm_fault *vmf)
{
	return VM_FAULT_SIGBUS;
}

/* Of a W view that madvise(MADV_DOFORK) brought into a child after all. */
static const struct vm_operations_struct wxpool_void_vm_ops = {
	.fault = wxpool_no_fault,
};

/*
 * A view is split, moved or copied, by whomever. fork() is the one that makes one in another mm,
 * with faults locked out of both. Some of the core's features have page tables copied even for
 * file mappings; so of a W view nothing must be left in them to copy.
 */
static void wxpool_owner_open(struct vm_area_struct *vma)
{
	struct wxpool_context *ctx = vma->vm_file->private_data;

	if (vma->vm_mm == ctx->owner)
		return;
	if (vma->vm_flags & VM_MAYWRITE) {
		vma->vm_ops = &wxpool_void_vm_ops;
		wxpool_unmap(ctx, vma->vm_pgoff, vma_pages(vma));
		return;
	}
	vma->vm_private_data = wxpool_heirs_get(ctx, vma->vm_mm);
	vma->vm_ops = &wxpool_heir_vm_ops;
	/* A ->close does not keep all kernels from merging. */
	vm_flags_set(vma, VM_DONTEXPAND);
}

/* No ->close: old kernels do not merge views that have one. */
static const struct vm_operations_struct wxpool_owner_vm_ops = {
	.open = wxpool_owner_open,
	.fault = wxpool_fault,
};

static const struct vm_operations_struct wxpool_guest_vm_ops = {
	.fault = wxpool_fault,
};

/*
 * Fixes the kind of a view that is asked for.
 *
 * VM_LOCKED goes because the pages are always in memory, and the core's bookkeeping of it holds
 * references that PROTECT would take for pins. With VM_DONTEXPAND nobody can set it later, and the
 * core does not merge the view.
 */
static int wxpool_fix_view(vm_flags_t *flags, bool owner)
{
	vm_flags_t asked = *flags;

	if (!(*flags & VM_MAYSHARE))
		return -EACCES;
	*flags &= ~(VM_LOCKED | VM_LOCKONFAULT);
	switch (*flags & (VM_WRITE | VM_EXEC)) {
	case VM_WRITE | VM_EXEC:
		return -EACCES;
	case VM_WRITE:
		if (!owner)
			return -EXDEV;
		*flags &= ~VM_MAYEXEC;
		*flags |= VM_DONTCOPY | VM_DONTEXPAND;
		break;
	case VM_EXEC:
		*flags &= ~VM_MAYWRITE;
		if (!(*flags & VM_READ))
			*flags &= ~VM_MAYREAD;
		break;
	default:
		*flags &= ~(VM_MAYWRITE | VM_MAYEXEC);
		break;
	}
	/*
	 * Up to 6.15 the core first tries to merge what is asked for, and asks us only if it
	 * cannot. A view that has all rights that any view is asked with (the descriptor is
	 * read-only, or the mount noexec) would become part of another kind's then.
	 */
	if ((*flags & WXPOOL_MAY) == (asked & WXPOOL_MAY))
		*flags |= VM_DONTEXPAND;
	return 0;
}

/* Of a view that is asked for: 0, -EACCES (never allowed) or -EXDEV (not owner) */
int wxpool_judge_view(struct file *file, vm_flags_t *flags,
		      const struct vm_operations_struct **vm_ops)
{
	bool owner = wxpool_is_owner(file->private_data);
	int err = wxpool_fix_view(flags, owner);

	if (err) {
		trace_wxpool_refuse(file->private_data, WXPOOL_OP_MMAP, -err);
		return err;
	}
	*vm_ops = owner ? &wxpool_owner_vm_ops : &wxpool_guest_vm_ops;
	return 0;
}
