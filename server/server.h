/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server as a whole: listeners, clients, the bank, one epoll loop on one
 * thread.
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
#include "server/lease.h"
#include "server/metrics.h"
#include "server/options.h"

#define SERVER_MAX_CLIENTS 1024

struct client;

struct server {
	struct bank bank;
	struct shm_listener listener[OPTIONS_MAX_LISTEN];
	unsigned int nr_listeners;
	struct client *clients; /* list */
	unsigned int nr_clients;
	uint64_t next_session;
	unsigned int drain_timeout_ms;
	uint64_t drain_deadline_ns; /* 0: not draining */
	bool once, had_client, stop;
	int epoll_fd, signal_fd;
	struct server_numbers numbers;
	struct exporter exporter;
};

/* Opens everything or nothing. 0 or -errno with err text. */
int server_open(struct server *s, const struct options *o) __attribute__((warn_unused_result));

/* Until it is stopped. 0 or -errno with err text. */
int server_run(struct server *s) __attribute__((warn_unused_result));

/* Accepts a half-opened one. */
void server_close(struct server *s);

#endif
