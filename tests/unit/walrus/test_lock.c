/* The rules of object lock: who may remove and change what, and when; the bucket's setting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/clock.h"
#include "lock.h"

#define NOW 1000
static const struct {
	const char *mode;
	int64_t until;
	enum legal_hold hold;
	bool removal, bypass;
} removals[] = {
	{ NULL, 0, HOLD_NEVER, true, true },
	{ NULL, 0, HOLD_OFF, true, true },
	{ NULL, 0, HOLD_ON, false, false },
	{ LOCK_GOVERNANCE, NOW + 1, HOLD_NEVER, false, true },
	{ LOCK_GOVERNANCE, NOW + 1, HOLD_OFF, false, true },
	{ LOCK_GOVERNANCE, NOW + 1, HOLD_ON, false, false },
	{ LOCK_GOVERNANCE, NOW, HOLD_NEVER, true, true },
	{ LOCK_GOVERNANCE, NOW, HOLD_ON, false, false },
	{ LOCK_COMPLIANCE, NOW + 1, HOLD_NEVER, false, false },
	{ LOCK_COMPLIANCE, NOW, HOLD_NEVER, true, true },
	{ LOCK_COMPLIANCE, NOW - 1, HOLD_ON, false, false },
};

static void
test_removals(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(removals); i++) {
		struct object o = { .attributes = { .lock_mode = (char *)removals[i].mode,
					.lock_until_us = removals[i].until,
					.hold = removals[i].hold } };

		assert_int_equal(lock_allows_removal(&o, NOW), removals[i].removal);
		assert_int_equal(lock_allows_bypass(&o, NOW), removals[i].bypass);
	}
}

static const struct {
	const char *mode;
	int64_t until;
	const char *new_mode;
	int64_t new_until;
	bool plain, bypassing;
} changes[] = {
	{ NULL, 0, LOCK_GOVERNANCE, NOW + 5, true, true },
	{ NULL, 0, NULL, 0, true, true },
	{ LOCK_GOVERNANCE, NOW + 5, LOCK_GOVERNANCE, NOW + 6, true, true },
	{ LOCK_GOVERNANCE, NOW + 5, LOCK_GOVERNANCE, NOW + 5, true, true },
	{ LOCK_GOVERNANCE, NOW + 5, LOCK_GOVERNANCE, NOW + 4, false, true },
	{ LOCK_GOVERNANCE, NOW + 5, LOCK_COMPLIANCE, NOW + 6, false, true },
	{ LOCK_GOVERNANCE, NOW + 5, NULL, 0, false, true },
	{ LOCK_COMPLIANCE, NOW + 5, LOCK_COMPLIANCE, NOW + 6, true, true },
	{ LOCK_COMPLIANCE, NOW + 5, LOCK_COMPLIANCE, NOW + 4, false, false },
	{ LOCK_COMPLIANCE, NOW + 5, LOCK_GOVERNANCE, NOW + 6, false, false },
	{ LOCK_COMPLIANCE, NOW + 5, NULL, 0, false, false },
	{ LOCK_COMPLIANCE, NOW, NULL, 0, true, true },
	{ LOCK_COMPLIANCE, NOW, LOCK_GOVERNANCE, NOW + 1, true, true },
};

static void
test_changes(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		struct object_attributes a = { .lock_mode = (char *)changes[i].mode,
			.lock_until_us = changes[i].until };

		assert_int_equal(
		    lock_allows_change(&a, changes[i].new_mode, changes[i].new_until, false, NOW),
		    changes[i].plain);
		assert_int_equal(
		    lock_allows_change(&a, changes[i].new_mode, changes[i].new_until, true, NOW),
		    changes[i].bypassing);
	}
}

static int64_t set_by_us;

static int64_t
clock_that_is_set(void)
{
	return clock_now_us() + set_by_us;
}

/* Somebody plays with the clock: locks end no earlier for it. */
static void
test_the_clock(void **state)
{
	int64_t start;

	lock_clock_us = clock_that_is_set;
	start = lock_now_us();

	assert_true(llabs(start - clock_now_us()) < 1000000);
	set_by_us = INT64_C(86400) * 1000000;
	assert_true(lock_now_us() - start < 10 * 1000000);
	set_by_us = -set_by_us;
	assert_true(lock_now_us() < start);
	set_by_us = 0;
	assert_true(lock_now_us() >= start && lock_now_us() - start < 10 * 1000000);
}

#define CONFIGURATION(children) "<ObjectLockConfiguration>" children "</ObjectLockConfiguration>"
#define DEFAULT(children)                                                                          \
	CONFIGURATION(                                                                             \
	    "<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>" children      \
	    "</DefaultRetention></Rule>")
static const struct {
	const char *text;
	int code;
	const char *mode;
	uint32_t days, years;
} settings[] = {
	{ CONFIGURATION("<ObjectLockEnabled>Enabled</ObjectLockEnabled>"), 0, NULL, 0, 0 },
	{ DEFAULT("<Mode>GOVERNANCE</Mode><Days>1</Days>"), 0, LOCK_GOVERNANCE, 1, 0 },
	{ DEFAULT("<Years>100</Years><Mode>COMPLIANCE</Mode>"), 0, LOCK_COMPLIANCE, 0, 100 },
	{ DEFAULT("<Mode>GOVERNANCE</Mode><Days>36500</Days>"), 0, LOCK_GOVERNANCE, 36500, 0 },
	{ DEFAULT("<Mode>GOVERNANCE</Mode><Days>36501</Days>"), ERR_INVALID_ARGUMENT, NULL, 0, 0 },
	{ DEFAULT("<Mode>GOVERNANCE</Mode><Years>101</Years>"), ERR_INVALID_ARGUMENT, NULL, 0, 0 },
	{ DEFAULT("<Mode>GOVERNANCE</Mode><Days>0</Days>"), ERR_INVALID_ARGUMENT, NULL, 0, 0 },
	{ DEFAULT("<Mode>GOVERNANCE</Mode><Days>-9223372036854775808</Days>"), ERR_INVALID_ARGUMENT,
	    NULL, 0, 0 },
	{ DEFAULT("<Mode>GOVERNANCE</Mode><Days>9223372036854775808</Days>"), ERR_MALFORMED_XML,
	    NULL, 0, 0 },
	{ DEFAULT("<Mode>GOVERNANCE</Mode>"), ERR_MALFORMED_XML, NULL, 0, 0 },
	{ DEFAULT("<Mode>OTHER</Mode><Days>1</Days>"), ERR_MALFORMED_XML, NULL, 0, 0 },
	{ DEFAULT("<Days>1</Days>"), ERR_MALFORMED_XML, NULL, 0, 0 },
	{ DEFAULT(""), ERR_MALFORMED_XML, NULL, 0, 0 },
	{ CONFIGURATION(""), ERR_MALFORMED_XML, NULL, 0, 0 },
	{ CONFIGURATION("<ObjectLockEnabled><b/></ObjectLockEnabled>"), ERR_MALFORMED_XML, NULL, 0,
	    0 },
	{ "<ObjectLockConfiguration>", ERR_MALFORMED_XML, NULL, 0, 0 },
	{ "", ERR_MALFORMED_XML, NULL, 0, 0 },
};

static void
test_settings(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		const struct lock_configuration *c, *again;
		const void *value = NULL;
		struct xml_writer w;
		struct err e;

		assert_int_equal(
		    lock_parse(str_of(settings[i].text), arena, &value, &e), settings[i].code);
		if (settings[i].code)
			continue;
		c = value;
		assert_true(strings_equal(c->mode, settings[i].mode));
		assert_int_equal(c->days, settings[i].days);
		assert_int_equal(c->years, settings[i].years);
		/* what is written is read as the same */
		xml_writer_init(&w, &text, false);
		xml_open(&w, "ObjectLockConfiguration");
		lock_write(NULL, &w, c);
		xml_close(&w, "ObjectLockConfiguration");
		assert_int_equal(lock_parse(strbuf_str(&text), arena, &value, &e), 0);
		again = value;
		assert_true(strings_equal(again->mode, c->mode));
		assert_int_equal(again->days, c->days);
		assert_int_equal(again->years, c->years);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_removals),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_the_clock),
		cmocka_unit_test(test_settings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
