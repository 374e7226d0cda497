/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rmem_sim [--seeds A..B] [--seed S] [--events N] [--seconds N] [--log] [--twice] [--unordered]
 *
 * Runs each seed: a random part, then everything in flight must come to its
 * end, every page is read once more, every process exits, and nothing may be
 * left. Prints one line and exits 0, or says which seed failed and exits 1.
 */
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "common/base/log.h"
#include "tests/sim/sim.h"

#define ARENA_BYTES  (64UL << 20)
#define HANG_ROUNDS  1000U
#define STACK_ROUNDS 13000U /* a mirror waits longest, for one request */

static struct sim *world;
static struct {
	uint64_t first, last, events, seconds;
	bool log, twice, unordered;
} opt = {1, 100, 20000, 0, false, false, false};

static struct {
	uint64_t seeds, moves, fills, reads, lost[8], hash, forks, left, joined, overtaken,
		deferred, takeovers, known, allowed;
} total;

static void model_failed(void *ctx, const char *what, unsigned int space, unsigned int page,
			 uint64_t value) __attribute__((noreturn));
static void model_failed(void *ctx, const char *what, unsigned int space, unsigned int page,
			 uint64_t value)
{
	struct sim *w = ctx;

	sim_fail(w, "%s: space %u page %u (va %" PRIx64 "): %" PRIx64 ", not %" PRIx64, what,
		 w->sp[space].id, page, model_va(&w->m, page), value,
		 w->m.space[space].page[page].want);
}

/* An assertion of the core failed: say which seed. */
static void aborted(int sig)
{
	static char text[128];
	int n = snprintf(text, sizeof(text),
			 "rmem_sim: FAILED seed %" PRIu64 " event %" PRIu64 ": signal %d\n",
			 world->seed, world->step, sig);

	if (write(2, text, (size_t)n) < 0)
		_exit(2);
	_exit(1);
}

static uint64_t mix(uint64_t x)
{
	x = (x + 0x9e3779b97f4a7c15ULL) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return (x ^ x >> 31) | 1;
}

static void reset(struct sim *w, uint64_t seed)
{
	struct model *m = &w->m;

	memset((char *)w + sizeof(w->m), 0, sizeof(*w) - sizeof(w->m));
	w->seed = seed;
	w->rnd = mix(seed);
	w->next_id = w->next_tid = 1;
	w->log = opt.log;
	w->now_ns = 1000000000;
	sim_choose_config(w);
	if (model_init(m, w->cfg.win, w->cfg.nr_wins, 0x7f0000000000ULL + CHUNK_BYTES))
		sim_fail(w, "out of memory");
	m->unordered = opt.unordered || w->cfg.unordered;
	m->no_zero_page = w->cfg.no_zero_page;
	m->fail = model_failed;
	m->fail_ctx = w;
	m->lazy_state = (uint32_t)seed;
}

struct core_config sim_core_config(const struct sim *w)
{
	return (struct core_config){.cap_bytes = w->cfg.cap_pages * PAGE_BYTES,
				    .nr_frames = w->cfg.nr_frames,
				    .max_slots = w->cfg.join_rare ? w->cfg.nr_slots + SIM_MORE : 0,
				    .on_loss_sigbus = w->cfg.sigbus,
				    .place_least = w->cfg.place_least};
}

struct core_binds sim_core_binds(struct sim *w)
{
	return (struct core_binds){.capture = &sim_capture_ops,
				   .capture_ctx = w,
				   .policy = &sim_policy_ops,
				   .policy_ctx = w,
				   .env = &sim_env_ops,
				   .env_ctx = w,
				   .store = &w->store};
}

static void open_store(struct sim *w)
{
	if (w->cfg.stack) {
		sim_stack_open(w, w->stack.handover);
		return;
	}
	w->store = (struct store){.ops = w->cfg.lends ? &sim_lending_ops : &sim_store_ops,
				  .nr_slots = w->cfg.nr_slots,
				  .copies = w->cfg.copies,
				  .scattered = w->cfg.scattered,
				  .nr_parts = w->cfg.parts};
	for (unsigned int i = 0; i < w->cfg.parts; i++)
		w->store.part_end[i] = w->cfg.nr_slots * (i + 1UL) / w->cfg.parts;
}

static void open_core(struct sim *w)
{
	struct core_config cfg = sim_core_config(w);
	struct core_binds binds = sim_core_binds(w);

	w->arena = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (w->arena == MAP_FAILED)
		sim_fail(w, "no memory for the arena");
	open_store(w);
	w->arena_bytes = ARENA_BYTES;
	if (core_open(w->arena, ARENA_BYTES, &cfg, &binds, &w->core))
		sim_fail(w, "core_open() failed");
}

/* What is in the job is nowhere else. */
static void check_space(struct sim *w, unsigned int s)
{
	const struct sim_space *sp = &w->sp[s];
	const struct mspace *msp = &w->m.space[s];

	if (!sp->known || sp->gone_told || !msp->alive || sp->nr_journal || msp->changing ||
	    msp->nr_events || sp->place.state != CMD_FREE) /* placed, and not yet answered */
		return;
	for (unsigned int i = 0; i < w->m.nr_pages; i++) {
		enum rec_state st =
			core_page_state(w->core, (space_id){sp->id}, model_va(&w->m, i));

		if (msp->page[i].phys &&
		    (st == REC_STANDBY || st == REC_REMOTE || st == REC_FETCHING))
			sim_fail(w, "page %u of space %u is there, and kept in state %d", i, sp->id,
				 st);
	}
}

static void check(struct sim *w)
{
	core_check(w->core);
	if (w->cfg.stack)
		sim_stack_check(w);
	for (unsigned int s = 0; s < MODEL_SPACES && !core_in_doubt(w->core); s++)
		check_space(w, s);
}

static void random_part(struct sim *w)
{
	const struct sim_config *c = &w->cfg;
	unsigned int all = c->w_job + c->w_pager + c->w_agent + c->w_store + 3;

	for (uint64_t n = 0; n < opt.events && !w->lost; n++) {
		unsigned int pick = sim_below(w, all);

		w->step++;
		w->now_ns += 1000 + sim_below(w, 20000);
		if (pick < c->w_job)
			sim_job_step(w);
		else if (pick < c->w_job + c->w_pager)
			sim_pager_round(w, false);
		else if (pick < c->w_job + c->w_pager + c->w_agent)
			sim_agent_step(w);
		else if (pick < c->w_job + c->w_pager + c->w_agent + c->w_store)
			sim_store_step(w, false);
		else
			sim_manage(w);
		if (w->cfg.parts && !w->crashed && !sim_below(w, w->cfg.drain_rare))
			sim_store_drain(w);
		if (n % 1024 == 1023 && !w->lost && !w->crashed)
			check(w);
	}
}

static void report_hang(struct sim *w)
{
	for (unsigned int t = 0; t < MODEL_TASKS; t++) {
		const struct mtask *tk = &w->m.task[t];

		if (tk->used && tk->op.type != MOP_NONE)
			sim_fail(w,
				 "hang: thread %u of space %u, call %u, waits %u at page %u (va "
				 "%" PRIx64 ")",
				 tk->tid, w->sp[tk->space].id, tk->op.type, tk->wait, tk->page,
				 model_va(&w->m, tk->page));
	}
	sim_fail(w, "hang: the pager does not come to rest");
}

static void drain(struct sim *w)
{
	unsigned int patience = w->cfg.stack ? STACK_ROUNDS : HANG_ROUNDS, still = 0, rounds = 0;
	uint64_t moves = 0;

	while (!w->lost && !(sim_job_idle(w) && sim_pager_idle(w))) {
		w->step++;
		w->now_ns += 20000000;
		still = sim_job_drain(w) || w->moves != moves ? 0 : still + 1;
		moves = w->moves;
		sim_manage(w);
		for (unsigned int k = 0; k < 64; k++)
			sim_agent_step(w);
		sim_store_step(w, true);
		sim_pager_round(w, true);
		if (still > patience && w->cfg.stack && sim_stack_hangs(w))
			still = 0;
		if (still > patience || ++rounds > 50 * HANG_ROUNDS)
			report_hang(w);
	}
}

/* After the last process nothing may be left of any. */
static void bury_all(struct sim *w)
{
	const struct core_stats *stats = core_stats(w->core);

	sim_job_end(w);
	for (unsigned int n = 0; n < 100 && !w->lost; n++) {
		w->now_ns += 20000000;
		sim_store_step(w, true);
		sim_pager_round(w, true);
	}
	if (w->lost)
		return;
	core_check(w->core);
	if (w->crashed)
		sim_fail(w, "nobody took over");
	if (stats->remote_pages || stats->spaces || stats->chunks || core_busy(w->core))
		sim_fail(w, "left: %lu slots, %lu spaces, %lu chunks, busy %d",
			 (unsigned long)stats->remote_pages, (unsigned long)stats->spaces,
			 (unsigned long)stats->chunks, core_busy(w->core));
	if (w->m.phys_used)
		sim_fail(w, "model: %u pages left", w->m.phys_used);
}

static void count(struct sim *w)
{
	const struct core_stats *stats = core_stats(w->core);

	total.seeds++;
	total.moves += w->moves;
	total.fills += w->fills;
	total.reads += w->reads;
	total.forks += stats->events_fork;
	total.joined += stats->faults_joined;
	total.known += stats->pages_known;
	total.allowed += stats->faults_write;
	total.overtaken += stats->moves_overtaken;
	total.deferred += stats->faults_deferred;
	for (unsigned int i = 0; i < w->cfg.parts; i++)
		total.left += w->part_left[i];
	total.takeovers += w->takeovers;
	if (w->lost)
		total.lost[w->lost_why]++;
	total.hash = mix(total.hash ^ w->hash);
}

static uint64_t run_seed(struct sim *w, uint64_t seed)
{
	reset(w, seed);
	open_core(w);
	sim_job_start(w);
	random_part(w);
	w->draining = true;
	sim_job_loosen(w);
	drain(w);
	w->scanning = true;
	drain(w);
	sim_store_drained(w);
	if (w->cfg.stack && !w->lost)
		sim_stack_heal(w);
	if (w->lost && !w->crashed)
		core_run(w->core);
	bury_all(w);
	count(w);
	core_close(w->core);
	if (w->cfg.stack)
		sim_stack_close(w);
	munmap(w->arena, ARENA_BYTES);
	if (opt.log)
		printf("seed %" PRIu64 " hash %016" PRIx64 "\n", seed, w->hash);
	return w->hash;
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t v = strtoull(text, &end, 10);

	if (end == text || (*end && strncmp(end, "..", 2) != 0)) {
		fprintf(stderr, "rmem_sim: not a number: %s\n", text);
		exit(2);
	}
	return v;
}

static void parse(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (!strcmp(argv[i], "--log")) {
			opt.log = true;
			continue;
		}
		if (!strcmp(argv[i], "--unordered")) {
			opt.unordered = true;
			continue;
		}
		if (!strcmp(argv[i], "--twice")) {
			opt.twice = true;
			continue;
		}
		if (!strcmp(argv[i], "--seeds")) {
			opt.first = number(value);
			opt.last =
				strstr(value, "..") ? number(strstr(value, "..") + 2) : opt.first;
		} else if (!strcmp(argv[i], "--seed")) {
			opt.first = opt.last = number(value);
		} else if (!strcmp(argv[i], "--events")) {
			opt.events = number(value);
		} else if (!strcmp(argv[i], "--seconds")) {
			opt.seconds = number(value);
		} else {
			fprintf(stderr, "usage: rmem_sim [--seeds A..B] [--seed S] [--events N] "
					"[--seconds N] [--twice] [--unordered] [--log]\n");
			exit(2);
		}
		i++;
	}
}

int main(int argc, char **argv)
{
	time_t start = time(NULL);

	parse(argc, argv);
	log_set_level(opt.log ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR);
	mallopt(M_MMAP_THRESHOLD, 32 << 20); /* what filters are made of is used again */
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	world = calloc(1, sizeof(*world));
	if (!world)
		return 2;
	signal(SIGABRT, aborted);
	signal(SIGSEGV, aborted);
	for (uint64_t seed = opt.first; seed <= opt.last; seed++) {
		uint64_t hash = run_seed(world, seed);

		if (opt.twice && run_seed(world, seed) != hash)
			sim_fail(world, "the same seed took another course");
		if (opt.seconds && (uint64_t)(time(NULL) - start) >= opt.seconds)
			break;
	}
	printf("seeds %" PRIu64 " fills %" PRIu64 " moves %" PRIu64 " reads %" PRIu64
	       " forks %" PRIu64 " left %" PRIu64 " joined %" PRIu64 " overtaken %" PRIu64
	       " deferred %" PRIu64 " known %" PRIu64 " allowed %" PRIu64 " takeovers %" PRIu64
	       " lost sum %" PRIu64 " store %" PRIu64 " space %" PRIu64 " full %" PRIu64
	       " cap %" PRIu64 " hash %016" PRIx64 "\n",
	       total.seeds, total.fills, total.moves, total.reads, total.forks, total.left,
	       total.joined, total.overtaken, total.deferred, total.known, total.allowed,
	       total.takeovers, total.lost[LOSS_SUM], total.lost[LOSS_STORE],
	       total.lost[LOSS_SPACE], total.lost[LOSS_FULL], total.lost[LOSS_CAP], total.hash);
	sim_stack_report();
	model_fini(&world->m);
	free(world);
	return 0;
}
