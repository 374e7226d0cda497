/* SPDX-License-Identifier: Apache-2.0 */
#include "client/capture/hold.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#undef PAGE_MASK /* of sys/user.h */
#include "client/capture/proc.h"

#define STOP_MS 2U

enum where { GONE, SLEEPS, CHANGES, RUNS };

/* Those that change what is mapped. */
static bool changes_mappings(long call)
{
	static const long calls[] = {
		SYS_mmap,	   SYS_munmap,		 SYS_mremap,	      SYS_mprotect,
		SYS_brk,	   SYS_madvise,		 SYS_shmat,	      SYS_shmdt,
		SYS_pkey_mprotect, SYS_remap_file_pages, SYS_process_madvise,
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (call == calls[i])
			return true;
	return false;
}

static enum where look_at(pid_t pid, pid_t tid)
{
	char path[64], text[256];
	ssize_t n;
	long call;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ESRCH ? GONE : CHANGES;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return n == 0 || errno == ESRCH ? GONE : CHANGES;
	text[n] = '\0';
	if (!strncmp(text, "running", strlen("running")))
		return RUNS;
	call = strtol(text, NULL, 10);
	if (call < 0) /* in none: it waits for a page */
		return RUNS;
	return changes_mappings(call) ? CHANGES : SLEEPS;
}

/* A thread of io_uring's: never in user mode, never stops, and maps nothing. */
#define PF_IO_WORKER 0x10U

static bool is_io_worker(pid_t pid, pid_t tid)
{
	char path[64], text[512];
	const char *at;
	unsigned int flags = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	at = strrchr(text, ')');
	return at && sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %u", &flags) == 1 &&
	       flags & PF_IO_WORKER;
}

static int stop(struct hold *h, pid_t tid)
{
	struct tracee *t;
	int err;

	if (h->nr == h->max) {
		size_t max = h->max ? 2 * h->max : 16;
		struct tracee *more = realloc(h->t, max * sizeof(*more));

		if (!more)
			return -EAGAIN;
		h->t = more;
		h->max = max;
	}
	t = &h->t[h->nr];
	*t = (struct tracee){.tid = tid};
	err = tracee_hold(t, STOP_MS);
	if (!err) {
		h->nr++;
		return 0;
	}
	if (err == -ESRCH) {
		h->tasks--;
		return 0;
	}
	if (err != -ETIMEDOUT)
		return -EAGAIN;
	/* It waits for a page inside the kernel, where it maps nothing. */
	h->stuck = true;
	return 0;
}

static int hold_one(struct hold *h, pid_t pid)
{
	pid_t *tids = NULL;
	size_t nr = 0;
	int err = proc_tids(pid, &tids, &nr);

	if (err == -ESRCH)
		return 0;
	for (size_t i = 0; !err && i < nr; i++) {
		enum where where = look_at(pid, tids[i]);

		if (where == GONE)
			continue;
		h->tasks++;
		if (where == RUNS && !h->alone && !is_io_worker(pid, tids[i]))
			err = stop(h, tids[i]);
		else if (where == CHANGES)
			err = -EAGAIN;
	}
	free(tids);
	return err;
}

/* What it unmaps it can't map again before its message is read: nobody need be held. */
static bool is_one_thread(pid_t pid)
{
	pid_t *tids = NULL;
	size_t nr = 0;
	int err = proc_tids(pid, &tids, &nr);

	free(tids);
	return !err && nr == 1;
}

int hold_threads(struct hold *h, const pid_t *pid, size_t nr)
{
	int err = 0;

	*h = (struct hold){.alone = nr == 1 && is_one_thread(pid[0])};
	for (size_t i = 0; !err && i < nr; i++)
		err = hold_one(h, pid[i]);
	return err;
}

void hold_release(struct hold *h)
{
	for (size_t i = 0; i < h->nr; i++)
		tracee_unhold(&h->t[i]); /* one that was killed needs nothing */
	free(h->t);
	h->t = NULL;
	h->nr = h->max = 0;
}
