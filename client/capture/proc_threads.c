/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages the kernel writes to when a thread ends, at which time it takes no
 * userfault: the thread's own id word, which C libraries keep a little below
 * the robust list head in the thread control block, and the robust mutexes it
 * holds. Read through /proc/PID/mem, which fails on a page that is missing
 * where any other way of reading would wait for the pager, that is for us.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/capture/proc.h"

#define THREAD_BLOCK_BEFORE 256U
#define THREAD_BLOCK_AFTER  64U
#define MAX_HELD_MUTEXES    256U

struct pages {
	uint64_t *va;
	size_t nr, max;
};

static int add_page(struct pages *p, uint64_t va)
{
	if (p->nr == p->max) {
		size_t max = p->max ? 2 * p->max : 64;
		uint64_t *more = realloc(p->va, max * sizeof(*more));

		if (!more)
			return -ENOMEM;
		p->va = more;
		p->max = max;
	}
	p->va[p->nr++] = va & PAGE_MASK;
	return 0;
}

/* The list as the kernel walks it at exit (kernel/futex, exit_robust_list). */
static int add_robust(struct pages *p, int mem_fd, uint64_t head_va)
{
	struct robust_list_head head;
	uint64_t va;
	int err = 0;

	if (pread(mem_fd, &head, sizeof(head), (off_t)head_va) != (ssize_t)sizeof(head))
		return 0;
	if (head.list_op_pending)
		err = add_page(p, (uint64_t)(uintptr_t)head.list_op_pending +
					  (uint64_t)head.futex_offset);
	va = (uint64_t)(uintptr_t)head.list.next;
	for (unsigned int i = 0; !err && va != head_va && i < MAX_HELD_MUTEXES; i++) {
		uint64_t next;

		va &= ~1ULL; /* marks a priority-inheriting mutex */
		err = add_page(p, va);
		if (!err)
			err = add_page(p, va + (uint64_t)head.futex_offset);
		if (pread(mem_fd, &next, sizeof(next), (off_t)va) != (ssize_t)sizeof(next))
			break;
		va = next;
	}
	return err;
}

static int cmp_va(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static size_t sort_unique(uint64_t *va, size_t nr)
{
	size_t n = 0;

	if (nr)
		qsort(va, nr, sizeof(*va), cmp_va);
	for (size_t i = 0; i < nr; i++) {
		if (!n || va[n - 1] != va[i])
			va[n++] = va[i];
	}
	return n;
}

static int add_thread(struct pages *p, int mem_fd, pid_t tid)
{
	struct robust_list_head *head;
	size_t bytes;
	uint64_t va;
	int err;

	/* A thread that ended meanwhile needs nothing any more. */
	if (syscall(SYS_get_robust_list, tid, &head, &bytes) || !head)
		return 0;
	va = (uint64_t)(uintptr_t)head;
	err = add_page(p, va - THREAD_BLOCK_BEFORE);
	if (!err)
		err = add_page(p, va + THREAD_BLOCK_AFTER);
	return err ? err : add_robust(p, mem_fd, va);
}

int proc_thread_pages(pid_t pid, uint64_t **out, size_t *nr)
{
	struct pages p = {0};
	pid_t *tids = NULL;
	size_t nr_tids = 0;
	char path[64];
	int mem_fd, err;

	snprintf(path, sizeof(path), "/proc/%d/mem", proc_mm_task(pid));
	mem_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (mem_fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	err = proc_tids(pid, &tids, &nr_tids);
	for (size_t i = 0; !err && i < nr_tids; i++)
		err = add_thread(&p, mem_fd, tids[i]);
	free(tids);
	close(mem_fd);
	if (err) {
		free(p.va);
		return err;
	}
	*out = p.va;
	*nr = sort_unique(p.va, p.nr);
	return 0;
}
