/* SPDX-License-Identifier: MIT */
/*
 * wxpool, the model: what runs at once. See Documentation/model.md.
 *
 * spin -DCONFIG_SEAL and so on, and -D for what to leave out (NO_PIN_CHECK and so
 * on).
 */

/* Processes, which are mms. */
#define OWNER		0
#define CHILD		1
#define GRANDCHILD	2
#define OTHER		3	/* another child of the owner */
#define GUEST		4
#define NM		5

/*
 * Views, of which NV bear a number of heirs, and NPTE PTEs are modelled: one for
 * each offset. unmap_mapping_range() meets them in this order, as dup_mmap() puts a
 * copy behind its original in i_mmap.
 */
#if defined(CONFIG_SEAL)
#define OW	0
#define OX	1
#define NV	2
#elif defined(CONFIG_VECTOR)
#define OW	0
#define OX	1
#define NV	2
#define OFFS	2
#elif defined(CONFIG_MPROTECT)
#define OW	0
#define OX	1
#define GV	2		/* a guest's R view */
#define NV	3
#define mm_of(v)	((v) == GV -> GUEST : OWNER)
#elif defined(CONFIG_XO)
#define OX	0
#define GV	1		/* a guest's XO view */
#define NV	2
#define mm_of(v)	((v) == GV -> GUEST : OWNER)
#elif defined(CONFIG_DOFORK)
#define OW	0
#define CW	1
#define NV	2
#define mm_of(v)	((v) == CW -> CHILD : OWNER)
#elif defined(CONFIG_FORK)
#define OX	0
#define CX	1
#define HX	2		/* of the grandchild */
#define CA	3		/* of the child, elsewhere */
#define NV	4
#define NPTE	3
#define mm_of(v)	((v) == CA -> CHILD : (v))
#define is_heirs(v)	((v) != OX)
#define HEIRS	2
#elif defined(CONFIG_LINES)
#define OX	0
#define CX	1
#define DX	2		/* of another child */
#define NV	3
#define mm_of(v)	((v) == DX -> OTHER : (v))
#define is_heirs(v)	((v) != OX)
#define LINES	2
#define HEIRS	2
#elif defined(CONFIG_INSTALL)
#define OX	0
#define NV	1
#define OFFS	2
#define LINES	2
#define NP	3
#endif

#ifndef mm_of
#define mm_of(v)	OWNER
#endif
#ifndef is_heirs
#define is_heirs(v)	false
#endif
#ifndef OFFS
#define OFFS	1		/* offsets */
#endif
#ifndef LINES
#define LINES	1		/* of a page; more than one if it is packed */
#endif
#ifndef NP
#define NP	2		/* physical pages */
#endif
#ifndef HEIRS
#define HEIRS	0		/* whose numbers are modelled, at once */
#endif
#ifndef NPTE
#define NPTE	(NV * OFFS)
#endif
#define NPOOLS	LINES
#define ALL	((1 << OFFS) - 1)

#include "core.pml"
#if LINES > 1
#include "lines.pml"
#else
#include "region.pml"
#endif

inline view(v, bits)
{
	linked[v] = true;
	may[v] = bits;
	cur[v] = bits
}

init
{
	atomic {
		clear_state();
		/* wxpool_mmap(), with what wxpool_judge_view() says */
#ifndef CONFIG_DOFORK
		view(OX, MAY_X);
		run fault(at(OX, 0), at(OX, OFFS - 1));
#endif
#if defined(CONFIG_INSTALL)
		run ops(1);
		run ops(2);
#elif defined(CONFIG_LINES)
		run ops(0);
#else
		run ops();
#endif
#if defined(CONFIG_SEAL) || defined(CONFIG_MPROTECT) || defined(CONFIG_DOFORK) || \
    defined(CONFIG_VECTOR)
		view(OW, MAY_W);
		run fault(at(OW, 0), at(OW, OFFS - 1));
#endif
#ifdef CONFIG_SEAL
		run zapper(OW);
		run writer(OW);
		run pinner(OW);
#endif
#ifdef CONFIG_VECTOR
		run pinner(at(OW, 0));
		run pinner(at(OW, 1));
#endif
#ifdef CONFIG_MPROTECT
		view(GV, MAY_R);
		run fault(GV, GV);
		run mprotect(OW);
		run mprotect(OX);
#endif
#ifdef CONFIG_XO
		view(GV, MAY_XO);
		run fault(GV, GV);
		run mprotect(OX);
		run mprotect(GV);
#endif
#ifdef CONFIG_DOFORK
		run fault(CW, CW);
		run forker();
#endif
#if HEIRS > 0
		run fault(1, NPTE - 1);
		run forker();
#ifdef HX
		run children();
#endif
#endif
	}
	/* So that one that waits for good is found even if others go on. */
	stop = true
}
