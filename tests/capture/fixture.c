/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/capture/fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/compat.h"

#define ANSWER_MS 5000

static int dev_userfaultfd = -1;
static bool has_move;
static pid_t left_pid, left_agent; /* what a failed test leaves behind */

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

void nap_ms(unsigned int ms)
{
	struct timespec ts = {ms / 1000, (long)(ms % 1000) * 1000000L};

	nanosleep(&ts, NULL);
}

static void close_all(struct victim *v)
{
	agent_fini(&v->agent);
	close(v->stdin_fd);
	close(v->stdout_fd);
	if (v->wake_fd >= 0)
		close(v->wake_fd);
	if (v->wake_read_fd >= 0)
		close(v->wake_read_fd);
	close(v->done_fd);
}

int fixture_teardown(void **state)
{
	(void)state;
	if (left_pid) {
		kill(left_pid, SIGKILL);
		kill(-left_pid, SIGKILL);
	}
	if (left_agent)
		kill(left_agent, SIGKILL);
	left_pid = left_agent = 0;
	for (uint64_t end = now_ns() + 1000000000ULL; now_ns() < end; nap_ms(1)) {
		if (waitpid(-1, NULL, __WALL | WNOHANG) < 0)
			break;
	}
	return 0;
}

static bool probe_move(void)
{
	struct uffdio_api a = {.api = UFFD_API};
	int fd = ioctl(dev_userfaultfd, USERFAULTFD_IOC_NEW, O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, UFFDIO_API, &a), 0);
	close(fd);
	return a.features & UFFD_FEATURE_MOVE;
}

int fixture_setup(void **state)
{
	(void)state;
	dev_userfaultfd = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (dev_userfaultfd < 0 || geteuid() != 0) {
		printf("skipped: needs root and /dev/userfaultfd (%s)\n", strerror(errno));
		exit(77);
	}
	has_move = probe_move();
	signal(SIGPIPE, SIG_IGN);
	return prctl(PR_SET_CHILD_SUBREAPER, 1);
}

int fixture_setup_move(void **state)
{
	int ret = fixture_setup(state);

	if (!ret && !has_move) {
		printf("skipped: this kernel has no UFFDIO_MOVE\n");
		exit(77);
	}
	return ret;
}

static void victim_init(struct victim *v)
{
	int wake[2];

	*v = (struct victim){.uffd_given = -1};
	assert_int_equal(pipe2(wake, O_CLOEXEC), 0);
	v->wake_read_fd = wake[0];
	v->wake_fd = wake[1];
	v->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(v->done_fd >= 0);
}

static void victim_spawn(struct victim *v, const char *program, const char *mode,
			 void (*fn)(void *), void *arg)
{
	int in[2], out[2];

	victim_init(v);
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	v->pid = fork();
	assert_true(v->pid >= 0);
	if (!v->pid) {
		setpgid(0, 0);
		dup2(in[0], 0);
		dup2(out[1], 1);
		if (fn) {
			close_range(3, ~0U, 0);
			fn(arg);
			_exit(0);
		}
		execl(program, program, mode, NULL);
		_exit(127);
	}
	left_pid = v->pid;
	close(in[0]);
	close(out[1]);
	v->stdin_fd = in[1];
	v->stdout_fd = out[0];
}

void victim_start(struct victim *v, const char *program, const char *mode)
{
	victim_spawn(v, program, mode, NULL, NULL);
	victim_ready(v);
}

void victim_fork(struct victim *v, void (*fn)(void *arg), void *arg)
{
	victim_spawn(v, NULL, NULL, fn, arg);
}

void victim_ready(struct victim *v)
{
	struct pollfd pfd = {.fd = v->stdout_fd, .events = POLLIN};
	char c = 0;

	assert_int_equal(poll(&pfd, 1, ANSWER_MS), 1);
	assert_int_equal(read(v->stdout_fd, &c, 1), 1);
	assert_int_equal(c, 'R');
}

int victim_inject(struct victim *v, enum inject_refusal *why)
{
	struct inject_args args = {
		.pid = v->pid,
		.dev_userfaultfd = dev_userfaultfd,
		.uffd_job = v->uffd_given,
		.wake_read_fd = v->wake_read_fd,
		.done_fd = v->done_fd,
		.no_move = !has_move,
	};
	int ret;

	ret = inject_agent(&args, &v->agent, why);
	left_agent = v->agent.pid;
	return ret;
}

void victim_must_inject(struct victim *v)
{
	enum inject_refusal why;
	int ret = victim_inject(v, &why);

	if (ret)
		fail_msg("%s (%s)", err_text(ret), inject_refusal_text(why));
	close(v->wake_read_fd);
	v->wake_read_fd = -1;
}

int victim_wait(struct victim *v)
{
	uint64_t end = now_ns() + 30000000000ULL;
	int status = -1;
	pid_t got;

	while (!(got = waitpid(v->pid, &status, WNOHANG)) && now_ns() < end)
		nap_ms(1);
	if (!got)
		kill(v->pid, SIGKILL);
	assert_int_equal(got, v->pid);
	close_all(v);
	left_pid = left_agent = 0;
	/* The orphaned agent, and what the victim started, come to us. */
	kill(-v->pid, SIGKILL);
	for (end = now_ns() + 1000000000ULL; now_ns() < end; nap_ms(1)) {
		while ((got = waitpid(-1, NULL, __WALL | WNOHANG)) > 0)
			;
		if (got < 0)
			return status;
	}
	fail_msg("something is left of victim %d", v->pid);
	return status;
}

void victim_kill(struct victim *v)
{
	kill(v->pid, SIGKILL);
	victim_wait(v);
}

void victim_queue(struct victim *v, const struct agent_cmd *cmd, unsigned int *slot)
{
	struct agent_ring *ring = v->agent.ring;
	for (unsigned int i = 0; i < AGENT_SLOTS; i++) {
		unsigned int at =
			(__atomic_load_n(&ring->next, __ATOMIC_SEQ_CST) + i) % AGENT_SLOTS;
		struct agent_cmd *c = &ring->cmd[at];
		uint32_t st = __atomic_load_n(&c->state, __ATOMIC_SEQ_CST);

		if (st == AGENT_QUEUED || st == AGENT_RUNNING)
			continue;
		*c = *cmd;
		__atomic_store_n(&c->state, AGENT_QUEUED, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&ring->sleeping, __ATOMIC_SEQ_CST))
			assert_int_equal(write(v->wake_fd, "", 1), 1);
		*slot = at;
		return;
	}
	fail_msg("the ring is full");
}

void victim_answer(struct victim *v, unsigned int slot, struct agent_cmd *cmd)
{
	struct agent_cmd *c = &v->agent.ring->cmd[slot];
	uint64_t end = now_ns() + ANSWER_MS * 1000000ULL;

	while (__atomic_load_n(&c->state, __ATOMIC_SEQ_CST) != AGENT_DONE) {
		if (now_ns() > end)
			fail_msg("the agent does not answer");
		sched_yield();
	}
	*cmd = *c;
	c->state = AGENT_FREE;
}

void victim_command(struct victim *v, struct agent_cmd *cmd)
{
	unsigned int slot;

	victim_queue(v, cmd, &slot);
	victim_answer(v, slot, cmd);
}

unsigned int count_fds(pid_t pid)
{
	unsigned int n = 0;
	char path[64];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}
