/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several stores as one: the slots of each follow those of the one before. Each is a part
 * that can leave.
 */
#ifndef RMEM_STORE_POOL_H
#define RMEM_STORE_POOL_H

#include "client/core/store.h"

#define STORE_POOL_MAX STORE_PARTS

/* Takes the @nr stores, also on error. 0 and returns owned, or -errno. */
int store_pool_open(struct store *const *part, unsigned int nr, struct store **out)
	__attribute__((warn_unused_result));

#endif
