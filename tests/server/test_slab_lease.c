/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/server/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/units.h"
#include "server/lease.h"

static void a_slab_keeps_its_size(void **state)
{
	struct slab s;
	struct stat st;

	(void)state;
	assert_int_equal(slab_open(MIB(64), SLAB_NODE_ANY, &s), 0);
	assert_int_equal(fstat(s.fd, &st), 0);
	assert_int_equal(st.st_size, MIB(64));
	assert_int_equal(ftruncate(s.fd, MIB(32)), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(s.fd, MIB(128)), -1);
	assert_int_equal(fcntl(s.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	slab_close(&s);
	assert_int_equal(s.fd, -1);
	slab_close(&s);
}

static void a_slab_that_is_no_multiple_of_a_huge_page_works(void **state)
{
	struct slab s;
	char *p;

	(void)state;
	assert_int_equal(slab_open(12288, SLAB_NODE_ANY, &s), 0);
	assert_false(s.huge);
	p = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_SHARED, s.fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	p[12287] = 1;
	munmap(p, 12288);
	slab_close(&s);
}

static unsigned long huge_pages_free(void)
{
	unsigned long nr = 0;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f) && sscanf(line, "HugePages_Free: %lu", &nr) != 1)
		;
	if (f)
		fclose(f);
	return nr;
}

#define POOL "/proc/sys/vm/nr_hugepages"

static unsigned long pool_was;
static bool borrowed;

static void set_pool(unsigned long nr)
{
	FILE *f = fopen(POOL, "w");

	if (f) {
		fprintf(f, "%lu\n", nr);
		fclose(f);
	}
}

/* Where the machine keeps none, root borrows two of them for one test. */
static int borrow_huge_pages(void **state)
{
	FILE *f = fopen(POOL, "r");

	(void)state;
	borrowed = f && huge_pages_free() < 2 && fscanf(f, "%lu", &pool_was) == 1;
	if (f)
		fclose(f);
	if (borrowed)
		set_pool(pool_was + 2);
	return 0;
}

static int return_huge_pages(void **state)
{
	(void)state;
	if (borrowed)
		set_pool(pool_was);
	return 0;
}

static void huge_pages_are_taken_while_there_are_any(void **state)
{
	unsigned long before = huge_pages_free();
	struct slab s, beyond;
	char *p;

	(void)state;
	if (before < 2) {
		print_message("skipped: no huge pages, and none can be reserved\n");
		skip();
	}
	assert_int_equal(slab_open(MIB(4), SLAB_NODE_ANY, &s), 0);
	assert_true(s.huge);
	assert_int_equal(huge_pages_free(), before - 2);
	p = mmap(NULL, MIB(4), PROT_READ | PROT_WRITE, MAP_SHARED, s.fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	memset(p, 7, MIB(4));
	assert_int_equal(slab_open(before * MIB(2), SLAB_NODE_ANY, &beyond), 0);
	assert_false(beyond.huge);
	slab_close(&beyond);
	slab_close(&s);
	munmap(p, MIB(4));
	assert_int_equal(huge_pages_free(), before);
}

static void a_slab_is_bound_to_the_node_that_was_named(void **state)
{
	char line[512];
	bool bound = false;
	struct slab s;
	FILE *f;
	void *p;

	(void)state;
	assert_int_equal(slab_open(MIB(1), 0, &s), 0);
	p = mmap(NULL, MIB(1), PROT_READ | PROT_WRITE, MAP_SHARED, s.fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	f = fopen("/proc/self/numa_maps", "r");
	if (!f) {
		print_message("skipped: this kernel shows no numa_maps\n");
		skip();
	}
	while (fgets(line, sizeof(line), f))
		bound |= strstr(line, "rmem-slab") && strstr(line, "bind");
	fclose(f);
	assert_true(bound);
	munmap(p, MIB(1));
	slab_close(&s);
}

static void a_closed_slab_gives_its_memory_back_although_it_is_mapped(void **state)
{
	struct slab s;
	char *p;

	(void)state;
	assert_int_equal(slab_open(MIB(4), SLAB_NODE_ANY, &s), 0);
	p = mmap(NULL, MIB(4), PROT_READ | PROT_WRITE, MAP_SHARED, s.fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	memset(p, 7, MIB(4));
	slab_close(&s);
	for (size_t i = 0; i < MIB(4); i += PAGE_BYTES)
		assert_int_equal(p[i], 0);
	munmap(p, MIB(4));
}

static void nodes_are_known(void **state)
{
	struct slab s;

	(void)state;
	assert_true(slab_has_node(0));
	assert_false(slab_has_node(-1));
	assert_false(slab_has_node(1023));
	assert_int_equal(slab_open(MIB(2), 0, &s), 0);
	slab_close(&s);
}

static void what_is_reserved_is_promised_to_nobody_else(void **state)
{
	struct tenant a, b;
	struct bank bank;

	(void)state;
	bank_init(&bank, MIB(100), SLAB_NODE_ANY, 7);
	assert_int_equal(tenant_open(&a, &bank, MIB(70)), 0);
	assert_int_equal(bank_free_bytes(&bank), MIB(30));
	assert_int_equal(tenant_open(&b, &bank, MIB(30) + PAGE_BYTES), -ENOSPC);
	assert_string_equal(err_text(-ENOSPC), "30.0 MiB free, 30.0 MiB wanted");
	tenant_close(&b);
	assert_int_equal(tenant_open(&b, &bank, MIB(30)), 0);
	assert_int_equal(bank_free_bytes(&bank), 0);
	tenant_close(&a);
	assert_int_equal(bank_free_bytes(&bank), MIB(70));
	tenant_close(&b);
	assert_int_equal(bank_free_bytes(&bank), MIB(100));
	assert_int_equal(bank.leased_bytes, 0);
}

static void a_tenant_draws_what_it_reserved_and_no_more(void **state)
{
	const struct slab *slab;
	struct tenant t;
	struct bank bank;
	uint64_t id, last_id = 0, bytes = 0;

	(void)state;
	bank_init(&bank, GIB(1), SLAB_NODE_ANY, 7);
	assert_int_equal(tenant_open(&t, &bank, 2 * SLAB_BYTES + PAGE_BYTES), 0);
	assert_int_equal(tenant_slabs_left(&t), 3);
	while (tenant_slabs_left(&t)) {
		assert_int_equal(tenant_draw(&t, &slab, &id), 0);
		assert_true(id > last_id);
		assert_int_equal(id >> 32, 7); /* its epoch */
		last_id = id;
		bytes += slab->bytes;
	}
	assert_int_equal(slab->bytes, PAGE_BYTES);
	assert_int_equal(bytes, 2 * SLAB_BYTES + PAGE_BYTES);
	assert_int_equal(bank.leased_bytes, bytes);
	tenant_close(&t);
	assert_int_equal(bank.leased_bytes, 0);
	assert_int_equal(bank_free_bytes(&bank), GIB(1));
}

static void a_tenant_without_memory_may_look(void **state)
{
	struct tenant t;
	struct bank bank;

	(void)state;
	bank_init(&bank, PAGE_BYTES, SLAB_NODE_ANY, 7);
	assert_int_equal(tenant_open(&t, &bank, 0), 0);
	assert_int_equal(tenant_slabs_left(&t), 0);
	tenant_close(&t);
	tenant_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slab_keeps_its_size),
		cmocka_unit_test(a_slab_that_is_no_multiple_of_a_huge_page_works),
		cmocka_unit_test_setup_teardown(huge_pages_are_taken_while_there_are_any,
						borrow_huge_pages, return_huge_pages),
		cmocka_unit_test(a_slab_is_bound_to_the_node_that_was_named),
		cmocka_unit_test(a_closed_slab_gives_its_memory_back_although_it_is_mapped),
		cmocka_unit_test(nodes_are_known),
		cmocka_unit_test(what_is_reserved_is_promised_to_nobody_else),
		cmocka_unit_test(a_tenant_draws_what_it_reserved_and_no_more),
		cmocka_unit_test(a_tenant_without_memory_may_look),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
