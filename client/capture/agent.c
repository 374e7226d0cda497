/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's code. It is copied, as bytes, into another process and runs
 * there on a task of its own: position independent, no C library, no global
 * data, nothing outside this file (a test looks at the relocations). It knows
 * its ring and nothing else. See agent.h for the protocol.
 *
 * Everything here is in the section agent_text. No switch statements: a jump
 * table would lie outside.
 */
#include "client/capture/agent.h"

#include <asm/unistd.h>
#include <fcntl.h>
#include <linux/errno.h>
#include <linux/poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "client/capture/agent_code.h"
#include "common/compat.h"

#define AGENT_CODE    __attribute__((section("agent_text"), noinline, flatten))
#define AGENT_RETRIES 64U
#define SIGNAL_KILL   9L

/* The agent's own knowledge, on its stack, where the pager can't reach it. */
struct agent_self {
	struct agent_ring *ring;
	uint32_t dirty_b; /* halves of B that hold pages */
	uint32_t used;	  /* halves that may have page tables below the chunk */
};

static inline __attribute__((always_inline)) long sys6(long nr, long a, long b, long c, long d,
						       long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

#define sys(nr, a, b, c, d) sys6((nr), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

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

/* Pages moved, or -errno when not one was. */
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

static AGENT_CODE long agent_uffd_move(int uffd, uint64_t dst, uint64_t src, unsigned int nr,
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

static AGENT_CODE uint64_t half_va(uint64_t scratch, const struct agent_cmd *cmd)
{
	return scratch + ((uint64_t)cmd->half << CHUNK_SHIFT);
}

static AGENT_CODE void set_run(pageset *s, unsigned int idx, unsigned int nr)
{
	for (; nr; nr--)
		pageset_add(s, idx++);
}

/* Is a page mapped at @va? Touches nothing. */
static AGENT_CODE bool agent_has_page(uint64_t va)
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

static AGENT_CODE int32_t agent_drop(struct agent_self *self, const struct agent_cmd *cmd)
{
	long ret;

	if (!(self->dirty_b & 1U << cmd->half))
		return 0;
	ret = sys(__NR_madvise, half_va(self->ring->scratch_b, cmd), CHUNK_BYTES, MADV_DONTNEED, 0);
	if (!ret)
		self->dirty_b &= ~(1U << cmd->half);
	return (int32_t)ret;
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

static AGENT_CODE void agent_move(struct agent_self *self, struct agent_cmd *cmd)
{
	struct agent_ring *ring = self->ring;
	unsigned int idx, end;

	cmd->err = agent_make_way(self, cmd);
	if (cmd->err)
		return;
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
	ring->moves++;
}

static AGENT_CODE void agent_copy(uint64_t to, uint64_t from, uint64_t bytes)
{
	uint64_t words = bytes / sizeof(uint64_t);

	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
}

/* What is locked may not leave, what may not be read is not copied: it would be a signal.
 * Both are asked before, since of a call that fails a part may be done. */
static AGENT_CODE bool agent_take_out(struct agent_ring *ring, struct agent_cmd *cmd,
				      unsigned int idx, unsigned int nr)
{
	uint64_t va = cmd->va + ((uint64_t)idx << PAGE_SHIFT);
	uint64_t b = half_va(ring->scratch_b, cmd) + ((uint64_t)idx << PAGE_SHIFT);
	uint64_t bytes = (uint64_t)nr << PAGE_SHIFT;

	if (sys(__NR_madvise, va, bytes, MADV_COLD, 0) ||
	    sys(__NR_madvise, va, bytes, MADV_POPULATE_READ, 0))
		return false;
	agent_copy(b, va, bytes);
	if (!sys(__NR_madvise, va, bytes, MADV_DONTNEED, 0)) {
		set_run(&cmd->moved, idx, nr);
		ring->pages += nr;
		return true;
	}
	if (nr > 1) /* its mappings change: what went can't be told */
		cmd->err = -EFAULT;
	return false;
}

/* Where a run fails, what is left of it goes page by page. What stays is not left in B. */
static AGENT_CODE void agent_take(struct agent_self *self, struct agent_cmd *cmd)
{
	struct agent_ring *ring = self->ring;
	unsigned int idx, end;

	cmd->err = agent_drop(self, cmd);
	if (cmd->err)
		return;
	self->dirty_b |= 1U << cmd->half;
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
	struct uffdio_range a = {ring->scratch_a, AGENT_HALVES * CHUNK_BYTES};

	/* Unmapping a registered range would raise an event and wait for its reader. */
	sys(__NR_ioctl, ring->uffd_job, UFFDIO_UNREGISTER, &a, 0);
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
	else if (op == AGENT_TAKE)
		agent_take(self, cmd);
	else if (op == AGENT_POPULATE)
		cmd->err = agent_populate(cmd);
	else if (op == AGENT_DROP)
		cmd->err = agent_drop(self, cmd);
	else if (op == AGENT_ADVISE)
		cmd->err = (int32_t)sys(__NR_madvise, cmd->va, cmd->bytes, cmd->advice, 0);
	else if (op == AGENT_EXIT)
		agent_exit(self->ring, cmd);
	else
		cmd->err = -ENOSYS;
}

static __attribute__((section("agent_text"), noinline)) _Noreturn void agent_loop(
	struct agent_ring *ring)
{
	struct agent_self self = {.ring = ring};

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

/* Memory that is nobody else's, a name, and a directory that holds no file
 * system of the job's busy. */
static AGENT_CODE long boot_settle(struct agent_boot *b)
{
	long ret;

	/* A job under mlockall() has locked this too, and MOVE refuses locked memory. */
	b->step = BOOT_MUNLOCK;
	ret = sys(__NR_munlock, b->own_start, b->own_bytes, 0, 0);
	if (ret)
		return ret;
	b->step = BOOT_DONTFORK;
	ret = sys(__NR_madvise, b->own_start, b->own_bytes, MADV_DONTFORK, 0);
	if (ret)
		return ret;
	b->step = BOOT_DONTDUMP;
	ret = sys(__NR_madvise, b->own_start, b->own_bytes, MADV_DONTDUMP, 0);
	if (ret)
		return ret;
	/* Whole huge pages still move; single ones don't zero 2 MiB first. A
	 * kernel without huge pages has nothing to turn off. */
	sys(__NR_madvise, b->scratch, b->scratch_bytes, MADV_NOHUGEPAGE, 0);
	b->step = BOOT_NAME;
	/* For the whole space: a fault in a huge page's place would zero 2 MiB
	 * first and then ask the pager for 4 KiB. */
	sys(__NR_prctl, PR_SET_THP_DISABLE, 1, 0, 0);
	ret = sys(__NR_prctl, PR_SET_NAME, b->name, 0, 0);
	if (ret)
		return ret;
	b->step = BOOT_CHDIR;
	return sys(__NR_chdir, b->root, 0, 0, 0);
}

static AGENT_CODE long boot_receive(struct agent_boot *b)
{
	struct cmsghdr *c = (struct cmsghdr *)b->control;
	const int *fd = (const int *)(c + 1);
	long ret;

	b->step = BOOT_RECVMSG;
	ret = sys(__NR_recvmsg, b->sock, &b->msg, MSG_CMSG_CLOEXEC, 0);
	if (ret != 1)
		return ret < 0 ? ret : -EPIPE;
	if (b->msg.msg_controllen < sizeof(*c) ||
	    c->cmsg_len != sizeof(*c) + b->nr_passed * sizeof(int))
		return -EMFILE;
	for (unsigned int i = 0; i < b->nr_passed; i++)
		b->fd[i] = fd[i];
	return 0;
}

static AGENT_CODE long boot_userfaultfds(struct agent_boot *b)
{
	long flags = O_CLOEXEC | O_NONBLOCK;
	long ret;

	b->step = BOOT_UFFD_JOB;
	if (b->nr_passed <= PASS_UFFD_JOB) {
		ret = sys(__NR_ioctl, b->fd[PASS_DEVICE], USERFAULTFD_IOC_NEW, flags, 0);
		if (ret < 0)
			return ret;
		b->fd[PASS_UFFD_JOB] = (int32_t)ret;
	}
	b->step = BOOT_UFFD_SCRATCH;
	ret = sys(__NR_ioctl, b->fd[PASS_DEVICE], USERFAULTFD_IOC_NEW, flags, 0);
	b->uffd_scratch = (int32_t)ret;
	return ret < 0 ? ret : 0;
}

static AGENT_CODE long boot_ring(struct agent_boot *b)
{
	long ret;

	b->step = BOOT_RING;
	ret = sys6(__NR_mmap, (long)b->ring, PAGE_BYTES, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_FIXED, b->fd[PASS_RING], 0);
	if (ret < 0)
		return ret;
	ret = sys(__NR_madvise, b->ring, PAGE_BYTES, MADV_DONTFORK, 0);
	if (!ret)
		ret = sys(__NR_madvise, b->ring, PAGE_BYTES, MADV_DONTDUMP, 0);
	return ret;
}

__attribute__((section("agent_text"), noinline)) _Noreturn void agent_boot(struct agent_boot *b)
{
	char byte = 0;
	long ret;

	sys(__NR_close, b->peer, 0, 0, 0);
	ret = boot_settle(b);
	if (!ret)
		ret = boot_receive(b);
	if (!ret)
		ret = boot_userfaultfds(b);
	if (!ret)
		ret = boot_ring(b);
	if (!ret)
		b->step = BOOT_DONE;
	b->err = (int32_t)ret;
	sys6(__NR_sendto, b->sock, (long)&byte, 1, MSG_NOSIGNAL, 0, 0);
	/* Nothing comes when the pager has given up, or is gone. */
	while (sys(__NR_read, b->sock, &byte, 1, 0) != 1)
		sys(__NR_exit_group, 0, 0, 0, 0);
	sys(__NR_close, b->sock, 0, 0, 0);
	sys(__NR_close, b->fd[PASS_DEVICE], 0, 0, 0);
	sys(__NR_close, b->fd[PASS_RING], 0, 0, 0);
	agent_loop((struct agent_ring *)b->ring);
}
