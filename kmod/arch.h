/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * wxpool: what differs between processors
 *
 * WXPOOL_TRAPS: eight bytes of instructions that trap
 * wxpool_sync_icache(): has processors see instructions that the kernel has written
 * wxpool_keeps_xo(): do loads from pages that are mapped PROT_EXEC alone fail?
 */
#ifndef WXPOOL_ARCH_H
#define WXPOOL_ARCH_H

#include <asm/cacheflush.h>
#include <asm/cpufeature.h>

#if defined(CONFIG_X86)
#define WXPOOL_TRAPS	0xccccccccccccccccull	/* int3 */

static inline void wxpool_sync_icache(unsigned long start, unsigned long end)
{
}

/* The core gives such mappings a protection key of their own. */
static inline bool wxpool_keeps_xo(void)
{
	return cpu_feature_enabled(X86_FEATURE_OSPKE);
}
#elif defined(CONFIG_ARM64)
#define WXPOOL_TRAPS	0xd4200000d4200000ull	/* brk #0 */

/*
 * Cleans and invalidates to the point of unification, which reaches all processors. A VIPT
 * instruction cache may hold the old bytes under users' addresses, which an invalidation by the
 * kernel's does not find: all of it goes, as in the core's sync_icache_aliases(), which is not
 * exported.
 *
 * Each processor has to execute an ISB, too, before it runs what was written. The caller does on
 * its return to user space; for other threads that is up to the user, as with any other code
 * (flush_icache_range() would interrupt all processors for it).
 */
static inline void wxpool_sync_icache(unsigned long start, unsigned long end)
{
	u64 ctr = read_sanitised_ftr_reg(SYS_CTR_EL0);

	caches_clean_inval_pou(start, end);
	if (SYS_FIELD_GET(CTR_EL0, L1Ip, ctr) != CTR_EL0_L1Ip_PIPT)
		icache_inval_all_pou();
}

static inline bool wxpool_keeps_xo(void)
{
	return cpus_have_cap(ARM64_HAS_EPAN);
}
#else
#error "wxpool: what is a trap instruction here, and how are caches synchronised?"
#endif

#endif /* WXPOOL_ARCH_H */
