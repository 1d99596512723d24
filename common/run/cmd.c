/* Child processes. The child gets a closed environment, its own process group, default signals and
 * no descriptor but 0, 1, 2. Its end is seen through a pidfd, so that a grandchild which keeps the
 * pipes open cannot hold us up, and the whole group is killed when time is up. */
#include "run/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/vec.h"
#include "run/fd.h"

#define OUTPUT_MAX (1 << 20)
#define STDERR_TAIL 300
#define WATCH_MS 500

static const char *const search_path[] = { "/usr/sbin", "/usr/bin", "/sbin", "/bin" };
static char *const child_environment[] = { (char[]){ "PATH=/usr/sbin:/usr/bin:/sbin:/bin" },
	(char[]){ "LC_ALL=C.UTF-8" }, (char[]){ "HOME=/" }, NULL };

struct cmd {
	VEC(char *) arguments;
	struct str input; /* borrowed until cmd_run returns */
	size_t input_sent;
	pid_t pid;
	int pid_fd;
	int in, out, err; /* our ends of the pipes */
	struct strbuf errors;
	bool (*must_end)(void *arg); /* NULL: nobody asks */
	void *must_end_arg;
};

struct cmd *
cmd_new(const char *program)
{
	struct cmd *c = xcalloc(1, sizeof(*c));

	c->pid_fd = c->in = c->out = c->err = -1;
	cmd_add(c, program);
	return c;
}

static void
close_pipes(struct cmd *c)
{
	fd_close(c->in);
	fd_close(c->out);
	fd_close(c->err);
	c->in = c->out = c->err = -1;
}

static int
reap(struct cmd *c)
{
	int status = 0;

	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	c->pid = 0;
	fd_close(c->pid_fd);
	c->pid_fd = -1;
	return status;
}

static void
kill_group(struct cmd *c)
{
	(void)kill(-c->pid, SIGKILL);
	(void)kill(c->pid, SIGKILL); /* in case it has not moved to its group yet */
	(void)reap(c);
}

void
cmd_free(struct cmd *c)
{
	if (!c)
		return;
	if (c->pid > 0)
		kill_group(c);
	close_pipes(c);
	VEC_FOREACH (&c->arguments, argument)
		free(*argument);
	vec_done(&c->arguments);
	strbuf_done(&c->errors);
	free(c);
}

void
cmd_add(struct cmd *c, const char *argument)
{
	vec_add(&c->arguments, xstrdup(argument));
}

void
cmd_addf(struct cmd *c, const char *format, ...)
{
	char *argument = NULL;
	va_list ap;

	va_start(ap, format);
	if (vasprintf(&argument, format, ap) < 0)
		abort();
	va_end(ap);
	vec_add(&c->arguments, argument);
}

void
cmd_stdin(struct cmd *c, struct str input)
{
	c->input = input;
}

static int
find_program(const char *name, char **ret_path, struct err *e)
{
	if (strchr(name, '/')) {
		*ret_path = xstrdup(name);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(search_path); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", search_path[i], name);

		if (access(path, X_OK) == 0) {
			*ret_path = TAKE(path);
			return 0;
		}
	}
	return err_set(e, ERR_NOT_FOUND, "program '%s' is not installed", name);
}

void
cmd_watch(struct cmd *c, bool (*must_end)(void *arg), void *arg)
{
	c->must_end = must_end;
	c->must_end_arg = arg;
}

struct child_ends {
	int in, out, err;
};

static void
child_ends_close(struct child_ends *ends)
{
	fd_close(ends->in);
	fd_close(ends->out);
	fd_close(ends->err);
}

static bool
pipe_pair(int *ret_read, int *ret_write)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return false;
	*ret_read = ends[0];
	*ret_write = ends[1];
	return true;
}

static int
open_pipes(struct cmd *c, bool wants_output, struct child_ends *ends, struct err *e)
{
	bool ok = true;

	if (c->input.n > 0)
		ok = pipe_pair(&ends->in, &c->in);
	else
		ok = (ends->in = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;
	if (wants_output)
		ok = ok && pipe_pair(&c->out, &ends->out);
	else
		ok = ok && (ends->out = open("/dev/null", O_WRONLY | O_CLOEXEC)) >= 0;
	ok = ok && pipe_pair(&c->err, &ends->err);
	if (!ok)
		return err_set_errno(e, errno, "cannot make pipes for '%s'", c->arguments.items[0]);
	(void)fd_set_nonblocking(c->in, true);
	(void)fd_set_nonblocking(c->out, true);
	(void)fd_set_nonblocking(c->err, true);
	return 0;
}

static int
spawn(struct cmd *c, const char *path, const struct child_ends *ends)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int r;

	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawn_file_actions_adddup2(&actions, ends->in, 0);
	(void)posix_spawn_file_actions_adddup2(&actions, ends->out, 1);
	(void)posix_spawn_file_actions_adddup2(&actions, ends->err, 2);
	(void)posix_spawn_file_actions_addclosefrom_np(&actions, 3);
	(void)posix_spawnattr_init(&attributes);
	(void)posix_spawnattr_setflags(
	    &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	(void)posix_spawnattr_setsigmask(&attributes, &none);
	(void)posix_spawnattr_setsigdefault(&attributes, &all);
	r = posix_spawn(
	    &c->pid, path, &actions, &attributes, c->arguments.items, child_environment);
	(void)posix_spawnattr_destroy(&attributes);
	(void)posix_spawn_file_actions_destroy(&actions);
	if (r != 0)
		c->pid = 0;
	return r;
}

static int
start(struct cmd *c, bool wants_output, struct err *e)
{
	_cleanup_(child_ends_close) struct child_ends ends = { -1, -1, -1 };
	_cleanup_free_ char *path = NULL;
	int r = find_program(c->arguments.items[0], &path, e);

	if (r < 0)
		return r;
	r = open_pipes(c, wants_output, &ends, e);
	if (r < 0)
		return r;
	vec_add(&c->arguments, NULL);
	r = spawn(c, path, &ends);
	if (r != 0)
		return err_set_errno(e, r, "cannot start '%s'", path);
	c->pid_fd = (int)syscall(SYS_pidfd_open, c->pid, 0);
	if (c->pid_fd < 0)
		return err_set_errno(e, errno, "cannot watch '%s'", path);
	return 0;
}

static void
feed(struct cmd *c)
{
	ssize_t n = write(c->in, c->input.p + c->input_sent, c->input.n - c->input_sent);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		c->input_sent += (size_t)n;
	if (n < 0 || c->input_sent == c->input.n) {
		fd_close(c->in);
		c->in = -1;
	}
}

/* Reads what is there; closes *fd at the end. */
static void
drain(int *fd, struct strbuf *into)
{
	char chunk[4096];

	while (*fd >= 0) {
		ssize_t n = read(*fd, chunk, sizeof(chunk));

		if (n > 0) {
			strbuf_add(into, chunk, (size_t)n);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0 || errno != EAGAIN) {
			fd_close(*fd);
			*fd = -1;
		}
		return;
	}
}

static void
drain_errors(struct cmd *c)
{
	drain(&c->err, &c->errors);
	if (c->errors.n > 16 * STDERR_TAIL)
		strbuf_remove_front(&c->errors, c->errors.n - STDERR_TAIL);
}

/* Until the child has ended and what it wrote is read. */
static int
communicate(struct cmd *c, uint64_t deadline_ms, struct strbuf *out, struct err *e)
{
	for (;;) {
		uint64_t now = clock_monotonic_ms();
		uint64_t until =
		    c->must_end && now + WATCH_MS < deadline_ms ? now + WATCH_MS : deadline_ms;
		struct pollfd fds[] = { { c->pid_fd, POLLIN, 0 }, { c->in, POLLOUT, 0 },
			{ c->out, POLLIN, 0 }, { c->err, POLLIN, 0 } };
		bool has_ended;

		if (now >= deadline_ms)
			return err_set(
			    e, ERR_TIMEOUT, "'%s' did not finish in time", c->arguments.items[0]);
		if (c->must_end && c->must_end(c->must_end_arg))
			return err_set(
			    e, ERR_CANCELLED, "'%s' is wanted no more", c->arguments.items[0]);
		if (poll(fds, ARRAY_SIZE(fds), (int)(until - now)) < 0 && errno != EINTR)
			return err_set_errno(
			    e, errno, "cannot wait for '%s'", c->arguments.items[0]);
		has_ended = fds[0].revents != 0;
		if (fds[1].revents)
			feed(c);
		drain(&c->out, out);
		drain_errors(c);
		if (out && out->overflowed)
			return err_set(e, ERR_LIMIT, "'%s' printed more than %zu bytes",
			    c->arguments.items[0], out->limit);
		if (has_ended)
			return 0;
	}
}

/* The last line or so of stderr, on one line. */
static const char *
error_text(struct cmd *c)
{
	struct strbuf *b = &c->errors;

	if (b->n > STDERR_TAIL)
		strbuf_remove_front(b, b->n - STDERR_TAIL);
	while (b->n > 0 && strchr(" \r\n\t", b->p[b->n - 1]))
		b->p[--b->n] = '\0';
	for (size_t i = 0; i < b->n; i++) {
		if ((unsigned char)b->p[i] < 0x20)
			b->p[i] = ' ';
	}
	return strbuf_c(b);
}

static int
judge(struct cmd *c, int status, struct err *e)
{
	const char *program = c->arguments.items[0], *text = error_text(c);
	const char *colon = *text ? ": " : "";

	if (WIFSIGNALED(status))
		return err_set(e, ERR_IO, "'%s' was killed by signal %d%s%s", program,
		    WTERMSIG(status), colon, text);
	if (WEXITSTATUS(status) != 0)
		return err_set(e, ERR_IO, "'%s' failed with status %d%s%s", program,
		    WEXITSTATUS(status), colon, text);
	return 0;
}

int
cmd_run(struct cmd *c, unsigned timeout_ms, struct strbuf *out, struct err *e)
{
	_cleanup_strbuf_ struct strbuf output = { .limit = OUTPUT_MAX };
	uint64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
	int r = start(c, out != NULL, e);

	if (r == 0)
		r = communicate(c, deadline_ms, &output, e);
	if (r < 0) {
		if (c->pid > 0)
			kill_group(c);
		close_pipes(c);
		return r;
	}
	close_pipes(c);
	r = judge(c, reap(c), e);
	if (r == 0 && out)
		strbuf_addstr(out, strbuf_str(&output));
	return r;
}
