/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a tcp server was lost, in one sentence. Each returns with err text: -ECONNABORTED
 * where the server itself has said why, else -EPIPE.
 */
#ifndef RMEM_STORE_TCP_LOSS_H
#define RMEM_STORE_TCP_LOSS_H

#include <stddef.h>
#include <stdint.h>

#include "client/store/tcp_session.h"

/* It said something that was not asked: @have bytes of it, maybe more on @fd. */
int loss_of_words(const struct tcp_session *s, int fd, const uint8_t *words, size_t have);

/* A receive ended with @rc: 0 or -errno. */
int loss_of_end(const struct tcp_session *s, int rc);

#endif
