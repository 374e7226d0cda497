/* SPDX-License-Identifier: Apache-2.0 */
/*
 * touch MIB: says its pid, waits for a line, writes each page of fresh memory
 * once, says how long that took, and keeps the memory until the next line.
 */
#include "bench/bench.h"

int main(int argc, char **argv)
{
	uint64_t bytes, t, *mem;

	if (argc != 2)
		return 2;
	alarm(LIMIT_S);
	bytes = number(argv[1]) << 20;
	mem = map_bytes(bytes);
	printf("{\"pid\": %d}\n", (int)getpid());
	fflush(stdout);
	wait_line();
	t = now_ns();
	for (uint64_t i = 0; i < bytes / PAGE; i++)
		page_fill(mem + i * PAGE_WDS, i);
	printf("{\"ns\": %lu}\n", now_ns() - t);
	fflush(stdout);
	wait_line();
	return 0;
}
