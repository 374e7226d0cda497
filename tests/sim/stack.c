/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filters over leaves: opened, given time, and what is to be seen of what befalls them: a
 * mirror goes on without a copy, has it healed, and lives on that one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>

#include "client/store/aside.h"
#include "client/store/clock.h"
#include "client/store/pool.h"
#include "tests/sim/sim.h"

#define HEAL_ROUNDS 30000U
#define CALM_STEPS  1000U

struct sim_stack_total sim_stack_total;
static struct sim *sim; /* filters have no place for it */

const char *const sim_point_name[POINTS] = {
	"dies",	 "restarts", "vanishes", "silent", "refuses", "small", "errors", "wrong", "fail",
	"stuck", "lost",     "rot",	 "flip",   "zero",    "stale", "swap",	 "torn",
};

/* ---- what filters have of the world ---- */

uint64_t store_now_ns(void)
{
	return sim->now_ns * sim->cfg.haste;
}

/* In the place of the kernel's: nobody would sleep until it tells. */
int timerfd_settime(int fd, int flags, const struct itimerspec *to, struct itimerspec *was)
{
	(void)fd;
	(void)flags;
	(void)to;
	(void)was;
	return 0;
}

void store_close_aside(struct store *s)
{
	s->ops->close(s);
}

/* At times that the seed chooses, instead of a thread that waits. */
void probe_look(struct mirror *m)
{
	for (unsigned int c = 0; c < m->nr; c++)
		if (m->copy[c].state == COPY_LOST && !m->copy[c].answers && !sim_below(sim, 16))
			m->copy[c].answers = !m->args.probe_kid(m->copy[c].spec, 1);
}

void probe_rest(struct mirror *m)
{
	(void)m;
}

void probe_stop(struct mirror *m)
{
	(void)m;
}

/* ---- who is who ---- */

struct sim_leaf *sim_leaf_of(struct sim *w, unsigned int part, unsigned int copy)
{
	return &w->stack.leaf[part * MIRROR_COPIES + copy];
}

const char *sim_leaf_name(const struct sim_leaf *l)
{
	static char name[64];

	snprintf(name, sizeof(name), "copy %u of part %u", l->copy, l->part);
	return name;
}

unsigned int sim_part_live(const struct sim *w, unsigned int part)
{
	const struct mirror *m = w->stack.part[part].mirror;

	return m ? mirror_live(m) : w->stack.leaf[part * MIRROR_COPIES].lease != NULL;
}

/* The same, of which no mirror is asked: it may be closed already. */
bool sim_leaves_live(struct sim *w, unsigned int part)
{
	bool any = false;

	for (unsigned int c = 0; c < w->stack.part[part].nr; c++)
		any |= sim_leaf_of(w, part, c)->was == COPY_LIVE;
	return any;
}

bool sim_part_lies(struct sim *w, unsigned int part)
{
	bool all = true;

	for (unsigned int c = 0; c < w->stack.part[part].nr; c++)
		all &= sim_leaf_of(w, part, c)->lies || sim_leaf_of(w, part, c)->tainted;
	return all || w->stack.part[part].lies;
}

static bool has_left(const struct sim *w, unsigned int part)
{
	return w->part_left[part] || w->stack.part[part].gone;
}

/* ---- opening ---- */

static int open_any(const struct spec *spec, const struct store_open_args *args, struct store **out)
{
	const struct spec *leaf = spec;
	int err;

	if (!strcmp(spec->scheme, "sim"))
		return sim_leaf_open(sim, &sim->stack.leaf[atoi(spec->rest)], args, out);
	if (!strcmp(spec->scheme, "fault"))
		return store_fault_type.open(spec, args, out);
	err = store_mirror_type.open(spec, args, out);
	while (leaf->nr_kids)
		leaf = leaf->kid[0];
	if (!err)
		sim->stack.part[atoi(leaf->rest) / MIRROR_COPIES].mirror = (struct mirror *)*out;
	return err;
}

static int probe_any(const struct spec *spec, unsigned int timeout_ms)
{
	(void)timeout_ms;
	while (spec->nr_kids)
		spec = spec->kid[0];
	return sim_leaf_answers(sim, &sim->stack.leaf[atoi(spec->rest)]) ? 0 : -ECONNREFUSED;
}

static struct pool_part open_part(struct sim *w, unsigned int i, uint64_t nr_slots,
				  struct handover *handover)
{
	struct store_open_args args = {.bytes = nr_slots * PAGE_BYTES,
				       .sock_fd = -1,
				       .handover = handover,
				       .open_kid = open_any,
				       .probe_kid = probe_any};
	struct pool_part part = {.nr_slots = nr_slots, .handover = handover};
	const char *text = w->stack.part[i].spec;
	struct spec *spec = NULL;
	int err;

	if (w->log)
		printf("part %u: %s\n", i, text);
	err = spec_parse(text, &spec);
	part.nodes = handover_nodes(spec);
	if (!err && !has_left(w, i))
		err = open_any(spec, &args, &part.store);
	spec_free(spec);
	for (unsigned int c = 0; err && c < w->stack.part[i].nr; c++)
		if (!w->crashed || w->cfg.kind || sim_leaf_serves(sim_leaf_of(w, i, c)))
			sim_fail(w, "%s can't be opened: %d", text, err);
	return part;
}

/* A mirror that has nothing left is not gone on with. */
static bool give_up(struct sim *w, const struct pool_part *part)
{
	for (unsigned int i = 0; i < w->stack.nr_parts; i++)
		if (part[i].store)
			part[i].store->ops->close(part[i].store);
	w->stack.top = NULL;
	w->lost = true;
	w->lost_why = LOSS_STORE;
	sim_stack_total.stops++;
	return false;
}

bool sim_stack_open(struct sim *w, struct handover *handover)
{
	struct sim_stack *k = &w->stack;
	struct pool_part part[SIM_PARTS] = {{0}};
	uint64_t nr_slots = w->cfg.nr_slots / k->nr_parts;
	struct handover *of = handover + 1;
	bool all = true;

	sim = w;
	for (unsigned int i = 0; i < k->nr_parts; i++) {
		part[i] = open_part(w, i, nr_slots, of);
		k->part[i].first = i * nr_slots;
		k->part[i].nr_slots = nr_slots;
		of += part[i].nodes;
		all &= part[i].store || has_left(w, i);
		sim_stack_total.mirrors += !w->crashed && k->part[i].nr > 1;
	}
	if (!all)
		return give_up(w, part);
	k->top = part[0].store;
	if (k->nr_parts > 1 && store_pool_open(part, k->nr_parts, handover, &k->top))
		sim_fail(w, "a pool can't be opened");
	k->top->parts_may_go = w->cfg.sigbus && w->cfg.parts_go && k->nr_parts > 1;
	w->store = *k->top;
	w->store.ops = &sim_gate_ops;
	w->store.scattered = w->cfg.scattered;
	w->cfg.nr_slots = (unsigned int)w->store.nr_slots;
	w->cfg.parts = w->store.nr_parts;
	w->cfg.copies = w->store.copies;
	k->running = true;
	sim_stack_total.seeds += !w->crashed;
	return true;
}

void sim_stack_close(struct sim *w)
{
	w->stack.running = false;
	if (w->stack.top)
		w->stack.top->ops->close(w->stack.top);
	for (unsigned int i = 0; i < SIM_LEAVES; i++)
		if (!sim_leaf_end(&w->stack.leaf[i]))
			sim_fail(w, "%s: its lease is not given back",
				 sim_leaf_name(&w->stack.leaf[i]));
}

static void watch(struct sim *w, struct sim_leaf *l)
{
	const struct mirror *m = w->stack.part[l->part].mirror;

	if (!m || has_left(w, l->part) || l->was != COPY_JOINING ||
	    m->copy[l->copy].state != COPY_LIVE)
		return;
	l->was = COPY_LIVE;
	l->healed = true;
	sim_stack_total.healed++;
	sim_event(w, EV_SERVER, l->part, l->copy, POINTS + 2);
	sim_stack_check(w);
}

/* Its descriptors are closed with the rest of its memory: here there is but one process. */
static void forget_fds(struct handover *k)
{
	const struct handed *kept = handover_get(k);
	struct handed now;

	if (!kept)
		return;
	now = *kept;
	now.nr_fds = 0;
	handover_set(k, &now);
}

/* Nobody takes leave of a server. */
void sim_stack_die(struct sim *w)
{
	for (unsigned int i = 0; i < SIM_LEAVES; i++)
		watch(w, &w->stack.leaf[i]);
	w->stack.running = false;
	w->stack.dying = true;
	w->stack.top->ops->close(w->stack.top);
	w->stack.top = NULL;
	w->stack.dying = false;
	for (unsigned int i = 0; i < HANDOVER_NODES; i++)
		forget_fds(&w->stack.handover[i]);
	for (unsigned int i = 0; i < w->stack.nr_parts; i++)
		w->stack.part[i].mirror = NULL;
	for (unsigned int i = 0; i < SIM_LEAVES; i++)
		sim_leaf_orphan(&w->stack.leaf[i]);
	memset(w->stack.spoiled, 0, sizeof(w->stack.spoiled)); /* who knew that is no more */
}

/* ---- what befalls leaves ---- */

/* Will the job live on? Not if another is just about to be found too late. */
static bool can_be_spared(struct sim *w, const struct sim_leaf *l)
{
	const struct sim_part *p = &w->stack.part[l->part];

	for (unsigned int c = 0; c < p->nr; c++)
		if (!sim_leaf_serves(sim_leaf_of(w, l->part, c)) ||
		    w->step < sim_leaf_of(w, l->part, c)->silent_step + CALM_STEPS)
			return false;
	return p->nr > 1;
}

static void lose_one(struct sim *w)
{
	unsigned int part = sim_below(w, w->stack.nr_parts);
	struct sim_leaf *l = sim_leaf_of(w, part, sim_below(w, w->stack.part[part].nr));
	enum sim_point how = sim_below(w, 2) ? POINT_RESTARTS : sim_below(w, 4);
	bool alone = w->stack.part[part].nr == 1;

	if (has_left(w, part) || l->down)
		return;
	if (!w->cfg.kind || (alone && how == POINT_SILENT) || can_be_spared(w, l))
		sim_leaf_lose(w, l, how);
}

void sim_stack_step(struct sim *w, bool all)
{
	int n;

	if (w->cfg.loss_rare && !w->draining && !sim_below(w, w->cfg.loss_rare))
		lose_one(w);
	if (w->store_dead)
		return;
	for (unsigned int i = 0; i < SIM_LEAVES; i++) {
		struct sim_leaf *l = &w->stack.leaf[i];

		if (w->draining)
			sim_leaf_calm(w, l);
		if (all || sim_below(w, 2))
			sim_leaf_step(w, l, all);
		watch(w, l);
	}
	if (w->crashed)
		return;
	n = all || !sim_below(w, 3) ? w->stack.top->ops->reap(w->stack.top, NULL, 0) : 0;
	sim_gate_look(w);
	if (n < 0)
		sim_gate_lost(w, n);
}

/* ---- what is to be seen ---- */

static void check_leaf(struct sim *w, const struct sim_leaf *l)
{
	const struct sim_part *p = &w->stack.part[l->part];

	for (uint64_t slot = 0; slot < p->nr_slots; slot++)
		if (w->slot_state[p->first + slot] == SLOT_WRITTEN &&
		    !w->stack.dropped[p->first + slot] &&
		    !sim_leaf_has(l, slot, w->slot_value[p->first + slot]))
			sim_fail(w, "%s does not have slot %" PRIu64, sim_leaf_name(l), slot);
}

void sim_stack_check(struct sim *w)
{
	for (unsigned int i = 0; i < w->stack.nr_parts; i++) {
		const struct sim_part *p = &w->stack.part[i];

		for (unsigned int c = 0; c < p->nr && !has_left(w, i); c++) {
			const struct sim_leaf *l = sim_leaf_of(w, i, c);

			if (l->lease && l->was == COPY_LIVE && !l->lies && !l->tainted && !p->lies)
				check_leaf(w, l);
		}
	}
}

/* A lost one whose server is there; not where writes to it fail all the time. */
static const struct sim_leaf *unhealed(struct sim *w)
{
	for (unsigned int i = 0; i < w->stack.nr_parts; i++) {
		const struct sim_leaf *found = NULL;
		bool sick = false;

		for (unsigned int c = 0; c < w->stack.part[i].nr; c++) {
			const struct sim_leaf *l = sim_leaf_of(w, i, c);

			sick |= l->fails;
			if (l->was != COPY_LIVE && sim_leaf_answers(w, l))
				found = l;
		}
		if (found && !sick && !has_left(w, i))
			return found;
	}
	return NULL;
}

void sim_stack_heal(struct sim *w)
{
	for (unsigned int n = 0; (unhealed(w) || n < 50) && !w->store_dead; n++) {
		if (n > HEAL_ROUNDS)
			sim_fail(w, "%s is not healed", sim_leaf_name(unhealed(w)));
		w->step++;
		w->now_ns += 20000000;
		sim_stack_step(w, true);
	}
	sim_stack_check(w);
}

bool sim_stack_hangs(struct sim *w)
{
	for (unsigned int i = 0; i < w->stack.nr_parts && !w->stack.excused; i++) {
		for (unsigned int c = 0; c < w->stack.part[i].nr; c++)
			if (sim_leaf_of(w, i, c)->point == POINT_STUCK &&
			    sim_leaf_of(w, i, c)->was == COPY_LIVE && sim_part_live(w, i) == 1)
				w->stack.excused = w->store_dead = true;
	}
	return w->stack.excused;
}

void sim_stack_report(void)
{
	const struct sim_stack_total *t = &sim_stack_total;

	printf("stacks %" PRIu64 " mirrors %" PRIu64 " lost %" PRIu64 " healed %" PRIu64
	       " reads of healed alone %" PRIu64 " wrong %" PRIu64 " parts gone %" PRIu64
	       " stops %" PRIu64 ":",
	       t->seeds, t->mirrors, t->lost, t->healed, t->alone, t->wrong, t->parts, t->stops);
	for (unsigned int i = 0; i < POINTS; i++)
		printf(" %s %" PRIu64, sim_point_name[i], t->point[i]);
	printf("\n");
}
