/* SPDX-License-Identifier: Apache-2.0 */
/* Pinned pages are told from others, where the kernel lets a program see them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "client/capture/bpf_pins.h"
#include "client/capture/kernel_maps.h"
#include "common/base/err.h"

static struct bpf_pins *pins;

static void pins_are_told(void **state)
{
	(void)state;
	assert_non_null(pins);
}

/* As on a machine whose kernel has moved its maps about, which guests don't. */
static void where_the_kernel_says_its_maps_are_they_are(void **state)
{
	struct bpf_pins *again;

	(void)state;
	kernel_maps_left_out = 2;
	assert_int_equal(pins_load(&again), 0);
	pins_unload(again);
	kernel_maps_left_out = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pins_are_told),
		cmocka_unit_test(where_the_kernel_says_its_maps_are_they_are),
	};
	int err = pins_load(&pins);

	if (err) {
		printf("skipped: %s\n", err_text(err));
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
