/* SPDX-License-Identifier: Apache-2.0 */
#include "client/store/clock.h"

#include <time.h>

uint64_t store_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}
