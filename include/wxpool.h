/* SPDX-License-Identifier: MIT */
/*
 * libwxpool: memory for code made at run time, never writable and executable
 * at once.
 *
 * Which way is yours?
 *
 *  - You have the bytes of a function, and they do not depend on their address:
 *    wxp_load(). One call, one system call, and it can run.
 *  - You need addresses first, to relocate: wxp_place() for all sections of a
 *    module, relocate in buffers of your own, wxp_install() from as many buffers
 *    as you like. This suits LLVM, Cranelift and asmjit.
 *  - Your code generator writes where it is told to: wxp_alloc() gives two
 *    addresses, one to write to and one where the code will run; wxp_protect()
 *    seals all that was written. If it cannot tell two addresses apart, open the
 *    context with WXP_ONE_ADDRESS.
 *  - A module is no longer needed: wxp_free(). What is freed together is a pool.
 *
 * All memory of a context is in reach of 32-bit relative addresses of all other. Link
 * with -lwxpool; examples/ has a program for each way.
 *
 * Sections: 1 contexts, 2 pools, 3 bytes in, 4 addresses first, 5 write in place,
 * 6 the end, 7 rings, 8 questions.
 *
 * Functions return 0 or a negative errno, which wxp_strerror() puts in words. A
 * call that failed has changed nothing, but for what was to receive its results,
 * unless its description says otherwise. All functions but wxp_close() may be
 * called by several threads at once, but by no signal handler. They are no
 * cancellation points. None holds a lock during a system call for code.
 *
 * Errors that any function can return, and that are not repeated below:
 *
 * -EINVAL: an argument is malformed: no context, pool 0, size 0, an alignment
 *	that is not a power of two or above WXP_MAX_ALIGN, an unknown value
 * -EBADF: the program closed the descriptor of the context, or made it another
 *	file. Code that is there still runs; close the context and open another
 * -EBUSY: another thread frees the pool at this moment, or protects it
 * -EXDEV: the process was made by a raw clone() and not by fork()
 * -ESTALE: memory that a parent had neither installed nor protected at the fork
 *
 * and those that make code (sections 3 to 5):
 *
 * -ENOMEM: the process, the kernel or the memory cgroup is out of memory, or no
 *	gap in the window is large enough (wxp_get_stats() tells)
 * -ENOSPC: over a limit of /dev/wxpool
 * -EROFS: the context is frozen
 * -EPERM, -EACCES: a security policy forbids it
 *
 * fork(): the same handle goes on in the child, which opens none of its own. All that was
 * protected or installed runs there; its pools can be looked up, and be freed, which only
 * forgets them. What was placed or allocated only is lost: a store to it is SIGSEGV, to
 * install or protect it is -ESTALE, and its pool is to be freed. The first call that makes
 * code gets the child a window of its own, at other addresses. It can fail as wxp_open()
 * does; a child that will give up its rights makes such a call before. Writable data is
 * copied, as all private memory.
 *
 * What a child can run stays for it, and its addresses are not used again until it ends.
 * With the portable backend they are never used again, also after its end: a program that
 * forks often and frees what it had before runs out of its window.
 *
 * After vfork() and in other processes that share all memory, calls do what they
 * do in a thread.
 */
#ifndef WXPOOL_H
#define WXPOOL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** WXP_VERSION - of this header: major, minor and patch level, a byte each */
#define WXP_VERSION	0x000200

#define WXP_MUST_CHECK	__attribute__((warn_unused_result))

/* -------------------------------------------------------------------------
 * 1. Contexts
 */

/** struct wxp - a context: a window of address space, and the pools in it */
struct wxp;

/**
 * enum wxp_backend - who keeps the promise that code is not writable
 * @WXP_BACKEND_AUTO: what the environment variable WXPOOL_BACKEND names (not in
 *	set-uid programs), else kernel, or portable if that cannot be had
 * @WXP_BACKEND_KERNEL: /dev/wxpool: what is protected or installed cannot be made
 *	writable again by anything that the process does
 * @WXP_BACKEND_PORTABLE: a memfd, mapped readable and executable. No mapping is
 *	ever writable and executable, but nothing stops the process from making one
 * @WXP_BACKEND_FAST: readable, writable and executable from the start. For trusted
 *	input and comparisons
 */
enum wxp_backend {
	WXP_BACKEND_AUTO = 0,
	WXP_BACKEND_KERNEL = 1,
	WXP_BACKEND_PORTABLE = 2,
	WXP_BACKEND_FAST = 3,
};

/**
 * enum wxp_flags - options of a context
 * @WXP_HUGE: for code that lives long: what is loaded or installed lies in huge
 *	pages, if the system has them (kernel). The first function takes 2 MiB
 * @WXP_ONE_ADDRESS: memory of wxp_alloc() is written where it will run. Costs
 *	mappings, and a system call for each piece of memory that is protected
 * @WXP_MSEAL: the mappings of code and constants cannot be unmapped, moved or
 *	mapped over by the process, wxp_close() included: its addresses stay taken
 *	until the process ends. Needs Linux 6.10; not with WXP_ONE_ADDRESS
 * @WXP_PKEY: memory of wxp_alloc() can be written only between wxp_write_begin()
 *	and wxp_write_end(), and only by the thread that called these. Takes one of
 *	the process's protection keys; not with WXP_ONE_ADDRESS
 * @WXP_EXEC_ONLY: code can be run but not read, if the processor has protection
 *	keys (x86) or EPAN (arm64). So a code generator must not put constants into
 *	code, and what reads code, as some unwinders and profilers do, fails
 * @WXP_BTI: code has landing pads (arm64): jumps to anything else trap
 * @WXP_COMPILE_ONLY: nothing is executable in this process, nor can what is installed or
 *	protected be read: it is for others, see <wxpool-remote.h>. A store, a load or a
 *	call there is SIGSEGV, also in children. Not with WXP_ONE_ADDRESS
 * @WXP_IF_POSSIBLE: leave out those of the last five that cannot be
 *	had; wxp_get_flags() tells. Without it wxp_open() insists on them, and so on
 *	the kernel backend
 */
enum wxp_flags {
	WXP_HUGE = 1,
	WXP_ONE_ADDRESS = 2,
	WXP_MSEAL = 4,
	WXP_PKEY = 8,
	WXP_EXEC_ONLY = 16,
	WXP_BTI = 32,
	WXP_IF_POSSIBLE = 64,
	WXP_COMPILE_ONLY = 128,
};

/**
 * struct wxp_options - how to open a context
 * @size: sizeof(struct wxp_options)
 * @backend: a &enum wxp_backend. Any but AUTO is insisted on
 * @flags: of &enum wxp_flags
 * @window: bytes of address space, a multiple of 2 MiB, from 6 MiB to 2 GiB, so
 *	that all of it is in reach of 32-bit relative addresses. 0 means 1 GiB or,
 *	if a limit of the process does not allow that, the largest half, quarter, ...
 *	that it does. (Outside of it as much again as code and constants have is
 *	set aside for wxp_alloc().) Each 2 MiB of it are either for what is placed and
 *	loaded or for what is allocated
 * @r_share: percent of the window for WXP_R; 0 means 25
 * @rw_share: percent of the window for WXP_RW; 0 means 25. What is left is for
 *	WXP_RX. All are rounded to 2 MiB, of which each gets one at least
 */
struct wxp_options {
	size_t size;
	enum wxp_backend backend;
	unsigned int flags;
	size_t window;
	unsigned int r_share;
	unsigned int rw_share;
};

/**
 * wxp_open() - open a context
 * @wxp: receives it
 * @opts: options, or NULL for the defaults
 *
 * Makes all mappings that the context will have, but with WXP_ONE_ADDRESS. If AUTO
 * finds no backend, the error is the kernel backend's. A process may have several
 * contexts; the numbers of pools are each one's own.
 *
 * Return: 0, or -EINVAL (also: WXPOOL_BACKEND names no backend), -ENODEV (no
 * /dev/wxpool), -EACCES (no permission on it, or a security policy forbids its
 * operations), -EPERM (executable memory is refused), -EPROTO (the module speaks
 * another version), -EMFILE, -ENFILE (too many open files), -ENOMEM (not even the
 * smallest window fits), -ENOSYS (Linux before 4.14), -EOPNOTSUPP (an option
 * cannot be had).
 */
int wxp_open(struct wxp **wxp, const struct wxp_options *opts) WXP_MUST_CHECK;

/**
 * wxp_close() - free all pools and the window
 * @wxp: the context, or NULL
 *
 * The last call on its context: no other may be under way, and its code must not
 * run any more. In a child that inherited the context the parent does not notice.
 */
void wxp_close(struct wxp *wxp);

/**
 * wxp_freeze() - no more code from now on
 * @wxp: the context
 *
 * One way, also for children. Code runs as before, and pools can be freed; what was
 * allocated can not be protected any more, and variables not be allocated. With the
 * kernel backend the device itself refuses. Freezing again does nothing.
 *
 * Return: 0, or an error of all functions.
 */
int wxp_freeze(struct wxp *wxp) WXP_MUST_CHECK;

/* -------------------------------------------------------------------------
 * 2. Pools
 *
 * What is freed together is a pool. Its number is the caller's choice, from 1
 * up: it comes to life with the first memory in it. Or the library chooses.
 */

/**
 * enum wxp_prot - what memory is for
 * @WXP_R: constants
 * @WXP_RW: variables, never executable
 * @WXP_RX: code
 */
enum wxp_prot {
	WXP_R = 0x11,
	WXP_RW = 0x13,
	WXP_RX = 0x15,
};

/** WXP_LINE - spans begin at a multiple of so many bytes */
#define WXP_LINE	64

#define WXP_MAX_ALIGN	((size_t)2 << 20)

/**
 * wxp_new_pool() - choose a number that no pool has
 * @wxp: the context
 * @pool: receives it
 *
 * The pool is alive, and empty, until wxp_free(). Numbers are chosen from 0x80000000
 * up: a program that also chooses its own takes them from below.
 *
 * Return: 0, or -ENOMEM, -EROFS (the context is frozen).
 */
int wxp_new_pool(struct wxp *wxp, uint32_t *pool) WXP_MUST_CHECK;

/* -------------------------------------------------------------------------
 * 3. Bytes in, function out
 */

/**
 * wxp_load() - install bytes at a place of the library's choice
 * @wxp: the context
 * @pool: the pool
 * @bytes: code or constants, at any alignment
 * @size: their number
 * @prot: WXP_RX or WXP_R
 * @addr: receives the address, a multiple of WXP_LINE
 *
 * wxp_place() and wxp_install() in one. Who may run it and when: see there.
 *
 * Return: 0, or -EFAULT (@bytes cannot be read; fast: SIGSEGV), -E2BIG (more than
 * WXP_MAX_INSTALL).
 */
int wxp_load(struct wxp *wxp, uint32_t pool, const void *bytes, size_t size,
	     enum wxp_prot prot, void **addr) WXP_MUST_CHECK;

/**
 * struct wxp_part - one of several things to load
 * @bytes: as for wxp_load()
 * @size: their number
 * @prot: WXP_RX or WXP_R
 * @addr: receives the address
 */
struct wxp_part {
	const void *bytes;
	size_t size;
	enum wxp_prot prot;
	void *addr;
};

/** WXP_MAX_INSTALL - bytes that one call can install, each part in full lines */
#define WXP_MAX_INSTALL	((size_t)16 << 20)

/** WXP_MAX_PIECES - parts or pieces that one call can install */
#define WXP_MAX_PIECES	512

/**
 * wxp_load_many() - load several things into one pool
 * @wxp: the context
 * @pool: the pool
 * @parts: what to load; receives the addresses
 * @nr: their number, not 0
 *
 * One system call; all of them or none.
 *
 * Return: as wxp_load(), or -E2BIG (above WXP_MAX_PIECES or WXP_MAX_INSTALL).
 */
int wxp_load_many(struct wxp *wxp, uint32_t pool, struct wxp_part *parts, size_t nr)
	WXP_MUST_CHECK;

/* -------------------------------------------------------------------------
 * 4. Addresses first
 */

/**
 * struct wxp_request - memory that is wanted
 * @size: bytes, not 0
 * @align: a power of two up to WXP_MAX_ALIGN; 0 means no wish
 * @prot: what it is for
 */
struct wxp_request {
	size_t size;
	size_t align;
	enum wxp_prot prot;
};

/**
 * struct wxp_span - a place in the window
 * @addr: its address, a multiple of WXP_LINE
 * @size: bytes asked for
 */
struct wxp_span {
	void *addr;
	size_t size;
};

/**
 * wxp_place() - find places for a whole module
 * @wxp: the context
 * @pool: the pool
 * @reqs: what is wanted
 * @nr: their number, not 0
 * @spans: receives as many places, in the same order
 *
 * Makes no system call. Places are final. WXP_RX and WXP_R spans are addresses that
 * wxp_install() fills: touching them before is an error of the program (kernel:
 * SIGBUS). WXP_RW spans are zeroed memory that can be used at once.
 *
 * Spans lie beside each other in lines of WXP_LINE bytes, code with code and
 * constants with constants, whatever their pool.
 *
 * Return: 0, or an error of all functions that make code.
 */
int wxp_place(struct wxp *wxp, uint32_t pool, const struct wxp_request *reqs, size_t nr,
	      struct wxp_span *spans) WXP_MUST_CHECK;

/**
 * struct wxp_piece - bytes that go to a place
 * @addr: where to, at any offset of a WXP_RX or WXP_R span
 * @src: where from, at any alignment
 * @size: bytes, not 0, not beyond the last line of the span
 */
struct wxp_piece {
	void *addr;
	const void *src;
	size_t size;
};

/**
 * wxp_install() - copy code and constants to their places
 * @wxp: the context
 * @pool: the pool
 * @pieces: what goes where, in spans of this pool
 * @nr: their number, not 0
 *
 * One system call (kernel): all of it is there, or nothing. A span may be installed
 * in parts, by several calls, but each line once: pieces that meet in a line must be
 * in one call, one after the other, in the order of their addresses. What no piece
 * covers of a line is trap instructions or zeros.
 *
 * Code may run once this has returned, in this thread; other threads that learn of
 * it by a lock, an atomic variable or their start may run it too, on x86. Elsewhere,
 * and if they ran other code at these addresses before: see wxp_sync_cores().
 *
 * Return: 0, or -EINVAL (also: a piece is not within a WXP_RX or WXP_R span of the
 * pool), -ENOENT (no such pool), -EEXIST (a line is installed already, or pieces
 * overlap or are out of order in a line), -EFAULT (a source cannot be read), -E2BIG
 * (above WXP_MAX_PIECES or WXP_MAX_INSTALL), -EHWPOISON (a page has a memory error).
 */
int wxp_install(struct wxp *wxp, uint32_t pool, const struct wxp_piece *pieces, size_t nr)
	WXP_MUST_CHECK;

/**
 * wxp_shrink() - give back the end of a span
 * @wxp: the context
 * @span: a span of wxp_place(); its @size is updated
 * @size: bytes that it keeps, not 0, not more than it has
 *
 * Whole lines go to other spans; none of them may be installed. To give back all
 * that is not installed, pass the offset at which the last piece ended.
 *
 * Return: 0, or -EINVAL (also: not a span), -EEXIST (they are installed).
 */
int wxp_shrink(struct wxp *wxp, struct wxp_span *span, size_t size) WXP_MUST_CHECK;

/* -------------------------------------------------------------------------
 * 5. Write in place
 */

/**
 * struct wxp_mem - memory that is written in place
 * @addr: where it will run, or be read
 * @write: where to write it. The same as @addr for WXP_RW, and in contexts with
 *	WXP_ONE_ADDRESS or the fast backend. Else @write - @addr is the same for all
 *	other memory of a context
 */
struct wxp_mem {
	void *addr;
	void *write;
};

/**
 * wxp_reserve() - get the memory for all allocations to come
 * @wxp: the context
 * @pool: the pool
 * @reqs: the requests; those of WXP_RW need nothing
 * @nr: their number, not 0
 *
 * One system call. The allocations that follow are taken from there in any order,
 * as long as they fit; those of @reqs all do. What an earlier call got and nobody has
 * used yet counts: reserve for a module once.
 *
 * Return: 0, or an error of all functions that make code.
 */
int wxp_reserve(struct wxp *wxp, uint32_t pool, const struct wxp_request *reqs, size_t nr)
	WXP_MUST_CHECK;

/**
 * wxp_alloc() - allocate zeroed memory that is written in place
 * @wxp: the context
 * @pool: the pool
 * @size: bytes, not 0
 * @align: a power of two up to WXP_MAX_ALIGN; 0 means 16
 * @prot: what it is for
 * @mem: receives its addresses
 *
 * Store to @write, relocate for @addr. @write is valid until wxp_protect() or wxp_free(),
 * and @addr from wxp_protect() on; WXP_RW memory until wxp_free(). Allocations of one
 * protection share pages within their pool, until these are protected. What nobody
 * allocates of a page of code is trap instructions. If the size is not known, allocate as
 * much as it can be at most: what is left stays until wxp_free().
 *
 * Return: 0, or an error of all functions that make code.
 */
int wxp_alloc(struct wxp *wxp, uint32_t pool, size_t size, size_t align, enum wxp_prot prot,
	      struct wxp_mem *mem) WXP_MUST_CHECK;

/**
 * wxp_protect() - seal all that wxp_alloc() gave a pool since the last time
 * @wxp: the context
 * @pool: the pool
 *
 * Code may run once this has returned, as after wxp_install().
 *
 * Return: 0, or -ENOENT (no such pool), -EBUSY (also: a page is in use by I/O: try
 * again later), -EHWPOISON (a page has a memory error), -E2BIG (more than 1,024
 * pieces of memory, as many pools that grow by turns may get: use wxp_reserve()). All
 * of it is sealed, or nothing.
 */
int wxp_protect(struct wxp *wxp, uint32_t pool) WXP_MUST_CHECK;

/**
 * wxp_write_begin() - let this thread write to memory that is not protected yet
 * @wxp: the context, opened with WXP_PKEY; without it, nothing happens
 *
 * Until then a store is SIGSEGV. The right is the thread's own: threads that it
 * starts inherit it, signal handlers do not have it. Beginning twice is as once.
 *
 * Return: 0, or -EINVAL (no context).
 */
int wxp_write_begin(struct wxp *wxp) WXP_MUST_CHECK;

/**
 * wxp_write_end() - let this thread only read such memory
 * @wxp: the context
 *
 * Return: 0, or -EINVAL (no context).
 */
int wxp_write_end(struct wxp *wxp);

/* -------------------------------------------------------------------------
 * 6. The end
 */

/**
 * wxp_free() - end a pool
 * @wxp: the context
 * @pool: the pool
 *
 * Its code must not run any more, and its data not be used. Other pools are not
 * touched. Variables may keep their contents until their memory is handed out again,
 * zeroed: what must not stay is to be erased before.
 *
 * Return: 0, or -ENOENT (no such pool), -EBUSY (another call on the pool, or an
 * install in a ring, is under way).
 */
int wxp_free(struct wxp *wxp, uint32_t pool);

/**
 * wxp_free_many() - end several pools
 * @wxp: the context
 * @pools: their numbers
 * @nr: how many, not 0
 *
 * As few system calls as possible. Pools that cannot be freed do not keep others from
 * it.
 *
 * Return: 0, or the first error.
 */
int wxp_free_many(struct wxp *wxp, const uint32_t *pools, size_t nr);

/* -------------------------------------------------------------------------
 * 7. Rings: installing by an io_uring of the caller's own; see <wxpool-uring.h>
 */

/** struct wxp_op - an install that a ring will do */
struct wxp_op;

/**
 * wxp_install_prepare() - prepare an install for a ring
 * @wxp: the context
 * @pool: the pool
 * @pieces: what goes where, as for wxp_install(). The sources must stay until the
 *	completion; this array need not
 * @nr: their number
 * @op: receives the operation, for wxp_uring_prep_install(). It must be completed
 *	once, by wxp_install_complete(), and the pool cannot be freed until then
 *
 * Return: 0, or an error as wxp_install(), or -EOPNOTSUPP (not the kernel backend).
 */
int wxp_install_prepare(struct wxp *wxp, uint32_t pool, const struct wxp_piece *pieces,
			size_t nr, struct wxp_op **op) WXP_MUST_CHECK;

/**
 * wxp_install_complete() - tell the result of a prepared install
 * @wxp: the context
 * @op: the operation, which ends with this call
 * @result: the @res of the completion; any negative errno if it was not submitted
 *
 * If the ring was refused (-EOPNOTSUPP, -EACCES, -EPERM), it is installed now, by a system
 * call.
 *
 * Return: 0, then it may run; or the error, and nothing is installed; or -EINVAL (no
 * such operation is under way, or @result is none).
 */
int wxp_install_complete(struct wxp *wxp, struct wxp_op *op, int result) WXP_MUST_CHECK;

/** wxp_op_arg() - the argument that an operation of a ring passes to the device */
void *wxp_op_arg(struct wxp_op *op);

/* -------------------------------------------------------------------------
 * 8. Questions
 */

/**
 * wxp_sync_cores() - make all threads see new code
 * @wxp: the context
 *
 * Returns when every running thread of the process has passed a serialising event
 * (membarrier's SYNC_CORE). Another thread than the one that installed or protected
 * needs it before it runs the code
 *
 * - on arm64, unless it executes an ISB;
 * - anywhere, if it may have run other code at these addresses, of a pool that was
 *   freed.
 *
 * The library does not do it by itself: it interrupts every processor that runs the
 * process, and once is enough for any number of installs.
 *
 * Return: 0, or -ENOSYS (before Linux 4.16).
 */
int wxp_sync_cores(struct wxp *wxp) WXP_MUST_CHECK;

/**
 * wxp_pool_of() - the pool that an address belongs to
 * @wxp: the context
 * @addr: any address in a span or allocation, installed or not
 *
 * Return: its number, or 0 if it belongs to none. Up to the next line, what is behind a
 * span is its own.
 */
uint32_t wxp_pool_of(struct wxp *wxp, const void *addr);

/**
 * struct wxp_stats - what is held, in bytes
 * @size: sizeof(struct wxp_stats), set by the caller
 * @pools: number of pools
 * @code: of WXP_RX spans in full lines, and of allocations in full pages
 * @constants: the same of WXP_R
 * @variables: the same of WXP_RW
 * @installed: of code and constants that are loaded or installed
 * @open: of pages that wxp_alloc() and wxp_reserve() got, not protected yet
 * @sealed: of those that are protected
 * @retired: of freed pools that only children use (also of other pools than the one
 *	asked for: 0 then)
 * @free: of the window, code and constants and variables
 * @largest: the largest request for code that finds a gap in the window now
 * @tables: of the library's own memory for this, about
 * @charged: what the device counts for the context (kernel)
 * @huge: of code and constants that lie in huge pages (kernel)
 *
 * From @free on of the whole context, 0 if a pool is asked for.
 */
struct wxp_stats {
	size_t size;
	uint64_t pools;
	uint64_t code, constants, variables;
	uint64_t installed;
	uint64_t open, sealed;
	uint64_t retired;
	uint64_t free, largest;
	uint64_t tables;
	uint64_t charged, huge;
};

/**
 * wxp_get_stats() - count what is held
 * @wxp: the context
 * @pool: a pool, or 0 for the whole context
 * @stats: receives the counts. What a later version of it has besides is 0
 *
 * Looks at all pools that are asked for.
 *
 * Return: 0, or -ENOENT (no such pool).
 */
int wxp_get_stats(struct wxp *wxp, uint32_t pool, struct wxp_stats *stats);

/** wxp_get_backend() - the backend in use, never AUTO */
enum wxp_backend wxp_get_backend(const struct wxp *wxp);

/** wxp_backend_name() - "kernel", "portable", "fast" or "auto" */
const char *wxp_backend_name(enum wxp_backend backend);

/**
 * wxp_get_fallback() - why AUTO did not take the kernel backend
 * @wxp: the context
 *
 * Return: the error that wxp_open() would have returned, or 0.
 */
int wxp_get_fallback(const struct wxp *wxp);

/** wxp_get_flags() - the options, without those that WXP_IF_POSSIBLE left out */
unsigned int wxp_get_flags(const struct wxp *wxp);

/** wxp_get_window() - the addresses that memory is got from; not what was inherited */
void wxp_get_window(struct wxp *wxp, void **base, size_t *size);

/**
 * wxp_get_fd() - the descriptor of /dev/wxpool
 * @wxp: the context
 *
 * For a ring, and to hand to another process, which can map what is protected. It stays
 * the library's: do not close it, and do not allocate or free by it.
 *
 * Return: the descriptor, or -EOPNOTSUPP (not the kernel backend).
 */
int wxp_get_fd(struct wxp *wxp);

/**
 * wxp_strerror() - an error of this library in words, with its remedy
 * @err: what a function returned
 *
 * Return: a constant string.
 */
const char *wxp_strerror(int err);

#ifdef __cplusplus
}
#endif

#endif /* WXPOOL_H */
