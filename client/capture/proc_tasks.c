/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes and threads: who is there, in what state, sharing what, and which
 * of a space's pages the kernel writes to when a thread ends.
 */
#include "client/capture/proc.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PROC_PF_KTHREAD 0x00200000U

static int proc_read(pid_t pid, const char *name, char *text, size_t text_bytes)
{
	char path[64];
	ssize_t n;
	int fd, ret;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	n = read(fd, text, text_bytes - 1);
	ret = n < 0 ? -errno : 0;
	close(fd);
	if (!ret)
		text[n] = '\0';
	return ret;
}

int proc_stat(pid_t pid, struct proc_stat *out)
{
	char text[1024];
	char *open_at, *close_at;
	unsigned int flags;
	int ret;

	ret = proc_read(pid, "stat", text, sizeof(text));
	if (ret)
		return ret;
	open_at = strchr(text, '(');
	close_at = strrchr(text, ')'); /* a name may hold parentheses and blanks */
	if (!open_at || !close_at || close_at < open_at)
		return -EIO;
	*close_at = '\0';
	*out = (struct proc_stat){0};
	snprintf(out->comm, sizeof(out->comm), "%.15s", open_at + 1);
	if (sscanf(close_at + 1,
		   " %c %d %d %d %*d %*d %u %" SCNu64 " %*u %*u %*u %*u %*u %*d %*d %*d %*d %u "
		   "%*d %" SCNu64,
		   &out->state, &out->ppid, &out->pgid, &out->sid, &flags, &out->minflt,
		   &out->nr_threads, &out->start_ticks) != 8)
		return -EIO;
	out->kthread = flags & PROC_PF_KTHREAD;
	return 0;
}

static int cmp_pid(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return x < y ? -1 : x > y;
}

static int proc_numeric_entries(const char *path, pid_t **out, size_t *nr)
{
	pid_t *list = NULL, *grown;
	size_t n = 0, cap = 0;
	struct dirent *e;
	DIR *d;
	int err;

	d = opendir(path);
	if (!d)
		return errno == ENOENT ? -ESRCH : -errno;
	while (errno = 0, (e = readdir(d))) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		if (n == cap) {
			cap = cap ? cap * 2 : 64;
			grown = realloc(list, cap * sizeof(*list));
			if (!grown) {
				errno = ENOMEM;
				break;
			}
			list = grown;
		}
		list[n++] = (pid_t)strtol(e->d_name, NULL, 10);
	}
	err = errno == ENOENT ? -ESRCH : -errno; /* not all of them are listed */
	closedir(d);
	if (err || !n) {
		free(list);
		return err ? err : -ESRCH;
	}
	qsort(list, n, sizeof(*list), cmp_pid);
	*out = list;
	*nr = n;
	return 0;
}

int proc_pids(pid_t **out, size_t *nr)
{
	return proc_numeric_entries("/proc", out, nr);
}

int proc_tids(pid_t pid, pid_t **out, size_t *nr)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	return proc_numeric_entries(path, out, nr);
}

int proc_load(int loadavg_fd, pid_t *last_pid, unsigned int *nr_running)
{
	char text[128];
	ssize_t n;

	n = pread(loadavg_fd, text, sizeof(text) - 1, 0);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	return sscanf(text, "%*s %*s %*s %u/%*u %d", nr_running, last_pid) == 2 ? 0 : -EIO;
}

int proc_same_space(pid_t a, pid_t b)
{
	long ret = syscall(SYS_kcmp, a, b, KCMP_VM, 0, 0);

	if (ret < 0)
		return -errno;
	return ret == 0;
}

/* Without a descriptor: the injector asks as well, and a pager that takes over closes what the
 * one before had open of /proc, by name (close_left_over()). */
static bool has_memory(pid_t tid)
{
	char path[32], c;

	snprintf(path, sizeof(path), "/proc/%d/exe", tid);
	return readlink(path, &c, 1) > 0;
}

pid_t proc_mm_task(pid_t pid)
{
	pid_t *tids = NULL, found = pid;
	size_t nr = 0;

	if (has_memory(pid) || proc_tids(pid, &tids, &nr))
		return pid;
	for (size_t i = 0; i < nr && found == pid; i++)
		if (has_memory(tids[i]))
			found = tids[i];
	free(tids);
	return found;
}
