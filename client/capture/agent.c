/* SPDX-License-Identifier: Apache-2.0 */
/* The agent at work: it waits for commands in its ring, obeys, and answers. */
#include <linux/poll.h>
#include <sys/mman.h>

#include "client/capture/agent_parts.h"
#include "common/compat.h"

#define SIGNAL_KILL 9L

static AGENT_CODE _Noreturn void agent_die(const struct agent_ring *ring)
{
	sys(__NR_pidfd_send_signal, ring->target_pidfd, SIGNAL_KILL, 0, 0);
	for (;;)
		sys(__NR_exit_group, 0, 0, 0, 0);
}

/* Nothing to do: sleeps until the pager writes. Its end of the pipe is gone
 * when nobody is left who could answer the process's faults. */
static AGENT_CODE void agent_sleep(struct agent_ring *ring)
{
	struct agent_cmd *cmd = &ring->cmd[ring->next % AGENT_SLOTS];
	struct pollfd pfd = {.fd = ring->wake_fd, .events = POLLIN};
	char buf[64];
	long ret;

	__atomic_store_n(&ring->sleeping, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&cmd->state, __ATOMIC_SEQ_CST) != AGENT_QUEUED) {
		ret = sys(__NR_read, ring->wake_fd, buf, sizeof(buf), 0);
		if (ret == -EAGAIN)
			ret = sys(__NR_poll, &pfd, 1, -1, 0);
		if (ret == 0 || (ret < 0 && ret != -EINTR))
			agent_die(ring);
	}
	__atomic_store_n(&ring->sleeping, 0, __ATOMIC_SEQ_CST);
}

static AGENT_CODE int32_t agent_populate(const struct agent_cmd *cmd)
{
	unsigned int idx, end;
	long err = 0, ret;

	for (idx = pageset_next(&cmd->want, 0); idx < CHUNK_PAGES;
	     idx = pageset_next(&cmd->want, end)) {
		end = pageset_next_gap(&cmd->want, idx);
		ret = sys(__NR_madvise, cmd->va + ((uint64_t)idx << PAGE_SHIFT),
			  (uint64_t)(end - idx) << PAGE_SHIFT, MADV_POPULATE_WRITE, 0);
		if (ret && !err)
			err = ret;
	}
	return (int32_t)err;
}

static AGENT_CODE void agent_done(struct agent_ring *ring, struct agent_cmd *cmd)
{
	uint64_t one = 1;

	ring->next++;
	__atomic_store_n(&cmd->state, AGENT_DONE, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&ring->notify, __ATOMIC_SEQ_CST))
		sys(__NR_write, ring->done_fd, &one, sizeof(one), 0);
}

/* Everything but this code goes, the stack too: no memory is touched between
 * the first call and the last. */
static AGENT_CODE _Noreturn void agent_exit(struct agent_ring *ring, struct agent_cmd *cmd)
{
	uint64_t start = ring->own_start, code = ring->code_start;
	uint64_t code_end = ring->code_end, end = ring->own_end;

	/* Unmapping a registered range would raise an event and wait for its reader. */
	for (unsigned int h = 0; h < AGENT_HALVES; h++) {
		struct uffdio_range range = {ring->scratch[h], CHUNK_BYTES};

		sys(__NR_ioctl, ring->uffd_job, UFFDIO_UNREGISTER, &range, 0);
	}
	agent_done(ring, cmd);
	__asm__ volatile("syscall\n\t"
			 "movq %[code_end], %%rdi\n\t"
			 "movq %[rest], %%rsi\n\t"
			 "movl %[munmap], %%eax\n\t"
			 "syscall\n\t"
			 "xorl %%edi, %%edi\n\t"
			 "movl %[exit], %%eax\n\t"
			 "syscall\n\t"
			 "hlt"
			 :
			 : "a"(__NR_munmap), "D"(start),
			   "S"(code - start), [code_end] "r"(code_end), [rest] "r"(end - code_end),
			   [munmap] "i"(__NR_munmap), [exit] "i"(__NR_exit_group)
			 : "rcx", "r11", "memory");
	__builtin_unreachable();
}

static AGENT_CODE void agent_obey(struct agent_self *self, struct agent_cmd *cmd)
{
	volatile uint32_t op = cmd->op; /* volatile: no jump table */

	cmd->err = 0;
	cmd->overtaken = 0;
	for (unsigned int i = 0; i < CHUNK_WORDS; i++)
		cmd->moved.w[i] = cmd->busy.w[i] = cmd->invalid.w[i] = 0;
	if (op == AGENT_MOVE)
		agent_move(self, cmd);
	else if (op == AGENT_PLACE)
		agent_place(self, cmd);
	else if (op == AGENT_TAKE)
		agent_take(self, cmd);
	else if (op == AGENT_POPULATE)
		cmd->err = agent_populate(cmd);
	else if (op == AGENT_DROP)
		cmd->err = (int32_t)agent_drop(self, cmd->half);
	else if (op == AGENT_ADVISE)
		cmd->err = (int32_t)sys(__NR_madvise, cmd->va, cmd->bytes, cmd->advice, 0);
	else if (op == AGENT_EXIT)
		agent_exit(self->ring, cmd);
	else
		cmd->err = -ENOSYS;
}

AGENT_TEXT _Noreturn void agent_loop(struct agent_ring *ring)
{
	struct agent_self self;

	self.ring = ring;
	self.pid = sys(__NR_getpid, 0, 0, 0, 0);
	/* Whoever locks what it maps (MCL_FUTURE) has pages there that are nobody's. */
	self.dirty = (1U << AGENT_HALVES) - 1;
	self.bare = ring->has_move ? self.dirty : 0;
	self.used = self.last_half = 0;
	for (unsigned int h = 0; h < AGENT_HALVES; h++)
		forget_spare(&self, h);
	for (;;) {
		struct agent_cmd *cmd = &ring->cmd[ring->next % AGENT_SLOTS];
		uint32_t queued = AGENT_QUEUED;

		if (__atomic_compare_exchange_n(&cmd->state, &queued, AGENT_RUNNING, false,
						__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
			agent_obey(&self, cmd);
			agent_done(ring, cmd);
		} else {
			agent_sleep(ring);
		}
	}
}
