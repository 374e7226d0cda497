/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job's real address spaces and processes, as the pager knows them. What
 * the core asks (client/core/capture.h) is answered here with userfaultfd and
 * agents; what the kernel says is read here and given to the core.
 *
 *	processes.c  which processes the job has, how large they are
 *	table.c      the table of processes that others read
 *	register.c   which mappings of a space are given to userfaultfd
 *	spaces.c     the spaces, and commands to their agents
 *	messages.c   userfaultfd messages
 *	guard.c      pages that are known to be as they came
 *	take.c       what takes pages out where userfaultfd can't
 *	injector.c   the process that puts agents into processes
 *	ops.c        the core's table
 *	adopt.c      what a dead pager has left
 *
 * Everything on the pager's thread, but the injector's own loop, in its process.
 */
#ifndef RMEM_CAPTURE_CAPTURE_H
#define RMEM_CAPTURE_CAPTURE_H

#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <sys/types.h>

#include "client/capture/crowd.h"
#include "client/capture/inject.h"
#include "client/core/core.h"
#include "client/run.h"

struct vma_span {
	uint64_t start, end;
};

/* A command the agent has not answered yet. */
struct command {
	bool used;
	uint32_t op; /* enum agent_op */
	unsigned int half;
	uint64_t va;
	pageset want;
	uint64_t since_ns;
};

struct aspace {
	bool used; /* one of struct capture_kept: by a space */
	space_id id;
	pid_t pid; /* a process that lives in it; 0 not known */
	struct aspace *next;
	int uffd;
	struct agent agent; /* .ring NULL: none */
	pid_t claim_tid;    /* last thread that was asked whether it lives here */
	bool wanted;	    /* the core wants an agent; its pid is not known yet */
	bool stuck;	    /* the last try could not stop a thread: it may wait for room */
	bool asked;	    /* the injector has a request for it */
	bool readable;	    /* messages may be waiting */
	bool dead;
	bool guards;	  /* some of its pages were filled guarded (guard.h) */
	bool unproven;	  /* forked: its agent waits until its ranges are looked up */
	space_id heir_of; /* forked off this one, which had no quiet moment since */
	bool unsettled;	  /* events were read since no call was under way */
	unsigned int tries;
	int wake_fd;	/* write end of the agent's wake pipe */
	cpu_set_t cpus; /* where the agent may run */
	int not_cpu;	/* but there the pager is; -1: anywhere of them */
	int pagemap_fd;
	uint64_t scratch[CORE_HALVES], own_start,
		own_end;	   /* copied: the job may write to the ring */
	bool bounced[CORE_HALVES]; /* what was moved is in the bounce buffer, not in scratch */
	bool bounces;		   /* the buffer may have memory */
	uint64_t bounce_ns;	   /* when it was asked for last */
	uint32_t spare;		   /* pages of scratch that the agent has to spare; it says so */
	uint32_t coming[AGENT_HALVES]; /* and more, when it has moved those; at most */
	uint64_t place_ns;	       /* when it was to put pages in place last */
	struct command cmd[AGENT_SLOTS];
	unsigned int post, take; /* next to be posted, next to be answered */
	bool drop[CORE_HALVES];	 /* half holds pages that nobody needs */
	struct take *taking;	 /* without MOVE: pages are leaving now (take.h) */

	uint64_t maps_bytes; /* virtual size when its maps were last read */
	uint64_t maps_ns;
	bool maps_dirty;
	uint64_t *keep; /* pages that must stay, sorted */
	size_t nr_keep;
	uint64_t keep_ns;
	struct vma_span *wiped; /* not inherited by a fork whose message is unread */
	size_t nr_wiped;
	bool wiped_known;
	uint64_t blind_ns; /* REMOVE read when its pages could not be looked up */
};

enum proc_state {
	PROC_SMALL,   /* not looked at more closely yet */
	PROC_ASKED,   /* the injector has it */
	PROC_MANAGED, /* has a space */
	PROC_REFUSED,
};

struct process {
	pid_t pid, ppid;
	struct process *next;
	uint64_t start_ticks;
	int pidfd, statm_fd;
	enum proc_state state;
	enum inject_refusal why;
	struct aspace *space; /* may be shared with other processes */
	uint32_t not_space;   /* no space up to this one is its own */
	bool borrows;	      /* runs in its parent's space (vfork): counted there */
	bool seen;
	uint64_t virt_bytes, anon_bytes;
	uint64_t pss_bytes, pss_anon_bytes, pss_minflt; /* when last sampled */
	bool sampled;					/* and nobody has come or gone since */
	uint64_t counted_bytes;				/* what it adds to the job's size */
	char comm[16];
	uint64_t comm_ns; /* when to read it anew */
};

/* Why a job is stopped that did so. */
#define REASON_ALL_LOCKED \
	"a process locked all of its memory (mlockall), or touched what is the agent's"

/* Where messages are read to: shared memory, so that no message is lost with
 * the process that read it. */
#define JOURNAL_MSGS   32U
#define JOURNAL_WIPED  64U
#define JOURNAL_UNREAD UINT32_MAX /* in .nr: as many as have an event */
struct journal {
	uint32_t space, nr, next;
	uint64_t mark; /* core_marked() when they were read: each event adds one */
	struct uffd_msg msg[JOURNAL_MSGS];
	uint32_t nr_wiped; /* what a fork among them does not hand on; more than fit: not known */
	struct vma_span wiped[JOURNAL_WIPED];
};
_Static_assert(RUN_JOURNAL_OFF + sizeof(struct journal) <= RUN_TABLE_OFF, "no room");

enum inject_state { INJECT_FREE, INJECT_ASKED, INJECT_DONE };

/* An agent for a process, or a look at its threads. */
struct inject_request {
	uint32_t state; /* atomic, enum inject_state */
	pid_t pid;
	uint64_t seq;
	uint32_t space; /* a forked one's, or 0 */
	bool quiesce;	/* no agent is wanted, only a look at the threads */
	int quiesced;
	int uffd_job;
	/* answer */
	struct agent agent; /* its ring is to be mapped */
	int wake_fd;
	enum inject_refusal why;
	char text[160];
};

#define INJECT_REQUESTS 64U
struct injector {
	uint32_t current; /* atomic: space that is being entered, or 0 */
	int event_fd, todo_fd, dev_fd, done_fd;
	pid_t supervisor_pid; /* its parent */
	bool no_move;
	uint64_t seq;
	struct inject_request request[INJECT_REQUESTS];
};

/* Shared memory, at the same address in the next pager; descriptors are shared, too. */
#define KEPT_SPACES 4096U
#define KEPT_PIDFDS 4096U /* of more processes they stay open */
struct capture_kept {
	uint32_t next_space;
	int epoll_fd, done_fd;
	struct injector injector;
	int pidfd[KEPT_PIDFDS]; /* of processes, at pid % KEPT_PIDFDS; 0: none */
	unsigned int hint;	/* where to look for a free space */
	struct aspace space[KEPT_SPACES];
};

struct table;
struct fast;
struct bpf_pins;

struct capture {
	struct core *core;
	struct run_header *header;
	struct capture_kept *kept;
	struct journal *journal;
	int epoll_fd;
	int done_fd; /* agents write here when they answered */
	int dev_userfaultfd;
	int loadavg_fd;
	pid_t root_pid; /* the supervisor (or the attached process): its descendants are the job */
	bool root_counts;
	pid_t skip[4]; /* pager, private server ...: never the job's */
	uint64_t cap_bytes;
	struct aspace *spaces;
	unsigned int nr_bounces; /* whose bounce buffer may have memory */
	struct process *procs;
	pid_t last_pid, older_pid; /* last given out at the last look and the one before */
	struct crowd crowd;
	uint64_t full_look_ns;
	bool look_at_all; /* the last look could not be finished */
	bool look_again;  /* numbers were given out in or after the last full look */
	struct injector *injector;
	struct fast *fast;     /* NULL: not begun */
	bool no_fast;	       /* and not to be */
	bool has_move;	       /* userfaultfd can move pages (Linux 6.8) */
	bool dear_look;	       /* a first look is: agents have the kernel copy */
	bool merges;	       /* guard.c: the machine merges pages of the same bytes */
	uint64_t merges_ns;    /* when that was asked */
	struct bpf_pins *pins; /* where it can't */
	const void *zeros;     /* CHUNK_BYTES of them */
	uint64_t anon_bytes, unmanaged_bytes;
	bool anon_exact;	/* anon_bytes is what was there at one moment, not a bound */
	uint64_t growth_per_ms; /* bytes, lately; since when, and what was there then */
	uint64_t growth_ns, growth_bytes;
	uint64_t pss_ns;       /* when to sample all processes again */
	uint64_t shared_bytes; /* would become the job's own if forked processes wrote to it */
	bool pressed;	       /* the cap is near: manage what there is */
	struct table *table;
	uint64_t table_ns; /* when it is made anew */
	const char *fatal;
};

extern const struct capture_ops capture_real_ops; /* ctx: struct capture */

uint64_t capture_now_ns(void);

/* ---- priority.c ---- */
/* The first thread of @pid, and those that it makes from then on, run before
 * others. It leads a session of its own. */
void priority_first(pid_t pid);
/* The agent runs beside the pager, not in place of it: a fault would wait. */
void priority_apart(struct aspace *sp);

/* ---- spaces.c ---- */
struct aspace *aspace_find(const struct capture *cp, space_id id);
struct aspace *aspace_new(struct capture *cp, int uffd, pid_t pid);
int aspace_watch(struct capture *cp, struct aspace *sp); /* by epoll; 0 or -errno */
int aspace_take_agent(struct capture *cp, struct aspace *sp, struct agent *agent, int wake_fd);
void aspace_gone(struct capture *cp, struct aspace *sp);
void aspaces_bury(struct capture *cp);		  /* free the dead ones */
bool aspaces_unclaimed(const struct capture *cp); /* is one's process not known? */

/* 0; -EAGAIN when all slots are in use; -ESRCH without an agent. */
int agent_post(struct aspace *sp, const struct agent_cmd *cmd);
int agent_is_dead(const struct aspace *sp); /* 1, 0; -errno: that can't be told */
bool agent_idle(const struct aspace *sp);

/* May what the space's agent moves go on to its bounce buffer? Then that has memory until
 * aspaces_rest() finds it unused. */
bool aspace_may_bounce(struct capture *cp, struct aspace *sp);
/* Bounce buffers, and pages to spare, of spaces that had no use for them lately are given back;
 * now and then. */
void aspaces_rest(struct capture *cp);

/* Take answers of every agent and give them to the core. */
void agents_reap(struct capture *cp);
bool agents_answered(const struct capture *cp); /* there is one to take */

/* Have pages of scratch that nobody needs dropped, where no move will do it. */
void agents_drop(struct capture *cp);

/* ---- forks.c ---- */
/* Before messages of the space are read. Is a call that changes its mappings under way? If it
 * is a fork, look now, while the thread that forked still waits, at what the child does not
 * get. */
bool aspace_before_read(struct capture *cp, struct aspace *sp);
int aspace_note_wiped(struct aspace *sp);
void aspace_after_read(struct aspace *sp);

/* The space shares its present pages with a fork: have the first write to each
 * pass through the pager, so that the copies it makes keep to the cap. Its
 * threads are where those of the process @threads_of are (0: not known). */
void aspace_guard_shared(struct capture *cp, struct aspace *sp, pid_t threads_of);

/* ---- messages.c ---- */
void messages_read(struct capture *cp, struct aspace *sp);
/* Events that a dead pager has read and not given to the core. */
void messages_again(struct capture *cp);
/* Those that take.c has read, as if read now. */
void messages_give(struct capture *cp, struct aspace *sp, const struct uffd_msg *msg,
		   unsigned int nr);

/* ---- register.c ---- */
/* Register what is new in the space's mappings, as a whole. 0 or -errno. */
int aspace_register(struct capture *cp, struct aspace *sp);
void aspace_register_some(struct capture *cp); /* of all spaces, as they need it */

/* ---- adopt.c ---- */
/* Goes on with the spaces that a dead pager has left, whose core was taken over; @cp is open
 * and has no spaces yet. 0; -errno with err text. */
int capture_adopt(struct capture *cp) __attribute__((warn_unused_result));

/* ---- processes.c ---- */
void processes_poll(struct capture *cp);
uint64_t processes_interval_ns(const struct capture *cp); /* until the next poll is due */
struct process *process_find(const struct capture *cp, pid_t pid);
void process_exited(struct capture *cp, struct process *p);
void process_refused(struct capture *cp, pid_t pid, enum inject_refusal why);
void process_injected(struct capture *cp, pid_t pid, enum inject_refusal why, struct aspace *sp);
void aspace_faulted(struct capture *cp, struct aspace *sp, pid_t tid);
void process_unclaim(struct capture *cp, struct aspace *sp);
bool aspace_is_shared(const struct capture *cp, const struct aspace *sp); /* by processes */
pid_t aspace_find_pid(struct capture *cp, struct aspace *sp);		  /* 0: can't be told */

/* ---- table.c ---- */
void table_refresh(struct capture *cp); /* if it is old enough */
void table_publish(struct run_table *to, struct run_table *from);

/* ---- injector.c ---- */
int injector_start(struct capture *cp);
int injector_fd(const struct capture *cp);
/* core_quiesced() follows. 0 or -ENOMEM. */
int injector_quiesce(struct capture *cp, struct aspace *sp);
/* 0; -EAGAIN: too many are asked for, try again. */
int injector_ask(struct capture *cp, pid_t pid, struct aspace *sp);
bool injector_has(const struct capture *cp, pid_t pid, space_id space); /* an agent to make */
/* It has made the space's agent, and nobody has taken it from there. */
bool injector_has_made(const struct capture *cp, const struct aspace *sp);
/* The same of a userfaultfd, which is closed with that agent. */
bool injector_has_fd(const struct capture *cp, int uffd);
/* The space that is being entered must not wait for room. */
void injector_let_through(struct capture *cp);
bool injector_busy(const struct capture *cp); /* something of the job is stopped by us */
void injector_reap(struct capture *cp);

#endif
