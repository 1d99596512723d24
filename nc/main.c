/* mallee-nc: the node controller. Configuration, wiring, and the order in which things begin and
 * end; README.md says where the work is. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "nc.h"
#include "net/status_server.h"
#include "rpc/nc.handlers.h"
#include "rpc/member.h"
#include "rpc/trust.h"
#include "run/fs.h"
#include "schema.h"

#define RECONCILE_MS 10000
#define REACHABILITY_MS 15000
#define STEP_WORKERS 12
#define STEPS_QUEUED_MAX 20000

#define AT(member) offsetof(struct nc_conf, member)
const struct conf_key nc_conf_keys[] = {
	DAEMON_CONF_KEYS(struct nc_conf, "nc", "8775", "9775"),
	{ "database", CONF_STRING, AT(database), "", "store; empty: sqlite:<state_dir>/nc.db", NULL,
	    0, 0 },
	{ "advertise", CONF_STRING, AT(advertise), "",
	    "URL at which the zone reaches this node; empty: https://<host name>:8775", NULL, 0,
	    0 },
	{ "helper_socket", CONF_PATH, AT(helper_socket), "/run/mallee/nc-helper/helper.sock",
	    "socket of mallee-nc-helper", NULL, 0, 0 },
	{ "resolver", CONF_STRING, AT(resolver), "",
	    "name server that guests' questions go to, ADDRESS[:PORT]; empty: the host's own; none",
	    NULL, 0, 0 },
	{ "vcpus", CONF_U32, AT(vcpus), "0", "virtual processors to give away; 0: 4 per core", NULL,
	    0, 65536 },
	{ "memory", CONF_SIZE, AT(memory), "0", "memory to give away; 0: all but 512M", NULL, 0,
	    0 },
	{ "disk", CONF_SIZE, AT(disk), "0",
	    "disk to give away; 0: the size of state_dir's file system", NULL, 0, 0 },
	{ "cache_limit", CONF_SIZE, AT(cache_limit), "0",
	    "bytes that cached images may take; 0: what the disk holds", NULL, 0, 0 },
	{ "fetches", CONF_U32, AT(fetches), "3", "images fetched at once", NULL, 1, 64 },
	{ "fetch_stall", CONF_DURATION, AT(fetch_stall_ms), "30s",
	    "a source of images that sends less than 1 KiB/s for so long is given up", NULL, 1000,
	    0 },
	{ "wake_interface", CONF_STRING, AT(wake_interface), "",
	    "whose hardware address wakes this host; empty: the first that is hardware", NULL, 0,
	    0 },
	{ "mtu", CONF_U32, AT(mtu), "1500", "that guests are told of", NULL, 576, 9000 },
	{ "stop_grace", CONF_DURATION, AT(stop_grace_ms), "60s",
	    "how long a guest may take to shut down before it is stopped by force", NULL, 0,
	    600000 },
	{ "terminate_grace", CONF_DURATION, AT(terminate_grace_ms), "5s",
	    "the same for termination", NULL, 0, 600000 },
	{ "reboot_grace", CONF_DURATION, AT(reboot_grace_ms), "10s",
	    "how long a guest may take to begin a reboot before it is reset", NULL, 0, 600000 },
	CONF_END,
};

static int
join(const void *conf_values, int argc, char **argv)
{
	const struct nc_conf *conf = conf_values;

	return member_join("nc", &conf->daemon, conf->advertise, argc, argv);
}

static void
lifecycle(void *arg, const struct helper_guest *guest)
{
	struct nc *nc = arg;

	log_info(nc->log, "guest.event", "instance=%s state=\"%s\"", guest->instance_id,
	    helper_state_name(guest->state));
	nc_instances_news(nc);
}

static void
health(void *arg, const struct helper_health *h)
{
	nc_node_health(arg, h);
}

static void
helper_link(void *arg, bool up, const char *why)
{
	struct nc *nc = arg;

	nc_node_helper_link(nc, up, why);
	if (up)
		nc_networks_forget_applied(nc);
}

static void
fetched(void *arg, const char *digest)
{
	nc_instances_news(arg);
}

static int
make_passage(const char *directory, struct err *e)
{
	int r = fs_mkdir_p(directory, 0710, e);

	if (r == 0 && chmod(directory, 0710) < 0)
		r = err_set_errno(e, errno, "cannot set the mode of '%s'", directory);
	return r;
}

static int
open_state(struct nc *nc, struct err *e)
{
	const char *state_dir = nc->conf->daemon.state_dir;
	_cleanup_free_ char *url = nc->conf->database[0] ? xstrdup(nc->conf->database)
							 : xasprintf("sqlite:%s/nc.db", state_dir);
	int r;

	/* QEMU's group may pass through to its disks and images, and see nothing else of ours. */
	(void)umask(0077);
	nc->instances_dir = xasprintf("%s/instances", state_dir);
	nc->cache_dir = xasprintf("%s/cache", state_dir);
	if ((r = make_passage(nc->instances_dir, e)) < 0 ||
	    (r = make_passage(nc->cache_dir, e)) < 0 || (r = nc_node_init(nc, e)) < 0)
		return r;
	return store_open(url, &nc_schema, nc->log, &nc->store, e);
}

static int
open_cache(struct nc *nc, struct err *e)
{
	const struct image_cache_options options = { .directory = nc->cache_dir,
		.limit = nc->conf->cache_limit,
		.loop = nc->loop,
		.http = nc->http,
		.tls = &nc->image_tls,
		.fetches = nc->conf->fetches,
		.low_speed_ms = nc->conf->fetch_stall_ms,
		.log = nc->log,
		.is_used = nc_image_is_used,
		.done = fetched,
		.arg = nc };

	nc->ca_path = xasprintf("%s/trust/ca.pem", nc->conf->daemon.state_dir);
	/* Names do not matter: what comes is held against its digest. */
	nc->image_tls = (struct http_client_tls){ .ca_path = nc->ca_path, .skip_name = true };
	return image_cache_new(&options, &nc->cache, e);
}

static int
open_peers(struct nc *nc, struct err *e)
{
	const struct helper_client_options helper = { .path = nc->conf->helper_socket,
		.lifecycle = lifecycle,
		.health = health,
		.link = helper_link,
		.arg = nc };
	const struct guest_services_options services = { .state_dir = nc->conf->daemon.state_dir,
		.resolver = nc->conf->resolver[0] ? nc->conf->resolver : NULL,
		.heard = nc_heard,
		.arg = nc };
	int r;

	r = rpc_new(nc->daemon, nc->conf->daemon.state_dir, &nc->rpc, e);
	if (r < 0)
		return r;
	snprintf(nc->node_id, sizeof(nc->node_id), "%s", rpc_self(nc->rpc));
	if ((r = workers_new(STEP_WORKERS, STEPS_QUEUED_MAX, &nc->workers, e)) < 0 ||
	    (r = http_client_new(nc->loop, &nc->http, e)) < 0 || (r = open_cache(nc, e)) < 0 ||
	    (r = guest_services_new(nc->daemon, &services, &nc->services, e)) < 0)
		return r;
	return helper_client_new(nc->loop, nc->log, &helper, &nc->helper, e);
}

static int
serve(struct nc *nc, struct err *e)
{
	int *fds = NULL;
	size_t count = 0;
	int r;

	nc->changes = changes_new(nc->store, nc->loop);
	r = daemon_sockets(nc->daemon, "nc", nc->conf->daemon.listen, &fds, &count, e);
	if (r == 0)
		r = rpc_serve(nc->rpc, &nc_served, nc, fds, count, &nc->server, e);
	free(fds);
	if (r == 0)
		r = status_server_new(nc->daemon, NULL, 0, nc, &nc->status, e);
	return r;
}

/* The loop turns no more: first whatever may wait for it or for a peer is told to give up, then
 * those who waited are waited for, then what they used goes. Guests and networks stay. */
static void
stop(struct daemon *d, void *state)
{
	struct nc *nc = state;

	lock_take(&nc->lock);
	nc->is_ending = true;
	lock_release(&nc->lock);
	if (nc->rpc)
		rpc_cancel(nc->rpc);
	if (nc->helper)
		helper_client_cancel(nc->helper);
	if (nc->cache)
		image_cache_cancel(nc->cache);
	http_client_free(nc->http);
	status_server_free(nc->status);
	rpc_server_free(nc->server);
	lock_take(&nc->lock);
	while (nc->jobs > 0)
		(void)lock_wait(&nc->lock, &nc->no_jobs, -1);
	lock_release(&nc->lock);
	image_cache_free(nc->cache);
	reconciler_free(nc->instances);
	reconciler_free(nc->networks);
	reconciler_free(nc->reachability);
	reconciler_free(nc->renewal);
	workers_free(nc->workers);
	helper_client_free(nc->helper);
	changes_free(nc->changes);
	guest_services_free(nc->services);
	rpc_free(nc->rpc);
	store_close(nc->store);
	map_free(nc->live);
	map_free(nc->vpcs);
	lock_done(&nc->lock);
	pthread_cond_destroy(&nc->no_jobs);
	free(nc->instances_dir);
	free(nc->cache_dir);
	free(nc->ca_path);
	free(nc);
}

static int
start(struct daemon *d, void **ret_state, struct err *e)
{
	struct nc *nc = xcalloc(1, sizeof(*nc));
	int r;

	nc->daemon = d;
	nc->conf = daemon_configuration(d);
	nc->log = daemon_log(d);
	nc->loop = daemon_loop(d);
	lock_init(&nc->lock, LOCK_STATE);
	pthread_cond_init(&nc->no_jobs, NULL);
	nc->live = map_new(free);
	nc->vpcs = map_new(free);
	if ((r = open_state(nc, e)) < 0 || (r = open_peers(nc, e)) < 0) {
		stop(d, nc);
		return r;
	}
	nc->networks = reconciler_new(
	    nc->loop, daemon_workers(d), "nc", "networks", RECONCILE_MS, nc_networks_reconcile, nc);
	nc->instances = reconciler_new(nc->loop, daemon_workers(d), "nc", "instances", RECONCILE_MS,
	    nc_instances_reconcile, nc);
	nc->reachability = reconciler_new(nc->loop, daemon_workers(d), "nc", "reachability",
	    REACHABILITY_MS, nc_reachability_reconcile, nc);
	nc->renewal = member_renewal_new(d, nc->rpc, "nc", nc->conf->daemon.state_dir, NULL, NULL);
	r = serve(nc, e);
	if (r < 0) {
		stop(d, nc);
		return r;
	}
	*ret_state = nc;
	return 0;
}

static void
drain(struct daemon *d, void *state)
{
	struct nc *nc = state;

	rpc_server_drain(nc->server);
}

static void
reload(struct daemon *d, void *state)
{
	struct nc *nc = state;
	struct err e = { 0 };

	if (rpc_reload(nc->rpc, &e) < 0)
		log_error(nc->log, "nc.reload", "error=\"%s\"", e.text);
}

int
main(int argc, char **argv)
{
	static const struct daemon_command commands[] = {
		MEMBER_JOIN_COMMAND(join),
		{ 0 },
	};
	static const struct daemon_spec spec = {
		.name = "nc",
		.description = "Mallee node controller: runs the guests of one host",
		.keys = nc_conf_keys,
		.conf_size = sizeof(struct nc_conf),
		.commands = commands,
		.start = start,
		.reload = reload,
		.drain = drain,
		.stop = stop,
	};

	return daemon_main(&spec, argc, argv);
}
