/* mallee-admin: what it asks of which socket, what it prints, its exit status. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "net/http_worker.h"

/* A daemon's admin socket that tells what it was asked. */
static struct {
	char directory[32];
	struct loop *loop;
	struct workers *workers;
	struct http_server *server;
	struct http_worker_options worker;
	pthread_t thread;
} fake;

static void
on_call(struct http_call *call, void *arg)
{
	call->content_type = "text/plain";
	if (str_is(call->head->path, "/nodes")) {
		call->status = 503;
		strbuf_adds(&call->reply, "the store does not answer\nmore\n");
		return;
	}
	if (str_is(call->head->path, "/peers")) {
		call->status = 500;
		return;
	}
	strbuf_addf(&call->reply, "%.*s %.*s %.*s\n", (int)call->head->method.n,
	    call->head->method.p, (int)call->head->path.n, call->head->path.p, (int)call->body.n,
	    call->body.n ? call->body.p : "");
}

static void *
loop_main(void *arg)
{
	loop_run(fake.loop);
	return NULL;
}

static int
setup(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct http_server_options options = {
		.name = "admin", .handler = http_worker_handler, .arg = &fake.worker
	};
	struct err e = { 0 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)signal(SIGPIPE, SIG_IGN);
	(void)snprintf(fake.directory, sizeof(fake.directory), "/tmp/admin-test-XXXXXX");
	if (!mkdtemp(fake.directory))
		return -1;
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/admin.sock", fake.directory);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 8) < 0 ||
	    loop_new(&fake.loop, &e) < 0 || workers_new(2, 16, &fake.workers, &e) < 0)
		return -1;
	fake.worker = (struct http_worker_options){
		.workers = fake.workers, .fn = on_call, .body_max = 65536
	};
	if (http_server_new(fake.loop, &options, &fd, 1, &fake.server, &e) < 0)
		return -1;
	return pthread_create(&fake.thread, NULL, loop_main, NULL);
}

static int
teardown(void **state)
{
	_cleanup_free_ char *command = xasprintf("rm -r %s", fake.directory);

	loop_stop(fake.loop);
	pthread_join(fake.thread, NULL);
	http_server_free(fake.server);
	workers_free(fake.workers);
	loop_free(fake.loop);
	return system(command);
}

/* stdout and stderr together */
static int
admin(const char *arguments, struct strbuf *out)
{
	_cleanup_free_ char *command =
	    xasprintf("%s/bin/mallee-admin %s 2>&1", getenv("MALLEE_BUILD"), arguments);
	FILE *p = popen(command, "r");
	char line[1024];
	int status;

	assert_non_null(p);
	strbuf_reset(out);
	while (fgets(line, sizeof(line), p))
		strbuf_adds(out, line);
	status = pclose(p);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
asks_and_prints(void **state)
{
	static const struct {
		const char *words;
		int status;
		const char *says;
	} cases[] = {
		{ "status", 0, "GET /status \n" },
		{ "token nc --zone zone-a", 0, "POST /token role=nc&zone=zone-a\n" },
		{ "token --zone=zone-a nc", 0, "POST /token role=nc&zone=zone-a\n" },
		{ "token cc zone-b", 0, "POST /token role=cc&zone=zone-b\n" },
		{ "token walrus", 0, "POST /token role=walrus\n" },
		{ "token 'a&b=c'", 0, "POST /token role=a%26b%3Dc\n" },
		{ "account create science", 0, "POST /accounts name=science\n" },
		{ "account create -- --odd", 0, "POST /accounts name=--odd\n" },
		{ "account list", 0, "GET /accounts \n" },
		{ "reconcilers", 0, "GET /reconcilers \n" },
		{ "reconcilers run renewal", 0, "POST /reconcilers/renewal/run \n" },
		{ "reconcilers pause renewal", 0, "POST /reconcilers/renewal/pause \n" },
		{ "reconcilers resume ../x", 0, "POST /reconcilers/..%2Fx/resume \n" },
		{ "--daemon nc status", 0, "GET /status \n" },
		{ "bucket list", 0, "POST /buckets \n" },
		{ "bucket list --account science", 0, "POST /buckets account=science\n" },
		{ "bucket quota photos --bytes 10G --objects none", 0,
		    "POST /buckets/quota bucket=photos&bytes=10G&objects=none\n" },
		{ "usage quota science --objects 5", 0,
		    "POST /usage/quota account=science&objects=5\n" },
		{ "object show photos 'a b'", 0, "POST /objects/show bucket=photos&key=a%20b\n" },
		{ "object list photos --prefix=2010/", 0,
		    "POST /objects bucket=photos&prefix=2010%2F\n" },
		{ "scrub", 0, "GET /scrub \n" },
		{ "scrub start", 0, "POST /scrub/start \n" },
		{ "backup drop 17", 0, "POST /backups/drop backup=17\n" },
		{ "nodes", 1, "mallee-admin: the store does not answer\n" },
		{ "peers", 1, "mallee-admin: mallee-clc answered with HTTP status 500\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *arguments =
		    xasprintf("--runtime-dir %s %s", fake.directory, cases[i].words);
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

		assert_int_equal(admin(arguments, &out), cases[i].status);
		assert_string_equal(strbuf_c(&out), cases[i].says);
	}
}

static void
finds_the_socket_by_configuration(void **state)
{
	_cleanup_free_ char *path = xasprintf("%s/clc.conf", fake.directory);
	_cleanup_free_ char *arguments = xasprintf("--config %s status", path);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fprintf(f, "# the test's\nregion = x\nruntime_dir = %s\n", fake.directory);
	fclose(f);
	assert_int_equal(admin(arguments, &out), 0);
	assert_string_equal(strbuf_c(&out), "GET /status \n");
	assert_int_equal(admin("--config /nonexistent/clc.conf status", &out), 1);
	assert_int_equal(admin("--runtime-dir /nonexistent status", &out), 1);
	assert_string_equal(strbuf_c(&out), "mallee-admin: cannot reach mallee-clc at "
					    "'/nonexistent/admin.sock': is it running, and are you "
					    "root?\n");
	/* whose business a command is */
	assert_int_equal(admin("--runtime-dir /nonexistent usage", &out), 1);
	assert_non_null(strstr(strbuf_c(&out), "cannot reach mallee-walrus at "));
	assert_int_equal(admin("--daemon clc --runtime-dir /nonexistent usage", &out), 1);
	assert_non_null(strstr(strbuf_c(&out), "cannot reach mallee-clc at "));
}

static void
refuses_bad_usage(void **state)
{
	static const struct {
		const char *words, *says;
	} cases[] = {
		{ "", "no command" },
		{ "nonsense", "unknown command 'nonsense'" },
		{ "token", "an argument is missing after 'token'" },
		{ "token a b c", "one word too many: 'c'" },
		{ "status now", "one word too many: 'now'" },
		{ "token nc --zone", "a value is missing after '--zone'" },
		{ "status --verbose", "unknown option '--verbose'" },
		{ "--daemon ../x status", "no such daemon: '../x'" },
		{ "1 2 3 4 5 6 7 8 9 10 11", "one word too many: '11'" },
		{ "account", "a word is missing after 'account'" },
		{ "quota", "a word is missing after 'quota'" },
		{ "bucket", "a word is missing after 'bucket'" },
		{ "scrub now", "one word too many: 'now'" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *says =
		    xasprintf("mallee-admin: %s; try 'mallee-admin --help'\n", cases[i].says);
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

		assert_int_equal(admin(cases[i].words, &out), 2);
		assert_string_equal(strbuf_c(&out), says);
	}
}

static void
helps(void **state)
{
	static const char *const words[] = { "--help", "-h", "token --help", "account --help",
		"account create --help", "reconcilers -h", "init --help", "--version" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

		assert_int_equal(admin(words[i], &out), 0);
		assert_true(out.n > 10);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(asks_and_prints),
		cmocka_unit_test(finds_the_socket_by_configuration),
		cmocka_unit_test(refuses_bad_usage),
		cmocka_unit_test(helps),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
