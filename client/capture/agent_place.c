/* SPDX-License-Identifier: Apache-2.0 */
/* The agent puts pages in place, in those that it has moved out before: cheaper than new ones,
 * and beside the pager. What it has none to spare for is the pager's again. */
#include <sys/uio.h>

#include "client/capture/agent_parts.h"
#include "common/compat.h"

static AGENT_CODE uint64_t agent_spare_va(const struct agent_self *self, unsigned int half,
					  unsigned int idx)
{
	return self->ring->scratch[half] + ((uint64_t)idx << PAGE_SHIFT);
}

static AGENT_CODE void agent_use_up(struct agent_self *self, unsigned int half, unsigned int idx,
				    unsigned int nr)
{
	self->nr_spare[half] -= nr;
	for (; nr; nr--)
		pageset_del(&self->spare[half], idx++);
}

/* How many of @nr pages are there, from the first on. One that a MOVE took and did not count is
 * not (agent_taken()), and to touch it would be a fault that nobody answers. */
static AGENT_CODE unsigned int agent_there(uint64_t va, unsigned int nr)
{
	unsigned char here[CHUNK_PAGES];
	unsigned int n = 0;

	if (sys(__NR_mincore, va, (uint64_t)nr << PAGE_SHIFT, here, 0))
		return 0;
	while (n < nr && here[n] & 1)
		n++;
	return n;
}

/* A run of them in this half, @most at most. 0: none. */
static AGENT_CODE unsigned int agent_spare_in(struct agent_self *self, unsigned int half,
					      unsigned int most, unsigned int *idx)
{
	const pageset *spare = &self->spare[half];
	unsigned int nr;

	while ((*idx = pageset_next(spare, 0)) < CHUNK_PAGES) {
		nr = pageset_next_gap(spare, *idx) - *idx;
		nr = agent_there(agent_spare_va(self, half, *idx), nr < most ? nr : most);
		if (nr)
			return nr;
		agent_use_up(self, half, *idx, 1);
	}
	return 0;
}

/* The first run of them, @most at most: its half, where it begins, and how many. 0: none.
 * First those that will be dropped first. */
static AGENT_CODE unsigned int agent_spare_run(struct agent_self *self, unsigned int most,
					       unsigned int *half, unsigned int *idx)
{
	unsigned int nr = 0;

	for (unsigned int n = 1; n <= AGENT_HALVES && !nr; n++) {
		*half = (self->last_half + n) % AGENT_HALVES;
		nr = agent_spare_in(self, *half, most, idx);
	}
	return nr;
}

/* As agent_copy_by_kernel(). */
static AGENT_CODE void agent_copy_in(struct agent_self *self, uint64_t to, uint64_t from,
				     uint64_t bytes)
{
	struct iovec there = {(void *)to, bytes}, here = {(void *)from, bytes};

	if (self->ring->by_kernel && sys6(__NR_process_vm_writev, self->pid, (long)&here, 1,
					  (long)&there, 1, 0) == (long)bytes)
		return;
	copy_bytes(to, from, bytes);
}

/* Filled as by UFFDIO_COPY: an event that is unread, and a page that is there, refuse it.
 * How many are done with; 0: an event is unread. */
static AGENT_CODE unsigned int agent_place_run(struct agent_self *self, struct agent_cmd *cmd,
					       unsigned int idx, unsigned int half,
					       unsigned int from, unsigned int nr)
{
	const struct agent_ring *ring = self->ring;
	uint64_t src = agent_spare_va(self, half, from);
	uint64_t off = (uint64_t)idx << PAGE_SHIFT;
	long n;

	agent_copy_in(self, src, ring->bounce + AGENT_BOUNCE_IN + off, (uint64_t)nr << PAGE_SHIFT);
	n = agent_uffd_move(ring->uffd_job, cmd->va + off, src, nr, 0);
	if (n == -EAGAIN) {
		cmd->overtaken = 1;
		return 0;
	}
	if (n == -EEXIST && !agent_has_page(src))
		n = 1; /* uncounted */
	if (n > 0) {
		set_run(&cmd->moved, idx, (unsigned int)n);
	} else if (n == -EEXIST) {
		pageset_add(&cmd->busy, idx);
		return 1;
	} else {
		n = 1; /* it may be the page to spare that will not go */
	}
	agent_use_up(self, half, from, (unsigned int)n);
	return (unsigned int)n;
}

AGENT_CODE void agent_place(struct agent_self *self, struct agent_cmd *cmd)
{
	unsigned int idx = pageset_next(&cmd->want, 0), half, from, nr;

	while (idx < CHUNK_PAGES) {
		nr = agent_spare_run(self, pageset_next_gap(&cmd->want, idx) - idx, &half, &from);
		if (nr)
			nr = agent_place_run(self, cmd, idx, half, from, nr);
		if (!nr)
			break;
		idx = pageset_next(&cmd->want, idx + nr);
	}
	cmd->spare = self->nr_spare[0] + self->nr_spare[1];
}
