/* SPDX-License-Identifier: Apache-2.0 */
/* access PATTERN MIB COUNT: the workload of bench/workload.h, in memory like any other. */
#include "bench/workload.h"

int main(int argc, char **argv)
{
	struct workload w;

	if (argc != 4)
		return 2;
	alarm(LIMIT_S);
	w = workload_open(argv + 1);
	workload_run(&w);
	return 0;
}
