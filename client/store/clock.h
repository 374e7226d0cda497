/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clock of the stores that stand before others: one place, so that the simulator
 * has them live in a time of its own.
 */
#ifndef RMEM_STORE_CLOCK_H
#define RMEM_STORE_CLOCK_H

#include <stdint.h>

/* Goes on by itself, never back. */
uint64_t store_now_ns(void);

#endif
