/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervisor_signal: job and supervisor share a process group, so what the
 * terminal sends reaches the job by itself. Only what somebody sent to the
 * supervisor is passed on. When the job stops, the supervisor stops too, for
 * real, so that the shell sees it; when it goes on, the job goes on.
 *
 * All signals are blocked and read from a signalfd. With SIGTTOU blocked, rmem
 * may print from the background; it never changes the terminal.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/supervisor.h"
#include "client/supervisor_print.h"
#include "common/base/err.h"

#define INSIST_MS 5000

int signal_open(struct supervisor *s)
{
	const struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t all;

	sigfillset(&all);
	if (sigprocmask(SIG_SETMASK, &all, &s->mask_was))
		return err_set(-errno, "blocking signals: %s", strerror(errno));
	/* An ignored SIGCHLD would have the kernel reap the job. */
	sigaction(SIGCHLD, &dfl, &s->chld_was);
	s->sig_fd = signalfd(-1, &all, SFD_NONBLOCK | SFD_CLOEXEC);
	if (s->sig_fd < 0)
		return err_set(-errno, "signalfd: %s", strerror(errno));
	return 0;
}

void signal_restore(const struct supervisor *s)
{
	sigaction(SIGCHLD, &s->chld_was, NULL);
	sigprocmask(SIG_SETMASK, &s->mask_was, NULL);
}

static bool asks_to_end(int sig)
{
	return sig == SIGINT || sig == SIGTERM || sig == SIGHUP || sig == SIGQUIT;
}

/* Nobody is there to pass it on to, yet processes need rmem: ask twice. */
static void insist(struct supervisor *s)
{
	uint64_t now = supervisor_now_ms();

	if (s->insisted_ms && now - s->insisted_ms <= INSIST_MS) {
		supervisor_lost(s, "ended by the user while its memory was remote");
		return;
	}
	s->insisted_ms = now;
	print_line("%s needs rmem to go on; once more within 5 s kills it",
		   s->cfg->attach_pid ? "the attached job" : "what the job left running");
}

static void pass_on(const struct supervisor *s, const struct signalfd_siginfo *si)
{
	const union sigval v = {.sival_ptr = (void *)(uintptr_t)si->ssi_ptr};

	if (si->ssi_code == SI_QUEUE)
		sigqueue(s->job_pid, (int)si->ssi_signo, v);
	else
		kill(s->job_pid, (int)si->ssi_signo);
}

/* `fg` continues the whole group, kill(1) only rmem; the job wants one SIGCONT. */
static void on_continue(struct supervisor *s, const struct signalfd_siginfo *si)
{
	bool was_stopped = s->self_stopped;

	s->self_stopped = false;
	supervisor_reap(s);
	if (!s->job_pid || s->cfg->attach_pid)
		return;
	if (s->job_stopped)
		kill(s->job_pid, SIGCONT);
	else if (!was_stopped && si->ssi_code <= 0 && (pid_t)si->ssi_pid != s->pager_pid)
		pass_on(s, si);
	s->job_stopped = false;
}

static void on_start_signal(struct supervisor *s, int sig)
{
	if (asks_to_end(sig))
		supervisor_fail(s, 128 + sig, "ended by signal %d before the job had started", sig);
}

static void on_signal(struct supervisor *s, const struct signalfd_siginfo *si)
{
	int sig = (int)si->ssi_signo;
	bool sent = si->ssi_code <= 0;

	if (sig == SIGCHLD || (sent && (pid_t)si->ssi_pid == getpid()))
		return;
	if (!sent && sig < 64)
		s->tty_signals |= 1ULL << sig;
	if (sig == SIGCONT)
		on_continue(s, si);
	else if (!s->header->job_pid) /* the pager may be ready by now */
		on_start_signal(s, sig);
	else if (s->phase == PHASE_FINISHING)
		return;
	else if (!s->job_pid || s->cfg->attach_pid) {
		if (asks_to_end(sig))
			insist(s);
		else if (sig == SIGTSTP)
			kill(getpid(), SIGSTOP);
	} else if (sent) {
		pass_on(s, si);
	}
}

void signal_read(struct supervisor *s)
{
	struct signalfd_siginfo si;

	while (read(s->sig_fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		on_signal(s, &si);
	supervisor_reap(s);
}

void signal_job_stopped(struct supervisor *s)
{
	s->job_stopped = true;
	if (s->phase != PHASE_RUNNING)
		return;
	ctl_send(s->ctl_fd, CTL_STOPPED, s->job_pid, NULL);
	s->self_stopped = true;
	kill(getpid(), SIGSTOP);
}

/*
 * A shell script goes on after Ctrl-C unless it sees that its command died of
 * it. So when the terminal sent the signal to both, rmem dies of it as well.
 */
void signal_die_alike(const struct supervisor *s)
{
	const struct rlimit no_core = {0, 0};
	const struct sigaction dfl = {.sa_handler = SIG_DFL};
	int sig = WIFSIGNALED(s->job_status) ? WTERMSIG(s->job_status) : 0;
	sigset_t one;

	if ((sig != SIGINT && sig != SIGQUIT) || !(s->tty_signals >> sig & 1))
		return;
	prctl(PR_SET_DUMPABLE, 0);
	setrlimit(RLIMIT_CORE, &no_core);
	sigaction(sig, &dfl, NULL);
	sigemptyset(&one);
	sigaddset(&one, sig);
	kill(getpid(), sig);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
}
