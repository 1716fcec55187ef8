/* SPDX-License-Identifier: MIT */
/* Processors. */
#ifndef WXP_ARCH_H
#define WXP_ARCH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if (!defined(__x86_64__) && !defined(__aarch64__)) || !defined(__LP64__)
#error "libwxpool runs on x86-64 and arm64 (64-bit programs only)"
#endif

#ifdef __aarch64__
#include <sys/auxv.h>

#ifndef PROT_BTI
#define PROT_BTI	0x10
#endif
#ifndef HWCAP2_BTI
#define HWCAP2_BTI	(1ul << 17)
#endif

/* The protection of views of code that has landing pads; 0: there is none */
static inline int arch_prot_bti(void)
{
	return getauxval(AT_HWCAP2) & HWCAP2_BTI ? PROT_BTI : 0;
}

/* Makes @p, any bytes of a page of code, those of trap instructions. */
static inline void fill_traps(char *p, size_t size)
{
	static const char brk[4] = { 0x00, 0x00, 0x20, (char)0xd4 };
	size_t i;

	for (i = 0; i < size; i++)
		p[i] = brk[((uintptr_t)p + i) % 4];
}
#else
static inline int arch_prot_bti(void)
{
	return 0;
}

static inline void fill_traps(char *p, size_t size)
{
	memset(p, 0xcc, size);		/* int3 */
}
#endif

/*
 * To be called once code was stored at @start, or through another mapping of the same
 * memory, and before it runs at @start, where it can be read by now. The device does
 * it for what it seals and installs.
 *
 * On arm64, unless CTR_EL0 says that caches follow stores (IDC, DIC): clean the data
 * cache to the point of unification (DC CVAU), DSB, invalidate the instruction cache
 * (IC IVAU), DSB, ISB. Data caches are as if physically indexed, so that any mapping's
 * address cleans them; instruction caches may be virtually indexed, so that it must
 * be the address where the code will run. Both reach all processors, but the ISB is
 * this thread's own: others are up to wxp_sync_cores().
 */
static inline void sync_icache(char *start, size_t size)
{
	__builtin___clear_cache(start, start + size);
}

#endif /* WXP_ARCH_H */
