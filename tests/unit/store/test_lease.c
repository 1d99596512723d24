/* Leases: epochs at each change of hands, and the old holder that can no longer write. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <unistd.h>
#include "store/lease.h"
#include "tests/lib/store_fixture.h"

struct guarded {
	uint64_t epoch;
	int64_t id;
};

static int
guarded_write(struct store_tx *tx, void *arg, struct err *e)
{
	struct guarded *g = arg;
	int r = lease_check(tx, "placer", g->epoch, e);

	return r < 0 ? r : store_exec(tx, Q_ITEM_ADD, NULL, e, g->id, "x", STR("x"));
}

static void
a_lease_changes_hands(void **state)
{
	struct fixture *f = *state;
	uint64_t first = 0, again = 0, second = 0, untouched = 77;
	struct err e = { 0 };

	assert_int_equal(lease_take(f->store, "placer", "a", 60000, &first, &e), 0);
	assert_true(first > 0);
	assert_int_equal(lease_take(f->store, "placer", "a", 60000, &again, &e), 0);
	assert_int_equal(again, first);
	assert_int_equal(lease_take(f->store, "placer", "b", 60000, &untouched, &e), ERR_CONFLICT);
	assert_string_equal(e.text, "lease 'placer' is held by 'a'");
	assert_int_equal(untouched, 77);
	assert_int_equal(
	    store_write(f->store, guarded_write, &(struct guarded){ first, 1 }, &e), 0);

	/* it runs out */
	assert_int_equal(lease_take(f->store, "placer", "a", 20, &again, &e), 0);
	assert_int_equal(again, first);
	usleep(40 * 1000);
	assert_int_equal(lease_take(f->store, "placer", "b", 60000, &second, &e), 0);
	assert_true(second > first);
	assert_int_equal(
	    store_write(f->store, guarded_write, &(struct guarded){ first, 2 }, &e), ERR_STALE);
	assert_int_equal(
	    store_write(f->store, guarded_write, &(struct guarded){ second, 3 }, &e), 0);
	assert_int_equal(fixture_count(f->store), 2);
	assert_int_equal(lease_take(f->store, "placer", "a", 60000, &again, &e), ERR_CONFLICT);
}

static void
a_released_lease_is_free_but_not_forgotten(void **state)
{
	struct fixture *f = *state;
	uint64_t first = 0, second = 0;
	struct err e = { 0 };

	assert_int_equal(lease_take(f->store, "placer", "a", 60000, &first, &e), 0);
	assert_int_equal(lease_release(f->store, "placer", "b", &e), 0); /* not b's */
	assert_int_equal(
	    store_write(f->store, guarded_write, &(struct guarded){ first, 1 }, &e), 0);
	assert_int_equal(lease_release(f->store, "placer", "a", &e), 0);
	assert_int_equal(
	    store_write(f->store, guarded_write, &(struct guarded){ first, 2 }, &e), ERR_STALE);
	fixture_close(f);
	fixture_open(f, &fixture_schema);
	assert_int_equal(lease_take(f->store, "placer", "a", 60000, &second, &e), 0);
	assert_true(second > first);
	assert_int_equal(
	    store_write(f->store, guarded_write, &(struct guarded){ first, 3 }, &e), ERR_STALE);
	assert_int_equal(
	    store_write(f->store, guarded_write, &(struct guarded){ 0, 3 }, &e), ERR_STALE);
}

static void
leases_do_not_mix(void **state)
{
	struct fixture *f = *state;
	uint64_t placer = 0, other = 0;
	struct err e = { 0 };

	assert_int_equal(lease_take(f->store, "placer", "a", 60000, &placer, &e), 0);
	assert_int_equal(lease_take(f->store, "sweeper", "b", 60000, &other, &e), 0);
	assert_int_equal(
	    store_write(f->store, guarded_write, &(struct guarded){ placer + 1, 1 }, &e),
	    ERR_STALE);
}

struct racer {
	pthread_t thread;
	struct store *store;
	char name[2];
	uint64_t epoch;
	int r;
};

static void *
racer_main(void *arg)
{
	struct racer *racer = arg;
	struct err e = { 0 };

	racer->r = lease_take(racer->store, "placer", racer->name, 60000, &racer->epoch, &e);
	return NULL;
}

static void
one_of_many_gets_it(void **state)
{
	struct fixture *f = *state;
	struct racer racers[16] = { 0 };
	unsigned winners = 0;

	for (size_t i = 0; i < ARRAY_SIZE(racers); i++) {
		racers[i].store = f->store;
		racers[i].name[0] = (char)('a' + i);
		pthread_create(&racers[i].thread, NULL, racer_main, &racers[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(racers); i++) {
		pthread_join(racers[i].thread, NULL);
		assert_true(racers[i].r == 0 || racers[i].r == ERR_CONFLICT);
		winners += racers[i].r == 0;
	}
	assert_int_equal(winners, 1);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_lease_changes_hands),
		T(a_released_lease_is_free_but_not_forgotten),
		T(leases_do_not_mix),
		T(one_of_many_gets_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
