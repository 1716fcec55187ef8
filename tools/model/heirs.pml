/* SPDX-License-Identifier: MIT */
/*
 * wxpool, the model: heirs, which are what fork() makes of the owner's views;
 * and what holds whenever nobody has the context's lock.
 */

/* wxpool_keep_pool(): is pool @q kept, and by which heirs? By whom after number @k? */
#ifdef NO_KEEP
#define keeps(q)	false
#elif defined(NO_BORN_IN_FREE)
#define keeps(q)	(forks > 0)
#else
#define keeps(q)	(forks > p_born[q])
#endif
#ifdef KEEP_BY_OLDEST
#define keeper(q)	(p_born[q] + 1)
#else
#define keeper(q)	forks
#endif
#ifdef NO_BORN_IN_MOVE
#define moves(q, k)	((k) > 1)
#else
#define moves(q, k)	((k) - 1 > p_born[q])
#endif

/* ---- kmod/view.c: heirs */

#if HEIRS > 0
#ifdef NO_UNMAP_IN_REAP
#define no_unmap_in_reap	true
#else
#define no_unmap_in_reap	false
#endif

/* A view that the child's fork() has made, and not counted yet */
#ifdef HX
#define is_late()	mm_writer[GRANDCHILD]
#else
#define is_late()	false
#endif

/* Does number @k see what is at offset 0? */
#define is_for_heirs(k)	(!hidden_at(0) || ((k) > r_born[0] && (k) <= r_ended[0]))

hidden byte k_;
hidden byte l_;
hidden byte n_;
hidden byte q_;

/* At the first view of a fork: what the child can see then is due to it. */
inline inherits(k)
{
	d_step {
		for (l_ : 0 .. LINES - 1) {
			due[(k) * LINES + l_] = live_at(l_)
		}
	}
}

/*
 * wxpool_heirs_get(), for view @c that fork() copies to @mm; with the context's
 * lock, if it is the first one of @mm. @first: that it is, as a matter of fact
 */
inline wxpool_heirs_get(c, mm, first)
{
	if
	:: atomic { fork_mm == mm ->
		never1(U_used_after_free, 11, fork_heirs == GONE);
		heir[c] = fork_heirs;
		if
		:: heir[c] != GONE -> views[heir[c]]++
		:: else
		fi;
		if
		:: first && heir[c] != GONE -> inherits(heir[c])
		:: else
		fi;
		first = false }
	:: atomic { fork_mm != mm && ctx_idle ->
		forks++;
		fork_mm = mm;
		fork_heirs = forks;
		heir[c] = forks;
		views[forks] = 1;
		inherits(forks);
		first = false }
	fi
}

/* Number @k has ended: see wxpool_heirs in core.pml. */
inline renumber(k)
{
	for (n_ : 0 .. NV - 1) {
		if
		:: heir[n_] == k -> heir[n_] = GONE
		:: heir[n_] != GONE && heir[n_] > k -> heir[n_]--
		:: else
		fi
	}
	for (n_ : k .. HEIRS - 1) {
		views[n_] = views[n_ + 1];
		for (l_ : 0 .. LINES - 1) {
			due[n_ * LINES + l_] = due[(n_ + 1) * LINES + l_]
		}
	}
	views[HEIRS] = 0;
	for (l_ : 0 .. LINES - 1) {
		due[HEIRS * LINES + l_] = 0
	}
	for (n_ : 1 .. NPOOLS) {
		p_born[n_] = (p_born[n_] >= k -> p_born[n_] - 1 : p_born[n_]);
		p_heirs[n_] = (p_heirs[n_] > k -> p_heirs[n_] - 1 : p_heirs[n_])
	}
	r_born[0] = (r_born[0] >= k -> r_born[0] - 1 : r_born[0]);
	r_ended[0] = (hidden_at(0) && r_ended[0] >= k -> r_ended[0] - 1 : r_ended[0]);
	if
	:: fork_heirs == k -> fork_heirs = (fork_mm == 0 -> 0 : GONE)
	:: fork_heirs != GONE && fork_heirs > k -> fork_heirs--
	:: else
	fi;
	forks--
}

/* wxpool_heirs_end(): what they keep goes to the next older ones, or away. */
inline wxpool_heirs_end(k)
{
	for (q_ : 1 .. NPOOLS) {
		if
#ifndef NO_MOVE
		:: p_heirs[q_] == k && moves(q_, k) ->
			p_heirs[q_] = k - 1;
			assert(WITNESS != 9)
		:: p_heirs[q_] == k && !moves(q_, k) ->
			assert(k == 1 || WITNESS != 8);
#else
		:: p_heirs[q_] == k ->
#endif
#ifndef NO_REAP
			wxpool_reap_pool(q_)
#else
			skip
#endif
		:: else
		fi
	}
	renumber(k)
}

/*
 * wxpool_heirs_put(): ->close of @c, with mmap_lock for writing or in exit. With the
 * context's lock, if it is the last one.
 */
inline wxpool_heirs_put(c)
{
	if
#ifdef NO_CLOSE_COUNT
	:: atomic { heir[c] = 0; settled(); skip }
#else
	:: atomic { heir[c] == GONE ->
		never1(U_used_after_free, 11, true);
		heir[c] = 0 }
	:: atomic { heir[c] != GONE && views[heir[c]] > 1 ->
		views[heir[c]]--;
		heir[c] = 0 }
	:: atomic { heir[c] != GONE && views[heir[c]] == 1 && ctx_idle ->
		ctx_writer = true;
		d_step {
			k_ = heir[c];
			heir[c] = 0;
#ifndef NO_MM_HOLD
			if
			:: fork_heirs == k_ -> fork_mm = 0
			:: else
			fi;
#endif
			wxpool_heirs_end(k_)
		} };
	   wxpool_end_and_unlock(o, i, ends, none, no_unmap_in_reap, BY_EXIT)
#endif
	fi
}
#endif

hidden byte s_;
hidden byte t_;

/*
 * What holds whenever the context's lock is not held for writing, and so after
 * each call: PTEs show what may be seen; states are what users were told; heirs
 * have what is due to them; what is kept is kept for somebody, and counted.
 */
inline settled()
{
	d_step {
		for (s_ : 0 .. NPTE - 1) {
			never1(I3_freed_page_reachable, 3, pte[s_] != NONE && !is_right(s_))
		}
		for (s_ : 0 .. OFFS - 1) {
			never1(A_something_of_a_failed_call, 9, r_folio[s_] != NONE &&
			       told[r_folio[s_]] != r_state[s_])
		}
#if HEIRS > 0
		for (s_ : 1 .. HEIRS) {
			for (t_ : 0 .. LINES - 1) {
				never1(H_taken_from_an_heir, 6, due[s_ * LINES + t_] &&
				       !(r_folio[0] != NONE && is_for_heirs(s_) &&
					 is_due(s_, t_)))
			}
		}
		for (s_ : 1 .. NPOOLS) {
			never1(K_kept_for_nobody, 10, p_heirs[s_] != 0 &&
			       !(p_heirs[s_] > p_born[s_] && p_heirs[s_] <= forks))
		}
		never1(K_kept_for_nobody, 10, hidden_at(0) && !held_at(0));
		for (s_ : 1 .. HEIRS) {
			e_ = 0;
			for (t_ : 0 .. NV - 1) {
				e_ = e_ + (heir[t_] == s_)
			}
			never1(C_miscounted, 12, views[s_] != e_ && !is_late());
			never1(K_kept_for_nobody, 10, e_ == 0 &&
			       (p_heirs[1] == s_ || p_heirs[NPOOLS] == s_))
		}
#endif
		settled_more()
	}
}

/* ---- fork and exit */

/* vma_interval_tree_insert_after(), with i_mmap_rwsem for writing */
inline link_vma(c, v)
{
	atomic {
		imap_readers == 0 ->
		may[c] = may[v];
		cur[c] = cur[v];
		linked[c] = true
	}
}

/*
 * copy_page_range(), with the page table's lock. It leaves out most file
 * mappings; userfaultfd and others make it copy.
 */
inline copy_ptes(c, v)
{
	if
	:: atomic {
		pte[v] != NONE ->
		pte[c] = pte[v];
		ref[pte[c]]++;
		check_pte(c)
	   }
	:: true
	fi
}

/* exit_mmap() or munmap(): PTEs go, then the VMA leaves i_mmap. */
inline unlink_vma(c, z)
{
	if
	:: atomic { pte[c] != NONE -> zap_pte(c, z) };
	   atomic { flush_tlb(z) }
	:: atomic { pte[c] == NONE }
	fi;
	atomic {
		imap_readers == 0 ->
		linked[c] = false;
		may[c] = 0;
		cur[c] = 0
	}
}

#ifdef CONFIG_DOFORK
bool child;			/* there is one, and fork() has returned */

/* wxpool_owner_open() of a W view, which is void from now on */
inline wxpool_owner_open(c)
{
#ifndef NO_UNMAP_IN_FORK
	wxpool_unmap(i, 1, BY_CORE);
#endif
	skip
}

/* dup_mmap() after MADV_DOFORK, in the order of 6.1 and of later kernels; exit */
proctype forker()
{
	byte i;

	do
	:: atomic { stop -> break }
	:: atomic {
		!stop && !child && mm_idle(OWNER) && mm_idle(CHILD) ->
		mm_writer[OWNER] = true;
		mm_writer[CHILD] = true
	   };
	   if
	   :: link_vma(CW, OW);
	      copy_ptes(CW, OW);
	      wxpool_owner_open(CW)
	   :: wxpool_owner_open(CW);
	      link_vma(CW, OW);
	      copy_ptes(CW, OW)
	   fi;
	   atomic {
		mm_writer[OWNER] = false;
		mm_writer[CHILD] = false;
		child = true;
		if
		:: pte[CW] != NONE -> check(pte[CW])
		:: else
		fi
	   }
	:: atomic { !stop && child && mm_idle(CHILD) ->
		mm_writer[CHILD] = true;
		child = false };
	   unlink_vma(CW, BY_EXIT);
	   mm_writer[CHILD] = false
	od
}
#endif

#if HEIRS > 0
inline wxpool_heir_open(c)
{
	atomic {
		never1(U_used_after_free, 11, heir[c] == GONE);
#ifndef NO_OPEN_COUNT
		if
		:: heir[c] != GONE -> views[heir[c]]++
		:: else
		fi
#endif
	}
}

/*
 * dup_mmap() for one view, with wxpool_owner_open(): in the order of 6.1, and that
 * of later kernels
 */
inline dup_owners(c, mm, first)
{
	if
	:: link_vma(c, OX);
	   copy_ptes(c, OX);
	   wxpool_heirs_get(c, mm, first)
	:: wxpool_heirs_get(c, mm, first);
	   link_vma(c, OX);
	   copy_ptes(c, OX)
	fi
}

/* The view that the next fork makes of OX: CX, or DX if there is one. */
#ifdef DX
#define next_copy	(linked[CX] -> DX : CX)
#define is_possible(c)	(!linked[c] && mm_idle(mm_of(c)))
#else
#define next_copy	CX
#define is_possible(c)	(!linked[c] && heir[CA] == 0 && mm_idle(mm_of(c)))
#endif

/* A fork by the owner. If it fails on its way, it leaves a child that only exits. */
inline owner_forks()
{
	atomic {
		!stop && forks < HEIRS && mm_idle(OWNER) && is_possible(next_copy) ->
		c = next_copy;
		mm_writer[OWNER] = true;
		mm_writer[mm_of(c)] = true;
		first = true;
#ifdef NO_MM_HOLD
		if
		:: mm = OLD_MM
		:: mm = NEW_MM
		fi
#else
		mm = NEW_MM
#endif
	};
#ifdef CA
	wxpool_heirs_get(CA, mm, first);
	if
	:: dup_owners(c, mm, first)
	:: true				/* ENOMEM */
	fi;
#else
	dup_owners(c, mm, first);
#endif
	atomic {
		mm_writer[OWNER] = false;
		mm_writer[mm_of(c)] = false;
		first = false;
		c = 0;
		mm = 0;
		fork_mm = (fork_mm == NEW_MM -> OLD_MM : fork_mm)
	}
}

#ifdef NO_MM_RULE
/* A split of the owner's view on behalf of another process, taken for a fork */
inline split_owners()
{
	atomic {
		!stop && heir[OX] == 0 && forks < HEIRS && mm_idle(OWNER) ->
		mm_writer[OWNER] = true
	};
	wxpool_heirs_get(OX, NEW_MM, first);
	mm_writer[OWNER] = false
}
#endif

#ifdef HX
/* A fork by the child; a split or a move of its view is the same to the module. */
inline child_forks()
{
	atomic {
		!stop && linked[CX] && !linked[HX] && heir[HX] == 0 &&
		mm_idle(CHILD) && mm_idle(GRANDCHILD) ->
		mm_writer[CHILD] = true;
		mm_writer[GRANDCHILD] = true;
		heir[HX] = heir[CX]		/* vm_area_dup() */
	};
	if
	:: link_vma(HX, CX);
	   copy_ptes(HX, CX);
	   wxpool_heir_open(HX)
	:: wxpool_heir_open(HX);
	   link_vma(HX, CX);
	   copy_ptes(HX, CX)
	fi;
	atomic { mm_writer[CHILD] = false; mm_writer[GRANDCHILD] = false }
}
#endif

#ifdef NO_DONTEXPAND
/* The core makes one of two views, with which there is no ->close. */
inline heirs_merge()
{
	atomic {
		!stop && linked[CX] && heir[CA] != 0 && heir[CA] == heir[CX] &&
		mm_idle(CHILD) -> heir[CA] = 0
	}
}
#endif

/* munmap() of an heir's view, or exit */
#define can_go(c)	(linked[c] && mm_idle(mm_of(c)))
#ifdef CA
#define can_go_elsewhere (heir[CA] != 0 && mm_idle(CHILD))
#else
#define can_go_elsewhere false
#endif

inline heir_unmaps()
{
	atomic {
		!stop && (can_go(CX) || can_go(CX + 1) || can_go_elsewhere) ->
		if
		:: can_go(CX) -> c = CX
		:: can_go(CX + 1) -> c = CX + 1
#ifdef CA
		:: can_go_elsewhere -> c = CA
#endif
		fi;
		mm_writer[mm_of(c)] = true
	};
	if
	:: c < NPTE -> unlink_vma(c, BY_EXIT)
	:: else
	fi;
	wxpool_heirs_put(c);
	atomic { mm_writer[mm_of(c)] = false; c = 0 }
}

/* Forks by the owner; with LINES, to save states, in turn with what children do */
proctype forker()
{
	byte c, mm, i, o, ends, none;
	bool first;

	do
	:: atomic { stop -> break }
#ifdef NO_MM_RULE
	:: split_owners()		/* is enough */
#else
	:: owner_forks()
#endif
#ifdef DX
	:: heir_unmaps()
#endif
	od
}

#ifdef HX
proctype children()
{
	byte c, i, o, ends, none;

	do
	:: atomic { stop -> break }
	:: child_forks()
	:: heir_unmaps()
#ifdef NO_DONTEXPAND
	:: heirs_merge()
#endif
	od
}
#endif
#endif
