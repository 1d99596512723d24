/* Status pages and the admin socket, on a real daemon started in this process. */
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "net/status_server.h"
#include "run/fs.h"
#include "run/health.h"
#include "run/reconciler.h"
#include "tests/lib/net_peer.h"

struct test_conf {
	struct daemon_conf daemon;
};
static const struct conf_key keys[] = { DAEMON_CONF_KEYS(struct test_conf, "test", "1", "2"),
	CONF_END };

static char *directory;
static uint16_t port;
static atomic_bool stuck;
static atomic_uint runs;
static char verb_arg;

static int
count_run(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	runs++;
	return 0;
}

static void
verb_echo(struct http_call *call, void *arg)
{
	assert_ptr_equal(arg, &verb_arg);
	strbuf_addf(&call->reply, "%.*s|%.*s", (int)call->head->query.n, call->head->query.p,
	    (int)call->body.n, call->body.p);
}

static const struct admin_verb verbs[] = {
	{ "POST", "/echo", "says it again", verb_echo },
	{ "GET", "/tree/", "anything below", verb_echo },
};

/* -- the client: runs in a thread beside the daemon -- */

static int
ask_admin(const char *method, const char *target, const char *body, struct net_reply *r)
{
	_cleanup_free_ char *path = xasprintf("%s/admin.sock", directory);
	_cleanup_free_ char *request = xasprintf(
	    "%s %s HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
	    method, target, strlen(body), body);
	int fd = net_connect_unix(path);

	net_sends(fd, request);
	(void)net_read_reply(fd, false, r);
	close(fd);
	return r->status;
}

static void
hold_loop(void *arg)
{
	while (stuck)
		usleep(1000);
}

static void
check_pages(struct daemon *d, struct net_reply *r)
{
	assert_int_equal(net_get(port, "/healthz", r), 200);
	assert_int_equal(net_get(port, "/readyz", r), 503);
	assert_non_null(strstr(r->body.p, "store: no disk"));
	health_set("store", true, NULL);
	assert_int_equal(net_get(port, "/readyz", r), 200);
	assert_int_equal(net_get(port, "/metrics", r), 200);
	assert_non_null(strstr(r->body.p, "mallee_http_requests_total{server=\"status\""));
	assert_true(net_reply_has(r, "\r\nContent-Type: text/plain; version=0.0.4\r\n"));
	assert_int_equal(net_get(port, "/status", r), 404);
	stuck = true;
	loop_post(daemon_loop(d), hold_loop, NULL);
	usleep(2500000);
	assert_int_equal(net_get(port, "/healthz", r), 503);
	assert_int_equal(net_get(port, "/metrics", r), 200);
	stuck = false;
	for (int i = 0; i < 300 && net_get(port, "/healthz", r) != 200; i++)
		usleep(10000);
	assert_int_equal(r->status, 200);
}

static void
check_admin(struct net_reply *r)
{
	_cleanup_free_ char *path = xasprintf("%s/admin.sock", directory);
	struct stat st;
	unsigned before;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(ask_admin("GET", "/status", "", r), 200);
	assert_non_null(strstr(r->body.p, "store ok"));
	assert_int_equal(ask_admin("GET", "/", "", r), 200);
	assert_non_null(strstr(r->body.p, "/echo"));
	assert_int_equal(ask_admin("POST", "/echo?a=b", "body", r), 200);
	assert_string_equal(r->body.p, "a=b|body");
	assert_int_equal(ask_admin("GET", "/echo", "", r), 405);
	assert_int_equal(ask_admin("GET", "/tree/x/y", "", r), 200);
	assert_int_equal(ask_admin("GET", "/tree", "", r), 404);
	assert_int_equal(ask_admin("GET", "/nothing", "", r), 404);

	assert_int_equal(ask_admin("GET", "/reconcilers", "", r), 200);
	assert_non_null(strstr(r->body.p, "sweep"));
	assert_int_equal(ask_admin("POST", "/reconcilers/absent/run", "", r), 404);
	assert_int_equal(ask_admin("POST", "/reconcilers/sweep/fly", "", r), 404);
	assert_int_equal(ask_admin("POST", "/reconcilers/s%77eep/fly", "", r), 404);
	assert_int_equal(ask_admin("POST", "/reconcilers/sweep%zz/run", "", r), 404);
	assert_int_equal(ask_admin("POST", "/reconcilers/sweep", "", r), 404);
	before = runs;
	assert_int_equal(ask_admin("POST", "/reconcilers/sweep/run", "", r), 200);
	for (int i = 0; i < 300 && runs == before; i++)
		usleep(10000);
	assert_true(runs > before);
	/* names are encoded: "zone zone-a" */
	assert_int_equal(ask_admin("POST", "/reconcilers/s%77eep/pause", "", r), 200);
	assert_int_equal(ask_admin("POST", "/reconcilers/sweep/resume", "", r), 200);
}

static void *
client_thread(void *arg)
{
	struct net_reply r = { 0 };

	check_pages(arg, &r);
	check_admin(&r);
	net_reply_done(&r);
	kill(getpid(), SIGTERM);
	return NULL;
}

/* -- the daemon -- */

struct state {
	struct status_server *status;
	struct reconciler *reconciler;
	pthread_t client;
};

static int
start(struct daemon *d, void **ret_state, struct err *e)
{
	struct state *s = xcalloc(1, sizeof(*s));

	health_set("store", false, "no disk");
	assert_int_equal(
	    status_server_new(d, verbs, ARRAY_SIZE(verbs), &verb_arg, &s->status, e), 0);
	s->reconciler = reconciler_new(
	    daemon_loop(d), daemon_workers(d), "test", "sweep", 60000, count_run, NULL);
	assert_int_equal(pthread_create(&s->client, NULL, client_thread, d), 0);
	*ret_state = s;
	return 0;
}

static void
stop(struct daemon *d, void *state)
{
	struct state *s = state;

	(void)pthread_join(s->client, NULL);
	reconciler_free(s->reconciler);
	status_server_free(s->status);
	free(s);
}

static void
pages_and_verbs(void **unused)
{
	static const struct daemon_spec spec = {
		.name = "test",
		.description = "a daemon of nothing but its status",
		.keys = keys,
		.conf_size = sizeof(struct test_conf),
		.start = start,
		.stop = stop,
	};
	_cleanup_free_ char *conf = NULL, *text = NULL;
	char program[] = "mallee-test", option[] = "--config";
	int fd;

	directory = net_temporary_directory();
	fd = net_listen(&port);
	close(fd);
	conf = xasprintf("%s/test.conf", directory);
	text = xasprintf("state_dir = %s\nruntime_dir = %s\nstatus_listen = 127.0.0.1:%u\n"
			 "listen = 127.0.0.1:0\n",
	    directory, directory, port);
	assert_int_equal(fs_write_atomic(conf, str_of(text), 0600, NULL), 0);
	{
		char *argv[] = { program, option, conf, NULL };

		assert_int_equal(daemon_main(&spec, 3, argv), 0);
	}
	assert_true(runs > 0);
	net_remove_directory(directory);
	free(directory);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_and_verbs),
	};

	return cmocka_run_group_tests_name("status_server", tests, NULL, NULL);
}
