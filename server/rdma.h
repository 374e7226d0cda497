/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clients of a server that come by RDMA: admitted, served, let go. Their reads and
 * writes go into the slabs without this program; it sees messages only.
 *
 * A connection is asked for with a JOIN: of session 0, which is one that HELLO is to
 * begin, or of the session whose second connection it shall be.
 */
#ifndef RMEMD_RDMA_H
#define RMEMD_RDMA_H

#include "server/client.h"
#include "server/server.h"

struct nic;

/* Listens at @a, whose port is the real one afterwards. 0 or -errno with err text. */
int nic_listen(struct server *s, struct net_addr *a) __attribute__((warn_unused_result));

/* No more connections. Accepts a server without RDMA. */
void nic_unlisten(struct server *s);

/* What to wait for to become readable: serve it then. */
int nic_fd(const struct server *s);
void nic_serve(struct server *s);

/* Makes @slab, the last that was drawn, reachable by @c. 0 or -errno with err text. */
int nic_lease(struct client *c, const struct slab *slab, struct wire_leased *out)
	__attribute__((warn_unused_result));

/* The same for the next slab that @c, a second connection, has not been told of. -ENOENT:
 * there is none. */
int nic_lease_again(struct client *c, struct wire_leased *out) __attribute__((warn_unused_result));

/* Ends a connection and its session without a word. */
void nic_cut_off(struct server *s, struct client *c);

/* After the last client. Accepts a server without RDMA. */
void nic_end(struct server *s);

#endif
