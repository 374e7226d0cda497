/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the store mirror share with each other. A mirror keeps every page in
 * several stores, its copies:
 *
 *	     lost for good, refused what another took, or late
 *	LIVE --------------------------------------------------> LOST, or never asked: spare
 *	  ^                                                        | its server answers again:
 *	  |  all that is needed is there                    v a new, empty lease
 *	  +---------------------------------------------------- JOINING
 *
 * A write is done when all copies that are not lost have it; a read is asked of the
 * LIVE one that answers fastest, and of another when that takes unusually long. So
 * what a LIVE copy has is always what was last written, and nothing that a copy had
 * before it was lost is ever looked at again. The next process goes on with a copy that
 * joins where this one was.
 */
#ifndef RMEM_STORE_MIRROR_H
#define RMEM_STORE_MIRROR_H

#include <pthread.h>

#include "client/store/open.h"

#define MIRROR_COPIES	 3U
#define MIRROR_FLIGHTS	 4096U /* requests at once */
#define MIRROR_RESYNCS	 64U   /* of them, pages on their way to a copy that joins */
#define MIRROR_TICK_NS	 1000000ULL
#define MIRROR_LATE	 1000U	/* ticks without any answer: lost, if there is another */
#define MIRROR_STUCK	 10000U /* ticks without an answer to one request */
#define MIRROR_HEDGE_MIN 2U	/* ticks before another copy is asked */

enum copy_state { COPY_LIVE, COPY_JOINING, COPY_LOST };

struct copy {
	struct store *store; /* NULL: lost */
	enum copy_state state;
	struct spec *spec;
	struct handover *handover; /* NULL: nobody goes on with it */
	char name[96];
	uint64_t read_ns;    /* mean of late */
	uint32_t heard_tick; /* when it last answered */
	bool answers;	     /* atomic: lost, but its server has been heard of */
	bool is_spare;	     /* has not been needed yet */
};

enum flight_kind {
	FLIGHT_FREE,
	FLIGHT_READ,
	FLIGHT_WRITE,
	FLIGHT_COPY, /* from a live copy, then to the one that joins */
};

/* Bit sets are of copies. */
struct flight {
	struct store_req req;
	uint8_t kind;	 /* enum flight_kind */
	uint8_t wanted;	 /* to be asked as soon as they take more */
	uint8_t pending; /* asked, not answered */
	uint8_t done;	 /* have answered with 0 */
	uint8_t failed;
	bool answered; /* who asked us has his answer: a copy may be at it still */
	int err;       /* the last */
	uint64_t asked_ns;
	uint32_t asked_tick;
	uint32_t next_free;
};

struct mirror {
	struct store store;
	struct store_open_args args;
	struct copy copy[MIRROR_COPIES];
	unsigned int nr;
	unsigned int wanted; /* so many of them are to be LIVE */
	struct handover *handover;
	struct flight flight[MIRROR_FLIGHTS];
	uint32_t active[MIRROR_FLIGHTS], nr_active;
	uint32_t place[MIRROR_FLIGHTS]; /* of a flight in active[] */
	uint32_t free_head, nr_wanted;
	char *bounce; /* a page for each flight and copy: who is late may still write there */
	struct store_done out[MIRROR_FLIGHTS];
	uint32_t out_head, out_tail;
	uint8_t dying;	  /* copies found lost, not buried yet */
	uint64_t batches; /* that were handed over by the caller */

	/* time */
	int epoll_fd, timer_fd, event_fd;
	bool ticking;
	uint32_t tick;
	uint64_t tick_ns;

	/* healing (mirror_heal.c) */
	uint64_t *written;     /* slots that hold something, or may */
	uint64_t *writing;     /* slots, now */
	uint64_t resync_bytes; /* a second, at most */
	uint64_t next_slot, filled_said, resynced, budget, budget_ns;
	uint32_t nr_resyncs;
	uint64_t resync_slot[MIRROR_RESYNCS];
	pthread_t prober;
	bool probing, closing;
	bool seeks; /* atomic: one that answers is needed */
};

static inline bool bit_has(const uint64_t *set, uint64_t i)
{
	return set[i / 64] >> (i % 64) & 1;
}

/* ---- mirror.c ---- */

/* Says to the next process which copies are good. */
void mirror_hand_over(struct mirror *m);

/* The mirror's descriptor tells of this one's, too. 0 or -errno with err text. */
int mirror_watch(struct mirror *m, struct store *kid);

/* ---- mirror_flight.c ---- */

/* Takes a request that came in. There must be a free flight. */
void flight_begin(struct mirror *m, const struct store_req *req);

/* A page of @slot for the copy @joining. */
void flight_begin_copy(struct mirror *m, uint64_t slot);

/* Asks what is wanted, hears what is answered, deals with who is late or lost. */
void flights_run(struct mirror *m);

/* The copy is not to be believed any more; it is buried by flights_run(). */
void copy_lose(struct mirror *m, unsigned int c, const char *why);

unsigned int mirror_live(const struct mirror *m); /* how many */

/* ---- mirror_probe.c ---- */

/* Sees to it that lost copies are looked for, until told otherwise. */
void probe_look(struct mirror *m);
void probe_rest(struct mirror *m);

/* Waits for the thread that looks. */
void probe_stop(struct mirror *m);

/* ---- mirror_heal.c ---- */

/* Opens what answers again, and fills the one that joins. */
void heal_run(struct mirror *m);

/* All slots below this one that are needed are good in the copy that joins. */
uint64_t heal_filled(const struct mirror *m);

/* True: the slot is on its way to a copy that joins, and must not change. */
bool heal_holds(const struct mirror *m, uint64_t slot);

/* The page has arrived at the joining copy; or hasn't, and the copy is lost. */
void heal_arrived(struct mirror *m, uint64_t slot);

#endif
