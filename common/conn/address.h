/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a memory server is: a machine and a port, and which kind of connection goes
 * there. Names become addresses in bounded time.
 */
#ifndef RMEM_CONN_ADDRESS_H
#define RMEM_CONN_ADDRESS_H

#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Not the same port: an RDMA device that speaks iWARP listens among the ports of TCP. */
#define NET_TCP_PORT  7770
#define NET_RDMA_PORT 7771

#define NET_HOST_MAX_BYTES 256
#define NET_NAME_MAX_BYTES (NET_HOST_MAX_BYTES + 16)

enum net_kind { NET_TCP, NET_RDMA };

struct net_addr {
	enum net_kind kind;
	char host[NET_HOST_MAX_BYTES]; /* "": every address of this machine */
	uint16_t port;
};

/* As a SPEC begins: "tcp", "rdma". */
const char *net_scheme(enum net_kind kind);

/* The port where none is said. */
uint16_t net_port(enum net_kind kind);

/*
 * "host:port", "host", ":port", "[v6]:port". 0 or -EINVAL with err text that begins
 * with what is wrong; port 0 is refused unless @any_port.
 */
int net_addr_parse(enum net_kind kind, const char *text, bool any_port, struct net_addr *out)
	__attribute__((warn_unused_result));

/* "tcp:host:port" into @buf, which is returned. */
const char *net_addr_format(char *buf, size_t buf_bytes, const struct net_addr *a);

/* freeaddrinfo() what it returns. 0 or -errno with err text that names the server. */
int net_resolve(const struct net_addr *a, uint64_t deadline_ns, struct addrinfo **out)
	__attribute__((warn_unused_result));

#endif
