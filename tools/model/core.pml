/* SPDX-License-Identifier: MIT */
/*
 * wxpool, the model: what the kernel's memory management does, as far as the
 * module relies on it; faults; how pages go away; and the properties.
 *
 * One or two offsets of one context are modelled; physical pages (folios) are
 * apart from them, so that old pages and reuse are seen. Each atomic step is what
 * the code does under the lock that is named beside it.
 */

#define NONE	7		/* no page */
#define GONE	6		/* heirs that ended, and that somebody still has */
#define SHOWN	15		/* WXPOOL_SHOWN: not hidden */

/* Bits of may[] and cur[]: VM_MAYWRITE and VM_WRITE, and so on. */
#define W	1
#define X	2
#ifdef CONFIG_XO
#define R	4
#else
#define R	0		/* all can read */
#endif

/* enum wxpool_state */
#define OPEN		0
#define SEALED_R	1
#define SEALED_X	2
#define SEALED_XO	3

/* What is in a page, or in a line of it. */
#define FILL	0		/* zeros, or traps */
#define BYTES	1		/* written by a user; of a line: 1 or 2, its pool */
#define OLD	3		/* of another life of the page */
#define byte_of(p, l)	data[(p) * LINES + (l)]

bool stop;			/* all end what they are doing, and then end */

/* mmap_lock of each process; wxpool_context.lock; readers of i_mmap_rwsem. */
byte mm_readers[NM];
bool mm_writer[NM];
byte ctx_readers;
bool ctx_writer;
byte imap_readers;

/* VMAs: in i_mmap; VM_MAY bits, current bits; vm_private_data; page table. */
bool linked[NV];
byte may[NV];
byte cur[NV];
byte heir[NV];			/* the number of its heirs, 0 if it is no heir's */
byte pte[NPTE];
#define at(v, o)	((v) * OFFS + (o))
#define view_of(e)	((e) / OFFS)
#define off_of(e)	((e) % OFFS)

/* PTEs that are gone, but not from the TLBs: their page and bits. */
byte stale[3];
byte stale_cur[3];
#define BY_OPS	0
#define BY_CORE	1
#define BY_EXIT	2

/* Folios: _refcount, lock, bytes; write pins, and all references of GUP. */
byte ref[NP];
bool locked[NP];
byte data[NP * LINES];
byte pins[NP];
byte gup[NP];

/* Its state when the last call returned: for the properties only. */
byte told[NP];

/* What is found at an offset: struct wxpool_page and its struct wxpool_region */
byte r_folio[OFFS];
byte r_state[OFFS];
byte r_born[OFFS];
byte r_ended[OFFS];
#define hidden_at(o)	(r_ended[o] != SHOWN)

/* struct wxpool_pool: if it is kept, by which heirs */
byte p_born[NPOOLS + 1];
byte p_heirs[NPOOLS + 1];

/*
 * struct wxpool_heirs: how many views. Numbers of forks are only compared with
 * each other. So when heirs end, all numbers from theirs on become one less, in
 * all that has one: there is no end to forks, but to states.
 */
byte forks;
byte views[HEIRS + 1];
byte fork_heirs;		/* those of the last fork, if they live */
byte fork_mm;			/* their mm_struct, by its address */
#define OLD_MM	1		/* mmgrab() keeps it from being a new child's */
#define NEW_MM	2		/* of the fork on its way */

/* Line by line what a fork showed its child, unless it was revoked */
byte due[(HEIRS + 1) * LINES];

/* ---- properties. -DONLY=n checks the nth alone. */

hidden byte I1_writable_while_executable;
hidden byte I2_sealed_bytes_changed;
hidden byte I2_executable_but_not_sealed_X;
hidden byte I2_sealed_twice;
hidden byte I3_freed_page_reachable;
hidden byte I3_freed_line_reachable;
hidden byte I3_not_cleared_before_reuse;
hidden byte I4_bytes_left_over;
hidden byte I5_not_the_owner;
hidden byte H_taken_from_an_heir;
hidden byte B_busy_without_a_pin;
hidden byte E_readable_though_execute_only;
hidden byte A_something_of_a_failed_call;
hidden byte K_kept_for_nobody;
hidden byte U_used_after_free;
hidden byte C_miscounted;

#ifndef ONLY
#define ONLY	0
#endif
#define wanted(n)	(ONLY == 0 || ONLY == n)
#define never1(name, n, e)	name = wanted(n) && (e); assert(!name)

#define lags(z, p, bit)	(stale[z] == p && (stale_cur[z] & bit))
#define lag(p, bit)	(lags(BY_OPS, p, bit) || lags(BY_CORE, p, bit) || \
			 lags(BY_EXIT, p, bit))

hidden byte e_;
hidden byte can_;		/* what can be done through PTEs, TLBs and pins */
hidden byte theirs_;		/* somebody else than the owner can write */
hidden byte seen_;		/* somebody sees it */

/*
 * May a PTE show what it shows? Only what is at its offset, and to owner and guests
 * only if that is not hidden.
 */
#define is_right(e) \
	(pte[e] == r_folio[off_of(e)] && \
	 (!hidden_at(off_of(e)) || \
	  (is_heirs(view_of(e)) && heir[view_of(e)] > r_born[off_of(e)] && \
	   heir[view_of(e)] <= r_ended[off_of(e)])))

/* A new PTE. If an operation is on its way, settled() will look at it. */
inline check_pte(e)
{
	never1(I3_freed_page_reachable, 3, !ctx_writer && !is_right(e));
	check(pte[e])
}

/* Whenever a page's mappings, pins or state have changed. */
inline check(p)
{
	d_step {
		can_ = (pins[p] || lag(p, W) -> W : 0) | (lag(p, X) -> X : 0);
		theirs_ = false;
		seen_ = false;
		for (e_ : 0 .. NPTE - 1) {
			if
			:: pte[e_] == p ->
				can_ = can_ | cur[view_of(e_)];
				seen_ = true;
				/* In fork() it does not run yet. */
				theirs_ = theirs_ ||
					  ((cur[view_of(e_)] & W) &&
					   mm_of(view_of(e_)) != OWNER &&
					   !mm_writer[mm_of(view_of(e_))])
			:: else
			fi
		}
		never1(I1_writable_while_executable, 1, (can_ & W) && (can_ & X));
		never1(I2_executable_but_not_sealed_X, 2,
		       (can_ & X) && told[p] != SEALED_X && told[p] != SEALED_XO);
		never1(E_readable_though_execute_only, 8,
		       (can_ & R) && told[p] == SEALED_XO);
		never1(I3_not_cleared_before_reuse, 3,
		       seen_ && told[p] == OPEN && byte_of(p, 0) == OLD);
		never1(I4_bytes_left_over, 4, (can_ & X) &&
		       (byte_of(p, 0) == OLD || byte_of(p, LINES - 1) == OLD));
		never1(I5_not_the_owner, 5, theirs_)
	}
}

/* A store of the user's, through a mapping or a pin. */
inline store(p)
{
	never1(I2_sealed_bytes_changed, 2, told[p] != OPEN);
	if
	:: byte_of(p, 0) == FILL -> byte_of(p, 0) = BYTES
	:: else
	fi
}

/* ---- locks */

#define ctx_idle	(!ctx_writer && ctx_readers == 0)
#define lock_write()	atomic { ctx_idle -> ctx_writer = true }
#define unlock_write()	ctx_writer = false
#define mm_idle(m)	(!mm_writer[m] && mm_readers[m] == 0)

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
	never1(U_used_after_free, 11, ref[p] == 0);
	ref[p]--;
	if
	:: ref[p] == 0 ->
		byte_of(p, 0) = OLD;
		byte_of(p, LINES - 1) = OLD;
		told[p] = OPEN
	:: else
	fi
}

/* ---- page tables */

/*
 * zap_pte_range(): the PTE goes under the page table's lock; the reference only
 * after all TLBs have been flushed (mmu_gather).
 */
inline zap_pte(e, z)
{
	stale[z] = pte[e];
	stale_cur[z] = cur[view_of(e)];
	pte[e] = NONE
}

inline flush_tlb(z)
{
	folio_put(stale[z]);
	stale[z] = NONE;
	stale_cur[z] = 0
}

/*
 * unmap_mapping_range() of the offsets in @set: holds i_mmap_rwsem for reading,
 * and no mmap_lock.
 */
#define hit(e, set)	(pte[e] != NONE && ((set) & (1 << off_of(e))))

inline wxpool_unmap(e, set, z)
{
	imap_readers++;
	e = 0;
	do
	:: atomic { e < NPTE && !hit(e, set) -> e++ }
	:: atomic { e < NPTE && hit(e, set) -> zap_pte(e, z) };
	   atomic { flush_tlb(z); e++ }
	:: atomic { e == NPTE -> imap_readers--; e = 0; break }
	od
}

/* ---- kmod/region.c */

/* wxpool_settle_page() waits for faults in flight. */
#ifdef NO_FOLIO_WAIT
#define settles(p)	true
#else
#define settles(p)	!locked[p]
#endif

inline page_clear(o)
{
	r_folio[o] = NONE;
	r_state[o] = OPEN;
	r_born[o] = 0;
	r_ended[o] = SHOWN
}

/*
 * wxpool_end_pages() of the offsets in @ends, which views go on holding, and
 * wxpool_hide_pages() of those in @hides; then wxpool_unmap_ended(), unless
 * @no_unmap; and the lock is dropped. @o and @e count offsets and PTEs.
 */
inline wxpool_end_and_unlock(o, e, ends, hides, no_unmap, z)
{
	if
	:: atomic { ends | hides };
	   /* wxpool_settle_page() of each */
#ifdef UNMAP_FIRST
	   wxpool_unmap(e, ends | hides, z);
#endif
	   do
	   :: atomic { o < OFFS && !((ends | hides) & (1 << o)) -> o++ }
	   :: atomic { o < OFFS && ((ends | hides) & (1 << o)) && settles(r_folio[o]) ->
		if
		:: ends & (1 << o) -> folio_put(r_folio[o]); page_clear(o)
		:: else
		fi;
		o++ }
	   :: atomic { o == OFFS -> o = 0; break }
	   od;
#ifndef UNMAP_FIRST
	   wxpool_unmap(e, (no_unmap -> 0 : ends | hides), z)
#endif
	:: atomic { !(ends | hides) }
	fi;
	atomic {
		ends = 0;
		hides = 0;
		settled();
		unlock_write()
	}
}

/* ---- kmod/view.c: faults */

/* What is hidden is there only for who inherited it. */
#ifdef NO_BORN_IN_FAULT
#define born_before(v, o)	(heir[v] != 0)
#else
#define born_before(v, o)	(heir[v] > r_born[o])
#endif
#ifdef NO_ENDED_IN_FAULT
#define ended_after(v, o)	true
#else
#define ended_after(v, o)	(heir[v] <= r_ended[o])
#endif
#define wxpool_is_for(v, o) \
	(!hidden_at(o) || (born_before(v, o) && ended_after(v, o)))

/* wxpool_void_vm_ops: a W view that MADV_DOFORK brought into a child */
#ifdef NO_VOID
#define is_void(v)	false
#else
#define is_void(v)	((may[v] & W) && mm_of(v) != OWNER)
#endif
#ifdef FAULT_BY_CURRENT_BITS
#define kind(v)	cur[v]
#else
#define kind(v)	may[v]
#endif
#ifdef NO_READ_IN_FAULT
#define reads(v)	false
#else
#define reads(v)	(kind(v) & R)
#endif
#define wxpool_may_show(v, s) \
	((kind(v) & W) -> (s == OPEN && !is_void(v)) : \
	 ((kind(v) & X) -> (s == SEALED_X || (s == SEALED_XO && !reads(v))) : \
	  (s == SEALED_R || s == SEALED_X)))

/* wxpool_judge_view(): what it makes of the MAY bits W | X | R. */
#ifdef NO_CLEAR_MAYEXEC
#define MAY_W	(W | X | R)
#else
#define MAY_W	(W | R)
#endif
#ifdef NO_CLEAR_MAYWRITE
#define MAY_X	(W | X | R)
#else
#define MAY_X	(X | R)
#endif
#define MAY_XO	X
#define MAY_R	R

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
	witness(2, v == GV && told[p] == SEALED_R)
#endif
#ifdef CONFIG_XO
	witness(3, v == GV && told[p] == SEALED_XO)
#endif
#if HEIRS > 0
	witness(6, v == CX && !hidden_at(0));
	witness(7, v == CX && hidden_at(0))
#endif
}

#ifdef NO_LOCK_IN_FAULT
#define can_read	true
#else
#define can_read	!ctx_writer
#endif

/*
 * A touch where PTE @e is not there. The core finds the VMA; wxpool_fault():
 * down_read(), lookup, wxpool_may_show(), folio_get().
 */
inline touch(e)
{
	atomic {
		!stop && (e) >= from && (e) <= to && linked[view_of(e)] &&
		pte[e] == NONE && !mm_writer[mm_of(view_of(e))] && can_read ->
		never1(U_used_after_free, 11, heir[view_of(e)] == GONE);
		if
		:: r_folio[off_of(e)] != NONE && wxpool_is_for(view_of(e), off_of(e)) &&
		   wxpool_may_show(view_of(e), r_state[off_of(e)]) ->
			i = e;
			p = r_folio[off_of(e)];
			ref[p]++;
			ctx_readers++;
			mm_readers[mm_of(view_of(e))]++
		:: else -> goto again		/* SIGBUS */
		fi
	}
}

/* A thread that touches PTEs @from to @to, one at a time. */
proctype fault(byte from; byte to)
{
	byte i, p = NONE;

again:	if
	:: atomic { stop -> goto end }
	:: touch(0)
#if NPTE > 1
	:: touch(1)
#endif
#if NPTE > 2
	:: touch(2)
#endif
#if NPTE > 3
	:: touch(3)
#endif
	fi;
	/* folio_lock(), up_read(); VM_FAULT_LOCKED */
	atomic { !locked[p] -> locked[p] = true; ctx_readers-- };
	/* finish_fault(), folio_unlock(), mmap_read_unlock() */
	atomic {
		pte[i] = p;
		check_pte(i);
		shown(view_of(i), p);
		locked[p] = false;
		mm_readers[mm_of(view_of(i))]--;
		p = NONE;
		i = 0
	};
	goto again;
end:	skip
}

/* ---- other things that users do */

/* mprotect(): any protection that the MAY bits allow. */
proctype mprotect(byte v)
{
	do
	:: atomic { stop -> break }
	:: atomic {
		!stop && mm_idle(mm_of(v)) ->
		if
		:: cur[v] = 0
		:: cur[v] = may[v]
		:: cur[v] = may[v] & W
		:: cur[v] = may[v] & X
		:: cur[v] = may[v] & R
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
	:: atomic { !stop && pte[v] != NONE && (cur[v] & W) -> store(pte[v]) }
	:: atomic { !stop && lags(BY_OPS, stale[BY_OPS], W) -> store(stale[BY_OPS]) }
	:: atomic { !stop && lags(BY_CORE, stale[BY_CORE], W) -> store(stale[BY_CORE]) }
	od
}

/* I/O into the page that PTE @e shows: vmsplice(), fixed buffers, O_DIRECT. */
proctype pinner(byte e)
{
	byte p = NONE;

	do
	:: atomic { stop -> break }
	:: atomic {
		/* get_user_pages_fast(): reads the PTE without a lock, */
		!stop && pte[e] != NONE && (cur[view_of(e)] & W) -> p = pte[e]
	   };
	   if
	   /* takes a reference unless there is none left (try_grab_folio()), */
	   :: atomic { ref[p] != 0 -> ref[p]++; gup[p]++ };
	      if
	      /* and looks at the PTE again. */
	      :: atomic { pte[e] == p && (cur[view_of(e)] & W) -> pins[p]++; check(p) };
	         goto pinned
	      :: atomic { !(pte[e] == p && (cur[view_of(e)] & W)) ->
			gup[p]--; folio_put(p); p = NONE; assert(WITNESS != 4) }
	      fi
	   :: atomic { ref[p] == 0 -> p = NONE }
	   fi
	:: atomic {
		/* follow_page_pte(), with the page table's lock */
		!stop && pte[e] != NONE && (cur[view_of(e)] & W) ->
		p = pte[e];
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

	for (k : 0 .. NPTE - 1) {
		pte[k] = NONE
	}
	for (k : 0 .. NP - 1) {
		byte_of(k, 0) = OLD;
		byte_of(k, LINES - 1) = OLD
	}
	for (k : 0 .. OFFS - 1) {
		r_folio[k] = NONE;
		r_ended[k] = SHOWN
	}
	for (k : 0 .. 2) {
		stale[k] = NONE
	}
	k = 0
}
