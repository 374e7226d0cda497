/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run of rmem: what was asked for, what supervisor and pager share, and
 * what they say to each other.
 *
 *	supervisor --clone(CLONE_FILES)--> pager
 *	     |  parent of the job, owns state, prints, forwards signals
 *	     +--fork/exec--> the job, and a private rmemd when none was named
 *
 * They share one descriptor table, so that a userfaultfd that the pager got
 * from an event outlives the pager, and one memfd with everything the pager
 * knows. The pager never writes to anything that the job can see.
 */
#ifndef RMEM_CLIENT_RUN_H
#define RMEM_CLIENT_RUN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define RUN_MAX_SERVERS 16
#define RUN_SPARES	2 /* a pager that dies at once has not made another yet */
#define RUN_SPARE_NAME	"rmem-spare"
#define RUN_SCHEMA	"rmem.stat/1"

enum run_exit { RUN_EXIT_FAILED = 125, RUN_EXIT_NOEXEC = 126, RUN_EXIT_NOTFOUND = 127 };

/* A page, or the server that has it, is lost. */
enum run_on_loss {
	RUN_ON_LOSS_KILL,
	RUN_ON_LOSS_SIGBUS, /* where the page is touched */
	RUN_ON_LOSS_WAIT,   /* a server may be silent, as long as its lease holds; else as KILL */
};

/* Checked and complete: nothing in it is a default that is still to be found. */
struct run_config {
	uint64_t local_bytes;
	bool local_auto; /* and then what the host can spare */
	bool here;	 /* remote pages take memory of this machine */
	uint64_t remote_bytes;
	const char *server[RUN_MAX_SERVERS]; /* SPEC texts; none: a private server */
	unsigned int nr_servers;
	enum run_on_loss on_loss;
	bool no_bpf;	    /* faults by userfaultfd alone */
	const char *policy; /* its name; NULL: the default */
	bool summary;
	const char *stats_path;		       /* NULL: none */
	const char *record_path, *replay_path; /* NULL: none; not both */
	int json_status_fd;		       /* -1: none */
	const char *metrics;		       /* address to serve them at; NULL: none */
	pid_t attach_pid;		       /* 0: start argv */
	char **argv;
};

/*
 * The start of the memfd "rmem-state", which the supervisor owns and maps
 * before the pager exists. `rmem stat` finds it by name in /proc/PID/fd and
 * maps it read-only.
 */
#define RUN_MAGIC	  0x314e55524d454d52ULL /* "RMEMRUN1" */
#define RUN_LOCAL_MIN	  (16UL << 20)		/* below that nothing works */
#define RUN_VERSION	  7
#define RUN_CMDLINE_BYTES 256
#define RUN_SPEC_BYTES	  120
#define RUN_JOURNAL_OFF	  8192UL
#define RUN_TABLE_OFF	  16384UL
#define RUN_KEPT_OFF	  65536UL /* what the pager leaves to its successor */
#define RUN_KEPT_BYTES	  (8UL << 20)
#define RUN_HEADER_BYTES  (RUN_KEPT_OFF + RUN_KEPT_BYTES) /* the core's arena starts here */

/* A server of the run; what it has, and whether it drains, is in core_stats.part. */
struct run_server {
	char spec[RUN_SPEC_BYTES]; /* as it was given, or cut short */
	uint64_t bytes;		   /* leased there */
};

enum run_join_state {
	RUN_JOIN_NONE,
	RUN_JOIN_WRITTEN, /* by who asks, at this moment */
	RUN_JOIN_WANTED,
	RUN_JOIN_DONE,
	RUN_JOIN_REFUSED,
};

/* A server that is to come. */
struct run_join {
	uint32_t state;	   /* atomic, enum run_join_state: whose turn it is */
	int32_t asker_pid; /* atomic; 0: the next may ask */
	char spec[1025];   /* SPEC_MAX_CHARS */
	char why[256];	   /* not, when refused */
	uint64_t bytes;
};

struct run_header {
	uint64_t magic;
	uint32_t version;					/* RUN_VERSION */
	int32_t supervisor_pid, pager_pid, job_pid, server_pid; /* 0: none; pager_pid is a futex */
	int32_t exporter_pid;
	int32_t injector_pid;
	int32_t spare_pid[RUN_SPARES];	    /* one becomes the pager when that dies; 0: none */
	uint64_t local_bytes, remote_bytes; /* the caps; local_bytes is written by the pager */
	uint64_t least_local_bytes;	    /* what the local cap may be lowered to */
	uint64_t start_ns;		    /* CLOCK_MONOTONIC */
	uint64_t arena_bytes;
	/* written by the pager, read by anybody: */
	uint64_t stats_off; /* of struct core_stats from the start of the memfd; 0 not yet */
	uint32_t processes, processes_peak; /* of the job, now */
	uint32_t managed, unmanaged;
	uint32_t agents, agents_total;
	uint64_t ranges_registered; /* total */
	uint64_t pager_rss_peak_bytes;
	uint64_t pager_beats; /* atomic: its rounds */
	uint64_t takeovers;   /* pagers that went on from a dead one; the supervisor counts */
	char no_takeover[80]; /* why a dead pager can't be replaced; empty: it can */
	uint64_t unmanaged_bytes;
	char unmanaged_why[64];			      /* of the last one left unmanaged */
	uint32_t fast;				      /* enum run_fast */
	char fast_why[128];			      /* when refused */
	uint64_t fast_waits, fast_hits, fast_wait_ns; /* faults that waited; in time; altogether */
	uint32_t nr_servers;
	struct run_server server[RUN_MAX_SERVERS];
	/* written by rmem ctl and rmem pool, by whoever may open the memfd for writing: */
	uint64_t wanted_local_bytes; /* atomic; 0: nothing is */
	uint32_t cap;		     /* atomic, enum run_cap */
	uint32_t wanted_drain;	     /* atomic, a bit each: servers that are to leave; */
	uint32_t refused_drain;	     /* and can't: the others have no room. Set by the pager */
	struct run_join join;
	char cmdline[RUN_CMDLINE_BYTES];
};

/* Who says where the local cap is. */
enum run_cap {
	RUN_CAP_FIXED, /* whoever started the job, or rmem ctl */
	RUN_CAP_AUTO,  /* the host: elastic.h */
	RUN_CAP_HERE,  /* as fixed, and can't be otherwise: remote pages are here, too */
};

/* The fast fault path. */
enum run_fast { RUN_FAST_NOT_YET, RUN_FAST_ON, RUN_FAST_REFUSED };

/* What rmem does with a process of the job. */
enum run_proc_state {
	RUN_PROC_WATCHED,   /* small, or the cap is far: looked at through /proc */
	RUN_PROC_ENTERING,  /* an agent is being put in */
	RUN_PROC_MANAGED,   /* its memory can move */
	RUN_PROC_FORKED,    /* has remote pages of its parent's, waits for an agent */
	RUN_PROC_VFORK,	    /* runs in its parent's space, which has the numbers */
	RUN_PROC_UNMANAGED, /* why: enum inject_refusal */
};
#define RUN_PROC_STATES (RUN_PROC_UNMANAGED + 1)
#define RUN_PROCS	256U

/* Bytes and faults since its space is managed. */
struct run_proc {
	int32_t pid, ppid;
	uint8_t state, why;
	char comm[16]; /* the job's own words: escape before showing */
	uint64_t local_bytes, away_bytes;
	uint64_t faults, fetched_bytes, moved_bytes, evicted_bytes;
};

/* At RUN_TABLE_OFF; the largest, when there are more than RUN_PROCS. */
struct run_table {
	uint32_t seq; /* odd: being written */
	uint32_t nr;
	uint32_t in_state[RUN_PROC_STATES]; /* of all there are */
	uint64_t at_ns;			    /* CLOCK_MONOTONIC */
	struct run_proc proc[RUN_PROCS];
};
_Static_assert(sizeof(struct run_header) <= RUN_JOURNAL_OFF, "no room");
_Static_assert(RUN_TABLE_OFF + sizeof(struct run_table) <= RUN_KEPT_OFF, "no room");

enum ctl_type {
	/* pager -> supervisor */
	CTL_READY = 1, /* stores are open and leased; the job may start */
	CTL_FAILED,    /* text: could not start; exit 125 */
	CTL_LOG,       /* value: enum log_level, text: one line to print */
	CTL_LOST,      /* text: stop the whole job now, exit 125 */
	CTL_STATUS,    /* text: one JSON object for --json-status-fd */
	CTL_FINISHED,  /* answer to CTL_FINISH; header and stats are final */
	/* supervisor -> pager */
	CTL_JOB,     /* value: pid of the job's first process */
	CTL_STOPPED, /* value: pid of the stopped job: the supervisor stops itself now;
			 * send it SIGCONT when that pid runs again */
	CTL_FINISH,  /* the job is over (or rmem gives up) */
};

#define CTL_TEXT_BYTES 480

struct ctl_msg {
	uint32_t type;
	int32_t value;
	char text[CTL_TEXT_BYTES]; /* always terminated */
};

/* Non-blocking SOCK_SEQPACKET; 0, -EAGAIN, or -errno (-EPIPE: peer gone). */
int ctl_send(int fd, enum ctl_type type, int value, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int ctl_recv(int fd, struct ctl_msg *out);

struct pager_args {
	const struct run_config *cfg;
	struct run_header *header; /* the whole memfd, mapped MAP_SHARED */
	int ctl_fd;
	int supervisor_pidfd;
	int private_server_fd; /* connected socket, or -1 */
	int dev_userfaultfd;
	unsigned int spare; /* which of them this is */
	bool takeover;	    /* of what a dead pager has left */
};

/* The pager's whole life; returns its exit status. Runs in its own process
 * (descriptors shared, memory not), in a process group and session of its own. */
int pager_main(const struct pager_args *args);

/* The supervisor's whole life; returns the exit status of rmem. */
int supervisor_main(const struct run_config *cfg);

/* How many bytes of address space the memfd needs for this configuration. */
uint64_t pager_state_bytes(const struct run_config *cfg);

#endif
