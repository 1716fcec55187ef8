/* SPDX-License-Identifier: MIT */
/*
 * wxpool, the model: regions, sealing and freeing. One offset, one page, one
 * pool; region 0 is the only one.
 */

/* wxp_reap_kept(), wxp_find_dead() */
inline wxp_reap()
{
	if
	:: atomic { tree != NONE && kept(tree) && !ctx_writer && ctx_readers == 0 ->
		ctx_writer = true
	   };
	   atomic {
		wxp_find_heirs(old, new);
#ifdef NO_REAP_CHECK
		old = ALIVE;
#endif
		if
		:: tree != NONE && kept(tree) && old > r_ended[0] ->
			never1(H_taken_from_an_heir, 6, child && inherited(0, CX));
			p = r_folio[0];
			r_folio[0] = NONE;
			tree = NONE
		:: else
		fi;
		old = 0;
		new = 0
	   };
	   unlock_write();
	   atomic {
		if
		:: p != NONE -> folio_put(p); p = NONE
		:: else
		fi
	   }
	:: atomic { tree == NONE || !kept(tree) }
	fi
}

inline wxp_ioc_alloc()
{
	wxp_reap();
	/* wxp_new_regions(), without a lock */
	atomic {
		folio_alloc(p);
		if
		:: p != NONE ->
#ifndef NO_ZERO
			data[first(p)] = FILL		/* __GFP_ZERO */
#endif
		:: else
		fi
	};
	if
	:: p == NONE	/* ENOMEM */
	:: p != NONE ->
		lock_write();
		/* wxp_pool_add() */
		atomic {
			if
			:: tree == NONE ->
				never1(I5_not_the_owner, 5, caller != OWNER);
				tree = 0;
				r_folio[0] = p;
				r_state[0] = OPEN;
				r_born[0] = forks;
				r_ended[0] = ALIVE
			:: else -> folio_put(p)		/* EEXIST */
			fi;
			p = NONE
		};
		unlock_write()
	fi
}

/* All references but the region's; -DCHECK_BEFORE_UNMAP: and but the mappings'. */
#ifdef CHECK_BEFORE_UNMAP
#define others(p)	(ref[p] - 1 - shows(OW, p) - shows(OX, p) - shows(CW, p) - \
			 shows(CX, p) - shows(PX, p))
#else
#define others(p)	(ref[p] - 1)
#endif

inline wxp_check_pin(p)
{
#ifdef NO_PIN_CHECK
	skip
#else
	atomic {
		busy = others(p) > 0;
		never1(B_busy_without_a_pin, 7,
		       busy && gup[p] == 0 && stale[BY_CORE] != p)
	}
#endif
}

inline wxp_seal(to)
{
#ifdef UNMAP_FIRST
	wxp_unmap(i, BY_OPS);
	wxp_settle_page(0, to);
#else
	wxp_settle_page(0, to);
#endif
#ifdef CHECK_BEFORE_UNMAP
	wxp_check_pin(p);
#endif
#if !defined(UNMAP_FIRST) && !defined(NO_UNMAP_IN_SEAL)
	wxp_unmap(i, BY_OPS);
#endif
#ifndef CHECK_BEFORE_UNMAP
	wxp_check_pin(p)
#endif
}

inline wxp_ioc_protect(to)
{
	/* wxp_seal_locked() */
	lock_write();
	if
	:: atomic { tree == NONE || kept(tree) || r_state[0] != OPEN ->
		unlock_write() }		/* ENOENT, EPERM */
	:: atomic { tree != NONE && !kept(tree) && r_state[0] == OPEN ->
		never1(I5_not_the_owner, 5, caller != OWNER);
		p = r_folio[0] };
	   wxp_seal(to);
	   if
	   :: atomic { busy -> busy = false };
#ifndef NO_ROLLBACK
		/* wxp_reopen_page() */
		wxp_settle_page(0, OPEN);
#endif
		atomic { assert(WITNESS != 4); p = NONE; unlock_write() }
	   :: atomic { !busy ->
		told[p] = to;
		check(p);
		p = NONE };
#ifndef MAP_UNDER_LOCK
		unlock_write();
#endif
		/* wxp_map_views(): vm_mmap() takes mmap_lock */
		!mm_writer[OWNER] && mm_readers[OWNER] == 0;
#ifdef MAP_UNDER_LOCK
		unlock_write()
#endif
	   fi
	fi
}

inline wxp_ioc_free()
{
	wxp_reap();
	atomic { !ctx_writer && ctx_readers == 0 ->
		ctx_writer = true;
		due = (child && linked[CX] -> heir[CX] : 0) };
	if
	:: atomic { tree == NONE || kept(tree) -> due = 0; unlock_write() }	/* ENOENT */
	:: atomic { tree != NONE && !kept(tree) ->
		/* wxp_pool_free() */
		never1(I5_not_the_owner, 5, caller != OWNER);
		p = r_folio[0];
		wxp_find_heirs(old, new);
		old = 0 };
#ifdef UNMAP_FIRST
	   wxp_unmap(i, BY_OPS);
#endif
	   /* wxp_end_region(): wxp_has_heir() */
	   if
#ifndef NO_KEEP
	   :: atomic { new > r_born[0] ->
		r_ended[0] = forks }			/* wxp_keep_region() */
	   :: atomic { new <= r_born[0] ->
		tree = NONE }				/* wxp_unlink_region() */
#else
	   :: tree = NONE
#endif
	   fi;
	   /* wxp_unmap_region() */
	   wxp_settle_page(0, r_state[0]);
#if !defined(UNMAP_FIRST) && !defined(NO_UNMAP_IN_FREE)
	   wxp_unmap(i, BY_OPS);
#endif
	   atomic {
		over[p] = true;
		check(p);
		never1(H_taken_from_an_heir, 6, tree == NONE && due > r_born[0] &&
		       child && heir[CX] == due);
		new = 0;
		due = 0;
		unlock_write()
	   };
	   /* wxp_free_regions() */
	   atomic {
		if
		:: tree == NONE -> r_folio[0] = NONE; folio_put(p)
		:: else
		fi;
		p = NONE
	   }
	fi
}

/* wxp_call() */
proctype ops()
{
	byte i, p = NONE, old, new, due, caller = OWNER;
	bool busy;

	do
	:: atomic { stop -> break }
	:: atomic { !stop ->
		if
		:: caller = OWNER
		:: caller = PEER
		fi };
	   if
#ifndef NO_OWNER_IN_OPS
	   :: atomic { caller != OWNER -> caller = OWNER }	/* EXDEV */
	   :: caller == OWNER -> wxp_ioc_alloc()
	   :: caller == OWNER -> wxp_ioc_protect(SEALED_X)
#ifdef CONFIG_MPROTECT
	   :: caller == OWNER -> wxp_ioc_protect(SEALED_R)
#endif
	   :: caller == OWNER -> wxp_ioc_free()
#else
	   :: wxp_ioc_alloc()
	   :: wxp_ioc_protect(SEALED_X)
	   :: wxp_ioc_free()
#endif
	   fi
	od
}
