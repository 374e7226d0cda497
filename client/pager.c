/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pager: one loop that waits for messages of the job's address spaces,
 * answers of agents, completions of stores and the supervisor's word, gives
 * them to the core and lets it act. It owns no decision about pages.
 *
 * It writes to nothing that the job can see and touches no memory that it
 * pages itself: a pager that waits for its job waits for itself.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client/capture/fast.h"
#include "client/capture/proc.h"
#include "client/capture/take.h"
#include "client/jobtree.h"
#include "client/pager.h"
#include "client/session.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/wake.h"

#define ORPHAN_KILL_MS 1500U
#define ALSO_MAX       4096U

static void log_to_supervisor(void *ctx, enum log_level level, const char *line)
{
	const struct pager *p = ctx;

	ctl_send(p->args->ctl_fd, CTL_LOG, (int)level, "%s", line);
}

/* ---- what comes in ---- */

static void on_control(struct pager *p)
{
	struct ctl_msg m;

	while (ctl_recv(p->args->ctl_fd, &m) == 0) {
		switch (m.type) {
		case CTL_JOB:
			pager_job_started(p, m.value);
			break;
		case CTL_STOPPED:
			p->stopped_pid = m.value;
			break;
		case CTL_FINISH:
			p->finishing = true;
			break;
		default:
			break;
		}
	}
}

/* Agents included. */
static void kill_known(struct pager *p)
{
	for (const struct process *q = p->capture.procs; q; q = q->next)
		kill(q->pid, SIGKILL);
	for (const struct aspace *sp = p->capture.spaces; sp; sp = sp->next)
		if (sp->agent.ring)
			kill(sp->agent.pid, SIGKILL);
}

/* The supervisor was killed: nobody else is left to end the job. Its tree is
 * listed before anybody dies, while who is whose child can still be told. */
static void on_orphaned(struct pager *p)
{
	const struct run_header *h = p->args->header;
	pid_t skip[] = {getpid(),	 h->server_pid,	  h->exporter_pid,
			h->injector_pid, h->spare_pid[0], h->spare_pid[1]};
	pid_t also[ALSO_MAX];
	struct jobtree tree = {.root = h->supervisor_pid, .skip = skip, .nr_skip = 6, .also = also};

	p->lost = p->finishing = true;
	if (p->args->header->job_pid > 0)
		also[tree.nr_also++] = p->args->header->job_pid;
	for (const struct process *q = p->capture.procs; q && tree.nr_also < ALSO_MAX; q = q->next)
		also[tree.nr_also++] = q->pid;
	jobtree_kill(&tree, ORPHAN_KILL_MS, NULL, NULL);
	kill_known(p);
}

static void on_event(struct pager *p, uint64_t tag)
{
	struct capture *cp = &p->capture;
	struct aspace *sp;
	struct process *proc;
	uint64_t n;

	switch (tag) {
	case TAG_CTL:
		on_control(p);
		return;
	case TAG_SUPERVISOR:
		on_orphaned(p);
		return;
	case TAG_AGENTS:
		if (read(cp->done_fd, &n, sizeof(n)) < 0)
			return;
		return;
	case TAG_INJECTOR:
		injector_reap(cp);
		return;
	case TAG_STORE:
		/* core_run() takes the completions; a server that died while
		 * nothing was asked of it shows only here. */
		if (p->store->ops->reap(p->store, NULL, 0) < 0)
			pager_lose(p, err_text(-EPIPE));
		return;
	default:
		break;
	}
	if (tag >> 32 == 2) {
		cp->fatal = "an agent was killed";
		return;
	}
	if (tag >> 32) {
		proc = process_find(cp, (pid_t)(uint32_t)tag);
		if (proc)
			process_exited(cp, proc);
		return;
	}
	sp = aspace_find(cp, (space_id){(uint32_t)tag});
	if (sp)
		sp->readable = true;
}

/* ---- the loop ---- */

/* A stopped supervisor can't see that its job goes on. Said until it has heard:
 * it may not have stopped yet. */
static void wake_supervisor(struct pager *p)
{
	struct proc_stat st;

	if (!p->stopped_pid || (!proc_stat(p->stopped_pid, &st) && st.state == 'T'))
		return;
	if (!proc_stat(p->args->header->supervisor_pid, &st) && st.state != 'T') {
		if (++p->awake_looks > 3)
			p->stopped_pid = 0;
		return;
	}
	p->awake_looks = 0;
	kill(p->args->header->supervisor_pid, SIGCONT);
}

/* What the cap holds: memory of processes that can't be managed makes the
 * others smaller, but not below a quarter of the cap. */
static uint64_t held_bytes(const struct capture *cp)
{
	uint64_t most = cp->cap_bytes / 4 * 3;
	uint64_t less = cp->unmanaged_bytes > most ? cp->unmanaged_bytes - most : 0;

	uint64_t spare =
		cp->shared_bytes < cp->cap_bytes / 8 ? cp->shared_bytes : cp->cap_bytes / 8;

	/* Writes to pages shared by a fork make copies faster than anything can
	 * leave: some room is kept for them. */
	return cp->anon_bytes > less ? cp->anon_bytes - less + spare : spare;
}

/* The cap is where rmem ctl wants it. Who may write there may write anywhere, and
 * may be wrong: looked at once, and not believed. */
static void follow_cap(struct pager *p)
{
	struct capture *cp = &p->capture;
	struct run_header *h = cp->header;
	uint64_t want = __atomic_load_n(&h->wanted_local_bytes, __ATOMIC_ACQUIRE) & PAGE_MASK;

	if (!want || want == cp->cap_bytes || want < pager_least_cap(p->args->cfg))
		return;
	cp->cap_bytes = want;
	core_set_cap(cp->core, want);
	__atomic_store_n(&h->local_bytes, want, __ATOMIC_RELEASE);
	log_debug("the local cap is now %lu MiB", (unsigned long)(want >> 20));
}

#define STALL_NS 10000000000ULL

/* Once for each wait: pages may leave at any moment yet. */
static void tell_stall(struct pager *p)
{
	bool stalls = core_stalled_ns(p->capture.core) > STALL_NS;

	if (stalls && !p->stall_said)
		log_warn("the job waits: for %llu s no moment was right for a page to leave; "
			 "more room gives rmem ctl %d --local SIZE",
			 STALL_NS / 1000000000, (int)p->args->header->supervisor_pid);
	p->stall_said = stalls;
}

static void work(struct pager *p)
{
	struct capture *cp = &p->capture;

	takes_serve(cp);
	agents_reap(cp);
	injector_let_through(cp);
	for (struct aspace *sp = cp->spaces; sp; sp = sp->next)
		messages_read(cp, sp);
	if (p->running && capture_now_ns() >= p->poll_ns) {
		follow_cap(p);
		pager_follow_servers(p);
		processes_poll(cp);
		aspaces_rest(cp);
		core_observe(cp->core, cp->anon_bytes, held_bytes(cp), cp->anon_exact);
		wake_supervisor(p);
		tell_stall(p);
		p->poll_ns = capture_now_ns() + processes_interval_ns(cp);
	}
	p->again = !p->lost && core_run(cp->core);
	core_commit(cp->core);
	agents_drop(cp);
	p->taking = takes_serve(cp);
	aspaces_bury(cp);
	if (cp->fatal)
		pager_lose(p, cp->fatal);
}

/* A woken thread of the job takes this long to get on. */
#define SHORT_NS 50000ULL

/* After a fault the next one is near: to be woken for it costs more than to
 * look for it, if a core is free for looking. */
#define SPIN_WAKES  8
#define SPIN_MIN_NS 40000ULL
#define SPIN_MAX_NS 1000000ULL

/* While posted faults are looked for, descriptors are this often. */
#define DESCRIPTORS_NS 10000ULL

static bool may_spin(struct pager *p, uint64_t now)
{
	uint64_t idle = now - p->busy_ns;

	p->dozes = false;
	if (idle >= p->spin_ns || p->capture.crowd.crowded)
		return false;
	p->dozes = idle >= DESCRIPTORS_NS && !core_waiting(p->capture.core) &&
		   !core_busy(p->capture.core) && /* one may wait for what is in flight */
		   fast_all_sleep(&p->capture);
	return !p->dozes;
}

static uint64_t wait_ns(struct pager *p)
{
	uint64_t now = capture_now_ns(), ns = UINT64_MAX;

	if (p->again || p->taking || may_spin(p, now) ||
	    (p->store->quick && core_busy(p->capture.core)))
		return 0;
	if (p->running)
		ns = p->poll_ns > now ? p->poll_ns - now : 0;
	if (ns > SHORT_NS && core_waiting(p->capture.core))
		ns = SHORT_NS;
	for (const struct aspace *sp = p->capture.spaces; sp && ns > SHORT_NS; sp = sp->next)
		if (sp->unsettled && !sp->dead)
			ns = SHORT_NS;
	return ns;
}

/* Looks for posted faults, and answers of agents, which costs next to nothing. */
static void look_for_faults(struct pager *p)
{
	uint64_t now = capture_now_ns(), until = p->descriptors_ns + DESCRIPTORS_NS;

	do {
		fast_awake(&p->capture, now);
		if (fast_serve(&p->capture)) {
			p->busy_ns = p->served_ns = now;
			return;
		}
		if ((p->again && now - p->served_ns > PACE_NS) || p->taking ||
		    agents_answered(&p->capture))
			return;
		if (p->store->quick && core_busy(p->capture.core))
			return;
		now = capture_now_ns();
	} while (now < until);
}

static void wait_for_events(struct pager *p, uint64_t ns)
{
	struct timespec t = {.tv_sec = (time_t)(ns / 1000000000),
			     .tv_nsec = (long)(ns % 1000000000)};
	struct epoll_event ev[64];
	int n = epoll_pwait2(p->capture.epoll_fd, ev, 64, ns == UINT64_MAX ? NULL : &t, NULL);

	p->descriptors_ns = capture_now_ns();
	if (n > 0)
		p->busy_ns = p->descriptors_ns;
	for (int i = 0; i < n; i++)
		on_event(p, ev[i].data.u64);
}

static void loop(struct pager *p)
{
	while (!p->finishing) {
		uint64_t ns = wait_ns(p);

		if (!fast_is_on(&p->capture)) {
			wait_for_events(p, ns);
		} else if (!ns) {
			look_for_faults(p);
			if (capture_now_ns() - p->descriptors_ns >= DESCRIPTORS_NS)
				wait_for_events(p, 0);
		} else {
			/* Who posts from here on is heard of by a message. */
			fast_asleep(&p->capture, p->dozes);
			wait_for_events(p, fast_serve(&p->capture) ? 0 : ns);
			fast_rise(&p->capture);
		}
		work(p);
		__atomic_store_n(&p->args->header->pager_beats, ++p->beats, __ATOMIC_RELEASE);
	}
}

static void finish(struct pager *p)
{
	struct rusage ru;

	while (p->capture.procs)
		process_exited(&p->capture, p->capture.procs);
	p->capture.table_ns = 0; /* readers shall see that none is left */
	table_refresh(&p->capture);
	for (struct aspace *sp = p->capture.spaces; sp; sp = sp->next)
		aspace_gone(&p->capture, sp);
	if (!getrusage(RUSAGE_SELF, &ru))
		p->args->header->pager_rss_peak_bytes = (uint64_t)ru.ru_maxrss * 1024;
	if (session_close_policy())
		log_warn("%s", err_text(-EIO));
	ctl_send(p->args->ctl_fd, CTL_FINISHED, 0, "%s", "");
	p->store->ops->close(p->store);
}

int pager_main(const struct pager_args *args)
{
	struct pager *p = calloc(1, sizeof(*p));
	int err = 0;

	err_clear(); /* what was said before the fork is nobody's reason here */
	if (!p) {
		ctl_send(args->ctl_fd, CTL_FAILED, 0, "no memory for the pager");
		return EXIT_FAILURE;
	}
	p->args = args;
	crowd_begin(&p->capture.crowd);
	log_set_sink(log_to_supervisor, p);
	p->spin_ns = wake_worth_ns(SPIN_WAKES, SPIN_MIN_NS, SPIN_MAX_NS);
	pager_lock_memory();
	priority_first(getpid());
	p->kept = (struct pager_kept *)((char *)args->header + RUN_KEPT_OFF);
	if (!args->takeover) {
		pager_no_takeover(p, core_can_be_taken_over() ? servers_no_takeover(args->cfg)
							      : "this rmem is built without it");
		err = sum_draw(&p->kept->secret);
	}
	if (!err)
		err = pager_open(p);
	if (err) {
		ctl_send(args->ctl_fd, CTL_FAILED, 0, "%s", err_text(err));
		return EXIT_FAILURE;
	}
	if (ctl_send(args->ctl_fd, CTL_READY, 0, "%s", ""))
		return EXIT_FAILURE;
	loop(p);
	finish(p);
	return EXIT_SUCCESS;
}
