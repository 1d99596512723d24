#pragma once
/* One process's life: arguments, configuration, signals, sockets, readiness, drain. A daemon's
 * main() is a struct daemon_spec and daemon_main(). */
#include <stdbool.h>
#include "run/conf.h"
#include "run/log.h"
#include "run/loop.h"
#include "run/workers.h"

struct daemon;

/* Keys that every daemon has; embed as the first member of the daemon's own configuration. */
struct daemon_conf {
	char *state_dir;      /* /var/lib/mallee/<daemon> */
	char *runtime_dir;    /* /run/mallee/<daemon>: admin.sock lives here */
	char *log_level;
	char *listen;         /* list of ADDRESS:PORT, [v6]:PORT, unix:/path; beside activated sockets */
	char *status_listen;  /* /healthz, /readyz, /metrics: 127.0.0.1:977x */
	uint32_t workers;
	uint32_t drain_ms;
};
/* Expands to conf_key rows; `type` has `struct daemon_conf daemon` as a member. */
#define DAEMON_CONF_KEYS(type, name, port, status_port)                                            \
	DAEMON_CONF_KEYS_WORKERS(type, name, port, status_port, "16")
#define DAEMON_CONF_KEYS_WORKERS(type, name, port, status_port, worker_count)                      \
	{ "state_dir", CONF_PATH, offsetof(type, daemon.state_dir), "/var/lib/mallee/" name,       \
	    "directory of what must survive", NULL, 0, 0 },                                        \
	    { "runtime_dir", CONF_PATH, offsetof(type, daemon.runtime_dir), "/run/mallee/" name,   \
		"directory of sockets", NULL, 0, 0 },                                              \
	    { "log_level", CONF_ENUM, offsetof(type, daemon.log_level), "info",                    \
		"what is logged; SIGHUP reads it again", "error|warn|info|debug", 0, 0 },          \
	    { "listen", CONF_LIST, offsetof(type, daemon.listen), "[::]:" port,                    \
		"addresses served: ADDRESS:PORT, [ADDRESS]:PORT, unix:PATH", NULL, 0, 0 },         \
	    { "status_listen", CONF_LIST, offsetof(type, daemon.status_listen),                    \
		"127.0.0.1:" status_port, "addresses of /healthz, /readyz and /metrics", NULL, 0,  \
		0 },                                                                               \
	    { "workers", CONF_U32, offsetof(type, daemon.workers), worker_count,                   \
		"threads for blocking work", NULL, 1, 256 },                                       \
	    { "drain_timeout", CONF_DURATION, offsetof(type, daemon.drain_ms), "10s",              \
		"how long requests under way may take after SIGTERM", NULL, 0, 0 }

struct daemon_command { /* `mallee-nc join URL TOKEN` */
	const char *name;
	const char *usage; /* "join URL TOKEN" */
	const char *help;
	/* arguments after the name; returns the exit status, having said on stderr what went wrong */
	int (*run)(const void *conf, int argc, char **argv);
};

struct daemon_spec {
	const char *name;        /* "nc" */
	const char *description; /* for --help */
	const struct conf_key *keys;
	size_t conf_size;
	const struct daemon_command *commands; /* ends with { 0 }; may be NULL */
	/* Checks what the table can't say; used by --check-config as well. May be NULL. */
	int (*check)(const void *conf, struct err *e);
	/* Opens the store, starts listeners and reconcilers; *ret_state is handed to the others. */
	int (*start)(struct daemon *d, void **ret_state, struct err *e);
	void (*reload)(struct daemon *d, void *state); /* SIGHUP, after the log level; may be NULL */
	void (*drain)(struct daemon *d, void *state);  /* stop accepting; may be NULL */
	void (*stop)(struct daemon *d, void *state);   /* release everything */
};

/* Parses --config FILE, --check-config, --help, --version and commands; runs until SIGTERM or SIGINT.
 * Errors at start are one line on stderr and exit status 1 (usage: 2). Sends READY=1, STOPPING=1,
 * WATCHDOG=1 to systemd when asked to (NOTIFY_SOCKET, WATCHDOG_USEC). A second instance on the same
 * state_dir is refused (STATE_DIR/lock). Without --config, an absent /etc/mallee/NAME.conf means the
 * fallbacks. When the drain times out, or at a second SIGTERM, the process ends without calling stop:
 * requests under way still hold pointers, and what was acknowledged is in the store. */
int daemon_main(const struct daemon_spec *spec, int argc, char **argv);

struct loop *daemon_loop(struct daemon *d);
struct workers *daemon_workers(struct daemon *d);
const void *daemon_configuration(struct daemon *d);
const struct log *daemon_log(struct daemon *d);
/* Held while a request is under way: SIGTERM waits for the count to fall to 0 (at most drain_ms). */
void daemon_busy(struct daemon *d, int change); /* +1 or -1, any thread */
/* Sockets: those given by systemd (LISTEN_FDS) under `name` in LISTEN_FDNAMES and those of the
 * configured list. Each is listening, non-blocking, close-on-exec. Unix paths are replaced when stale.
 * ERR_EXISTS names the address in use. *ret_fds is heap. */
int daemon_sockets(struct daemon *d, const char *name, const char *addresses, int **ret_fds,
    size_t *ret_count, struct err *e);
