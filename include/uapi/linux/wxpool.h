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
 * it. A *pool* is a lifetime within a context, named by a non-zero number of
 * the user's choice: it begins with its first pages or lines and ends with
 * WXPOOL_IOC_FREE. A *region* is the pages that one range of one
 * WXPOOL_IOC_ALLOC granted to a pool.
 *
 * A page is absent, OPEN (writable), or sealed R or X. WXPOOL_IOC_ALLOC takes
 * it from absent to OPEN, WXPOOL_IOC_PROTECT once from OPEN to R or X, and
 * WXPOOL_IOC_FREE from any state to absent.
 *
 * A *packed page* is R or X from the start, and never writable. It consists of
 * *lines* of 64 bytes, which may belong to different pools. A line is free
 * (trap instructions in an X page, zeros in an R page) or live.
 * WXPOOL_IOC_INSTALL makes a line live, with bytes copied by the kernel, and
 * the page if it is absent. WXPOOL_IOC_FREE makes a pool's lines free again,
 * and a page without a live line absent. There is no other transition.
 *
 * A *view* is an mmap(MAP_SHARED) of the context. Its kind is fixed when it
 * is made, by the protection asked for, and mprotect() cannot change it:
 *
 * ======  ======================  ================  =====================
 * kind    mmap() protection       who               pages it can touch
 * ======  ======================  ================  =====================
 * W view  PROT_WRITE, no EXEC     the owner         OPEN
 * X view  PROT_EXEC, no WRITE     any holder of fd  sealed X
 * R view  PROT_READ or PROT_NONE  any holder of fd  sealed R or X
 * ======  ======================  ================  =====================
 *
 * A view may cover pages in any state, also absent ones: touching a page that
 * its kind does not allow raises SIGBUS. W views are not inherited by fork();
 * the others are, and go on showing in the child what they showed at the
 * fork, whatever the owner frees later. (A packed page in which the owner
 * freed lines stays in the child as it was: what is installed there later the
 * child does not see.)
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
 * Offsets, lengths and addresses are in bytes and multiples of the page size,
 * but for those of WXPOOL_IOC_INSTALL. An operation that fails has changed
 * nothing.
 *
 * The same operations can be submitted to io_uring: see &struct
 * wxpool_uring_cmd.
 *
 * Each error has one meaning for all operations:
 *
 * - EACCES: this kind of view is never allowed: writable and executable, or
 *   MAP_PRIVATE (mmap only).
 * - E2BIG: the structure has a non-zero tail that this kernel does not know, or
 *   is larger than a page.
 * - EBUSY: somebody holds a reference to a page to be sealed: a pipe, an
 *   io_uring buffer, I/O in flight. Try again once it is dropped.
 * - EEXIST: a page or line of the range is in use.
 * - EFAULT: the structure, the vector or a source of WXPOOL_IOC_INSTALL is not
 *   readable, or a structure with outputs is not writable memory. (One that
 *   ceases to be while the call is on its way, be it that the call itself seals,
 *   frees or maps over its pages, cannot receive the results: then the operation
 *   was done.)
 * - EINTR: a fatal signal arrived.
 * - EINVAL: malformed: a misaligned or empty range, pool 0, an unknown flag
 *   or protection, a non-zero reserved field, more than WXPOOL_MAX_RANGES
 *   ranges or none, more than WXPOOL_MAX_INSTALL bytes.
 * - ENOENT: no such pool, or no such page in that pool.
 * - ENOMEM: the kernel or the memory cgroup is out of memory.
 * - ENOSPC: over the limit of the context or of the user.
 * - ENOTTY: no such operation.
 * - EOVERFLOW: the range ends beyond the space of the context.
 * - EPERM: an illegal transition: the page is sealed already.
 * - EROFS: the context is frozen.
 * - EXDEV: the caller is not the owner.
 *
 * mmap() itself adds its own: EPERM where /dev is mounted noexec or a
 * security module refuses, ENOMEM at the limit of mappings.
 */

#define WXPOOL_ABI_VERSION	1

/* The most ranges that one call takes. */
#define WXPOOL_MAX_RANGES	1024

/* The most bytes that one WXPOOL_IOC_INSTALL copies, each range in full lines. */
#define WXPOOL_MAX_INSTALL	(16 << 20)

#define WXPOOL_TYPE		'W'
#define WXPOOL_IOC_INFO		_IO(WXPOOL_TYPE, 0x80)
#define WXPOOL_IOC_ALLOC	_IO(WXPOOL_TYPE, 0x81)
#define WXPOOL_IOC_PROTECT	_IO(WXPOOL_TYPE, 0x82)
#define WXPOOL_IOC_FREE		_IO(WXPOOL_TYPE, 0x83)
#define WXPOOL_IOC_INSTALL	_IO(WXPOOL_TYPE, 0x84)
#define WXPOOL_IOC_FREEZE	_IO(WXPOOL_TYPE, 0x85)

/**
 * enum wxpool_prot - what a page is sealed to
 * @WXPOOL_PROT_R: readable, never executable: shown by R views
 * @WXPOOL_PROT_X: readable and executable: shown by X views and R views
 */
enum wxpool_prot {
	WXPOOL_PROT_R = 1,
	WXPOOL_PROT_X = 2,
};

/**
 * enum wxpool_install_flags - flags of WXPOOL_IOC_INSTALL
 * @WXPOOL_INSTALL_HUGE: make packed pages @huge_size of &struct wxpool_info at
 *	a time, where all of that window is absent: as one huge page if there
 *	is one. They go back together. Falls back to single pages
 */
enum wxpool_install_flags {
	WXPOOL_INSTALL_HUGE = 1,
};

/**
 * struct wxpool_info - ioctl(WXPOOL_IOC_INFO)
 * @size: sizeof(struct wxpool_info)
 * @abi_version: WXPOOL_ABI_VERSION of the module
 * @features: bits of later additions, none yet
 * @space: size of a context's offset space in bytes
 * @context_limit: most bytes that a context may hold
 * @user_limit: most bytes that all contexts of a user may hold
 * @page_size: granularity of regions in bytes
 * @line_size: granularity of packed pages in bytes
 * @huge_size: size and alignment of a huge page in bytes, 0 if there is none
 * @max_ranges: most ranges in one call
 *
 * Everything but @size is output. Anyone who holds the fd may ask.
 */
struct wxpool_info {
	__u32 size;
	__u32 abi_version;
	__aligned_u64 features;
	__aligned_u64 space;
	__aligned_u64 context_limit;
	__aligned_u64 user_limit;
	__u32 page_size;
	__u32 line_size;
	__u32 huge_size;
	__u32 max_ranges;
};

/**
 * struct wxpool_range - one element of an operation's vector
 * @offset: file offset of the first byte; WXPOOL_IOC_INSTALL: a multiple of
 *	@line_size of &struct wxpool_info
 * @length: bytes, not 0; WXPOOL_IOC_INSTALL: need not be a multiple of anything
 * @addr: where to map the view that fits the pages' new state, or 0 for none;
 *	WXPOOL_IOC_INSTALL: where the bytes are, at any alignment
 * @prot: a &enum wxpool_prot; WXPOOL_IOC_ALLOC: 0
 * @__reserved: 0
 */
struct wxpool_range {
	__aligned_u64 offset;
	__aligned_u64 length;
	__aligned_u64 addr;
	__u32 prot;
	__u32 __reserved;
};

/**
 * struct wxpool_vec - ioctl(WXPOOL_IOC_ALLOC), ioctl(WXPOOL_IOC_PROTECT),
 *	ioctl(WXPOOL_IOC_INSTALL)
 * @size: sizeof(struct wxpool_vec)
 * @pool: the pool, not 0
 * @ranges: address of an array of &struct wxpool_range
 * @nr_ranges: number of its elements, 1 to WXPOOL_MAX_RANGES
 * @flags: WXPOOL_IOC_INSTALL: of &enum wxpool_install_flags; else 0
 * @nr_mapped: output of the first two: how many ranges, from the first, have
 *	the view that they asked for
 * @map_error: output of the first two: 0, or the errno (positive) with which
 *	mmap() refused the view of range @nr_mapped
 *
 * WXPOOL_IOC_ALLOC grants zeroed OPEN pages to @pool, which comes to life
 * with them. Fails with EEXIST where a page is not absent.
 *
 * WXPOOL_IOC_PROTECT seals OPEN pages of @pool, all of the ranges or none. No
 * view, process or pin can change the pages once it has returned, and none
 * could execute them before.
 *
 * Both then map a view over each range that has an @addr, W views after
 * WXPOOL_IOC_ALLOC and X or R views after WXPOOL_IOC_PROTECT, as with
 * mmap(MAP_SHARED | MAP_FIXED): what was there is replaced. The pages keep
 * their new state if that fails: the call returns 0 and @map_error says why.
 *
 * WXPOOL_IOC_INSTALL copies bytes into free lines, which become @pool's, and
 * makes the packed pages that are absent: all of the ranges or none. What a
 * range leaves of its last line stays trap instructions or zeros. Fails with
 * EEXIST where a line is live or a page is not a packed one of that @prot. It
 * maps nothing, as views made at any time show packed pages, and writes nothing
 * to the structure.
 * The bytes may be executed once the call has returned; a processor that runs
 * another thread then needs what the architecture asks for where code is
 * modified by another processor, as with any other way to publish code. Bytes
 * that change during the call are copied as they are met.
 *
 * For the owner only. Calls on one context, from several threads, happen one
 * after the other.
 */
struct wxpool_vec {
	__u32 size;
	__u32 pool;
	__aligned_u64 ranges;
	__u32 nr_ranges;
	__u32 flags;
	__u32 nr_mapped;
	__u32 map_error;
};

/**
 * struct wxpool_free - ioctl(WXPOOL_IOC_FREE)
 * @size: sizeof(struct wxpool_free)
 * @pool: the pool to end
 * @flags: 0
 * @__reserved: 0
 * @nr_freed: output: pages that went back to the system
 * @nr_kept: output: pages that a forked child still shows
 *
 * Views are not unmapped: their pages are gone, touching them raises SIGBUS.
 * Lines of packed pages that other pools use are trap instructions or zeros
 * again when the call returns; no thread may be running them.
 *
 * Pages that a forked child inherited are out of the owner's reach, but stay
 * until the child is gone; until then they count towards the limits, and
 * WXPOOL_IOC_ALLOC on their offsets fails with EEXIST. Where they were packed
 * pages, WXPOOL_IOC_INSTALL makes new ones there for all but such children. A
 * packed page that other pools use is copied for the owner, which can fail
 * with ENOMEM or ENOSPC.
 *
 * For the owner only.
 */
struct wxpool_free {
	__u32 size;
	__u32 pool;
	__u32 flags;
	__u32 __reserved;
	__aligned_u64 nr_freed;
	__aligned_u64 nr_kept;
};

/**
 * struct wxpool_freeze - ioctl(WXPOOL_IOC_FREEZE)
 * @size: sizeof(struct wxpool_freeze)
 * @flags: 0
 *
 * Has no output. From now on WXPOOL_IOC_ALLOC, WXPOOL_IOC_PROTECT and
 * WXPOOL_IOC_INSTALL fail with EROFS, for good. Freezing a frozen context does
 * nothing.
 *
 * For the owner only.
 */
struct wxpool_freeze {
	__u32 size;
	__u32 flags;
};

/**
 * struct wxpool_uring_cmd - the command of an IORING_OP_URING_CMD
 * @arg: address of the operation's structure
 * @__reserved: 0
 *
 * In @cmd of the submission, with the number of the operation as @cmd_op, the
 * context's file as @fd, and no flags of io_uring's for commands. The
 * completion's @res is what ioctl() would give, 0 or a negative errno; results
 * are in the structure by then, which must live that long.
 */
struct wxpool_uring_cmd {
	__aligned_u64 arg;
	__aligned_u64 __reserved;
};

#endif /* _UAPI_LINUX_WXPOOL_H */
