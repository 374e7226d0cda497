/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replacement policies from the literature, page by page and knowing of each
 * access, which no pager does: FIFO, LRU, CLOCK, ARC (Megiddo and Modha, FAST 2003),
 * S3-FIFO (Yang et al., SOSP 2023). Each is told of the pages of a trace one after the
 * other, and says whether it had the page.
 */
#ifndef RMEM_BENCH_CLASSIC_H
#define RMEM_BENCH_CLASSIC_H

#include <stdbool.h>

#include "bench/bench.h"

#define NOWHERE UINT32_MAX
#define LISTS	4

/* Pages in up to LISTS doubly linked lists, each page in one of them or none. */
struct cache {
	uint32_t room; /* pages */
	uint32_t *prev, *next;
	uint8_t *in;   /* the list, LISTS: none */
	uint8_t *freq; /* S3-FIFO: accesses, CLOCK: one or none */
	struct {
		uint32_t newest, oldest, nr;
	} list[LISTS];
	uint32_t target; /* ARC: pages wanted in RECENT */
};

static void cache_open(struct cache *c, uint32_t room, uint32_t nr_pages)
{
	*c = (struct cache){.room = room};
	c->prev = malloc(nr_pages * sizeof(*c->prev));
	c->next = malloc(nr_pages * sizeof(*c->next));
	c->in = malloc(nr_pages);
	c->freq = calloc(nr_pages, 1);
	if (!c->prev || !c->next || !c->in || !c->freq) {
		fprintf(stderr, "no memory for a cache of %u pages\n", nr_pages);
		exit(1);
	}
	memset(c->in, LISTS, nr_pages);
	for (int i = 0; i < LISTS; i++)
		c->list[i].newest = c->list[i].oldest = NOWHERE;
}

static void cache_close(struct cache *c)
{
	free(c->prev);
	free(c->next);
	free(c->in);
	free(c->freq);
}

static void take_out(struct cache *c, uint32_t page)
{
	uint32_t p = c->prev[page], n = c->next[page];
	uint8_t i = c->in[page];

	if (n == NOWHERE)
		c->list[i].newest = p;
	else
		c->prev[n] = p;
	if (p == NOWHERE)
		c->list[i].oldest = n;
	else
		c->next[p] = n;
	c->list[i].nr--;
	c->in[page] = LISTS;
}

static void put_newest(struct cache *c, uint8_t i, uint32_t page)
{
	c->in[page] = i;
	c->prev[page] = c->list[i].newest;
	c->next[page] = NOWHERE;
	if (c->list[i].newest == NOWHERE)
		c->list[i].oldest = page;
	else
		c->next[c->list[i].newest] = page;
	c->list[i].newest = page;
	c->list[i].nr++;
}

static uint32_t take_oldest(struct cache *c, uint8_t i)
{
	uint32_t page = c->list[i].oldest;

	take_out(c, page);
	return page;
}

static bool fifo(struct cache *c, uint32_t page)
{
	if (c->in[page] == 0)
		return true;
	if (c->list[0].nr == c->room)
		take_oldest(c, 0);
	put_newest(c, 0, page);
	return false;
}

static bool lru(struct cache *c, uint32_t page)
{
	bool hit = c->in[page] == 0;

	if (hit)
		take_out(c, page);
	else if (c->list[0].nr == c->room)
		take_oldest(c, 0);
	put_newest(c, 0, page);
	return hit;
}

static bool second_chance(struct cache *c, uint32_t page)
{
	uint32_t old;

	if (c->in[page] == 0) {
		c->freq[page] = 1;
		return true;
	}
	while (c->list[0].nr == c->room) {
		old = take_oldest(c, 0);
		if (c->freq[old])
			put_newest(c, 0, old);
		c->freq[old] = 0;
	}
	put_newest(c, 0, page);
	return false;
}

/* ---- ARC: seen once and more than once lately, and ghosts of both ---- */

enum { RECENT, FREQUENT, WAS_RECENT, WAS_FREQUENT };

static void arc_replace(struct cache *c, bool was_frequent)
{
	uint32_t recent = c->list[RECENT].nr;

	if (recent && (recent > c->target || (was_frequent && recent == c->target)))
		put_newest(c, WAS_RECENT, take_oldest(c, RECENT));
	else
		put_newest(c, WAS_FREQUENT, take_oldest(c, FREQUENT));
}

static void arc_aim(struct cache *c, bool was_recent)
{
	uint32_t r = c->list[WAS_RECENT].nr, f = c->list[WAS_FREQUENT].nr, step;

	if (was_recent) {
		step = r >= f ? 1 : f / r;
		c->target = c->target + step < c->room ? c->target + step : c->room;
	} else {
		step = f >= r ? 1 : r / f;
		c->target = c->target > step ? c->target - step : 0;
	}
}

static void arc_make_room(struct cache *c)
{
	uint32_t once = c->list[RECENT].nr + c->list[WAS_RECENT].nr;
	uint32_t all = once + c->list[FREQUENT].nr + c->list[WAS_FREQUENT].nr;

	if (once == c->room) {
		if (c->list[WAS_RECENT].nr) {
			take_oldest(c, WAS_RECENT);
			arc_replace(c, false);
		} else {
			take_oldest(c, RECENT);
		}
	} else if (all >= c->room) {
		if (all == 2 * c->room)
			take_oldest(c, WAS_FREQUENT);
		arc_replace(c, false);
	}
}

static bool arc(struct cache *c, uint32_t page)
{
	uint8_t in = c->in[page];

	if (in == LISTS) {
		arc_make_room(c);
		put_newest(c, RECENT, page);
		return false;
	}
	if (in == WAS_RECENT || in == WAS_FREQUENT) {
		arc_aim(c, in == WAS_RECENT);
		arc_replace(c, in == WAS_FREQUENT);
	}
	take_out(c, page);
	put_newest(c, FREQUENT, page);
	return in == RECENT || in == FREQUENT;
}

/* ---- S3-FIFO: a small queue on probation, the main one, ghosts ---- */

enum { SMALL, MAIN, GHOST };

static void s3_evict_main(struct cache *c)
{
	for (;;) {
		uint32_t old = take_oldest(c, MAIN);

		if (!c->freq[old])
			return;
		c->freq[old]--;
		put_newest(c, MAIN, old);
	}
}

static void s3_evict(struct cache *c)
{
	while (c->list[SMALL].nr >= c->room / 10) {
		uint32_t old = take_oldest(c, SMALL);

		if (c->freq[old] > 1) {
			c->freq[old] = 0;
			put_newest(c, MAIN, old);
			continue;
		}
		if (c->list[GHOST].nr >= c->room - c->room / 10)
			take_oldest(c, GHOST);
		put_newest(c, GHOST, old);
		return;
	}
	s3_evict_main(c);
}

static bool s3_fifo(struct cache *c, uint32_t page)
{
	bool ghost = c->in[page] == GHOST;

	if (c->in[page] == SMALL || c->in[page] == MAIN) {
		c->freq[page] += c->freq[page] < 3;
		return true;
	}
	if (ghost)
		take_out(c, page);
	while (c->list[SMALL].nr + c->list[MAIN].nr >= c->room)
		s3_evict(c);
	c->freq[page] = 0;
	put_newest(c, ghost ? MAIN : SMALL, page);
	return false;
}

static const struct classic {
	const char *name;
	bool (*access)(struct cache *c, uint32_t page);
} classics[] = {
	{"fifo", fifo}, {"lru", lru}, {"clock", second_chance}, {"arc", arc}, {"s3-fifo", s3_fifo},
};

#endif
