/* SPDX-License-Identifier: Apache-2.0 */
/* What it costs to sleep and be woken: how long looking out for a thing instead may take. */
#ifndef RMEM_BASE_WAKE_H
#define RMEM_BASE_WAKE_H

#include <stdint.h>

/* From one thread's word to another's first step after it, asleep until then, in ns: 2,000
 * to 15,000 on real machines and in guests, 30,000 under emulation. Median of some, measured
 * at the first call, which takes a thread and a millisecond (three under emulation). A
 * guess where that can't be had. By one thread at a time. */
uint64_t wake_cost_ns(void);

/*
 * For how long to look out for what usually comes within @times that cost, at least
 * @least_ns and at most @most_ns. Who looks for as long as sleeping would cost loses at most
 * as much again (Karlin et al., "Competitive snoopy caching", 1988).
 */
uint64_t wake_worth_ns(unsigned int times, uint64_t least_ns, uint64_t most_ns);

#endif
