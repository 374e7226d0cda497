/* SPDX-License-Identifier: Apache-2.0 */
#include "trap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_SPACES 16

static int broken;
static atomic_uint served;
static int serve_fd;
static unsigned char serve_byte;

void trap_skip(const char *why)
{
	printf("skipped: %s\n", why);
	exit(77);
}

int trap_uffd_flags(int flags, uint64_t features)
{
	struct uffdio_api api = {.api = UFFD_API, .features = features};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | flags);

	if (fd < 0)
		trap_skip("userfaultfd(2) is not allowed here");
	if (ioctl(fd, UFFDIO_API, &api) != 0)
		trap_skip("this kernel lacks a userfaultfd feature, or EVENT_FORK needs a right");
	return fd;
}

int trap_uffd(uint64_t features)
{
	return trap_uffd_flags(O_NONBLOCK, features);
}

char *trap_map(size_t pages)
{
	char *p =
		mmap(NULL, pages * PG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || madvise(p, pages * PG, MADV_NOHUGEPAGE) != 0)
		exit(2);
	return p;
}

void trap_register(int uffd, void *at, size_t pages)
{
	struct uffdio_register r = {.range = {(uintptr_t)at, pages * PG},
				    .mode = UFFDIO_REGISTER_MODE_MISSING};

	if (ioctl(uffd, UFFDIO_REGISTER, &r) != 0) {
		perror("UFFDIO_REGISTER");
		exit(2);
	}
}

int trap_copy(int uffd, void *at, unsigned char byte)
{
	static _Thread_local unsigned char page[4096] __attribute__((aligned(4096)));
	struct uffdio_copy c = {
		.dst = (uintptr_t)at & ~(PG - 1), .src = (uintptr_t)page, .len = PG};

	memset(page, byte, PG);
	return ioctl(uffd, UFFDIO_COPY, &c) == 0 ? 0 : -errno;
}

int trap_move(int uffd, void *to, void *from, size_t pages, uint64_t mode, int64_t *moved)
{
	struct uffdio_move m = {(uintptr_t)to, (uintptr_t)from, pages * PG, mode, 0};
	int err = ioctl(uffd, UFFDIO_MOVE, &m) == 0 ? 0 : -errno;

	if (err == -ENOTTY || (err == -EINVAL && m.move == 0 && errno == ENOTTY))
		trap_skip("UFFDIO_MOVE needs Linux 6.8");
	if (moved)
		*moved = m.move;
	return err;
}

void trap_wake(int uffd, void *at)
{
	struct uffdio_range r = {(uintptr_t)at & ~(PG - 1), PG};

	ioctl(uffd, UFFDIO_WAKE, &r);
}

bool trap_read(int uffd, struct uffd_msg *msg)
{
	struct pollfd p = {.fd = uffd, .events = POLLIN};

	return poll(&p, 1, 1000) == 1 && read(uffd, msg, sizeof(*msg)) == sizeof(*msg);
}

static void *serve(void *arg)
{
	struct pollfd p[MAX_SPACES] = {{.fd = serve_fd, .events = POLLIN}};
	struct uffd_msg m;
	nfds_t nr = 1;

	(void)arg;
	for (;;) {
		poll(p, nr, -1);
		for (nfds_t i = 0; i < nr; i++) {
			if (read(p[i].fd, &m, sizeof(m)) != sizeof(m))
				continue;
			if (m.event == UFFD_EVENT_FORK && nr < MAX_SPACES) {
				p[nr++] = (struct pollfd){.fd = (int)m.arg.fork.ufd,
							  .events = POLLIN};
			} else if (m.event == UFFD_EVENT_PAGEFAULT) {
				served++;
				trap_copy(p[i].fd, (void *)(uintptr_t)m.arg.pagefault.address,
					  serve_byte);
			}
		}
	}
	return NULL;
}

void trap_serve(int uffd, unsigned char byte)
{
	pthread_t t;

	serve_fd = uffd;
	serve_byte = byte;
	if (pthread_create(&t, NULL, serve, NULL) != 0)
		exit(2);
	pthread_detach(t);
}

unsigned int trap_served(void)
{
	return served;
}

void trap_expect(bool holds, const char *what)
{
	printf("%s: %s\n", holds ? "holds" : "DOES NOT HOLD", what);
	fflush(stdout);
	broken += !holds;
}

int trap_done(void)
{
	return broken ? 1 : 0;
}
