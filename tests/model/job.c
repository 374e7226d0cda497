/* SPDX-License-Identifier: Apache-2.0 */
/* A process of the job: does what it is told, one call at a time. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/compat.h"
#include "tests/model/model.h"

int job_socks[PROCS][2];

static int result(long ret)
{
	return ret < 0 ? -errno : 0;
}

static int do_mremap(const struct mop *op)
{
	int flags = op->flags & MREMAP_F_FIXED ? MREMAP_MAYMOVE | MREMAP_FIXED : 0;
	void *p;

	if (op->flags & MREMAP_F_DONTUNMAP)
		flags |= 4; /* MREMAP_DONTUNMAP */
	p = mremap((void *)page_va(op->i), op->n * PAGE_BYTES, op->m * PAGE_BYTES, flags,
		   page_va(op->j));
	return p == MAP_FAILED ? -errno : 0;
}

static int do_flag(const struct mop *op, void *at, size_t bytes)
{
	if (op->prot == PF_LOCKED)
		return result(munlock(at, bytes));
	if (op->flags)
		return result(
			madvise(at, bytes, op->flags == PF_WIPE ? MADV_WIPEONFORK : MADV_DONTFORK));
	return result(madvise(at, bytes, op->prot == PF_WIPE ? MADV_KEEPONFORK : MADV_DOFORK));
}

static int real_prot(unsigned int prot)
{
	return (prot & PROT_R ? PROT_READ : 0) | (prot & PROT_W ? PROT_WRITE : 0);
}

static int do_op(const struct mop *op, struct answer *a)
{
	volatile uint64_t *word = (volatile uint64_t *)page_va(op->i);
	void *at = (void *)page_va(op->i);
	size_t bytes = op->n * PAGE_BYTES;

	switch (op->type) {
	case MOP_READ:
		a->value = *word;
		return 0;
	case MOP_WRITE:
		*word = op->value;
		a->value = op->value;
		return 0;
	case MOP_MMAP:
		at = mmap(at, bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		return at == MAP_FAILED ? -errno : 0;
	case MOP_MUNMAP:
		return result(munmap(at, bytes));
	case MOP_MREMAP:
		return do_mremap(op);
	case MOP_DONTNEED:
		return result(madvise(at, bytes, MADV_DONTNEED));
	case MOP_FREE:
		return result(madvise(at, bytes, MADV_FREE));
	case MOP_MPROTECT:
		return result(mprotect(at, bytes, real_prot(op->prot)));
	case MOP_FLAG:
		return do_flag(op, at, bytes);
	case MOP_MLOCK:
		return result(mlock(at, bytes));
	case MOP_POPULATE:
		return result(madvise(at, bytes, MADV_POPULATE_WRITE));
	default:
		return -ENOSYS;
	}
}

static int do_move(const struct mop *op, int uffd)
{
	struct uffdio_move mv = {.dst = SCRATCH_VA, .src = page_va(op->i), .len = PAGE_BYTES};

	return result(ioctl(uffd, UFFDIO_MOVE, &mv));
}

void job_main(int slot, int uffd_move)
{
	int sock = job_socks[slot][1];
	struct cmd c;

	signal(SIGCHLD, SIG_IGN);
	while (recv(sock, &c, sizeof(c), 0) == sizeof(c)) {
		struct answer a = {0};

		if (c.what == CMD_EXIT)
			_exit(0);
		if (c.what == CMD_DROP) {
			a.res = result(madvise((void *)SCRATCH_VA, PAGE_BYTES, MADV_DONTNEED));
		} else if (c.what == CMD_MOVE) {
			a.res = do_move(&c.op, uffd_move);
		} else if (c.op.type == MOP_FORK) {
			a.pid = fork();
			if (!a.pid) {
				sock = job_socks[c.next][1];
				continue;
			}
			a.res = result(a.pid);
		} else {
			a.res = do_op(&c.op, &a);
		}
		if (send(sock, &a, sizeof(a), 0) != sizeof(a))
			break;
	}
	_exit(1);
}
