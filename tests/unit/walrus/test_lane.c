/* A digest beside: the same as in one go, however workers come by, and every piece is given back
 * once, when nobody needs it any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "auth/digest.h"
#include "base/id.h"
#include "lane.h"
#include "run/lock.h"

#define PIECES 300
#define PIECE 3000

static char bytes[PIECES][PIECE];
static struct http_body bodies[PIECES];
static atomic_uint released;

static void
release(struct http_body *body)
{
	memset((char *)(uintptr_t)body->p, 0,
	    body->n); /* whoever still reads it sums something else */
	released++;
}

static void
fill(uint8_t wanted[16])
{
	released = 0;
	random_bytes(bytes, sizeof(bytes));
	digest(DIGEST_MD5, (struct str){ bytes[0], sizeof(bytes) }, wanted);
	for (unsigned i = 0; i < PIECES; i++)
		bodies[i] = (struct http_body){ bytes[i], PIECE };
}

/* Each piece in two spans, as after an end of a chunk. */
static void
add_all(struct lane *l)
{
	for (unsigned i = 0; i < PIECES; i++) {
		struct piece *p = piece_new(&bodies[i], release);

		lane_add(l, (struct str){ bytes[i], 1000 }, p);
		lane_add(l, (struct str){ bytes[i] + 1000, PIECE - 1000 }, p);
		piece_unref(p);
	}
}

static void
expect_sum(struct workers *workers)
{
	EVP_MD_CTX *context = digest_begin(DIGEST_MD5);
	struct lane *l = lane_new(workers, context);
	uint8_t wanted[16], seen[16];

	fill(wanted);
	add_all(l);
	lane_finish(l);
	assert_int_equal(released, PIECES);
	digest_end(context, seen);
	assert_memory_equal(seen, wanted, sizeof(wanted));
	lane_finish(l); /* of nothing */
	lane_free(l);
}

static void
test_a_worker_helps(void **state)
{
	struct workers *workers;
	struct err e;

	assert_int_equal(workers_new(2, 16, &workers, &e), 0);
	for (unsigned i = 0; i < 20; i++)
		expect_sum(workers);
	workers_free(workers);
}

static struct lock gate = LOCK_INITIALIZER(DAEMON); /* taken before all others */

static void
wait_at_gate(void *arg)
{
	lock_take(&gate);
	lock_release(&gate);
}

/* All workers wait for something else, and later the queue is full as well. */
static void
test_no_worker_comes(void **state)
{
	struct workers *workers;
	struct err e;

	assert_int_equal(workers_new(1, 1, &workers, &e), 0);
	lock_take(&gate);
	assert_int_equal(workers_run(workers, wait_at_gate, NULL, &e), 0);
	while (workers_queued(workers) > 0)
		continue;
	expect_sum(workers); /* its job waits in the queue, its work is done here */
	expect_sum(workers); /* the queue is full */
	lock_release(&gate);
	workers_free(workers);
}

static void
test_free_finishes(void **state)
{
	struct workers *workers;
	EVP_MD_CTX *context = digest_begin(DIGEST_MD5);
	struct lane *l;
	uint8_t wanted[16];
	struct err e;

	assert_int_equal(workers_new(1, 1, &workers, &e), 0);
	l = lane_new(workers, context);
	fill(wanted);
	add_all(l);
	lane_free(l);
	assert_int_equal(released, PIECES);
	lane_free(NULL);
	digest_end(context, NULL);
	workers_free(workers);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_worker_helps),
		cmocka_unit_test(test_no_worker_comes),
		cmocka_unit_test(test_free_finishes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
