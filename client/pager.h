/* SPDX-License-Identifier: Apache-2.0 */
/* What the pager keeps besides the core's state; its own memory. */
#ifndef RMEM_CLIENT_PAGER_H
#define RMEM_CLIENT_PAGER_H

#include "client/capture/capture.h"
#include "client/run.h"
#include "client/servers.h"
#include "client/sum.h"

/* What an epoll event is about: one of these, a space (its id, above them), or
 * a process (bit 32 and its pid). */
enum pager_tag {
	TAG_CTL = 0xfffffff0,
	TAG_SUPERVISOR,
	TAG_AGENTS,
	TAG_INJECTOR,
	TAG_STORE,
};

/* At RUN_KEPT_OFF: what another pager needs to take over, besides the core's arena. */
struct pager_kept {
	struct sum_secret secret;
	struct handover node[HANDOVER_NODES];
	struct servers_joined joined;
	struct capture_kept capture;
};
_Static_assert(sizeof(struct pager_kept) <= RUN_KEPT_BYTES, "no room");

/* After one that was posted the next is near: what is left to do is done in parts, one after
 * each, that fit in between. */
#define PACE_NS 8000ULL

struct pager {
	const struct pager_args *args;
	struct pager_kept *kept;
	struct handover *nodes; /* of kept; NULL: nobody goes on when this one dies */
	struct capture capture;
	struct store *store;
	uint32_t said_lost;	 /* parts of it */
	uint64_t spin_ns;	 /* after a fault */
	uint64_t busy_ns;	 /* when something last came in */
	uint64_t served_ns;	 /* when a posted fault was last served */
	uint64_t descriptors_ns; /* when descriptors were last looked at */
	uint64_t poll_ns;	 /* when processes are to be looked at next */
	unsigned int awake_looks;
	bool stall_said;
	bool dozes;	   /* sleeps because the threads do that faulted last */
	uint64_t beats;	   /* rounds of the loop */
	pid_t stopped_pid; /* the supervisor stopped itself with this job process */
	bool running, finishing, lost, again;
	bool taking; /* an agent may wait for a message to be read */
};

/* ---- pager_env.c ---- */
extern const struct env_ops pager_env;		    /* ctx: struct pager */
void pager_lose(struct pager *p, const char *text); /* the job is to be stopped; said once */

/* ---- pager_open.c ---- */
/* 0; -errno with err text. p->args and p->kept are set. */
int pager_open(struct pager *p);
void pager_lock_memory(void);
void pager_job_started(struct pager *p, pid_t pid); /* 0: not yet */
/* The cap can't be lower: standby is as large as it was made, and the job needs as much. */
uint64_t pager_least_cap(const struct run_config *cfg);
/* Why nobody can go on when this pager dies; the first reason counts. */
void pager_no_takeover(struct pager *p, const char *why);

/* ---- pager_servers.c ---- */
/* For whoever wants to know which servers the run has. */
void pager_list_servers(const struct pager *p);
/* Lets go of those that are to leave, takes those that come. */
void pager_follow_servers(struct pager *p);

#endif
