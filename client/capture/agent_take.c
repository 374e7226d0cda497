/* SPDX-License-Identifier: Apache-2.0 */
/* The agent takes pages out where nothing can be moved: copy and drop (take.h says who makes
 * sure that nobody writes to them meanwhile). */
#include <sys/mman.h>

#include "client/capture/agent_parts.h"
#include "common/compat.h"

/* What is locked may not leave, what may not be read is not copied: it would be a signal.
 * Both are asked before, since of a call that fails a part may be done. */
static AGENT_CODE bool agent_take_out(struct agent_ring *ring, struct agent_cmd *cmd,
				      unsigned int idx, unsigned int nr)
{
	uint64_t va = cmd->va + ((uint64_t)idx << PAGE_SHIFT);
	uint64_t to = half_va(ring, cmd) + ((uint64_t)idx << PAGE_SHIFT);
	uint64_t bytes = (uint64_t)nr << PAGE_SHIFT;

	if (sys(__NR_madvise, va, bytes, MADV_COLD, 0) ||
	    sys(__NR_madvise, va, bytes, MADV_POPULATE_READ, 0))
		return false;
	copy_bytes(to, va, bytes);
	if (!sys(__NR_madvise, va, bytes, MADV_DONTNEED, 0)) {
		set_run(&cmd->moved, idx, nr);
		ring->pages += nr;
		return true;
	}
	if (nr > 1) /* its mappings change: what went can't be told */
		cmd->err = -EFAULT;
	return false;
}

/* Where a run fails, what is left of it goes page by page. */
AGENT_CODE void agent_take(struct agent_self *self, struct agent_cmd *cmd)
{
	struct agent_ring *ring = self->ring;
	unsigned int idx, end;

	/* Not registered here, it may have got pages by an mlockall(), too. */
	self->dirty |= 1U << cmd->half;
	cmd->err = (int32_t)agent_drop(self, cmd->half);
	if (cmd->err)
		return;
	self->dirty |= 1U << cmd->half;
	for (idx = pageset_next(&cmd->want, 0); idx < CHUNK_PAGES && !cmd->err;
	     idx = pageset_next(&cmd->want, end)) {
		end = pageset_next_gap(&cmd->want, idx);
		if (agent_take_out(ring, cmd, idx, end - idx))
			continue;
		for (; idx < end && !cmd->err; idx++)
			if (!agent_take_out(ring, cmd, idx, 1))
				pageset_add(&cmd->invalid, idx);
	}
	ring->moves++;
}
