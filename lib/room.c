// SPDX-License-Identifier: MIT
/* Room to grow in place for pools whose size is not known in advance. */
#include "internal.h"

static struct bin **room_slot(struct wxp *w, const struct bin *bin, enum wxp_prot prot)
{
	int i;

	for (i = 0; i < MAX_ROOMY; i++)
		if (w->roomy[prot][i] == bin)
			return &w->roomy[prot][i];
	return NULL;
}

bool room_wanted(const struct wxp *w, enum wxp_prot prot)
{
	return w->nr_growing[prot] <= MAX_ROOMY;
}

static uint32_t room_most(const struct wxp *w)
{
	return (uint32_t)min_size(MAX_ROOM, w->nr_pages / ROOM_SHARE);
}

/* Least pages of room that a place should have. */
uint32_t room_least(const struct wxp *w)
{
	return (uint32_t)min_size(MIN_ROOM, room_most(w));
}

/* Makes the free pages after the bin its own. */
void room_claim(struct wxp *w, struct bin *bin, enum wxp_prot prot)
{
	uint32_t page = (uint32_t)(bin->end / w->page_size) + bin->room;
	uint32_t max = room_most(w), nr;
	struct bin **slot = room_slot(w, bin, prot);

	if (!slot)
		slot = room_slot(w, NULL, prot);
	if (!slot || !room_wanted(w, prot) || bin->room >= max)
		return;
	nr = space_run(&w->space, page, max - bin->room);
	/* The page at rw_start may be free, but is another kind of memory. */
	if (prot != WXP_RW)
		nr = (uint32_t)min_size(nr, w->rw_start - page);
	space_take(&w->space, page, nr);
	bin->room += nr;
	*slot = bin;
}

void room_drop(struct wxp *w, struct bin *bin, enum wxp_prot prot)
{
	struct bin **slot = room_slot(w, bin, prot);

	if (slot)
		*slot = NULL;
	space_give(&w->space, (uint32_t)(bin->end / w->page_size), bin->room);
	bin->room = 0;
}

static void room_drop_prot(struct wxp *w, enum wxp_prot prot)
{
	int i;

	for (i = 0; i < MAX_ROOMY; i++)
		if (w->roomy[prot][i])
			room_drop(w, w->roomy[prot][i], prot);
}

void room_drop_all(struct wxp *w)
{
	room_drop_prot(w, WXP_R);
	room_drop_prot(w, WXP_RW);
	room_drop_prot(w, WXP_RX);
}

void bin_grows(struct wxp *w, struct bin *bin, enum wxp_prot prot)
{
	if (bin->growing)
		return;
	bin->growing = true;
	w->nr_growing[prot]++;
	if (!room_wanted(w, prot))
		room_drop_prot(w, prot);
}

void bin_settles(struct wxp *w, struct bin *bin, enum wxp_prot prot)
{
	if (bin->growing)
		w->nr_growing[prot]--;
	bin->growing = false;
	room_drop(w, bin, prot);
}
