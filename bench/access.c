/* SPDX-License-Identifier: Apache-2.0 */
/* access PATTERN MIB COUNT [THREADS]: the workload of workload.h, in memory like any other. */
#include "bench/workload.h"

int main(int argc, char **argv)
{
	struct workload w;

	if (argc < 4 || argc > 5)
		return 2;
	alarm(LIMIT_S);
	w = workload_open(argv + 1);
	workload_run(&w);
	return 0;
}
