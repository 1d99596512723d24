/* One process's life: arguments, configuration, sockets, signals, readiness, drain. daemon_main()
 * reads as the table of contents. What fails before READY=1 is one line on stderr and exit
 * status 1.
 *
 * SIGTERM: the daemon stops accepting (drain), requests under way may end, then everything is
 * released. Requests that outlive the drain time keep pointers into that everything, so then the
 * process just ends: acknowledged state is on disk, as after a kill -9. */
#include "run/daemon.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include "run/fd.h"
#include "run/fs.h"
#include "run/health.h"
#include "run/metrics.h"
#include "run/notify.h"
#include "run/sockets.h"

#define EXIT_USAGE 2
#define JOBS_MAX 1024 /* that wait for a worker */

struct daemon {
	const struct daemon_spec *spec;
	char *conf_path; /* NULL: fallbacks only */
	void *conf;
	struct log log;
	struct loop *loop;
	struct workers *workers;
	struct inherited_list inherited;
	int lock_fd;
	void *state;
	_Atomic int busy;
	_Atomic bool is_draining;
	struct loop_timer *drain_timer, *watchdog_timer;
	uint32_t watchdog_ms;
	bool drain_expired;
};

struct options {
	const char *conf_path;
	bool check, help, version;
	int command_at; /* index in argv; argc: none */
};

static const struct daemon_conf *
common_conf(const struct daemon *d)
{
	return d->conf; /* its first member, as daemon.h demands */
}

static int
fail(const struct daemon_spec *spec, const struct err *e)
{
	fprintf(stderr, "mallee-%s: %s\n", spec->name, e->text);
	return EXIT_FAILURE;
}

/* Arguments ------------------------------------------------------------------------------------ */

static bool
parse_options(const struct daemon_spec *spec, int argc, char **argv, struct options *o)
{
	static const struct option long_options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check-config", no_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	int c;

	*o = (struct options){ 0 };
	optind = 0;
	/* "+": options end where a command begins; its arguments are its own */
	while ((c = getopt_long(argc, argv, "+c:thV", long_options, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->conf_path = optarg;
			break;
		case 't':
			o->check = true;
			break;
		case 'h':
			o->help = true;
			break;
		case 'V':
			o->version = true;
			break;
		default:
			fprintf(stderr, "try 'mallee-%s --help'\n", spec->name);
			return false;
		}
	}
	o->command_at = optind;
	return true;
}

static void
print_help(const struct daemon_spec *spec)
{
	_cleanup_strbuf_ struct strbuf keys = STRBUF_INIT;

	printf("mallee-%s: %s\n\n", spec->name, spec->description);
	printf("Usage: mallee-%s [--config FILE] [--check-config] [COMMAND ...]\n\n", spec->name);
	printf("  -c, --config FILE    read FILE instead of /etc/mallee/%s.conf\n", spec->name);
	printf("  -t, --check-config   check the configuration and exit\n"
	       "  -h, --help           print this and exit\n"
	       "  -V, --version        print the version and exit\n");
	if (spec->commands && spec->commands->name)
		printf("\nCommands:\n");
	for (const struct daemon_command *c = spec->commands; c && c->name; c++)
		printf("  %s\n      %s\n", c->usage, c->help);
	conf_describe(spec->keys, &keys);
	printf("\nConfiguration keys, with what holds when a key is absent:\n%s", strbuf_c(&keys));
}

static int
run_command(struct daemon *d, int argc, char **argv)
{
	for (const struct daemon_command *c = d->spec->commands; c && c->name; c++) {
		if (strcmp(c->name, argv[0]) == 0)
			return c->run(d->conf, argc - 1, argv + 1);
	}
	fprintf(stderr, "mallee-%s: unknown command '%s'; try 'mallee-%s --help'\n", d->spec->name,
	    argv[0], d->spec->name);
	return EXIT_USAGE;
}

/* Configuration -------------------------------------------------------------------------------- */

/* The default file may be absent, one that was asked for may not. */
static char *
choose_conf(const struct daemon_spec *spec, const char *asked)
{
	_cleanup_free_ char *path = xasprintf("/etc/mallee/%s.conf", spec->name);

	if (asked)
		return xstrdup(asked);
	return fs_exists(path) ? TAKE(path) : NULL;
}

static int
load_conf(const struct daemon *d, void **ret_conf, struct err *e)
{
	void *conf = xcalloc(1, d->spec->conf_size);
	int r = conf_load(d->spec->keys, d->conf_path, conf, e);

	if (r == 0 && d->spec->check)
		r = d->spec->check(conf, e);
	if (r < 0) {
		conf_done(d->spec->keys, conf);
		free(conf);
		return r;
	}
	*ret_conf = conf;
	return 0;
}

static void
free_conf(const struct daemon_spec *spec, void *conf)
{
	if (!conf)
		return;
	conf_done(spec->keys, conf);
	free(conf);
}

static void
apply_log_level(const void *conf)
{
	enum log_level level;
	bool known = log_level_from_string(((const struct daemon_conf *)conf)->log_level, &level);

	assert(known); /* the key is an enumeration */
	log_set_level(level);
}

/* Signals and drain ---------------------------------------------------------------------------- */

static void
on_drain_timeout(void *arg)
{
	struct daemon *d = arg;

	log_warn(&d->log, "daemon.drain_timeout", "requests=%d", atomic_load(&d->busy));
	d->drain_expired = true;
	loop_stop(d->loop);
}

static void
stop_when_idle(void *arg)
{
	struct daemon *d = arg;

	if (atomic_load(&d->busy) == 0)
		loop_stop(d->loop);
}

static void
on_terminate(void *arg, int signo)
{
	struct daemon *d = arg;

	if (atomic_exchange(&d->is_draining, true)) {
		on_drain_timeout(d); /* asked twice: at once */
		return;
	}
	notify_send("STOPPING=1");
	if (d->spec->drain)
		d->spec->drain(d, d->state);
	log_info(&d->log, "daemon.stopping", "signal=%d requests=%d", signo, atomic_load(&d->busy));
	loop_timer_set(d->drain_timer, common_conf(d)->drain_ms);
	loop_post(d->loop, stop_when_idle, d);
}

static void
on_reload(void *arg, int signo)
{
	struct daemon *d = arg;
	struct err e = { 0 };
	void *conf = NULL;

	if (load_conf(d, &conf, &e) < 0) {
		log_error(&d->log, "daemon.reload_failed", "error=\"%s\"", e.text);
		return;
	}
	apply_log_level(conf);
	free_conf(d->spec, conf);
	if (d->spec->reload)
		d->spec->reload(d, d->state);
	log_info(&d->log, "daemon.reloaded", "log_level=%s", log_level_to_string(log_get_level()));
}

void
daemon_busy(struct daemon *d, int change)
{
	int now = atomic_fetch_add(&d->busy, change) + change;

	assert(now >= 0);
	if (now == 0 && atomic_load(&d->is_draining))
		loop_post(d->loop, stop_when_idle, d);
}

static void
on_watchdog(void *arg)
{
	struct daemon *d = arg;

	notify_send("WATCHDOG=1");
	loop_timer_set(d->watchdog_timer, d->watchdog_ms);
}

/* Start and end -------------------------------------------------------------------------------- */

static int
make_directories(struct daemon *d, struct err *e)
{
	int r = fs_mkdir_p(common_conf(d)->state_dir, 0700, e);

	return r < 0 ? r : fs_mkdir_p(common_conf(d)->runtime_dir, 0755, e);
}

/* Two daemons on one state directory would each believe its cache. */
static int
lock_state(struct daemon *d, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/lock", common_conf(d)->state_dir);

	d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (d->lock_fd < 0)
		return err_set_errno(e, errno, "cannot open '%s'", path);
	if (flock(d->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return err_set(e, ERR_EXISTS, "another mallee-%s runs on '%s'", d->spec->name,
		    common_conf(d)->state_dir);
	return err_set_errno(e, errno, "cannot lock '%s'", path);
}

static int
watch_signals(struct daemon *d, struct err *e)
{
	int r;

	(void)signal(SIGPIPE, SIG_IGN); /* a closed peer is an error of the write */
	r = loop_signal(d->loop, SIGTERM, on_terminate, d, e);
	if (r == 0)
		r = loop_signal(d->loop, SIGINT, on_terminate, d, e);
	if (r == 0)
		r = loop_signal(d->loop, SIGHUP, on_reload, d, e);
	return r;
}

/* Ten thousand clients are ten thousand descriptors, and nothing here uses select(). */
static void
raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int
make_loop(struct daemon *d, struct err *e)
{
	int r = loop_new(&d->loop, e);

	if (r < 0)
		return r;
	r = watch_signals(d, e); /* before there is any thread */
	if (r < 0)
		return r;
	raise_descriptor_limit();
	d->drain_timer = loop_timer_new(d->loop, on_drain_timeout, d);
	d->watchdog_timer = loop_timer_new(d->loop, on_watchdog, d);
	d->watchdog_ms = notify_watchdog_ms();
	return workers_new(common_conf(d)->workers, JOBS_MAX, &d->workers, e);
}

static int
start(struct daemon *d, struct err *e)
{
	int r = sockets_inherit(&d->inherited, e);

	if (r == 0)
		r = make_directories(d, e);
	if (r == 0)
		r = lock_state(d, e);
	if (r == 0)
		r = make_loop(d, e);
	if (r == 0)
		r = d->spec->start(d, &d->state, e);
	return r;
}

static void
serve(struct daemon *d)
{
	VEC_FOREACH (&d->inherited.sockets, s) {
		if (s->fd >= 0)
			log_warn(&d->log, "daemon.socket_unused", "name=%s", s->name);
	}
	if (d->watchdog_ms > 0)
		on_watchdog(d);
	notify_send("READY=1");
	log_info(&d->log, "daemon.started", "version=%s pid=%d", MALLEE_VERSION, (int)getpid());
	loop_run(d->loop);
	if (d->drain_expired)
		_exit(EXIT_SUCCESS);
	if (d->spec->stop)
		d->spec->stop(d, d->state);
	log_info(&d->log, "daemon.stopped", "pid=%d", (int)getpid());
}

static void
release(struct daemon *d)
{
	workers_free(d->workers);
	loop_timer_free(d->drain_timer);
	loop_timer_free(d->watchdog_timer);
	loop_free(d->loop);
	sockets_inherit_done(&d->inherited);
	fd_close(d->lock_fd);
	free_conf(d->spec, d->conf);
	free(d->conf_path);
	metrics_reset();
	health_reset();
}

static int
run_daemon(struct daemon *d)
{
	struct err e = { 0 };

	apply_log_level(d->conf);
	if (start(d, &e) < 0)
		return fail(d->spec, &e);
	serve(d);
	return EXIT_SUCCESS;
}

int
daemon_main(const struct daemon_spec *spec, int argc, char **argv)
{
	struct daemon d = { .spec = spec, .log.daemon = spec->name, .lock_fd = -1 };
	struct err e = { 0 };
	struct options o;
	int status;

	if (!parse_options(spec, argc, argv, &o))
		return EXIT_USAGE;
	if (o.help) {
		print_help(spec);
		return EXIT_SUCCESS;
	}
	if (o.version) {
		printf("mallee-%s %s\n", spec->name, MALLEE_VERSION);
		return EXIT_SUCCESS;
	}
	d.conf_path = choose_conf(spec, o.conf_path);
	if (load_conf(&d, &d.conf, &e) < 0)
		status = fail(spec, &e);
	else if (o.check)
		status = EXIT_SUCCESS;
	else if (o.command_at < argc)
		status = run_command(&d, argc - o.command_at, argv + o.command_at);
	else
		status = run_daemon(&d);
	release(&d);
	return status;
}

/* For the daemon's modules --------------------------------------------------------------------- */

struct loop *
daemon_loop(struct daemon *d)
{
	return d->loop;
}

struct workers *
daemon_workers(struct daemon *d)
{
	return d->workers;
}

const void *
daemon_configuration(struct daemon *d)
{
	return d->conf;
}

const struct log *
daemon_log(struct daemon *d)
{
	return &d->log;
}

int
daemon_sockets(struct daemon *d, const char *name, const char *addresses, int **ret_fds,
    size_t *ret_count, struct err *e)
{
	VEC(int) fds = { 0 };
	struct str rest = str_of(addresses), address;
	int r = 0;

	VEC_FOREACH (&d->inherited.sockets, s) {
		if (s->fd >= 0 && strcmp(s->name, name) == 0)
			vec_add(&fds, TAKE_FD(s->fd));
	}
	while (r == 0 && str_split(&rest, ' ', &address)) {
		int fd;

		if (address.n == 0)
			continue;
		r = socket_listen(address, &fd, e);
		if (r == 0)
			vec_add(&fds, fd);
	}
	if (r < 0) {
		VEC_FOREACH (&fds, fd)
			fd_close(*fd);
		vec_done(&fds);
		return r;
	}
	*ret_fds = fds.items;
	*ret_count = fds.count;
	return 0;
}
