/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills that the kernel write-protects (UFFDIO_COPY_MODE_WP): the job writes to such a page
 * by a message, or not at all, so that one which is still protected when it leaves is as it
 * came. Only where nothing but that message ends the protection, and where the page tables
 * say so in the moment in which the pages leave:
 *  - the program that reads them can be loaded, and tells it (bpf_ages.h);
 *  - pages leave by MOVE;
 *  - the machine merges no pages (KSM): a merged one is protected no longer.
 * Who writes and may not wait finds such a page as if it were away (docs/semantics.md).
 * Pager's thread.
 */
#ifndef RMEM_CAPTURE_GUARD_H
#define RMEM_CAPTURE_GUARD_H

#include "client/capture/capture.h"

/* Is it so? The machine is asked once a second. */
bool guard_works(struct capture *cp);

/* Of the pages @set of a chunk, drops those that the kernel does not protect now, as the
 * chunk's page table says: @guarded, see ages_present(). The machine is asked again: should it
 * begin to merge a moment later, it has to have seen a page twice before it does. */
void guard_keep(struct capture *cp, pageset *set, const pageset *guarded);

/* What the kernel writes to when a thread ends takes no userfault then: @page, sorted, are
 * such pages, and those of them that the space's list does not have may be written to from now
 * on. Their records may say otherwise, the page table does not. 0; -EAGAIN: an event is unread. */
int guard_lift(struct aspace *sp, const uint64_t *page, size_t nr);

#endif
