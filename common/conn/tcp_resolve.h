/* SPDX-License-Identifier: Apache-2.0 */
/* Names to addresses, in bounded time. */
#ifndef RMEM_CONN_TCP_RESOLVE_H
#define RMEM_CONN_TCP_RESOLVE_H

#include <netdb.h>

#include "common/conn/tcp.h"

/* freeaddrinfo() what it returns. 0 or -errno with err text that names the server. */
int tcp_resolve(const struct tcp_addr *a, uint64_t deadline_ns, struct addrinfo **out)
	__attribute__((warn_unused_result));

#endif
