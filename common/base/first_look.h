/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a first look at a page costs that was mapped a moment ago. Where the processor walks a
 * guest's page tables it is a miss of the TLB. Under a hypervisor that keeps the tables itself
 * (PVM, or KVM without EPT or NPT) it is a fault that the host answers, many times what it takes
 * to copy the page; the kernel's own mapping of all memory has long been looked at.
 */
#ifndef RMEM_BASE_FIRST_LOOK_H
#define RMEM_BASE_FIRST_LOOK_H

#include <stdbool.h>
#include <stdint.h>

/* By how much longer it takes, in ns, to copy such a page than to have the kernel copy it
 * (process_vm_readv of the own process): some 4,000, or 0 where less than as long again. Measured
 * at the first call, in a fifth of a millisecond, or two where it is dear; 0 when that fails.
 * By one thread at a time. */
uint64_t first_look_ns(void);

#endif
