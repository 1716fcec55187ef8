/* SPDX-License-Identifier: MIT */
/*
 * wxpool, the model: pages of ALLOC, PROTECT and FREE. One pool, with a page at
 * each offset.
 */

/* What fork() shows a child, and if that is still so. */
#define live_at(l)	(r_folio[0] != NONE && !hidden_at(0) && r_state[0] == SEALED_X)
#define is_due(k, l)	(r_state[0] == SEALED_X && byte_of(r_folio[0], 0) == FILL)
#define held_at(o)	(p_heirs[1] != 0)

inline settled_more()
{
	never1(K_kept_for_nobody, 10, p_heirs[1] != 0 && r_folio[0] == NONE);
	/* The owner and guests do not see what ended. */
	never1(I3_freed_page_reachable, 3, p_heirs[1] != 0 && !hidden_at(0))
}

/* A pool that nobody keeps any more: its page is hidden. */
inline wxpool_reap_pool(q)
{
	never1(U_used_after_free, 11, r_folio[0] == NONE);
	p_heirs[q] = 0;
	p_born[q] = 0;
	ends = 1
}

#include "heirs.pml"

/*
 * wxpool_op_alloc(): pages are got, cleared and take their places. If one is not to be
 * had, those before come out again.
 */
inline wxpool_alloc()
{
	atomic { !stop && ctx_idle ->
		d_step {
			if
			:: r_folio[0] == NONE ->
				for (o : 0 .. OFFS - 1) {
					folio_alloc(p);
					if
					:: p == NONE -> failed = true
					:: else ->
						r_folio[o] = p;
						r_born[o] = forks;
#ifndef NO_ZERO
						byte_of(p, 0) = FILL	/* __GFP_ZERO */
#endif
					fi
				}
				p = NONE;
				for (o : 0 .. OFFS - 1) {
					if
					:: failed && r_folio[o] != NONE ->
						folio_put(r_folio[o]);
						page_clear(o);
						assert(WITNESS != 21)
					:: else
					fi
				}
				never1(I5_not_the_owner, 5, caller != OWNER && !failed);
				p_born[1] = (failed -> 0 : forks)
			:: else			/* EEXIST */
			fi;
			o = 0;
			failed = false;
			caller = OWNER
		};
		settled()
	}
}

/* All references but the region's; -DCHECK_BEFORE_UNMAP: and but the mappings'. */
#ifdef CHECK_BEFORE_UNMAP
#define others(p)	(ref[p] - 1 - (pte[0] == p) - (pte[NPTE - 1] == p))
#else
#define others(p)	(ref[p] - 1)
#endif

#ifdef NO_CHECK_OF_OTHERS
#define checked(set, o)	((set) & (1 << (o)) && (o) == 0)
#else
#define checked(set, o)	((set) & (1 << (o)))
#endif

inline wxpool_check_pins(set)
{
#ifndef NO_PIN_CHECK
	do
	:: atomic { o == OFFS || failed -> o = 0; break }
	:: atomic { o < OFFS && !failed ->
		if
		:: checked(set, o) ->
			failed = others(r_folio[o]) > 0;
			never1(B_busy_without_a_pin, 7, failed && gup[r_folio[o]] == 0 &&
			       stale[BY_CORE] != r_folio[o]);
			assert(!failed || WITNESS != 5);
			assert(!failed || o == 0 || WITNESS != 16)
		:: else
		fi;
		o++ }
	od
#else
	skip
#endif
}

#ifdef NO_OPEN_CHECK
#define may_seal(o)	true
#else
#define may_seal(o)	(r_state[o] == OPEN)
#endif

/* wxpool_op_protect() of the pages in @set. Without a pool it is ENOENT. */
inline wxpool_protect(set, to)
{
	atomic {
		!stop && ctx_idle && r_folio[0] != NONE && !hidden_at(0) ->
		never1(I5_not_the_owner, 5, caller != OWNER);
		ctx_writer = true;
		caller = OWNER
	};
#ifdef UNMAP_FIRST
	wxpool_unmap(i, set, BY_OPS);
#endif
	/* wxpool_seal_page(), with wxpool_settle_page() */
	do
	:: atomic { o == OFFS || failed -> o = 0; break }
	:: atomic { o < OFFS && !failed && !(set & (1 << o)) -> o++ }
	:: atomic { o < OFFS && !failed && (set & (1 << o)) && !may_seal(o) ->
		assert(!done || WITNESS != 17);
		failed = true }				/* EPERM */
	:: atomic { o < OFFS && !failed && (set & (1 << o)) && may_seal(o) &&
		    settles(r_folio[o]) ->
		r_state[o] = to;
		done = done | (1 << o);
		o++ }
	od;
	if
	:: failed
	:: !failed ->
#ifdef CHECK_BEFORE_UNMAP
		wxpool_check_pins(set);
#endif
#if !defined(UNMAP_FIRST) && !defined(NO_UNMAP_IN_SEAL)
		wxpool_unmap(i, set, BY_OPS);
#endif
#ifndef CHECK_BEFORE_UNMAP
		wxpool_check_pins(set)
#endif
	fi;
	atomic {
		d_step {
			for (o : 0 .. OFFS - 1) {
				if
				:: !(done & (1 << o))
				:: (done & (1 << o)) && !failed ->
					never1(I2_sealed_twice, 2, told[r_folio[o]] != OPEN);
					told[r_folio[o]] = to;
					check(r_folio[o])
				:: (done & (1 << o)) && failed ->
					/* wxpool_reopen_page(): nobody can have seen it. */
#ifdef NO_REOPEN_OF_OTHERS
					r_state[o] = (others(r_folio[o]) -> OPEN : r_state[o])
#elif !defined(NO_REOPEN)
					r_state[o] = OPEN
#endif
				fi
			}
			o = 0;
			done = 0;
			failed = false
		};
		settled();
		unlock_write()
	}
}

#ifdef NO_REVOKE
#define revokes(r)	false
#else
#define revokes(r)	(r)
#endif

#ifdef NO_UNMAP_IN_FREE
#define no_unmap_in_free	true
#else
#define no_unmap_in_free	false
#endif

/*
 * wxpool_op_free(); with @revoke of all, also from heirs, and what is kept already.
 * Without a pool it is ENOENT.
 */
inline wxpool_free(revoke)
{
	atomic {
		!stop && ctx_idle && r_folio[0] != NONE && !(hidden_at(0) && !revoke) ->
		never1(I5_not_the_owner, 5, caller != OWNER);
		ctx_writer = true;
		caller = OWNER;
		d_step {
			if
			:: !revokes(revoke) && keeps(1) ->
				p_heirs[1] = keeper(1);
				hides = ALL;
#ifndef NO_HIDE
				r_ended[0] = forks
#endif
			:: else ->
#ifndef NO_UNHANG
				p_heirs[1] = 0;
#endif
				p_born[1] = 0;
				ends = ALL;
				if
				:: revoke ->
					for (o : 0 .. HEIRS) {
						due[o] = 0
					}
					o = 0
				:: else
				fi
			fi;
			never1(I3_freed_page_reachable, 3, revoke && p_heirs[1] != 0)
		}
	};
	wxpool_end_and_unlock(o, i, ends, hides, no_unmap_in_free, BY_OPS)
}

/* Calls of the owner. Without the check in wxpool_ioctl(), others have effects too. */
proctype ops()
{
	byte i, o, done, ends, hides, caller = OWNER;
	byte p = NONE;
	bool failed;

	do
	:: atomic { stop -> break }
#ifdef NO_OWNER_IN_OPS
	:: atomic { !stop && caller == OWNER -> caller = GUEST }
#endif
	:: wxpool_alloc()
	:: wxpool_protect(ALL, SEALED_X)
#ifdef CONFIG_VECTOR
	:: wxpool_protect(1, SEALED_X)
	:: wxpool_protect(2, SEALED_X)
#endif
#ifdef CONFIG_MPROTECT
	:: wxpool_protect(ALL, SEALED_R)
#endif
#ifdef CONFIG_XO
	:: wxpool_protect(ALL, SEALED_XO)
#endif
	:: wxpool_free(false)
#if HEIRS > 0
	:: wxpool_free(true)
#endif
	od
}
