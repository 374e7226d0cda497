/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peak PID INTERVAL_US: samples the anonymous memory of a process that shares
 * none of it until the process has ended or standard input has something, then
 * says the largest. Pss_Anon walks all page tables and would slow down what it
 * looks at, so most samples are of RssAnon, which is as large here.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/resource.h>

#include "bench/bench.h"

#define PSS_EVERY 40U

static int open_proc(const char *pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%lu/%s", number(pid), name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static int64_t field(int fd, const char *name)
{
	char text[4096];
	const char *at;
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return -1;
	text[n] = '\0';
	at = strstr(text, name);
	return at ? strtoll(at + strlen(name), NULL, 10) * 1024 : -1;
}

int main(int argc, char **argv)
{
	struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
	uint64_t samples = 0, gap = 0, last, interval_ns;
	int64_t peak = 0, now;
	int status, rollup;

	if (argc != 3)
		return 2;
	alarm(LIMIT_S);
	setpriority(PRIO_PROCESS, 0, -15); /* a late sample is a peak not seen */
	status = open_proc(argv[1], "status");
	rollup = open_proc(argv[1], "smaps_rollup");
	interval_ns = number(argv[2]) * 1000;
	printf("{\"ready\": %d}\n", status >= 0 && rollup >= 0);
	fflush(stdout);
	for (last = now_ns();; samples++) {
		bool pss = samples % PSS_EVERY == 0;
		uint64_t t = now_ns(), spent_ns;

		now = pss ? field(rollup, "Pss_Anon:") : field(status, "RssAnon:");
		if (now < 0)
			break;
		peak = now > peak ? now : peak;
		gap = t - last > gap ? t - last : gap;
		last = t;
		if (poll(&in, 1, 0))
			break;
		spent_ns = now_ns() - t;
		if (spent_ns < interval_ns)
			usleep((useconds_t)((interval_ns - spent_ns) / 1000));
	}
	printf("{\"peak_bytes\": %ld, \"samples\": %lu, \"longest_gap_ns\": %lu}\n", peak, samples,
	       gap);
	return 0;
}
