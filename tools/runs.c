/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/capture/proc.h"
#include "client/supervisor_stats.h"
#include "common/base/err.h"
#include "tools/runs.h"

#define STATE_LINK "/memfd:rmem-state"

static int open_state(int dir_fd, const char *name, int access)
{
	char link[64];
	ssize_t n = readlinkat(dir_fd, name, link, sizeof(link) - 1);
	int fd;

	if (n < 0)
		return -ESRCH;
	link[n] = '\0';
	if (strncmp(link, STATE_LINK, strlen(STATE_LINK)))
		return -ESRCH;
	fd = openat(dir_fd, name, access | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The pager shares the descriptors; only the supervisor is the run. */
static bool is_supervisor(int state_fd, pid_t pid)
{
	struct stats st;

	return stats_read(state_fd, &st) == 0 && st.header.supervisor_pid == pid;
}

int runs_open(pid_t pid, int access)
{
	char path[64];
	struct dirent *e;
	int fd = -ESRCH;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	d = opendir(path);
	if (!d)
		return errno == ENOENT ? -ESRCH : -errno;
	while (fd < 0 && (e = readdir(d)))
		fd = open_state(dirfd(d), e->d_name, access);
	closedir(d);
	if (fd >= 0 && !is_supervisor(fd, pid)) {
		close(fd);
		fd = -ESRCH;
	}
	return fd;
}

int runs_map(pid_t pid, struct run_header **out)
{
	int fd = runs_open(pid, O_RDWR);

	if (fd < 0)
		return err_set(fd, "process %d: %s", (int)pid,
			       fd == -ESRCH ? "has just ended" : strerror(-fd));
	*out = mmap(NULL, sizeof(**out), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return *out == MAP_FAILED ? err_set(-errno, "process %d: %s", (int)pid, strerror(errno))
				  : 0;
}

int runs_find(pid_t **out, size_t *nr)
{
	pid_t *pid = NULL;
	size_t all = 0;
	int err = proc_pids(&pid, &all);

	*nr = 0;
	*out = pid;
	if (err)
		return err;
	for (size_t i = 0; i < all; i++) {
		int fd = runs_open(pid[i], O_RDONLY);

		if (fd < 0)
			continue;
		close(fd);
		pid[(*nr)++] = pid[i];
	}
	return 0;
}

static bool is_attached(pid_t supervisor, pid_t pid)
{
	struct stats st;
	bool yes = false;
	int fd = runs_open(supervisor, O_RDONLY);

	if (fd < 0)
		return false;
	if (!stats_read(fd, &st))
		yes = st.header.job_pid == pid;
	close(fd);
	return yes;
}

pid_t runs_managing(pid_t pid)
{
	pid_t *run = NULL, found = 0;
	struct proc_stat st;
	size_t nr = 0;

	if (runs_find(&run, &nr))
		return 0;
	while (!found && pid > 1) {
		for (size_t i = 0; i < nr; i++)
			if (run[i] == pid || is_attached(run[i], pid))
				found = run[i];
		pid = proc_stat(pid, &st) ? 0 : st.ppid;
	}
	free(run);
	return found;
}
