/* SPDX-License-Identifier: Apache-2.0 */
#include "client/capture/kernel_maps.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

unsigned int kernel_maps_left_out;

static pthread_once_t read_once = PTHREAD_ONCE_INIT;
static uint64_t page_offset_base, vmemmap_base; /* addresses of these variables, or 0 */

static bool names(const char *line, size_t bytes, const char *what)
{
	size_t n = strlen(what);

	return bytes > n && line[bytes - n - 1] == ' ' && !memcmp(line + bytes - n, what, n);
}

/* libbpf would do it for externs of the programs, and takes three times as long, for each. */
static void read_symbols(void)
{
	FILE *f = fopen("/proc/kallsyms", "re");
	char *line = NULL;
	size_t room = 0;
	ssize_t n;

	while (f && !(page_offset_base && vmemmap_base) && (n = getline(&line, &room, f)) > 0) {
		if (names(line, (size_t)n, "page_offset_base\n"))
			page_offset_base = strtoull(line, NULL, 16);
		else if (names(line, (size_t)n, "vmemmap_base\n"))
			vmemmap_base = strtoull(line, NULL, 16);
	}
	free(line);
	if (f)
		fclose(f);
}

/* Unmoved they are where Documentation/arch/x86/x86_64/mm.rst says. */
static const struct kernel_maps unmoved[] = {
	{.direct_map = 0xffff888000000000ULL, .page_map = 0xffffea0000000000ULL, .levels = 4},
	{.direct_map = 0xff11000000000000ULL, .page_map = 0xffd4000000000000ULL, .levels = 5},
};
#define NR_UNMOVED (sizeof(unmoved) / sizeof(unmoved[0]))

bool kernel_maps_guess(unsigned int nr, struct kernel_maps *out)
{
	nr += kernel_maps_left_out;
	if (nr < NR_UNMOVED) {
		*out = unmoved[nr];
		return true;
	}
	if (nr >= 2 * NR_UNMOVED)
		return false;
	pthread_once(&read_once, read_symbols);
	if (!page_offset_base || !vmemmap_base)
		return false;
	*out = (struct kernel_maps){.direct_map_at = page_offset_base,
				    .page_map_at = vmemmap_base,
				    .levels = unmoved[nr - NR_UNMOVED].levels};
	return true;
}
