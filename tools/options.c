/* SPDX-License-Identifier: Apache-2.0 */
/* options: what `rmem run` and `rmem attach` may be told. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/core/types.h"
#include "client/servers.h"
#include "client/session.h"
#include "common/base/err.h"
#include "common/base/units.h"
#include "common/config.h"
#include "common/meminfo.h"
#include "common/metrics/http.h"
#include "common/spec.h"
#include "tools/options.h"
#include "tools/settings.h"

#define REMOTE_MIN_BYTES   MIB(2)
#define HOST_RESERVE_BYTES MIB(256) /* a default never takes the last of the memory */

static int check_local_min(const char *text, uint64_t bytes)
{
	if (bytes >= RUN_LOCAL_MIN)
		return 0;
	return err_set(-ERANGE, "'%.40s' is too small: the smallest cap is 16M", text);
}

static void took(struct options *o, enum option_id id, const char *value)
{
	o->origin[id] = o->now;
	o->value[id] = value;
}

static int set_local(void *ctx, const char *value)
{
	struct options *o = ctx;
	struct meminfo mem;
	int err = meminfo_mine(&mem);

	took(o, OPTION_LOCAL, value);
	o->cfg.local_auto = !strcmp(value, "auto");
	if (o->cfg.local_auto)
		return 0;
	if (!err)
		err = units_parse_share(value, mem.total_bytes, &o->cfg.local_bytes);
	if (!err)
		err = check_local_min(value, o->cfg.local_bytes);
	return err;
}

static int set_remote(void *ctx, const char *value)
{
	struct options *o = ctx;
	int err = units_parse_size(value, &o->cfg.remote_bytes);

	if (!err && o->cfg.remote_bytes < REMOTE_MIN_BYTES)
		err = err_set(-ERANGE, "'%.40s' is too small: the smallest size is 2M", value);
	took(o, OPTION_REMOTE, value);
	return err;
}

static int check_scheme(const struct spec *s, const char *value)
{
	for (const struct store_type *const *t = session_stores(); *t; t++)
		if (!strcmp((*t)->scheme, s->scheme))
			return 0;
	return err_set(-EINVAL, "'%.80s': this rmem has no store '%.40s': see the help", value,
		       s->scheme);
}

static int set_server(void *ctx, const char *value)
{
	struct options *o = ctx;
	struct spec *s = NULL;
	int err = spec_parse(value, &s);

	if (!err)
		err = check_scheme(s, value);
	spec_free(s);
	if (!err && o->cfg.nr_servers == RUN_MAX_SERVERS)
		err = err_set(-E2BIG, "more than %d servers", RUN_MAX_SERVERS);
	if (err)
		return err;
	o->server_origin[o->cfg.nr_servers] = o->now;
	o->cfg.server[o->cfg.nr_servers++] = value;
	took(o, OPTION_SERVER, value);
	return 0;
}

static int set_stats(void *ctx, const char *value)
{
	struct options *o = ctx;

	if (!*value)
		return err_set(-EINVAL, "is empty: name a file");
	o->cfg.stats_path = value;
	took(o, OPTION_STATS, value);
	return 0;
}

static int set_file(const char *value, const char **path)
{
	if (!*value)
		return err_set(-EINVAL, "is empty: name a file");
	*path = value;
	return 0;
}

static int set_record(void *ctx, const char *value)
{
	struct options *o = ctx;

	took(o, OPTION_RECORD, value);
	return set_file(value, &o->cfg.record_path);
}

static int set_replay(void *ctx, const char *value)
{
	struct options *o = ctx;

	took(o, OPTION_REPLAY, value);
	return set_file(value, &o->cfg.replay_path);
}

static int set_summary(void *ctx, const char *value)
{
	struct options *o = ctx;

	took(o, OPTION_SUMMARY, value ? value : "yes");
	return config_parse_bool(o->value[OPTION_SUMMARY], &o->cfg.summary);
}

static int set_json_status_fd(void *ctx, const char *value)
{
	struct options *o = ctx;
	char *end;
	long fd = strtol(value, &end, 10);
	int flags;

	if (value[0] < '0' || value[0] > '9' || *end || fd > 1 << 20)
		return err_set(-EINVAL,
			       "'%.40s' is not a descriptor number: use --json-status-fd 3"
			       " 3>FILE",
			       value);
	flags = fcntl((int)fd, F_GETFL);
	if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
		return err_set(-EBADF,
			       "descriptor %ld is not open for writing: use"
			       " --json-status-fd 3 3>FILE",
			       fd);
	o->cfg.json_status_fd = (int)fd;
	took(o, OPTION_JSON_STATUS_FD, value);
	return 0;
}

static int set_metrics(void *ctx, const char *value)
{
	struct options *o = ctx;

	o->cfg.metrics = value;
	took(o, OPTION_METRICS, value);
	return metrics_check_address(value);
}

static int set_on_loss(void *ctx, const char *value)
{
	struct options *o = ctx;

	static const char *const word[] = {[RUN_ON_LOSS_KILL] = "kill",
					   [RUN_ON_LOSS_SIGBUS] = "sigbus",
					   [RUN_ON_LOSS_WAIT] = "wait"};

	took(o, OPTION_ON_LOSS, value);
	for (unsigned int i = 0; i < sizeof(word) / sizeof(word[0]); i++)
		if (!strcmp(value, word[i])) {
			o->cfg.on_loss = (enum run_on_loss)i;
			return 0;
		}
	return err_set(-EINVAL, "'%.40s' is unknown: kill, sigbus or wait", value);
}

static int set_bpf(void *ctx, const char *value)
{
	struct options *o = ctx;

	o->cfg.no_bpf = !strcmp(value, "off");
	took(o, OPTION_BPF, value);
	if (o->cfg.no_bpf || !strcmp(value, "auto"))
		return 0;
	return err_set(-EINVAL, "'%.40s' is unknown: auto or off", value);
}

static int set_policy(void *ctx, const char *value)
{
	struct options *o = ctx;

	o->cfg.policy = value;
	took(o, OPTION_POLICY, value);
	for (const struct policy_ops *const *p = session_policies(); *p; p++)
		if (!strcmp((*p)->name, value))
			return 0;
	return err_set(-EINVAL, "'%.40s' is unknown: default or readahead", value);
}

int options_set_config(struct options *o, const char *value)
{
	if (!*value)
		return err_set(-EINVAL, "is empty: name a file");
	o->config_path = value;
	took(o, OPTION_CONFIG, value);
	return 0;
}

static int set_config(void *ctx, const char *value)
{
	return options_set_config(ctx, value);
}

const struct cli_option options_table[OPTIONS_NR] = {
	[OPTION_LOCAL] = {.name = "local",
			  .value = "auto|SIZE|PCT",
			  .help = "hard cap on what the job keeps on this machine, at\n"
				  "least 16M; PCT is a share of all memory. auto (the\n"
				  "default): half of what is available, and then what\n"
				  "the host can spare",
			  .otherwise = "auto: half of what is available, then what can be spared",
			  .in_config = true,
			  .set = set_local},
	[OPTION_REMOTE] = {.name = "remote",
			   .value = "SIZE",
			   .help = "what the job may keep remotely (default: 3 times the\n"
				   "cap, or less when a private server can't spare that)",
			   .otherwise = "3 times local, or what the servers can spare",
			   .in_config = true,
			   .set = set_remote},
	[OPTION_SERVER] = {.name = "server",
			   .value = "SPEC",
			   .help = "a memory server, may be repeated (default: a private\n"
				   "rmemd on this machine, ended with the job)",
			   .otherwise = "a private rmemd on this machine",
			   .repeatable = true,
			   .in_config = true,
			   .set = set_server},
	[OPTION_STATS] = {.name = "stats",
			  .value = "FILE",
			  .help = "write counters as JSON at the end (rmem.stat/1)",
			  .otherwise = "not written",
			  .in_config = true,
			  .set = set_stats},
	[OPTION_RECORD] = {.name = "record",
			   .value = "FILE",
			   .help = "keep the order of the job's faults, for --replay",
			   .otherwise = "not kept",
			   .set = set_record},
	[OPTION_REPLAY] = {.name = "replay",
			   .value = "FILE",
			   .help = "bring pages back in the order of FILE, before they\n"
				   "are touched",
			   .otherwise = "by patterns alone",
			   .set = set_replay},
	[OPTION_SUMMARY] = {.name = "summary",
			    .help = "print a short table on stderr at the end",
			    .otherwise = "no",
			    .in_config = true,
			    .set = set_summary},
	[OPTION_JSON_STATUS_FD] =
		{.name = "json-status-fd",
		 .value = "N",
		 .help = "one JSON object a line on this descriptor: ready, job,\n"
			 "metrics, lost, exit",
		 .set = set_json_status_fd},
	[OPTION_METRICS] = {.name = "metrics",
			    .value = "[HOST:]PORT",
			    .help = "serve counters to Prometheus over HTTP while the job\n"
				    "runs (default host: 127.0.0.1; port 0: any)",
			    .otherwise = "not served",
			    .in_config = true,
			    .set = set_metrics},
	[OPTION_ON_LOSS] = {.name = "on-loss",
			    .value = "kill|sigbus|wait",
			    .help = "a page is lost for good: stop the job (default), or\n"
				    "raise SIGBUS where it is touched; wait: a server that\n"
				    "is silent is waited for, up to a day",
			    .otherwise = "kill",
			    .in_config = true,
			    .set = set_on_loss},
	[OPTION_BPF] = {.name = "bpf",
			.value = "auto|off",
			.help = "auto (default): where the kernel lets us, faults are\n"
				"answered without putting the thread to sleep",
			.otherwise = "auto",
			.in_config = true,
			.set = set_bpf},
	[OPTION_POLICY] = {.name = "policy",
			   .value = "default|readahead",
			   .help = "what leaves and what comes early. readahead: groups of\n"
				   "8 pages come, chunks leave in the order of coming",
			   .otherwise = "default",
			   .in_config = true,
			   .set = set_policy},
	[OPTION_CONFIG] = {.name = "config",
			   .value = "FILE",
			   .help = "read this file of settings, before the usual ones",
			   .set = set_config},
};

const char options_more[] =
	"SIZE is 512M, 16G, 1.5T (powers of 1024; GB means 10^9).\n"
	"SPEC is tcp:HOST[:PORT] (an rmemd on another machine; port 7770 if not said;\n"
	"further ,timeout=SECONDS without progress until it is given up, default 10),\n"
	"shm:/PATH (an rmemd here), file:/PATH[,size=SIZE] (a disk: a new file, or a\n"
	"directory for one) or ram (this machine, for trying out). mirror(SPEC,SPEC)\n"
	"keeps every page in both; fault(KEY=VALUE,...,SPEC) is another one, made slower\n"
	"or wrong on purpose: see rmem(1).\n"
	"\n"
	"Options that are not given are looked for in the environment (RMEM_LOCAL,\n"
	"RMEM_SERVER, ...), then in the file of --config or RMEM_CONFIG, then in\n"
	"~/.config/rmem/rmem.conf and " SETTINGS_SYSTEM_FILE ".\n"
	"'rmem doctor --show-config' tells what holds here and where it comes from.\n"
	"\n"
	"Exit status: the job's; 125 rmem itself failed; 126 not executable; 127 not\n"
	"found; 128+n died of signal n.\n";

void options_init(struct options *o)
{
	memset(o, 0, sizeof(*o));
	o->cfg.json_status_fd = -1;
	o->now.kind = FROM_OPTION;
}

/* Are all stores of the spec such ones? */
static bool all_are(const struct spec *s, bool (*such)(const struct spec *))
{
	for (size_t i = 0; i < s->nr_kids; i++)
		if (!all_are(s->kid[i], such))
			return false;
	return s->nr_kids || such(s);
}

static bool every_server(const struct run_config *cfg, bool (*such)(const struct spec *))
{
	bool all = true;

	for (unsigned int i = 0; i < cfg->nr_servers && all; i++) {
		struct spec *s = NULL;

		all = !spec_parse(cfg->server[i], &s) && all_are(s, such);
		spec_free(s);
	}
	return all;
}

/* Pages that take memory which we have yet to find on this machine. */
static bool is_ours(const struct spec *s)
{
	return !strcmp(s->scheme, "ram");
}

/* Or that live in the memory of this machine, whoever found it. */
static bool is_here(const struct spec *s)
{
	static const char *const loopback[] = {"127.", "localhost", "[::1]"};

	if (is_ours(s) || !strcmp(s->scheme, "shm"))
		return true;
	for (size_t i = 0; i < 3 && !strcmp(s->scheme, "tcp"); i++)
		if (!strncmp(s->rest, loopback[i], strlen(loopback[i])))
			return true;
	return false;
}

static uint64_t spare_bytes(const struct meminfo *mem, uint64_t local_bytes)
{
	return mem->available_bytes > local_bytes ? mem->available_bytes - local_bytes : 0;
}

static int too_large(const struct options *o, uint64_t spare)
{
	char want[32], local[32];

	return err_set(-ENOMEM,
		       "--remote %s is more than this machine can spare beside the local"
		       " cap of %s: at most --remote %" PRIu64 "M, or name a --server",
		       units_format_size(want, sizeof(want), o->cfg.remote_bytes),
		       units_format_size(local, sizeof(local), o->cfg.local_bytes), spare >> 20);
}

static void default_remote(struct options *o, uint64_t spare)
{
	uint64_t most = spare > 2 * HOST_RESERVE_BYTES ? spare - HOST_RESERVE_BYTES : spare / 2;

	o->cfg.remote_bytes = 3 * o->cfg.local_bytes;
	if (o->cfg.remote_bytes > servers_capacity(&o->cfg))
		o->cfg.remote_bytes = servers_capacity(&o->cfg);
	if (every_server(&o->cfg, is_ours) && o->cfg.remote_bytes > most)
		o->cfg.remote_bytes = most;
}

static int check_record(const struct run_config *cfg)
{
	if (cfg->record_path && cfg->replay_path)
		return err_set(-EINVAL, "--record and --replay: one of them at a time");
	if (cfg->attach_pid && (cfg->record_path || cfg->replay_path))
		return err_set(-EINVAL,
			       "--record and --replay need rmem run: the addresses of what runs"
			       " already are its own");
	return 0;
}

int options_complete(struct options *o)
{
	struct meminfo mem;
	uint64_t spare;
	int err = settings_load(o);

	if (!err)
		err = check_record(&o->cfg);

	if (!err)
		err = meminfo_mine(&mem);
	if (err)
		return err;
	if (!o->value[OPTION_LOCAL])
		o->cfg.local_auto = true;
	if (o->cfg.local_auto)
		o->cfg.local_bytes = mem.available_bytes / 2;
	o->cfg.here = every_server(&o->cfg, is_here);
	if (o->cfg.local_bytes < RUN_LOCAL_MIN)
		return err_set(-ENOMEM,
			       "only %" PRIu64 " MiB of memory are available here: rmem"
			       " needs 32",
			       mem.available_bytes >> 20);
	spare = spare_bytes(&mem, o->cfg.local_bytes);
	if (!o->value[OPTION_REMOTE])
		default_remote(o, spare);
	o->cfg.local_bytes &= PAGE_MASK;
	o->cfg.remote_bytes = (o->cfg.remote_bytes + PAGE_BYTES - 1) & PAGE_MASK;
	if (every_server(&o->cfg, is_ours) && (o->cfg.remote_bytes > spare || !o->cfg.remote_bytes))
		return too_large(o, spare);
	return 0;
}
