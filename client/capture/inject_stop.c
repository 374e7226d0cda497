/* SPDX-License-Identifier: Apache-2.0 */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "client/capture/inject_parts.h"
#include "client/capture/proc.h"

#define STUCK_STOP_MS  50U
#define MAX_CANDIDATES 64U
#define VDSO_MAX_BYTES (16 * PAGE_BYTES)
#define VDSO_LOOKS     4
#define SYSCALL_BYTE_0 0x0f
#define SYSCALL_BYTE_1 0x05
#define USER_SPACE_END (1ULL << 63)

/* How little a stop disturbs a thread, best first. */
enum rank {
	RANK_RUNNING,  /* in user mode, or about to be */
	RANK_RESTARTS, /* in a call that the kernel restarts by itself */
	RANK_REPEATED, /* in one that answers EINTR and is made again */
	RANK_PARTIAL,  /* in one that may end early with part of its work done */
	RANK_STUCK,    /* does not take interrupts now */
	RANK_NEVER,
};

struct candidate {
	pid_t tid;
	enum rank rank;
};

static bool is_one_of(long nr, const short *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (list[i] == nr)
			return true;
	}
	return false;
}

static enum rank rank_of_call(long nr)
{
	static const short repeated[] = {SYS_epoll_wait,  SYS_epoll_pwait, SYS_epoll_pwait2,
					 SYS_semop,	  SYS_semtimedop,  SYS_rt_sigtimedwait,
					 SYS_io_getevents};
	static const short partial[] = {SYS_write,     SYS_writev,	    SYS_pwrite64,
					SYS_sendto,    SYS_sendmsg,	    SYS_sendfile,
					SYS_splice,    SYS_recvfrom,	    SYS_recvmsg,
					SYS_getrandom, SYS_copy_file_range, SYS_connect};

	if (is_one_of(nr, repeated, sizeof(repeated) / sizeof(repeated[0])))
		return RANK_REPEATED;
	if (is_one_of(nr, partial, sizeof(partial) / sizeof(partial[0])))
		return RANK_PARTIAL;
	return RANK_RESTARTS;
}

static int read_task_file(pid_t pid, pid_t tid, const char *name, char *text, size_t text_bytes)
{
	char path[96];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", pid, tid, name);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	n = fread(text, 1, text_bytes - 1, f);
	fclose(f);
	text[n] = '\0';
	return n ? 0 : -ESRCH;
}

static bool has_seccomp(const char *status)
{
	const char *at = strstr(status, "\nSeccomp:\t");

	return at && at[strlen("\nSeccomp:\t")] != '0';
}

static enum rank rank_of_thread(pid_t pid, pid_t tid)
{
	char text[2048];
	const char *at;

	if (read_task_file(pid, tid, "status", text, sizeof(text)))
		return RANK_NEVER;
	if (has_seccomp(text))
		return RANK_NEVER;
	at = strstr(text, "\nState:\t");
	if (!at || strchr("ZXx", at[strlen("\nState:\t")]))
		return RANK_NEVER;
	if (at[strlen("\nState:\t")] == 'D')
		return RANK_STUCK;
	if (read_task_file(pid, tid, "syscall", text, sizeof(text)))
		return RANK_NEVER;
	if (!strncmp(text, "running", strlen("running")))
		return RANK_RUNNING;
	return rank_of_call(strtol(text, NULL, 10));
}

static int cmp_rank(const void *a, const void *b)
{
	return (int)((const struct candidate *)a)->rank - (int)((const struct candidate *)b)->rank;
}

static int find_candidates(pid_t pid, struct candidate *list, size_t *nr)
{
	size_t nr_tids, n = 0;
	pid_t *tids;
	int ret;

	ret = proc_tids(pid, &tids, &nr_tids);
	if (ret)
		return ret;
	for (size_t i = 0; i < nr_tids && n < MAX_CANDIDATES; i++) {
		list[n].tid = tids[i];
		list[n].rank = rank_of_thread(pid, tids[i]);
		if (list[n].rank == RANK_NEVER)
			continue;
		n++;
		if (list[n - 1].rank == RANK_RUNNING)
			break;
	}
	free(tids);
	qsort(list, n, sizeof(*list), cmp_rank);
	*nr = n;
	return n ? 0 : -ESRCH;
}

static void read_image(pid_t pid, struct image *im)
{
	char path[64];
	FILE *f;

	*im = (struct image){0};
	snprintf(path, sizeof(path), "/proc/%d/auxv", pid);
	f = fopen(path, "re");
	if (!f)
		return;
	im->bytes = fread(im->auxv, 1, sizeof(im->auxv), f);
	fclose(f);
}

/* exec writes the auxiliary vector last of all: without one the image is half made. */
static bool is_same_image(const struct injection *inj)
{
	struct image now;

	read_image(inj->args->pid, &now);
	return now.bytes && now.auxv[0] && now.bytes == inj->image.bytes &&
	       !memcmp(now.auxv, inj->image.auxv, now.bytes);
}

/* Until it was stopped the thread ran on: a call made where an earlier program
 * had its vdso, or past a new filter, would kill it. */
static bool is_as_looked_at(const struct injection *inj)
{
	char status[2048];

	return is_same_image(inj) &&
	       !read_task_file(inj->args->pid, inj->job.tid, "status", status, sizeof(status)) &&
	       !has_seccomp(status);
}

int inject_stop_any(struct injection *inj)
{
	struct candidate list[MAX_CANDIDATES];
	unsigned int stop_ms;
	size_t nr;
	int ret, last = -ESRCH;

	ret = find_candidates(inj->args->pid, list, &nr);
	if (ret)
		return ret;
	for (size_t i = 0; i < nr; i++) {
		stop_ms = list[i].rank == RANK_STUCK && nr > 1 ? STUCK_STOP_MS
							       : inj->args->timeout_ms;
		inj->job = (struct tracee){.tid = list[i].tid,
					   .syscall_va = inj->syscall_va,
					   .deadline_ns = inj->deadline_ns};
		ret = tracee_stop(&inj->job, stop_ms);
		if (!ret && is_as_looked_at(inj))
			return 0;
		if (!ret) {
			ret = tracee_release(&inj->job);
			return ret ? ret : -ESRCH;
		}
		if (last == -ESRCH || ret == -ETIMEDOUT)
			last = ret;
	}
	return last;
}

struct vdso {
	uint64_t start, end;
};

/* The first kernel mapping that can be executed; vsyscall is not in user space. */
static int find_vdso(void *ctx, const struct proc_map *m)
{
	struct vdso *v = ctx;

	if (!m->special || !m->x || m->start >= USER_SPACE_END)
		return 0;
	v->start = m->start;
	v->end = m->end;
	return 1;
}

static int find_syscall(struct injection *inj)
{
	unsigned char code[VDSO_MAX_BYTES];
	pid_t pid = inj->args->pid;
	struct vdso v = {0};
	size_t bytes;
	int ret;

	ret = proc_maps_each(pid, find_vdso, &v);
	if (ret < 0)
		return ret;
	bytes = v.end - v.start;
	if (!bytes || bytes > sizeof(code))
		return -ENOEXEC;
	ret = tracee_read(pid, v.start, code, bytes);
	if (ret)
		return ret;
	if (memcmp(code, ELFMAG, SELFMAG) != 0)
		return -ENOEXEC;
	for (size_t i = 0; i + 1 < bytes; i++) {
		if (code[i] == SYSCALL_BYTE_0 && code[i + 1] == SYSCALL_BYTE_1) {
			inj->syscall_va = v.start + i;
			return 0;
		}
	}
	return -ENOEXEC;
}

/* What a process is that doesn't hold still, inside exec, can't be said: it is as good as gone.
 * Without address randomisation a program that executes itself looks the same before and
 * after, so one look in between proves nothing. */
int inject_find_syscall(struct injection *inj)
{
	int ret = -ENOEXEC;

	for (int i = 0; i < VDSO_LOOKS && ret == -ENOEXEC; i++) {
		read_image(inj->args->pid, &inj->image);
		ret = find_syscall(inj);
		if (ret && !is_same_image(inj))
			return -ESRCH;
	}
	return ret;
}
