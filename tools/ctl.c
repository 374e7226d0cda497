/* SPDX-License-Identifier: Apache-2.0 */
/* rmem ctl: change a run while it goes on. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/core/types.h"
#include "client/elastic.h"
#include "client/run.h"
#include "client/supervisor_stats.h"
#include "common/base/err.h"
#include "common/base/units.h"
#include "common/meminfo.h"
#include "tools/cli.h"
#include "tools/runs.h"
#include "tools/sampler.h"

/* The pager looks every 50 ms at most; one that is stopped, or waits for a server,
 * looks later. */
#define ANSWER_TRIES 100
#define TRY_US	     50000

struct ctl_options {
	uint64_t local_bytes; /* 0: none given */
	bool local_auto;
};

static int set_local(void *ctx, const char *value)
{
	struct ctl_options *o = ctx;
	struct meminfo mem;
	int err = meminfo_mine(&mem);

	o->local_auto = !strcmp(value, "auto");
	if (o->local_auto)
		return 0;
	if (!err)
		err = units_parse_share(value, mem.total_bytes, &o->local_bytes);
	if (!err && o->local_bytes < RUN_LOCAL_MIN)
		err = err_set(-ERANGE, "'%.40s' is too small: the smallest cap is 16M", value);
	o->local_bytes &= PAGE_MASK;
	return err;
}

static const struct cli_option ctl_table[] = {
	{.name = "local",
	 .value = "auto|SIZE|PCT",
	 .help = "the job may keep so much here from now on; what is more\n"
		 "leaves at once. auto: what the host can spare",
	 .set = set_local},
};

static int check_least(pid_t pid, const struct stats *st, uint64_t want)
{
	const struct run_header *h = &st->header;
	uint64_t all = st->core.local_bytes + st->core.remote_pages * PAGE_BYTES;
	uint64_t least = elastic_least(h->least_local_bytes, all, h->remote_bytes);
	char a[32], b[32];

	if (want >= least)
		return 0;
	return err_set(-ERANGE, "rmem %d: %s is too small: %s; at least --local %s", (int)pid,
		       units_format_size(a, sizeof(a), want),
		       least > h->least_local_bytes ? "its servers have no room for the rest"
						    : "it was started with more standing by",
		       units_format_size(b, sizeof(b), least));
}

/* Asked through the memory that the run shares with whoever may look at it. */
static int ask(pid_t pid, struct run_header *h, uint64_t want)
{
	struct stats st;

	if (h->cap == RUN_CAP_AUTO)
		__atomic_store_n(&h->cap, RUN_CAP_FIXED, __ATOMIC_RELEASE);
	__atomic_store_n(&h->wanted_local_bytes, want, __ATOMIC_RELEASE);
	for (int i = 0; i < ANSWER_TRIES; i++) {
		if (__atomic_load_n(&h->local_bytes, __ATOMIC_ACQUIRE) == want)
			return 0;
		if (sampler_read(pid, &st))
			return err_set(-ESRCH, "rmem %d has just ended", (int)pid);
		usleep(TRY_US);
	}
	return err_set(-ETIMEDOUT, "rmem %d does not answer: it will do so when it goes on",
		       (int)pid);
}

static int set_auto(pid_t pid, struct run_header *h)
{
	if (h->cap == RUN_CAP_HERE)
		return err_set(
			-EINVAL,
			"rmem %d: its remote pages are on this machine, too: a lower cap would"
			" free nothing for others",
			(int)pid);
	__atomic_store_n(&h->cap, RUN_CAP_AUTO, __ATOMIC_RELEASE);
	printf("rmem %d: local cap is what the host can spare\n", (int)pid);
	return 0;
}

static int set_size(pid_t pid, struct run_header *h, const struct stats *st, uint64_t want)
{
	char was[32], is[32];
	int err = check_least(pid, st, want);

	if (!err)
		err = ask(pid, h, want);
	if (!err)
		printf("rmem %d: local cap %s, was %s\n", (int)pid,
		       units_format_size(is, sizeof(is), want),
		       units_format_size(was, sizeof(was), st->header.local_bytes));
	return err;
}

static int change(pid_t pid, const struct ctl_options *o)
{
	struct run_header *h;
	struct stats st;
	int err = sampler_read(pid, &st);

	if (!err)
		err = runs_map(pid, &h);
	if (err)
		return err;
	err = o->local_auto ? set_auto(pid, h) : set_size(pid, h, &st, o->local_bytes);
	munmap(h, sizeof(*h));
	return err;
}

static int ctl_main(char **argv)
{
	struct ctl_options o = {0};
	enum cli_parsed how;
	pid_t pid;
	int rest;

	how = cli_parse(&cli_ctl, argv, &o, &rest);
	if (how != CLI_GO)
		return cli_exit(how);
	if (!argv[rest])
		return cli_usage_error("ctl", "a process number is missing: see rmem stat");
	if (argv[rest + 1])
		return cli_usage_error("ctl", "'%s' is too much: one process at a time",
				       argv[rest + 1]);
	if (sampler_parse_pid(argv[rest], &pid))
		return cli_usage_error("ctl", "%s", err_text(-EINVAL));
	if (!o.local_bytes && !o.local_auto)
		return cli_usage_error("ctl", "nothing to change: for example --local 2G");
	if (change(pid, &o))
		return cli_refuse("ctl", "%s", err_text(-EIO));
	return cli_flush();
}

const struct cli_command cli_ctl = {
	.name = "ctl",
	.summary = "Changes a running rmem: what the job may keep here.",
	.usage = "PID --local auto|SIZE|PCT",
	.examples = "  rmem ctl 4711 --local 2G\n"
		    "  rmem ctl 4711 --local auto\n"
		    "  rmem ctl $(pgrep -ox rmem) --local 512M\n",
	.option = ctl_table,
	.nr_options = sizeof(ctl_table) / sizeof(ctl_table[0]),
	.mixed = true,
	.main = ctl_main,
};
