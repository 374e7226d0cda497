/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a bare task to a running agent. Held by ptrace it gets a descriptor
 * table, memory, a socket and its code; with those it goes on by itself (see
 * agent_boot), and the process has been running all the while. Its part of
 * the address space is one reservation:
 *
 *	own_start .. code stack buffer ring | scratch[0] | bounce | scratch[1] .. own_end
 *
 * The halves of scratch are not side by side: as one mapping they would have to be split each
 * time that one of them is registered anew, which a process with many mappings may not do.
 */
#include <errno.h>
#include <linux/close_range.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/capture/agent_code.h"
#include "client/capture/inject_parts.h"
#include "common/base/err.h"
#include "common/compat.h"

#define OWN_BYTES    (AGENT_HALVES * CHUNK_BYTES + AGENT_BOUNCE_BYTES + 2 * CHUNK_BYTES)
#define CODE_BYTES   (3 * PAGE_BYTES)
#define STACK_BYTES  (4 * PAGE_BYTES)
#define BUFFER_BYTES PAGE_BYTES
#define RING_BYTES   PAGE_BYTES
#define SMALL_BYTES  (CODE_BYTES + STACK_BYTES + BUFFER_BYTES + RING_BYTES)
#define AGENT_FILES  64U
#define JOB_FEATURES                                                                      \
	(UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE | \
	 UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_THREAD_ID | UFFD_FEATURE_EXACT_ADDRESS)

_Static_assert(sizeof(struct agent_ring) <= RING_BYTES, "the ring is one page");

_Static_assert(sizeof(struct agent_boot) <= BUFFER_BYTES, "the buffer is one page");

struct setup {
	struct injection *inj;
	uint64_t code, stack_top, buffer, ring, bounce;
	int sock; /* our end of the pair */
	struct agent_boot boot;
};

#define BOOT_VA(s, field) ((void *)((s)->buffer + offsetof(struct agent_boot, field)))

static int call(struct setup *s, const char *what, long *out, long nr, const long arg[6])
{
	long got = 0;
	int ret = tracee_call(&s->inj->agent, &got, nr, arg);

	if (!ret && got < 0)
		ret = (int)got;
	if (ret)
		return err_set(ret, "process %d: agent: %s: %s", s->inj->args->pid, what,
			       strerror(-ret));
	if (out)
		*out = got;
	return 0;
}

#define CALL(s, out, name, ...) call((s), #name, (out), SYS_##name, (const long[6]){__VA_ARGS__})

/* Limits of the job are not the agent's: it has its own copy of them. */
static void lift_limits(pid_t tid)
{
	const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
	const struct rlimit files = {AGENT_FILES, AGENT_FILES};

	prlimit(tid, RLIMIT_AS, &none, NULL);
	prlimit(tid, RLIMIT_DATA, &none, NULL);
	prlimit(tid, RLIMIT_CPU, &none, NULL);
	prlimit(tid, RLIMIT_NOFILE, &files, NULL);
}

/* Where nobody puts anything by himself: below a library, or in a hole that the
 * job made, it might be in the way of what the job maps at a fixed place. */
#define OWN_HINT   0x2a5e00000000L
#define OWN_PLACES 64

/*
 * Something may lie there: a thread that forks in the instant in which another's agent has mapped
 * memory and not yet said that no child shall have it (agent_renew()) hands it on. So the kernel
 * chooses last of all.
 */
static int map_own(struct setup *s, long *at)
{
	const long flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	const long prot = PROT_READ | PROT_WRITE;

	for (long i = 0; i < OWN_PLACES; i++) {
		const long arg[6] = {OWN_HINT + 2 * i * OWN_BYTES, OWN_BYTES, prot,
				     flags | MAP_FIXED_NOREPLACE,  -1,	      0};
		int ret = tracee_call(&s->inj->agent, at, SYS_mmap, arg);

		if (ret)
			return err_set(ret, "process %d: agent: mmap: %s", s->inj->args->pid,
				       strerror(-ret));
		if (*at == arg[0])
			return 0;
		if (*at != -EEXIST)
			break;
	}
	return CALL(s, at, mmap, OWN_HINT, OWN_BYTES, prot, flags, -1, 0);
}

static int reserve(struct setup *s)
{
	uint64_t first;
	long at = 0;
	int ret = map_own(s, &at);

	if (ret)
		return ret;
	s->inj->own_start = (uint64_t)at;
	s->inj->own_end = (uint64_t)at + OWN_BYTES;
	first = ((uint64_t)at + SMALL_BYTES + CHUNK_BYTES - 1) & ~(CHUNK_BYTES - 1);
	s->inj->scratch[0] = first;
	s->bounce = first + CHUNK_BYTES;
	s->inj->scratch[1] = s->bounce + AGENT_BOUNCE_BYTES;
	s->code = first - SMALL_BYTES;
	s->stack_top = s->code + CODE_BYTES + STACK_BYTES;
	s->buffer = s->stack_top;
	s->ring = s->buffer + BUFFER_BYTES;
	return 0;
}

static int connect_pair(struct setup *s)
{
	int pair[2], ret;

	ret = CALL(s, NULL, socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, (long)s->buffer);
	if (ret)
		return ret;
	ret = tracee_read(s->inj->agent.tid, s->buffer, pair, sizeof(pair));
	if (ret)
		return err_set(ret, "process %d: can't read: %s", s->inj->args->pid,
			       strerror(-ret));
	s->sock = (int)syscall(SYS_pidfd_getfd, s->inj->out->pidfd, pair[0], 0);
	if (s->sock < 0)
		return err_set(-errno, "process %d: pidfd_getfd: %s", s->inj->args->pid,
			       strerror(errno));
	s->boot.peer = pair[0];
	s->boot.sock = pair[1];
	return 0;
}

static int write_code(struct setup *s)
{
	const size_t code_bytes = (size_t)(agent_code_end - agent_code_start);
	struct agent_boot *b = &s->boot;
	pid_t tid = s->inj->agent.tid;
	int ret;

	if (code_bytes > CODE_BYTES)
		return err_set(-E2BIG, "the agent's code is %zu bytes", code_bytes);
	b->own_start = s->inj->own_start;
	b->own_bytes = OWN_BYTES;
	b->ring = s->ring;
	b->bounce = s->bounce;
	memcpy(b->scratch, s->inj->scratch, sizeof(b->scratch));
	b->nr_passed = s->inj->args->uffd_job >= 0 ? NR_PASSED : PASS_UFFD_JOB;
	memcpy(b->name, AGENT_NAME, sizeof(AGENT_NAME));
	b->root[0] = '/';
	b->iov = (struct iovec){BOOT_VA(s, byte), 1};
	b->msg = (struct msghdr){.msg_iov = BOOT_VA(s, iov),
				 .msg_iovlen = 1,
				 .msg_control = BOOT_VA(s, control),
				 .msg_controllen = sizeof(b->control)};
	ret = tracee_write(tid, s->code, agent_code_start, code_bytes);
	if (!ret)
		ret = tracee_write(tid, s->buffer, b, sizeof(*b));
	if (ret)
		return err_set(ret, "process %d: can't write the agent: %s", s->inj->args->pid,
			       strerror(-ret));
	return CALL(s, NULL, mprotect, (long)s->code, CODE_BYTES, PROT_READ | PROT_EXEC);
}

static int send_descriptors(int sock, const int *fd, size_t nr)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(NR_PASSED * sizeof(int))] = {0};
	struct iovec iov = {(void *)(uintptr_t) "", 1};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = CMSG_SPACE(nr * sizeof(int)),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(nr * sizeof(int));
	memcpy(CMSG_DATA(c), fd, nr * sizeof(int));
	return sendmsg(sock, &msg, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

static int pass_descriptors(struct setup *s)
{
	const struct inject_args *args = s->inj->args;
	const int fd[NR_PASSED] = {
		[PASS_DEVICE] = args->dev_userfaultfd, [PASS_RING] = s->inj->out->ring_fd,
		[PASS_TARGET] = s->inj->target_pidfd,  [PASS_WAKE] = args->wake_read_fd,
		[PASS_DONE] = args->done_fd,	       [PASS_UFFD_JOB] = args->uffd_job,
	};
	int ret = send_descriptors(s->sock, fd, s->boot.nr_passed);

	if (ret)
		return err_set(ret, "process %d: can't pass descriptors: %s", args->pid,
			       strerror(-ret));
	return 0;
}

static int start(struct setup *s)
{
	uint64_t off = (uint64_t)((const char *)agent_boot - agent_code_start);
	int ret = tracee_start(&s->inj->agent, s->code + off, s->buffer, s->stack_top);

	return ret ? err_set(ret, "process %d: the agent has ended", s->inj->args->pid) : 0;
}

static int wait_for_byte(struct setup *s)
{
	struct pollfd pfd = {.fd = s->sock, .events = POLLIN};
	uint64_t now = tracee_now_ns(), end = s->inj->deadline_ns;
	char byte;

	if (now >= end || poll(&pfd, 1, (int)((end - now) / 1000000) + 1) != 1)
		return -ETIMEDOUT;
	return read(s->sock, &byte, 1) == 1 ? 0 : -ESRCH;
}

/* What the task has done by itself. */
static int wait_for_boot(struct setup *s)
{
	static const char *const name[] = {
		[BOOT_MUNLOCK] = "munlock",
		[BOOT_DONTFORK] = "madvise(DONTFORK)",
		[BOOT_DONTDUMP] = "madvise(DONTDUMP)",
		[BOOT_NAME] = "prctl",
		[BOOT_CHDIR] = "chdir",
		[BOOT_RECVMSG] = "recvmsg",
		[BOOT_UFFD_JOB] = "ioctl on /dev/userfaultfd",
		[BOOT_RING] = "mapping the ring",
		[BOOT_DONE] = "start",
	};
	struct agent_boot *b = &s->boot;
	int ret = wait_for_byte(s);

	if (!ret)
		ret = tracee_read(s->inj->agent.tid, s->buffer, b, sizeof(*b));
	if (ret)
		return err_set(ret, "process %d: the agent does not start: %s", s->inj->args->pid,
			       strerror(-ret));
	if (b->err || b->step != BOOT_DONE)
		return err_set(b->err < 0 ? b->err : -EIO, "process %d: agent: %s: %s",
			       s->inj->args->pid, name[b->step < BOOT_DONE ? b->step : BOOT_DONE],
			       strerror(-b->err));
	return 0;
}

static int take_over(struct setup *s, int *out, int theirs)
{
	*out = (int)syscall(SYS_pidfd_getfd, s->inj->out->pidfd, theirs, 0);
	if (*out < 0)
		return err_set(-errno, "process %d: pidfd_getfd: %s", s->inj->args->pid,
			       strerror(errno));
	return 0;
}

static int negotiate(struct setup *s, int uffd, uint64_t features)
{
	struct uffdio_api api = {.api = UFFD_API, .features = features};

	if (!ioctl(uffd, UFFDIO_API, &api))
		return 0;
	return err_set(-errno, "process %d: userfaultfd features: %s", s->inj->args->pid,
		       strerror(errno));
}

static int register_scratch(struct setup *s, int uffd, uint64_t va)
{
	struct uffdio_register reg = {
		.range = {va, CHUNK_BYTES},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	if (!ioctl(uffd, UFFDIO_REGISTER, &reg))
		return 0;
	return err_set(-errno, "process %d: can't register scratch: %s", s->inj->args->pid,
		       strerror(errno));
}

static int open_userfaultfd(struct setup *s)
{
	struct agent *out = s->inj->out;
	const bool no_move = s->inj->args->no_move;
	const uint64_t move = no_move ? 0 : UFFD_FEATURE_MOVE;
	int ret;

	ret = take_over(s, &out->uffd_job, s->boot.fd[PASS_UFFD_JOB]);
	if (!ret)
		ret = s->inj->args->uffd_job < 0 ? negotiate(s, out->uffd_job, JOB_FEATURES | move)
						 : 0;
	/* Without MOVE the agent writes there itself. */
	for (unsigned int h = 0; h < AGENT_HALVES && !ret && !no_move; h++)
		ret = register_scratch(s, out->uffd_job, s->inj->scratch[h]);
	return ret;
}

static void write_ring(const struct setup *s)
{
	struct agent_ring *ring = s->inj->out->ring;

	ring->abi = AGENT_ABI;
	ring->uffd_job = s->boot.fd[PASS_UFFD_JOB];
	ring->wake_fd = s->boot.fd[PASS_WAKE];
	ring->done_fd = s->boot.fd[PASS_DONE];
	ring->target_pidfd = s->boot.fd[PASS_TARGET];
	ring->has_move = !s->inj->args->no_move;
	memcpy(ring->scratch, s->inj->scratch, sizeof(ring->scratch));
	ring->bounce = s->bounce;
	ring->own_start = s->inj->own_start;
	ring->own_end = s->inj->own_end;
	ring->code_start = s->code;
	ring->code_end = s->code + CODE_BYTES;
}

static int let_go(struct setup *s)
{
	write_ring(s);
	if (send(s->sock, "", 1, MSG_NOSIGNAL) == 1)
		return 0;
	return err_set(-ESRCH, "process %d: the agent has ended", s->inj->args->pid);
}

int inject_setup(struct injection *inj)
{
	int (*const step[])(struct setup *) = {
		reserve, connect_pair,	write_code,	  pass_descriptors,
		start,	 wait_for_boot, open_userfaultfd, let_go,
	};
	struct setup s = {.inj = inj, .sock = -1};
	int ret;

	lift_limits(inj->agent.tid);
	/* First of all a table of its own, empty, without closing (and so
	 * flushing) a single one of the job's files. */
	ret = CALL(&s, NULL, close_range, 0, ~0U, CLOSE_RANGE_UNSHARE);
	/* From here on no signal to the job's group reaches it; a stop signal
	 * that has is swallowed by the next call. */
	if (!ret)
		ret = CALL(&s, NULL, setsid);
	for (size_t i = 0; !ret && i < sizeof(step) / sizeof(step[0]); i++)
		ret = step[i](&s);
	if (s.sock >= 0)
		close(s.sock);
	return ret;
}
