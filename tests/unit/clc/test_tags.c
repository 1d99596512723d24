/* Tags given at a creation: what is taken, what is refused, and that they read back as written. */
#include "fixture.h"

#include "tags.h"

static char long_key[129], long_value[257];
static struct tag fine[] = { { "Name", "one" }, { "empty", NULL }, { "\xc3\xa9", "\xc3\xa9" } };
static struct tag edge[] = { { long_key, long_value } };
static struct tag reserved[] = { { "aws:x", "y" } }, upper[] = { { "AWS:x", "y" } },
		  near_it[] = { { "awsx", "y" } };
static struct tag nameless[] = { { "", "y" } }, keyless[] = { { NULL, "y" } };
static struct tag twice[] = { { "a", "1" }, { "A", "1" }, { "a", "2" } };
static struct tag many[TAGS_MAX + 1];
static char wide_key[257]; /* characters of two bytes */
static struct tag wide[] = { { wide_key, wide_key } };

static const struct {
	const char *type;
	struct tag *tags;
	size_t count;
	size_t key, value; /* lengths of the long ones */
	int result;
} cases[] = {
	{ "key-pair", fine, 3, 1, 0, 0 },
	{ "key-pair", NULL, 0, 1, 0, ERR_INVALID_PARAMETER_VALUE },
	{ "key-pair", edge, 1, 127, 255, 0 },
	{ "key-pair", edge, 1, 128, 0, ERR_INVALID_PARAMETER_VALUE },
	{ "key-pair", edge, 1, 1, 256, ERR_INVALID_PARAMETER_VALUE },
	{ "key-pair", reserved, 1, 1, 0, ERR_INVALID_PARAMETER_VALUE },
	{ "key-pair", upper, 1, 1, 0, ERR_INVALID_PARAMETER_VALUE },
	{ "key-pair", near_it, 1, 1, 0, 0 },
	{ "key-pair", nameless, 1, 1, 0, ERR_INVALID_PARAMETER_VALUE },
	{ "key-pair", keyless, 1, 1, 0, ERR_INVALID_PARAMETER_VALUE },
	{ "key-pair", twice, 2, 1, 0, 0 },
	{ "key-pair", twice, 3, 1, 0, ERR_INVALID_PARAMETER_VALUE },
	{ "key-pair", many, TAGS_MAX, 1, 0, 0 },
	{ "key-pair", many, TAGS_MAX + 1, 1, 0, ERR_TAG_LIMIT_EXCEEDED },
	{ "instance", fine, 1, 1, 0, ERR_INVALID_PARAMETER_VALUE },
	{ NULL, fine, 1, 1, 0, ERR_INVALID_PARAMETER_VALUE },
};

static void
test_rules(void **state)
{
	static char names[TAGS_MAX + 1][8];

	for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
		snprintf(names[i], sizeof(names[i]), "k%zu", i);
		many[i].key = names[i];
	}
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tag_specification s = { .resource_type = cases[i].type,
			.tags = { cases[i].tags, cases[i].count } };
		const struct tag *tags;
		struct err e = { 0 };
		size_t count;
		int r;

		memset(long_key, 'k', sizeof(long_key) - 1);
		memset(long_value, 'v', sizeof(long_value) - 1);
		long_key[cases[i].key] = long_value[cases[i].value] = '\0';
		r = clc_tags_of(&s, 1, "key-pair", &tags, &count, &e);
		if (r != cases[i].result)
			fail_msg("case %zu: %s", i, e.text);
		if (r == 0)
			assert_int_equal(count, cases[i].count);
	}
}

/* Lengths are counted in characters. */
static void
test_wide(void **state)
{
	struct err e = { 0 };

	for (size_t i = 0; i < 127; i++)
		memcpy(wide_key + 2 * i, "\xc3\xa9", 2);
	assert_int_equal(clc_tags_check(wide, 1, &e), 0);
	memcpy(wide_key + 2 * 127, "\xc3\xa9", 2);
	assert_int_equal(clc_tags_check(wide, 1, &e), ERR_INVALID_PARAMETER_VALUE);
}

static void
test_several_specifications(void **state)
{
	struct tag_specification s[] = { { "instance", { fine, 1 } },
		{ "network-interface", { fine, 2 } }, { "volume", { reserved, 1 } } };
	const struct tag *tags;
	struct err e = { 0 };
	size_t count;

	assert_int_equal(clc_tags_of(s, 2, "instance", &tags, &count, &e), 0);
	assert_int_equal(count, 1);
	assert_int_equal(clc_tags_of(s, 2, "network-interface", &tags, &count, &e), 0);
	assert_int_equal(count, 2);
	/* one that is not used is checked as well */
	assert_int_equal(
	    clc_tags_of(s, 3, "instance", &tags, &count, &e), ERR_INVALID_PARAMETER_VALUE);
	s[1].resource_type = "instance";
	assert_int_equal(
	    clc_tags_of(s, 2, "instance", &tags, &count, &e), ERR_INVALID_PARAMETER_VALUE);
	assert_int_equal(clc_tags_of(s, 1, "vpc", &tags, &count, &e), ERR_INVALID_PARAMETER_VALUE);
}

static void
test_metadata_keys(void **state)
{
	static const struct {
		const char *key;
		bool ok;
	} keys[] = { { "Name", true }, { "a-b_c+=,.@:1", true }, { "a b", false }, { "a/b", false },
		{ ".", false }, { "..", false }, { "...", true }, { "_index", false },
		{ "\xc3\xa9", false } };
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		struct tag tag = { keys[i].key, "x" };

		if ((clc_tags_check_metadata(&tag, 1, &e) == 0) != keys[i].ok)
			fail_msg("'%s'", keys[i].key);
	}
}

static void
test_kinds(void **state)
{
	assert_string_equal(clc_taggable_find("i-12345678")->type, "instance");
	assert_string_equal(clc_taggable_find("aki-0123456789abcdef0")->type, "image");
	assert_string_equal(clc_taggable_find("vpce-12345678")->type, "vpc-endpoint");
	assert_null(clc_taggable_find("i-1234"));
	assert_null(clc_taggable_find("r-12345678"));
	assert_null(clc_taggable_find(""));
}

struct round {
	struct fixture *f;
	struct tag_list read;
};

static int
write_and_read(struct store_tx *tx, void *arg, struct err *e)
{
	struct round *round = arg;
	int r = clc_tags_insert(tx, round->f->account.account_id, "key-1", fine, 3, e);

	return r < 0 ? r : clc_tags_read(tx, "key-1", round->f->arena, &round->read, e);
}

static void
test_round(void **state)
{
	struct round round = { .f = *state };

	fixture_write(round.f, write_and_read, &round);
	assert_int_equal(round.read.count, 3);
	assert_string_equal(round.read.items[0].key, "Name");
	assert_string_equal(round.read.items[0].value, "one");
	assert_string_equal(round.read.items[1].value, "");
	assert_string_equal(round.read.items[2].key, "\xc3\xa9");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_wide),
		cmocka_unit_test(test_several_specifications),
		cmocka_unit_test(test_metadata_keys),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test_setup_teardown(test_round, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
