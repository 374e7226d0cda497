/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the kernel has its map of all memory and its table of struct page, which our BPF
 * programs read through. A guess is proved by the program that uses it, on memory of its
 * loader's.
 */
#ifndef RMEM_CAPTURE_KERNEL_MAPS_H
#define RMEM_CAPTURE_KERNEL_MAPS_H

#include <stdbool.h>
#include <stdint.h>

struct kernel_maps {
	uint64_t direct_map, page_map;	     /* where they are, or */
	uint64_t direct_map_at, page_map_at; /* the kernel's variable that says so; else 0 */
	uint32_t levels;		     /* of page tables: 4 or 5 */
};

/*
 * The @nr-th guess, from 0 on; false: there are no more. The first ones are free. Those for
 * kernels that move their maps about read /proc/kallsyms, 5 MB that take the kernel 20 ms,
 * once in a process and what it forks later. Any thread.
 */
bool kernel_maps_guess(unsigned int nr, struct kernel_maps *out);

/* How many guesses are left out: 0, but where a test wants the later ones. */
extern unsigned int kernel_maps_left_out;

#endif
