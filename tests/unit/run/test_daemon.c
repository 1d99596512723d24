/* A tiny daemon in a child process, with real signals, sockets and files: start, its errors,
 * reload, drain, socket activation, readiness. The daemon answers each connection with one line; a
 * line "hold" keeps it busy until the connection ends. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/strbuf.h"
#include "run/daemon.h"
#include "run/fd.h"
#include "run/fs.h"

/* The daemon ----------------------------------------------------------------------------------- */

struct tiny_conf {
	struct daemon_conf daemon;
	char *greeting;
};
static const struct conf_key tiny_keys[] = {
	DAEMON_CONF_KEYS(struct tiny_conf, "tiny", "0", "0"),
	{ "greeting", CONF_STRING, offsetof(struct tiny_conf, greeting), "hello",
	    "what a client reads" },
	CONF_END,
};

struct tiny {
	struct daemon *daemon;
	int *fds;
	size_t fd_count;
	struct loop_watch *watches[4];
	int held_fd;
	struct loop_watch *held;
};

static void
on_held(void *arg, uint32_t events)
{
	struct tiny *t = arg;

	loop_watch_free(TAKE(t->held));
	fd_close(TAKE_FD(t->held_fd));
	daemon_busy(t->daemon, -1);
}

static void
on_connection(void *arg, uint32_t events)
{
	struct tiny *t = arg;
	char line[16] = "";

	for (size_t i = 0; i < t->fd_count; i++) {
		int fd = accept4(t->fds[i], NULL, NULL, SOCK_CLOEXEC);
		const struct tiny_conf *conf = daemon_configuration(t->daemon);

		if (fd < 0)
			continue;
		assert_true(read(fd, line, sizeof(line) - 1) > 0);
		assert_int_equal(fd_write_all(fd, conf->greeting, strlen(conf->greeting), NULL), 0);
		if (strcmp(line, "hold") != 0) {
			fd_close(fd);
			continue;
		}
		daemon_busy(t->daemon, 1);
		t->held_fd = fd;
		t->held = loop_watch_new(daemon_loop(t->daemon), fd, EPOLLIN, on_held, t);
	}
}

static int
tiny_start(struct daemon *d, void **ret_state, struct err *e)
{
	const struct tiny_conf *conf = daemon_configuration(d);
	struct tiny *t = xcalloc(1, sizeof(*t));
	int r;

	t->daemon = d;
	t->held_fd = -1;
	r = daemon_sockets(d, "api", conf->daemon.listen, &t->fds, &t->fd_count, e);
	if (r < 0) {
		free(t);
		return r;
	}
	for (size_t i = 0; i < t->fd_count; i++)
		t->watches[i] =
		    loop_watch_new(daemon_loop(d), t->fds[i], EPOLLIN, on_connection, t);
	*ret_state = t;
	return 0;
}

static void
tiny_reload(struct daemon *d, void *state)
{
	log_debug(daemon_log(d), "tiny.reloaded", "answer=%d", 42);
}

static void
tiny_drain(struct daemon *d, void *state)
{
	struct tiny *t = state;

	for (size_t i = 0; i < t->fd_count; i++) {
		loop_watch_free(TAKE(t->watches[i]));
		fd_close(t->fds[i]);
	}
}

static void
tiny_stop(struct daemon *d, void *state)
{
	struct tiny *t = state;

	loop_watch_free(t->held);
	fd_close(t->held_fd);
	free(t->fds);
	free(t);
}

static int
tiny_check(const void *conf, struct err *e)
{
	const struct tiny_conf *c = conf;

	return *c->greeting ? 0 : err_set(e, ERR_INVALID, "greeting is empty");
}

static int
tiny_say(const void *conf, int argc, char **argv)
{
	const struct tiny_conf *c = conf;

	fprintf(stderr, "%s %d %s\n", c->greeting, argc, argc > 0 ? argv[0] : "");
	return 7;
}

static const struct daemon_command tiny_commands[] = {
	{ "say", "say WORD", "says it", tiny_say },
	{ 0 },
};
static const struct daemon_spec tiny_spec = {
	.name = "tiny",
	.description = "a daemon to test daemons with",
	.keys = tiny_keys,
	.conf_size = sizeof(struct tiny_conf),
	.commands = tiny_commands,
	.check = tiny_check,
	.start = tiny_start,
	.reload = tiny_reload,
	.drain = tiny_drain,
	.stop = tiny_stop,
};

/* The bed -------------------------------------------------------------------------------------- */

struct bed {
	char dir[64];
	char *conf, *notify_path;
	int notify_fd;
	pid_t pid;
	int err_fd; /* the child's stderr and stdout */
	struct strbuf err;
	int activated_fd;       /* given to the child as descriptor 3, unless -1 */
	const char *listen_pid; /* NULL: the child's */
};

static int
set_up(void **state)
{
	struct bed *b = xcalloc(1, sizeof(*b));
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	(void)snprintf(b->dir, sizeof(b->dir), "/tmp/mallee-daemon-test-XXXXXX");
	if (!mkdtemp(b->dir))
		return -1;
	b->conf = xasprintf("%s/tiny.conf", b->dir);
	b->notify_path = xasprintf("%s/notify", b->dir);
	b->activated_fd = b->err_fd = -1;
	b->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	(void)snprintf(at.sun_path, sizeof(at.sun_path), "%s", b->notify_path);
	*state = b;
	return bind(b->notify_fd, (struct sockaddr *)&at, sizeof(at));
}

static int
tear_down(void **state)
{
	struct bed *b = *state;
	_cleanup_free_ char *rm = xasprintf("rm -rf '%s'", b->dir);

	if (b->pid > 0) {
		(void)kill(b->pid, SIGKILL);
		(void)waitpid(b->pid, NULL, 0);
	}
	fd_close(b->notify_fd);
	fd_close(b->err_fd);
	fd_close(b->activated_fd);
	strbuf_done(&b->err);
	free(b->conf);
	free(b->notify_path);
	free(b);
	return system(rm);
}

static void
configure(struct bed *b, const char *more)
{
	_cleanup_free_ char *text = xasprintf("state_dir = %s/state\nruntime_dir = %s/run\n"
					      "listen = unix:%s/s\nworkers = 2\n%s",
	    b->dir, b->dir, b->dir, more);

	assert_int_equal(fs_write_atomic(b->conf, str_of(text), 0600, NULL), 0);
}

static void
child(const struct bed *b, int err_fd, int argc, char **argv)
{
	(void)dup2(err_fd, STDOUT_FILENO);
	(void)dup2(err_fd, STDERR_FILENO);
	(void)setenv("NOTIFY_SOCKET", b->notify_path, 1);
	(void)setenv("WATCHDOG_USEC", "100000", 1);
	if (b->activated_fd >= 0) {
		_cleanup_free_ char *pid = xasprintf("%d", (int)getpid());

		(void)dup2(b->activated_fd, 3);
		(void)setenv("LISTEN_PID", b->listen_pid ? b->listen_pid : pid, 1);
		(void)setenv("LISTEN_FDS", "1", 1);
		(void)setenv("LISTEN_FDNAMES", "api", 1);
	}
	int status = daemon_main(&tiny_spec, argc, argv);
	fflush(stdout);
	_exit(status);
}

static void
launch(struct bed *b, const char *argument, const char *word)
{
	char *argv[] = { (char[]){ "mallee-tiny" }, (char[]){ "--config" }, b->conf,
		(char *)(uintptr_t)argument, (char *)(uintptr_t)word, NULL };
	int ends[2];

	fd_close(b->err_fd);
	strbuf_reset(&b->err);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	b->err_fd = ends[0];
	fflush(stdout);
	b->pid = fork();
	if (b->pid == 0)
		child(b, ends[1], argument ? word ? 5 : 4 : 3, argv);
	fd_close(ends[1]);
}

/* Exit status, or -signal; what it said is in b->err. */
static int
finish(struct bed *b)
{
	int status = 0;
	char chunk[1024];
	ssize_t n;

	while ((n = read(b->err_fd, chunk, sizeof(chunk))) > 0)
		strbuf_add(&b->err, chunk, (size_t)n);
	assert_int_equal(waitpid(b->pid, &status, 0), b->pid);
	b->pid = 0;
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* Reads stderr until it has said `what`. */
static void
wait_said(struct bed *b, const char *what)
{
	char chunk[1024];

	while (!strstr(strbuf_c(&b->err), what)) {
		struct pollfd p = { b->err_fd, POLLIN, 0 };
		ssize_t n;

		assert_int_equal(poll(&p, 1, 10000), 1);
		n = read(b->err_fd, chunk, sizeof(chunk));
		assert_true(n > 0);
		strbuf_add(&b->err, chunk, (size_t)n);
	}
}

static void
wait_notified(struct bed *b, const char *what)
{
	char text[64] = "";

	while (strcmp(text, what) != 0) {
		struct pollfd p = { b->notify_fd, POLLIN, 0 };
		ssize_t n;

		assert_int_equal(poll(&p, 1, 10000), 1);
		n = recv(b->notify_fd, text, sizeof(text) - 1, 0);
		assert_true(n > 0);
		text[n] = '\0';
	}
}

static int
connect_unix(const struct bed *b)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(at.sun_path, sizeof(at.sun_path), "%.60s/s", b->dir);
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0)
		return fd;
	fd_close(fd);
	return -1;
}

static int
open_loopback(uint16_t *ret_port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
	*ret_port = ntohs(at.sin_port);
	return fd;
}

static int
connect_loopback(uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static void
assert_answers(int fd, const char *question, const char *answer)
{
	char text[64];

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, question, strlen(question), NULL), 0);
	assert_int_equal(fd_read_all(fd, text, strlen(answer), NULL), 0);
	assert_memory_equal(text, answer, strlen(answer));
}

static unsigned
count_lines(const char *text)
{
	unsigned n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* The tests ------------------------------------------------------------------------------------ */

static void
starts_answers_and_stops(void **state)
{
	struct bed *b = *state;
	_cleanup_close_ int fd = -1;

	configure(b, "greeting = good day # not this\n");
	launch(b, NULL, NULL);
	wait_notified(b, "READY=1");
	wait_notified(b, "WATCHDOG=1");
	wait_notified(b, "WATCHDOG=1");
	fd = connect_unix(b);
	assert_answers(fd, "x", "good day");
	assert_int_equal(kill(b->pid, SIGTERM), 0);
	wait_notified(b, "STOPPING=1");
	assert_int_equal(finish(b), 0);
	assert_non_null(strstr(strbuf_c(&b->err), "info tiny daemon.started version="));
	assert_non_null(strstr(strbuf_c(&b->err), "info tiny daemon.stopped"));
}

static void
says_what_is_wrong_in_one_line(void **state)
{
	static const struct {
		const char *conf, *argument, *said;
		int status;
	} cases[] = {
		{ "colour = red\n", NULL, ":5: unknown key 'colour'", 1 },
		{ "workers = 3\n", NULL, ":5: workers is given twice", 1 },
		{ "drain_timeout = soon\n", NULL, ":5: drain_timeout must be a duration", 1 },
		{ "log_level = loud\n", NULL, "must be one of error|warn|info|debug", 1 },
		{ "status_listen\n", NULL, ":5: 'status_listen' is not of the form", 1 },
		{ "greeting =\n", NULL, "greeting is empty", 1 },
		{ "greeting =\n", "--check-config", "greeting is empty", 1 },
		{ "", "dance", "unknown command 'dance'", 2 },
	};
	struct bed *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		configure(b, cases[i].conf);
		launch(b, cases[i].argument, NULL);
		assert_int_equal(finish(b), cases[i].status);
		if (!strstr(strbuf_c(&b->err), cases[i].said))
			fail_msg("'%s' does not say '%s'", strbuf_c(&b->err), cases[i].said);
		assert_int_equal(count_lines(strbuf_c(&b->err)), 1);
	}
}

static void
bad_addresses_and_ports_in_use(void **state)
{
	struct bed *b = *state;
	uint16_t port;
	_cleanup_close_ int taken = open_loopback(&port);
	_cleanup_free_ char *in_use =
	    xasprintf("cannot listen on '127.0.0.1:%u': address in use\n", port);
	_cleanup_free_ char *text =
	    xasprintf("state_dir = %s/state\nruntime_dir = %s/run\nlisten = 127.0.0.1:%u\n", b->dir,
		b->dir, port);
	static const char *const wrong[] = { "nonsense", "127.0.0.1",
		"127.0.0.1:", "127.0.0.1:99999", "127.0.0.256:80", "[::1:80", "[zz]:80",
		"unix:", "unix:relative", "localhost:80" };

	assert_int_equal(fs_write_atomic(b->conf, str_of(text), 0600, NULL), 0);
	launch(b, NULL, NULL);
	assert_int_equal(finish(b), 1);
	assert_string_equal(strbuf_c(&b->err) + strlen("mallee-tiny: "), in_use);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		_cleanup_free_ char *conf =
		    xasprintf("state_dir = %s/state\nruntime_dir = %s/run\nlisten = %s\n", b->dir,
			b->dir, wrong[i]);

		assert_int_equal(fs_write_atomic(b->conf, str_of(conf), 0600, NULL), 0);
		launch(b, NULL, NULL);
		assert_int_equal(finish(b), 1);
		assert_non_null(strstr(strbuf_c(&b->err), "is not ADDRESS:PORT"));
	}
}

static void
absent_file_and_unwritable_state(void **state)
{
	struct bed *b = *state;
	_cleanup_free_ char *conf = xasprintf("state_dir = %s/notify/state\n", b->dir);

	launch(b, NULL, NULL);
	assert_int_equal(finish(b), 1);
	assert_non_null(strstr(strbuf_c(&b->err), "tiny.conf': No such file or directory\n"));
	assert_int_equal(fs_write_atomic(b->conf, str_of(conf), 0600, NULL), 0);
	launch(b, NULL, NULL);
	assert_int_equal(finish(b), 1);
	assert_non_null(strstr(strbuf_c(&b->err), "cannot create directory '"));
}

static void
a_second_instance_is_refused(void **state)
{
	struct bed *b = *state;
	struct bed second = *b;

	configure(b, "");
	launch(b, NULL, NULL);
	wait_notified(b, "READY=1");
	second.err_fd = -1;
	second.err = (struct strbuf)STRBUF_INIT;
	launch(&second, NULL, NULL);
	assert_int_equal(finish(&second), 1);
	assert_non_null(strstr(strbuf_c(&second.err), "another mallee-tiny runs on '"));
	strbuf_done(&second.err);
	fd_close(second.err_fd);
	assert_int_equal(kill(b->pid, SIGINT), 0);
	assert_int_equal(finish(b), 0);
}

static void
restarts_over_a_stale_socket(void **state)
{
	struct bed *b = *state;
	_cleanup_close_ int fd = -1;

	configure(b, "");
	launch(b, NULL, NULL);
	wait_notified(b, "READY=1");
	assert_int_equal(kill(b->pid, SIGKILL), 0);
	assert_int_equal(finish(b), -SIGKILL);
	launch(b, NULL, NULL);
	wait_notified(b, "READY=1");
	fd = connect_unix(b);
	assert_answers(fd, "x", "hello");
}

static void
sighup_reads_the_log_level_again(void **state)
{
	struct bed *b = *state;

	configure(b, "");
	launch(b, NULL, NULL);
	wait_notified(b, "READY=1");
	configure(b, "log_level = debug\n");
	assert_int_equal(kill(b->pid, SIGHUP), 0);
	wait_said(b, "debug tiny tiny.reloaded answer=42");
	wait_said(b, "daemon.reloaded log_level=debug");
	configure(b, "nonsense = 1\n");
	assert_int_equal(kill(b->pid, SIGHUP), 0);
	wait_said(b, "error tiny daemon.reload_failed");
	assert_int_equal(kill(b->pid, SIGTERM), 0);
	assert_int_equal(finish(b), 0);
}

static void
drain_waits_for_requests(void **state)
{
	struct bed *b = *state;
	int fd;

	configure(b, "drain_timeout = 60s\n");
	launch(b, NULL, NULL);
	wait_notified(b, "READY=1");
	fd = connect_unix(b);
	assert_answers(fd, "hold", "hello");
	assert_int_equal(kill(b->pid, SIGTERM), 0);
	wait_notified(b, "STOPPING=1");
	wait_said(b, "daemon.stopping signal=15 requests=1");
	assert_int_equal(connect_unix(b), -1);
	assert_int_equal(waitpid(b->pid, NULL, WNOHANG), 0);
	fd_close(fd);
	assert_int_equal(finish(b), 0);
	assert_non_null(strstr(strbuf_c(&b->err), "daemon.stopped"));
}

static void
drain_ends_in_time(void **state)
{
	struct bed *b = *state;
	_cleanup_close_ int fd = -1;
	uint64_t started_ms;

	configure(b, "drain_timeout = 300ms\n");
	launch(b, NULL, NULL);
	wait_notified(b, "READY=1");
	fd = connect_unix(b);
	assert_answers(fd, "hold", "hello");
	started_ms = clock_monotonic_ms();
	assert_int_equal(kill(b->pid, SIGTERM), 0);
	assert_int_equal(finish(b), 0);
	assert_in_range(clock_monotonic_ms() - started_ms, 290, 20000);
	assert_non_null(strstr(strbuf_c(&b->err), "warn tiny daemon.drain_timeout requests=1"));
}

static void
serves_activated_sockets(void **state)
{
	struct bed *b = *state;
	_cleanup_close_ int over_ip = -1, over_unix = -1;
	uint16_t port;

	b->activated_fd = open_loopback(&port);
	configure(b, "");
	launch(b, NULL, NULL);
	wait_notified(b, "READY=1");
	over_ip = connect_loopback(port);
	assert_answers(over_ip, "x", "hello");
	over_unix = connect_unix(b);
	assert_answers(over_unix, "x", "hello");
}

static void
checks_what_activation_hands_over(void **state)
{
	struct bed *b = *state;

	b->activated_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	configure(b, "");
	launch(b, NULL, NULL);
	assert_int_equal(finish(b), 1);
	assert_non_null(strstr(strbuf_c(&b->err), "not a listening socket"));
	b->listen_pid = "1"; /* another process's: ignored */
	launch(b, NULL, NULL);
	wait_notified(b, "READY=1");
}

static void
help_version_check_and_commands(void **state)
{
	static const struct {
		const char *argument, *word, *said;
		int status;
	} cases[] = {
		{ "--help", NULL, "Usage: mallee-tiny [--config FILE]", 0 },
		{ "--help", NULL, "  drain_timeout = 10s\n", 0 },
		{ "--version", NULL, "mallee-tiny " MALLEE_VERSION "\n", 0 },
		{ "--check-config", NULL, "", 0 },
		{ "say", "--help", "hello 1 --help\n", 7 },
		{ "--nonsense", NULL, "try 'mallee-tiny --help'", 2 },
	};
	struct bed *b = *state;

	configure(b, "");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		launch(b, cases[i].argument, cases[i].word);
		assert_int_equal(finish(b), cases[i].status);
		if (!strstr(strbuf_c(&b->err), cases[i].said))
			fail_msg("'%s' does not say '%s'", strbuf_c(&b->err), cases[i].said);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(starts_answers_and_stops),
		T(says_what_is_wrong_in_one_line),
		T(bad_addresses_and_ports_in_use),
		T(absent_file_and_unwritable_state),
		T(a_second_instance_is_refused),
		T(restarts_over_a_stale_socket),
		T(sighup_reads_the_log_level_again),
		T(drain_waits_for_requests),
		T(drain_ends_in_time),
		T(serves_activated_sockets),
		T(checks_what_activation_hands_over),
		T(help_version_check_and_commands),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
