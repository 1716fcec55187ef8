/* SPDX-License-Identifier: MIT */
/* Protection keys, for C libraries that have no functions for them (musl). */
#ifndef WXP_PKEY_H
#define WXP_PKEY_H

#include <sys/mman.h>

#ifndef PKEY_DISABLE_WRITE
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PKEY_DISABLE_WRITE	2

#ifdef __x86_64__
static inline int pkey_alloc(unsigned int flags, unsigned int rights)
{
	return (int)syscall(SYS_pkey_alloc, (unsigned long)flags, (unsigned long)rights);
}

/* Two bits a key, in a register of the thread's */
static inline int pkey_get(int key)
{
	unsigned int pkru, high;

	__asm__ volatile("rdpkru" : "=a"(pkru), "=d"(high) : "c"(0));
	return pkru >> (2 * key) & 3;
}

static inline int pkey_set(int key, unsigned int rights)
{
	unsigned int pkru, high;

	__asm__ volatile("rdpkru" : "=a"(pkru), "=d"(high) : "c"(0));
	pkru = (pkru & ~(3u << (2 * key))) | rights << (2 * key);
	__asm__ volatile("wrpkru" : : "a"(pkru), "c"(0), "d"(0) : "memory");
	return 0;
}
#else
/* There are none, and so nothing to call the rest for */
static inline int pkey_alloc(unsigned int flags, unsigned int rights)
{
	(void)flags;
	(void)rights;
	errno = ENOSYS;
	return -1;
}

static inline int pkey_get(int key)
{
	(void)key;
	return 0;
}

static inline int pkey_set(int key, unsigned int rights)
{
	(void)key;
	(void)rights;
	return 0;
}
#endif

static inline int pkey_mprotect(void *addr, size_t size, int prot, int key)
{
	return (int)syscall(SYS_pkey_mprotect, addr, size, (long)prot, (long)key);
}

static inline int pkey_free(int key)
{
	return (int)syscall(SYS_pkey_free, (long)key);
}
#endif

#endif /* WXP_PKEY_H */
