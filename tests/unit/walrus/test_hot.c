/* What may be answered from memory: only what is still true. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "hot.h"
#include "schema.h"
#include "tests/lib/net_peer.h"

#define BUCKET INT64_C(7)

struct world {
	struct store *store;
	struct hot *hot;
	char *directory;
	struct log log;
};

static int
setup(void **state)
{
	struct world *v = xcalloc(1, sizeof(*v));
	_cleanup_free_ char *url = NULL;
	struct err e = { 0 };

	log_set_level(LOG_ERROR);
	v->directory = net_temporary_directory();
	v->log.daemon = "walrus";
	url = xasprintf("sqlite:%s/walrus.db", v->directory);
	if (store_open(url, &walrus_schema, &v->log, &v->store, &e) < 0)
		fail_msg("%s", e.text);
	v->hot = hot_new(v->store, 1 << 20);
	*state = v;
	return 0;
}

static int
teardown(void **state)
{
	struct world *v = *state;

	store_close(v->store);
	hot_free(v->hot);
	net_remove_directory(v->directory);
	free(v->directory);
	free(v);
	return 0;
}

static struct object
object_of(const char *key, const char *etag)
{
	return (struct object){ .key = str_of(key),
		.version_id = (char *)VERSION_NULL,
		.content_id = (char *)"c",
		.etag = (char *)etag,
		.account_id = (char *)"000000000001",
		.is_current = true,
		.size_bytes = 4 };
}

static struct extent
extent_of(const char *bytes)
{
	size_t n = strlen(bytes);

	return (struct extent){ .end = n,
		.blob = { .data = { bytes, n }, .size_bytes = n, .crc32c = 1 } };
}

static void
offer(struct world *v, struct hot_ticket ticket, const char *key, const char *etag)
{
	struct object o = object_of(key, etag);
	struct extent x = extent_of("abcd");

	hot_offer(v->hot, ticket, BUCKET, &o, &x, 1);
}

static void
offer_now(struct world *v, const char *key, const char *etag)
{
	offer(v, hot_ticket(v->hot, BUCKET, str_of(key)), key, etag);
}

static bool
is_found(struct world *v, const char *key, const char *etag)
{
	_cleanup_(hot_unrefp) struct hot_object *o = hot_find(v->hot, BUCKET, str_of(key));

	return o && strings_equal(o->object.etag, etag) && str_is(o->extent.blob.data, "abcd") &&
	       str_is(o->object.key, key);
}

static void
test_found(void **state)
{
	struct world *v = *state;

	assert_false(is_found(v, "a", "1"));
	offer_now(v, "a", "1");
	assert_true(is_found(v, "a", "1"));
	assert_false(is_found(v, "b", "1"));
	assert_null(hot_find(v->hot, BUCKET + 1, STR("a")));
	offer_now(v, "a", "2");
	assert_true(is_found(v, "a", "2"));
	assert_int_equal(hot_count(v->hot), 1);
}

struct writing {
	struct world *v;
	const char *key;
	bool was_found;
	int end; /* what the closure returns */
};

static int
write_row(struct store_tx *tx, void *arg, struct err *e)
{
	struct writing *w = arg;
	int r =
	    store_exec(tx, Q_OBJECT_DELETE_VERSION, NULL, e, BUCKET, str_of(w->key), VERSION_NULL);

	w->was_found = is_found(w->v, w->key, "1");
	offer_now(w->v, w->key, "1"); /* a reader of just now, whose snapshot is the old one */
	w->was_found |= is_found(w->v, w->key, "1");
	return r < 0 ? r : w->end;
}

/* From the statement on nobody is answered, and what was true before never comes back. */
static void
test_written(void **state)
{
	struct world *v = *state;
	struct writing w = { v, "a", true, 0 };
	struct hot_ticket before = hot_ticket(v->hot, BUCKET, STR("a"));

	offer_now(v, "a", "1");
	offer_now(v, "b", "1");
	assert_true(is_found(v, "a", "1"));
	assert_int_equal(store_write(v->store, write_row, &w, NULL), 0);
	assert_false(w.was_found);
	assert_false(is_found(v, "a", "1"));
	offer(v, before, "a", "1"); /* late */
	assert_false(is_found(v, "a", "1"));
	assert_true(is_found(v, "b", "1"));
	offer_now(v, "a", "2");
	assert_true(is_found(v, "a", "2"));
}

static void
test_rolled_back(void **state)
{
	struct world *v = *state;
	struct writing w = { v, "a", true, ERR_STALE };

	assert_int_equal(store_write(v->store, write_row, &w, NULL), ERR_STALE);
	assert_false(w.was_found);
	offer_now(v, "a", "1");
	assert_true(is_found(v, "a", "1"));
}

static void
test_refused(void **state)
{
	struct world *v = *state;
	struct object marker = object_of("marker", "1"), large = object_of("large", "1");
	struct object secret = object_of("secret", "1"), nul = object_of("x", "1");
	struct extent x = extent_of("abcd"), two[2] = { x, x }, file = x;
	struct hot_ticket t = hot_ticket(v->hot, BUCKET, STR("marker"));

	marker.is_marker = true;
	hot_offer(v->hot, t, BUCKET, &marker, NULL, 0);
	large.size_bytes = BLOB_INLINE_MAX + 1;
	hot_offer(v->hot, t, BUCKET, &large, &x, 1);
	secret.attributes.encryption = (char *)"C";
	hot_offer(v->hot, t, BUCKET, &secret, &x, 1);
	nul.key = (struct str){ "a\0b", 3 };
	hot_offer(v->hot, t, BUCKET, &nul, &x, 1);
	secret.attributes.encryption = NULL;
	hot_offer(v->hot, t, BUCKET, &secret, two, 2);
	memcpy(file.blob.id, "id", 3);
	hot_offer(v->hot, t, BUCKET, &secret, &file, 1);
	assert_int_equal(hot_count(v->hot), 0);
	hot_offer(NULL, hot_ticket(NULL, BUCKET, STR("a")), BUCKET, &secret, &x, 1);
	assert_null(hot_find(NULL, BUCKET, STR("a")));
}

/* A mebibyte holds some thousands of these: the rest went, those asked for last are there. */
static void
test_bounded(void **state)
{
	struct world *v = *state;
	char key[16];

	for (unsigned i = 0; i < 20000; i++) {
		(void)snprintf(key, sizeof(key), "%u", i);
		offer_now(v, key, "1");
		assert_true(i == 0 || is_found(v, "0", "1"));
	}
	assert_in_range(hot_count(v->hot), 500, 5000);
	assert_true(is_found(v, "19999", "1"));
	assert_false(is_found(v, "1", "1"));
}

/* The watch takes the first two parameters of a statement that writes objects for bucket and key.
 */
static void
test_statements(void **state)
{
	unsigned count = 0;

	for (unsigned i = 0; i < walrus_schema.query_count; i++) {
		const struct store_query *q = &walrus_schema.queries[i];
		bool names = strncmp(q->types, "ib", 2) == 0;

		if (strncmp(q->text, "INSERT INTO object ", 19) == 0)
			assert_true(!names || strstr(q->text, "object (bucket_id, object_key, "));
		else if (strncmp(q->text, "UPDATE object ", 14) == 0 ||
			 strncmp(q->text, "DELETE FROM object ", 19) == 0)
			assert_true(
			    !names || strstr(q->text, "bucket_id = $1 AND object_key = $2"));
		else
			continue;
		count++;
	}
	assert_in_range(count, 4, 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_found, setup, teardown),
		cmocka_unit_test_setup_teardown(test_written, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rolled_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bounded, setup, teardown),
		cmocka_unit_test(test_statements),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
