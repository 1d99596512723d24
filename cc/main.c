/* mallee-cc, the cluster controller of one availability zone. */
#include "net/status_server.h"
#include "rpc/member.h"

#include "cc.h"
#include "link.h"
#include "news.h"

static const struct conf_key keys[] = {
	DAEMON_CONF_KEYS(struct cc_conf, "cc", "8774", "9774"),
	{ "advertise", CONF_STRING, offsetof(struct cc_conf, advertise), "",
	    "URL at which the clc reaches this daemon; empty: made of 'listen'", NULL, 0, 0 },
	{ "silent_after", CONF_DURATION, offsetof(struct cc_conf, silent_after_ms), "15s",
	    "a node that does not answer for so long is silent and its instances are unreachable",
	    NULL, 0, 0 },
	{ "power_idle_after", CONF_DURATION, offsetof(struct cc_conf, power_idle_after_ms), "10m",
	    "with the policy power-save: a node that nothing ran on for so long is put to sleep",
	    NULL, 0, 0 },
	{ "wake_timeout", CONF_DURATION, offsetof(struct cc_conf, wake_timeout_ms), "5m",
	    "how long a node may take to wake before what waits for it goes to another one", NULL,
	    1000, 0 },
	{ "wake_command", CONF_STRING, offsetof(struct cc_conf, wake_command), "",
	    "wakes a node: a program and arguments, separated by spaces, run without a shell; "
	    "{node}, {mac} and {address} stand for the node's; empty: a magic packet",
	    NULL, 0, 0 },
	{ "wake_broadcast", CONF_STRING, offsetof(struct cc_conf, wake_broadcast),
	    "255.255.255.255",
	    "IPv4 address that magic packets are sent to, ADDRESS[:PORT]; the port is 9 else", NULL,
	    0, 0 },
	CONF_END,
};

struct state {
	struct cc cc;
	struct rpc_server *server;
	struct status_server *status;
	struct reconciler *renewal, *trim;
};

#define OUTBOX_KEEP 100000
#define TRIM_INTERVAL_MS (600 * 1000)

static int
trim_outbox(struct store_tx *tx, void *arg, struct err *e)
{
	return outbox_trim(tx, OUTBOX_KEEP, e);
}

static int
trim(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	struct cc *cc = arg;

	return store_write(cc->store, trim_outbox, NULL, e);
}

static void
stop(struct daemon *d, void *arg)
{
	struct state *s = arg;

	rpc_cancel(s->cc.rpc); /* nobody may wait for a loop that stands still */
	status_server_free(s->status);
	rpc_server_free(s->server);
	reconciler_free(s->renewal);
	reconciler_free(s->trim);
	cc_nodes_free(s->cc.nodes);
	changes_free(s->cc.changes);
	rpc_free(s->cc.rpc);
	store_close(s->cc.store);
	free(s);
}

static int
start(struct daemon *d, void **ret_state, struct err *e)
{
	const struct cc_conf *conf = daemon_configuration(d);
	_cleanup_free_ char *url = xasprintf("sqlite:%s/cc.db", conf->daemon.state_dir);
	struct state *s = xcalloc(1, sizeof(*s));
	struct cc *cc = &s->cc;
	_cleanup_free_ int *fds = NULL;
	size_t count;
	int r;

	cc->daemon = d;
	cc->conf = conf;
	cc->log = daemon_log(d);
	r = store_open(url, &cc_schema, cc->log, &cc->store, e);
	if (r == 0)
		r = rpc_new(d, conf->daemon.state_dir, &cc->rpc, e);
	if (r < 0)
		goto fail;
	cc->changes = changes_new(cc->store, daemon_loop(d));
	r = cc_nodes_new(cc, &cc->nodes, e);
	if (r == 0)
		r = daemon_sockets(d, "cc", conf->daemon.listen, &fds, &count, e);
	if (r == 0)
		r = rpc_serve(cc->rpc, cc_service_served(), cc, fds, count, &s->server, e);
	if (r == 0)
		r = status_server_new(d, NULL, 0, cc, &s->status, e);
	if (r < 0)
		goto fail;
	s->renewal = member_renewal_new(d, cc->rpc, "cc", conf->daemon.state_dir, NULL, NULL);
	s->trim = reconciler_new(
	    daemon_loop(d), daemon_workers(d), "cc", "trim", TRIM_INTERVAL_MS, trim, cc);
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

	if (rpc_reload(s->cc.rpc, &e) < 0)
		log_warn(s->cc.log, "reload.failed", "reason=\"%s\"", e.text);
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
	const struct cc_conf *conf = configuration;

	return member_join("cc", &conf->daemon, conf->advertise, argc, argv);
}

int
main(int argc, char **argv)
{
	static const struct daemon_command commands[] = { MEMBER_JOIN_COMMAND(join), { 0 } };
	static const struct daemon_spec spec = {
		.name = "cc",
		.description = "cluster controller: the nodes of one availability zone",
		.keys = keys,
		.conf_size = sizeof(struct cc_conf),
		.commands = commands,
		.start = start,
		.reload = reload,
		.drain = drain,
		.stop = stop,
	};

	return daemon_main(&spec, argc, argv);
}
