/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filters as they are (mirror, fault, pool) under the core, in a stack that the seed
 * chooses, before model leaves that are lost, silent, empty and wrong:
 *
 *	core -- gate (gate.c: what the core may ask, what it may be told)
 *	          |
 *	        pool of 1 to 4 parts (stack_choose.c)
 *	          |-- [fault] mirror -- [fault] leaf
 *	          |                 `-- [fault] leaf (leaf.c: a server, and a lease of it)
 *	          `-- [fault] leaf
 */
#ifndef RMEM_TESTS_SIM_STACK_H
#define RMEM_TESTS_SIM_STACK_H

#include "client/store/mirror.h"

#define SIM_SLOTS     8192
#define SIM_MORE      64U /* that come later */
#define SIM_MAX_SLOTS (SIM_SLOTS + SIM_MORE)
#define SIM_PARTS     4U
#define SIM_LEAVES    (SIM_PARTS * MIRROR_COPIES)

/* Whatever is made to go wrong, and how often it did. */
enum sim_point {
	POINT_DIES,	/* a server, for good */
	POINT_RESTARTS, /* comes back empty */
	POINT_VANISHES, /* silent at first */
	POINT_SILENT,	/* for a while */
	POINT_REFUSES,	/* it answers, and leases nothing */
	POINT_SMALL,	/* or too little */
	POINT_ERRORS,	/* a request */
	POINT_WRONG,	/* a page */
	POINT_FAIL,	/* of store fault, as it calls them */
	POINT_STUCK,
	POINT_LOST,
	POINT_ROT,
	POINT_FLIP,
	POINT_ZERO,
	POINT_STALE,
	POINT_SWAP,
	POINT_TORN,
	POINTS
};

/* A server, where it stands in the stack, and what it may be blamed for. */
struct sim_leaf {
	struct sim_lease *lease; /* NULL: nobody has one */
	unsigned int part, copy;
	bool down, short_lease;
	uint64_t back_step;   /* 0: never */
	uint64_t silent_step; /* until then */
	unsigned int err_pct, lie_pct;
	uint8_t point;	  /* what goes wrong here of itself: POINTS: nothing */
	bool fails, lies; /* by that */
	bool tainted;	  /* has been filled from one that lies */
	bool hit;	  /* something happened to the server since it was leased */
	bool healed;	  /* was lost since the start, and is whole again */
	enum copy_state was;
};

struct sim_part {
	char spec[512];
	uint64_t first, nr_slots;
	unsigned int nr; /* copies; 1: it is no mirror */
	struct mirror *mirror;
	uint8_t point; /* of the filter above the mirror */
	bool fails, lies;
	bool gone; /* lost, and the pool goes on */
};

struct sim_stack {
	struct store *top;
	struct sim_part part[SIM_PARTS];
	unsigned int nr_parts;
	struct handover handover[HANDOVER_NODES]; /* as if in shared memory */
	struct sim_leaf leaf[SIM_LEAVES];	  /* by part and copy */
	bool running;				  /* opened, not being closed */
	bool dying;				  /* with the driver: leases outlive it */
	bool excused;				  /* what the job met justifies a stop */
	uint8_t errors[SIM_SLOTS];		  /* of a slot, in a row */
	bool dropped[SIM_SLOTS];
	bool spoiled[SIM_SLOTS]; /* a slot has given a wrong page */
};

/* Of all seeds. */
struct sim_stack_total {
	uint64_t seeds, mirrors, lost, healed, alone, wrong, parts, stops, point[POINTS];
};
extern struct sim_stack_total sim_stack_total;

struct sim;

/* ---- stack_choose.c ---- */
void sim_stack_choose(struct sim *w);

/* ---- stack.c ---- */
extern const char *const sim_point_name[POINTS];

/* Opens what was chosen; @handover: of the driver before, if there was one. False: it has
 * left too little, and the job is stopped. */
bool sim_stack_open(struct sim *w, struct handover *handover);
void sim_stack_close(struct sim *w);

/* The process that had the filters is no more. */
void sim_stack_die(struct sim *w);

/* Whatever happens beside the core. @all: nothing new goes wrong. */
void sim_stack_step(struct sim *w, bool all);

/* What never answers is all that is left of a mirror: true, and it is lost. */
bool sim_stack_hangs(struct sim *w);

/* What can be healed is; fails if it is not in the end. */
void sim_stack_heal(struct sim *w);

/* What was acknowledged is there, in every copy that may be read. */
void sim_stack_check(struct sim *w);

void sim_stack_report(void);

struct sim_leaf *sim_leaf_of(struct sim *w, unsigned int part, unsigned int copy);
const char *sim_leaf_name(const struct sim_leaf *l); /* valid until the next call */

/* Each of them may be read. */
unsigned int sim_part_live(const struct sim *w, unsigned int part);

bool sim_leaves_live(struct sim *w, unsigned int part);

/* No copy can be trusted. */
bool sim_part_lies(struct sim *w, unsigned int part);

/* ---- leaf.c ---- */
int sim_leaf_open(struct sim *w, struct sim_leaf *l, const struct store_open_args *args,
		  struct store **out);
bool sim_leaf_answers(const struct sim *w, const struct sim_leaf *l);
bool sim_leaf_serves(const struct sim_leaf *l);	       /* what it has */
void sim_leaf_orphan(struct sim_leaf *l);	       /* whose it was is no more */
bool sim_leaf_end(struct sim_leaf *l);		       /* false: somebody has a lease of it */
void sim_leaf_calm(struct sim *w, struct sim_leaf *l); /* what will pass has soon passed */
void sim_leaf_step(struct sim *w, struct sim_leaf *l, bool all);
void sim_leaf_lose(struct sim *w, struct sim_leaf *l, enum sim_point how);

/* What it has at @slot of its own is @value. */
bool sim_leaf_has(const struct sim_leaf *l, uint64_t slot, uint64_t value);

/* ---- gate.c ---- */
extern const struct store_ops sim_gate_ops;

/* The store is lost: is it to be believed? */
void sim_gate_lost(struct sim *w, int err);
void sim_gate_look(struct sim *w); /* or parts of it */

#endif
