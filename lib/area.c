// SPDX-License-Identifier: MIT
/*
 * Which lines are free: best fit, in constant time.
 *
 * All lines of blocks that are not fresh belong to spans or are free. Free ones are, for
 * each kind of block, in listed runs, in the rest or in spare spans:
 *
 * - Runs and the rest are as long as can be: no two of them meet. BIT_FREE at both
 *   ends of a run tells neighbours that are freed.
 * - The rest is cut from its start, which is the cheapest way; no bit of it is set but
 *   BIT_BEGIN at its first line.
 * - Spare spans were freed last, and wait for a request of their length. They look like
 *   spans of pool 0, and are joined with their neighbours if nothing else fits.
 *
 * Packed blocks are opened from the start of an area, paged ones from its end.
 */
#include "internal.h"

static uint32_t list_of(const struct heap *h, uint32_t nr)
{
	uint32_t n = nr >> h->shift, octave;

	if (likely(n < EXACT))
		return n;
	octave = 31 - (uint32_t)__builtin_clz(n);
	return EXACT + (octave - 8) * 16 + (n >> (octave - 4) & 15);
}

static uint32_t list_first(const struct heap *h, uint32_t list)
{
	return h->lists[list / 64] >> list % 64 & 1 ? h->first[list] : NONE;
}

static void run_list(struct window *w, struct heap *h, uint32_t line, uint32_t nr)
{
	uint32_t list = list_of(h, nr), next = list_first(h, list);

	assert(nr);
	w->lines[line] = (struct line){ .next = next, .prev = NONE };
	if (next != NONE)
		w->lines[next].prev = line;
	h->first[list] = line;
	h->lists[list / 64] |= 1ull << list % 64;
	h->list_words |= 1u << list / 64;
	bit_set(w->bits, BIT_BEGIN, line);
	bit_set(w->bits, BIT_FREE, line);
	if (nr == 1)
		return;
	w->lines[line + 1].length = nr;
	w->lines[line + nr - 1].length = nr;
	bit_set(w->bits, BIT_FREE, line + nr - 1);
}

static void run_unlist(struct window *w, struct heap *h, uint32_t line, uint32_t nr)
{
	const struct line run = w->lines[line];
	uint32_t list = list_of(h, nr);

	assert(bit_test(w->bits, BIT_FREE, line) && bit_test(w->bits, BIT_BEGIN, line));
	if (run.prev != NONE) {
		w->lines[run.prev].next = run.next;
	} else {
		h->first[list] = run.next;
		if (run.next == NONE) {
			h->lists[list / 64] &= ~(1ull << list % 64);
			if (!h->lists[list / 64])
				h->list_words &= ~(1u << list / 64);
		}
	}
	if (run.next != NONE)
		w->lines[run.next].prev = run.prev;
	bit_clear(w->bits, BIT_BEGIN, line);
	bit_clear(w->bits, BIT_FREE, line);
	bit_clear(w->bits, BIT_FREE, line + nr - 1);
}

/* The shortest of a few runs of one list that have @nr lines */
static uint32_t find_in_list(const struct window *w, const struct heap *h, uint32_t list,
			     uint32_t nr)
{
	uint32_t line = list_first(h, list), best = NONE, least = NONE, len, tries;

	for (tries = 8; line != NONE && tries; line = w->lines[line].next, tries--) {
		len = line_length(w, line);
		if (len >= nr && len < least) {
			least = len;
			best = line;
		}
	}
	return best;
}

/* The shortest run that has @nr lines; of long ones, nearly the shortest */
static uint32_t run_find(const struct window *w, const struct heap *h, uint32_t nr)
{
	uint32_t list = list_of(h, nr), found, words;
	uint64_t bits;

	if (list >= EXACT) {
		found = find_in_list(w, h, list, nr);
		if (found != NONE)
			return found;
		list++;
	}
	bits = h->lists[list / 64] >> list % 64;
	if (bits)
		return h->first[list + (uint32_t)__builtin_ctzll(bits)];
	words = h->list_words & ~0u << (list / 64 + 1);
	if (!words)
		return NONE;
	list = (uint32_t)__builtin_ctz(words) * 64;
	return h->first[list + (uint32_t)__builtin_ctzll(h->lists[list / 64])];
}

static void rest_set(struct window *w, struct heap *h, uint32_t line, uint32_t end)
{
	h->rest = line;
	h->rest_end = end;
	if (line == end) {
		h->rest = h->rest_end = 0;
		return;
	}
	bit_set(w->bits, BIT_BEGIN, line);
	w->lines[line].pool = 0;
}

static void rest_list(struct window *w, struct heap *h)
{
	if (h->rest_end)
		run_list(w, h, h->rest, h->rest_end - h->rest);
	h->rest = h->rest_end = 0;
}

/* The length of a run of the area that ends before @line; 0: there is none */
static uint32_t run_before(const struct window *w, const struct area *a, uint32_t line)
{
	if (line == a->start || !bit_test(w->bits, BIT_FREE, line - 1))
		return 0;
	return bit_test(w->bits, BIT_BEGIN, line - 1) ? 1 : w->lines[line - 1].length;
}

/* Takes the runs beside free lines off their lists, and the lines there with them. */
static void runs_join(struct window *w, struct area *a, uint32_t *line, uint32_t *end)
{
	enum block_kind kind = kind_of(w, *line);
	struct heap *h = &a->heap[kind];
	uint32_t len = run_before(w, a, *line);

	if (len && kind_of(w, *line - 1) == kind) {
		*line -= len;
		run_unlist(w, h, *line, len);
	}
	if (*end < a->end && bit_test(w->bits, BIT_FREE, *end) && kind_of(w, *end) == kind) {
		len = line_length(w, *end);
		run_unlist(w, h, *end, len);
		*end += len;
	}
}

/* Takes back lines of one kind of block, where nothing begins. */
void lines_give(struct window *w, uint32_t line, uint32_t nr)
{
	struct area *a = window_area(w, line);
	struct heap *h = &a->heap[kind_of(w, line)];
	uint32_t end = line + nr;

	assert(!bits_any(w->bits, BIT_BEGIN, line, nr) && !bits_any(w->bits, BIT_FREE, line, nr));
	runs_join(w, a, &line, &end);
	if (end == h->rest) {
		bit_clear(w->bits, BIT_BEGIN, end);
		rest_set(w, h, line, h->rest_end);
	} else if (line && line == h->rest_end) {
		h->rest_end = end;
	} else {
		run_list(w, h, line, end - line);
	}
}

/* Keeps a span of packed lines that was freed as it is, if there is room for it. */
bool lines_spare(struct window *w, uint32_t line, uint32_t nr)
{
	struct heap *h = &window_area(w, line)->heap[PACKED];

	if (nr > MAX_SPARE || h->nr_spare[nr] == NR_SPARES || kind_of(w, line) != PACKED)
		return false;
	h->spare[nr][h->nr_spare[nr]++] = line;
	w->lines[line].pool = 0;
	return true;
}

static bool spares_join(struct window *w, struct heap *h)
{
	uint32_t nr, line;
	bool any = false;

	for (nr = 1; nr <= MAX_SPARE; nr++) {
		while (h->nr_spare[nr]) {
			line = h->spare[nr][--h->nr_spare[nr]];
			bit_clear(w->bits, BIT_BEGIN, line);
			lines_give(w, line, nr);
			any = true;
		}
	}
	return any;
}

/*
 * The first run that has @nr lines from a multiple of @align on. Looks at all that are long
 * enough: for the last attempt only.
 */
static uint32_t run_search(const struct window *w, const struct heap *h, uint32_t nr,
			   uint32_t align)
{
	uint32_t list, run;

	for (list = list_of(h, nr); list < NR_LISTS; list++)
		for (run = list_first(h, list); run != NONE; run = w->lines[run].next)
			if (round_up(run, align) + nr <= run + line_length(w, run))
				return run;
	return NONE;
}

/* Cuts a run at its start, if it stays in its list, as long ones mostly do. */
static void run_advance(struct window *w, struct heap *h, uint32_t run, uint32_t len, uint32_t nr)
{
	const struct line was = w->lines[run];
	uint32_t left = run + nr;

	bit_clear(w->bits, BIT_BEGIN, run);
	bit_clear(w->bits, BIT_FREE, run);
	if (was.prev == NONE)
		h->first[list_of(h, len)] = left;
	else
		w->lines[was.prev].next = left;
	if (was.next != NONE)
		w->lines[was.next].prev = left;
	w->lines[left] = was;
	bit_set(w->bits, BIT_BEGIN, left);
	bit_set(w->bits, BIT_FREE, left);
	w->lines[left + 1].length = len - nr;
	w->lines[run + len - 1].length = len - nr;
}

/* Takes @nr lines of a listed run, and lists what is left of it. */
static void run_cut(struct window *w, struct heap *h, uint32_t run, uint32_t line, uint32_t nr)
{
	uint32_t len = line_length(w, run);

	if (line == run && len > nr && list_of(h, len) == list_of(h, len - nr)) {
		run_advance(w, h, run, len, nr);
		return;
	}
	run_unlist(w, h, run, len);
	if (line > run)
		run_list(w, h, run, line - run);
	if (run + len > line + nr)
		run_list(w, h, line + nr, run + len - line - nr);
}

/* Takes whole blocks out of a run. */
static void blocks_free(struct window *w, struct area *a, uint32_t run, uint32_t line, uint32_t nr)
{
	run_cut(w, &a->heap[kind_of(w, run)], run, line, nr * BLOCK_LINES);
	memset(w->kind + line / BLOCK_LINES, FRESH, nr);
}

/*
 * Blocks beside the fresh ones become fresh again, if they are free; and what is free of
 * packed lines before them, the rest.
 */
static void blocks_refresh(struct window *w, struct area *a)
{
	struct heap *h = &a->heap[PACKED];
	uint32_t line, len, nr;

	spares_join(w, h);
	rest_list(w, h);
	rest_list(w, &a->heap[PAGED]);
	while (a->high < a->end / BLOCK_LINES) {
		line = a->high * BLOCK_LINES;
		if (!bit_test(w->bits, BIT_BEGIN, line) || !bit_test(w->bits, BIT_FREE, line))
			break;
		nr = line_length(w, line) / BLOCK_LINES;
		if (!nr)
			break;
		a->high += nr;
		blocks_free(w, a, line, line, nr);
	}
	for (;;) {
		line = a->low * BLOCK_LINES;
		len = run_before(w, a, line);
		nr = len / BLOCK_LINES;
		if (!nr)
			break;
		a->low -= nr;
		blocks_free(w, a, line - len, a->low * BLOCK_LINES, nr);
	}
	if (len && kind_of(w, line - 1) == PACKED) {
		run_unlist(w, h, line - len, len);
		rest_set(w, h, line - len, line);
	}
}

/* @nr whole blocks that are fresh, or free in the other kind; returns the first line. */
static uint32_t blocks_take(struct window *w, struct area *a, enum block_kind kind, uint32_t nr)
{
	struct heap *other = &a->heap[PACKED + PAGED - kind];
	uint32_t lines = nr * BLOCK_LINES, run, line;

	if (a->high - a->low >= nr) {
		if (kind == PAGED)
			return (a->high -= nr) * BLOCK_LINES;
		a->low += nr;
		return (a->low - nr) * BLOCK_LINES;
	}
	/* Long enough wherever it begins, or else any that will do */
	run = run_find(w, other, lines + BLOCK_LINES - (1u << other->shift));
	if (run == NONE)
		run = run_search(w, other, lines, BLOCK_LINES);
	if (run == NONE)
		return NONE;
	line = (uint32_t)round_up(run, BLOCK_LINES);
	run_cut(w, other, run, line, lines);
	return line;
}

/*
 * How many blocks @nr lines more take. If the rest of packed lines ends where fresh blocks
 * begin, what is in it counts.
 */
static uint32_t blocks_missing(const struct area *a, enum block_kind kind, uint32_t nr,
			       uint32_t align)
{
	const struct heap *h = &a->heap[kind];
	uint32_t missing = nr;

	if (kind == PACKED && h->rest_end == a->low * BLOCK_LINES)
		missing = (uint32_t)round_up(h->rest, align) + nr - h->rest_end;
	if (missing > (a->high - a->low) * BLOCK_LINES)
		missing = nr;
	return (missing + BLOCK_LINES - 1) / BLOCK_LINES;
}

/* Blocks for @nr lines more: they, and what is free beside them, are the rest then. */
static bool area_grow(struct window *w, struct area *a, enum block_kind kind, uint32_t nr,
		      uint32_t align)
{
	uint32_t nr_blocks = blocks_missing(a, kind, nr, align), line, end;

	if (nr_blocks > a->high - a->low) {
		blocks_refresh(w, a);
		nr_blocks = blocks_missing(a, kind, nr, align);
	}
	line = blocks_take(w, a, kind, nr_blocks);
	if (line == NONE)
		return false;
	memset(w->kind + line / BLOCK_LINES, kind, nr_blocks);
	end = line + nr_blocks * BLOCK_LINES;
	rest_list(w, &a->heap[kind]);
	runs_join(w, a, &line, &end);
	rest_set(w, &a->heap[kind], line, end);
	return true;
}

static uint32_t rest_take(struct window *w, struct heap *h, uint32_t nr, uint32_t align)
{
	uint32_t line, rest = h->rest;

	if (unlikely(!h->rest_end))
		return NONE;
	line = (uint32_t)round_up(rest, align);
	if (unlikely(line > h->rest_end || nr > h->rest_end - line))
		return NONE;
	bit_clear(w->bits, BIT_BEGIN, rest);
	rest_set(w, h, line + nr, h->rest_end);
	if (unlikely(line > rest))
		run_list(w, h, rest, line - rest);
	return line;
}

/* @last: there is nothing else to try. */
static uint32_t run_take(struct window *w, struct heap *h, uint32_t nr, uint32_t align, bool last)
{
	/* So long that an aligned place is in it, wherever it begins */
	uint32_t unit = 1u << h->shift, want = align > unit ? nr + align - unit : nr;
	uint32_t run = NONE, line;

	if (h->list_words)
		run = last ? run_search(w, h, nr, align) : run_find(w, h, want);
	if (run == NONE)
		return NONE;
	line = (uint32_t)round_up(run, align);
	run_cut(w, h, run, line, nr);
	return line;
}

/*
 * Takes @nr lines, whole units of their kind of block, the first a multiple of @align,
 * which is a power of two up to a block. NONE: there is no such place.
 */
uint32_t lines_take(struct window *w, enum area_kind area, enum block_kind kind, uint32_t nr,
		    uint32_t align)
{
	struct area *a = &w->areas[area];
	struct heap *h = &a->heap[kind];
	uint32_t line;

	if (unlikely(nr > a->end - a->start))
		return NONE;
	if (nr <= MAX_SPARE && h->nr_spare[nr]) {
		line = h->spare[nr][h->nr_spare[nr] - 1];
		if (likely(!(line & (align - 1)))) {
			h->nr_spare[nr]--;
			bit_clear(w->bits, BIT_BEGIN, line);
			return line;
		}
	}
	for (;;) {
		line = run_take(w, h, nr, align, false);
		if (line == NONE)
			line = rest_take(w, h, nr, align);
		if (likely(line != NONE))
			return line;
		/* A new block begins at a multiple of any alignment. */
		if (!spares_join(w, h) && !area_grow(w, a, kind, nr, align))
			return run_take(w, h, nr, align, true);
	}
}

/* The lines of pages right here, if they are free */
bool lines_take_at(struct window *w, enum area_kind area, uint32_t line, uint32_t nr)
{
	struct area *a = &w->areas[area];
	struct heap *h = &a->heap[PAGED];

	if (line == h->rest && h->rest_end)
		return rest_take(w, h, nr, 1) != NONE;
	if (line >= a->end || kind_of(w, line) != PAGED || !bit_test(w->bits, BIT_FREE, line) ||
	    !bit_test(w->bits, BIT_BEGIN, line) || line_length(w, line) < nr)
		return false;
	run_cut(w, h, line, line, nr);
	return true;
}

void area_init(struct window *w, enum area_kind kind, uint32_t start, uint32_t end)
{
	struct area *a = &w->areas[kind];

	a->heap[PAGED].shift = (unsigned int)__builtin_ctzl(w->page_size / WXP_LINE);
	a->start = start;
	a->end = end;
	a->low = start / BLOCK_LINES;
	a->high = end / BLOCK_LINES;
}

/* What of a run is of use for packed lines */
static uint32_t packable(uint32_t line, uint32_t len, enum block_kind kind)
{
	uint32_t first = (uint32_t)round_up(line, BLOCK_LINES);
	uint32_t end = (line + len) & ~(uint32_t)(BLOCK_LINES - 1);

	if (kind == PACKED || !len)
		return len;
	return end > first ? end - first : 0;
}

static uint64_t heap_free(const struct window *w, const struct area *a, enum block_kind kind,
			  uint32_t *largest)
{
	const struct heap *h = &a->heap[kind];
	uint32_t list, line, len = h->rest_end - h->rest, n = packable(h->rest, len, kind);
	uint64_t sum = len;

	*largest = n > *largest ? n : *largest;
	for (list = 0; list < NR_LISTS; list++) {
		for (line = list_first(h, list); line != NONE; line = w->lines[line].next) {
			len = line_length(w, line);
			sum += len;
			n = packable(line, len, kind);
			*largest = n > *largest ? n : *largest;
		}
	}
	return sum;
}

/* Free lines of all kinds of blocks, and the most that a packed span can have */
uint64_t area_free(struct window *w, struct area *a, uint32_t *largest)
{
	struct heap *h = &a->heap[PACKED];
	uint32_t fresh;

	blocks_refresh(w, a);
	fresh = (a->high - a->low) * BLOCK_LINES;
	*largest = fresh;
	if (h->rest_end == a->low * BLOCK_LINES)
		*largest += h->rest_end - h->rest;
	return fresh + heap_free(w, a, PACKED, largest) + heap_free(w, a, PAGED, largest);
}
