/* SPDX-License-Identifier: MIT */
/*
 * wxpool, the model: packed pages. One offset, two lines, two pools, each with a
 * thread that installs and frees, or one for both. What heirs hold of the page is
 * in older versions of it (wxp_region.older).
 */

#define line(r, l)	r_line[(r) * LINES + (l)]
#define byte_of(p, l)	data[(p) * LINES + (l)]

/* A region without a page; there is one for each page. */
inline wxp_region_alloc(r)
{
	r = 0;
	do
	:: r_folio[r] != NONE -> r++
	:: else -> break
	od
}

/* wxp_packed_insert(), wxp_packed_hide() */
inline wxp_packed_begin(r, p)
{
	wxp_region_alloc(r);
	r_folio[r] = p;
	r_state[r] = SEALED_X;
	r_born[r] = forks;
	r_ended[r] = ALIVE;
	r_older[r] = tree;
	line(r, 0) = 0;
	line(r, 1) = 0;
	told[p] = SEALED_X;
	tree = r
}

/* The module finds the newer one by wxp_region.newer. */
inline wxp_unlink_region(r)
{
	if
	:: tree == r -> tree = r_older[r]
	:: else ->
		newer = tree;
		do
		:: r_older[newer] != r -> newer = r_older[newer]
		:: else -> break
		od;
		r_older[newer] = r_older[r];
		newer = 0
	fi;
	r_older[r] = NONE
}

/* wxp_free_regions() */
inline wxp_free_region(r)
{
	folio_put(r_folio[r]);
	r_folio[r] = NONE;
	r_ended[r] = ALIVE;
	r_born[r] = 0;
	r_state[r] = OPEN;
	line(r, 0) = 0;
	line(r, 1) = 0
}

#define is_kept(r)	(r_folio[r] != NONE && kept(r))
#define nr_kept		(is_kept(0) + is_kept(1) + is_kept(NR - 1))

/* wxp_reap_kept(), wxp_find_dead() */
inline wxp_reap()
{
	if
	:: atomic { nr_kept && !ctx_writer && ctx_readers == 0 ->
		wxp_find_heirs(old, new);
#ifdef NO_REAP_CHECK
		old = ALIVE;
#endif
		r = 0;
		do
		:: r < NR && is_kept(r) && old > r_ended[r] ->
			never1(H_taken_from_an_heir, 6, child && inherited(r, CX));
			wxp_unlink_region(r);
			wxp_free_region(r);
			r++
		:: r < NR && !(is_kept(r) && old > r_ended[r]) -> r++
		:: r == NR -> break
		od;
		r = NONE;
		old = 0;
		new = 0
	   }
	:: atomic { !nr_kept }
	fi
}

/* wxp_write_lines(): processors that run other lines of the page see it. */
inline wxp_write_line(r, l)
{
	never1(I2_sealed_bytes_changed, 2, byte_of(r_folio[r], l) != FILL);
	byte_of(r_folio[r], l) = id;
	check(r_folio[r])
}

/* wxp_claim_lines(), one line; with -DNO_CLAIM_CHECK, always a success */
inline wxp_claim_line(r, l)
{
	if
#ifndef NO_CLAIM_CHECK
	:: line(r, l) != 0 -> failed = true		/* EEXIST */
#endif
	:: else ->
		line(r, l) = id;
#ifdef WRITE_BEFORE_CLAIM
		wxp_write_line(r, l);
#endif
		claimed = claimed | (1 << l)
	fi
}

/* Lines first .. last, with first <= last <= 1 */
inline wxp_ioc_install(l1, l2)
{
	wxp_reap();
	/* wxp_stage(): wxp_find_full() under the lock for reading */
	atomic { !ctx_writer ->
		if
		:: l1 == 0 && l2 == 1 && tree == NONE ->
			/* wxp_packed_new(), wxp_copy_words() */
			folio_alloc(p);
			if
			:: p != NONE -> byte_of(p, 0) = id; byte_of(p, 1) = id
			:: else
			fi
		:: else
		fi
	};
	lock_write();
	atomic {
		/* wxp_find_place() */
		if
		:: p != NONE && tree == NONE ->
			wxp_packed_begin(r, p);
			assert(WITNESS != 11)
		:: else ->
			/* wxp_packed_get() */
			if
			:: tree != NONE && !kept(tree) -> r = tree
			:: else ->
				/* wxp_packed_add(), wxp_packed_hide() */
				folio_alloc(q);
				if
				:: q == NONE -> failed = true	/* ENOMEM */
				:: else ->
#ifndef NO_FILL
					byte_of(q, 0) = FILL;
					byte_of(q, 1) = FILL;
#endif
					wxp_packed_begin(r, q)
				fi;
				q = NONE
			fi
		fi;
		/* wxp_claim_parts(), wxp_drop_parts() */
		if
		:: !failed -> wxp_claim_line(r, l1)
		:: else
		fi;
		if
		:: !failed && l1 != l2 -> wxp_claim_line(r, l2)
		:: else
		fi;
		if
		:: failed ->
			if
			:: claimed & 1 -> line(r, 0) = 0
			:: else
			fi;
			if
			:: claimed & 2 -> line(r, 1) = 0
			:: else
			fi;
			assert(!claimed || WITNESS != 12);
			claimed = 0
		:: else
		fi
	};
#ifndef WRITE_BEFORE_CLAIM
	/* wxp_write_parts() */
	if
	:: atomic { r != NONE && r_folio[r] != p && (claimed & 1) ->
		wxp_write_line(r, 0);
		witness(13, pte[OX] == r_folio[r]) }
	:: else
	fi;
	if
	:: atomic { r != NONE && r_folio[r] != p && (claimed & 2) -> wxp_write_line(r, 1) }
	:: else
	fi;
#endif
	atomic {
		/* A failed call has left nothing, a new page is full. */
		never1(I4_bytes_left_over, 4, r != NONE &&
		       ((line(r, 0) == 0 && byte_of(r_folio[r], 0) != FILL) ||
			(line(r, 1) == 0 && byte_of(r_folio[r], 1) != FILL)));
		unlock_write()
	};
	/* wxp_free_regions(): what has found no place */
	atomic {
		if
		:: p != NONE && (r == NONE || r_folio[r] != p) -> folio_put(p)
		:: else
		fi;
		p = NONE;
		r = NONE;
		claimed = 0;
		failed = false
	}
}

/* wxp_survives() */
#define other(l)	(line(tree, l) != 0 && line(tree, l) != id)
#define is_mine(r, l)	(line(r, l) == id)
#define has(v)		(pte[v] != NONE && (byte_of(pte[v], 0) == id || \
					    byte_of(pte[v], 1) == id))

/* wxp_free_part(), one line */
inline wxp_free_part(l)
{
	if
	:: atomic { is_mine(r, l) ->
		if
		:: survives ->
			never1(H_taken_from_an_heir, 6, due > r_born[r] && child &&
			       heir[CX] == due);
#ifndef NO_CLEAR
			byte_of(r_folio[r], l) = FILL	/* wxp_clear_lines() */
#endif
		:: else
		fi;
		line(r, l) = 0 }
	:: atomic { !is_mine(r, l) }
	fi
}

inline wxp_ioc_free()
{
	wxp_reap();
	atomic { !ctx_writer && ctx_readers == 0 ->
		ctx_writer = true;
		due = (child && linked[CX] -> heir[CX] : 0) };
	if
	:: atomic { !(tree != NONE && !kept(tree) && (is_mine(tree, 0) || is_mine(tree, 1))) ->
		due = 0; unlock_write() }		/* ENOENT */
	:: atomic { tree != NONE && !kept(tree) && (is_mine(tree, 0) || is_mine(tree, 1)) ->
		/* wxp_doom(), wxp_make_copy() */
		r = tree;
		wxp_find_heirs(old, new);
		old = 0;
		survives = other(0) || other(1);
#ifndef NO_SPLIT
		if
		:: survives && new > r_born[r] ->
			folio_alloc(q);
			failed = (q == NONE)
		:: else
		fi
#endif
	   };
	   if
	   :: failed	/* ENOMEM, wxp_spare() */
	   :: !failed ->
		/* wxp_split(), wxp_packed_hide(), wxp_keep_region() */
		if
		:: atomic { q != NONE ->
			p = r_folio[r];
			byte_of(q, 0) = byte_of(p, 0);
			byte_of(q, 1) = byte_of(p, 1);
			r_ended[r] = forks;
			old = r;
			wxp_packed_begin(r, q);
			line(r, 0) = line(old, 0);
			line(r, 1) = line(old, 1);
			assert(WITNESS != 14) };
		   wxp_settle_page(old, SEALED_X);
		   old = 0
		:: atomic { q == NONE }
		fi;
		wxp_free_part(0);
		wxp_free_part(1);
		/* wxp_drop_lines(), wxp_end_region() */
		if
		:: atomic { !survives ->
			p = r_folio[r];
			if
#ifndef NO_KEEP
			:: new > r_born[r] -> r_ended[r] = forks
#endif
			:: else -> dead = true; wxp_unlink_region(r)
			fi };
		   wxp_settle_page(r, SEALED_X)
		:: atomic { survives }
		fi;
		/* wxp_unmap_ended() */
#ifndef NO_UNMAP_IN_FREE
		if
		:: p != NONE -> wxp_unmap(i, BY_OPS)
		:: else
		fi;
#endif
		atomic {
			if
			:: p != NONE ->
				over[p] = true;
				check(p);
				never1(H_taken_from_an_heir, 6, dead &&
				       due > r_born[r] && child && heir[CX] == due)
			:: else
			fi;
			never1(I3_freed_page_reachable, 3, has(OX) || has(PX))
		}
	   fi;
	   unlock_write();
	   atomic {
		if
		:: dead -> wxp_free_region(r)
		:: else
		fi;
		dead = false;
		survives = false;
		failed = false;
		new = 0;
		due = 0;
		p = NONE;
		q = NONE;
		r = NONE
	   }
	fi
}

/* For one pool, or with @only 0 for both in turn. */
proctype ops(byte only)
{
	byte id, i, p = NONE, q = NONE, r = NONE, old, new, newer, due, claimed;
	bool failed, survives, dead;

	do
	:: atomic { stop -> break }
	:: atomic { !stop ->
		if
		:: only != 2 -> id = 1
		:: only != 1 -> id = 2
		fi };
	   if
	   :: wxp_ioc_install(0, 0)
	   :: wxp_ioc_install(1, 1)
	   :: wxp_ioc_install(0, 1)
	   :: wxp_ioc_free()
	   fi;
	   id = 0
	od
}
