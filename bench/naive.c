/* SPDX-License-Identifier: Apache-2.0 */
/*
 * naive blocking|spinning LOCAL_MIB PATTERN MIB COUNT [THREADS]: the workload
 * of access, with a naive pager on userfaultfd, to compare rmem with.
 *
 * The pager is a thread of the same process. It reads one fault at a time,
 * asleep until there is one (blocking) or looking all the time (spinning), and
 * fills one page, and if the limit is reached then, it evicts the page that
 * came first before it looks at the next fault. (To evict before it fills would
 * make the fault wait for both: slower by a third.) What is evicted lies in
 * memory of the process, which is there from the start.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "bench/workload.h"

struct pager {
	int uffd;
	char *mem, *store; /* a page of mem goes to the same place in store */
	uint64_t *local;   /* offsets of the pages in mem, a ring */
	uint64_t in, out;  /* pages so far */
	uint64_t nr_local_max;
};

static void failed(const char *what)
{
	perror(what);
	exit(1);
}

static void wake(const struct pager *p, uint64_t off)
{
	struct uffdio_range range = {.start = (uintptr_t)p->mem + off, .len = PAGE};

	if (ioctl(p->uffd, UFFDIO_WAKE, &range))
		failed("UFFDIO_WAKE");
}

/* No write is lost: one to a protected page waits until the page is gone. */
static void evict(const struct pager *p, uint64_t off)
{
	struct uffdio_writeprotect protect = {
		.range = {.start = (uintptr_t)p->mem + off, .len = PAGE},
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};

	if (ioctl(p->uffd, UFFDIO_WRITEPROTECT, &protect))
		failed("UFFDIO_WRITEPROTECT");
	memcpy(p->store + off, p->mem + off, PAGE);
	if (madvise(p->mem + off, PAGE, MADV_DONTNEED))
		failed("MADV_DONTNEED");
}

static void fill(struct pager *p, uint64_t off)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)p->mem + off, .src = (uintptr_t)p->store + off, .len = PAGE};

	if (!ioctl(p->uffd, UFFDIO_COPY, &copy))
		p->local[p->in++ % p->nr_local_max] = off;
	else if (errno == EEXIST) /* two threads wanted it */
		wake(p, off);
	else
		failed("UFFDIO_COPY");
}

static void answer(struct pager *p, const struct uffd_msg *msg)
{
	uint64_t off = (msg->arg.pagefault.address & ~(PAGE - 1)) - (uintptr_t)p->mem;

	if (msg->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) { /* has left since: look again */
		wake(p, off);
		return;
	}
	fill(p, off);
	if (p->in - p->out == p->nr_local_max)
		evict(p, p->local[p->out++ % p->nr_local_max]);
}

static void *answer_all(void *arg)
{
	struct pager *p = arg;
	struct uffd_msg msg;

	for (;;) {
		if (read(p->uffd, &msg, sizeof(msg)) == (ssize_t)sizeof(msg))
			answer(p, &msg);
		else if (errno != EAGAIN)
			failed("read from userfaultfd");
	}
	return NULL;
}

static void manage(struct pager *p, uint64_t bytes, int flags)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP};
	struct uffdio_register reg = {
		.range = {.start = (uintptr_t)p->mem, .len = bytes},
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
	};
	pthread_t thread;

	p->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | flags);
	if (p->uffd < 0)
		failed("userfaultfd");
	if (ioctl(p->uffd, UFFDIO_API, &api))
		failed("UFFDIO_API");
	if (madvise(p->mem, bytes, MADV_NOHUGEPAGE) || ioctl(p->uffd, UFFDIO_REGISTER, &reg))
		failed("UFFDIO_REGISTER");
	if (pthread_create(&thread, NULL, answer_all, p))
		failed("pthread_create");
}

int main(int argc, char **argv)
{
	struct workload w;
	struct pager p = {.uffd = -1};
	int spinning;

	if (argc < 6 || argc > 7)
		return 2;
	spinning = !strcmp(argv[1], "spinning");
	if (!spinning && strcmp(argv[1], "blocking"))
		return 2;
	alarm(LIMIT_S);
	p.nr_local_max = (number(argv[2]) << 20) / PAGE;
	p.local = map_bytes(p.nr_local_max * sizeof(*p.local));
	w = workload_open(argv + 3);
	p.mem = (char *)w.mem;
	p.store = map_bytes(w.bytes);
	memset(p.store, 0, w.bytes);
	manage(&p, w.bytes, spinning ? O_NONBLOCK : 0);
	workload_run(&w);
	return 0;
}
