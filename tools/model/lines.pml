/* SPDX-License-Identifier: MIT */
/*
 * wxpool, the model: packed pages. Two lines to a page, two pools, each with a
 * thread that installs and frees, or one for both. A page stands for a block too:
 * when its last live line goes, it may stay as the idle one.
 */

/* struct wxpool_region: whose lines they are; how many are live, and kept */
byte r_line[OFFS * LINES];
byte r_live[OFFS];
byte r_held[OFFS];
#define line(o, l)	r_line[(o) * LINES + (l)]
#define is_kept(q)	(p_heirs[q] != 0)
#define is_live(q)	(!is_kept(q) && has_lines(q))
#define NLINES		(OFFS * LINES)
#if NLINES == 2
#define has_lines(q)	(r_line[0] == (q) || r_line[1] == (q))
#else
#define has_lines(q)	(r_line[0] == (q) || r_line[1] == (q) || \
			 r_line[2] == (q) || r_line[3] == (q))
#endif

byte idle = NONE;		/* the offset of the idle block */
#define is_empty(o)	(r_folio[o] != NONE && r_live[o] == 0 && r_held[o] == 0)

/* What fork() shows a child, by line; and if that is still so. */
#define live_at(l)	(is_kept(line(0, l)) -> 0 : line(0, l))
#define is_due(k, l)	(byte_of(r_folio[0], l) == due[(k) * LINES + (l)])
#define held_at(o)	(r_held[o] > 0)

hidden byte live_;
hidden byte held_;

inline settled_more()
{
	for (s_ : 0 .. OFFS - 1) {
		live_ = 0;
		held_ = 0;
		for (t_ : 0 .. LINES - 1) {
			live_ = live_ + (line(s_, t_) != 0 && !is_kept(line(s_, t_)));
			held_ = held_ + (line(s_, t_) != 0 && is_kept(line(s_, t_)));
			never1(I3_freed_line_reachable, 3, r_folio[s_] != NONE &&
			       line(s_, t_) == 0 && byte_of(r_folio[s_], t_) != FILL);
			never1(I2_sealed_bytes_changed, 2, line(s_, t_) != 0 &&
			       (r_folio[s_] == NONE ||
				byte_of(r_folio[s_], t_) != line(s_, t_)))
		}
		never1(C_miscounted, 12, r_live[s_] != live_ || r_held[s_] != held_ ||
		       is_empty(s_) != (idle == s_));
		assert(pte[at(OX, s_)] == NONE || live_ == 0 || held_ == 0 || WITNESS != 10);
		/* The owner and guests see no page without a live line, but an idle one. */
		never1(I3_freed_page_reachable, 3, r_folio[s_] != NONE &&
		       hidden_at(s_) != (live_ == 0 && held_ > 0))
	}
	for (s_ : 1 .. NPOOLS) {
		never1(K_kept_for_nobody, 10, is_kept(s_) && !has_lines(s_))
	}
}

/* wxpool_clear_lines() */
inline clear_line(o, l)
{
	byte_of(r_folio[o], l) = FILL
}

/*
 * wxpool_reap_pool(): one that nobody keeps any more. Its lines become traps; a
 * hidden page without a kept line is in @ends.
 */
inline wxpool_reap_pool(q)
{
	for (l_ : 0 .. LINES - 1) {
		if
		:: line(0, l_) == q ->
			never1(U_used_after_free, 11, r_folio[0] == NONE);
			line(0, l_) = 0;
			r_held[0]--;
			if
#ifndef NO_CLEAR_IN_REAP
			:: r_live[0] + r_held[0] > 0 -> clear_line(0, l_)
#endif
			:: else
			fi;
			ends = ends | (r_live[0] + r_held[0] == 0);
			assert(r_live[0] == 0 || WITNESS != 19);
			/* To heirs that did not inherit it, but see the page */
			assert(r_live[0] + r_held[0] > 0 ||
			       (pte[CX] == NONE && pte[DX] == NONE) || WITNESS != 20)
		:: else
		fi
	}
	p_heirs[q] = 0;
	p_born[q] = 0
}

#include "heirs.pml"

/* What was there before the call, and if it wrote: for the properties only */
byte was_line[NLINES];
byte was_folio[OFFS];
bool wrote;

#define part_of(set, o)	(((set) >> ((o) * LINES)) & 3)

/* wxpool_write_lines(): processors that run other lines of the page see it. */
inline write_line(o, l)
{
	never1(I2_sealed_bytes_changed, 2, byte_of(r_folio[o], l) != FILL &&
	       byte_of(r_folio[o], l) != OLD);
	byte_of(r_folio[o], l) = id;
	wrote = true
}

/* Of kept pools too: lines that are not free */
#ifdef NO_CLAIM_CHECK
#define in_use(o, l)	false
#elif defined(NO_HELD)
#define in_use(o, l)	(line(o, l) != 0 && !is_kept(line(o, l)))
#else
#define in_use(o, l)	(line(o, l) != 0)
#endif

#ifdef NO_ABSENT_CHECK
#define is_absent(o)	(r_folio[o] == NONE || fresh[o] != NONE)
#else
#define is_absent(o)	(r_folio[o] == NONE)
#endif

/*
 * wxpool_packed_get(), wxpool_insert_part(): the page at offset @o. If it has to be
 * made, and was filled before, it is there with its bytes.
 */
inline wxpool_place(set, o)
{
	if
	:: is_absent(o) ->
		made = made | (1 << o);
		if
		:: fresh[o] != NONE ->
			r_folio[o] = fresh[o];
			fresh[o] = NONE;
			placed = placed | (1 << o);
			assert(WITNESS != 11)
		:: else ->
			folio_alloc(r_folio[o]);
			if
			:: r_folio[o] == NONE -> failed = true	/* ENOMEM */
#ifndef NO_FILL
			/* A page that will be written in full needs no filling. */
			:: r_folio[o] != NONE && (block || part_of(set, o) != 3) ->
				clear_line(o, 0);
				clear_line(o, 1)
#endif
			:: else
			fi
		fi;
		if
		:: !failed ->
			r_state[o] = SEALED_X;
			r_born[o] = forks;
			told[r_folio[o]] = SEALED_X
		:: else -> made = made & ~(1 << o)
		fi
	:: else
	fi
}

/* wxpool_claim_lines(): those of @set at offset @o */
inline wxpool_claim(set, o)
{
	for (l : 0 .. LINES - 1) {
		if
		:: failed || !(part_of(set, o) & (1 << l))
		:: else ->
			if
			:: in_use(o, l) -> failed = true	/* EEXIST */
			:: else ->
				if
				:: idle == o ->
					idle = NONE;
					revived = revived | (1 << o)
				:: else
				fi;
				line(o, l) = id;
				r_live[o]++;
				claimed = claimed | (1 << (o * LINES + l));
#ifdef WRITE_BEFORE_CLAIM
				if
				:: !(made & (1 << o)) -> write_line(o, l)
				:: else
				fi
#endif
			fi
		fi
	}
	l = 0
}

/*
 * wxpool_drop_claims(): takes back all claims. Nothing has been written to the lines
 * of pages that stay, and nobody has seen pages that were made.
 */
inline wxpool_drop_claims()
{
	for (l : 0 .. NLINES - 1) {
		if
#ifndef NO_DROP
		:: claimed & (1 << l) ->
			r_line[l] = 0;
			r_live[l / LINES]--
#endif
		:: else
		fi
	}
	for (o : 0 .. OFFS - 1) {
		if
		:: made & (1 << o) ->
			never1(A_something_of_a_failed_call, 9, ref[r_folio[o]] > 1);
#ifndef NO_UNMAKE
			folio_put(r_folio[o]);
			page_clear(o)
#endif
#ifdef NO_REVIVED
		:: revived & (1 << o) ->
			folio_put(r_folio[o]);
			page_clear(o)
#else
		:: revived & (1 << o) -> idle = o
#endif
		:: else
		fi
	}
	claimed = 0
}

/* Names do not matter: of two pools that are not there, the first is made. */
#define may_use(q) \
	(only != 3 - (q) && ((q) == 1 || only == 2 || has_lines(1) || has_lines(2)))

inline choose_pool()
{
	if
	:: may_use(1) -> id = 1
	:: may_use(2) -> id = 2
	fi
}

inline choose_lines()
{
	choose_pool();
	if
	:: set = 1
	:: set = 2
	:: set = 3
#if OFFS > 1
	:: set = 6		/* of both pages */
	:: set = 15
#endif
	fi
}

/* wxpool_stage(): whole pages into new ones, if there are so many bytes */
inline wxpool_stage()
{
	atomic { !stop ->
		choose_lines();
		if
		:: true
		:: d_step {
			for (o : 0 .. OFFS - 1) {
				if
				:: part_of(set, o) == 3 ->
					folio_alloc(fresh[o]);
					if
					:: fresh[o] != NONE ->
						byte_of(fresh[o], 0) = id;
						byte_of(fresh[o], 1) = id
					:: else
					fi
				:: else
				fi
			}
			o = 0
		   }
		fi
	}
}

/* wxpool_put_parts(): what has found no place; the call is done. */
inline wxpool_put_parts()
{
	for (o : 0 .. OFFS - 1) {
		if
		:: fresh[o] != NONE -> folio_put(fresh[o]); fresh[o] = NONE
		:: else
		fi;
		was_folio[o] = 0
	}
	for (l : 0 .. NLINES - 1) {
		was_line[l] = 0
	}
	wrote = false;
	o = 0;
	l = 0;
	claimed = 0;
	made = 0;
	placed = 0;
	revived = 0;
	failed = false;
	unlucky = false;
	block = false;
	id = 0;
	set = 0
}

/* The call fails: nothing of it has been there, or stays. */
inline wxpool_fail()
{
	d_step {
		assert(!claimed || WITNESS != 12);
		assert(!made || WITNESS != 14);
		assert(!revived || WITNESS != 18);
		wxpool_drop_claims();
		p_born[id] = (has_lines(id) -> p_born[id] : 0);
		for (l : 0 .. NLINES - 1) {
			never1(A_something_of_a_failed_call, 9,
			       wrote || was_line[l] != r_line[l])
		}
		for (o : 0 .. OFFS - 1) {
			never1(A_something_of_a_failed_call, 9,
			       was_folio[o] != r_folio[o])
		}
		wxpool_put_parts()
	};
	settled();
	unlock_write();
	goto again
}

/*
 * wxpool_op_install() of the lines in @set, for pool @id. Its bytes come from the
 * user into a buffer, or those of whole pages into new ones, before the lock.
 */
inline wxpool_install()
{
#ifdef CONFIG_INSTALL
	wxpool_stage();
	atomic { ctx_idle ->
		ctx_writer = true;
#else
	atomic { !stop && ctx_idle ->
		ctx_writer = true;
		choose_lines();
#endif
#ifdef COPY_UNDER_LOCK
	};
	/* A fault in the source takes mmap_lock. */
	!mm_writer[OWNER];
	atomic {
#endif
#ifdef CONFIG_INSTALL
		if
		:: true
		:: unlucky = true		/* EHWPOISON, EINTR, after all claims */
		fi;
		if
		:: true
		:: block = true
		fi;
#endif
		d_step {
			for (l : 0 .. NLINES - 1) {
				was_line[l] = r_line[l]
			}
			for (o : 0 .. OFFS - 1) {
				was_folio[o] = r_folio[o]
			}
			/* Another pool of this number is not modelled. */
			failed = is_kept(id);
			p_born[id] = (has_lines(id) || failed -> p_born[id] : forks);
			for (o : 0 .. OFFS - 1) {
				if
				:: !failed && part_of(set, o) -> wxpool_place(set, o)
				:: else
				fi;
				if
				:: !failed && part_of(set, o) -> wxpool_claim(set, o)
				:: else
				fi
			}
			failed = failed || unlucky;
#ifdef WRITE_BEFORE_STAGED
			/* EFAULT in the source of the second line */
			if
			:: unlucky && claimed && !made ->
				for (l : 0 .. NLINES - 1) {
					if
					:: (claimed & (1 << l)) && !wrote ->
						write_line(l / LINES, l % LINES)
					:: else
					fi
				}
				l = 0
			:: else
			fi;
#endif
			o = 0
		};
		if
#ifdef CONFIG_INSTALL
		:: failed	/* A step of its own, to see who looks in between */
#else
		:: failed -> wxpool_fail()
#endif
		:: !failed ->
			d_step {
				assert(!revived || WITNESS != 15);
				/* wxpool_write_lines() */
				for (l : 0 .. NLINES - 1) {
					if
#ifndef WRITE_BEFORE_CLAIM
					:: (claimed & (1 << l)) &&
					   !(placed & (1 << (l / LINES))) ->
						write_line(l / LINES, l % LINES);
						check(r_folio[l / LINES]);
						assert(pte[at(OX, l / LINES)] == NONE ||
						       WITNESS != 13)
#endif
					:: else
					fi
				}
				/* Nobody looks between claim and write. */
				for (o : 0 .. OFFS - 1) {
					if
#ifndef NO_SHOW
					:: part_of(set, o) && hidden_at(o) ->
						assert(WITNESS != 21);
						r_ended[o] = SHOWN
#endif
					:: else
					fi
				}
				o = 0;
				wxpool_put_parts()
			};
			settled();
			unlock_write();
			goto again
		fi
	};
#ifdef CONFIG_INSTALL
	atomic { wxpool_fail() }
#endif
}

/* REVOKE: nothing of pool @q is due to heirs any more. */
inline revoke_due(l)
{
	for (n : 0 .. HEIRS) {
		due[n * LINES + l] = 0
	}
	n = 0
}

#ifdef NO_CLEAR_OF_IDLE
#define fills_idle	false
#else
#define fills_idle	block
#endif

#ifdef NO_REVOKE
#define revokes	false
#else
#define revokes	revoke
#endif

/* wxpool_end_pool(), which FREE ends; wxpool_end_extent(), wxpool_end_lines() */
inline wxpool_end_pool(q)
{
	if
	:: !is_kept(q) && !revokes && keeps(q) ->
		p_heirs[q] = keeper(q);
		for (l : 0 .. NLINES - 1) {
			if
			:: r_line[l] == q ->
				r_live[l / LINES]--;
#ifndef NO_HELD_COUNT
				r_held[l / LINES]++
#endif
			:: else
			fi
		}
	:: else ->
		for (l : 0 .. NLINES - 1) {
			if
			:: r_line[l] == q ->
				r_line[l] = 0;
				if
				:: is_kept(q) -> r_held[l / LINES]--
				:: else -> r_live[l / LINES]--
				fi;
				/* A page that ends needs no clearing, a block may stay. */
				if
#ifndef NO_CLEAR
				:: r_live[l / LINES] + r_held[l / LINES] > 0 || fills_idle ->
					clear_line(l / LINES, l % LINES)
#endif
				:: else
				fi;
				if
				:: revoke -> revoke_due(l % LINES)
				:: else
				fi
			:: else
			fi
		}
#ifndef NO_UNHANG
		p_heirs[q] = 0;
#endif
		p_born[q] = 0
	fi;
	never1(I3_freed_line_reachable, 3, revoke && is_kept(q));
	l = 0
}

/* wxpool_packed_fade(): a page without a live line. One block stays at most. */
inline wxpool_packed_fade(o)
{
	if
	:: r_held[o] > 0 && !hidden_at(o) ->
#ifndef NO_HIDE
		hides = hides | (1 << o);
		r_ended[o] = forks
#endif
	:: r_held[o] == 0 && (hidden_at(o) || !block) -> ends = ends | (1 << o)
	:: r_held[o] == 0 && !hidden_at(o) && block ->
		ends = ends | (idle != NONE -> 1 << idle : 0);
		idle = o
	:: else
	fi
}

/* All that is there goes in FREE of all pools, if nothing is kept. */
#define goes_all	(all && (revoke || forks == 0))

#ifdef NO_UNMAP_IN_FREE
#define no_unmap_in_free	true
#elif defined(NO_UNMAP_IN_REVOKE)
#define no_unmap_in_free	revoke
#else
#define no_unmap_in_free	false
#endif

/* wxpool_op_free() of one pool, or of all; with @revoke also from heirs */
inline wxpool_free()
{
	atomic { !stop && ctx_idle ->
		ctx_writer = true;
		if
		:: choose_pool()
		:: all = true
		fi;
		if
		:: true
#if HEIRS > 0
		:: revoke = true
#endif
		fi;
		if
		:: true
		:: !goes_all -> block = true
		fi;
		d_step {
			for (q : 1 .. NPOOLS) {
				if
				:: (all || q == id) &&
				   (is_live(q) || (all && revoke && is_kept(q))) ->
					wxpool_end_pool(q)
				:: else
				fi
			}
			for (o : 0 .. OFFS - 1) {
				if
				:: r_folio[o] != NONE && r_live[o] == 0 && o != idle &&
				   !(ends & (1 << o)) ->
					wxpool_packed_fade(o)
				:: else
				fi
			}
			if
			:: goes_all && idle != NONE -> ends = ends | (1 << idle); idle = NONE
			:: else
			fi;
			q = 0;
			o = 0;
			id = 0;
			all = false;
			block = false
#ifndef NO_UNMAP_IN_REVOKE
			;
			revoke = false
#endif
		}
	};
	wxpool_end_and_unlock(o, i, ends, hides, no_unmap_in_free, BY_OPS);
#ifdef NO_UNMAP_IN_REVOKE
	revoke = false
#endif
}

#ifdef NO_UNMAP_IN_DROP_BLOCK
#define no_unmap_in_drop	true
#else
#define no_unmap_in_drop	false
#endif

/* wxpool_drop_block(): under pressure, at the limit, for ALLOC */
inline wxpool_drop_idle()
{
	atomic { !stop && ctx_idle && idle != NONE ->
		ctx_writer = true;
		ends = 1 << idle;
		idle = NONE
	};
	wxpool_end_and_unlock(o, i, ends, hides, no_unmap_in_drop, BY_OPS)
}

/* For one pool, or with @only 0 for both in turn. */
proctype ops(byte only)
{
	byte id, set, i, o, l, n, q, claimed, made, placed, revived, ends, hides;
	byte fresh[OFFS] = NONE;
	bool failed, unlucky, block, all, revoke;

again:	do
	:: atomic { stop -> break }
	:: wxpool_install()
	:: wxpool_free()
	:: wxpool_drop_idle()
	od
}
