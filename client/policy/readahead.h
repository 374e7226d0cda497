/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least a policy can be, and what the kernel does for swap without a hint: the
 * aligned group of pages around a fault comes along (vm.page-cluster, mm/swap_state.c),
 * and chunks leave whole, in the order of their coming. To compare others with, and
 * to begin a new one from.
 */
#ifndef RMEM_POLICY_READAHEAD_H
#define RMEM_POLICY_READAHEAD_H

#include "client/core/policy.h"

#define READAHEAD_PAGES 8U

/* It keeps nothing: ctx may be NULL. */
extern const struct policy_ops policy_readahead;

#endif
