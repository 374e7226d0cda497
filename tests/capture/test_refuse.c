/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that can't or mustn't be entered are left exactly as they were.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/capture/inject_parts.h"
#include "client/capture/proc.h"
#include "common/base/err.h"
#include "tests/capture/fixture.h"

static void idle(void)
{
	if (write(1, "R", 1) != 1)
		_exit(8);
	for (;;)
		pause();
}

static void under_seccomp(void *arg)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog prog = {1, &allow};

	(void)arg;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		_exit(9);
	idle();
}

static void with_userfaultfd(void *arg)
{
	(void)arg;
	if (syscall(SYS_userfaultfd, O_CLOEXEC) < 0)
		_exit(9);
	idle();
}

static void plain(void *arg)
{
	(void)arg;
	idle();
}

static void without_processes(void *arg)
{
	const struct rlimit one = {1, 1};

	(void)arg;
	if (setgid(65533) || setuid(65533) || setrlimit(RLIMIT_NPROC, &one))
		_exit(9);
	idle();
}

static void in_vfork(void *arg)
{
	(void)arg;
	if (write(1, "R", 1) != 1)
		_exit(8);
	if (!vfork())
		for (;;)
			pause();
}

/* Waits for a byte at its input. */
static void wait_for_word(void)
{
	char c;

	if (write(1, "R", 1) != 1 || read(0, &c, 1) != 1)
		_exit(8);
}

/* Then it may only read and write. */
static void filters_itself(void *arg)
{
	(void)arg;
	wait_for_word();
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
		_exit(9);
	wait_for_word();
	syscall(SYS_exit, 0);
}

static void execs(void *arg)
{
	(void)arg;
	wait_for_word();
	execl("/bin/sh", "sh", "-c", "printf R && read word", (char *)NULL);
	_exit(9);
}

struct snapshot {
	unsigned int fds;
	size_t nr_maps;
	uint64_t bytes;
};

static int add_map(void *ctx, const struct proc_map *m)
{
	struct snapshot *s = ctx;

	s->nr_maps++;
	s->bytes += m->end - m->start;
	return 0;
}

static struct snapshot take_snapshot(pid_t pid)
{
	struct snapshot s = {.fds = count_fds(pid)};

	assert_int_equal(proc_maps_each(pid, add_map, &s), 0);
	return s;
}

static unsigned int children_of(pid_t pid)
{
	char path[64], text[256] = "";
	unsigned int n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	f = fopen(path, "re");
	assert_non_null(f);
	if (fgets(text, sizeof(text), f)) {
		for (char *p = text; *p; p++)
			n += *p == ' ';
	}
	fclose(f);
	return n;
}

static void expect_refusal(void (*fn)(void *), enum inject_refusal expected)
{
	struct snapshot before, after;
	enum inject_refusal why;
	struct victim v;

	victim_fork(&v, fn, NULL);
	victim_ready(&v);
	nap_ms(20);
	before = take_snapshot(v.pid);
	assert_int_not_equal(victim_inject(&v, &why), 0);
	assert_string_equal(inject_refusal_text(why), inject_refusal_text(expected));
	after = take_snapshot(v.pid);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_null(v.agent.ring);
	victim_kill(&v);
}

static void seccomp_is_refused(void **state)
{
	(void)state;
	expect_refusal(under_seccomp, REFUSE_SECCOMP);
}

static void user_of_userfaultfd_is_refused(void **state)
{
	(void)state;
	expect_refusal(with_userfaultfd, REFUSE_USERFAULTFD);
}

static void process_limit_is_refused(void **state)
{
	(void)state;
	expect_refusal(without_processes, REFUSE_LIMIT);
}

static void parent_in_vfork_is_refused(void **state)
{
	uint64_t start = now_ns();

	(void)state;
	expect_refusal(in_vfork, REFUSE_STUCK);
	assert_in_range(now_ns() - start, 0, 3000000000ULL);
}

static void traced_is_refused(void **state)
{
	enum inject_refusal why;
	struct victim v;

	(void)state;
	victim_fork(&v, plain, NULL);
	victim_ready(&v);
	assert_int_equal(ptrace(PTRACE_SEIZE, v.pid, 0, 0), 0);
	assert_int_not_equal(victim_inject(&v, &why), 0);
	assert_int_equal(why, REFUSE_TRACED);
	victim_kill(&v);
}

static void ended_is_refused(void **state)
{
	enum inject_refusal why;
	struct victim v;

	(void)state;
	victim_fork(&v, plain, NULL);
	victim_ready(&v);
	kill(v.pid, SIGKILL);
	nap_ms(50); /* a zombie now */
	assert_int_not_equal(victim_inject(&v, &why), 0);
	assert_int_equal(why, REFUSE_GONE);
	victim_wait(&v);
}

/* `int 0x80` exit(0) after a long pause, as the smallest 32-bit program there is. */
static void program_of_32_bits_is_refused(void **state)
{
	static const unsigned char elf32[] =
		{
			0x7f, 'E',  'L', 'F', 1,    1,	  1, 0, 0,    0,    0,	  0,
			0,    0,    0,	 0, /* e_ident */
			2,    0,    3,	 0,   1,    0,	  0, 0, 0x54, 0x80, 4,	  8,
			0x34, 0,    0,	 0, /* entry, phoff */
			0,    0,    0,	 0,   0,    0,	  0, 0, 0x34, 0,    0x20, 0,
			1,    0,    0,	 0,   0,    0,	  0, 0, 1,    0,    0,	  0,
			0,    0,    0,	 0,   0,    0x80, 4, 8, 0,    0x80, 4,	  8, /* PT_LOAD */
			0x5b, 0,    0,	 0,   0x5b, 0,	  0, 0, 5,    0,    0,	  0,
			0,    0x10, 0,	 0,   0xb8, 29,	  0, 0, 0,    0xcd, 0x80, /* pause() */
		};
	char path[64] = "/proc/self/fd/";
	enum inject_refusal why;
	int fd = memfd_create("elf32", 0);
	pid_t pid;

	(void)state;
	assert_int_equal(write(fd, elf32, sizeof(elf32)), sizeof(elf32));
	sprintf(path + strlen(path), "%d", fd);
	pid = fork();
	if (!pid) {
		execl(path, "elf32", NULL);
		_exit(0);
	}
	nap_ms(100);
	why = inject_check(pid);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(fd);
	if (why == REFUSE_GONE) {
		print_message("skipped: this kernel runs no 32-bit programs\n");
		skip();
	}
	assert_int_equal(why, REFUSE_32BIT);
}

/* What was looked at has changed by the time that it is stopped: it is left
 * alone, and can't tell. */
static void changed_meanwhile(void (*fn)(void *))
{
	struct inject_args args = {.timeout_ms = 1000};
	struct injection inj = {.args = &args};
	struct victim v;

	victim_fork(&v, fn, NULL);
	victim_ready(&v);
	args.pid = v.pid;
	inj.deadline_ns = now_ns() + 1000000000ULL;
	assert_int_equal(inject_find_syscall(&inj), 0);
	assert_int_equal(write(v.stdin_fd, "\n", 1), 1);
	victim_ready(&v);
	nap_ms(20); /* it waits for another word */
	assert_int_equal(inject_stop_any(&inj), -ESRCH);
	assert_int_equal(write(v.stdin_fd, "\n", 1), 1);
	assert_int_equal(victim_wait(&v), 0);
}

static void new_filter_is_noticed(void **state)
{
	(void)state;
	changed_meanwhile(filters_itself);
}

static void exec_is_noticed(void **state)
{
	(void)state;
	changed_meanwhile(execs);
}

/* The device is none: found out when the agent's task has made most of its things. */
static void failure_half_way_is_undone(void **state)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct snapshot before, after;
	enum inject_refusal why;
	struct inject_args args;
	struct victim v;
	struct agent a;

	(void)state;
	victim_fork(&v, plain, NULL);
	victim_ready(&v);
	before = take_snapshot(v.pid);
	args = (struct inject_args){.pid = v.pid,
				    .dev_userfaultfd = null,
				    .uffd_job = -1,
				    .wake_read_fd = v.wake_read_fd,
				    .done_fd = v.done_fd};
	assert_int_equal(inject_agent(&args, &a, &why), -ENOTTY);
	assert_non_null(strstr(err_text(-ENOTTY), "ioctl"));
	after = take_snapshot(v.pid);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(children_of(v.pid), 0);
	close(null);
	victim_kill(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(seccomp_is_refused),	  TEST(user_of_userfaultfd_is_refused),
		TEST(process_limit_is_refused),	  TEST(parent_in_vfork_is_refused),
		TEST(traced_is_refused),	  TEST(ended_is_refused),
		TEST(failure_half_way_is_undone), TEST(program_of_32_bits_is_refused),
		TEST(new_filter_is_noticed),	  TEST(exec_is_noticed),
	};

	return cmocka_run_group_tests(tests, fixture_setup, NULL);
}
