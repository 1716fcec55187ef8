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
 * struct wxp_options - how to open a context
 * @size: sizeof(struct wxp_options)
 * @backend: AUTO lets the environment and the machine decide; any other is
 *	insisted on: wxp_open() fails where it cannot be had
 * @window: bytes of address space for the whole context, a multiple of
 *	2 MiB, at most 2 GiB so that all of it is in reach of 32-bit relative
 *	addresses; 0 means 1 GiB
 * @flags: 0
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

/**
 * struct wxp_stats - what a context holds and what it cost
 * @size: sizeof(struct wxp_stats), set by the caller
 * @pools: pools alive
 * @allocations: allocations alive
 * @bytes_requested: bytes asked for by these
 * @bytes_lost: bytes of pages given to pools, beyond @bytes_requested:
 *	alignment, rounding to pages, and reserved but not yet allocated
 * @pages_open: pages of R and RX memory not protected yet
 * @pages_r: pages of protected read-only data
 * @pages_rx: pages of protected code
 * @pages_rw: pages of writable data
 * @pages_kept: pages of freed pools that a forked child still uses (kernel)
 * @syscalls: system calls made for memory since the context was opened
 * @vmas: mappings inside the window now, from /proc/self/maps; 0 without it
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
 * -ENFILE (too many open files), -ENOMEM, -ENOSYS (Linux before 4.14).
 */
int wxp_open(struct wxp **wxp, const struct wxp_options *opts);

/**
 * wxp_close() - free all pools and the window
 * @wxp: the context, or NULL
 *
 * Code of the context must not run any more in this process. In a child made
 * by fork() it releases what the child inherited, and the parent does not
 * notice.
 */
void wxp_close(struct wxp *wxp);

/** wxp_get_backend() - the backend in use, never AUTO */
enum wxp_backend wxp_get_backend(const struct wxp *wxp);

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
 * -ENOSPC (limit of /dev/wxpool), -EXDEV (after fork). On failure nothing has
 * changed.
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
 * again later), -ENOMEM, -EPERM (a security policy refuses), -EXDEV. After
 * -EBUSY all is still writable; after -ENOMEM or -EPERM a part may be protected
 * already, or not accessible. In any case the call can be repeated, and then
 * does the rest.
 */
int wxp_protect(struct wxp *wxp, uint32_t pool);

/**
 * wxp_free() - end a pool and give back its memory
 * @wxp: the context
 * @pool: the pool
 *
 * Its code must not run any more and its data not be used. Other pools are
 * not touched. Pages that a child made by fork() can still run stay until it is
 * gone, and count as @pages_kept of &struct wxp_stats.
 *
 * Return: 0, or -ENOENT (no such pool), -EXDEV.
 */
int wxp_free(struct wxp *wxp, uint32_t pool);

/**
 * wxp_get_stats() - read the counters of a context
 * @wxp: the context
 * @stats: receives them; its @size must be set
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
