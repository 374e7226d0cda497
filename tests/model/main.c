/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model_test [--seeds A..B] [--calls N] [--seconds N]
 *
 * The monitor. Each call is made on the model first, which says what messages
 * to expect and what bytes to answer each fault with, then in the real process.
 * Skips (77) where userfaultfd with MOVE and fork events can't be had.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/compat.h"
#include "tests/model/model.h"
#include "tests/zero_page.h"

#define FEATURES                                                                          \
	(UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE | \
	 UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_MOVE | UFFD_FEATURE_PAGEFAULT_FLAG_WP)

static struct model *m;
static struct proc procs[PROCS];
static struct msg want[MAX_MSGS];
static unsigned int nr_want;
static uint64_t seed, rnd_state, value_next;
static unsigned int call_nr;
static struct mop last_op;

void fail(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "model_test: FAILED seed %lu call %u (type %u i %u n %u j %u m %u): ",
		(unsigned long)seed, call_nr, last_op.type, last_op.i, last_op.n, last_op.j,
		last_op.m);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	for (unsigned int k = 0; k < PROCS; k++)
		if (procs[k].used)
			kill(procs[k].pid, SIGKILL);
	exit(1);
}

static void model_failed(void *ctx, const char *what, unsigned int space, unsigned int page,
			 uint64_t value) __attribute__((noreturn));
static void model_failed(void *ctx, const char *what, unsigned int space, unsigned int page,
			 uint64_t value)
{
	(void)ctx;
	fail("the model says: %s: space %u page %u value %lx", what, space, page,
	     (unsigned long)value);
}

static unsigned int below(unsigned int n)
{
	rnd_state ^= rnd_state >> 12;
	rnd_state ^= rnd_state << 25;
	rnd_state ^= rnd_state >> 27;
	return (unsigned int)((rnd_state * 0x2545f4914f6cdd1dULL >> 33) % n);
}

/* ---- the model's side ---- */

/* The model splits mappings where the kernel may join them again: messages
 * about neighbouring parts count as one. */
static void note(struct msg *list, unsigned int *nr, const struct msg *msg)
{
	struct msg *last = *nr ? &list[*nr - 1] : NULL;

	if (last && last->type == MMSG_REMOVE && msg->type == MMSG_REMOVE &&
	    last->i + last->n == msg->i) {
		last->n += msg->n;
		return;
	}
	if (*nr == MAX_MSGS)
		fail("too many messages");
	list[(*nr)++] = *msg;
}

static void model_monitor(unsigned int s)
{
	struct mmsg mm;
	struct msg msg;
	int err;

	if (!model_read(m, s, &mm))
		fail("the model blocks without a message");
	msg = (struct msg){.type = mm.ev.type, .i = mm.ev.i, .n = mm.ev.n, .j = mm.ev.j};
	if (msg.type == MMSG_FAULT && mm.ev.guarded) {
		msg.guarded = true;
		err = model_allow(m, s, msg.i, 1);
		if (err)
			fail("the model refuses to allow a write: %d", err);
	} else if (msg.type == MMSG_FAULT) {
		msg.value = m->space[s].page[msg.i].want;
		err = model_fill(m, s, msg.i, msg.value);
		if (err)
			fail("the model refuses a fill: %d", err);
		msg.guard = below(2);
		if (msg.guard)
			model_guard(m, s, msg.i);
	}
	note(want, &nr_want, &msg);
}

static struct mop *model_call(unsigned int t, const struct mop *op)
{
	enum mstep step;

	nr_want = 0;
	model_start(m, t, op);
	while ((step = model_step(m, t)) != MSTEP_DONE)
		if (step == MSTEP_BLOCKED)
			model_monitor(m->task[t].space);
	return &m->task[t].op;
}

/* ---- the kernel's side ---- */

static void take_fd(struct proc *p, int uffd, pid_t pid)
{
	char path[64];

	p->used = true;
	p->pid = pid;
	p->uffd = uffd;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	p->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	p->mem = open(path, O_RDONLY | O_CLOEXEC);
	p->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (p->pagemap < 0 || p->mem < 0 || p->pidfd < 0)
		fail("process %d: %s", pid, strerror(errno));
}

static void allow_write(const struct proc *p, unsigned int i)
{
	struct uffdio_writeprotect wp = {.range = {.start = page_va(i), .len = PAGE_BYTES}};

	while (ioctl(p->uffd, UFFDIO_WRITEPROTECT, &wp))
		if (errno != EAGAIN)
			fail("UFFDIO_WRITEPROTECT page %u: %s", i, strerror(errno));
}

static void answer_fault(const struct proc *p, unsigned int i, uint64_t value, bool guard)
{
	static uint64_t page[PAGE_BYTES / 8] __attribute__((aligned(4096)));
	struct uffdio_copy copy = {
		.dst = page_va(i), .src = (uint64_t)(uintptr_t)page, .len = PAGE_BYTES};

	copy.mode = guard ? UFFDIO_COPY_MODE_WP : 0;
	page[0] = value;
	while (ioctl(p->uffd, UFFDIO_COPY, &copy))
		if (errno != EAGAIN)
			fail("UFFDIO_COPY page %u: %s", i, strerror(errno));
}

static void range_msg(struct msg *msg, uint8_t type, uint64_t start, uint64_t end)
{
	msg->type = type;
	msg->i = page_of(start);
	msg->n = (unsigned int)((end - start) >> PAGE_SHIFT);
}

/* Reads and answers one message; false when it is scratch's own. */
static bool real_monitor(struct proc *p, unsigned int nr, struct msg *msg, int *child_uffd)
{
	struct uffd_msg um;

	memset(msg, 0, sizeof(*msg));
	if (read(p->uffd, &um, sizeof(um)) != sizeof(um))
		return false;
	switch (um.event) {
	case UFFD_EVENT_PAGEFAULT:
		range_msg(msg, MMSG_FAULT, um.arg.pagefault.address,
			  um.arg.pagefault.address + PAGE_BYTES);
		msg->guarded = um.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP;
		if (nr >= nr_want || want[nr].type != MMSG_FAULT || want[nr].i != msg->i ||
		    want[nr].guarded != msg->guarded)
			fail("the kernel has a fault at page %u, guarded %d, that the model has "
			     "not",
			     msg->i, msg->guarded);
		if (msg->guarded)
			allow_write(p, msg->i);
		else
			answer_fault(p, msg->i, want[nr].value, want[nr].guard);
		return true;
	case UFFD_EVENT_REMOVE:
		if (um.arg.remove.start == SCRATCH_VA)
			return false;
		range_msg(msg, MMSG_REMOVE, um.arg.remove.start, um.arg.remove.end);
		return true;
	case UFFD_EVENT_UNMAP:
		range_msg(msg, MMSG_UNMAP, um.arg.remove.start, um.arg.remove.end);
		return true;
	case UFFD_EVENT_REMAP:
		range_msg(msg, MMSG_REMAP, um.arg.remap.from, um.arg.remap.from + um.arg.remap.len);
		msg->j = page_of(um.arg.remap.to);
		return true;
	default:
		msg->type = MMSG_FORK;
		msg->n = 0;
		*child_uffd = (int)um.arg.fork.ufd;
		return true;
	}
}

static struct answer real_call(struct proc *p, const struct cmd *c, int *child_uffd)
{
	int sock = job_socks[p - procs][0];
	struct msg got[MAX_MSGS], msg;
	unsigned int nr = 0;
	struct answer a;

	if (send(sock, c, sizeof(*c), 0) != sizeof(*c))
		fail("send: %s", strerror(errno));
	for (;;) {
		struct pollfd fds[2] = {{p->uffd, POLLIN, 0}, {sock, POLLIN, 0}};

		if (poll(fds, 2, 5000) <= 0)
			fail("the kernel's call hangs");
		if (fds[0].revents & POLLIN) {
			if (real_monitor(p, nr, &msg, child_uffd))
				note(got, &nr, &msg);
		} else if (fds[1].revents) {
			break;
		}
	}
	if (recv(sock, &a, sizeof(a), 0) != sizeof(a))
		fail("the process ended");
	for (unsigned int k = 0; k < nr || k < nr_want; k++)
		if (k >= nr || k >= nr_want || got[k].type != want[k].type ||
		    (got[k].type != MMSG_FORK &&
		     (got[k].i != want[k].i || got[k].n != want[k].n || got[k].j != want[k].j)))
			fail("message %u: kernel %u of %u: type %u %u+%u to %u; model of %u: type "
			     "%u %u+%u to %u",
			     k, k < nr, nr, got[k].type, got[k].i, got[k].n, got[k].j, nr_want,
			     want[k].type, want[k].i, want[k].n, want[k].j);
	return a;
}

/* ---- calls ---- */

static bool any_locked(const struct mpage *page, const struct mop *op)
{
	for (unsigned int k = op->i; k < op->i + op->n; k++)
		if (page[k].flags & PF_LOCKED)
			return true;
	return false;
}

static bool choose(const struct proc *p, struct mop *op)
{
	static const uint8_t kinds[] = {
		MOP_READ,     MOP_READ,	  MOP_READ,   MOP_WRITE,  MOP_WRITE,	MOP_WRITE,
		MOP_MMAP,     MOP_MUNMAP, MOP_MREMAP, MOP_MREMAP, MOP_DONTNEED, MOP_FREE,
		MOP_MPROTECT, MOP_FLAG,	  MOP_FLAG,   MOP_MLOCK,  MOP_POPULATE, MOP_FORK};
	static const uint8_t prots[] = {PROT_R | PROT_W, PROT_R | PROT_W, PROT_R, 0};
	static const uint8_t flags[] = {PF_WIPE, PF_DONTFORK, PF_LOCKED};
	const struct mpage *page = m->space[p->space].page;

	*op = (struct mop){.type = kinds[below(sizeof(kinds))]};
	op->i = (uint16_t)below(REGION_PAGES);
	op->n = (uint16_t)(1 + below(op->type == MOP_MMAP ? 20 : 8));
	if (op->i + op->n > REGION_PAGES)
		op->n = (uint16_t)(REGION_PAGES - op->i);
	switch (op->type) {
	case MOP_READ:
	case MOP_WRITE:
		op->value = ++value_next;
		return page[op->i].vma &&
		       page[op->i].prot & (op->type == MOP_READ ? PROT_R : PROT_W);
	case MOP_MREMAP:
		op->m = (uint16_t)(below(2) ? op->n : 1 + below(10));
		op->flags = (uint8_t)(below(4) ? MREMAP_F_FIXED : 0);
		if (op->flags && op->m == op->n && !below(3))
			op->flags |= MREMAP_F_DONTUNMAP;
		op->j = (uint16_t)below(REGION_PAGES);
		if (op->j + op->m > REGION_PAGES || op->i + op->m > REGION_PAGES)
			return false;
		return !any_locked(page, op) && page[op->i].vma &&
		       model_vma_end(m, p->space, op->i) >= op->i + op->n;
	case MOP_MPROTECT: /* of locked memory it populates, too */
		op->prot = prots[below(4)];
		return !any_locked(page, op);
	case MOP_FLAG:
		op->prot = flags[below(3)];
		if (op->prot != PF_LOCKED && below(2)) {
			op->flags = op->prot;
			op->prot = 0;
		}
		return op->prot != PF_LOCKED || model_is_mapped(m, p->space, op->i, op->n);
	default:
		return true;
	}
}

static struct proc *free_proc(void)
{
	for (unsigned int k = 0; k < PROCS; k++)
		if (!procs[k].used)
			return &procs[k];
	return NULL;
}

static unsigned int task_of(const struct proc *p)
{
	for (unsigned int t = 0; t < MODEL_TASKS; t++)
		if (m->task[t].used && m->task[t].space == p->space)
			return t;
	fail("no task");
}

static void call(struct proc *p)
{
	struct cmd c = {.what = CMD_OP};
	struct proc *child = free_proc();
	struct answer a;
	struct mop *op;
	int uffd = -1;

	if (!choose(p, &c.op) || (c.op.type == MOP_FORK && (!child || below(4))))
		return;
	last_op = c.op;
	op = model_call(task_of(p), &c.op);
	c.next = child ? (int)(child - procs) : 0;
	a = real_call(p, &c, &uffd);
	if (a.res != op->res)
		fail("result %d in the kernel, %d in the model", a.res, op->res);
	if (c.op.type == MOP_READ && a.value != op->value)
		fail("reads %lx, the model %lx", (unsigned long)a.value, (unsigned long)op->value);
	if (c.op.type == MOP_FORK) {
		child->space = op->child;
		take_fd(child, uffd, a.pid);
		if (model_task_new(m, op->child, 1) < 0)
			fail("no task left");
		forget_zero_pages(m, child);
		compare_mappings(m, child);
		compare_pages(m, child);
	}
	op->type = MOP_NONE;
}

/* A page is moved out and dropped; it keeps no bytes, and neither does want. */
static void move(struct proc *p)
{
	unsigned int i = below(REGION_PAGES), slot = 0;
	static const int codes[] = {[MMOVE_OK] = 0,
				    [MMOVE_HOLE] = -ENOENT,
				    [MMOVE_BUSY] = -EBUSY,
				    [MMOVE_INVALID] = -EINVAL};
	struct cmd c = {.what = CMD_MOVE, .op = {.i = (uint16_t)i}};
	struct mpage *pg = &m->space[p->space].page[i];
	bool was_registered = pg->flags & PF_REG;
	struct answer a;
	enum mmove mv;
	int none = -1;

	last_op = (struct mop){.type = 99, .i = (uint16_t)i};
	nr_want = 0;
	mv = model_move(m, p->space, i, 0, slot);
	a = real_call(p, &c, &none);
	if (a.res != codes[mv] && !(mv == MMOVE_HOLE && a.res == -EINVAL))
		fail("MOVE of page %u: %d in the kernel, %d in the model", i, a.res, codes[mv]);
	model_scratch_drop(m, p->space, 0);
	if (mv == MMOVE_OK && !was_registered)
		pg->want = 0;
	c.what = CMD_DROP;
	real_call(p, &c, &none);
}

static void register_one(struct proc *p)
{
	unsigned int i = below(REGION_PAGES), e;
	struct mpage *page = m->space[p->space].page;
	struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING |
					      UFFDIO_REGISTER_MODE_WP};

	while (i && page[i - 1].vma == page[i].vma)
		i--;
	if (!page[i].vma || p->uffd < 0)
		return;
	e = model_vma_end(m, p->space, i);
	reg.range.start = page_va(i);
	reg.range.len = (e - i) * PAGE_BYTES;
	last_op = (struct mop){.type = 98, .i = (uint16_t)i, .n = (uint16_t)(e - i)};
	if (ioctl(p->uffd, UFFDIO_REGISTER, &reg))
		fail("UFFDIO_REGISTER: %s", strerror(errno));
	model_register(m, p->space, i, e - i);
	m->space[p->space].armed = true;
}

/* ---- a seed ---- */

static void end_proc(struct proc *p)
{
	struct cmd c = {.what = CMD_EXIT};
	struct pollfd end = {p->pidfd, POLLIN, 0};

	if (send(job_socks[p - procs][0], &c, sizeof(c), 0) != sizeof(c))
		kill(p->pid, SIGKILL);
	if (poll(&end, 1, 5000) != 1)
		fail("process %d does not end", p->pid);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	model_space_kill(m, p->space);
	model_space_free(m, p->space);
	if (p->uffd >= 0)
		close(p->uffd);
	close(p->pidfd);
	close(p->pagemap);
	close(p->mem);
	p->used = false;
}

/* Returns the userfaultfd, as made by the process itself, in its own table. */
static int set_up_job(void)
{
	struct uffdio_api api = {.api = UFFD_API, .features = FEATURES};
	struct uffdio_register reg = {.range = {SCRATCH_VA, PAGE_BYTES},
				      .mode = UFFDIO_REGISTER_MODE_MISSING};
	int uffd = (int)syscall(SYS_userfaultfd, O_NONBLOCK | O_CLOEXEC);

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		return -1;
	if (mmap((void *)SCRATCH_VA, PAGE_BYTES, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ||
	    madvise((void *)SCRATCH_VA, PAGE_BYTES, MADV_DONTFORK) ||
	    ioctl(uffd, UFFDIO_REGISTER, &reg))
		return -1;
	return uffd;
}

static void first_process(void)
{
	struct answer a = {0};
	pid_t pid = fork();

	if (!pid) {
		a.res = set_up_job();
		if (send(job_socks[0][1], &a, sizeof(a), 0) == sizeof(a) && a.res >= 0)
			job_main(0, a.res);
		_exit(1);
	}
	if (recv(job_socks[0][0], &a, sizeof(a), 0) != sizeof(a) || a.res < 0) {
		printf("model_test: skipped: no userfaultfd with fork events and MOVE\n");
		exit(77);
	}
	procs[0].space = (unsigned int)model_space_new(m);
	take_fd(&procs[0], -1, pid);
	procs[0].uffd = (int)syscall(SYS_pidfd_getfd, procs[0].pidfd, a.res, 0);
	if (procs[0].uffd < 0 || model_task_new(m, procs[0].space, 1) < 0)
		fail("pidfd_getfd: %s", strerror(errno));
}

static void run_seed(uint64_t s, unsigned int calls)
{
	seed = s;
	rnd_state = (s + 1) * 0x9e3779b97f4a7c15ULL;
	if (model_init(m, REGION_PAGES, 1, REGION_VA + REGION_PAGES / 2 * PAGE_BYTES))
		fail("no memory");
	m->fail = model_failed;
	m->no_zero_page = !kernel_has_zero_page();
	first_process();
	for (call_nr = 0; call_nr < calls; call_nr++) {
		struct proc *p = &procs[below(PROCS)];
		unsigned int what = below(64);

		if (!p->used)
			p = &procs[0];
		if (what < 3)
			register_one(p);
		else if (what < 8 && p == &procs[0])
			move(p);
		else if (what == 8 && p != &procs[0])
			end_proc(p);
		else
			call(p);
		if (p->used)
			compare_pages(m, p);
		if (p->used && call_nr % 16 == 0)
			compare_mappings(m, p);
	}
	for (unsigned int k = 0; k < PROCS; k++) {
		if (!procs[k].used)
			continue;
		compare_pages(m, &procs[k]);
		compare_mappings(m, &procs[k]);
		end_proc(&procs[k]);
	}
}

int main(int argc, char **argv)
{
	uint64_t first = 1, last = 1000, calls = 500, seconds = 20, k;
	time_t start = time(NULL);

	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--seeds") && sscanf(argv[i + 1], "%lu..%lu", &first, &last))
			last = strstr(argv[i + 1], "..") ? last : first;
		else if (!strcmp(argv[i], "--calls"))
			calls = strtoull(argv[i + 1], NULL, 10);
		else if (!strcmp(argv[i], "--seconds"))
			seconds = strtoull(argv[i + 1], NULL, 10);
	}
	m = calloc(1, sizeof(*m));
	if (!m)
		return 2;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (unsigned int p = 0; p < PROCS; p++)
		if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, job_socks[p]))
			return 2;
	for (k = first; k <= last && (uint64_t)(time(NULL) - start) < seconds; k++)
		run_seed(k, (unsigned int)calls);
	printf("model_test: %lu seeds of %lu calls equal\n", (unsigned long)(k - first),
	       (unsigned long)calls);
	model_fini(m);
	free(m);
	return 0;
}
