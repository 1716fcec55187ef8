/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * wxpool: trace events, for each thing that was done and each that was not
 *
 * Documentation/observing.md says what they are for.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM wxpool

#if !defined(WXPOOL_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define WXPOOL_TRACE_H

#include <linux/tracepoint.h>

#include "internal.h"

TRACE_DEFINE_ENUM(WXPOOL_FREED);
TRACE_DEFINE_ENUM(WXPOOL_KEPT);
TRACE_DEFINE_ENUM(WXPOOL_REAPED);

#define wxpool_show_fate(_fate)							\
	__print_symbolic(_fate,							\
		{ WXPOOL_FREED, "freed" },					\
		{ WXPOOL_KEPT, "kept" },					\
		{ WXPOOL_REAPED, "reaped" })

/* What has no number in the UAPI header */
#define WXPOOL_OP_MMAP	0
#define WXPOOL_OP_NONE	1	/* an ioctl() that is none of ours */

/* The operations' numbers, in plain digits, as programs have to read this */
#define wxpool_show_op(_op)							\
	__print_symbolic(_op,							\
		{ WXPOOL_OP_MMAP, "MMAP" },					\
		{ WXPOOL_OP_NONE, "none" },					\
		{ 0x80, "INFO" },						\
		{ 0x81, "ALLOC" },						\
		{ 0x82, "PROTECT" },						\
		{ 0x83, "FREE" },						\
		{ 0x84, "INSTALL" },						\
		{ 0x85, "FREEZE" })

/* Those that the UAPI header explains */
#define wxpool_show_error(_error)						\
	__print_symbolic(_error,						\
		{ E2BIG, "E2BIG" },						\
		{ EACCES, "EACCES" },						\
		{ EBADF, "EBADF" },						\
		{ EBUSY, "EBUSY" },						\
		{ EEXIST, "EEXIST" },						\
		{ EFAULT, "EFAULT" },						\
		{ EHWPOISON, "EHWPOISON" },					\
		{ EINTR, "EINTR" },						\
		{ EINVAL, "EINVAL" },						\
		{ ENOENT, "ENOENT" },						\
		{ ENOMEM, "ENOMEM" },						\
		{ ENOSPC, "ENOSPC" },						\
		{ ENOTTY, "ENOTTY" },						\
		{ EOVERFLOW, "EOVERFLOW" },					\
		{ EPERM, "EPERM" },						\
		{ EROFS, "EROFS" },						\
		{ ESTALE, "ESTALE" },						\
		{ EXDEV, "EXDEV" })

TRACE_EVENT(wxpool_alloc,

	TP_PROTO(const struct wxpool_context *ctx, u32 pool, u32 nr_ranges, u64 bytes),

	TP_ARGS(ctx, pool, nr_ranges, bytes),

	TP_STRUCT__entry(
		__field(u64, context)
		__field(u32, pool)
		__field(u32, ranges)
		__field(u64, bytes)
	),

	TP_fast_assign(
		__entry->context = ctx->info.context;
		__entry->pool = pool;
		__entry->ranges = nr_ranges;
		__entry->bytes = bytes;
	),

	TP_printk("context=%llu pool=%u ranges=%u bytes=%llu",
		  __entry->context, __entry->pool, __entry->ranges, __entry->bytes)
);

/* @exec: how many of the bytes can be run from now on */
DECLARE_EVENT_CLASS(wxpool_publish,

	TP_PROTO(const struct wxpool_context *ctx, u32 pool, u32 nr_ranges, u64 bytes, u64 exec),

	TP_ARGS(ctx, pool, nr_ranges, bytes, exec),

	TP_STRUCT__entry(
		__field(u64, context)
		__field(u32, pool)
		__field(u32, ranges)
		__field(u64, bytes)
		__field(u64, exec)
	),

	TP_fast_assign(
		__entry->context = ctx->info.context;
		__entry->pool = pool;
		__entry->ranges = nr_ranges;
		__entry->bytes = bytes;
		__entry->exec = exec;
	),

	TP_printk("context=%llu pool=%u ranges=%u bytes=%llu exec=%llu",
		  __entry->context, __entry->pool, __entry->ranges, __entry->bytes,
		  __entry->exec)
);

DEFINE_EVENT(wxpool_publish, wxpool_protect,

	TP_PROTO(const struct wxpool_context *ctx, u32 pool, u32 nr_ranges, u64 bytes, u64 exec),

	TP_ARGS(ctx, pool, nr_ranges, bytes, exec)
);

DEFINE_EVENT(wxpool_publish, wxpool_install,

	TP_PROTO(const struct wxpool_context *ctx, u32 pool, u32 nr_ranges, u64 bytes, u64 exec),

	TP_ARGS(ctx, pool, nr_ranges, bytes, exec)
);

/* A pool ends, by FREE, or with its context or its last heir. */
TRACE_EVENT(wxpool_free,

	TP_PROTO(const struct wxpool_context *ctx, const struct wxpool_pool *pool,
		 enum wxpool_fate fate),

	TP_ARGS(ctx, pool, fate),

	TP_STRUCT__entry(
		__field(u64, context)
		__field(u32, pool)
		__field(u32, fate)
		__field(u64, bytes)
	),

	TP_fast_assign(
		__entry->context = ctx->info.context;
		__entry->pool = pool->id;
		__entry->fate = fate;
		__entry->bytes = wxpool_pool_bytes(pool);
	),

	TP_printk("context=%llu pool=%u bytes=%llu fate=%s",
		  __entry->context, __entry->pool, __entry->bytes,
		  wxpool_show_fate(__entry->fate))
);

/* @op: of the UAPI header, or one of the above. @error: positive */
TRACE_EVENT(wxpool_refuse,

	TP_PROTO(const struct wxpool_context *ctx, unsigned int op, int error),

	TP_ARGS(ctx, op, error),

	TP_STRUCT__entry(
		__field(u64, context)
		__field(u32, op)
		__field(u32, error)
	),

	TP_fast_assign(
		__entry->context = ctx->info.context;
		__entry->op = op;
		__entry->error = error;
	),

	TP_printk("context=%llu op=%s error=%s", __entry->context,
		  wxpool_show_op(__entry->op), wxpool_show_error(__entry->error))
);

/* The limit of a context or of its user is in the way. Idle blocks may have to make room. */
TRACE_EVENT(wxpool_limit,

	TP_PROTO(const struct wxpool_context *ctx, bool user, unsigned long wanted),

	TP_ARGS(ctx, user, wanted),

	TP_STRUCT__entry(
		__field(u64, context)
		__field(u32, uid)
		__field(u32, user)
		__field(u64, charged)
		__field(u64, wanted)
		__field(u64, limit)
	),

	TP_fast_assign(
		__entry->context = ctx->info.context;
		__entry->uid = __kuid_val(ctx->user->uid);
		__entry->user = user;
		__entry->charged = atomic_long_read(user ? &ctx->user->charged : &ctx->charged);
		__entry->wanted = wanted;
		__entry->limit = READ_ONCE(*(user ? &wxpool_user_limit : &wxpool_context_limit));
	),

	TP_printk("context=%llu uid=%u of=%s charged=%llu wanted=%llu limit=%llu",
		  __entry->context, __entry->uid, __entry->user ? "user" : "context",
		  __entry->charged, __entry->wanted, __entry->limit)
);

#endif /* WXPOOL_TRACE_H */

/* Outside of the guard, as this reads the file again */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
