/* The life of an instance: every state by every event, against a picture of the table. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "instance_fsm.h"

/* One row per state, one letter per event in the order of the enum: the state it leads to, or '.'
 * for refused. Start stOp Terminate started failed off offterminate crashed lost released. */
static const struct {
	enum instance_state state;
	const char *next;
} rows[] = {
	/*                          STtsfoOclR */
	{ INSTANCE_PENDING, "PGDRFGDG.." },
	{ INSTANCE_RUNNING, "PGDR.GDGP." },
	{ INSTANCE_STOPPING, "PGD......S" },
	{ INSTANCE_STOPPED, "PSD......." },
	{ INSTANCE_SHUTTING_DOWN, ".DD......T" },
	{ INSTANCE_TERMINATED, ".TT......." },
	{ INSTANCE_FAILED, "PGD......." },
};
static const char letters[INSTANCE_STATE_MAX] = {
	[INSTANCE_PENDING] = 'P',
	[INSTANCE_RUNNING] = 'R',
	[INSTANCE_STOPPING] = 'G',
	[INSTANCE_STOPPED] = 'S',
	[INSTANCE_SHUTTING_DOWN] = 'D',
	[INSTANCE_TERMINATED] = 'T',
	[INSTANCE_FAILED] = 'F',
};

static void
every_state_by_every_event(void **state)
{
	assert_int_equal(ARRAY_SIZE(rows), INSTANCE_STATE_MAX);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(strlen(rows[i].next), INSTANCE_EVENT_MAX);
		for (unsigned v = 0; v < INSTANCE_EVENT_MAX; v++) {
			enum instance_state next = INSTANCE_STATE_MAX;
			struct err e = { 0 };
			int r = instance_fsm_next(rows[i].state, (enum instance_event)v, &next, &e);

			if (rows[i].next[v] == '.') {
				assert_int_equal(r, ERR_INCORRECT_INSTANCE_STATE);
				assert_int_equal(next, INSTANCE_STATE_MAX);
				assert_non_null(strstr(
				    e.text, instance_event_to_string((enum instance_event)v)));
			} else {
				assert_int_equal(r, 0);
				assert_int_equal(letters[next], rows[i].next[v]);
			}
		}
	}
}

/* Nothing leads out of the end, and every other state can be ended. */
static void
the_end_is_the_end(void **state)
{
	for (unsigned s = 0; s < INSTANCE_STATE_MAX; s++) {
		enum instance_state next;

		assert_int_equal(
		    instance_fsm_next((enum instance_state)s, EVENT_TERMINATE, &next, NULL), 0);
		assert_true(next == INSTANCE_SHUTTING_DOWN || next == INSTANCE_TERMINATED);
	}
}

static void
names_are_inverses(void **state)
{
	enum instance_state back;

	for (unsigned s = 0; s < INSTANCE_STATE_MAX; s++) {
		assert_true(instance_state_from_string(
		    instance_state_to_string((enum instance_state)s), &back));
		assert_int_equal(back, s);
	}
	assert_false(instance_state_from_string("rebooting", &back));
	assert_false(instance_state_from_string(NULL, &back));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_state_by_every_event),
		cmocka_unit_test(the_end_is_the_end),
		cmocka_unit_test(names_are_inverses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
