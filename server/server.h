/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server as a whole: listeners, clients, the bank, one loop on one thread. It
 * waits in epoll; with tcp it waits in the ring through which pages travel, and the
 * ring waits for the epoll.
 *
 *	listener --accept--> client --HELLO--> session with a reservation
 *	                        |                 |  LEASE: draws slabs
 *	                        +---- gone -------+--> all given back
 */
#ifndef RMEMD_SERVER_H
#define RMEMD_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/conn/shm.h"
#include "common/conn/tcp.h"
#include "server/lease.h"
#include "server/metrics.h"
#include "server/options.h"

#define SERVER_MAX_CLIENTS	1024
#define SERVER_HELLO_TIMEOUT_MS 5000

struct client;
struct nic;
struct session;
struct tcp_ring;

struct tcp_listener {
	int fd;
	struct net_addr addr; /* with the port that it got */
};

struct server {
	struct bank bank;
	struct shm_listener listener[OPTIONS_MAX_LISTEN];
	unsigned int nr_listeners;
	struct tcp_listener tcp_listener[OPTIONS_MAX_LISTEN];
	unsigned int nr_tcp_listeners;
	struct net_addr rdma_addr[OPTIONS_MAX_LISTEN]; /* with the ports that they got */
	unsigned int nr_rdma;
	struct tcp_ring *ring;	  /* NULL without tcp */
	struct nic *nic;	  /* NULL without RDMA */
	struct session *sessions; /* list */
	struct client *clients;	  /* list */
	unsigned int nr_clients;
	uint64_t next_session;
	unsigned int drain_timeout_ms;
	uint64_t drain_deadline_ns; /* 0: not draining */
	uint64_t expiry_ns;	    /* no client's time is over before */
	bool once, had_client, stop;
	int epoll_fd, signal_fd;
	struct server_numbers numbers;
	struct exporter exporter;
};

/* Opens everything or nothing. 0 or -errno with err text. */
int server_open(struct server *s, const struct options *o) __attribute__((warn_unused_result));

/* Until it is stopped. 0 or -errno with err text. */
int server_run(struct server *s) __attribute__((warn_unused_result));

/* The rest is for server/tcp.c and rdma.c. */

/* Takes @c into the list; it has @timeout_ms for its HELLO, 0: all the time. */
void server_add(struct server *s, struct client *c, unsigned int timeout_ms);

/* Takes it out of the list again, and closes it. */
void server_drop(struct server *s, struct client *c);

/* @c has until @deadline_ns. */
void server_set_deadline(struct server *s, struct client *c, uint64_t deadline_ns);

/* Accepts a half-opened one. */
void server_close(struct server *s);

#endif
