/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the supervisor share; nobody else includes it.
 *
 *	starting --CTL_READY--> running --last process ended--> finishing --> end
 *	    |                      |                                ^
 *	    +--CTL_FAILED, signal--+---- loss, pager died ----------+
 *
 * One thread, one poll loop; the thread that prints touches nothing of it.
 */
#ifndef RMEM_CLIENT_SUPERVISOR_H
#define RMEM_CLIENT_SUPERVISOR_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/signalfd.h>
#include <sys/types.h>

#include "client/elastic.h"
#include "client/jobtree.h"
#include "client/run.h"

#define SUPERVISOR_MAX_SKIP 64

enum phase { PHASE_STARTING, PHASE_RUNNING, PHASE_FINISHING };

struct supervisor {
	const struct run_config *cfg;
	struct run_header *header;
	enum phase phase;
	int state_fd, dev_fd, ctl_fd, pager_ctl_fd, self_pidfd, sig_fd;

	pid_t pager_pid;  /* 0: not running */
	int pager_status; /* of wait(2) */
	bool pager_finished;
	bool injector_lost;
	uint64_t pager_ready_ms, pager_lost_ms;
	unsigned int short_lives; /* pagers that died right after they had begun */

	pid_t server_pid; /* 0: none, or ended */
	int server_sock, server_log_fd;
	ino_t server_sock_ino;
	char server_line[512]; /* what rmemd has said of its current line */
	size_t server_line_bytes;

	pid_t exporter_pid; /* 0: none */
	int exporter_fd;    /* listens; -1 once its process has it */
	char exporter_at[300];

	pid_t job_pid;	 /* 0: ended, or not started */
	int job_exec_fd; /* tells when exec failed */
	int job_pidfd;	 /* attach */
	bool job_started, job_stopped, self_stopped;
	int job_status; /* of wait(2) */
	uint64_t agents_only_ms, processes_gone_ms, insisted_ms;
	uint64_t seen_ms; /* when its processes were last listed, once the first has ended */

	pid_t skip[SUPERVISOR_MAX_SKIP]; /* children that are not the job's */
	size_t nr_skip;

	sigset_t mask_was;
	struct sigaction chld_was;
	struct elastic elastic;
	struct memgroup memgroup;	/* of the job, as it began */
	uint64_t cap_ms;		/* when the host was last looked at */
	uint64_t watch_ms, watch_beats; /* when the pager was last looked at, and its count */
	uint64_t still_ms;		/* how long that has stood still */
	uint64_t tty_signals;		/* bit n: signal n came from the terminal */

	int exit_status;
	bool failed; /* rmem's own fault; why says it */
	char why[CTL_TEXT_BYTES];
	uint64_t start_ns;
};

uint64_t supervisor_now_ms(void);

/* rmem itself failed: remembers the first reason and ends the run. */
void supervisor_fail(struct supervisor *s, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* As supervisor_fail(), and no process of the job may go on. */
void supervisor_lost(struct supervisor *s, const char *why);

/* A child that is not the job's. */
void supervisor_skip(struct supervisor *s, pid_t pid);

struct jobtree supervisor_tree(struct supervisor *s);
void supervisor_reap(struct supervisor *s);

/* One line for --json-status-fd; takes @obj (NULL: out of memory, nothing is said). */
void supervisor_event(struct supervisor *s, json_t *obj);

/* supervisor_pager.c */
int pager_start(struct supervisor *s);
void pager_read(struct supervisor *s); /* its messages */
void pager_end(struct supervisor *s);
/* The pager has died, as @how says: the spare goes on in its place. False: why not. */
bool pager_replace(struct supervisor *s, const char *how, const char **why_not);
void spares_skip(struct supervisor *s); /* as supervisor_skip() */
/* Nobody waits for its turn any more, nor is asked for an agent. */
void pager_helpers_end(struct supervisor *s);

/* supervisor_server.c: the private memory server */
int server_start(struct supervisor *s);
void server_read(struct supervisor *s);
void server_end(struct supervisor *s);

/* supervisor_exporter.c */
int exporter_open(struct supervisor *s);
int exporter_start(struct supervisor *s);
void exporter_end(struct supervisor *s);

/* supervisor_job.c */
int job_start(struct supervisor *s);
void job_exec_read(struct supervisor *s);
void job_reaped(struct supervisor *s, pid_t pid, int status);
void job_ended_check(struct supervisor *s);
int job_exit_status(const struct supervisor *s);

/* supervisor_cap.c */
bool cap_is_auto(const struct supervisor *s);
void cap_tick(struct supervisor *s); /* at every round */

/* supervisor_watchdog.c */
void watchdog_tick(struct supervisor *s); /* at every round */

/* supervisor_attach.c */
int attach_start(struct supervisor *s);
void attach_ended_check(struct supervisor *s);

/* supervisor_signal.c */
int signal_open(struct supervisor *s);
void signal_restore(const struct supervisor *s); /* in a child, before exec */
void signal_read(struct supervisor *s);
void signal_job_stopped(struct supervisor *s);
void signal_die_alike(const struct supervisor *s);

#endif
