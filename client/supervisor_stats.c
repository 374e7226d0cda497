/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor_stats: read, show and write the numbers of one run. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/supervisor_print.h"
#include "client/supervisor_stats.h"
#include "common/base/err.h"
#include "common/base/units.h"

int stats_read(int state_fd, struct stats *out)
{
	ssize_t n;

	memset(out, 0, sizeof(*out));
	n = pread(state_fd, &out->header, sizeof(out->header), 0);
	if (n < 0)
		return err_set(-errno, "reading the state of a run: %s", strerror(errno));
	if (n != (ssize_t)sizeof(out->header) || out->header.magic != RUN_MAGIC ||
	    out->header.version != RUN_VERSION)
		return err_set(-ENODATA, "the state is that of another version of rmem");
	out->header.cmdline[sizeof(out->header.cmdline) - 1] = '\0';
	out->header.unmanaged_why[sizeof(out->header.unmanaged_why) - 1] = '\0';
	out->header.fast_why[sizeof(out->header.fast_why) - 1] = '\0';
	if (out->header.stats_off &&
	    pread(state_fd, &out->core, sizeof(out->core), (off_t)out->header.stats_off) !=
		    (ssize_t)sizeof(out->core))
		return err_set(-ENODATA, "the state of the run has no counters");
	procs_read(state_fd, &out->table);
	return 0;
}

#define N(x) ((json_int_t)(x))

static json_t *json_memory(const struct stats *st)
{
	const struct run_header *h = &st->header;
	const struct core_stats *c = &st->core;
	const char *cap = h->cap == RUN_CAP_AUTO ? "auto" : "fixed";

	return json_pack("{s:{s:s, s:I, s:I, s:I, s:I}, s:{s:I, s:I, s:I}, s:I, s:I, s:I}", "local",
			 "cap", cap, "cap_bytes", N(h->local_bytes), "bytes", N(c->local_bytes),
			 "peak_bytes", N(c->local_peak_bytes), "stuck_bytes", N(c->stuck_bytes),
			 "remote", "cap_bytes", N(h->remote_bytes), "bytes",
			 N(c->remote_pages * PAGE_BYTES), "peak_bytes",
			 N(c->remote_peak_pages * PAGE_BYTES), "managed_bytes",
			 N(c->local_bytes + c->remote_pages * PAGE_BYTES), "records_bytes",
			 N(c->records_bytes), "chunks", N(c->chunks));
}

static json_t *json_faults(const struct core_stats *c)
{
	const struct hist *f = &c->fault_ns;

	return json_pack("{s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I}, s:{s:I, s:I, s:I, s:I, s:I}}",
			 "faults", "zero", N(c->faults_zero), "standby", N(c->faults_soft),
			 "remote", N(c->faults_remote), "joined", N(c->faults_joined), "benign",
			 N(c->faults_benign), "deferred", N(c->faults_deferred), "write",
			 N(c->faults_write), "fault_latency_ns", "count", N(f->count), "p50",
			 N(hist_quantile(f, 0.5)), "p90", N(hist_quantile(f, 0.9)), "p99",
			 N(hist_quantile(f, 0.99)), "max", N(f->max));
}

static json_t *json_pages(const struct core_stats *c)
{
	return json_pack("{s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I},"
			 " s:{s:I, s:I, s:I, s:I}, s:I, s:{s:I, s:I}}",
			 "pages", "moved", N(c->pages_moved), "evicted", N(c->pages_evicted),
			 "fetched", N(c->pages_fetched), "prefetched", N(c->pages_prefetched),
			 "zero_elided", N(c->pages_zero_elided), "clean_elided",
			 N(c->pages_clean_elided), "unwritten", N(c->pages_known), "zero_ahead",
			 N(c->pages_zero_ahead), "written", N(c->pages_written), "bytes", "evicted",
			 N(c->pages_evicted * PAGE_BYTES), "fetched",
			 N(c->pages_fetched * PAGE_BYTES), "zero_elided",
			 N(c->pages_zero_elided * PAGE_BYTES), "clean_elided",
			 N(c->pages_clean_elided * PAGE_BYTES), "write_errors", N(c->write_errors),
			 "wrong_sums", "pages", N(c->sums_wrong), "repaired", N(c->pages_repaired));
}

static json_t *json_events(const struct core_stats *c)
{
	return json_pack("{s:{s:I, s:I, s:I}, s:{s:I, s:I, s:I, s:I}, s:{s:I, s:I}}", "moves",
			 "busy", N(c->moves_busy), "overtaken", N(c->moves_overtaken), "populates",
			 N(c->populates), "events", "remove", N(c->events_remove), "unmap",
			 N(c->events_unmap), "remap", N(c->events_remap), "fork", N(c->events_fork),
			 "spaces", "now", N(c->spaces), "peak", N(c->spaces_peak));
}

static json_t *json_processes(const struct run_header *h)
{
	char why[256];

	print_escape(why, sizeof(why), h->unmanaged_why);
	return json_pack("{s:{s:I, s:I, s:I, s:I, s:I, s:s}, s:{s:I, s:I}, s:I, s:{s:I}, s:I}",
			 "processes", "now", N(h->processes), "peak", N(h->processes_peak),
			 "managed", N(h->managed), "unmanaged", N(h->unmanaged), "unmanaged_bytes",
			 N(h->unmanaged_bytes), "unmanaged_why", why, "agents", "now", N(h->agents),
			 "total", N(h->agents_total), "ranges_registered", N(h->ranges_registered),
			 "pager", "rss_peak_bytes", N(h->pager_rss_peak_bytes), "takeovers",
			 N(h->takeovers));
}

static json_t *json_fast(const struct run_header *h)
{
	static const char *const state[] = {"not needed yet", "on", "refused"};

	return json_pack("{s:{s:s, s:s?, s:I, s:I, s:I}}", "fast_path", "state",
			 state[h->fast <= RUN_FAST_REFUSED ? h->fast : RUN_FAST_NOT_YET], "why",
			 h->fast == RUN_FAST_REFUSED ? h->fast_why : NULL, "waits",
			 N(h->fast_waits), "in_time", N(h->fast_hits), "wait_ns",
			 N(h->fast_wait_ns));
}

static json_t *json_process_list(const struct stats *st)
{
	return json_pack("{s:o}", "process", procs_list_json(&st->table));
}

static json_t *json_run(const struct stats *st)
{
	const struct run_header *h = &st->header;
	char command[4 * RUN_CMDLINE_BYTES];

	print_escape(command, sizeof(command), h->cmdline);
	return json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:I, s:o, s:s?}", "schema", RUN_SCHEMA,
			 "version", RMEM_VERSION, "command", command, "supervisor_pid",
			 (int)h->supervisor_pid, "pager_pid", (int)h->pager_pid, "job_pid",
			 (int)h->job_pid, "wall_ns", N(st->wall_ns), "exit_status",
			 st->ended ? json_integer(st->exit_status) : json_null(), "reason",
			 st->reason);
}

json_t *stats_json(const struct stats *st)
{
	json_t *all = json_run(st);
	json_t *part[] = {
		json_memory(st),	json_faults(&st->core),	     json_pages(&st->core),
		json_events(&st->core), json_processes(&st->header), json_fast(&st->header),
		json_process_list(st),
	};
	int err = all ? 0 : -1;

	for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
		if (!part[i] || json_object_update(all, part[i]))
			err = -1;
		json_decref(part[i]);
	}
	if (!err)
		return all;
	json_decref(all);
	return NULL;
}

/* ---- the file ---- */

/* A pipe, a terminal, /dev/stdout: written to, never replaced. */
static bool is_special(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

/* What a symbolic link leads to is replaced, not the link. */
static int temp_open(const char *path, char real[PATH_MAX], char temp[PATH_MAX + 8])
{
	struct stat st;
	int fd;

	if (!realpath(path, real))
		snprintf(real, PATH_MAX, "%s", path);
	if (stat(real, &st) == 0 && S_ISDIR(st.st_mode))
		return err_set(-EISDIR, "--stats %s: is a directory: name a file", path);
	snprintf(temp, PATH_MAX + 8, "%s.XXXXXX", real);
	fd = mkostemp(temp, O_CLOEXEC);
	if (fd < 0)
		return err_set(-errno, "--stats %s: can't be created: %s: check the folder", path,
			       strerror(errno));
	return fd;
}

int stats_file_check(const char *path)
{
	char real[PATH_MAX], temp[PATH_MAX + 8];
	int fd;

	if (is_special(path)) {
		if (access(path, W_OK))
			return err_set(-errno, "--stats %s: can't be written: %s", path,
				       strerror(errno));
		return 0;
	}
	fd = temp_open(path, real, temp);
	if (fd < 0)
		return fd;
	close(fd);
	unlink(temp);
	return 0;
}

static int dump(const struct stats *st, int fd)
{
	json_t *all = stats_json(st);
	int err = all ? json_dumpfd(all, fd, JSON_INDENT(2)) : -1;

	json_decref(all);
	if (err || write(fd, "\n", 1) != 1)
		return -EIO;
	return 0;
}

static int write_special(const char *path, const struct stats *st)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int err = fd < 0 ? -errno : dump(st, fd);

	if (fd >= 0)
		close(fd);
	return err ? err_set(err, "--stats %s: %s", path, strerror(-err)) : 0;
}

int stats_file_write(const char *path, const struct stats *st)
{
	char real[PATH_MAX], temp[PATH_MAX + 8];
	mode_t mask;
	int fd, err;

	if (is_special(path))
		return write_special(path, st);
	fd = temp_open(path, real, temp);
	if (fd < 0)
		return fd;
	mask = umask(0);
	umask(mask);
	err = dump(st, fd);
	if (!err && (fchmod(fd, 0666 & ~mask) || rename(temp, real)))
		err = -errno;
	close(fd);
	if (!err)
		return 0;
	unlink(temp);
	return err_set(err, "--stats %s: %s", path, strerror(-err));
}
