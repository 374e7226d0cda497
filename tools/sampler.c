/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/sampler.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/err.h"
#include "tools/runs.h"

uint64_t sampler_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int sampler_read(pid_t pid, struct stats *out)
{
	int fd = runs_open(pid, O_RDONLY);
	int err;

	if (fd < 0)
		return err_set(fd, "process %d: %s", (int)pid,
			       fd == -ESRCH ? "is no running rmem: see rmem stat" : strerror(-fd));
	err = stats_read(fd, out);
	close(fd);
	out->wall_ns = sampler_now_ns() - out->header.start_ns;
	return err;
}

static int look_at(struct watch *w, const pid_t *pid, size_t nr)
{
	struct stats *st = calloc(1, sizeof(*st));
	int err = st ? 0 : err_set(-ENOMEM, "out of memory");

	watch_begin(w, sampler_now_ns());
	for (size_t i = 0; i < nr && !err; i++)
		if (!sampler_read(pid[i], st)) /* else it has just ended */
			err = watch_take(w, st);
	watch_end(w);
	free(st);
	return err;
}

int sampler_look(struct watch *w, pid_t only)
{
	pid_t *pid = NULL;
	size_t nr = 0;
	int err;

	if (only)
		return look_at(w, &only, 1);
	err = runs_find(&pid, &nr);
	if (err)
		return err_set(err, "/proc: %s", strerror(-err));
	err = look_at(w, pid, nr);
	free(pid);
	return err;
}

int sampler_parse_pid(const char *text, pid_t *out)
{
	char *end;
	long pid = strtol(text, &end, 10);

	if (text[0] < '1' || text[0] > '9' || *end || pid > 1 << 22)
		return err_set(-EINVAL, "'%.40s' is not a process number: see rmem stat", text);
	*out = (pid_t)pid;
	return 0;
}

int sampler_parse_delay(const char *text, uint64_t *out_ms)
{
	char *end;
	double s = strtod(text, &end);

	if (strspn(text, "0123456789.") != strlen(text) || *end || !(s >= 0.1 && s <= 86400))
		return err_set(-EINVAL, "'%.40s' is no interval: seconds from 0.1 on, such as 1",
			       text);
	*out_ms = (uint64_t)(s * 1000 + 0.5);
	return 0;
}

int sampler_parse_count(const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	if (text[0] < '1' || text[0] > '9' || *end || errno)
		return err_set(-EINVAL, "'%.40s' is no count: 1, 2 ...", text);
	return 0;
}

void sampler_sleep_until(uint64_t ns)
{
	struct timespec t = {.tv_sec = (time_t)(ns / 1000000000),
			     .tv_nsec = (long)(ns % 1000000000)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}
