/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills that the kernel write-protects (UFFDIO_COPY_MODE_WP): the job writes to such a page
 * by a message, or not at all, so that one which is still protected when it leaves is as it
 * came. Only where nothing but that message ends the protection, and where the page tables
 * say so in the moment in which the pages leave:
 *  - the program that reads them can be loaded, and tells it (bpf_ages.h);
 *  - pages leave by MOVE;
 *  - the machine merges no pages (KSM): a merged one is protected no longer.
 * Pager's thread.
 */
#ifndef RMEM_CAPTURE_GUARD_H
#define RMEM_CAPTURE_GUARD_H

#include "client/capture/capture.h"

/* Is it so now? The machine is asked once a second. */
bool guard_works(struct capture *cp);

/* Of the pages @set of a chunk, drops those that the kernel does not protect now, as the
 * chunk's page table says: @guarded, see ages_present(). */
void guard_keep(struct capture *cp, pageset *set, const pageset *guarded);

#endif
