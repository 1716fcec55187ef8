// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: the device and its operations
 *
 * The module is mechanism: it keeps the states of pages and judges who may do what. Where code
 * goes and when it is published is up to the user, usually libwxpool. The UAPI header says what
 * the operations do, internal.h how the objects hang together.
 */
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/security.h>
#include <linux/uaccess.h>

#include "internal.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

module_param_named(max_bytes_per_context, wxpool_context_limit, ulong, 0644);
MODULE_PARM_DESC(max_bytes_per_context,
		 "Most bytes that one open of the device may hold (default: as per user)");
module_param_named(max_bytes_per_user, wxpool_user_limit, ulong, 0644);
MODULE_PARM_DESC(max_bytes_per_user,
		 "Most bytes that all opens of one user may hold (default: a quarter of memory)");

struct wxpool_op {
	unsigned int cmd;
	size_t size;			/* of its structure */
	size_t min_size;		/* of the first version of that */
	size_t element;			/* of its vector, 0 if none or if it copies that */
	bool owner;			/* for the owner only */
	bool results;			/* the structure is copied back */
	bool nowait;			/* can be done with WXPOOL_GFP_NOWAIT */
	wxpool_execute_fn *execute;
};

/* Structures are copied in words, and looked at by their common beginning. */
#define WXPOOL_OP(_cmd, _struct, _last, _execute)				\
	.cmd = _cmd, .execute = _execute, .size = sizeof(struct _struct) +	\
		BUILD_BUG_ON_ZERO(sizeof(struct _struct) % sizeof(u64)) +	\
		BUILD_BUG_ON_ZERO(sizeof(struct _struct) > sizeof(union wxpool_args)) + \
		BUILD_BUG_ON_ZERO(offsetof(struct _struct, size)) +		\
		BUILD_BUG_ON_ZERO(offsetof(struct _struct, context) !=		\
				  offsetof(struct wxpool_vec, context)),	\
	.min_size = offsetofend(struct _struct, _last)
#define WXPOOL_VEC(_struct, _addr, _nr, _element)				\
	.element = sizeof(_element) +						\
		BUILD_BUG_ON_ZERO(offsetof(struct _struct, _addr) !=		\
				  offsetof(struct wxpool_vec, addr)) +		\
		BUILD_BUG_ON_ZERO(offsetof(struct _struct, _nr) != offsetof(struct wxpool_vec, nr))

/* In the order of their numbers. */
static const struct wxpool_op wxpool_ops[] = {
	{ WXPOOL_OP(WXPOOL_IOC_INFO, wxpool_info, pool_lines, wxpool_op_info), .results = true },
	{ WXPOOL_OP(WXPOOL_IOC_ALLOC, wxpool_alloc, flags, wxpool_op_alloc), .owner = true,
	  WXPOOL_VEC(wxpool_alloc, ranges, nr_ranges, struct wxpool_alloc_range) },
	{ WXPOOL_OP(WXPOOL_IOC_PROTECT, wxpool_protect, flags, wxpool_op_protect), .owner = true,
	  WXPOOL_VEC(wxpool_protect, ranges, nr_ranges, struct wxpool_protect_range) },
	{ WXPOOL_OP(WXPOOL_IOC_FREE, wxpool_free, lines_kept, wxpool_op_free), .owner = true,
	  WXPOOL_VEC(wxpool_free, pools, nr_pools, u32), .results = true },
	{ WXPOOL_OP(WXPOOL_IOC_INSTALL, wxpool_install, flags, wxpool_op_install), .owner = true,
	  .nowait = true },
	{ WXPOOL_OP(WXPOOL_IOC_FREEZE, wxpool_freeze, context, wxpool_op_freeze), .owner = true },
};

static const struct wxpool_op *wxpool_find_op(unsigned int cmd)
{
	unsigned int nr = _IOC_NR(cmd) - _IOC_NR(WXPOOL_IOC_INFO);

	BUILD_BUG_ON(ARRAY_SIZE(wxpool_ops) !=
		     _IOC_NR(WXPOOL_IOC_FREEZE) - _IOC_NR(WXPOOL_IOC_INFO) + 1);
	if (nr >= ARRAY_SIZE(wxpool_ops) || cmd != _IO(WXPOOL_TYPE, _IOC_NR(cmd)))
		return NULL;
	if (WARN_ON_ONCE(wxpool_ops[nr].cmd != cmd))
		return NULL;
	return &wxpool_ops[nr];
}

static int wxpool_copy_results(void __user *argp, const union wxpool_args *args, size_t size)
{
	if (!user_access_begin(argp, size))
		return -EFAULT;
	unsafe_copy_to_user(argp, (const char *)args, size, fault);
	user_access_end();
	return 0;

fault:
	user_access_end();
	return -EFAULT;
}

static int wxpool_copy_args(const struct wxpool_op *op, union wxpool_args *args, void __user *argp)
{
	u32 size;
	int err;

	if (get_user(size, (u32 __user *)argp))
		return -EFAULT;
	if (size < op->min_size)
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	if (size == op->size)
		err = wxpool_copy_words(args, argp, size);
	else
		err = copy_struct_from_user(args, op->size, argp, size);
	args->vec.size = size;
	/* Can results be stored? Afterwards is too late to change nothing. */
	if (!err && op->results)
		err = wxpool_copy_results(argp, args, min_t(size_t, size, op->size));
	return err;
}

static int wxpool_judge_call(const struct file *file, const struct wxpool_op *op,
			     const union wxpool_args *args)
{
	const struct wxpool_context *ctx = file->private_data;
	const fmode_t both = FMODE_READ | FMODE_WRITE;

	if (args->vec.context && args->vec.context != ctx->info.context)
		return -ESTALE;
	if (!op->owner)
		return 0;
	if ((file->f_mode & both) != both)
		return -EBADF;
	return wxpool_is_owner(ctx) ? 0 : -EXDEV;
}

/* The vector is not charged, as with any other system call: it is there for this one only. */
static int wxpool_execute(struct wxpool_context *ctx, const struct wxpool_op *op,
			  union wxpool_args *args, gfp_t gfp)
{
	size_t size = op->element * args->vec.nr;
	u64 few[16];
	void *vec = few;
	int err = 0;

	if (op->element && args->vec.nr > WXPOOL_MAX_RANGES)
		return -EINVAL;
	if (size > sizeof(few))
		vec = kvmalloc(size, gfp);
	if (!vec)
		return -ENOMEM;
	if (size)
		err = wxpool_copy_words(vec, u64_to_user_ptr(args->vec.addr), size);
	if (!err)
		err = op->execute(ctx, args, vec, gfp);
	if (err == -ENOSPC && gfpflags_allow_blocking(gfp) && wxpool_reclaim(ctx))
		err = op->execute(ctx, args, vec, gfp);
	if (vec != few)
		kvfree(vec);
	return err;
}

static int wxpool_try(struct file *file, unsigned int cmd, void __user *argp, gfp_t gfp)
{
	const struct wxpool_op *op = wxpool_find_op(cmd);
	union wxpool_args args;
	int err;

	if (!op)
		return -ENOTTY;
	if (!op->nowait && !gfpflags_allow_blocking(gfp))
		return -EAGAIN;
	err = wxpool_copy_args(op, &args, argp);
	if (err)
		return err;
	err = wxpool_judge_call(file, op, &args);
	if (err)
		return err;
	err = wxpool_execute(file->private_data, op, &args, gfp);
	if (err || !op->results)
		return err;
	return wxpool_copy_results(argp, &args, min_t(size_t, args.vec.size, op->size));
}

/* Numbers of other devices may differ from ours in other bits only. */
static void wxpool_trace_refusal(const struct file *file, unsigned int cmd, int err)
{
	unsigned int op = wxpool_find_op(cmd) ? _IOC_NR(cmd) : WXPOOL_OP_NONE;

	trace_wxpool_refuse(file->private_data, op, -err);
}

/* With WXPOOL_GFP_NOWAIT: -EAGAIN if it has to be tried without, which is no refusal */
static int wxpool_call(struct file *file, unsigned int cmd, void __user *argp, gfp_t gfp)
{
	int err = wxpool_try(file, cmd, argp, gfp);

	if ((err == -ENOMEM || err == -ENOSPC) && !gfpflags_allow_blocking(gfp))
		return -EAGAIN;
	/* Without a structure it only asks if a policy is in the way. */
	if (err && err != -EAGAIN && argp)
		wxpool_trace_refusal(file, cmd, err);
	return err;
}

static long wxpool_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return wxpool_call(file, cmd, (void __user *)arg, WXPOOL_GFP);
}

/*
 * Done when it returns, so there is nothing to cancel. What would block, which
 * holds up the ring, io_uring calls again from a worker.
 */
static int wxpool_uring_cmd(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	const struct wxpool_uring_cmd *payload = wxpool_uring_payload(cmd);
	u64 arg = READ_ONCE(payload->arg);
	int err;

	if (cmd->flags & IORING_URING_CMD_MASK || READ_ONCE(payload->__reserved)) {
		wxpool_trace_refusal(cmd->file, cmd->cmd_op, -EINVAL);
		return -EINVAL;
	}
	/* What forbids an ioctl() forbids the same operation here. */
	err = security_file_ioctl(cmd->file, cmd->cmd_op, arg);
	if (err)
		return err;
	return wxpool_call(cmd->file, cmd->cmd_op, u64_to_user_ptr(arg),
			   issue_flags & IO_URING_F_NONBLOCK ? WXPOOL_GFP_NOWAIT : WXPOOL_GFP);
}

static const struct file_operations wxpool_fops = {
	.owner = THIS_MODULE,
	.open = wxpool_open,
	.release = wxpool_release,
	.llseek = noop_llseek,
	.unlocked_ioctl = wxpool_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.uring_cmd = wxpool_uring_cmd,
	/* Such that a view of huge pages can have them. */
	.get_unmapped_area = thp_get_unmapped_area,
	WXPOOL_FOP_MMAP,
	.show_fdinfo = wxpool_show_fdinfo,
};

/* Who else may open it is for udev's rules to say. */
static struct miscdevice wxpool_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "wxpool",
	.fops = &wxpool_fops,
	.mode = 0600,
};

static int __init wxpool_init(void)
{
	int err;

	err = wxpool_account_init();
	if (err)
		return err;
	err = misc_register(&wxpool_misc);
	if (err)
		wxpool_account_exit();
	return err;
}

static void __exit wxpool_exit(void)
{
	misc_deregister(&wxpool_misc);
	wxpool_account_exit();
}

module_init(wxpool_init);
module_exit(wxpool_exit);

MODULE_AUTHOR("The wxpool authors");
MODULE_DESCRIPTION("Pages whose protection moves from write to execute once");
MODULE_LICENSE("GPL");
#ifdef WXPOOL_VERSION		/* out of tree */
MODULE_VERSION(WXPOOL_VERSION);
#endif
