// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: the device and its operations
 *
 * /dev/wxpool grants pages whose protection moves from write to execute (or
 * read) once, and never back until they are freed. The module is mechanism: it
 * keeps the states of pages and judges who may do what. Where code goes, how
 * it is packed and when it is published is up to the user, usually libwxpool.
 *
 * include/uapi/linux/wxpool.h says what the operations do, internal.h how the
 * objects hang together.
 */
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

#include "internal.h"

module_param_named(max_pages_per_context, wxp_max_context_pages, ulong, 0644);
MODULE_PARM_DESC(max_pages_per_context,
		 "Most pages that one open of the device may hold (default: as per user)");
module_param_named(max_pages_per_user, wxp_max_user_pages, ulong, 0644);
MODULE_PARM_DESC(max_pages_per_user,
		 "Most pages that all opens of one user may hold (default: a quarter of memory)");

static int wxp_ioc_info(struct file *file, void *arg)
{
	struct wxpool_info *info = arg;

	info->abi_version = WXPOOL_ABI_VERSION;
	info->features = 0;
	info->space = WXP_SPACE;
	info->context_limit = (u64)READ_ONCE(wxp_max_context_pages) << PAGE_SHIFT;
	info->user_limit = (u64)READ_ONCE(wxp_max_user_pages) << PAGE_SHIFT;
	info->page_size = PAGE_SIZE;
	info->line_size = WXP_LINE_SIZE;
	info->huge_size = WXP_HUGE_SIZE;
	info->max_ranges = WXPOOL_MAX_RANGES;
	return 0;
}

union wxp_args {
	struct wxpool_info info;
	struct wxpool_vec vec;
	struct wxpool_free free;
	struct wxpool_freeze freeze;
};

/**
 * struct wxp_op - an operation of the device
 * @cmd: its number
 * @size: size of its structure
 * @min_size: size of the first version of its structure
 * @owner: for the owner only
 * @results: the structure is copied back
 * @execute: called with the structure copied in
 * @try: does the same without blocking, or gives -EAGAIN; NULL if there is no
 *	such way
 */
struct wxp_op {
	unsigned int cmd;
	size_t size;
	size_t min_size;
	bool owner;
	bool results;
	int (*execute)(struct file *file, void *arg);
	int (*try)(struct file *file, void *arg);
};

/* In the order of their numbers. */
static const struct wxp_op wxp_ops[] = {
	{
		.cmd = WXPOOL_IOC_INFO,
		.size = sizeof(struct wxpool_info),
		.min_size = offsetofend(struct wxpool_info, max_ranges),
		.results = true,
		.execute = wxp_ioc_info,
		.try = wxp_ioc_info,
	},
	{
		.cmd = WXPOOL_IOC_ALLOC,
		.size = sizeof(struct wxpool_vec),
		.min_size = offsetofend(struct wxpool_vec, map_error),
		.owner = true,
		.results = true,
		.execute = wxp_ioc_alloc,
	},
	{
		.cmd = WXPOOL_IOC_PROTECT,
		.size = sizeof(struct wxpool_vec),
		.min_size = offsetofend(struct wxpool_vec, map_error),
		.owner = true,
		.results = true,
		.execute = wxp_ioc_protect,
	},
	{
		.cmd = WXPOOL_IOC_FREE,
		.size = sizeof(struct wxpool_free),
		.min_size = offsetofend(struct wxpool_free, nr_kept),
		.owner = true,
		.results = true,
		.execute = wxp_ioc_free,
	},
	{
		.cmd = WXPOOL_IOC_INSTALL,
		.size = sizeof(struct wxpool_vec),
		.min_size = offsetofend(struct wxpool_vec, map_error),
		.owner = true,
		.execute = wxp_ioc_install,
		.try = wxp_try_install,
	},
	{
		.cmd = WXPOOL_IOC_FREEZE,
		.size = sizeof(struct wxpool_freeze),
		.min_size = offsetofend(struct wxpool_freeze, flags),
		.owner = true,
		.execute = wxp_ioc_freeze,
	},
};

static const struct wxp_op *wxp_find_op(unsigned int cmd)
{
	unsigned int nr = _IOC_NR(cmd) - _IOC_NR(WXPOOL_IOC_INFO);

	if (nr >= ARRAY_SIZE(wxp_ops) || wxp_ops[nr].cmd != cmd)
		return NULL;
	return &wxp_ops[nr];
}

static int wxp_copy_args(const struct wxp_op *op, union wxp_args *args,
			 void __user *argp, u32 *size)
{
	int err;

	if (get_user(*size, (u32 __user *)argp))
		return -EFAULT;
	if (*size < op->min_size)
		return -EINVAL;
	if (*size > PAGE_SIZE)
		return -E2BIG;
	if (*size == op->size)
		err = wxp_copy_words(args, argp, *size);
	else
		err = copy_struct_from_user(args, op->size, argp, *size);
	if (err)
		return err;
	if (!op->results)
		return 0;
	/* Can they be stored? Afterwards is too late to change nothing. */
	*size = min_t(size_t, *size, op->size);
	return copy_to_user(argp, args, *size) ? -EFAULT : 0;
}

static int wxp_call(struct file *file, unsigned int cmd, void __user *argp,
		    bool nonblock)
{
	const struct wxp_op *op = wxp_find_op(cmd);
	union wxp_args args;
	u32 size;
	int err;

	if (!op)
		return -ENOTTY;
	if (op->owner && !wxp_is_owner(file->private_data))
		return -EXDEV;
	if (nonblock && !op->try)
		return -EAGAIN;
	err = wxp_copy_args(op, &args, argp, &size);
	if (err)
		return err;
	err = nonblock ? op->try(file, &args) : op->execute(file, &args);
	if (err || !op->results)
		return err;
	return copy_to_user(argp, &args, size) ? -EFAULT : 0;
}

static long wxp_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return wxp_call(file, cmd, (void __user *)arg, false);
}

/*
 * Done when it returns, so there is nothing to cancel. What would block, which
 * holds up the ring, io_uring calls again from a worker.
 */
static int wxp_uring_cmd(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	const struct wxpool_uring_cmd *payload = wxp_uring_payload(cmd);
	u64 arg = READ_ONCE(payload->arg);

	if (cmd->flags & IORING_URING_CMD_MASK || READ_ONCE(payload->__reserved))
		return -EINVAL;
	return wxp_call(cmd->file, cmd->cmd_op, u64_to_user_ptr(arg),
			issue_flags & IO_URING_F_NONBLOCK);
}

static void wxp_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct wxp_ctx *ctx = file->private_data;

	down_read(&ctx->lock);
	seq_printf(m, "wxpool-pools:\t%lu\n", ctx->nr_pools);
	seq_printf(m, "wxpool-open:\t%lu\n", ctx->nr[WXP_OPEN]);
	seq_printf(m, "wxpool-read:\t%lu\n", ctx->nr[WXP_SEALED_R]);
	seq_printf(m, "wxpool-exec:\t%lu\n", ctx->nr[WXP_SEALED_X]);
	seq_printf(m, "wxpool-packed:\t%lu\n", ctx->nr_packed);
	seq_printf(m, "wxpool-huge:\t%lu\n", ctx->nr_huge);
	seq_printf(m, "wxpool-lines:\t%lu\n", ctx->nr_lines);
	seq_printf(m, "wxpool-kept:\t%lu\n", ctx->nr_kept);
	seq_printf(m, "wxpool-limit:\t%lu\n", READ_ONCE(wxp_max_context_pages));
	up_read(&ctx->lock);
}

static const struct file_operations wxp_fops = {
	.owner = THIS_MODULE,
	.open = wxp_open,
	.release = wxp_release,
	.llseek = noop_llseek,
	.unlocked_ioctl = wxp_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.uring_cmd = wxp_uring_cmd,
	/* Such that a view of huge pages can have them. */
	.get_unmapped_area = thp_get_unmapped_area,
	WXP_FOP_MMAP,
	.show_fdinfo = wxp_show_fdinfo,
};

/* Anyone may use it, as anyone may mmap(): limits are per user. */
static struct miscdevice wxp_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "wxpool",
	.fops = &wxp_fops,
	.mode = 0666,
};

static int __init wxp_init(void)
{
	if (!wxp_max_user_pages)
		wxp_max_user_pages = totalram_pages() / 4;
	if (!wxp_max_context_pages)
		wxp_max_context_pages = wxp_max_user_pages;
	return misc_register(&wxp_misc);
}

static void __exit wxp_exit(void)
{
	misc_deregister(&wxp_misc);
}

module_init(wxp_init);
module_exit(wxp_exit);

MODULE_AUTHOR("The wxpool authors");
MODULE_DESCRIPTION("Pages whose protection moves from write to execute once");
MODULE_LICENSE("GPL");
