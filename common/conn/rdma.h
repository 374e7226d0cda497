/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn rdma: reliable connections over verbs and rdma_cm, with messages (SEND) and
 * one-sided reads and writes. The names begin with verbs_ since rdma_ is librdmacm's.
 *
 *	host     what one thread waits on for connections to come and go
 *	domain   a protection domain and a completion queue: the connections of one
 *	         session, on either side, share it, so that one key serves them all
 *	conn     one queue pair
 *	region   registered memory of a domain
 *
 * Everything that was posted is told of by verbs_poll() exactly once: reads in the order
 * of reads, writes in that of writes. One thread at a time, for a host and all below it.
 * Knows no message.
 */
#ifndef RMEM_CONN_RDMA_H
#define RMEM_CONN_RDMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/conn/address.h"

#define VERBS_KNOCK_BYTES   56	/* what can be said with the asking for a connection ... */
#define VERBS_REFUSAL_BYTES 148 /* ... and with a no */
#define VERBS_MESSAGE_BYTES 512
#define VERBS_DOMAIN_CONNS  4	/* two, and those that replace them */
#define VERBS_ROUND	    160 /* one verbs_poll() of so many tells all, where no pages travel */

struct verbs_host;
struct verbs_listener;
struct verbs_domain;
struct verbs_conn;
struct verbs_region;

/* ---- coming and going ---- */

enum verbs_what {
	VERBS_KNOCKS, /* a new connection asks: verbs_admit() it or verbs_refuse() it */
	VERBS_OPENS,  /* what verbs_ask() asked for is there */
	VERBS_FAILS,  /* or not: see verbs_failure() */
	VERBS_OVER,   /* the other side hung up, or the device has gone */
};

struct verbs_event {
	enum verbs_what what;
	struct verbs_conn *conn; /* knocks: yours */
	bool was_open;		 /* over: or it had never come about */
	uint8_t words[VERBS_KNOCK_BYTES];
	size_t words_bytes; /* padded with zeros by some devices */
};

/* Open descriptors of RDMA devices, at most @max. Asked before anything of the above was
 * opened, they are those of a process that shared them and died. Its queue pairs live on, with
 * all that is under way on them, until the last of them is closed. */
unsigned int verbs_left(int *fd, unsigned int max);

/* 0 or -errno with err text: -ENODEV where this machine has no RDMA at all. */
int verbs_host_open(struct verbs_host **out) __attribute__((warn_unused_result));

/* Polls readable when verbs_next() may have something. */
int verbs_host_fd(const struct verbs_host *h);

/* The next thing that came to pass: 1, 0 when there is none, -errno. */
int verbs_next(struct verbs_host *h, struct verbs_event *out) __attribute__((warn_unused_result));

/* After all of its listeners and connections. Accepts NULL. */
void verbs_host_close(struct verbs_host *h);

/* @a->port is the real one afterwards. 0 or -errno with err text. */
int verbs_listen(struct verbs_host *h, struct net_addr *a, struct verbs_listener **out)
	__attribute__((warn_unused_result));
void verbs_unlisten(struct verbs_listener *l);

/*
 * Asks for a connection to @to, with @words (VERBS_KNOCK_BYTES at most) for the other side
 * to decide by, in the domain @in, or a new one when that is NULL. At most @depth
 * reads and writes will be under way on it.
 */
struct verbs_asking {
	struct net_addr to;
	struct verbs_domain *in;
	unsigned int depth;
	uint8_t words[VERBS_KNOCK_BYTES];
	size_t words_bytes;
};

/* Begins to; verbs_next() tells how it ends. A name, where it is one, is looked up at once,
 * until @deadline_ns at most. 0 or -errno with err text that names the server and the
 * remedy. */
int verbs_ask(struct verbs_host *h, const struct verbs_asking *ask, uint64_t deadline_ns,
	      struct verbs_conn **out) __attribute__((warn_unused_result));

/* Asks, again while there is no answer and time is left, and waits for the end of it: when
 * that is not well, @out is left for verbs_refusal() to look at, and to be closed, or NULL.
 * -errno with err text. */
int verbs_connect(struct verbs_host *h, const struct verbs_asking *ask, uint64_t deadline_ns,
		  struct verbs_conn **out) __attribute__((warn_unused_result));

/* Why @c failed to open: -errno with err text. */
int verbs_failure(const struct verbs_conn *c);

/* What the other program said with its no: how many bytes, 0 when it was not that. */
size_t verbs_refusal(const struct verbs_conn *c, const uint8_t **words);

/* Lets one in that knocks, in @d, or a domain of its own. -errno with err text. */
int verbs_admit(struct verbs_conn *c, struct verbs_domain *d) __attribute__((warn_unused_result));

/* Says no to one that knocks, with at most VERBS_REFUSAL_BYTES, and closes it. */
void verbs_refuse(struct verbs_conn *c, const void *words, size_t bytes);

/* Hangs up. What was posted is never told of; the other side reaches nothing through it
 * from here on. Accepts NULL. */
void verbs_close(struct verbs_conn *c);

/* Whatever its owner likes to find again. */
void verbs_set_owner(struct verbs_conn *c, void *owner);
void *verbs_owner(const struct verbs_conn *c);

/* "10.0.0.1:4567" */
const char *verbs_peer(const struct verbs_conn *c, char *buf, size_t buf_bytes);

/* ---- its device ---- */

struct verbs_domain *verbs_domain(const struct verbs_conn *c);

/* Keeps it, when all its connections and regions are gone too. Put accepts NULL. */
struct verbs_domain *verbs_domain_get(struct verbs_domain *d);
void verbs_domain_put(struct verbs_domain *d);

/* "rxe0 port 1", for people. */
const char *verbs_device(const struct verbs_domain *d);

/* Of the device; -1: it is near to none. */
int verbs_node(const struct verbs_domain *d);

/* Polls readable when verbs_poll() may have something: verbs_fired() it then. Armed when
 * new. */
int verbs_domain_fd(const struct verbs_domain *d);

/* ---- memory ---- */

/*
 * Registers [@at, @at + @bytes), which stays pinned until it is released. @is_shared: for
 * others to reach by the keys of verbs_share(). 0 or -errno with err text.
 */
int verbs_register(struct verbs_domain *d, void *at, size_t bytes, bool is_shared,
		   struct verbs_region **out) __attribute__((warn_unused_result));

/* The same for @bytes of new memory near the device, which go with the region. */
int verbs_allocate(struct verbs_domain *d, size_t bytes, struct verbs_region **out)
	__attribute__((warn_unused_result));
char *verbs_memory(const struct verbs_region *r);

/* Nobody reaches it from here on. After the connections that it was shared on. NULL: nothing. */
void verbs_release(struct verbs_region *r);

/*
 * A key by which the other side of @c may read and write the region, through this
 * connection alone where the device has memory windows of type 2B. What verbs_say() says
 * after this is not heard before the key is good. -EAGAIN when too much is under way;
 * another -errno with err text.
 */
int verbs_share(struct verbs_conn *c, struct verbs_region *r, uint32_t *key)
	__attribute__((warn_unused_result));

/* ---- words and pages ---- */

/* Sends a message. 0, -EAGAIN when too much is under way, another -errno. */
int verbs_say(struct verbs_conn *c, const void *words, size_t bytes)
	__attribute__((warn_unused_result));

struct verbs_op {
	bool is_write;
	void *local; /* in the region that verbs_post() is given */
	uint32_t bytes;
	uint64_t remote;
	uint32_t key;
	uint64_t id; /* comes back */
};

/* Posts all of them with one doorbell; there must be room (the depth). 0 or -errno: the
 * connection is broken then. */
int verbs_post(struct verbs_conn *c, const struct verbs_region *local, const struct verbs_op *op,
	       unsigned int nr) __attribute__((warn_unused_result));

/* Asks for a sign of life that costs the other side's program nothing; see verbs_silent_ns(). */
int verbs_probe(struct verbs_conn *c) __attribute__((warn_unused_result));

/* How long nothing that was posted has been done though something is under way. */
uint64_t verbs_silent_ns(const struct verbs_conn *c);

struct verbs_done {
	struct verbs_conn *conn;
	bool is_message;
	int res; /* 0 or -errno: the connection is broken; verbs_why() says more */
	uint64_t id;
	const void *words; /* a message; until verbs_heard() */
	size_t bytes;
};

/* Up to @max things that came to pass on the connections of @d. Never waits. */
unsigned int verbs_poll(struct verbs_domain *d, struct verbs_done *out, unsigned int max);

/* There is room for another message. */
int verbs_heard(struct verbs_conn *c, const void *words) __attribute__((warn_unused_result));

/* The next completion makes the descriptor readable; look once more with verbs_poll() after
 * this. Armed already, it does nothing. 0 or -errno. */
int verbs_arm(struct verbs_domain *d) __attribute__((warn_unused_result));

/* The descriptor was readable: it no longer is, and not armed either. */
void verbs_fired(struct verbs_domain *d);

/* Why the first thing on @c failed, in the words of the device. */
const char *verbs_why(const struct verbs_conn *c);

/* ---- for rmem doctor ---- */

struct verbs_port {
	char device[64];
	unsigned int port;
	char net[32]; /* the network interface below it, or "" */
	bool is_active;
	bool has_address; /* a GID that connections can use */
	bool has_windows; /* of type 2B */
	const char *kind; /* "RoCE", "iWARP", "InfiniBand" */
};

/* Ports of this machine's devices: how many there are, @max at most are told; -errno. */
int verbs_ports(struct verbs_port *out, unsigned int max);

#endif
