/* mallee-clc, the cloud controller: configuration, and what is started in which order. */
#include <stdio.h>

#include "auth/sigv4.h"
#include "net/status_server.h"
#include "rpc/member.h"
#include "run/fs.h"

#include "account.h"
#include "admin.h"
#include "answer_log.h"
#include "bundle_task.h"
#include "front.h"
#include "image.h"
#include "init.h"
#include "instance.h"
#include "peers.h"
#include "vpc.h"
#include "zone.h"

#define BODY_MAX (1024 * 1024)
#define IMAGES_INTERVAL_MS (10 * 1000)
#define BUNDLES_INTERVAL_MS 10000
#define EXPIRY_INTERVAL_MS 60000
#define OUTBOX_KEEP 100000

#define KEY(name, type, fallback, help)                                                            \
	{                                                                                          \
#name, type, offsetof(struct clc_conf, name), fallback, help, NULL, 0, 0           \
	}

static const struct conf_key keys[] = {
	DAEMON_CONF_KEYS(struct clc_conf, "clc", "8773", "9773"),
	KEY(region, CONF_STRING, "mallee-1", "name of this region"),
	KEY(ec2_url, CONF_STRING, "http://localhost:8773",
	    "what users' clients call: DescribeRegions names it"),
	KEY(s3_url, CONF_STRING, "", "the same of walrus"),
	KEY(image_url, CONF_STRING, "",
	    "where nodes read images; empty: the URL that walrus joined with"),
	KEY(public_addresses, CONF_LIST, "", "pool of public addresses: ADDRESS or FIRST-LAST"),
	KEY(default_vpc_cidr, CONF_STRING, "172.31.0.0/16", "block of each account's default VPC"),
	KEY(default_group_ingress, CONF_LIST, "",
	    "PROTOCOL:PORT:CIDR let into new default security groups; empty: members only, as at "
	    "Amazon"),
	{ "instance_limit", CONF_U32, offsetof(struct clc_conf, instance_limit), "100",
	    "instances that an account may have", NULL, 0, 1000000 },
	{ "zone_names", CONF_ENUM, offsetof(struct clc_conf, zone_names), "shared",
	    "whether all accounts know the zones by the same names, or each by its own: choose "
	    "before "
	    "there are accounts",
	    "shared|shuffled", 0, 0 },
	KEY(stop_instance_store, CONF_BOOL, "yes",
	    "whether instances may be stopped, their disk staying on its node (Amazon refuses)"),
	{ "keep_terminated", CONF_DURATION, offsetof(struct clc_conf, keep_terminated_ms), "1h",
	    "how long terminated instances are shown", NULL, 0, 0 },
	{ "audit_keep_days", CONF_U32, offsetof(struct clc_conf, audit_keep_days), "90",
	    "days for which the record of who changed what is kept", NULL, 1, 36500 },
	{ "url_life_s", CONF_U32, offsetof(struct clc_conf, url_life_s), "3600",
	    "seconds for which a node may use the URL of an image", NULL, 60, 604800 },
	KEY(answer_log, CONF_STRING, "",
	    "file to which every answer to a user is added, for diagnosis; it grows without end; "
	    "empty: none"),
	CONF_END,
};

struct state {
	struct clc clc;
	struct tls_context *tls;
	struct http_server *front;
	struct http_worker_options front_worker;
	struct status_server *status;
	struct reconciler *renewal;
	struct sigv4 *sigv4;
};

static int
check(const void *configuration, struct err *e)
{
	const struct clc_conf *conf = configuration;
	int64_t network;
	unsigned prefix;

	if (!clc_public_addresses_are_valid(conf->public_addresses, e))
		return e->code;
	if (!cidr_parse(conf->default_vpc_cidr, &network, &prefix) || prefix < 8 || prefix > 24)
		return err_set(e, ERR_INVALID, "default_vpc_cidr: '%s' is no block from /8 to /24",
		    conf->default_vpc_cidr);
	return 0;
}

static int
set_pool(struct store_tx *tx, void *arg, struct err *e)
{
	const struct clc *clc = arg;

	return clc_public_addresses_set(tx, clc->conf->public_addresses, e);
}

/* Every resource carries its region: under another name all would be hidden, and new ones made
 * beside them. */
static int
check_region(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	const struct clc *clc = arg;
	int r = store_query(tx, Q_REGION_OTHER, &rows, e, clc->conf->region);

	if (r == 0)
		r = store_next(rows, e);
	if (r > 0)
		return err_set(e, ERR_INVALID,
		    "region: this cloud was made as '%s', the configuration says '%s'",
		    store_text(rows, 0), clc->conf->region);
	return r;
}

static int
trim(struct store_tx *tx, void *arg, struct err *e)
{
	const struct clc *clc = arg;
	int64_t keep_us = clc->conf->audit_keep_days * 24LL * 3600 * 1000000;
	int r = outbox_trim(tx, OUTBOX_KEEP, e);

	return r < 0 ? r : audit_trim(tx, store_now_us(tx) - keep_us, e);
}

static int
expire(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	struct clc *clc = arg;
	int r = clc_instance_expire(clc, e);

	return r < 0 ? r : store_write(clc->store, trim, clc, e);
}

static void
renewed(void *arg)
{
	struct state *s = arg;
	struct err e = { 0 };

	if (tls_reload(s->tls, &e) < 0)
		log_warn(s->clc.log, "reload.failed", "reason=\"%s\"", e.text);
}

static int
open_tls(struct state *s, struct err *e)
{
	const char *state = s->clc.conf->daemon.state_dir;
	_cleanup_free_ char *certificate = xasprintf("%s/trust/certificate.pem", state);
	_cleanup_free_ char *key = xasprintf("%s/trust/key.pem", state);
	_cleanup_free_ char *ca = xasprintf("%s/trust/ca.pem", state);
	struct tls_files files = { certificate, key, ca };

	return tls_server_new(&files, TLS_PEER_OPTIONAL, TLS1_2_VERSION, &s->tls, e);
}

static int
open_front(struct daemon *d, struct state *s, struct err *e)
{
	struct http_server_options options = { .name = "clc",
		.handler = http_worker_handler,
		.arg = &s->front_worker,
		.tls_mode = HTTP_TLS_OPTIONAL,
		.tls = s->tls,
		.server_header = "Mallee" };
	_cleanup_free_ int *fds = NULL;
	size_t count;
	int r;

	s->front_worker = (struct http_worker_options){ .workers = daemon_workers(d),
		.fn = clc_front,
		.arg = &s->clc,
		.body_max = BODY_MAX,
		.refuse = clc_front_refuse };
	r = daemon_sockets(d, "clc", s->clc.conf->daemon.listen, &fds, &count, e);
	return r < 0 ? r : http_server_new(daemon_loop(d), &options, fds, count, &s->front, e);
}

static void stop(struct daemon *d, void *arg);

static int
start(struct daemon *d, void **ret_state, struct err *e)
{
	const struct clc_conf *conf = daemon_configuration(d);
	_cleanup_free_ char *database = xasprintf("%s/clc.db", conf->daemon.state_dir);
	_cleanup_free_ char *url = xasprintf("sqlite:%s", database);
	struct state *s = xcalloc(1, sizeof(*s));
	struct clc *clc = &s->clc;
	int r;

	*ret_state = s;
	clc->daemon = d;
	clc->conf = conf;
	clc->log = daemon_log(d);
	r = fs_exists(database) ? 0
				: err_set(e, ERR_NOT_FOUND,
				      "there is no cloud in '%s' yet: run 'mallee-admin init'",
				      conf->daemon.state_dir);
	if (r == 0)
		r = store_open(url, &clc_schema, clc->log, &clc->store, e);
	if (r == 0)
		r = store_read(clc->store, check_region, clc, e);
	if (r == 0)
		r = store_write(clc->store, set_pool, clc, e);
	if (r == 0)
		r = rpc_new(d, conf->daemon.state_dir, &clc->rpc, e);
	if (r == 0)
		r = open_tls(s, e);
	if (r < 0)
		goto fail;
	/* The store admits one process, so a restarted one is the same holder and need not wait. */
	snprintf(clc->lease_holder, sizeof(clc->lease_holder), "%s", rpc_self(clc->rpc));
	clc->changes = changes_new(clc->store, daemon_loop(d));
	clc->sigv4 = sigv4_new(clc_account_key, clc);
	clc->peers = clc_peers_new();
	r = clc_zones_new(clc, &clc->zones, e);
	if (r == 0)
		r = answer_log_open(conf->answer_log, e);
	if (r == 0)
		r = open_front(d, s, e);
	if (r == 0)
		r = status_server_new(d, clc_admin_verbs, clc_admin_verb_count, clc, &s->status, e);
	if (r < 0)
		goto fail;
	clc->expiry = reconciler_new(
	    daemon_loop(d), daemon_workers(d), "clc", "expiry", EXPIRY_INTERVAL_MS, expire, clc);
	clc->images = reconciler_new(daemon_loop(d), daemon_workers(d), "clc", "images",
	    IMAGES_INTERVAL_MS, clc_images_reconcile, clc);
	clc->bundles = reconciler_new(daemon_loop(d), daemon_workers(d), "clc", "bundles",
	    BUNDLES_INTERVAL_MS, clc_bundles_reconcile, clc);
	s->renewal = member_renewal_new(d, clc->rpc, "clc", conf->daemon.state_dir, renewed, s);
	return 0;
fail:
	stop(d, s);
	*ret_state = NULL;
	return r;
}

static void
reload(struct daemon *d, void *arg)
{
	struct state *s = arg;
	struct err e = { 0 };

	if (rpc_reload(s->clc.rpc, &e) < 0 || tls_reload(s->tls, &e) < 0 ||
	    answer_log_open(s->clc.conf->answer_log, &e) < 0)
		log_warn(s->clc.log, "reload.failed", "reason=\"%s\"", e.text);
}

static void
drain(struct daemon *d, void *arg)
{
	struct state *s = arg;

	http_server_drain(s->front);
	rpc_drain(s->clc.rpc);
}

static void
stop(struct daemon *d, void *arg)
{
	struct state *s = arg;
	struct clc *clc = &s->clc;

	rpc_cancel(clc->rpc); /* nobody may wait for a loop that stands still */
	status_server_free(s->status);
	http_server_free(s->front);
	http_worker_wait(&s->front_worker);
	reconciler_free(s->renewal);
	reconciler_free(clc->expiry);
	reconciler_free(clc->images);
	reconciler_free(clc->bundles);
	clc_zones_free(clc->zones);
	clc_peers_free(clc->peers);
	changes_free(clc->changes);
	rpc_free(clc->rpc);
	sigv4_free(clc->sigv4);
	if (s->tls)
		tls_unref(s->tls);
	store_close(clc->store);
	free(s);
}

int
main(int argc, char **argv)
{
	static const struct daemon_command commands[] = {
		{ "init", "init", "makes the cloud: CAs, first account; prints its credentials",
		    clc_init_command },
		{ 0 },
	};
	static const struct daemon_spec spec = {
		.name = "clc",
		.description =
		    "cloud controller: EC2 and STS APIs, the cloud's accounts and wanted state",
		.keys = keys,
		.conf_size = sizeof(struct clc_conf),
		.commands = commands,
		.check = check,
		.start = start,
		.reload = reload,
		.drain = drain,
		.stop = stop,
	};

	return daemon_main(&spec, argc, argv);
}
