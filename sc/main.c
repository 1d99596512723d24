/* mallee-sc, the storage controller of one availability zone. */
#include "net/status_server.h"
#include "rpc/member.h"

#include "sc.h"
#include "schema.h"
#include "storage.h"

static const struct conf_key keys[] = {
	DAEMON_CONF_KEYS(struct sc_conf, "sc", "8776", "9776"),
	{ "advertise", CONF_STRING, offsetof(struct sc_conf, advertise), "",
	    "URL at which others reach this daemon; empty: made of 'listen'", NULL, 0, 0 },
	{ "disk_low_percent", CONF_U32, offsetof(struct sc_conf, disk_low_percent), "5",
	    "free space below which this storage calls itself degraded", NULL, 0, 90 },
	CONF_END,
};

struct state {
	struct sc sc;
	struct rpc_server *server;
	struct status_server *status;
	struct reconciler *renewal;
};

static void
stop(struct daemon *d, void *arg)
{
	struct state *s = arg;

	rpc_cancel(s->sc.rpc); /* nobody may wait for a loop that stands still */
	status_server_free(s->status);
	rpc_server_free(s->server);
	reconciler_free(s->renewal);
	rpc_free(s->sc.rpc);
	store_close(s->sc.store);
	free(s);
}

static int
start(struct daemon *d, void **ret_state, struct err *e)
{
	const struct sc_conf *conf = daemon_configuration(d);
	_cleanup_free_ char *url = xasprintf("sqlite:%s/sc.db", conf->daemon.state_dir);
	struct state *s = xcalloc(1, sizeof(*s));
	struct sc *sc = &s->sc;
	_cleanup_free_ int *fds = NULL;
	size_t count;
	int r;

	sc->daemon = d;
	sc->conf = conf;
	sc->log = daemon_log(d);
	r = store_open(url, &sc_schema, sc->log, &sc->store, e);
	if (r == 0)
		r = rpc_new(d, conf->daemon.state_dir, &sc->rpc, e);
	if (r == 0)
		r = daemon_sockets(d, "sc", conf->daemon.listen, &fds, &count, e);
	if (r == 0)
		r = rpc_serve(sc->rpc, sc_service_served(), sc, fds, count, &s->server, e);
	if (r == 0)
		r = status_server_new(d, NULL, 0, sc, &s->status, e);
	if (r < 0)
		goto fail;
	s->renewal = member_renewal_new(d, sc->rpc, "sc", conf->daemon.state_dir, NULL, NULL);
	*ret_state = s;
	return 0;
fail:
	stop(d, s);
	return r;
}

static void
reload(struct daemon *d, void *arg)
{
	struct state *s = arg;
	struct err e = { 0 };

	if (rpc_reload(s->sc.rpc, &e) < 0)
		log_warn(s->sc.log, "reload.failed", "reason=\"%s\"", e.text);
}

static void
drain(struct daemon *d, void *arg)
{
	struct state *s = arg;

	rpc_server_drain(s->server);
}

static int
join(const void *configuration, int argc, char **argv)
{
	const struct sc_conf *conf = configuration;

	return member_join("sc", &conf->daemon, conf->advertise, argc, argv);
}

int
main(int argc, char **argv)
{
	static const struct daemon_command commands[] = { MEMBER_JOIN_COMMAND(join), { 0 } };
	static const struct daemon_spec spec = {
		.name = "sc",
		.description = "storage controller: the volumes of one availability zone",
		.keys = keys,
		.conf_size = sizeof(struct sc_conf),
		.commands = commands,
		.start = start,
		.reload = reload,
		.drain = drain,
		.stop = stop,
	};

	return daemon_main(&spec, argc, argv);
}
