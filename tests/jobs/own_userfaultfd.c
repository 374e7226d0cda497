/* SPDX-License-Identifier: Apache-2.0 */
/* A child that uses userfaultfd itself, on a range of its own: it gets its
 * faults, nobody else does, and its parent's remote pages stay right. */
#include "job.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OWN 256 /* pages */

static int uffd;

static void *serve(void *arg)
{
	static char page[PG] __attribute__((aligned(4096)));
	char *base = arg;

	for (int served = 0; served < OWN; served++) {
		struct uffd_msg msg;

		if (read(uffd, &msg, sizeof(msg)) != sizeof(msg))
			return NULL;
		uint64_t va = msg.arg.pagefault.address & ~(PG - 1);

		page_write(page, (va - (uintptr_t)base) / PG, 42);
		struct uffdio_copy c = {.dst = va, .src = (uintptr_t)page, .len = PG};

		CHECK(ioctl(uffd, UFFDIO_COPY, &c) == 0);
	}
	return NULL;
}

/* Memory that is ours to register. What rmem manages already is not (EBUSY, a stated limit): then
 * other memory is tried, as it does not always get there first. */
static char *map_and_register(void)
{
	for (int tries = 0; tries < 100; tries++) {
		char *m = job_map(OWN * PG);
		struct uffdio_register r = {.range = {(uintptr_t)m, OWN * PG},
					    .mode = UFFDIO_REGISTER_MODE_MISSING};

		if (!ioctl(uffd, UFFDIO_REGISTER, &r))
			return m;
		if (errno != EBUSY || munmap(m, OWN * PG))
			break;
	}
	job_fail("UFFDIO_REGISTER");
	job_child_exit();
}

static void child(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	pthread_t t;
	char *m;

	uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (uffd < 0 && (errno == EPERM || errno == ENOSYS))
		_exit(77);
	CHECK(ioctl(uffd, UFFDIO_API, &api) == 0);
	m = map_and_register();
	CHECK(pthread_create(&t, NULL, serve, m) == 0);
	for (size_t i = 0; i < OWN; i++)
		page_check(m + (i * 37 % OWN) * PG, i * 37 % OWN, 42);
	CHECK(pthread_join(t, NULL) == 0);
	job_child_exit();
}

int main(int argc, char **argv)
{
	int st;

	job_init(argc, argv);

	size_t nr = job_half / PG;
	char *m = job_map(job_half);

	pages_write(m, 0, nr, 1);
	job_pressure();

	pid_t pid = fork();

	if (pid == 0)
		child();
	CHECK(waitpid(pid, &st, 0) == pid);
	if (WIFEXITED(st) && WEXITSTATUS(st) == 77) {
		puts("own_userfaultfd: skipped, userfaultfd is not allowed here");
		return 77;
	}
	CHECK(st == 0);
	pages_check(m, 0, nr, 1);
	return job_done();
}
