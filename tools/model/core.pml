/* SPDX-License-Identifier: MIT */
/*
 * wxpool, the model: what the kernel's memory management does, as far as the
 * module relies on it, and the properties.
 *
 * One offset of one context is modelled; physical pages (folios) are apart from
 * it, so that old pages and reuse are seen. Each atomic step is what the code
 * does under the lock that is named beside it.
 */

#define NONE	7		/* no page, no region */
#define ALIVE	15		/* WXP_ALIVE */

/* Processes. */
#define OWNER	0
#define CHILD	1
#define PEER	2

/*
 * Views: of the owner, their copies in the child, and the one of a peer that got
 * the fd. unmap_mapping_range() meets them in this order: dup_mmap() puts a copy
 * behind its original in i_mmap.
 */
#define OW	0
#define OX	1
#define CW	2
#define CX	3
#define PX	4
#define NV	5
#define mm_of(v)	(v < CW -> OWNER : (v < PX -> CHILD : PEER))

/* Bits of may[] and cur[]: VM_MAYWRITE and VM_WRITE, VM_MAYEXEC and VM_EXEC. */
#define W	1
#define X	2

/* enum wxp_state */
#define OPEN		0
#define SEALED_R	1
#define SEALED_X	2

/* What is in a page, or in a line of it. */
#define FILL	0		/* zeros, or traps */
#define BYTES	1		/* written by a user; of a line: 1 or 2, its pool */
#define OLD	3		/* of another life of the page */
#define first(p)	((p) * LINES)
#define last(p)		((p) * LINES + LINES - 1)

bool stop;			/* all end what they are doing, and then end */

/* mmap_lock of each process; wxp_ctx.lock; readers of i_mmap_rwsem. */
byte mm_readers[3];
bool mm_writer[3];
byte ctx_readers;
bool ctx_writer;
byte imap_readers;

/* VMAs: in i_mmap; VM_MAY bits, current bits; vm_private_data; page table. */
bool linked[NV];
byte may[NV];
byte cur[NV];
byte heir[NV];
byte pte[NV];

/* PTEs that are gone, but not from the TLBs: their page and bits. */
byte stale[2];
byte stale_cur[2];
#define BY_OPS	0
#define BY_CORE	1

/* Folios: _refcount, lock, bytes; write pins, and all references of GUP. */
byte ref[NP];
bool locked[NP];
byte data[NP * LINES];
byte pins[NP];
byte gup[NP];

/* What the user was told of it: for the properties only. */
byte told[NP];			/* its state when the last call returned */
bool over[NP];			/* FREE has returned */

/* struct wxp_region; tree is what mtree_load() finds. */
byte tree = NONE;
byte forks;			/* wxp_ctx.forks */
byte r_folio[NR];
byte r_state[NR];
byte r_born[NR];
byte r_ended[NR];
byte r_older[NR];
byte r_line[NR * LINES];	/* 0: free, else its pool */
#define kept(r)	(r_ended[r] != ALIVE)		/* wxp_is_kept() */

/* ---- properties. -DONLY=n checks the nth alone. */

hidden byte I1_writable_while_executable;
hidden byte I2_sealed_bytes_changed;
hidden byte I2_executable_but_not_sealed_X;
hidden byte I3_freed_page_reachable;
hidden byte I3_not_cleared_before_reuse;
hidden byte I4_bytes_left_over;
hidden byte I5_not_the_owner;
hidden byte H_taken_from_an_heir;
hidden byte B_busy_without_a_pin;

#ifndef ONLY
#define ONLY	0
#endif
#define wanted(n)	(ONLY == 0 || ONLY == n)
#define never1(name, n, e)	name = wanted(n) && (e); assert(!name)

#define shows(v, p)		(pte[v] == p)
#define maps(v, p, bit)		(pte[v] == p && (cur[v] & bit))
#define lags(z, p, bit)		(stale[z] == p && (stale_cur[z] & bit))
#define writable(p)	(maps(OW, p, W) || maps(OX, p, W) || maps(CW, p, W) || \
			 maps(CX, p, W) || maps(PX, p, W) || pins[p] || \
			 lags(BY_OPS, p, W) || lags(BY_CORE, p, W))
#define executable(p)	(maps(OW, p, X) || maps(OX, p, X) || maps(CW, p, X) || \
			 maps(CX, p, X) || maps(PX, p, X) || \
			 lags(BY_OPS, p, X) || lags(BY_CORE, p, X))
#define others_write(p)	(maps(CW, p, W) || maps(CX, p, W) || maps(PX, p, W))
#define non_heir_sees(p) (shows(OW, p) || shows(OX, p) || shows(PX, p))
#define anyone_sees(p)	(non_heir_sees(p) || shows(CW, p) || shows(CX, p))

/* Whenever a page's mappings, pins or state have changed. */
inline check(p)
{
	never1(I1_writable_while_executable, 1, writable(p) && executable(p));
	never1(I2_executable_but_not_sealed_X, 2,
	       executable(p) && told[p] != SEALED_X);
	never1(I3_freed_page_reachable, 3, over[p] && non_heir_sees(p));
	never1(I3_not_cleared_before_reuse, 3,
	       anyone_sees(p) && told[p] == OPEN && data[first(p)] == OLD);
	never1(I4_bytes_left_over, 4, executable(p) &&
	       (data[first(p)] == OLD || data[last(p)] == OLD));
	never1(I5_not_the_owner, 5, others_write(p))
}

/* A store of the user's, through a mapping or a pin. */
inline store(p)
{
	never1(I2_sealed_bytes_changed, 2, told[p] != OPEN);
	if
	:: data[first(p)] == FILL -> data[first(p)] = BYTES
	:: else
	fi
}

/* ---- locks */

#define lock_write()	atomic { !ctx_writer && ctx_readers == 0 -> ctx_writer = true }
#define unlock_write()	ctx_writer = false
#define mm_lock_read(m)	!mm_writer[m] -> mm_readers[m]++
#define mm_lock_write(m) !mm_writer[m] && mm_readers[m] == 0 -> mm_writer[m] = true

/* ---- folios */

/* The page allocator: the first page without a reference. NONE: -ENOMEM. */
inline folio_alloc(p)
{
	p = 0;
	do
	:: p < NP && ref[p] != 0 -> p++
	:: else -> break
	od;
	if
	:: p < NP -> ref[p] = 1
	:: else -> p = NONE
	fi
}

inline folio_put(p)
{
	ref[p]--;
	if
	:: ref[p] == 0 ->
		data[first(p)] = OLD;
		data[last(p)] = OLD;
		told[p] = OPEN;
		over[p] = false
	:: else
	fi
}

/* ---- page tables */

/*
 * zap_pte_range(): the PTE goes under the page table's lock; the reference only
 * after all TLBs have been flushed (mmu_gather).
 */
inline zap_pte(v, z)
{
	stale[z] = pte[v];
	stale_cur[z] = cur[v];
	pte[v] = NONE
}

inline flush_tlb(z)
{
	folio_put(stale[z]);
	stale[z] = NONE;
	stale_cur[z] = 0
}

/* unmap_mapping_range(): holds i_mmap_rwsem for reading, and no mmap_lock. */
inline wxp_unmap(v, z)
{
	imap_readers++;
	v = 0;
	do
	:: atomic { v < NV && pte[v] == NONE -> v++ }
	:: atomic { v < NV && pte[v] != NONE -> zap_pte(v, z) };
	   atomic { flush_tlb(z); v++ }
	:: atomic { v == NV -> imap_readers--; v = 0; break }
	od
}

/* ---- kmod/view.c */

/* wxp_inherited() */
#define inherited(r, v)	(heir[v] > r_born[r] && heir[v] <= r_ended[r])

inline wxp_find_region(v, r)
{
	r = tree;
	do
	:: r != NONE && !inherited(r, v) -> r = r_older[r]
	:: else -> break
	od;
	if
	:: r == NONE && tree != NONE && !kept(tree) -> r = tree
	:: else
	fi
}

#ifdef NO_OWNER_IN_FAULT
#define by_owner(v)	true
#else
#define by_owner(v)	(mm_of(v) == OWNER)
#endif
#ifdef FAULT_BY_CURRENT_BITS
#define kind(v)	cur[v]
#else
#define kind(v)	may[v]
#endif
#define wxp_may_show(v, s)	((kind(v) & W) -> (s == OPEN && by_owner(v)) : \
				 ((kind(v) & X) -> s == SEALED_X : s != OPEN))

/* wxp_judge_view(): what it makes of the MAY bits W | X. */
#ifdef NO_CLEAR_MAYEXEC
#define MAY_W	(W | X)
#else
#define MAY_W	W
#endif
#ifdef NO_CLEAR_MAYWRITE
#define MAY_X	(W | X)
#else
#define MAY_X	X
#endif

/*
 * An interesting state. A search reaches each, or reports it as unreached; with
 * -DWITNESS=n it ends with an error, and so a trail, at the nth.
 */
#ifndef WITNESS
#define WITNESS	0
#endif
#define witness(n, e)	if :: (e) -> assert(WITNESS != n) :: else fi

inline shown(v, p)
{
	skip;
#ifdef CONFIG_SEAL
	witness(1, v == OX && told[p] == SEALED_X)
#endif
#ifdef CONFIG_MPROTECT
	witness(2, v == PX && told[p] == SEALED_R)
#endif
#ifdef CONFIG_FORK
	witness(6, v == CX && told[p] == SEALED_X && !over[p]);
	witness(7, v == CX && over[p])
#endif
#ifdef CONFIG_LINES
	witness(10, v == CX && over[p] && pte[OX] != NONE && pte[OX] != p)
#endif
}

/* A touch of view v where it has no PTE. One thread for each view. */
proctype fault(byte v)
{
	byte r = NONE, p = NONE;

	do
	:: atomic { stop -> break }
	:: atomic {
		/* The core finds the VMA. */
		!stop && linked[v] && pte[v] == NONE && mm_lock_read(mm_of(v))
	   };
	   /* wxp_fault(): down_read(), wxp_find_region(), wxp_may_show(), folio_get() */
	   atomic {
		!ctx_writer ->
		wxp_find_region(v, r);
		if
		:: r != NONE && wxp_may_show(v, r_state[r]) ->
			p = r_folio[r];
			ref[p]++;
			ctx_readers++
		:: else -> p = NONE
		fi;
		r = NONE
	   };
	   if
	   :: atomic { p == NONE -> mm_readers[mm_of(v)]-- }	/* SIGBUS */
	   :: p != NONE ->
		/* folio_lock(), up_read(); VM_FAULT_LOCKED */
		atomic { !locked[p] -> locked[p] = true; ctx_readers-- };
		/* finish_fault(), folio_unlock(), mmap_read_unlock() */
		atomic {
			pte[v] = p;
			check(p);
			shown(v, p);
			locked[p] = false;
			mm_readers[mm_of(v)]--;
			p = NONE
		}
	   fi
	od
}

/* wxp_find_heirs(), under i_mmap_rwsem. */
inline wxp_find_heirs(old, new)
{
	old = ALIVE;
	new = 0;
	if
	:: linked[CW] && heir[CW] -> old = heir[CW]; new = heir[CW]
	:: else
	fi;
	if
	:: linked[CX] && heir[CX] ->
		old = (heir[CX] < old -> heir[CX] : old);
		new = (heir[CX] > new -> heir[CX] : new)
	:: else
	fi
}

/* ---- kmod/region.c */

/* wxp_settle_page(), under wxp_ctx.lock; r is the region. */
inline wxp_settle_page(r, s)
{
#ifdef NO_FOLIO_WAIT
	r_state[r] = s
#else
	atomic { !locked[r_folio[r]] -> r_state[r] = s }
#endif
}

/* ---- fork and exit */

/*
 * dup_mmap() for a view v and its copy c: vm_ops->open, which is wxp_view_open();
 * vma_interval_tree_insert_after() with i_mmap_rwsem; copy_page_range() with the
 * page table's lock. The last leaves out most file mappings; userfaultfd and
 * others make it copy.
 */
inline dup_vma(c, v)
{
	atomic {
		may[c] = may[v];
		cur[c] = cur[v];
		forks++;
		heir[c] = forks
	};
#ifndef NO_UNMAP_IN_FORK
	if
	:: may[c] & W -> wxp_unmap(i, BY_CORE)
	:: else
	fi;
#endif
	atomic { imap_readers == 0 -> linked[c] = true };
	if
	:: atomic {
		pte[v] != NONE ->
		pte[c] = pte[v];
		ref[pte[c]]++;
		check(pte[c])
	   }
	:: true
	fi
}

/* exit_mmap(): all PTEs go, then the VMA leaves i_mmap. */
inline exit_vma(c)
{
	if
	:: atomic { pte[c] != NONE -> zap_pte(c, BY_CORE) };
	   atomic { flush_tlb(BY_CORE) }
	:: atomic { pte[c] == NONE }
	fi;
	atomic {
		imap_readers == 0 ->
		linked[c] = false;
		heir[c] = 0;
		may[c] = 0;
		cur[c] = 0
	}
}

bool child;			/* there is one, and fork() has returned */

proctype forker()
{
	byte i;

	do
	:: atomic { stop -> break }
	:: atomic {
		!stop && !child && forks < MAX_FORKS && mm_lock_write(OWNER);
		mm_writer[CHILD] = true
	   };
	   /* dup_mmap() */
	   if
	   :: linked[OW] -> dup_vma(CW, OW)	/* after MADV_DOFORK */
	   :: true				/* VM_DONTCOPY */
	   fi;
	   if
	   :: linked[OX] -> dup_vma(CX, OX)
	   :: else
	   fi;
	   atomic { mm_writer[OWNER] = false; mm_writer[CHILD] = false; child = true }
	:: atomic { !stop && child && mm_lock_write(CHILD); child = false };
	   if
	   :: linked[CX] -> exit_vma(CX)
	   :: else
	   fi;
	   if
	   :: linked[CW] -> exit_vma(CW)
	   :: else
	   fi;
	   mm_writer[CHILD] = false
	od
}

/* ---- other things that users do */

/* mprotect(): any protection that the MAY bits allow. */
proctype mprotect(byte v)
{
	do
	:: atomic { stop -> break }
	:: atomic {
		!stop && !mm_writer[mm_of(v)] && mm_readers[mm_of(v)] == 0 ->
		if
		:: cur[v] = 0
		:: cur[v] = may[v]
		:: cur[v] = may[v] & W
		:: cur[v] = may[v] & X
		fi;
		if
		:: pte[v] != NONE -> check(pte[v])
		:: else
		fi
	   }
	od
}

/* madvise(MADV_DONTNEED) or munmap() in another thread. */
proctype zapper(byte v)
{
	do
	:: atomic { stop -> break }
	:: atomic {
		!stop && pte[v] != NONE && !mm_writer[mm_of(v)] ->
		zap_pte(v, BY_CORE);
		mm_readers[mm_of(v)]++
	   };
	   atomic { flush_tlb(BY_CORE); mm_readers[mm_of(v)]-- }
	od
}

/* A processor that writes through a view, or through its TLB. */
proctype writer(byte v)
{
	do
	:: atomic { stop -> break }
	:: atomic { !stop && maps(v, pte[v], W) && pte[v] != NONE -> store(pte[v]) }
	:: atomic { !stop && lags(BY_OPS, stale[BY_OPS], W) -> store(stale[BY_OPS]) }
	:: atomic { !stop && lags(BY_CORE, stale[BY_CORE], W) -> store(stale[BY_CORE]) }
	od
}

/* I/O into the page: vmsplice(), fixed buffers, O_DIRECT. */
proctype pinner(byte v)
{
	byte p = NONE;

	do
	:: atomic { stop -> break }
	:: atomic {
		/* get_user_pages_fast(): reads the PTE without a lock, */
		!stop && pte[v] != NONE && (cur[v] & W) -> p = pte[v]
	   };
	   if
	   /* takes a reference unless there is none left (try_grab_folio()), */
	   :: atomic { ref[p] != 0 -> ref[p]++; gup[p]++ };
	      if
	      /* and looks at the PTE again. */
	      :: atomic { pte[v] == p && (cur[v] & W) -> pins[p]++; check(p) };
	         goto pinned
	      :: atomic { !(pte[v] == p && (cur[v] & W)) ->
			gup[p]--; folio_put(p); p = NONE; assert(WITNESS != 3) }
	      fi
	   :: atomic { ref[p] == 0 -> p = NONE }
	   fi
	:: atomic {
		/* follow_page_pte(), with the page table's lock */
		!stop && pte[v] != NONE && (cur[v] & W) ->
		p = pte[v];
		ref[p]++;
		gup[p]++;
		pins[p]++;
		check(p)
	   };
pinned:	   do
	   :: atomic { !stop -> store(p) }
	   :: atomic { pins[p]--; gup[p]--; folio_put(p); p = NONE; break }
	   od
	od
}

inline clear_state()
{
	byte k;

	for (k : 0 .. NV - 1) {
		pte[k] = NONE
	}
	for (k : 0 .. NP - 1) {
		data[first(k)] = OLD;
		data[last(k)] = OLD
	}
	for (k : 0 .. NR - 1) {
		r_folio[k] = NONE;
		r_older[k] = NONE;
		r_ended[k] = ALIVE
	}
	stale[0] = NONE;
	stale[1] = NONE;
	k = 0
}
