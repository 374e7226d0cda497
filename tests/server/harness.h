/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real rmemd in a folder of its own, and a client that can say anything
 * to it. Whatever is started dies with the test.
 */
#ifndef RMEM_TESTS_SERVER_HARNESS_H
#define RMEM_TESTS_SERVER_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/types.h>

#include "client/store/open.h"
#include "common/conn/tcp.h"
#include "common/wire/wire.h"

#define PATIENCE_MS 5000

struct rmemd {
	pid_t pid;
	char dir[32];
	char path[48]; /* of its socket */
	char log[4096];
	struct spec spec;     /* shm:path */
	struct net_addr addr; /* of tcp_start() */
	char tcp_rest[64];
	struct spec tcp_spec; /* tcp:127.0.0.1:port */
	char rdma_rest[64];   /* of rmemd_start_rdma() */
};

/* Makes the folder; starts nothing. */
void rmemd_prepare(struct rmemd *r);

/* Starts it listening on r->path; @args are further options, NULL ended. */
void rmemd_start(struct rmemd *r, const char *const *args);

/* The same, listening on a free port of 127.0.0.1 too. */
void rmemd_start_tcp(struct rmemd *r, const char *const *args);

/* The same, listening by RDMA on a free port of @address too. */
void rmemd_start_rdma(struct rmemd *r, const char *address, const char *const *args);

/* Starts it with @args alone. */
void rmemd_spawn(struct rmemd *r, const char *const *args);

/* Waits for its end; 256 when it does not come. Its stderr is in r->log then. */
int rmemd_wait(struct rmemd *r);

/* Kills what runs and removes the folder, which must hold nothing but the log. */
void rmemd_cleanup(struct rmemd *r);

/* Raw clients; each fails the test when the server does not do its part. */
int raw_connect(const struct rmemd *r);
void raw_send(int fd, const struct wire_msg *m);
void raw_recv(int fd, struct wire_msg *m, int *got_fd);
void raw_expect_error(int fd, enum wire_error_code code);
void raw_expect_end(int fd);
void raw_hello(int fd, uint64_t wanted_bytes, struct wire_msg *welcome);
int raw_lease(int fd, struct wire_leased *leased); /* one slab's descriptor */

/* What the server says is free; 0 wanted. */
uint64_t free_bytes(const struct rmemd *r);

/* Waits until that is @bytes. */
void expect_free(const struct rmemd *r, uint64_t bytes);

/* Waits until the path of its socket is gone: it has begun to stop. */
void expect_no_socket(const struct rmemd *r);

/* The same over tcp. A session on two connections, with slabs for @bytes. */
struct tcp_pair {
	int fd[2];
	struct wire_welcome welcome;
	struct wire_leased slab[4];
	unsigned int nr_slabs;
};

int tcp_raw_connect(const struct rmemd *r);
void tcp_raw_send(int fd, const struct wire_msg *m);
void tcp_raw_recv(int fd, struct wire_msg *m);
void tcp_raw_expect_error(int fd, enum wire_error_code code);
void tcp_raw_expect_end(int fd);
void tcp_raw_hello(int fd, uint64_t wanted_bytes, struct wire_msg *welcome);
void tcp_pair_open(const struct rmemd *r, uint64_t bytes, struct tcp_pair *out);
void tcp_pair_close(struct tcp_pair *pair);
void tcp_raw_write(int fd, uint64_t slab, uint64_t off_bytes, uint32_t nr_pages, const char *pages);
void tcp_raw_read(int fd, uint64_t slab, uint64_t off_bytes, uint32_t nr_pages, char *pages);

int store_open(const struct rmemd *r, uint64_t bytes, struct store **out);

#endif
