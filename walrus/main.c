/* mallee-walrus, the object store: configuration, and what is started in which order. */
#include "net/status_server.h"
#include "rpc/member.h"
#include "store/outbox.h"

#include "admin.h"
#include "blob.h"
#include "bucket.h"
#include "bundle.h"
#include "content.h"
#include "disk.h"
#include "exchange.h"
#include "hot.h"
#include "identity.h"
#include "image.h"
#include "internal.h"
#include "keyring.h"
#include "lifecycle.h"
#include "logging.h"
#include "notification.h"
#include "orphans.h"
#include "schema.h"
#include "scrub.h"
#include "sweep.h"
#include "walrus.h"

#define INTERNAL_BODY_MAX (256 * 1024)
#define SWEEP_INTERVAL_MS (60 * 1000)
#define ORPHANS_INTERVAL_MS (24 * 3600 * 1000)
#define LIFECYCLE_INTERVAL_MS (24 * 3600 * 1000)
#define TRIM_INTERVAL_MS (30 * 1000)
#define ROOM_INTERVAL_MS (5 * 1000)
#define OUTBOX_KEEP 100000
#define CONNECTIONS_MAX 60000 /* idle ones cost little and must not keep others out */

static const struct conf_key keys[] = {
	/* A worker waits while a commit is on its way: so many writers may share one. */
	DAEMON_CONF_KEYS_WORKERS(struct walrus_conf, "walrus", "8777", "9777", "80"),
	{ "advertise", CONF_STRING, offsetof(struct walrus_conf, advertise), "",
	    "URL at which clc and nodes reach this daemon; empty: made of 'listen'", NULL, 0, 0 },
	{ "domains", CONF_LIST, offsetof(struct walrus_conf, domains), "",
	    "names of this service: a host BUCKET.NAME means that bucket", NULL, 0, 0 },
	{ "website_listen", CONF_LIST, offsetof(struct walrus_conf, website_listen), "",
	    "addresses at which websites of buckets are served, usually [::]:8778; empty: none "
	    "are",
	    NULL, 0, 0 },
	{ "website_domains", CONF_LIST, offsetof(struct walrus_conf, website_domains), "",
	    "names of the websites' service: a host BUCKET.NAME means that bucket, any other the "
	    "bucket "
	    "of that name",
	    NULL, 0, 0 },
	{ "loops", CONF_U32, offsetof(struct walrus_conf, loops), "2",
	    "threads that move bytes between network and workers", NULL, 1, 64 },
	{ "bucket_limit", CONF_U32, offsetof(struct walrus_conf, bucket_limit), "1000",
	    "buckets that an account may have", NULL, 1, 1000000 },
	{ "object_ownership", CONF_ENUM, offsetof(struct walrus_conf, object_ownership),
	    "ObjectWriter",
	    "whose the objects of a new bucket are: its owner's, with ACLs or without, or the "
	    "writer's",
	    "ObjectWriter|BucketOwnerPreferred|BucketOwnerEnforced", 0, 0 },
	{ "block_public_access", CONF_BOOL, offsetof(struct walrus_conf, block_public_access), "no",
	    "a new bucket starts with all public access blocked", NULL, 0, 0 },
	{ "image_size_max", CONF_SIZE, offsetof(struct walrus_conf, image_bytes_max), "100G",
	    "bytes that an image may have which is unpacked or copied here", NULL, 1 << 20, 0 },
	{ "lifecycle_day", CONF_DURATION, offsetof(struct walrus_conf, lifecycle_day_ms), "1d",
	    "length of a day of lifecycle rules; less than a day is for trying them out", NULL,
	    1000, 86400000 },
	{ "notification_endpoints", CONF_LIST, offsetof(struct walrus_conf, notification_endpoints),
	    "", "NAME=URL words: where notifications to a topic, queue or function NAME are sent",
	    NULL, 0, 0 },
	{ "access_log_interval", CONF_DURATION, offsetof(struct walrus_conf, access_log_ms), "5m",
	    "how often access logs are delivered to their buckets", NULL, 1000, 86400000 },
	{ "notification_age", CONF_DURATION, offsetof(struct walrus_conf, notification_age_ms),
	    "4h", "age at which a notification that can't be delivered is dropped", NULL, 1000, 0 },
	{ "identity_max_age", CONF_DURATION, offsetof(struct walrus_conf, identity_max_age_ms),
	    "1h", "how long known access keys work when the clc does not answer", NULL, 1000,
	    UINT32_MAX },
	{ "disk_reserve", CONF_SIZE, offsetof(struct walrus_conf, disk_reserve_bytes), "256M",
	    "bytes that stay free on disk: what would need them is refused; 0: none", NULL, 0, 0 },
	{ "scrub_interval", CONF_DURATION, offsetof(struct walrus_conf, scrub_interval_ms), "7d",
	    "how long after the end of a check of all bytes the next begins; 0: only when ordered",
	    NULL, 0, UINT32_MAX },
	{ "scrub_rate", CONF_SIZE, offsetof(struct walrus_conf, scrub_bytes_per_second), "20M",
	    "bytes that such a check reads in a second", NULL, 1 << 20, 0 },
	{ "cache_size", CONF_SIZE, offsetof(struct walrus_conf, cache_bytes), "64M",
	    "memory for small objects that are asked for again", NULL, 0, UINT64_C(1) << 40 },
	CONF_END,
};

struct state {
	struct walrus walrus;
	struct tls_context *tls;
	struct exchanges *exchanges, *pages;
	struct http_server *front, *website;
	struct status_server *status;
	struct reconciler *renewal, *trim, *room;
};

static int
trim_outbox(struct store_tx *tx, void *arg, struct err *e)
{
	return outbox_trim(tx, OUTBOX_KEEP, e);
}

static int
trim(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	struct walrus *w = arg;

	return store_write(w->store, trim_outbox, NULL, e);
}

static void
renewed(void *arg)
{
	struct state *s = arg;
	struct err e = { 0 };

	if (tls_reload(s->tls, &e) < 0)
		log_warn(s->walrus.log, "reload.failed", "reason=\"%s\"", e.text);
}

static int
open_tls(struct state *s, struct err *e)
{
	const char *state = s->walrus.conf->daemon.state_dir;
	_cleanup_free_ char *certificate = xasprintf("%s/trust/certificate.pem", state);
	_cleanup_free_ char *key = xasprintf("%s/trust/key.pem", state);
	_cleanup_free_ char *ca = xasprintf("%s/trust/ca.pem", state);
	struct tls_files files = { certificate, key, ca };

	return tls_server_new(&files, TLS_PEER_OPTIONAL, TLS1_2_VERSION, &s->tls, e);
}

static int
open_front(struct daemon *d, struct state *s, struct err *e)
{
	struct walrus *w = &s->walrus;
	struct http_server_options options = { .name = "walrus",
		.handler = exchange_handler,
		.arg = s->exchanges,
		.tls_mode = HTTP_TLS_OPTIONAL,
		.tls = s->tls,
		.threads = w->conf->loops,
		.connections_max = CONNECTIONS_MAX,
		.server_header = "Mallee" };
	_cleanup_free_ int *fds = NULL;
	size_t count;
	int r = daemon_sockets(d, "walrus", w->conf->daemon.listen, &fds, &count, e);

	return r < 0 ? r : http_server_new(daemon_loop(d), &options, fds, count, &s->front, e);
}

/* Pages by the same exchange; none where nothing listens. */
static int
open_website(struct daemon *d, struct state *s, struct err *e)
{
	struct walrus *w = &s->walrus;
	struct http_server_options options = { .name = "website",
		.handler = exchange_handler,
		.arg = s->pages,
		.tls_mode = HTTP_TLS_OPTIONAL,
		.tls = s->tls,
		.threads = w->conf->loops,
		.server_header = "Mallee" };
	_cleanup_free_ int *fds = NULL;
	size_t count;
	int r = daemon_sockets(d, "website", w->conf->website_listen, &fds, &count, e);

	if (r < 0 || count == 0)
		return r;
	return http_server_new(daemon_loop(d), &options, fds, count, &s->website, e);
}

static void
start_reconcilers(struct daemon *d, struct state *s)
{
	struct walrus *w = &s->walrus;
	struct loop *loop = daemon_loop(d);
	struct workers *workers = daemon_workers(d);

	w->garbage =
	    reconciler_new(loop, workers, "walrus", "garbage", SWEEP_INTERVAL_MS, sweep_garbage, w);
	w->digests =
	    reconciler_new(loop, workers, "walrus", "digests", SWEEP_INTERVAL_MS, digest_due, w);
	w->orphans = reconciler_new(
	    loop, workers, "walrus", "orphans", ORPHANS_INTERVAL_MS, orphans_sweep, w);
	w->lifecycle = reconciler_new(
	    loop, workers, "walrus", "lifecycle", LIFECYCLE_INTERVAL_MS, lifecycle_run, w);
	w->notifier = notifier_new();
	w->notifications = reconciler_new(
	    loop, workers, "walrus", "notifications", SWEEP_INTERVAL_MS, notification_run, w);
	w->access_logs = reconciler_new(
	    loop, workers, "walrus", "access_logs", w->conf->access_log_ms, logging_run, w);
	store_on_events(w->store, notification_committed, w);
	store_on_told(w->store, exchanges_told, w);
	w->scrubbing = reconciler_new(
	    loop, workers, "walrus", "scrub", SWEEP_INTERVAL_MS, scrub_step, w->scrub);
	s->room =
	    reconciler_new(loop, workers, "walrus", "disk", ROOM_INTERVAL_MS, disk_watch, w->disk);
	s->trim = reconciler_new(loop, workers, "walrus", "trim", TRIM_INTERVAL_MS, trim, w);
	s->renewal = member_renewal_new(d, w->rpc, "walrus", w->conf->daemon.state_dir, renewed, s);
}

static void
stop(struct daemon *d, void *arg)
{
	struct state *s = arg;
	struct walrus *w = &s->walrus;

	if (w->rpc)
		rpc_cancel(w->rpc);
	bundles_cancel(w->bundles);
	status_server_free(s->status);
	http_server_free(s->website);
	http_server_free(s->front);
	http_worker_wait(&w->internal);
	images_free(w->images);
	exchanges_free(s->pages);
	exchanges_free(s->exchanges);
	bundles_free(w->bundles);
	reconciler_free(s->renewal);
	reconciler_free(s->trim);
	reconciler_free(w->access_logs);
	if (w->notifier)
		notifier_close(w->notifier);
	reconciler_free(w->notifications);
	reconciler_free(w->lifecycle);
	reconciler_free(s->room);
	reconciler_free(w->scrubbing);
	reconciler_free(w->orphans);
	reconciler_free(w->digests);
	reconciler_free(w->garbage);
	logs_free(w->logs);
	identity_free(w->identity);
	sigv4_free(w->sigv4);
	rpc_free(w->rpc);
	notifier_free(w->notifier);
	buckets_free(w->buckets);
	scrub_free(w->scrub);
	contents_free(w->contents);
	blobs_free(w->blobs);
	keyring_free(w->keyring);
	disk_free(w->disk);
	if (s->tls)
		tls_unref(s->tls);
	store_close(w->store);
	hot_free(w->hot);
	free(s);
}

static int
start(struct daemon *d, void **ret_state, struct err *e)
{
	const struct walrus_conf *conf = daemon_configuration(d);
	_cleanup_free_ char *url = xasprintf("sqlite:%s/walrus.db", conf->daemon.state_dir);
	_cleanup_free_ char *blobs = xasprintf("%s/blobs", conf->daemon.state_dir);
	_cleanup_free_ char *keys_file = xasprintf("%s/encryption.keys", conf->daemon.state_dir);
	struct state *s = xcalloc(1, sizeof(*s));
	struct walrus *w = &s->walrus;
	int r;

	w->daemon = d;
	w->conf = conf;
	w->log = daemon_log(d);
	w->internal = (struct http_worker_options){ .workers = daemon_workers(d),
		.fn = internal_call,
		.arg = w,
		.body_max = INTERNAL_BODY_MAX };
	r = store_open(url, &walrus_schema, w->log, &w->store, e);
	if (r == 0) {
		w->hot = hot_new(w->store, conf->cache_bytes);
		r = blobs_open(blobs, &w->blobs, e);
	}
	if (r == 0)
		r = keyring_open(keys_file, &w->keyring, e);
	w->disk = disk_new(conf, w->log);
	if (r == 0) {
		blobs_set_admission(w->blobs, disk_admit_blob, w->disk);
		r = rpc_new(d, conf->daemon.state_dir, &w->rpc, e);
	}
	if (r == 0)
		r = open_tls(s, e);
	if (r == 0)
		r = identity_new(w, &w->identity, e);
	if (r < 0)
		goto fail;
	w->contents = contents_new();
	w->buckets = buckets_new();
	w->logs = logs_new(w);
	w->scrub = scrub_new(w);
	w->images = images_new(w);
	r = bundles_new(w, &w->bundles, e);
	if (r < 0)
		goto fail;
	w->sigv4 = sigv4_new(identity_key, w->identity);
	s->exchanges = exchanges_new(w, false);
	s->pages = exchanges_new(w, true);
	start_reconcilers(d, s);
	r = open_front(d, s, e);
	if (r == 0)
		r = open_website(d, s, e);
	if (r == 0)
		r = status_server_new(
		    d, walrus_admin_verbs, walrus_admin_verb_count, w, &s->status, e);
	if (r < 0)
		goto fail;
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

	if (rpc_reload(s->walrus.rpc, &e) < 0 || tls_reload(s->tls, &e) < 0)
		log_warn(s->walrus.log, "reload.failed", "reason=\"%s\"", e.text);
}

static void
drain(struct daemon *d, void *arg)
{
	struct state *s = arg;

	http_server_drain(s->front);
	if (s->website)
		http_server_drain(s->website);
	rpc_drain(s->walrus.rpc);
}

static int
join(const void *configuration, int argc, char **argv)
{
	const struct walrus_conf *conf = configuration;

	return member_join("walrus", &conf->daemon, conf->advertise, argc, argv);
}

int
main(int argc, char **argv)
{
	static const struct daemon_command commands[] = { MEMBER_JOIN_COMMAND(join), { 0 } };
	static const struct daemon_spec spec = {
		.name = "walrus",
		.description = "object store: buckets and objects by the S3 API",
		.keys = keys,
		.conf_size = sizeof(struct walrus_conf),
		.commands = commands,
		.start = start,
		.reload = reload,
		.drain = drain,
		.stop = stop,
	};

	return daemon_main(&spec, argc, argv);
}
