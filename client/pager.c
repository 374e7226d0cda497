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
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client/capture/bpf_pins.h"
#include "client/capture/capture.h"
#include "client/capture/fast.h"
#include "client/capture/proc.h"
#include "client/capture/take.h"
#include "client/jobtree.h"
#include "client/pager.h"
#include "client/session.h"
#include "client/sum.h"
#include "client/supervisor_probe.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/units.h"
#include "common/compat.h"

#define ORPHAN_KILL_MS 1500U
#define ALSO_MAX       4096U

/* ---- env ---- */

static uint64_t env_now_ns(void *ctx)
{
	(void)ctx;
	return capture_now_ns();
}

static uint64_t env_sum(void *ctx, const void *page)
{
	const struct pager *p = ctx;

	return sum_page(&p->kept->secret, page);
}

static const char *loss_text(enum core_loss why)
{
	switch (why) {
	case LOSS_SUM:
		return "a page came back from its server with other bytes than were sent";
	case LOSS_STORE:
		return "a memory server is gone or refuses pages";
	case LOSS_SPACE:
		return "an address space of the job could not be followed";
	case LOSS_FULL:
		return "out of remote memory: give more with --remote, or raise --local";
	case LOSS_CAP:
		return "the cap is reached and nothing more can leave this machine (locked, "
		       "pinned, "
		       "shared or unmanaged memory): raise --local";
	case LOSS_INTERNAL:
		break;
	}
	return "out of memory for page records";
}

static void lose(struct pager *p, const char *text)
{
	if (p->lost)
		return;
	p->lost = true;
	ctl_send(p->args->ctl_fd, CTL_LOST, 0, "%s", text);
}

static void env_lost(void *ctx, enum core_loss why, space_id sp, uint64_t va, int err)
{
	struct pager *p = ctx;
	const struct core_stats *st = core_stats(p->capture.core);
	const struct aspace *as = sp.v ? aspace_find(&p->capture, sp) : NULL;
	char text[CTL_TEXT_BYTES], where[96] = "";

	if (as && va)
		snprintf(where, sizeof(where), " (process %d, page 0x%llx)", as->pid,
			 (unsigned long long)va);
	/* A store that is lost has said which server, and how. */
	if (why == LOSS_STORE && err == -EPIPE)
		snprintf(text, sizeof(text), "%s; %llu pages were remote", err_text(err),
			 (unsigned long long)st->remote_pages);
	else
		snprintf(text, sizeof(text), "%s%s; %llu pages were remote%s%s", loss_text(why),
			 where, (unsigned long long)st->remote_pages, err ? ": " : "",
			 err ? strerror(-err) : "");
	lose(p, text);
}

static const struct env_ops env = {.now_ns = env_now_ns, .sum = env_sum, .lost = env_lost};

/* ---- opening ---- */

static void log_to_supervisor(void *ctx, enum log_level level, const char *line)
{
	const struct pager *p = ctx;

	ctl_send(p->args->ctl_fd, CTL_LOG, (int)level, "%s", line);
}

/* A sixteenth of the cap stands by. */
static uint32_t frames_for(const struct run_config *cfg)
{
	uint64_t bytes = cfg->local_bytes / 16;

	if (bytes > MIB(256))
		bytes = MIB(256);
	if (bytes < MIB(1))
		bytes = MIB(1);
	return (uint32_t)(bytes / PAGE_BYTES);
}

uint64_t pager_state_bytes(const struct run_config *cfg)
{
	uint64_t pages = cfg->remote_bytes / PAGE_BYTES;

	/* Frames, slots, and records for all that can be remote, twice: chunks
	 * are seldom whole, and forked processes have records of their own. */
	return RUN_HEADER_BYTES + frames_for(cfg) * (PAGE_BYTES + 64) + pages * (16 * 4 + 3) +
	       GIB(1);
}

static void no_takeover(struct pager *p, const char *why)
{
	struct run_header *h = p->args->header;

	if (!h->no_takeover[0])
		snprintf(h->no_takeover, sizeof(h->no_takeover), "%s", why);
}

/* For whoever wants to know which servers the run has. */
static void list_servers(const struct pager *p)
{
	const struct run_config *cfg = p->args->cfg;
	struct run_header *h = p->args->header;
	uint64_t last = 0;

	for (unsigned int i = 0; i < cfg->nr_servers || !i; i++) {
		uint64_t end = p->store->nr_parts ? p->store->part_end[i] : p->store->nr_slots;

		snprintf(h->server[i].spec, sizeof(h->server[i].spec), "%s",
			 cfg->nr_servers ? cfg->server[i] : "private");
		h->server[i].bytes = (end - last) * PAGE_BYTES;
		last = end;
	}
	h->nr_servers = cfg->nr_servers ? cfg->nr_servers : 1;
}

/* Standby is as large as it was made; the job needs at least as much. */
static uint64_t least_cap(const struct run_config *cfg)
{
	uint64_t bytes = 2 * frames_for(cfg) * PAGE_BYTES;

	return bytes > RUN_LOCAL_MIN ? bytes : RUN_LOCAL_MIN;
}

static int open_core(struct pager *p)
{
	struct core_config cfg = {.cap_bytes = p->args->cfg->local_bytes,
				  .nr_frames = frames_for(p->args->cfg),
				  .on_loss_sigbus = p->args->cfg->on_loss == RUN_ON_LOSS_SIGBUS};
	struct core_binds binds = {.capture = &capture_real_ops,
				   .capture_ctx = &p->capture,
				   .env = &env,
				   .env_ctx = p,
				   .store = p->store};
	char *arena = (char *)p->args->header + RUN_HEADER_BYTES;
	int err;

	err = session_open_policy(p->args->cfg, &binds.policy, &binds.policy_ctx);
	if (err)
		return err;
	if (p->args->takeover) {
		cfg.cap_bytes = p->args->header->local_bytes;
		err = core_takeover(arena, p->args->header->arena_bytes, &cfg, &binds,
				    &p->capture.core);
		return err ? err_set(err, "the records of its pages can't be taken over: %s",
				     strerror(-err))
			   : 0;
	}
	err = core_open(arena, p->args->header->arena_bytes, &cfg, &binds, &p->capture.core);
	if (err)
		return err_set(err, "no room for page records: --remote is too large");
	list_servers(p);
	p->args->header->stats_off =
		(uint64_t)((const char *)core_stats(p->capture.core) - (char *)p->args->header);
	return 0;
}

static int watch_fd(struct pager *p, int fd, uint64_t tag)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = tag};

	if (fd < 0 || !epoll_ctl(p->capture.epoll_fd, EPOLL_CTL_ADD, fd, &ev))
		return 0;
	return err_set(-errno, "epoll: %s", strerror(errno));
}

static void lock_memory(void)
{
	/* On fault: slabs and records become resident when they are used. */
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))
		log_warn("the pager's memory is not locked (%s): under memory pressure the job "
			 "waits "
			 "for swap; raise the locked-memory limit (ulimit -l)",
			 strerror(errno));
}

/* How pages leave here, and what can't be had without MOVE. */
static int open_eviction(struct pager *p)
{
	struct capture *cp = &p->capture;
	uint64_t features;
	int err = probe_features(cp->dev_userfaultfd, &features);

	if (err)
		return err_set(err, "userfaultfd: %s", strerror(-err));
	if (p->args->cfg->on_loss == RUN_ON_LOSS_SIGBUS && !(features & UFFD_FEATURE_POISON))
		return err_set(-EOPNOTSUPP,
			       "--on-loss sigbus needs Linux 6.6, where pages can be"
			       " poisoned; this is %s",
			       probe_release());
	cp->has_move = features & UFFD_FEATURE_MOVE;
	if (cp->has_move)
		return 0;
	no_takeover(p, "this kernel's userfaultfd can't move pages");
	log_warn("%s", PROBE_NO_MOVE);
	return pins_load(&cp->pins);
}

static int open_capture(struct pager *p)
{
	struct capture *cp = &p->capture;
	const struct run_header *h = p->args->header;
	int err;

	cp->header = p->args->header;
	cp->header->least_local_bytes = least_cap(p->args->cfg);
	cp->journal = (struct journal *)((char *)p->args->header + RUN_JOURNAL_OFF);
	cp->kept = &p->kept->capture;
	if (p->args->takeover)
		close(cp->kept->epoll_fd);
	else /* agents have it */
		cp->kept->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	cp->kept->epoll_fd = cp->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	cp->done_fd = cp->kept->done_fd;
	cp->loadavg_fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
	cp->dev_userfaultfd = p->args->dev_userfaultfd;
	cp->cap_bytes = h->local_bytes;
	cp->no_fast = p->args->cfg->no_bpf;
	cp->skip[0] = getpid();
	cp->skip[1] = h->server_pid;
	cp->skip[2] = h->exporter_pid;
	cp->skip[3] = h->injector_pid; /* 0: not begun */
	cp->skip[4] = h->spare_pid[0];
	cp->skip[5] = h->spare_pid[1];
	cp->zeros = mmap(NULL, CHUNK_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (cp->epoll_fd < 0 || cp->done_fd < 0 || cp->loadavg_fd < 0 || cp->zeros == MAP_FAILED)
		return err_set(-errno, "the pager can't start: %s", strerror(errno));
	err = open_eviction(p);
	return err ? err : injector_start(cp);
}

static void job_started(struct pager *p, pid_t pid)
{
	struct capture *cp = &p->capture;

	if (pid <= 0)
		return;
	cp->root_pid = p->args->cfg->attach_pid ? pid : p->args->header->supervisor_pid;
	cp->root_counts = p->args->cfg->attach_pid != 0;
	p->running = true;
}

static int pager_open(struct pager *p)
{
	int err = open_capture(p);

	if (!err)
		err = session_open_store(p->args->cfg, p->args->private_server_fd, p->kept->store,
					 &p->store);
	if (!err)
		err = open_core(p);
	if (!err)
		err = watch_fd(p, p->args->ctl_fd, TAG_CTL);
	if (!err)
		err = watch_fd(p, p->args->supervisor_pidfd, TAG_SUPERVISOR);
	if (!err)
		err = watch_fd(p, p->capture.done_fd, TAG_AGENTS);
	if (!err)
		err = watch_fd(p, injector_fd(&p->capture), TAG_INJECTOR);
	if (!err)
		err = watch_fd(p, p->store->ops->pollfd(p->store), TAG_STORE);
	if (!err && p->args->takeover) {
		job_started(p, p->args->header->job_pid);
		err = capture_adopt(&p->capture);
	}
	return err;
}

/* ---- what comes in ---- */

static void on_control(struct pager *p)
{
	struct ctl_msg m;

	while (ctl_recv(p->args->ctl_fd, &m) == 0) {
		switch (m.type) {
		case CTL_JOB:
			job_started(p, m.value);
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
	pager_kill_known(p);
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
			lose(p, err_text(-EPIPE));
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

	if (!want || want == cp->cap_bytes || want < least_cap(p->args->cfg))
		return;
	cp->cap_bytes = want;
	core_set_cap(cp->core, want);
	__atomic_store_n(&h->local_bytes, want, __ATOMIC_RELEASE);
	log_debug("the local cap is now %lu MiB", (unsigned long)(want >> 20));
}

/* Servers are to leave; as follow_cap(), nothing is believed that can't be so. */
static void follow_drain(struct pager *p)
{
	struct run_header *h = p->args->header;
	struct core *c = p->capture.core;
	uint32_t want = __atomic_load_n(&h->wanted_drain, __ATOMIC_ACQUIRE) &
			~__atomic_load_n(&h->refused_drain, __ATOMIC_ACQUIRE);

	for (unsigned int i = 0; i < p->store->nr_parts; i++) {
		if (!(want >> i & 1) || core_stats(c)->part[i] != PART_OPEN)
			continue;
		if (core_drain(c, i))
			__atomic_fetch_or(&h->refused_drain, 1U << i, __ATOMIC_RELEASE);
		else
			no_takeover(p, "a memory server was drained");
	}
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
		follow_drain(p);
		processes_poll(cp);
		core_observe(cp->core, cp->anon_bytes, held_bytes(cp), cp->anon_exact);
		wake_supervisor(p);
		p->poll_ns = capture_now_ns() + processes_interval_ns(cp);
	}
	p->again = !p->lost && core_run(cp->core);
	core_commit(cp->core);
	agents_drop(cp);
	p->taking = takes_serve(cp);
	aspaces_bury(cp);
	if (cp->fatal)
		lose(p, cp->fatal);
}

/* A woken thread of the job takes this long to get on. */
#define SHORT_NS 50000ULL

/* After a fault the next one is near: to be woken for it costs more than to
 * look for it, if a core is free for looking. */
#define SPIN_NS 40000ULL

/* While posted faults are looked for, descriptors are this often. */
#define DESCRIPTORS_NS 10000ULL

static bool may_spin(const struct pager *p, uint64_t now)
{
	return now - p->busy_ns < SPIN_NS && p->capture.nr_running <= p->cpus;
}

static uint64_t wait_ns(const struct pager *p)
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
			p->busy_ns = now;
			return;
		}
		if (p->again || p->taking || agents_answered(&p->capture))
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
			fast_asleep(&p->capture);
			wait_for_events(p, fast_serve(&p->capture) ? 0 : ns);
		}
		work(p);
		__atomic_store_n(&p->args->header->pager_beats, ++p->beats, __ATOMIC_RELEASE);
	}
}

void pager_kill_known(struct pager *p)
{
	for (const struct process *q = p->capture.procs; q; q = q->next)
		kill(q->pid, SIGKILL);
	for (const struct aspace *sp = p->capture.spaces; sp; sp = sp->next)
		if (sp->agent.ring)
			kill(sp->agent.pid, SIGKILL);
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

	if (!p)
		return EXIT_FAILURE;
	p->args = args;
	p->cpus = (unsigned int)sysconf(_SC_NPROCESSORS_ONLN);
	log_set_sink(log_to_supervisor, p);
	lock_memory();
	priority_first(getpid());
	p->kept = (struct pager_kept *)((char *)args->header + RUN_KEPT_OFF);
	if (!args->takeover) {
		no_takeover(p, core_can_be_taken_over() ? session_no_takeover(args->cfg)
							: "this rmem is built without it");
		err = sum_draw(&p->kept->secret);
	}
	if (!err)
		err = pager_open(p);
	if (err) {
		ctl_send(args->ctl_fd, CTL_FAILED, 0, "%s", err_text(err));
		return EXIT_FAILURE;
	}
	ctl_send(args->ctl_fd, CTL_READY, 0, "%s", "");
	loop(p);
	finish(p);
	return EXIT_SUCCESS;
}
