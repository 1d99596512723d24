/* Every filter looks at a field that is there; values match as EC2's do. */
#include "fixture.h"

#include "filter.h"

/* -- the tables: that each path leads to a field is checked where they are compiled -- */

/* Whatever is in a table can be asked of a struct in which nothing is set. */
static void
test_tables_on_nothing(void **state)
{
	unsigned tables = 0;

	for (unsigned o = 0; o < ec2_service.operation_count; o++) {
		const struct operation *op = &ec2_service.operations[o];
		_cleanup_free_ void *nothing = op->filters ? xcalloc(1, op->filtered->size) : NULL;

		for (const struct filter_path *row = op->filters; row && row->name; row++) {
			const char *never[] = { "no such value" };
			struct filter f = { .name = row->name, .values = { never, 1 } };
			struct err e = { 0 };

			assert_int_equal(filters_check(op, &f, 1, &e), 0);
			assert_false(filters_match(op, &f, 1, nothing));
		}
		tables += op->filters != NULL;
	}
	assert_true(tables >= 9);
}

/* -- values -- */

static struct group_identifier groups[] = { { "web", "sg-1" }, { "db", "sg-2" } };
static struct tag tags[] = { { "Name", "one" }, { "empty", NULL }, { "a:b", "*" } };
static struct instance_state running = { .has_code = true, .code = 16, .name = "running" };
static struct placement placement = { .availability_zone = "zone-a" };
static struct instance_interface nic = { .has_source_dest_check = true,
	.mac_address = "02:00:00:00:00:01" };
static struct instance instance = { .instance_id = "i-12345678",
	.image_id = "ami-ABC",
	.key_name = "a*b\\c",
	.state = &running,
	.placement = &placement,
	.has_launch_index = true,
	.launch_index = 0,
	.has_launch_time = true,
	.launch_time = 1262304000000000,
	.groups = { groups, 2 },
	.tags = { tags, 3 },
	.network_interfaces = { &nic, 1 },
	.client_token = "" };

static const struct {
	const char *name, *values[3];
	bool matches;
} cases[] = {
	{ "instance-id", { "i-12345678" }, true },
	{ "instance-id", { "i-1234567" }, false },
	{ "instance-id", { "I-12345678" }, false },
	{ "image-id", { "ami-abc" }, false },
	{ "image-id", { "ami-*" }, true },
	{ "image-id", { "*" }, true },
	{ "image-id", { "**A**" }, true },
	{ "image-id", { "ami-???" }, true },
	{ "image-id", { "ami-??" }, false },
	{ "image-id", { "ami-????" }, false },
	{ "image-id", { "" }, false },
	{ "image-id", { "x", "y", "ami-ABC" }, true },
	{ "image-id", { "x", "y", "z" }, false },
	{ "image-id", { NULL }, false },
	/* a value's own stars are written with a backslash */
	{ "key-name", { "a\\*b\\\\c" }, true },
	{ "key-name", { "a\\?b\\\\c" }, false },
	{ "key-name", { "a?b?c" }, true },
	{ "key-name", { "axb\\\\c" }, false },
	{ "key-name", { "a\\" }, false },
	{ "instance-state-name", { "running" }, true },
	{ "instance-state-code", { "16" }, true },
	{ "instance-state-code", { "1?" }, true },
	{ "launch-index", { "0" }, true },
	{ "launch-time", { "2010-01-01T00:00:00.000Z" }, true },
	{ "launch-time", { "2010-01-01*" }, true },
	{ "launch-time", { "2010-01-02*" }, false },
	{ "availability-zone", { "zone-?" }, true },
	{ "group-id", { "sg-2" }, true }, /* any of a list */
	{ "instance.group-name", { "web" }, true },
	{ "group-id", { "sg-3" }, false },
	{ "client-token", { "" }, true }, /* there, and empty */
	{ "ip-address", { "*" }, false }, /* absent */
	{ "source-dest-check", { "true" }, false },
	{ "network-interface.source-dest-check", { "false" }, true },
	{ "network-interface.mac-address", { "02:*" }, true },
	{ "network-interface.group-id", { "*" }, false },
	{ "network-interface.addresses.association.public-ip", { "*" }, false },
	{ "tag:Name", { "one" }, true },
	{ "tag:Name", { "o?e" }, true },
	{ "tag:name", { "one" }, false },
	{ "tag:Name", { "two", "one" }, true },
	{ "tag:empty", { "" }, true },
	{ "tag:empty", { "one" }, false }, /* another tag's value */
	{ "tag:a:b", { "\\*" }, true },
	{ "tag:none", { "*" }, false },
	{ "tag:", { "*" }, false },
	{ "tag-key", { "Name" }, true },
	{ "tag-key", { "Nam" }, false },
	{ "tag-value", { "one" }, true },
	{ "tag-value", { "two" }, false },
};

static struct filter
filter_of(size_t i)
{
	struct filter f = { .name = cases[i].name };

	f.values.items = (void *)cases[i].values;
	while (f.values.count < 3 && cases[i].values[f.values.count])
		f.values.count++;
	return f;
}

static void
test_values(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct filter f = filter_of(i);
		struct err e = { 0 };

		if (filters_check(&ec2_describe_instances, &f, 1, &e) < 0)
			fail_msg("case %zu: %s", i, e.text);
		if (filters_match(&ec2_describe_instances, &f, 1, &instance) != cases[i].matches)
			fail_msg("case %zu: '%s' %s", i, f.name,
			    cases[i].matches ? "does not match" : "matches");
	}
}

static void
test_all_must_match(void **state)
{
	const char *yes[] = { "i-*" }, *no[] = { "x" };
	struct filter both[] = { { "instance-id", { yes, 1 } }, { "instance-id", { no, 1 } } };

	assert_true(filters_match(&ec2_describe_instances, both, 0, &instance));
	assert_true(filters_match(&ec2_describe_instances, both, 1, &instance));
	assert_false(filters_match(&ec2_describe_instances, both, 2, &instance));
}

static void
test_unknown(void **state)
{
	static const char *const names[] = { "", "instance_id", "Instance-Id", "instance-id ",
		"tag", "tags", "tag-", "tag-key ", "network-interface", "*",
		"placement.availability_zone" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct filter f = { .name = names[i] };
		struct err e = { 0 };

		assert_int_equal(
		    filters_check(&ec2_describe_instances, &f, 1, &e), ERR_INVALID_PARAMETER_VALUE);
		assert_non_null(strstr(e.text, names[i]));
	}
	/* Of what has no tags there is nothing to ask of tags. */
	{
		struct filter f = { .name = "tag:x" };
		struct err e = { 0 };

		assert_int_equal(
		    filters_check(&ec2_describe_regions, &f, 1, &e), ERR_INVALID_PARAMETER_VALUE);
	}
}

static void
test_limit(void **state)
{
	static const char *many[FILTER_VALUES_MAX + 1];
	struct filter f[2] = { { "image-id", { many, FILTER_VALUES_MAX } },
		{ "vpc-id", { many, 1 } } };
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = "x";
	assert_int_equal(filters_check(&ec2_describe_instances, f, 1, &e), 0);
	assert_int_equal(
	    filters_check(&ec2_describe_instances, f, 2, &e), ERR_FILTER_LIMIT_EXCEEDED);
	f[0].values.count++;
	assert_int_equal(
	    filters_check(&ec2_describe_instances, f, 1, &e), ERR_FILTER_LIMIT_EXCEEDED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables_on_nothing),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_all_must_match),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
