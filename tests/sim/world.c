/* SPDX-License-Identifier: Apache-2.0 */
/* Event log, failures, what a page looks like, and what a seed stands for. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

static const char *const kind_names[EV_KINDS] = {
	"step",	   "fault",  "remove",	 "unmap",     "remap", "fork",	   "fill",
	"allow",   "zero",   "wake",	 "poison",    "scan",  "move",	   "moved",
	"copy",	   "drop",   "populate", "populated", "place", "placed",   "agent",
	"quiesce", "submit", "done",	 "lost",      "op",    "opdone",   "add",
	"range",   "gone",   "read",	 "exit",      "crash", "takeover", "server",
};

void sim_event(struct sim *w, enum sim_kind kind, uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t h = w->hash;

	h = (h ^ (a + ((uint64_t)kind << 56))) * 0x9e3779b97f4a7c15ULL;
	h = (h ^ (h >> 29) ^ b) * 0xbf58476d1ce4e5b9ULL;
	h = (h ^ (h >> 32) ^ c) * 0x94d049bb133111ebULL;
	w->hash = h ^ (h >> 31);
	if (w->log)
		printf("%8" PRIu64 " %-9s %" PRIx64 " %" PRIx64 " %" PRIx64 "\n", w->step,
		       kind_names[kind], a, b, c);
}

void sim_fail(struct sim *w, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "rmem_sim: FAILED seed %" PRIu64 " event %" PRIu64 ": ", w->seed, w->step);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	exit(1);
}

/* All words equal, so that any part of another page shows. */
void sim_expand(void *page, uint64_t value)
{
	uint64_t *word = page;

	for (unsigned int k = 0; k < PAGE_BYTES / sizeof(*word); k++)
		word[k] = value;
}

bool sim_value(const void *page, uint64_t *value)
{
	const uint64_t *word = page;
	uint64_t differ = 0;

	for (unsigned int k = 0; k < PAGE_BYTES / sizeof(*word); k++)
		differ |= word[k] ^ word[0];
	*value = word[0];
	return !differ;
}

static unsigned int one_of(struct sim *w, const unsigned int *list, unsigned int nr)
{
	return list[sim_below(w, nr)];
}

#define ONE_OF(w, ...)                                 \
	one_of(w, (const unsigned int[]){__VA_ARGS__}, \
	       sizeof((const unsigned int[]){__VA_ARGS__}) / sizeof(unsigned int))

static void choose_sizes(struct sim *w)
{
	struct sim_config *c = &w->cfg;
	unsigned int pages;

	c->win = ONE_OF(w, 4, 8, 12, 16, 24, 40);
	c->nr_wins = ONE_OF(w, 1, 2, 3, 4);
	if (sim_pct(w, 3)) {
		c->win = CHUNK_PAGES;
		c->nr_wins = 1 + sim_below(w, 2);
	}
	pages = c->win * c->nr_wins;
	c->threads = 1 + sim_below(w, 4);
	c->procs = 1 + sim_below(w, SIM_PROCS);
	c->nr_frames = ONE_OF(w, 2, 3, 4, 8, 16, 64);
	c->roomy = sim_pct(w, 60);
	c->nr_slots = c->roomy ? SIM_SLOTS : pages + sim_below(w, pages * 3);
	if (c->nr_slots > SIM_SLOTS)
		c->nr_slots = SIM_SLOTS;
	c->cap_pages = c->nr_frames + 6 + pages * (10 + sim_below(w, 120)) / 100;
}

static void choose_job(struct sim *w)
{
	static const unsigned int base[16] = {
		[MOP_READ] = 400,  [MOP_WRITE] = 400,	[MOP_MMAP] = 6,	    [MOP_MUNMAP] = 6,
		[MOP_MREMAP] = 10, [MOP_DONTNEED] = 12, [MOP_FREE] = 4,	    [MOP_MPROTECT] = 4,
		[MOP_FLAG] = 3,	   [MOP_MLOCK] = 2,	[MOP_POPULATE] = 2, [MOP_FORK] = 4,
		[SIM_OP_PIN] = 4,  [SIM_OP_EXEC] = 1,	[SIM_OP_EXIT] = 2,
	};
	struct sim_config *c = &w->cfg;

	for (unsigned int k = MOP_READ; k < 16; k++)
		c->ops[k] = base[k] * ONE_OF(w, 0, 1, 1, 1, 2, 8);
	c->ops[MOP_READ] = 100 + sim_below(w, 900);
	c->ops[MOP_WRITE] = 100 + sim_below(w, 900);
	c->hot_pct = sim_below(w, 100);
	c->register_pct = ONE_OF(w, 5, 30, 100);
}

void sim_choose_config(struct sim *w)
{
	struct sim_config *c = &w->cfg;

	memset(c, 0, sizeof(*c));
	choose_sizes(w);
	choose_job(w);
	c->w_job = ONE_OF(w, 20, 40, 80);
	c->w_pager = ONE_OF(w, 3, 10, 30);
	c->w_agent = ONE_OF(w, 2, 10, 30);
	c->w_store = ONE_OF(w, 1, 4, 10, 30);
	c->store_depth = ONE_OF(w, 1, 2, 8, SIM_INFLIGHT);
	c->store_err_pct = ONE_OF(w, 0, 0, 0, 2, 10);
	c->corrupt_pct = sim_pct(w, 10) ? ONE_OF(w, 1, 5) : 0;
	c->copies = ONE_OF(w, 0, 0, 0, 2, 3);
	c->store_dies = sim_pct(w, 3);
	c->sigbus = sim_pct(w, 50);
	c->ahead_pages = ONE_OF(w, 0, 0, 1, 4, 16, 16);
	c->fast = ONE_OF(w, 0, 0, 1, 4);
	c->agent_fail_pct = sim_pct(w, 5) ? 30 : 0;
	c->place_least = ONE_OF(w, 1, 2, 4, CHUNK_PAGES);
	c->place_refused_pct = ONE_OF(w, 0, 10, 50);
	c->enomem_pct = sim_pct(w, 10) ? 2 : 0;
	c->batch = ONE_OF(w, 1, 1, 2, 4, SIM_JOURNAL);
	c->quiesce = sim_pct(w, 70);
	c->scattered = sim_pct(w, 50);
	c->strict_cap = sim_pct(w, 20);
	c->unordered = sim_pct(w, 15);
	c->no_zero_page = sim_pct(w, 25);
	c->in_order = sim_pct(w, 40);
	c->lends = !c->copies && !c->corrupt_pct && sim_pct(w, 80);
	c->at_hand = sim_pct(w, 50);
	c->guard_pct = ONE_OF(w, 0, 50, 100, 100);
	c->guard_shared = sim_pct(w, 50);
	c->writes_pct = ONE_OF(w, 0, 0, 30);
	c->merge_rare = ONE_OF(w, 0, 0, 5, 50);
	c->pressed_pct = ONE_OF(w, 0, 20, 90);
	c->join_rare = c->lends ? ONE_OF(w, 0, 0, 100, 1000) : 0;
	c->elastic = sim_pct(w, 30);
	c->parts = c->join_rare ? 0 : ONE_OF(w, 0, 0, 2, 3, 5);
	c->drain_rare = ONE_OF(w, 500, 3000, 10000);
	c->crash_rare = core_can_be_taken_over() ? ONE_OF(w, 0, 0, 10, 100) : 0;
	if (c->strict_cap || c->unordered)
		c->ops[MOP_FORK] = 0; /* whose order relative to a remap can't be told */
	if (c->strict_cap)
		c->ops[SIM_OP_PIN] = c->agent_fail_pct = 0; /* no populate, nobody exempt */
	sim_stack_choose(w);
}
