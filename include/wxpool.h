/* SPDX-License-Identifier: MIT */
/*
 * libwxpool: memory for code made at run time, each page written first and
 * executed after, never both.
 *
 * Functions return 0 or a negative errno, which wxp_strerror() puts in words.
 * All of them may be called from several threads at once, but for wxp_close(),
 * which must be the last call on its context.
 *
 * A context belongs to the process that opened it. In a child made by fork()
 * the code that was protected before the fork still runs, but every call on
 * the inherited context fails with -EXDEV; the child opens one of its own.
 *
 * The kernel backend's descriptor (wxp_get_fd()) is the library's own. If the
 * program closes it, calls that need it fail with -EBADF, or with -ESTALE or
 * -ENOTTY once its number is another file's, and wxp_close() leaves that alone.
 */
#ifndef WXPOOL_H
#define WXPOOL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** struct wxp - a context: a window of address space and the pools in it */
struct wxp;

/**
 * enum wxp_backend - who keeps the promise that code is not writable
 * @WXP_BACKEND_AUTO: what the environment variable WXPOOL_BACKEND names (not
 *	in set-uid programs), else kernel where /dev/wxpool can be used, else
 *	portable
 * @WXP_BACKEND_KERNEL: /dev/wxpool: protected pages cannot be made writable
 *	again by anything the process does
 * @WXP_BACKEND_PORTABLE: mprotect(): never writable and executable at once,
 *	but nothing stops the process from undoing it
 * @WXP_BACKEND_FAST: readable, writable and executable from the start;
 *	wxp_protect() does nothing. For trusted input and comparisons
 */
enum wxp_backend {
	WXP_BACKEND_AUTO = 0,
	WXP_BACKEND_KERNEL = 1,
	WXP_BACKEND_PORTABLE = 2,
	WXP_BACKEND_FAST = 3,
};

/**
 * enum wxp_prot - what memory is for, from wxp_protect() on
 * @WXP_R: read-only data
 * @WXP_RW: writable data, never executable; wxp_protect() leaves it as it is
 * @WXP_RX: code
 *
 * Before wxp_protect() all three can be read and written by the process. What
 * nobody allocates of a page of code is filled with trap instructions.
 */
enum wxp_prot {
	WXP_R = 1,
	WXP_RW = 2,
	WXP_RX = 3,
};

/**
 * enum wxp_flags - options of a context
 * @WXP_HUGE: for code that lives long: ask for huge pages (kernel backend). What
 *	wxp_install() installs lies in 2 MiB each of code or of read-only data,
 *	each one huge page where the system has one. The window has at least
 *	16 MiB
 * @WXP_MSEAL: code and read-only data, once protected or installed, cannot be
 *	unmapped, moved or mapped over by the process, wxp_close() included:
 *	their addresses stay taken until it ends. Those of wxp_place() are used
 *	again for other spans, those of wxp_alloc() for nothing. Needs Linux 6.10
 * @WXP_PKEY: memory of wxp_alloc() that is not protected yet, R and RX, can be
 *	written only between wxp_write_begin() and wxp_write_end(), and only by
 *	the thread that called these. Takes one of the process's protection keys
 * @WXP_IF_POSSIBLE: leave those two out where they cannot be had;
 *	wxp_get_flags() tells. Without it wxp_open() insists on them, and so on
 *	the kernel backend
 */
enum wxp_flags {
	WXP_HUGE = 1,
	WXP_MSEAL = 2,
	WXP_PKEY = 4,
	WXP_IF_POSSIBLE = 8,
};

/**
 * struct wxp_options - how to open a context
 * @size: sizeof(struct wxp_options)
 * @backend: AUTO lets the environment and the machine decide; any other is
 *	insisted on: wxp_open() fails where it cannot be had
 * @window: bytes of address space for the whole context, a multiple of
 *	2 MiB, at most 2 GiB so that all of it is in reach of 32-bit relative
 *	addresses; 0 means 1 GiB
 * @flags: of &enum wxp_flags
 */
struct wxp_options {
	size_t size;
	enum wxp_backend backend;
	unsigned int flags;
	size_t window;
};

/**
 * struct wxp_request - one allocation to come
 * @size: bytes, not 0
 * @align: a power of two up to the page size; 0 means 16
 * @prot: what it is for
 */
struct wxp_request {
	size_t size;
	size_t align;
	enum wxp_prot prot;
};

/** Spans begin and end, and are installed, in units of so many bytes. */
#define WXP_LINE	64

/**
 * struct wxp_span - a place in the window, from wxp_place()
 * @addr: its address, a multiple of WXP_LINE
 * @size: bytes asked for
 */
struct wxp_span {
	void *addr;
	size_t size;
};

/**
 * struct wxp_piece - bytes that go to a place
 * @addr: where to: in a WXP_RX or WXP_R span, a multiple of WXP_LINE
 * @src: where from, at any alignment
 * @size: bytes, not 0, not beyond the span. What is left of the last line
 *	counts as installed, and is trap instructions or zeros
 */
struct wxp_piece {
	void *addr;
	const void *src;
	size_t size;
};

/**
 * struct wxp_item - one element of wxp_install_batch()
 * @pool: the pool
 * @result: output: what wxp_install() of this item gives
 * @pieces: its pieces
 * @nr: their number, not 0
 */
struct wxp_item {
	uint32_t pool;
	int result;
	const struct wxp_piece *pieces;
	size_t nr;
};

/**
 * struct wxp_stats - what a context holds and what it cost
 * @size: sizeof(struct wxp_stats), set by the caller
 * @pools: pools alive
 * @allocations: allocations alive, of wxp_alloc()
 * @bytes_requested: bytes asked for by these
 * @bytes_lost: bytes of pages given to pools for these, beyond
 *	@bytes_requested: alignment, rounding to pages, and reserved but not yet
 *	allocated
 * @pages_open: pages of R and RX memory not protected yet
 * @pages_r: pages of protected read-only data
 * @pages_rx: pages of protected code
 * @pages_rw: pages of writable data
 * @pages_kept: pages of freed pools that only forked children still use (kernel)
 * @syscalls: system calls made for memory since the context was opened
 * @vmas: mappings inside the window now, from /proc/self/maps; 0 without it
 * @spans: spans alive, of wxp_place()
 * @bytes_placed: bytes asked for by these
 * @lines: lines of WXP_LINE bytes that they take
 * @lines_installed: those of them that are installed
 * @pages_packed: pages that hold any of @lines
 * @pages_huge: pages that are part of huge ones now (kernel)
 * @bytes_cached: writable memory of freed pools that is kept for reuse
 * @bytes_spent: address space of the window that freed pools have used up
 *	(WXP_MSEAL)
 *
 * The fields from @spans on were added later: a caller's @size without them
 * is fine.
 */
struct wxp_stats {
	size_t size;
	uint64_t pools;
	uint64_t allocations;
	uint64_t bytes_requested;
	uint64_t bytes_lost;
	uint64_t pages_open;
	uint64_t pages_r;
	uint64_t pages_rx;
	uint64_t pages_rw;
	uint64_t pages_kept;
	uint64_t syscalls;
	uint64_t vmas;
	uint64_t spans;
	uint64_t bytes_placed;
	uint64_t lines;
	uint64_t lines_installed;
	uint64_t pages_packed;
	uint64_t pages_huge;
	uint64_t bytes_cached;
	uint64_t bytes_spent;
};

/**
 * wxp_open() - open a context
 * @wxp: receives the context
 * @opts: options, or NULL for the defaults
 *
 * Return: 0, or
 * -EINVAL (bad option, or a value of WXPOOL_BACKEND that names no backend),
 * -ENOENT (no /dev/wxpool: the module is not loaded), -EACCES (no permission
 * on it), -EPERM (/dev is mounted noexec, or a security policy refuses
 * executable memory), -EPROTO (the module speaks another version), -EMFILE,
 * -ENFILE (too many open files), -ENOMEM, -ENOSYS (Linux before 4.14, or no
 * mseal() or protection key), -EOPNOTSUPP (WXP_MSEAL or WXP_PKEY with another
 * backend than the kernel).
 */
int wxp_open(struct wxp **wxp, const struct wxp_options *opts);

/**
 * wxp_close() - free all pools and the window
 * @wxp: the context, or NULL
 *
 * Code of the context must not run any more in this process. In a child made
 * by fork() it releases what the child inherited, and the parent does not
 * notice. With WXP_MSEAL the addresses of protected memory stay taken, but the
 * memory itself goes back to the system.
 */
void wxp_close(struct wxp *wxp);

/** wxp_get_backend() - the backend in use, never AUTO */
enum wxp_backend wxp_get_backend(const struct wxp *wxp);

/** wxp_get_flags() - the options in effect: without what WXP_IF_POSSIBLE left out */
unsigned int wxp_get_flags(const struct wxp *wxp);

/** wxp_backend_name() - "kernel", "portable", "fast" or "auto" */
const char *wxp_backend_name(enum wxp_backend backend);

/**
 * wxp_reserve() - log all requests of a module before the first allocation
 * @wxp: the context
 * @pool: the pool, not 0; it comes to life if it is new
 * @reqs: the requests
 * @nr: their number, not 0
 *
 * Gets the memory for all of them at once, in as few pages and system calls
 * as possible. A following wxp_alloc() with the same size, alignment and
 * protection takes its place from there; what is not in the log still works,
 * at the cost of further calls.
 *
 * Return: 0, or -EINVAL, -ENOMEM (no memory, or the window is full),
 * -ENOSPC (limit of /dev/wxpool), -EROFS (frozen), -EXDEV (after fork). On
 * failure nothing has changed.
 */
int wxp_reserve(struct wxp *wxp, uint32_t pool,
		const struct wxp_request *reqs, size_t nr);

/**
 * wxp_alloc() - allocate zeroed, writable memory
 * @wxp: the context
 * @pool: the pool, not 0; it comes to life if it is new
 * @size: bytes, not 0
 * @align: a power of two up to the page size; 0 means 16
 * @prot: what it is for
 * @ptr: receives the address, which stays the same until the pool is freed
 *
 * Requests of one protection share pages within their pool; less than one page
 * is lost for each pool and protection. (Where alignments are mixed, or many
 * pools grow at the same time, that takes a wxp_reserve().) Pages that were
 * protected already take no further requests.
 *
 * Return: 0 or an error as wxp_reserve().
 */
int wxp_alloc(struct wxp *wxp, uint32_t pool, size_t size, size_t align,
	      enum wxp_prot prot, void **ptr);

/**
 * wxp_protect() - give all that is new in a pool its final protection
 * @wxp: the context
 * @pool: the pool
 *
 * May be called again after further allocations; only what is new is done.
 * Code may run once this has returned.
 *
 * Return: 0, or -ENOENT (no such pool), -EBUSY (a page is in use by I/O: try
 * again later), -EHWPOISON (a page has a memory error), -ENOMEM, -EPERM (a
 * security policy refuses), -EROFS (frozen: no change), -EXDEV. After -EBUSY and
 * -EHWPOISON all is still writable; after -ENOMEM or -EPERM a part may be protected
 * already, or not accessible. In any case the call can be repeated, and then
 * does the rest.
 */
int wxp_protect(struct wxp *wxp, uint32_t pool);

/**
 * wxp_write_begin() - let this thread store in unprotected memory
 * @wxp: the context, opened with WXP_PKEY; without it, nothing happens
 *
 * For all R and RX memory of the context that wxp_alloc() gave and
 * wxp_protect() did not protect yet. A store to it outside is SIGSEGV. The
 * right is the thread's own; a thread that it starts inherits it, and a signal
 * handler does not have it. (One that leaves by siglongjmp() leaves its thread
 * without.) Beginning twice is as once.
 *
 * Return: 0, or -EINVAL, -EXDEV (after fork).
 */
int wxp_write_begin(struct wxp *wxp);

/**
 * wxp_write_end() - let this thread only read unprotected memory
 * @wxp: the context
 *
 * Threads that were there before wxp_open() can read it once they have called
 * this. Without WXP_PKEY, nothing happens.
 *
 * Return: 0, or -EINVAL, -EXDEV (after fork).
 */
int wxp_write_end(struct wxp *wxp);

/**
 * wxp_place() - find places for a whole module, to be installed
 * @wxp: the context
 * @pool: the pool, not 0; it comes to life if it is new
 * @reqs: the requests
 * @nr: their number, not 0
 * @spans: receives as many places, in the order of @reqs
 *
 * Places are final: code can be relocated for them before it is there. A
 * WXP_RX or WXP_R span is address space that wxp_install() fills; touching it
 * before is an error of the program (kernel: SIGBUS). A WXP_RW span is zeroed
 * memory, writable at once and for good.
 *
 * Spans are packed in lines of WXP_LINE bytes, code with code and data with
 * data, within and between pools. Usually there is no system call. May be
 * mixed with wxp_alloc() in one pool.
 *
 * Return: 0, or -EINVAL, -ENOMEM (no memory, or the window is full), -EPERM (a
 * security policy refuses executable memory), -EROFS (frozen), -EXDEV (after
 * fork). On failure nothing has changed.
 */
int wxp_place(struct wxp *wxp, uint32_t pool, const struct wxp_request *reqs, size_t nr,
	      struct wxp_span *spans);

/**
 * wxp_shrink() - give back the end of a span
 * @wxp: the context
 * @span: a span of wxp_place(); its @size is updated
 * @size: bytes that it keeps, not 0, not more than it has
 *
 * What is given back must not be installed yet. Whole lines go to other spans;
 * the rest of the last line stays with this one.
 *
 * Return: 0, or -EINVAL (not a span, or a bad size), -EEXIST (installed
 * already), -EXDEV. On failure nothing has changed.
 */
int wxp_shrink(struct wxp *wxp, struct wxp_span *span, size_t size);

/**
 * wxp_install() - copy code and read-only data to their places
 * @wxp: the context
 * @pool: the pool
 * @pieces: what goes where, in spans of this pool
 * @nr: their number, not 0
 *
 * One system call (kernel) for a whole module: all of it is there, or nothing.
 * Each line is installed once; a span may be installed in parts, by several
 * calls. Code may run once this has returned, in this thread; other threads
 * that learn of it by the usual means (a lock, an atomic variable, a new
 * thread) may run it too, on x86. Elsewhere, and where lines are used again
 * that another thread ran before, see wxp_sync_cores().
 *
 * Above 1,024 pieces or 16 MiB one call makes several to the kernel. Those
 * before the one that failed are done then, and count in @lines_installed.
 *
 * Return: 0, or -EINVAL (no piece, an empty one, one that is not at a line's
 * start, or not in an RX or R span of this pool), -ENOENT (no such pool),
 * -EEXIST (a line is installed already, or named twice; kernel: or its page
 * holds nothing but freed code that a forked child still shows), -EFAULT (a
 * source is not readable; kernel and portable), -EHWPOISON (a page has a memory
 * error), -ENOMEM, -ENOSPC (limit of /dev/wxpool), -EROFS (frozen), -EXDEV
 * (after fork). On failure nothing has changed.
 */
int wxp_install(struct wxp *wxp, uint32_t pool, const struct wxp_piece *pieces, size_t nr);

/**
 * wxp_install_batch() - install for several pools together
 * @wxp: the context
 * @items: what to install; receives a result for each
 * @nr: their number, not 0
 *
 * As wxp_install() for each item, but submitted together to an io_uring that
 * the context keeps: one system call for up to 64 of them. Items stand for
 * themselves: one fails and others do not. Where there is no io_uring, and
 * with the other backends, the items are installed one after the other.
 *
 * Return: 0 if all were installed, else the first error among the results, or
 * -EINVAL (no items), -EXDEV, with no result set.
 */
int wxp_install_batch(struct wxp *wxp, struct wxp_item *items, size_t nr);

struct wxpool_install;
struct wxpool_install_range;

/**
 * wxp_install_prepare() - fill in an install for a ring of the caller's own
 * @wxp: the context
 * @pool: the pool
 * @pieces: what goes where
 * @nr: their number, 1 to 1,024; all together not above 16 MiB
 * @op: receives the argument of wxp_uring_prep_install()
 * @ranges: room for @nr elements; @op points to it
 *
 * Checks all as wxp_install() does, and counts the lines as installed. @op,
 * @ranges and the sources must stay until the completion, and
 * wxp_install_done() must be called after it, once. Until then the pool
 * cannot be freed (-EBUSY).
 *
 * Return: 0, or an error as wxp_install(), or -EOPNOTSUPP (not the kernel
 * backend). On failure nothing has changed.
 */
int wxp_install_prepare(struct wxp *wxp, uint32_t pool, const struct wxp_piece *pieces,
			size_t nr, struct wxpool_install *op,
			struct wxpool_install_range *ranges);

/**
 * wxp_install_done() - tell the result of a prepared install; then it may run
 * @wxp: the context
 * @op: what wxp_install_prepare() filled in, with its ranges, unchanged
 * @result: the completion's result: 0 or a negative errno; or any negative
 *	errno where it was not submitted
 *
 * Return: @result, or -EINVAL (nothing is under way), -EXDEV.
 */
int wxp_install_done(struct wxp *wxp, const struct wxpool_install *op, int result);

/**
 * wxp_get_fd() - the descriptor of /dev/wxpool
 * @wxp: the context
 *
 * For io_uring, and to hand to another process, which can map what is
 * protected. It stays the library's: do not close it, and do not allocate or
 * free by it.
 *
 * Return: the descriptor, or -EOPNOTSUPP (not the kernel backend).
 */
int wxp_get_fd(const struct wxp *wxp);

/**
 * wxp_freeze() - no more code from now on
 * @wxp: the context
 *
 * One way: wxp_reserve(), wxp_alloc(), wxp_protect(), wxp_place() and
 * wxp_install() fail with -EROFS from now on. Code runs as before, and pools
 * can be freed. With the kernel backend the device itself refuses; with the
 * others only the library does. Freezing again does nothing.
 *
 * Return: 0, or -EXDEV.
 */
int wxp_freeze(struct wxp *wxp);

/**
 * wxp_sync_cores() - make all threads see new code
 * @wxp: the context
 *
 * Returns when every running thread of the process has passed a serialising
 * event (membarrier's SYNC_CORE). Needed between installing or protecting and
 * running in another thread
 *
 * - on arm64, unless that thread executes an ISB first;
 * - on any architecture where the code's addresses held other code that the
 *   thread may have run: memory of a freed pool that is used again.
 *
 * The library never does it by itself: it interrupts every processor that runs
 * the process, and once is enough for any number of installs.
 *
 * Return: 0, or -ENOSYS (not offered by this kernel), -EXDEV.
 */
int wxp_sync_cores(struct wxp *wxp);

/**
 * wxp_free() - end a pool and give back its memory
 * @wxp: the context
 * @pool: the pool
 *
 * Ends what wxp_alloc(), wxp_place() and wxp_install() gave it. Its code must
 * not run any more and its data not be used. Other pools are not touched.
 * What a child made by fork() can still run stays until it is gone; pages that
 * only children run count as @pages_kept of &struct wxp_stats.
 *
 * Writable memory is kept for reuse, with its contents, up to 4 MiB (at most a
 * 16th of the window), and zeroed when it is handed out again: what must not
 * stay in memory is to be erased first.
 *
 * Return: 0, or -ENOENT (no such pool), -EBUSY (an install is under way in a
 * ring), -ENOMEM (portable), -EXDEV. On failure nothing has changed, and the
 * call can be repeated.
 */
int wxp_free(struct wxp *wxp, uint32_t pool);

/**
 * wxp_get_stats() - read the counters of a context
 * @wxp: the context
 * @stats: receives them; its @size must be set, and only so much is written
 *
 * Return: 0, or -EINVAL (@size is that of no version), -EXDEV.
 */
int wxp_get_stats(struct wxp *wxp, struct wxp_stats *stats);

/** wxp_get_window() - the address range that all memory of a context is in */
void wxp_get_window(const struct wxp *wxp, void **base, size_t *size);

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
