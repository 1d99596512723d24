/* Addresses: none is given twice, none of the reserved ones is given, what ends gives back what it
 * had. */
#include "fixture.h"

static const struct {
	const char *text;
	bool ok;
	const char *network;
	unsigned prefix;
} cidrs[] = {
	{ "10.0.0.0/8", true, "10.0.0.0", 8 },
	{ "10.1.2.3/16", true, "10.1.0.0", 16 },
	{ "0.0.0.0/0", true, "0.0.0.0", 0 },
	{ "192.168.1.1/32", true, "192.168.1.1", 32 },
	{ "192.168.1.1", false, NULL, 0 },
	{ "192.168.1.1/33", false, NULL, 0 },
	{ "192.168.1/24", false, NULL, 0 },
	{ "/24", false, NULL, 0 },
	{ "", false, NULL, 0 },
};

static void
test_cidr(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cidrs); i++) {
		char text[INET_ADDRSTRLEN];
		int64_t network;
		unsigned prefix;

		assert_int_equal(cidr_parse(cidrs[i].text, &network, &prefix), cidrs[i].ok);
		if (!cidrs[i].ok)
			continue;
		address_format(network, text);
		assert_string_equal(text, cidrs[i].network);
		assert_int_equal(prefix, cidrs[i].prefix);
	}
}

static void
test_pool(void **state)
{
	struct err e = { 0 };

	assert_true(clc_public_addresses_are_valid("203.0.113.1 203.0.113.5-203.0.113.9", &e));
	assert_true(clc_public_addresses_are_valid("", &e));
	assert_false(clc_public_addresses_are_valid("203.0.113.9-203.0.113.1", &e));
	assert_false(clc_public_addresses_are_valid("banana", &e));
}

static int
try_launch(struct fixture *f, struct fixture_launch *l, struct err *e)
{
	l->f = f;
	return store_write(f->clc.store, fixture_launch, l, e);
}

static void
test_asked_addresses(void **state)
{
	struct fixture_launch l = { .private_ip = "172.31.0.10" };
	struct err e = { 0 };

	assert_int_equal(try_launch(*state, &l, &e), 0);
	assert_int_equal(try_launch(*state, &l, &e), ERR_ADDRESS_IN_USE);
	l.private_ip = "172.31.0.3"; /* reserved */
	assert_int_equal(try_launch(*state, &l, &e), ERR_INVALID_PARAMETER_VALUE);
	l.private_ip = "172.31.15.255"; /* the last one of the subnet */
	assert_int_equal(try_launch(*state, &l, &e), ERR_INVALID_PARAMETER_VALUE);
	l.private_ip = "10.0.0.1";
	assert_int_equal(try_launch(*state, &l, &e), ERR_INVALID_PARAMETER_VALUE);
}

struct look {
	struct fixture *f;
	const char *id;
	struct network_interface nic;
	struct vpc_spec vpc;
};

static int
look_at(struct store_tx *tx, void *arg, struct err *e)
{
	struct look *l = arg;
	int r = clc_interface_spec(tx, l->id, l->f->arena, &l->nic, e);

	return r < 0 ? r : clc_vpc_spec(tx, l->nic.vpc_id, l->f->arena, &l->vpc, e);
}

static int
end_it(struct store_tx *tx, void *arg, struct err *e)
{
	return clc_interface_delete(tx, arg, e);
}

static void
test_public_pool_runs_out_and_comes_back(void **state)
{
	struct fixture *f = *state;
	struct fixture_launch l[3] = { 0 };
	struct look look = { .f = f };
	struct err e = { 0 };

	for (int i = 0; i < 3; i++)
		assert_int_equal(try_launch(f, &l[i], &e), 0);
	look.id = l[0].id;
	fixture_write(f, look_at, &look);
	assert_non_null(look.nic.public_ip);
	assert_int_equal(look.vpc.groups.count, 1);
	assert_int_equal(look.vpc.groups.items[0].members.count, 3);
	assert_int_equal(look.vpc.groups.items[0].rules.count, 3); /* members, egress, ssh */
	look.id = l[2].id;                                         /* the pool has two */
	fixture_write(f, look_at, &look);
	assert_null(look.nic.public_ip);

	fixture_write(f, end_it, l[0].id);
	assert_int_equal(try_launch(f, &l[0], &e), 0);
	look.id = l[0].id;
	fixture_write(f, look_at, &look);
	assert_non_null(look.nic.public_ip);
	assert_int_equal(look.vpc.groups.items[0].members.count, 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cidr),
		cmocka_unit_test(test_pool),
		cmocka_unit_test_setup_teardown(
		    test_asked_addresses, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
		    test_public_pool_runs_out_and_comes_back, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
