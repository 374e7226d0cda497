/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of conn rdma share, and nobody else sees. */
#ifndef RMEM_CONN_RDMA_PARTS_H
#define RMEM_CONN_RDMA_PARTS_H

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include "common/conn/rdma.h"

#define NR_RECV	  32U		   /* messages that may come before one is heard */
#define NR_SAY	  32U		   /* messages under way; a power of two */
#define NR_OWN	  (2 * NR_SAY + 2) /* with keys, and a probe */
#define MAX_DEPTH 1024U
#define MAX_READS 32U /* under way in the network; devices lower it */

/*
 * rxe and others take 7 for "for ever": a crashed peer would never be noticed. A lost
 * packet costs one time-out, 4.096 us * 2^15 = 134 ms, a lost peer seven of them.
 */
#define NR_RETRIES  6
#define ACK_TIMEOUT 15

enum post_kind { POST_READ, POST_WRITE, POST_PROOF, POST_SAY, POST_KEY, POST_PROBE };

/*
 * One entry of a send queue. Of neighbours of one kind that were posted together only some
 * ask for a completion, which is one of all before it in its group. Between kinds there is
 * no order: siw completes a write before the read that was posted first.
 */
struct post {
	uint64_t id;
	enum post_kind kind;
	bool begins_group, is_done;
	int res;
};

enum conn_state {
	CONN_COMES, /* it is not decided yet */
	CONN_OPEN,
	CONN_FAILED,
	CONN_OVER,
};

struct verbs_host {
	struct rdma_event_channel *channel;
};

struct verbs_listener {
	struct rdma_cm_id *id;
};

struct verbs_domain {
	unsigned int nr_users; /* connections and regions */
	struct ibv_pd *pd;
	struct ibv_comp_channel *channel;
	struct ibv_cq *cq;
	struct verbs_conn *conn[VERBS_DOMAIN_CONNS];
	unsigned int nr_reads; /* at most under way on a connection */
	bool is_armed, has_windows;
	bool is_iwarp; /* a write is done there when it was sent: only a read proves that it came */
	int node;
	char name[80];
};

struct verbs_region {
	struct verbs_domain *domain;
	struct ibv_mr *mr;
	void *own; /* memory that goes with it, or NULL */
};

struct window {
	struct window *next;
	struct ibv_mw *mw;
};

struct verbs_conn {
	struct rdma_cm_id *id;
	struct verbs_domain *domain; /* NULL: knocks, or half-opened */
	unsigned int nr;	     /* among those of its domain */
	void *owner;

	enum conn_state state;
	struct verbs_domain *wanted; /* held: the one to be in; NULL: one of its own */
	struct verbs_asking ask;     /* to.host[0]: this side asked */
	unsigned int nr_reads;	     /* that the other side will have under way, where that asked */
	int code;		     /* with CONN_FAILED, and the text of it */
	char text[256];
	uint8_t refusal[VERBS_REFUSAL_BYTES];
	size_t refusal_bytes;

	char *words; /* NR_RECV messages to come, NR_SAY to go, and one for proofs */
	struct ibv_mr *words_mr;
	unsigned int say_head, say_tail;
	struct window *windows;

	/* The send queue: posted up to head, done up to tail. Told of is what was done last. */
	struct post *post;
	unsigned int nr_posts; /* a power of two */
	unsigned int head, tail;
	unsigned int tell, tell_end;
	bool is_probing;
	bool is_broken; /* and this was told */
	uint64_t progress_ns;
	const char *why;
};

/* A domain for connections through @id's device. 0 or -errno with err text. */
int verbs_domain_open(struct rdma_cm_id *id, struct verbs_domain **out);

/* What the device refused, by -errno: returns it, with err text that names the device. */
int verbs_no_domain(const struct verbs_domain *d, int code);

/* Registers and locks memory; @access beside what reading into it takes. The limit is raised
 * if it may be. 0 or -errno with err text. */
int verbs_pin(const struct verbs_domain *d, void *at, size_t bytes, int access,
	      struct ibv_mr **out);

/* The queue pair of @c in @d, ready for words. 0 or -errno with err text. */
int verbs_conn_make(struct verbs_conn *c, struct verbs_domain *d, unsigned int depth);

/* Frees all of it but the rdma_cm_id. */
void verbs_conn_unmake(struct verbs_conn *c);

uint64_t verbs_now_ns(void);

#endif
