/* SPDX-License-Identifier: Apache-2.0 */
/* Section 7.5: between reading EVENT_FORK and passing on the child's new
 * userfaultfd the reader holds the only one: if it dies there, the child reads
 * zeros, although the parent's is held elsewhere. */
#include "trap.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void pager(int uffd)
{
	struct uffd_msg msg;

	trap_read(uffd, &msg);
	usleep(100000);
	_exit(0); /* dies with the child's userfaultfd */
}

static void run_job(int result)
{
	struct uffdio_api api = {.api = UFFD_API, .features = EVENTS};
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), st;
	char *m = trap_map(1);
	unsigned char byte = 0xff;

	if (uffd < 0)
		_exit(77);
	if (fork() == 0) { /* before UFFDIO_API: this fork raises no event */
		usleep(50000);
		pager(uffd);
	}
	if (ioctl(uffd, UFFDIO_API, &api) != 0)
		_exit(77);
	trap_register(uffd, m, 1);
	if (fork() == 0) {
		usleep(300000); /* the pager has died; this process's parent holds uffd */
		byte = *(volatile unsigned char *)m;
		_exit(write(result, &byte, 1) != 1);
	}
	wait(&st);
	wait(&st);
	_exit(0);
}

int main(void)
{
	int st, result[2];
	unsigned char byte = 0xff;

	if (pipe(result) != 0)
		return 2;
	pid_t job = fork();

	if (job == 0)
		run_job(result[1]);
	close(result[1]);
	bool got = read(result[0], &byte, 1) == 1;

	waitpid(job, &st, 0);
	if (WEXITSTATUS(st) == 77)
		trap_skip("no userfaultfd with EVENT_FORK here");
	trap_expect(got && byte == 0,
		    "the reader died with the child's userfaultfd: the child reads zero");
	return trap_done();
}
