/* A line for each answer, that a JSON reader takes, without what is secret; mode 0600. */
#include "fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clc/ec2.api.h"
#include "run/fs.h"

#include "answer_log.h"

static void
test_line(void **state)
{
	_cleanup_strbuf_ struct strbuf line = STRBUF_INIT;
	struct answer a = { .request_id = "r-1",
		.source_address = "127.0.0.1",
		.service = "ec2",
		.action = "DescribeInstances",
		.parameters = "a=\"b\\\"",
		.status = 400,
		.body = str_of("<a>\n\t\x01\xc3\xa9</a>") };

	answer_log_format(&a, 0, &line);
	assert_string_equal(strbuf_c(&line),
	    "{\"time\":\"1970-01-01T00:00:00.000Z\",\"request\":\"r-1\",\"source\":\"127.0.0.1\","
	    "\"service\":\"ec2\",\"action\":\"DescribeInstances\",\"parameters\":\"a="
	    "\\\"b\\\\\\\"\","
	    "\"status\":400,\"body\":\"<a>\\u000a\\u0009\\u0001\xc3\xa9</a>\"}\n");
	strbuf_reset(&line);
	a = (struct answer){ .status = 413, .body = str_of("\xff\xc3") };
	answer_log_format(&a, 0, &line);
	assert_string_equal(strbuf_c(&line),
	    "{\"time\":\"1970-01-01T00:00:00.000Z\",\"status\":413,\"body\":\"\\u00ff\\u00c3\"}\n");
}

static void
test_secrets(void **state)
{
	_cleanup_strbuf_ struct strbuf line = STRBUF_INIT;
	struct answer a = { .action = "CreateKeyPair",
		.status = 200,
		.shape = ec2_create_key_pair.out,
		.body = str_of("<x><keyName>k</keyName><keyMaterial>PRIVATE</keyMaterial>"
			       "<keyPairId>key-1</keyPairId></x>") };

	answer_log_format(&a, 0, &line);
	assert_null(strstr(strbuf_c(&line), "PRIVATE"));
	assert_non_null(strstr(strbuf_c(&line),
	    "<keyName>k</keyName><keyMaterial>***</keyMaterial><keyPairId>key-1</keyPairId>"));
}

static void
test_file(void **state)
{
	char directory[] = "/tmp/test-answer-log-XXXXXX";
	_cleanup_free_ char *path = NULL, *other = NULL;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct answer a = { .status = 200, .body = str_of("x") };
	struct err e = { 0 };
	struct stat st;

	assert_non_null(mkdtemp(directory));
	path = xasprintf("%s/answers", directory);
	other = xasprintf("%s/link", directory);
	answer_log_add(&a); /* nothing is open: nothing happens */
	assert_int_equal(answer_log_open(path, &e), 0);
	assert_true(answer_log_is_open());
	answer_log_add(&a);
	assert_int_equal(answer_log_open(path, &e), 0); /* appended to, not begun anew */
	answer_log_add(&a);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(fs_read(path, 10000, &text, &e), 0);
	assert_int_equal(text.p[text.n - 1], '\n');
	assert_int_equal(
	    text.n, 2 * (strlen("{\"time\":\"1970-01-01T00:00:00.000Z\",\"status\":200,"
				"\"body\":\"x\"}\n")));
	/* What cannot be opened is said, and what was open stays. */
	assert_int_equal(symlink(path, other), 0);
	assert_true(answer_log_open(other, &e) < 0);
	assert_non_null(strstr(e.text, "answer_log: cannot open"));
	assert_true(answer_log_is_open());
	assert_int_equal(answer_log_open("", &e), 0);
	assert_false(answer_log_is_open());
	(void)unlink(other);
	(void)unlink(path);
	(void)rmdir(directory);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
