/* SPDX-License-Identifier: Apache-2.0 */
/* What the pager needs before its first round: made anew, or left by one that died. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/capture/bpf_pins.h"
#include "client/pager.h"
#include "client/session.h"
#include "client/supervisor_probe.h"
#include "common/base/err.h"
#include "common/base/first_look.h"
#include "common/base/log.h"
#include "common/base/units.h"
#include "common/compat.h"

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

/* As much again may come while the job runs, and what a store rounds up. */
static uint64_t max_slots(const struct run_config *cfg)
{
	return 2 * (cfg->remote_bytes / PAGE_BYTES + RUN_MAX_SERVERS);
}

uint64_t pager_state_bytes(const struct run_config *cfg)
{
	uint64_t pages = max_slots(cfg);

	/* Frames, slots, and records for all that can be remote, twice: chunks
	 * are seldom whole, and forked processes have records of their own. */
	return RUN_HEADER_BYTES + frames_for(cfg) * (PAGE_BYTES + 64) + pages * (16 * 4 + 3) +
	       GIB(1);
}

void pager_no_takeover(struct pager *p, const char *why)
{
	struct run_header *h = p->args->header;

	if (!h->no_takeover[0])
		snprintf(h->no_takeover, sizeof(h->no_takeover), "%s", why);
}

uint64_t pager_least_cap(const struct run_config *cfg)
{
	uint64_t bytes = 2 * frames_for(cfg) * PAGE_BYTES;

	return bytes > RUN_LOCAL_MIN ? bytes : RUN_LOCAL_MIN;
}

/* Fewer pages are put in place before an agent would be awake. */
#define PLACE_LEAST 16U

static int open_core(struct pager *p)
{
	struct core_config cfg = {.cap_bytes = p->args->cfg->local_bytes,
				  .max_slots = max_slots(p->args->cfg),
				  .nr_frames = frames_for(p->args->cfg),
				  .on_loss_sigbus = p->args->cfg->on_loss == RUN_ON_LOSS_SIGBUS,
				  .place_least = PLACE_LEAST};
	struct core_binds binds = {.capture = &capture_real_ops,
				   .capture_ctx = &p->capture,
				   .env = &pager_env,
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
		if (err)
			return err_set(err, "the records of its pages can't be taken over: %s",
				       strerror(-err));
		pager_list_servers(p);
		return 0;
	}
	err = core_open(arena, p->args->header->arena_bytes, &cfg, &binds, &p->capture.core);
	if (err)
		return err_set(err, "no room for page records: --remote is too large");
	pager_list_servers(p);
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

void pager_lock_memory(void)
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
	if (cp->has_move) {
		cp->dear_look = first_look_ns() > 0;
		return 0;
	}
	pager_no_takeover(p, "this kernel's userfaultfd can't move pages");
	log_warn("%s", PROBE_NO_MOVE);
	return pins_load(&cp->pins);
}

/* Forgotten first: killed in between, the next one would close what has that number by then. */
static void close_kept(int *kept)
{
	int fd = *kept;

	__atomic_store_n(kept, -1, __ATOMIC_SEQ_CST);
	if (fd >= 0)
		close(fd);
}

static int open_capture(struct pager *p)
{
	struct capture *cp = &p->capture;
	const struct run_header *h = p->args->header;
	int err;

	cp->header = p->args->header;
	cp->header->least_local_bytes = pager_least_cap(p->args->cfg);
	cp->journal = (struct journal *)((char *)p->args->header + RUN_JOURNAL_OFF);
	cp->kept = &p->kept->capture;
	if (p->args->takeover)
		close_kept(&cp->kept->epoll_fd);
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
	cp->zeros = mmap(NULL, CHUNK_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (cp->epoll_fd < 0 || cp->done_fd < 0 || cp->loadavg_fd < 0 || cp->zeros == MAP_FAILED)
		return err_set(-errno, "the pager can't start: %s", strerror(errno));
	err = open_eviction(p);
	return err ? err : injector_start(cp);
}

void pager_job_started(struct pager *p, pid_t pid)
{
	struct capture *cp = &p->capture;

	if (pid <= 0)
		return;
	cp->root_pid = p->args->cfg->attach_pid ? pid : p->args->header->supervisor_pid;
	cp->root_counts = p->args->cfg->attach_pid != 0;
	p->running = true;
}

int pager_open(struct pager *p)
{
	int err;

	p->nodes = p->args->header->no_takeover[0] ? NULL : p->kept->node;
	err = open_capture(p);

	if (!err)
		err = servers_open(p->args->cfg, p->args->private_server_fd, &p->kept->joined,
				   p->nodes, &p->store);
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
		pager_job_started(p, p->args->header->job_pid);
		err = capture_adopt(&p->capture);
	}
	return err;
}
