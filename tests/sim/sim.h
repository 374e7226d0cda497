/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seeded simulator: the core, driven as the pager drives it, over a model
 * of the kernel, a random job, a random store. One seed, one run, one event
 * log; everything random comes from sim_rnd().
 */
#ifndef RMEM_TESTS_SIM_SIM_H
#define RMEM_TESTS_SIM_SIM_H

#include "client/core/core.h"
#include "tests/sim/model.h"
#include "tests/sim/stack.h"

#define SIM_PROCS    8
#define SIM_JOURNAL  8
#define SIM_INFLIGHT 32
#define SIM_MAX_PINS 8

/* What this seed does to the core. Percentages unless the name says more. */
struct sim_config {
	unsigned int win, nr_wins;
	unsigned int cap_pages, nr_frames, nr_slots;
	unsigned int threads, procs;
	unsigned int ops[16]; /* weights by enum mop_type, then pin and exec */
	unsigned int write_pct, hot_pct, slack_pct;
	unsigned int w_job, w_pager, w_agent, w_store; /* weights of the actors */
	unsigned int store_depth, store_err_pct, corrupt_pct, copies, ahead_pages, fast;
	unsigned int agent_fail_pct, enomem_pct, batch, register_pct;
	unsigned int place_least, place_refused_pct;
	bool store_dies, sigbus, roomy, quiesce, strict_cap, unordered, no_zero_page, scattered;
	bool elastic;		  /* the cap moves */
	bool lends;		  /* the store shows its pages */
	unsigned int join_rare;	  /* one round in so many it becomes one that doesn't; 0: none */
	bool at_hand;		  /* so does scratch */
	bool guard_shared;	  /* a fork guards what is there */
	unsigned int writes_pct;  /* of faults are said to be writes */
	unsigned int guard_pct;	  /* of what is to be filled guarded is */
	unsigned int merge_rare;  /* one step in so many takes a page's guard away; 0: none */
	unsigned int pressed_pct; /* a fault waits to be heard of */
	bool in_order;		  /* so the store answers, many at a time */
	unsigned int parts, drain_rare; /* of the store; one in so many events drains one */
	bool stack;			/* of filters, over leaves: stack.h */
	bool parts_go;			/* of a pool, when they are lost; not all of it */
	bool kind;			/* no more is lost at once than mirrors bear */
	unsigned int haste;		/* of the filters' clock */
	unsigned int loss_rare;		/* one step of the store in so many loses a leaf; 0: none */
	unsigned int crash_rare;	/* one round in so many is the driver's last; 0: none */
};

enum { SIM_OP_PIN = 13, SIM_OP_EXEC = 14, SIM_OP_EXIT = 15 };

struct sim_proc {
	bool used;
	uint8_t space, nr_tasks;
	uint8_t task[4];
	uint16_t hot;  /* page around which it works */
	uint16_t scan; /* next page of the last check */
};

enum sim_cmd_state { CMD_FREE, CMD_QUEUED, CMD_DONE };

struct sim_move {
	uint8_t state; /* enum sim_cmd_state */
	bool overtaken, undropped;
	uint8_t order;
	unsigned int next; /* page of @want to look at */
	uint64_t chunk_va;
	pageset want, known, moved, busy, invalid;
};

struct sim_place {
	uint8_t state; /* enum sim_cmd_state */
	bool overtaken;
	uint8_t order;
	unsigned int next; /* page of @want to look at */
	uint64_t chunk_va;
	pageset want, placed, present;
	uint64_t value[CHUNK_PAGES];
};

enum sim_agent { AGENT_NO, AGENT_WANTED, AGENT_READY };

/* What the driver and capture know of a space, beside the model's truth. */
struct sim_space {
	uint32_t id; /* 0: not known to the core */
	uint8_t agent;
	bool known, gone_told;
	bool untold;			  /* registered mappings that the core doesn't know */
	bool unsettled, unproven, forked; /* forked: since it was settled */
	uint8_t nr_journal, nr_events;	  /* read and not given; of them no faults */
	struct mmsg journal[SIM_JOURNAL];
	struct sim_move move[CORE_HALVES];
	struct sim_place place;
	bool drop[CORE_HALVES]; /* not needed any more: when it is committed */
	uint8_t order;
	uint8_t populate; /* enum sim_cmd_state */
	int populate_task, populate_err;
	unsigned int populate_next;
	uint64_t populate_va;
	pageset populate_want;
	bool quiescing;
	uint32_t quiesce_seq[MODEL_TASKS];
	uint8_t not_inherited[128]; /* bitmap: pages whose bytes this child did not get */
};

struct sim_req {
	uint64_t slot, value;
	uint8_t *buf;
	uint32_t tag;
	uint8_t op, avoid;
	bool urgent;
	bool may_fail; /* of a stack: when it was asked, no copy was both live and sound */
};

struct sim_pin {
	uint32_t phys;
	uint8_t space;
	uint32_t id;
	uint16_t page;
};

struct sim {
	struct model m;
	struct sim_config cfg;
	struct core *core;
	uint64_t seed, rnd, hash, step, now_ns, next_value;
	uint32_t next_id, next_tid;
	bool log, lost, draining, scanning;
	enum core_loss lost_why;
	bool corrupted, poisoned;
	unsigned int ops_sum;
	struct sim_proc proc[SIM_PROCS];
	struct sim_space sp[MODEL_SPACES];
	uint8_t by_id[1 << 16]; /* space index by id */
	struct mmsg giving;	/* to the core, now */
	unsigned int giver;	/* its space's index + 1; 0: no event is given */
	uint64_t events_given;
	bool crashed;
	uint64_t takeovers;
	struct sim_pin pin[SIM_MAX_PINS];
	unsigned int nr_pins;

	struct store store;
	uint64_t slot_value[SIM_MAX_SLOTS], slot_before[SIM_MAX_SLOTS];
	uint8_t slot_state[SIM_MAX_SLOTS];
	uint8_t slot_reads[SIM_MAX_SLOTS]; /* in flight */
	struct sim_req inflight[SIM_INFLIGHT];
	unsigned int nr_inflight;
	struct store_done done[SIM_INFLIGHT];
	unsigned int nr_done;
	bool store_dead;
	struct sim_stack stack;
	bool part_left[STORE_PARTS];

	uint8_t *arena;
	uint64_t arena_bytes;
	uint64_t planned[16]; /* as many as ahead_pages may be */
	uint64_t limit_pages; /* that are local, at most */
	uint64_t moves, fills, reads;
};

static inline uint64_t sim_rnd(struct sim *w)
{
	uint64_t x = w->rnd;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	w->rnd = x;
	return x * 0x2545f4914f6cdd1dULL >> 16;
}

static inline unsigned int sim_below(struct sim *w, unsigned int n)
{
	return (unsigned int)((sim_rnd(w) & 0xffffffff) * n >> 32);
}

static inline bool sim_pct(struct sim *w, unsigned int pct)
{
	return sim_below(w, 100) < pct;
}

/* ---- world.c ---- */
enum sim_kind {
	EV_STEP,
	EV_FAULT,
	EV_REMOVE,
	EV_UNMAP,
	EV_REMAP,
	EV_FORK,
	EV_FILL,
	EV_ALLOW,
	EV_ZERO,
	EV_WAKE,
	EV_POISON,
	EV_SCAN,
	EV_MOVE,
	EV_MOVED,
	EV_COPY,
	EV_DROP,
	EV_POPULATE,
	EV_POPULATED,
	EV_PLACE,
	EV_PLACED,
	EV_AGENT,
	EV_QUIESCE,
	EV_SUBMIT,
	EV_DONE,
	EV_LOST,
	EV_OP,
	EV_OPDONE,
	EV_ADD,
	EV_RANGE,
	EV_GONE,
	EV_READ,
	EV_EXIT,
	EV_CRASH,
	EV_TAKEOVER,
	EV_SERVER,
	EV_KINDS
};
void sim_event(struct sim *w, enum sim_kind kind, uint64_t a, uint64_t b, uint64_t c);
void sim_fail(struct sim *w, const char *fmt, ...) __attribute__((noreturn, format(printf, 2, 3)));
void sim_choose_config(struct sim *w);

/* A page of memory that stands for @value, and back. */
void sim_expand(void *page, uint64_t value);
bool sim_value(const void *page, uint64_t *value);

/* ---- capture.c, store.c, env.c ---- */
extern const struct capture_ops sim_capture_ops;
extern const struct store_ops sim_store_ops;
extern const struct env_ops sim_env_ops;
extern const struct store_ops sim_lending_ops;
extern const struct policy_ops sim_policy_ops;
struct sim_space *sim_space_of(struct sim *w, space_id id, unsigned int *s);
void sim_agent_step(struct sim *w);
enum { SLOT_NEVER, SLOT_WRITTEN, SLOT_WRITING };
void sim_check_order(struct sim *w, const struct store_req *req, unsigned int nr);
void sim_take_req(struct sim *w, const struct store_req *r); /* as it may be asked */
void sim_store_step(struct sim *w, bool all);
void sim_store_join(struct sim *w);    /* another takes its place */
void sim_store_drain(struct sim *w);   /* one of its parts, if it has any */
void sim_store_drained(struct sim *w); /* fails if one could have left and has not */

/* ---- job.c ---- */
void sim_job_start(struct sim *w);
void sim_job_step(struct sim *w);

/* Let every task finish; true when one of them got further. */
bool sim_job_drain(struct sim *w);
bool sim_job_idle(const struct sim *w);
void sim_job_end(struct sim *w);
/* Nothing is pinned, locked or read-only any more. */
void sim_job_loosen(struct sim *w);

/* ---- pager.c ---- */
void sim_pager_round(struct sim *w, bool thorough);
void sim_register_all(struct sim *w, unsigned int s);
void sim_manage(struct sim *w);
bool sim_pager_idle(const struct sim *w);
void sim_given(struct sim *w, unsigned int s); /* the first in the journal is done with */
void sim_answer_taken(struct sim *w, unsigned int s, unsigned int h);
void sim_drop_halves(struct sim *w, unsigned int s);

/* ---- takeover.c ---- */
/* What drives the core dies, at a store of its; and another goes on. */
void sim_crash(struct sim *w);
void sim_takeover(struct sim *w);

/* ---- main.c ---- */
struct core_config sim_core_config(const struct sim *w);
struct core_binds sim_core_binds(struct sim *w);

#endif
