/* SPDX-License-Identifier: Apache-2.0 */
/* rmem pool: the servers of the runs on this machine, and how one of them leaves or comes. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/session.h"
#include "client/supervisor_print.h"
#include "common/base/err.h"
#include "common/base/units.h"
#include "tools/cli.h"
#include "tools/runs.h"
#include "tools/sampler.h"

#define PROBE_MS   3000
#define LOOK_US	   20000
#define PATIENCE_S 30 /* without a page that moved */

struct pool_options {
	pid_t only;	/* 0: all runs */
	uint64_t bytes; /* of one that comes; 0: as much as the others have */
};

struct run_list {
	struct stats *run;
	size_t nr;
};

static const char *const state_text[] = {[PART_OPEN] = "in use",
					 [PART_DRAINS] = "drains",
					 [PART_LEFT] = "has left",
					 [PART_LOST] = "is lost"};

static int set_run(void *ctx, const char *value)
{
	return sampler_parse_pid(value, &((struct pool_options *)ctx)->only);
}

static int set_size(void *ctx, const char *value)
{
	struct pool_options *o = ctx;
	int err = units_parse_size(value, &o->bytes);

	o->bytes = (o->bytes + PAGE_BYTES - 1) & PAGE_MASK;
	return err;
}

static const struct cli_option pool_table[] = {
	{.name = "size",
	 .value = "SIZE",
	 .help = "add: how much of the server's memory (as much as the others have)",
	 .set = set_size},
	{.name = "run",
	 .value = "PID",
	 .help = "this run alone, not all that there are (see rmem stat)",
	 .set = set_run},
};

/* Whose header it is may have written what he likes there. */
static int read_run(pid_t pid, struct stats *st)
{
	int err = sampler_read(pid, st);

	if (st->header.nr_servers > RUN_MAX_SERVERS)
		st->header.nr_servers = RUN_MAX_SERVERS;
	for (unsigned int i = 0; i < RUN_MAX_SERVERS; i++)
		st->header.server[i].spec[RUN_SPEC_BYTES - 1] = '\0';
	return err;
}

static int look_at_one(pid_t pid, struct run_list *out)
{
	out->run = calloc(1, sizeof(*out->run));
	out->nr = 1;
	return out->run ? read_run(pid, out->run) : err_set(-ENOMEM, "out of memory");
}

/* @out->run is to be freed, also on error. */
static int look(pid_t only, struct run_list *out)
{
	pid_t *pid = NULL;
	size_t nr = 0;
	int err;

	*out = (struct run_list){NULL, 0};
	if (only)
		return look_at_one(only, out);
	err = runs_find(&pid, &nr);
	if (err)
		return err_set(err, "/proc: %s", strerror(-err));
	out->run = calloc(nr + 1, sizeof(*out->run));
	for (size_t i = 0; out->run && i < nr; i++)
		if (!read_run(pid[i], &out->run[out->nr])) /* else it has just ended */
			out->nr++;
	free(pid);
	return out->run ? 0 : err_set(-ENOMEM, "out of memory");
}

static const char *name_of(const struct stats *st, unsigned int i, char name[RUN_SPEC_BYTES * 4])
{
	return print_escape(name, (size_t)RUN_SPEC_BYTES * 4, st->header.server[i].spec);
}

static const char *size_of(char buf[32], uint64_t bytes)
{
	return units_format_size(buf, 32, bytes);
}

/* ---- ls ---- */

static int list(const struct run_list *all)
{
	char name[RUN_SPEC_BYTES * 4], here[32], of[32];

	if (!all->nr)
		printf("no rmem is running here that you may look at\n");
	else
		printf("%8s %3s  %-9s %12s %12s  %s\n", "RUN", "NR", "STATE", "HOLDS", "OF",
		       "SERVER");
	for (size_t k = 0; k < all->nr; k++) {
		const struct stats *st = &all->run[k];

		for (unsigned int i = 0; i < st->header.nr_servers; i++)
			printf("%8d %3u  %-9s %12s %12s  %s\n", (int)st->header.supervisor_pid,
			       i + 1, state_text[st->core.part[i] % CORE_PARTS],
			       size_of(here, st->core.part_pages[i] * PAGE_BYTES),
			       size_of(of, st->header.server[i].bytes), name_of(st, i, name));
	}
	return cli_flush();
}

/* ---- status ---- */

/* Has it been shown already? */
static bool is_known(const struct run_list *all, size_t run, unsigned int server)
{
	const char *spec = all->run[run].header.server[server].spec;

	for (size_t k = 0; k <= run; k++)
		for (unsigned int i = 0; i < (k == run ? server : all->run[k].header.nr_servers);
		     i++)
			if (!strcmp(all->run[k].header.server[i].spec, spec))
				return true;
	return false;
}

static void show_server(const struct run_list *all, size_t run, unsigned int server)
{
	const char *spec = all->run[run].header.server[server].spec;
	char name[RUN_SPEC_BYTES * 4], held[32], left[32] = "-", of[32] = "-";
	uint64_t pages = 0, free_bytes, capacity_bytes;
	unsigned int runs = 0;
	int err;

	for (size_t k = 0; k < all->nr; k++)
		for (unsigned int i = 0; i < all->run[k].header.nr_servers; i++)
			if (!strcmp(all->run[k].header.server[i].spec, spec)) {
				pages += all->run[k].core.part_pages[i];
				runs++;
			}
	err = strcmp(spec, "private") ? session_probe(spec, PROBE_MS, &free_bytes, &capacity_bytes)
				      : -ENOTSUP;
	if (!err) {
		size_of(left, free_bytes);
		size_of(of, capacity_bytes);
	}
	printf("%-8s %12s %12s %12s %5u  %s\n",
	       !err		 ? "yes"
	       : err == -ENOTSUP ? "-"
				 : "no",
	       size_of(held, pages * PAGE_BYTES), left, of, runs,
	       name_of(&all->run[run], server, name));
	if (err && err != -ENOTSUP)
		printf("         %s\n", err_text(err));
}

static int status(const struct run_list *all)
{
	if (!all->nr)
		printf("no rmem is running here that you may look at\n");
	else
		printf("%-8s %12s %12s %12s %5s  %s\n", "ANSWERS", "HOLDS OURS", "FREE", "OF",
		       "RUNS", "SERVER");
	for (size_t k = 0; k < all->nr; k++)
		for (unsigned int i = 0; i < all->run[k].header.nr_servers; i++)
			if (!is_known(all, k, i))
				show_server(all, k, i);
	return cli_flush();
}

/* ---- drain ---- */

static int refuse_drain(const struct stats *st, unsigned int i)
{
	char name[RUN_SPEC_BYTES * 4], size[32];

	return err_set(-ENOSPC,
		       "rmem %d: the other servers have no room for %s of %s: it stays as it is",
		       (int)st->header.supervisor_pid,
		       size_of(size, st->core.part_pages[i] * PAGE_BYTES), name_of(st, i, name));
}

/* Until nothing of the run is there any more. */
static int wait_until_left(pid_t pid, struct run_header *h, unsigned int i)
{
	uint64_t start_ns = sampler_now_ns(), moved_ns = start_ns, least = UINT64_MAX;
	char name[RUN_SPEC_BYTES * 4];
	struct stats st;

	for (;; usleep(LOOK_US)) {
		uint64_t now = sampler_now_ns();

		if (read_run(pid, &st)) {
			printf("rmem %d has ended, and needs no server any more\n", (int)pid);
			return 0;
		}
		if (st.core.part[i] == PART_LEFT)
			break;
		if (st.core.part[i] == PART_LOST)
			return err_set(-EPIPE, "rmem %d: %s is lost, and what is there", (int)pid,
				       name_of(&st, i, name));
		if (__atomic_load_n(&h->refused_drain, __ATOMIC_ACQUIRE) >> i & 1)
			return refuse_drain(&st, i);
		if (st.core.part_pages[i] < least) {
			least = st.core.part_pages[i];
			moved_ns = now;
		}
		if (now - moved_ns > PATIENCE_S * 1000000000ULL)
			return err_set(-ETIMEDOUT,
				       "rmem %d: %lu pages are still at %s, and for %d s none has"
				       " moved: it goes on when it can",
				       (int)pid, (unsigned long)st.core.part_pages[i],
				       name_of(&st, i, name), PATIENCE_S);
	}
	printf("rmem %d: %s has left after %.1f s: nothing of this run is there any more\n",
	       (int)pid, name_of(&st, i, name), (double)(sampler_now_ns() - start_ns) / 1e9);
	return 0;
}

static int drain_one(const struct stats *st, unsigned int i)
{
	pid_t pid = st->header.supervisor_pid;
	char name[RUN_SPEC_BYTES * 4];
	struct run_header *h;
	int err;

	if (st->header.nr_servers == 1)
		return err_set(-EINVAL,
			       "rmem %d: %s is its only server: there is nowhere to move its pages",
			       (int)pid, name_of(st, i, name));
	err = runs_map(pid, &h);
	if (err)
		return err;
	__atomic_fetch_and(&h->refused_drain, ~(1U << i), __ATOMIC_ACQ_REL);
	__atomic_fetch_or(&h->wanted_drain, 1U << i, __ATOMIC_ACQ_REL);
	err = wait_until_left(pid, h, i);
	if (err == -ENOSPC)
		__atomic_fetch_and(&h->wanted_drain, ~(1U << i), __ATOMIC_ACQ_REL);
	munmap(h, sizeof(*h));
	return err;
}

/* By its text, or by its number in rmem pool ls. */
static bool is_named(const struct stats *st, unsigned int i, const char *server)
{
	char number[16];

	snprintf(number, sizeof(number), "%u", i + 1);
	return !strncmp(st->header.server[i].spec, server, RUN_SPEC_BYTES - 1) ||
	       !strcmp(number, server);
}

static int drain(const struct run_list *all, const char *server)
{
	unsigned int found = 0;
	int err = 0;

	for (size_t k = 0; k < all->nr; k++)
		for (unsigned int i = 0; i < all->run[k].header.nr_servers; i++)
			if (is_named(&all->run[k], i, server)) {
				int one = drain_one(&all->run[k], i);

				found++;
				if (one)
					cli_refuse("pool", "%s", err_text(one));
				err = one ? one : err;
			}
	if (!found)
		return cli_refuse("pool", "no run here has a server '%.60s': see rmem pool ls",
				  server);
	return err ? RUN_EXIT_FAILED : cli_flush();
}

/* ---- add ---- */

/* Who asked before may have been killed. */
static int begin_asking(const struct stats *st, struct run_join *j)
{
	int32_t was = __atomic_load_n(&j->asker_pid, __ATOMIC_ACQUIRE);

	if ((was && (!kill(was, 0) || errno != ESRCH)) ||
	    !__atomic_compare_exchange_n(&j->asker_pid, &was, (int32_t)getpid(), false,
					 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return err_set(-EBUSY, "rmem %d: another server is just being added: try again",
			       (int)st->header.supervisor_pid);
	if (__atomic_load_n(&j->state, __ATOMIC_ACQUIRE) == RUN_JOIN_WANTED)
		return err_set(-EBUSY, "rmem %d: it has not looked at the last that was added",
			       (int)st->header.supervisor_pid);
	__atomic_store_n(&j->state, RUN_JOIN_WRITTEN, __ATOMIC_RELEASE);
	return 0;
}

static int wait_for_answer(pid_t pid, struct run_join *j)
{
	uint64_t start_ns = sampler_now_ns();
	struct stats st;

	for (;; usleep(LOOK_US)) {
		uint32_t state = __atomic_load_n(&j->state, __ATOMIC_ACQUIRE);
		char why[sizeof(j->why)];

		if (state == RUN_JOIN_DONE)
			return 0;
		if (state == RUN_JOIN_REFUSED) {
			memcpy(why, j->why, sizeof(why));
			why[sizeof(why) - 1] = '\0';
			return err_set(-ENOSPC, "rmem %d: %s", (int)pid, why);
		}
		if (read_run(pid, &st))
			return err_set(-ESRCH, "rmem %d has ended", (int)pid);
		if (sampler_now_ns() - start_ns > PATIENCE_S * 1000000000ULL)
			return err_set(-ETIMEDOUT, "rmem %d says nothing for %d s", (int)pid,
				       PATIENCE_S);
	}
}

static int add_to(const struct stats *st, const char *spec, uint64_t bytes)
{
	pid_t pid = st->header.supervisor_pid;
	struct run_header *h;
	int err = runs_map(pid, &h);

	if (err)
		return err;
	err = begin_asking(st, &h->join);
	if (!err) {
		snprintf(h->join.spec, sizeof(h->join.spec), "%s", spec);
		h->join.bytes = bytes;
		__atomic_store_n(&h->join.state, RUN_JOIN_WANTED, __ATOMIC_RELEASE);
		err = wait_for_answer(pid, &h->join);
		__atomic_store_n(&h->join.asker_pid, 0, __ATOMIC_RELEASE);
	}
	munmap(h, sizeof(*h));
	return err;
}

/* Asked here first: the run's pager would let its job wait for the answer. */
static int check_server(const char *spec, uint64_t bytes)
{
	uint64_t free_bytes, capacity_bytes;
	char there[32], wanted[32];
	int err = session_probe(spec, PROBE_MS, &free_bytes, &capacity_bytes);

	if (err == -ENOTSUP)
		return 0;
	return err || free_bytes >= bytes
		       ? err
		       : err_set(-ENOSPC, "%.100s has %s free, %s wanted: say --size", spec,
				 size_of(there, free_bytes), size_of(wanted, bytes));
}

static int add(const struct run_list *all, const char *spec, uint64_t bytes)
{
	const struct stats *st = all->run;
	char name[RUN_SPEC_BYTES * 4], size[32];
	int err;

	if (all->nr != 1)
		return cli_refuse("pool", all->nr ? "there are several runs: say which by --run PID"
						  : "no rmem is running here that you may look at");
	if (!bytes)
		bytes = st->header.remote_bytes / st->header.nr_servers & PAGE_MASK;
	err = check_server(spec, bytes);
	if (!err)
		err = add_to(st, spec, bytes);
	if (err)
		return cli_refuse("pool", "%s", err_text(err));
	printf("rmem %d: %s has come, and keeps up to %s\n", (int)st->header.supervisor_pid,
	       print_escape(name, sizeof(name), spec), size_of(size, bytes));
	return cli_flush();
}

static int pool_main(char **argv)
{
	struct pool_options o = {0};
	struct run_list all;
	int rest, rc;
	enum cli_parsed how = cli_parse(&cli_pool, argv, &o, &rest);
	const char *what = how == CLI_GO ? argv[rest] : NULL;
	bool drains = what && !strcmp(what, "drain"), adds = what && !strcmp(what, "add");

	if (how != CLI_GO)
		return cli_exit(how);
	if (!what || (!drains && !adds && strcmp(what, "ls") && strcmp(what, "status")))
		return cli_usage_error("pool", "ls, status, add or drain is missing: rmem pool ls");
	if (drains && !argv[rest + 1])
		return cli_usage_error("pool", "which server? rmem pool ls tells what there is");
	if (adds && !argv[rest + 1])
		return cli_usage_error("pool", "which server? for example tcp:memhost");
	if (argv[rest + 1 + (drains || adds)])
		return cli_usage_error("pool", "'%s' is too much",
				       argv[rest + 1 + (drains || adds)]);
	if (o.bytes && !adds)
		return cli_usage_error("pool", "--size belongs to add");
	if (look(o.only, &all))
		rc = cli_refuse("pool", "%s", err_text(-EIO));
	else if (drains)
		rc = drain(&all, argv[rest + 1]);
	else if (adds)
		rc = add(&all, argv[rest + 1], o.bytes);
	else
		rc = strcmp(what, "ls") ? status(&all) : list(&all);
	free(all.run);
	return rc;
}

const struct cli_command cli_pool = {
	.name = "pool",
	.summary = "Shows the servers of running jobs; one leaves, another comes.",
	.usage = "ls|status|drain SERVER|add SERVER [--size SIZE] [--run PID]",
	.examples = "  rmem pool ls                          which run has what where\n"
		    "  rmem pool status                      do they answer, what is free\n"
		    "  rmem pool add tcp:other --run 4711    takes pages of a running job, too\n"
		    "  rmem pool drain tcp:memhost           moves its pages to the others\n",
	.option = pool_table,
	.nr_options = sizeof(pool_table) / sizeof(pool_table[0]),
	.mixed = true,
	.main = pool_main,
};
