/* Arenas: zeroed, aligned, and a limit that is exact. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/arena.h"

static void
memory_is_zeroed_aligned_and_apart(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new(0);
	unsigned char *blocks[500];

	for (size_t i = 0; i < 500; i++) {
		blocks[i] = arena_alloc(a, i);
		assert_int_equal((uintptr_t)blocks[i] % _Alignof(max_align_t), 0);
		for (size_t j = 0; j < i; j++)
			assert_int_equal(blocks[i][j], 0);
		memset(blocks[i], (int)i, i);
	}
	for (size_t i = 0; i < 500; i++) {
		for (size_t j = 0; j < i; j++)
			assert_int_equal(blocks[i][j], i % 256);
	}
}

/* A chunk may be one that an arena before had, of this thread or of one that is over. */
static void *
dirty_and_free(void *arg)
{
	struct arena *a = arena_new(0), *b = arena_new(0);

	memset(arena_alloc(a, 4096), 0xff, 4096);
	memset(arena_alloc(b, 100), 0xff, 100);
	memset(arena_alloc(b, 5000), 0xff, 5000);
	arena_free(a);
	arena_free(b);
	return arena_new(0);
}

static void
what_an_arena_left_is_zeroed_again(void **state)
{
	for (int i = 0; i < 3; i++) {
		_cleanup_arena_ struct arena *here = dirty_and_free(NULL), *there = NULL;
		pthread_t thread;
		void *result;

		assert_int_equal(pthread_create(&thread, NULL, dirty_and_free, NULL), 0);
		assert_int_equal(pthread_join(thread, &result), 0);
		there = result;
		for (size_t j = 0; j < 64; j++) {
			static const unsigned char zeros[64];

			assert_memory_equal(arena_alloc(here, 64), zeros, 64);
			assert_memory_equal(arena_alloc(there, 64), zeros, 64);
		}
	}
}

static void
copies_and_prints(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new(0);

	assert_null(arena_strdup(a, NULL));
	assert_string_equal(arena_strdup(a, "abc"), "abc");
	assert_string_equal(arena_str(a, (struct str){ "abcdef", 3 }), "abc");
	assert_string_equal(arena_str(a, (struct str){ NULL, 0 }), "");
	assert_memory_equal(arena_memdup(a, "a\0b", 3), "a\0b", 3);
	assert_string_equal(arena_printf(a, "%d-%s", 7, "x"), "7-x");
	assert_int_equal(strlen(arena_printf(a, "%100000d", 1)), 100000);
}

static void
the_limit_is_exact(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new(64 * 1024);

	for (int i = 0; i < 64; i++)
		assert_non_null(arena_try(a, 1024));
	assert_int_equal(arena_used(a), 64 * 1024);
	assert_null(arena_try(a, 1));
	assert_non_null(arena_try(a, 0));
	_cleanup_arena_ struct arena *whole = arena_new(1 << 20);
	assert_null(arena_try(whole, (1 << 20) + 1));
	assert_null(arena_try(whole, SIZE_MAX));
	assert_null(arena_try(whole, SIZE_MAX - 20));
	assert_non_null(arena_try(whole, 1 << 20));
	assert_null(arena_try(whole, 1));
}

static void
past_the_limit_alloc_aborts(void **state)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		struct arena *a = arena_new(100);

		(void)signal(SIGABRT, SIG_DFL);
		fclose(stderr);
		arena_alloc(a, 1000);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_zeroed_aligned_and_apart),
		cmocka_unit_test(what_an_arena_left_is_zeroed_again),
		cmocka_unit_test(copies_and_prints),
		cmocka_unit_test(the_limit_is_exact),
		cmocka_unit_test(past_the_limit_alloc_aborts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
