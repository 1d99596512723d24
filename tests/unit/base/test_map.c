/* The map: many keys, replacement, ownership, iteration; and the list. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include "base/list.h"
#include "base/map.h"

static int freed;

static void
count_free(void *value)
{
	freed++;
	free(value);
}

static void
many_keys_come_and_go(void **state)
{
	enum { COUNT = 20000 };
	_cleanup_(map_freep) struct map *m = map_new(NULL);
	static int values[COUNT];
	char key[32];

	for (int i = 0; i < COUNT; i++) {
		(void)snprintf(key, sizeof(key), "key-%d", i);
		map_set(m, key, &values[i]);
	}
	assert_int_equal(map_count(m), COUNT);
	for (int i = 0; i < COUNT; i += 2) {
		(void)snprintf(key, sizeof(key), "key-%d", i);
		assert_true(map_remove(m, key));
		assert_false(map_remove(m, key));
	}
	assert_int_equal(map_count(m), COUNT / 2);
	for (int i = 0; i < COUNT; i++) {
		(void)snprintf(key, sizeof(key), "key-%d", i);
		assert_ptr_equal(map_find(m, key), i % 2 ? &values[i] : NULL);
	}
}

static void
values_are_freed_once(void **state)
{
	struct map *m = map_new(count_free);
	void *same = xmalloc(1), *taken;

	freed = 0;
	map_set(m, "a", xmalloc(1));
	map_set(m, "a", same);
	assert_int_equal(freed, 1);
	map_set(m, "a", same); /* replaced by itself: still there */
	assert_int_equal(freed, 1);
	map_set(m, "b", xmalloc(1));
	assert_true(map_remove(m, "b"));
	assert_int_equal(freed, 2);
	taken = map_take(m, "a");
	assert_ptr_equal(taken, same);
	assert_int_equal(freed, 2);
	free(taken);
	assert_null(map_take(m, "a"));
	map_set(m, "c", xmalloc(1));
	map_free(m);
	assert_int_equal(freed, 3);
}

static void
iteration_sees_each_once(void **state)
{
	enum { COUNT = 1000 };
	_cleanup_(map_freep) struct map *m = map_new(NULL);
	static int seen[COUNT];
	const char *key;
	size_t cursor = 0, count = 0;
	void *value;

	assert_false(map_next(m, &cursor, &key, &value));
	for (int i = 0; i < COUNT; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "%d", i);
		map_set(m, name, &seen[i]);
	}
	for (cursor = 0; map_next(m, &cursor, &key, &value); count++) {
		assert_ptr_equal(value, &seen[atoi(key)]);
		assert_int_equal((*(int *)value)++, 0);
	}
	assert_int_equal(count, COUNT);
	assert_false(map_next(m, &cursor, &key, &value));
}

static void
keys_are_bytes(void **state)
{
	_cleanup_(map_freep) struct map *m = map_new(NULL);
	int empty, space;

	map_set(m, "", &empty);
	map_set(m, " ", &space);
	assert_ptr_equal(map_find(m, ""), &empty);
	assert_ptr_equal(map_find_str(m, (struct str){ "  x", 1 }), &space);
	assert_ptr_equal(map_find_str(m, (struct str){ NULL, 0 }), &empty);
	assert_null(map_find_str(m, STR(" \0")));
}

struct item {
	int number;
	struct list link;
};

static void
lists_allow_removal_inside_the_loop(void **state)
{
	struct list head = LIST_INIT(head);
	struct item items[10], *item, *following;
	int sum = 0;

	assert_true(list_is_empty(&head));
	for (int i = 0; i < 10; i++) {
		items[i].number = i;
		list_add_tail(&head, &items[i].link);
	}
	LIST_FOREACH (&head, item, following, link) {
		if (item->number % 2) {
			list_remove(&item->link);
			list_remove(&item->link); /* safe to repeat */
		}
	}
	LIST_FOREACH (&head, item, following, link)
		sum = sum * 10 + item->number;
	assert_int_equal(sum, 2468);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_keys_come_and_go),
		cmocka_unit_test(values_are_freed_once),
		cmocka_unit_test(iteration_sees_each_once),
		cmocka_unit_test(keys_are_bytes),
		cmocka_unit_test(lists_allow_removal_inside_the_loop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
