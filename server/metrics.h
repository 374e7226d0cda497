/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rmemd tells Prometheus (--metrics). The numbers are in memory that the
 * process which serves them shares with the server and can only read.
 */
#ifndef RMEMD_METRICS_H
#define RMEMD_METRICS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/wire/wire.h"

enum request_op {
	REQUEST_HELLO,
	REQUEST_JOIN,
	REQUEST_LEASE,
	REQUEST_READ,
	REQUEST_WRITE,
	REQUEST_STATUS,
	REQUEST_BYE,
	REQUEST_OTHER,
};
#define REQUEST_OPS (REQUEST_OTHER + 1)

struct server_numbers {
	uint64_t capacity_bytes, reserved_bytes, leased_bytes, nr_clients, refused_clients;
	uint64_t requests[REQUEST_OPS][2]; /* answered, refused */
};

struct exporter {
	struct server_numbers *shared; /* NULL: nobody asks */
	pid_t pid;
};

/* A request of @type (0: it was no message) was served with @rc; -EPIPE is a goodbye. */
void server_count(struct server_numbers *n, enum wire_type type, int rc);

/* Serves at @address (NULL: not at all). 0 or -errno with err text. */
int exporter_open(struct exporter *e, const char *address) __attribute__((warn_unused_result));
void exporter_update(struct exporter *e, const struct server_numbers *now);
void exporter_close(struct exporter *e);

#endif
