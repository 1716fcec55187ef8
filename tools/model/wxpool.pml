/* SPDX-License-Identifier: MIT */
/*
 * wxpool, the model: what runs at once. See Documentation/model.md.
 *
 * spin -DCONFIG_SEAL, _MPROTECT, _DOFORK, _FORK, _INSTALL or _LINES, and -D for what to
 * leave out (NO_PIN_CHECK and so on).
 */

#if defined(CONFIG_INSTALL) || defined(CONFIG_LINES)
#define PACKED
#endif

/* Physical pages, regions and their lines; views that fork() copies. */
#if defined(CONFIG_INSTALL)
#define NP		3
#define NR		3
#define LINES		2
#elif defined(CONFIG_LINES)
#define NP		2
#define NR		2
#define LINES		2
#else
#define NP		2
#define NR		1
#define LINES		1
#endif
#ifdef CONFIG_FORK
#define MAX_FORKS	2
#else
#define MAX_FORKS	1
#endif

#include "core.pml"
#ifdef PACKED
#include "lines.pml"
#else
#include "region.pml"
#endif

init
{
	atomic {
		clear_state();
		/* wxp_mmap(), with what wxp_judge_view() says */
#ifndef CONFIG_DOFORK
		linked[OX] = true;
		may[OX] = MAY_X;
		cur[OX] = X;
		run fault(OX);
#endif
#if defined(CONFIG_INSTALL)
		run ops(1);
		run ops(2);
#elif defined(CONFIG_LINES)
		run ops(0);
#else
		run ops();
#endif
#if defined(CONFIG_SEAL) || defined(CONFIG_MPROTECT) || defined(CONFIG_DOFORK)
		linked[OW] = true;
		may[OW] = MAY_W;
		cur[OW] = W;
		run fault(OW);
#endif
#ifdef CONFIG_SEAL
		run zapper(OW);
		run writer(OW);
		run pinner(OW);
#endif
#ifdef CONFIG_MPROTECT
		linked[PX] = true;	/* an R view */
		run fault(PX);
		run mprotect(OW);
		run mprotect(OX);
#endif
#ifdef CONFIG_DOFORK
		run fault(CW);
#endif
#if defined(CONFIG_FORK) || defined(CONFIG_LINES)
		run fault(CX);
#endif
#if defined(CONFIG_DOFORK) || defined(CONFIG_FORK) || defined(CONFIG_LINES)
		run forker();
#endif
	}
	/* So that one that waits for good is found even if others go on. */
	stop = true
}
