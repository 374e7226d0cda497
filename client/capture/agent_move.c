/* SPDX-License-Identifier: Apache-2.0 */
/* The agent moves pages out: from the job to scratch A, which is registered as the job is, and
 * from there to scratch B, which the pager reads. */
#include <sys/mman.h>

#include "client/capture/agent_parts.h"
#include "common/compat.h"

#define AGENT_RETRIES 64U

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

/* A page that won't leave A goes home. If even that fails its only copy is in
 * A, and the pager must stop the job. */
static AGENT_CODE void agent_give_back(struct agent_ring *ring, struct agent_cmd *cmd,
				       unsigned int idx)
{
	uint64_t off = (uint64_t)idx << PAGE_SHIFT;
	uint64_t a = half_va(ring->scratch_a, cmd);
	long n = agent_uffd_move(ring->uffd_job, cmd->va + off, a + off, 1, 0);

	pageset_del(&cmd->moved, idx);
	if (n == 1 || (n == -EEXIST && !agent_has_page(a + off)))
		pageset_add(&cmd->busy, idx);
	else
		cmd->err = -EIO;
}

/*
 * MOVE may take pages and not count them: Linux 6.18 repeats a step that met a
 * changing page table entry, then takes it for undone, moves it once more and
 * says EEXIST (traps.move_uncounted). So what was taken is not what MOVE says
 * but what is in A, which every command leaves empty.
 */
static AGENT_CODE void agent_taken(struct agent_ring *ring, struct agent_cmd *cmd)
{
	unsigned char here[CHUNK_PAGES];
	unsigned int idx;

	if (sys(__NR_mincore, half_va(ring->scratch_a, cmd), CHUNK_BYTES, here, 0))
		return;
	for (idx = 0; idx < CHUNK_PAGES; idx++) {
		bool wanted = pageset_has(&cmd->want, idx);

		if (!wanted)
			pageset_del(&cmd->moved, idx); /* a gap, which a MOVE counts */
		if (here[idx] & 1) {
			if (wanted)
				pageset_add(&cmd->moved, idx);
			else /* what the command before gave back is there again */
				agent_give_back(ring, cmd, idx);
		}
	}
}

/*
 * Job to A. False when an event is unread: no page may be taken any more. Every
 * MOVE flushes TLBs, which costs more than the page: so one goes over gaps too.
 * Nothing comes into them meanwhile, because only the pager could put it there
 * (core: no fill into a chunk that is being moved).
 */
static AGENT_CODE bool agent_take_run(struct agent_ring *ring, struct agent_cmd *cmd,
				      unsigned int idx, unsigned int nr)
{
	uint64_t a = half_va(ring->scratch_a, cmd);
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
			n = agent_uffd_move(ring->uffd_job, a + off, cmd->va + off, step, mode);
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

/* A to B, from where it can be dropped without raising an event. */
static AGENT_CODE void agent_stow_run(struct agent_ring *ring, struct agent_cmd *cmd,
				      unsigned int idx, unsigned int nr)
{
	uint64_t a = half_va(ring->scratch_a, cmd);
	uint64_t b = half_va(ring->scratch_b, cmd);
	unsigned int tries = 0;
	long n;

	while (nr) {
		uint64_t off = (uint64_t)idx << PAGE_SHIFT;

		n = agent_uffd_move(ring->uffd_scratch, b + off, a + off, nr,
				    UFFDIO_MOVE_MODE_DONTWAKE);
		if (n == -EEXIST && !agent_has_page(a + off))
			n = 1; /* uncounted */
		if (n < 0 && ++tries < AGENT_RETRIES) {
			sys(__NR_sched_yield, 0, 0, 0, 0);
			continue;
		}
		if (n < 0) {
			agent_give_back(ring, cmd, idx);
			n = 1;
		}
		tries = 0;
		idx += (unsigned int)n;
		nr -= (unsigned int)n;
	}
}

/* All of it by one call, if nothing stands in the way; else run by run. */
static AGENT_CODE void agent_stow(struct agent_ring *ring, struct agent_cmd *cmd)
{
	unsigned int idx = pageset_next(&cmd->moved, 0), end = CHUNK_PAGES;
	uint64_t off = (uint64_t)idx << PAGE_SHIFT;
	unsigned char here[1];
	long n = 0;

	if (idx == CHUNK_PAGES)
		return;
	while (!pageset_has(&cmd->moved, end - 1))
		end--;
	n = agent_uffd_move(ring->uffd_scratch, half_va(ring->scratch_b, cmd) + off,
			    half_va(ring->scratch_a, cmd) + off, end - idx,
			    UFFDIO_MOVE_MODE_DONTWAKE | UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES);
	if (n > 0)
		idx += (unsigned int)n;
	for (idx = pageset_next(&cmd->moved, idx); idx < CHUNK_PAGES;
	     idx = pageset_next(&cmd->moved, end)) {
		end = pageset_next_gap(&cmd->moved, idx);
		agent_stow_run(ring, cmd, idx, end - idx);
	}
	/* What the pager does not find there was a gap; but not if the job has
	 * unmapped scratch. */
	if (sys(__NR_mincore, half_va(ring->scratch_b, cmd), PAGE_BYTES, here, 0))
		cmd->err = -EIO;
}

AGENT_CODE int32_t agent_drop(struct agent_self *self, const struct agent_cmd *cmd)
{
	long ret;

	if (!(self->dirty_b & 1U << cmd->half))
		return 0;
	forget_spare(self, cmd->half);
	ret = sys(__NR_madvise, half_va(self->ring->scratch_b, cmd), CHUNK_BYTES, MADV_DONTNEED, 0);
	if (!ret)
		self->dirty_b &= ~(1U << cmd->half);
	return (int32_t)ret;
}

/*
 * B to the bounce buffer, and B is empty again, or all to spare. What is not seen there (it
 * may be a gap that a MOVE counted, or swapped out) must not be touched, since nobody answers
 * a fault in scratch: then all of it stays, for the pager to look at.
 */
static AGENT_CODE void agent_bounce(struct agent_self *self, struct agent_cmd *cmd)
{
	unsigned char here[CHUNK_PAGES];
	uint64_t b = half_va(self->ring->scratch_b, cmd);
	uint64_t bounce = half_va(self->ring->bounce, cmd);
	unsigned int idx, next, nr = 0;

	cmd->bounce = 0;
	if (sys(__NR_mincore, b, CHUNK_BYTES, here, 0))
		return;
	for (idx = 0; idx < CHUNK_PAGES; idx++)
		if ((here[idx] & 1) != pageset_has(&cmd->moved, idx))
			return;
	for (idx = pageset_next(&cmd->moved, 0); idx < CHUNK_PAGES; idx = next, nr++) {
		uint64_t off = (uint64_t)idx << PAGE_SHIFT;

		next = pageset_next(&cmd->moved, idx + 1);
		if (pageset_has(&cmd->known, idx))
			continue;
		page_prefetch((const void *)(b + ((uint64_t)next << PAGE_SHIFT)));
		copy_bytes(bounce + off, b + off, PAGE_BYTES);
	}
	if (cmd->keep) {
		self->spare[cmd->half] = cmd->moved;
		self->nr_spare[cmd->half] = nr;
	}
	cmd->bounce = cmd->keep || !agent_drop(self, cmd);
}

/* Keeps the compiler from putting two constants side by side into its own data. */
static inline __attribute__((always_inline)) uint64_t plain(uint64_t value)
{
	__asm__("" : "+r"(value));
	return value;
}

/* New, empty memory in place of the old, with no page table below the chunk:
 * only there can a huge page be put without being split. Unregistered first,
 * so that no event is raised. */
static AGENT_CODE long agent_renew(int uffd, uint64_t va)
{
	struct uffdio_register reg = {
		.range = {.start = va, .len = CHUNK_BYTES},
		.mode = plain(UFFDIO_REGISTER_MODE_MISSING),
	};
	long ret;

	ret = sys(__NR_ioctl, uffd, UFFDIO_UNREGISTER, &reg.range, 0);
	if (ret)
		return ret;
	ret = sys6(__NR_mmap, (long)va, CHUNK_BYTES, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	if (ret < 0)
		return ret;
	sys(__NR_munlock, va, CHUNK_BYTES, 0, 0);
	sys(__NR_madvise, va, CHUNK_BYTES, MADV_DONTFORK, 0);
	sys(__NR_madvise, va, CHUNK_BYTES, MADV_DONTDUMP, 0);
	sys(__NR_madvise, va, CHUNK_BYTES, MADV_NOHUGEPAGE, 0);
	return sys(__NR_ioctl, uffd, UFFDIO_REGISTER, &reg, 0);
}

/* Empties the half. A whole chunk may be one huge page, and moves in 5 us when
 * it is not split: for that the half has to be new. */
static AGENT_CODE int32_t agent_make_way(struct agent_self *self, const struct agent_cmd *cmd)
{
	struct agent_ring *ring = self->ring;
	uint32_t bit = 1U << cmd->half;
	long ret;

	if (!(self->used & bit))
		return 0;
	if (pageset_next_gap(&cmd->want, 0) < CHUNK_PAGES)
		return agent_drop(self, cmd);
	forget_spare(self, cmd->half);
	ret = agent_renew(ring->uffd_scratch, half_va(ring->scratch_b, cmd));
	if (!ret)
		ret = agent_renew(ring->uffd_job, half_va(ring->scratch_a, cmd));
	return (int32_t)ret;
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

	cmd->err = agent_make_way(self, cmd);
	if (cmd->err) {
		cmd->bounce = 0;
		return;
	}
	self->last_half = cmd->half;
	self->used |= 1U << cmd->half;
	self->dirty_b |= 1U << cmd->half;
	for (idx = pageset_next(&cmd->want, 0); idx < CHUNK_PAGES;
	     idx = pageset_next(&cmd->want, end)) {
		end = agent_run_end(cmd, idx);
		if (!agent_take_run(ring, cmd, idx, end - idx))
			break;
	}
	agent_taken(ring, cmd);
	agent_stow(ring, cmd);
	if (cmd->err)
		cmd->bounce = 0;
	if (cmd->bounce)
		agent_bounce(self, cmd);
	cmd->spare = self->nr_spare[0] + self->nr_spare[1];
	ring->moves++;
}
