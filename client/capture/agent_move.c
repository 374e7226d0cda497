/* SPDX-License-Identifier: Apache-2.0 */
/* The agent moves pages out: from the job to scratch, which is registered as the job is, and
 * copies them from there to the bounce buffer. */
#include <sys/mman.h>
#include <sys/uio.h>

#include "client/capture/agent_parts.h"
#include "common/compat.h"

#define COPY_RUNS 32U /* in a row, that one call copies */

/*
 * MOVE takes pages out of a mapping that is not registered too, and then their
 * next touch reads zeros. What the pager knows of what is registered may be
 * older than the mapping: so the kernel is asked, by a copy that can't succeed.
 * It looks for events first, then for the registration, then for the source.
 * If the mapping is replaced after that, there is an event, and MOVE refuses.
 * 0: registered; -EAGAIN; -EINVAL: not registered here.
 */
static AGENT_CODE long agent_probe(int uffd, uint64_t va)
{
	struct uffdio_copy c = {
		.dst = va,
		.src = PAGE_BYTES, /* nobody maps the first pages */
		.len = PAGE_BYTES,
	};
	long ret = sys(__NR_ioctl, uffd, UFFDIO_COPY, &c, 0);

	if (ret == -EEXIST || ret == -EFAULT)
		return 0;
	return ret == -EAGAIN ? ret : -EINVAL;
}

AGENT_CODE long agent_uffd_move(int uffd, uint64_t dst, uint64_t src, unsigned int nr,
				uint64_t mode)
{
	struct uffdio_move m = {
		.dst = dst,
		.src = src,
		.len = (uint64_t)nr << PAGE_SHIFT,
		.mode = mode,
	};
	long ret = sys(__NR_ioctl, uffd, UFFDIO_MOVE, &m, 0);

	if (m.move > 0)
		return m.move >> PAGE_SHIFT;
	return ret < 0 ? ret : -EIO;
}

AGENT_CODE bool agent_has_page(uint64_t va)
{
	unsigned char here = 0;

	return !sys(__NR_mincore, va, PAGE_BYTES, &here, 0) && (here & 1);
}

/* One page that would not go: why, for the pager to decide. EEXIST: it has gone
 * already, see agent_taken(). */
static AGENT_CODE void agent_refused(struct agent_cmd *cmd, unsigned int idx, long err)
{
	if (err == -EBUSY)
		pageset_add(&cmd->busy, idx);
	else if (err == -EINVAL)
		pageset_add(&cmd->invalid, idx);
	else if (err != -ENOENT && err != -EEXIST)
		cmd->err = (int32_t)err;
}

/* A page that was not asked for goes home. If even that fails its only copy is in
 * scratch, and the pager must stop the job. */
static AGENT_CODE void agent_give_back(struct agent_ring *ring, struct agent_cmd *cmd,
				       unsigned int idx)
{
	uint64_t off = (uint64_t)idx << PAGE_SHIFT;
	uint64_t scratch = half_va(ring, cmd);
	long n = agent_uffd_move(ring->uffd_job, cmd->va + off, scratch + off, 1, 0);

	if (n != 1 && (n != -EEXIST || agent_has_page(scratch + off)))
		cmd->err = -EIO;
}

/*
 * MOVE may take pages and not count them: Linux 6.18 repeats a step that met a
 * changing page table entry, then takes it for undone, moves it once more and
 * says EEXIST (traps.move_uncounted). And over gaps it counts pages that were not
 * there. So what was taken is not what MOVE says but what is in scratch, which was
 * empty. False when a page that was counted is not seen there: it may be a gap, or
 * swapped out, and must not be touched, since nobody answers a fault in scratch.
 */
static AGENT_CODE bool agent_taken(struct agent_ring *ring, struct agent_cmd *cmd)
{
	unsigned char here[CHUNK_PAGES];
	unsigned int idx;
	bool all = true;

	if (sys(__NR_mincore, half_va(ring, cmd), CHUNK_BYTES, here, 0)) {
		cmd->err = -EIO; /* the job has unmapped it */
		return false;
	}
	for (idx = 0; idx < CHUNK_PAGES; idx++) {
		bool wanted = pageset_has(&cmd->want, idx);

		if (!wanted)
			pageset_del(&cmd->moved, idx); /* a gap, which a MOVE counts */
		if (here[idx] & 1) {
			if (wanted)
				pageset_add(&cmd->moved, idx);
			else /* what the command before gave back is there again */
				agent_give_back(ring, cmd, idx);
		} else if (pageset_has(&cmd->moved, idx)) {
			all = false;
		}
	}
	return all;
}

/*
 * Job to scratch. False when an event is unread: no page may be taken any more. Every
 * MOVE flushes TLBs, which costs more than the page: so one goes over gaps too.
 * Nothing comes into them meanwhile, because only the pager could put it there
 * (core: no fill into a chunk that is being moved).
 */
static AGENT_CODE bool agent_take_run(struct agent_ring *ring, struct agent_cmd *cmd,
				      unsigned int idx, unsigned int nr)
{
	uint64_t scratch = half_va(ring, cmd);
	uint64_t mode = UFFDIO_MOVE_MODE_DONTWAKE;
	unsigned int step = nr;
	long n;

	if (pageset_next(&cmd->gaps, idx) < idx + nr)
		mode |= UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES;

	while (nr) {
		uint64_t off = (uint64_t)idx << PAGE_SHIFT;

		if (step > nr)
			step = nr;
		n = agent_probe(ring->uffd_job, cmd->va + off);
		if (!n)
			n = agent_uffd_move(ring->uffd_job, scratch + off, cmd->va + off, step,
					    mode);
		else if (n != -EAGAIN)
			step = 1;
		if (n == -EAGAIN) {
			cmd->overtaken = 1;
			return false;
		}
		if (n == -EINVAL && step > 1) {
			step /= 2; /* perhaps it spans two mappings */
			continue;
		}
		if (n > 0) {
			set_run(&cmd->moved, idx, (unsigned int)n);
			ring->pages += (uint64_t)n;
			step *= 2;
		} else {
			if (pageset_has(&cmd->want, idx))
				agent_refused(cmd, idx, n);
			n = 1;
		}
		idx += (unsigned int)n;
		nr -= (unsigned int)n;
	}
	return true;
}

/* Keeps the compiler from putting two constants side by side into its own data. */
static inline __attribute__((always_inline)) uint64_t plain(uint64_t value)
{
	__asm__("" : "+r"(value));
	return value;
}

/* From here until agent_register() nothing that is done to the half raises an event. */
static AGENT_CODE long agent_unregister(struct agent_self *self, unsigned int half)
{
	struct uffdio_range range = {self->ring->scratch[half], CHUNK_BYTES};
	long ret;

	if (!self->ring->has_move)
		return 0;
	ret = sys(__NR_ioctl, self->ring->uffd_job, UFFDIO_UNREGISTER, &range, 0);
	if (!ret)
		self->bare |= 1U << half;
	return ret;
}

/* If it is not, after it was emptied. A page that is there then was put there by somebody else,
 * as mlockall() does: whoever took it for one of the job's would give the job zeros. */
static AGENT_CODE long agent_register(struct agent_self *self, unsigned int half)
{
	struct uffdio_register reg = {
		.range = {.start = self->ring->scratch[half], .len = CHUNK_BYTES},
		.mode = plain(UFFDIO_REGISTER_MODE_MISSING),
	};
	unsigned char here[CHUNK_PAGES];
	long ret;

	if (!(self->bare & 1U << half))
		return 0;
	ret = sys(__NR_ioctl, self->ring->uffd_job, UFFDIO_REGISTER, &reg, 0);
	if (ret)
		return ret;
	ret = sys(__NR_mincore, reg.range.start, CHUNK_BYTES, here, 0);
	for (unsigned int idx = 0; !ret && idx < CHUNK_PAGES; idx++)
		if (here[idx] & 1)
			ret = -EIO;
	if (!ret)
		self->bare &= ~(1U << half);
	return ret;
}

/* Drops what the half holds; it is not registered then. */
static AGENT_CODE long agent_empty(struct agent_self *self, unsigned int half)
{
	long ret;

	if (!(self->dirty & 1U << half))
		return 0;
	forget_spare(self, half);
	ret = agent_unregister(self, half);
	if (!ret)
		ret = sys(__NR_madvise, self->ring->scratch[half], CHUNK_BYTES, MADV_DONTNEED, 0);
	if (!ret)
		self->dirty &= ~(1U << half);
	return ret;
}

AGENT_CODE long agent_drop(struct agent_self *self, unsigned int half)
{
	long ret = agent_empty(self, half);

	return ret ? ret : agent_register(self, half);
}

/* Bytes, or -errno: of @nr runs, by the kernel's own mapping of all memory. */
static AGENT_CODE long agent_copy_runs(struct agent_self *self, const struct iovec *to,
				       const struct iovec *from, unsigned int nr)
{
	return sys6(__NR_process_vm_readv, self->pid, (long)to, nr, (long)from, nr, 0);
}

/*
 * Scratch to the bounce buffer. Where a first look at a page that has just been mapped is dear,
 * the kernel is asked, which looks at it elsewhere. False when it would not.
 */
static AGENT_CODE bool agent_copy_by_kernel(struct agent_self *self, uint64_t to, uint64_t from,
					    const pageset *set)
{
	struct iovec there[COPY_RUNS], here[COPY_RUNS];
	unsigned int idx, end, nr = 0;
	long bytes = 0;

	for (idx = pageset_next(set, 0); idx < CHUNK_PAGES; idx = pageset_next(set, end)) {
		uint64_t off = (uint64_t)idx << PAGE_SHIFT;

		end = pageset_next_gap(set, idx);
		here[nr].iov_len = there[nr].iov_len = (uint64_t)(end - idx) << PAGE_SHIFT;
		here[nr].iov_base = (void *)(to + off);
		there[nr].iov_base = (void *)(from + off);
		bytes += (long)here[nr].iov_len;
		if (++nr < COPY_RUNS && pageset_next(set, end) < CHUNK_PAGES)
			continue;
		if (agent_copy_runs(self, here, there, nr) != bytes)
			return false;
		nr = 0;
		bytes = 0;
	}
	return true;
}

static AGENT_CODE void agent_copy(uint64_t to, uint64_t from, const pageset *set)
{
	unsigned int idx, next;

	for (idx = pageset_next(set, 0); idx < CHUNK_PAGES; idx = next) {
		uint64_t off = (uint64_t)idx << PAGE_SHIFT;

		next = pageset_next(set, idx + 1);
		page_prefetch((const void *)(from + ((uint64_t)next << PAGE_SHIFT)));
		copy_bytes(to + off, from + off, PAGE_BYTES);
	}
}

/* All that was moved to the bounce buffer, and scratch is empty again, or all to spare. */
static AGENT_CODE void agent_bounce(struct agent_self *self, struct agent_cmd *cmd)
{
	uint64_t from = half_va(self->ring, cmd);
	uint64_t to = self->ring->bounce + ((uint64_t)cmd->half << CHUNK_SHIFT);
	unsigned int nr = 0;
	pageset set;

	for (unsigned int i = 0; i < CHUNK_WORDS; i++)
		set.w[i] = cmd->moved.w[i] & ~cmd->known.w[i];
	for (unsigned int idx = pageset_next(&cmd->moved, 0); idx < CHUNK_PAGES; nr++)
		idx = pageset_next(&cmd->moved, idx + 1);
	if (!self->ring->by_kernel || !agent_copy_by_kernel(self, to, from, &set))
		agent_copy(to, from, &set);
	if (cmd->keep) {
		self->spare[cmd->half] = cmd->moved;
		self->nr_spare[cmd->half] = nr;
	} else if (agent_empty(self, cmd->half)) {
		cmd->bounce = 0; /* it is there still */
	} else {
		agent_register(self, cmd->half); /* or when it is needed */
	}
}

/* New, empty memory in place of the old, with no page table below the chunk:
 * only there can a huge page be put without being split. */
static AGENT_CODE long agent_renew(struct agent_self *self, unsigned int half)
{
	uint64_t va = self->ring->scratch[half];
	long ret = agent_unregister(self, half);

	if (ret)
		return ret;
	forget_spare(self, half);
	ret = sys6(__NR_mmap, (long)va, CHUNK_BYTES, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	if (ret < 0)
		return ret;
	self->dirty &= ~(1U << half);
	sys(__NR_munlock, va, CHUNK_BYTES, 0, 0);
	sys(__NR_madvise, va, CHUNK_BYTES, MADV_DONTFORK, 0);
	sys(__NR_madvise, va, CHUNK_BYTES, MADV_DONTDUMP, 0);
	sys(__NR_madvise, va, CHUNK_BYTES, MADV_NOHUGEPAGE, 0);
	return agent_register(self, half);
}

/* Empties the half. A whole chunk may be one huge page, and moves in 5 us when
 * it is not split: for that the half has to be new. */
static AGENT_CODE long agent_make_way(struct agent_self *self, const struct agent_cmd *cmd)
{
	bool whole = pageset_next_gap(&cmd->want, 0) == CHUNK_PAGES;

	if (whole && self->used & 1U << cmd->half)
		return agent_renew(self, cmd->half);
	return agent_drop(self, cmd->half);
}

/* Where what begins at @idx ends: wanted pages, with gaps between them. */
static AGENT_CODE unsigned int agent_run_end(const struct agent_cmd *cmd, unsigned int idx)
{
	unsigned int end = idx;

	for (; idx < CHUNK_PAGES; idx++) {
		if (pageset_has(&cmd->want, idx))
			end = idx + 1;
		else if (!pageset_has(&cmd->gaps, idx))
			break;
	}
	return end;
}

AGENT_CODE void agent_move(struct agent_self *self, struct agent_cmd *cmd)
{
	struct agent_ring *ring = self->ring;
	unsigned int idx, end;

	cmd->err = (int32_t)agent_make_way(self, cmd);
	if (cmd->err) {
		cmd->bounce = 0;
		return;
	}
	self->last_half = cmd->half;
	self->used |= 1U << cmd->half;
	self->dirty |= 1U << cmd->half;
	for (idx = pageset_next(&cmd->want, 0); idx < CHUNK_PAGES;
	     idx = pageset_next(&cmd->want, end)) {
		end = agent_run_end(cmd, idx);
		if (!agent_take_run(ring, cmd, idx, end - idx))
			break;
	}
	if (!agent_taken(ring, cmd) || cmd->err)
		cmd->bounce = 0;
	if (cmd->bounce)
		agent_bounce(self, cmd);
	cmd->spare = self->nr_spare[0] + self->nr_spare[1];
	ring->moves++;
}
