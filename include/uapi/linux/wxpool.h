/* SPDX-License-Identifier: (GPL-2.0-only WITH Linux-syscall-note) OR MIT */
/*
 * /dev/wxpool: pool-scoped pages whose protection moves from write to execute
 * (or read) once.
 */
#ifndef _UAPI_LINUX_WXPOOL_H
#define _UAPI_LINUX_WXPOOL_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * DOC: objects
 *
 * A *context* is one open of /dev/wxpool. It is a sparse space of pages
 * indexed by file offset; its *owner* is the address space (mm) that opened
 * it. Its id is a number that no other context has or had since the module was
 * loaded. A *pool* is a lifetime within a context, named by a non-zero number
 * of the user's choice: it begins with its first pages or lines and ends with
 * WXPOOL_IOC_FREE.
 *
 * A page is absent, OPEN (writable), or sealed R (readable), X (readable and
 * executable) or XO (executable only). WXPOOL_IOC_ALLOC takes it from absent to
 * OPEN, WXPOOL_IOC_PROTECT once from OPEN to R, X or XO, and WXPOOL_IOC_FREE
 * from any state to absent.
 *
 * A *packed page* is R, X or XO from the start, and never writable. It consists
 * of *lines* of 64 bytes, which may belong to different pools. A line is free
 * (zeros in an R page, else trap instructions) or live. WXPOOL_IOC_INSTALL makes
 * a line live, with bytes copied by the kernel, and the page if it is absent.
 * WXPOOL_IOC_FREE makes a pool's lines free again, and a page without a live
 * line absent. A *block* is the packed pages of an aligned stretch of 2 MiB that
 * are one huge page: they come and go together. There is no other transition.
 *
 * The module keeps one block without a live line for each protection: the
 * *idle* one. It is as good as absent to every operation, but views show its
 * free lines. It goes when its memory is needed.
 *
 * A *view* is an mmap(MAP_SHARED) of the context. Its kind is fixed when it
 * is made, by the protection asked for. mprotect() can take from it, and give
 * back, but not change its kind:
 *
 * =======  =======================  ================  ===================
 * kind     mmap() protection        who               pages it can touch
 * =======  =======================  ================  ===================
 * W view   PROT_WRITE, no EXEC      the owner         OPEN
 * X view   PROT_READ and PROT_EXEC  any holder of fd  X
 * XO view  PROT_EXEC alone          any holder of fd  X and XO
 * R view   PROT_READ or PROT_NONE   any holder of fd  R and X
 * =======  =======================  ================  ===================
 *
 * A view may cover pages in any state, also absent ones: touching a page that
 * its kind does not allow raises SIGBUS, and so does a page with a memory error.
 * mprotect() cannot make an XO view readable; whether loads from it fail is up
 * to the processor, see WXPOOL_FEATURE_XO. W views cannot be locked in memory
 * (nor need any view), and do not merge with each other.
 *
 * An *heir* is a process that fork() made of the owner, or of another heir: it
 * inherits all views but W views. They go on showing what they showed at the
 * fork, whatever the owner frees later: a pool that an heir inherited is *kept*
 * when it is freed, until no such heir has such a view. Its pages are then out
 * of the owner's reach, but count towards the limits. Its lines in packed pages
 * that other pools use stay as they are, also for the owner, and are not free.
 * (A packed page that has kept lines alone is out of reach until lines are
 * installed there.)
 */

/**
 * DOC: general ioctl format
 *
 * Every operation takes a pointer to a structure that begins with its own
 * size in bytes, so that structures can grow:
 *
 * - a size smaller than the first version of the structure is -EINVAL;
 * - a larger size than the kernel knows is fine if the excess is all zero,
 *   else -E2BIG;
 * - what a shorter structure lacks is taken as zero.
 *
 * Every structure names the context that it is meant for by its id, or by 0 if
 * any will do. A program whose descriptor was closed behind its back, and whose
 * number belongs to another context by now, gets an error then.
 *
 * All operations but WXPOOL_IOC_INFO are the owner's only, and need a descriptor
 * open for reading and writing. Those on one context happen one after the
 * other, from however many threads they come. One that fails has changed
 * nothing.
 *
 * Offsets and lengths are in bytes and multiples of the page size, but for those
 * of WXPOOL_IOC_INSTALL. Ranges of one call are taken in their order, as if each
 * were a call: of two that overlap, the second meets what the first has made.
 *
 * The same operations can be submitted to io_uring: see &struct
 * wxpool_uring_cmd.
 *
 * Each error has one meaning for all operations:
 *
 * - E2BIG: the structure has a non-zero tail that this kernel does not know, or
 *   is larger than a page.
 * - EACCES: this kind of view is never allowed: writable and executable, or
 *   MAP_PRIVATE (mmap only). A security module may refuse an operation with it.
 * - EBADF: the descriptor is not open for reading and writing.
 * - EBUSY: somebody holds a reference to a page to be sealed: a pipe, an
 *   io_uring buffer, I/O in flight. Try again once it is dropped.
 * - EEXIST: a page or line of the range is in use, or kept for an heir.
 * - EFAULT: the structure, the vector or a source of WXPOOL_IOC_INSTALL is not
 *   readable, or a structure with outputs is not writable memory. (One that
 *   ceases to be while the call is on its way cannot receive the results: then
 *   the operation was done.)
 * - EHWPOISON: a page of the range has a memory error.
 * - EINTR: a fatal signal arrived.
 * - EINVAL: malformed: a misaligned or empty range, pool 0, an unknown flag
 *   or protection, a non-zero reserved field, more than WXPOOL_MAX_RANGES
 *   elements or none, more than WXPOOL_MAX_INSTALL bytes.
 * - ENOENT: no such pool, or no such page in that pool.
 * - ENOMEM: the kernel or the memory cgroup is out of memory.
 * - ENOSPC: over the limit of the context or of the user.
 * - ENOTTY: no such operation.
 * - EOVERFLOW: the range ends beyond the space of the context.
 * - EPERM: an illegal transition: the page is sealed already.
 * - EROFS: the context is frozen.
 * - ESTALE: the descriptor is another context's than the structure says.
 * - EXDEV: the caller is not the owner.
 *
 * mmap() itself adds its own: EPERM where /dev is mounted noexec or a
 * security module refuses, ENOMEM at the limit of mappings. So do other calls
 * on views: mprotect() fails with EACCES if the view's kind does not allow what
 * it asks for, as does mmap() of a W view if the descriptor is not open for
 * writing; mlock() of a W view fails with ENOMEM. A view may go beyond the space
 * of the context, where it shows nothing.
 */

#define WXPOOL_ABI_VERSION	2

/* The most elements in the vector of one call. */
#define WXPOOL_MAX_RANGES	1024

/* The most bytes that one WXPOOL_IOC_INSTALL copies, in full lines. */
#define WXPOOL_MAX_INSTALL	(16 << 20)

#define WXPOOL_TYPE		'W'

/**
 * enum wxpool_prot - what a page is sealed to
 * @WXPOOL_PROT_R: readable, never executable: shown by R views
 * @WXPOOL_PROT_X: readable and executable: shown by X, XO and R views
 * @WXPOOL_PROT_XO: executable only: shown by XO views
 */
enum wxpool_prot {
	WXPOOL_PROT_R = 1,
	WXPOOL_PROT_X = 2,
	WXPOOL_PROT_XO = 3,
};

/**
 * enum wxpool_features - bits of @features of &struct wxpool_info
 * @WXPOOL_FEATURE_XO: on this processor loads from XO views fail (x86: memory
 *	protection keys; arm64: EPAN). Without it they succeed
 */
enum wxpool_features {
	WXPOOL_FEATURE_XO = 1,
};

/**
 * enum wxpool_pool_state - what a pool's number stands for
 * @WXPOOL_POOL_GONE: nothing
 * @WXPOOL_POOL_KEPT: freed, but heirs show it
 * @WXPOOL_POOL_LIVE: pages or lines
 */
enum wxpool_pool_state {
	WXPOOL_POOL_GONE = 0,
	WXPOOL_POOL_KEPT = 1,
	WXPOOL_POOL_LIVE = 2,
};

/**
 * struct wxpool_info - ioctl(WXPOOL_IOC_INFO)
 * @size: sizeof(struct wxpool_info)
 * @pool: a pool to ask about, or 0
 * @context: id of the context, or 0; output: its id
 * @abi_version: WXPOOL_ABI_VERSION of the module
 * @frozen: 1 after WXPOOL_IOC_FREEZE, else 0
 * @features: of &enum wxpool_features
 * @space: size of a context's offset space in bytes
 * @page_size: granularity of WXPOOL_IOC_ALLOC in bytes
 * @line_size: granularity of packed pages in bytes
 * @block_size: size and alignment of a block in bytes, 0 if there is none
 * @max_ranges: most elements in the vector of one call
 * @context_limit: most bytes that a context may hold
 * @user_limit: most bytes that all contexts of a user may hold
 * @charged: bytes that the context holds: pages, and what the module needs for
 *	them and for pools
 * @user_charged: bytes that all contexts of its user hold
 * @pools: live pools
 * @pages_open: pages that are OPEN
 * @pages_read: pages that are R, packed or not, without those of @pages_kept
 * @pages_exec: the same that are X
 * @pages_exec_only: the same that are XO
 * @pages_packed: packed pages among them
 * @pages_huge: those that are part of a huge page
 * @pages_idle: pages of idle blocks
 * @pages_kept: pages that only heirs show
 * @lines: live lines, without those of @lines_kept
 * @lines_kept: lines of kept pools
 * @pool_state: what @pool is, a &enum wxpool_pool_state
 * @__reserved: 0
 * @pool_pages: pages that WXPOOL_IOC_ALLOC gave to @pool
 * @pool_lines: lines that WXPOOL_IOC_INSTALL gave to @pool
 *
 * Everything but the first three is output. Of a number that several kept pools
 * had, @pool_pages and @pool_lines are their sums. Anyone who holds the fd may
 * ask.
 */
struct wxpool_info {
	__u32 size;
	__u32 pool;
	__aligned_u64 context;
	__u32 abi_version;
	__u32 frozen;
	__aligned_u64 features;
	__aligned_u64 space;
	__u32 page_size;
	__u32 line_size;
	__u32 block_size;
	__u32 max_ranges;
	__aligned_u64 context_limit;
	__aligned_u64 user_limit;
	__aligned_u64 charged;
	__aligned_u64 user_charged;
	__aligned_u64 pools;
	__aligned_u64 pages_open;
	__aligned_u64 pages_read;
	__aligned_u64 pages_exec;
	__aligned_u64 pages_exec_only;
	__aligned_u64 pages_packed;
	__aligned_u64 pages_huge;
	__aligned_u64 pages_idle;
	__aligned_u64 pages_kept;
	__aligned_u64 lines;
	__aligned_u64 lines_kept;
	__u32 pool_state;
	__u32 __reserved;
	__aligned_u64 pool_pages;
	__aligned_u64 pool_lines;
};

#define WXPOOL_IOC_INFO		_IO(WXPOOL_TYPE, 0x80)

/**
 * struct wxpool_alloc_range - one element of WXPOOL_IOC_ALLOC's vector
 * @offset: file offset of the first page
 * @length: bytes, not 0
 */
struct wxpool_alloc_range {
	__aligned_u64 offset;
	__aligned_u64 length;
};

/**
 * struct wxpool_alloc - ioctl(WXPOOL_IOC_ALLOC)
 * @size: sizeof(struct wxpool_alloc)
 * @pool: the pool, not 0
 * @context: id of the context, or 0
 * @ranges: address of an array of &struct wxpool_alloc_range
 * @nr_ranges: number of its elements, 1 to WXPOOL_MAX_RANGES
 * @flags: 0
 *
 * Grants zeroed OPEN pages to @pool, which comes to life with them. Fails with
 * EEXIST where a page is not absent.
 */
struct wxpool_alloc {
	__u32 size;
	__u32 pool;
	__aligned_u64 context;
	__aligned_u64 ranges;
	__u32 nr_ranges;
	__u32 flags;
};

#define WXPOOL_IOC_ALLOC	_IO(WXPOOL_TYPE, 0x81)

/**
 * struct wxpool_protect_range - one element of WXPOOL_IOC_PROTECT's vector
 * @offset: file offset of the first page
 * @length: bytes, not 0
 * @prot: a &enum wxpool_prot
 * @__reserved: 0
 */
struct wxpool_protect_range {
	__aligned_u64 offset;
	__aligned_u64 length;
	__u32 prot;
	__u32 __reserved;
};

/**
 * struct wxpool_protect - ioctl(WXPOOL_IOC_PROTECT)
 * @size: sizeof(struct wxpool_protect)
 * @pool: the pool, not 0
 * @context: id of the context, or 0
 * @ranges: address of an array of &struct wxpool_protect_range
 * @nr_ranges: number of its elements, 1 to WXPOOL_MAX_RANGES
 * @flags: 0
 *
 * Seals OPEN pages of @pool, all of the ranges or none. No view, process or pin
 * can change the pages once it has returned, and none could execute them
 * before. ENOENT if a page is absent or not @pool's; packed pages are no pool's.
 */
struct wxpool_protect {
	__u32 size;
	__u32 pool;
	__aligned_u64 context;
	__aligned_u64 ranges;
	__u32 nr_ranges;
	__u32 flags;
};

#define WXPOOL_IOC_PROTECT	_IO(WXPOOL_TYPE, 0x82)

/**
 * enum wxpool_free_flags - flags of WXPOOL_IOC_FREE
 * @WXPOOL_FREE_ALL: all pools; @pools and @nr_pools are 0
 * @WXPOOL_FREE_REVOKE: also from heirs: nothing of these pools is kept. What
 *	was kept before goes with WXPOOL_FREE_ALL only. (A packed page that has
 *	other pools' kept lines alone by then is kept, and counts as such.)
 */
enum wxpool_free_flags {
	WXPOOL_FREE_ALL = 1,
	WXPOOL_FREE_REVOKE = 2,
};

/**
 * struct wxpool_free - ioctl(WXPOOL_IOC_FREE)
 * @size: sizeof(struct wxpool_free)
 * @flags: of &enum wxpool_free_flags
 * @context: id of the context, or 0
 * @pools: address of an array of __u32: the pools to end
 * @nr_pools: number of its elements, 1 to WXPOOL_MAX_RANGES
 * @__reserved: 0
 * @pages_freed: output: pages that went back to the system
 * @pages_kept: output: pages that only heirs show from now on
 * @lines_kept: output: lines of pools that heirs inherited
 *
 * Ends the pools, all or none: ENOENT if one is not there, or is named twice.
 * All pools may be none. Needs no memory. Views are not unmapped: touching the
 * pools' pages raises SIGBUS. If a packed page stays, the pools' lines in it are
 * trap instructions or zeros again when the call returns. No thread may be
 * running what is freed.
 *
 * What heirs inherited is kept, see "objects" above. The number of a kept pool
 * is free for a new one.
 */
struct wxpool_free {
	__u32 size;
	__u32 flags;
	__aligned_u64 context;
	__aligned_u64 pools;
	__u32 nr_pools;
	__u32 __reserved;
	__aligned_u64 pages_freed;
	__aligned_u64 pages_kept;
	__aligned_u64 lines_kept;
};

#define WXPOOL_IOC_FREE		_IO(WXPOOL_TYPE, 0x83)

/**
 * enum wxpool_range_flags - flags of &struct wxpool_install_range
 * @WXPOOL_RANGE_CONT: the bytes go on right behind those of the range before,
 *	at any byte; @offset and @prot are 0. Not for the first range
 */
enum wxpool_range_flags {
	WXPOOL_RANGE_CONT = 1,
};

/**
 * struct wxpool_install_range - one element of WXPOOL_IOC_INSTALL's vector
 * @offset: file offset, a multiple of @line_size of &struct wxpool_info
 * @length: bytes, not 0, need not be a multiple of anything
 * @source: address of the bytes, at any alignment
 * @prot: a &enum wxpool_prot
 * @flags: of &enum wxpool_range_flags
 */
struct wxpool_install_range {
	__aligned_u64 offset;
	__aligned_u64 length;
	__aligned_u64 source;
	__u32 prot;
	__u32 flags;
};

/**
 * enum wxpool_install_flags - flags of WXPOOL_IOC_INSTALL
 * @WXPOOL_INSTALL_BLOCKS: make packed pages a block at a time, if all of it is
 *	absent and there is a huge page for it; else single pages
 */
enum wxpool_install_flags {
	WXPOOL_INSTALL_BLOCKS = 1,
};

/**
 * struct wxpool_install - ioctl(WXPOOL_IOC_INSTALL)
 * @size: sizeof(struct wxpool_install)
 * @pool: the pool, not 0
 * @context: id of the context, or 0
 * @ranges: address of an array of &struct wxpool_install_range
 * @nr_ranges: number of its elements, 1 to WXPOOL_MAX_RANGES
 * @flags: of &enum wxpool_install_flags
 *
 * Copies bytes into free lines, which become @pool's, and makes the packed
 * pages that are absent: all of the ranges or none. What a range leaves of its
 * last line stays trap instructions or zeros. Fails with EEXIST where a line is
 * live or kept, or a page is not a packed one of that @prot.
 *
 * Nothing of a call that fails was ever readable or executable. The bytes may be
 * executed once the call has returned; a processor that runs another thread then
 * needs what the architecture asks for where code is modified by another
 * processor, as with any other way to publish code. Bytes that change during the
 * call are copied as they are met.
 */
struct wxpool_install {
	__u32 size;
	__u32 pool;
	__aligned_u64 context;
	__aligned_u64 ranges;
	__u32 nr_ranges;
	__u32 flags;
};

#define WXPOOL_IOC_INSTALL	_IO(WXPOOL_TYPE, 0x84)

/**
 * struct wxpool_freeze - ioctl(WXPOOL_IOC_FREEZE)
 * @size: sizeof(struct wxpool_freeze)
 * @flags: 0
 * @context: id of the context, or 0
 *
 * Has no output. From now on WXPOOL_IOC_ALLOC, WXPOOL_IOC_PROTECT and
 * WXPOOL_IOC_INSTALL fail with EROFS, for good. Freezing a frozen context does
 * nothing.
 */
struct wxpool_freeze {
	__u32 size;
	__u32 flags;
	__aligned_u64 context;
};

#define WXPOOL_IOC_FREEZE	_IO(WXPOOL_TYPE, 0x85)

/**
 * struct wxpool_uring_cmd - the command of an IORING_OP_URING_CMD
 * @arg: address of the operation's structure
 * @__reserved: 0
 *
 * In @cmd of the submission, with the number of the operation as @cmd_op, the
 * context's file as @fd, and no flags of io_uring's for commands. The
 * completion's @res is what ioctl() would give, 0 or a negative errno; results
 * are in the structure by then, which must live that long. A security module
 * that judges ioctls judges these too.
 */
struct wxpool_uring_cmd {
	__aligned_u64 arg;
	__aligned_u64 __reserved;
};

#endif /* _UAPI_LINUX_WXPOOL_H */
