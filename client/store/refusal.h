/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What servers may say in place of an answer, as a text with the remedy. @server is
 * "server tcp:host:7770".
 */
#ifndef RMEM_STORE_REFUSAL_H
#define RMEM_STORE_REFUSAL_H

#include "common/wire/wire.h"

/* An ERROR. Returns -errno with err text. */
int refusal_take(const char *server, uint64_t wanted_bytes, const struct wire_error *e);

/* No answer, or none that can be read: @rc of a conn or of wire_decode(). */
int refusal_of_failure(const char *server, int rc);

#endif
