#pragma once
/* What the parts of walrus share. */
#include "auth/sigv4.h"
#include "net/http_server.h"
#include "rpc/rpc.h"
#include "run/daemon.h"
#include "run/reconciler.h"
#include "store/store.h"

struct walrus_conf {
	struct daemon_conf daemon;
	char *advertise; /* URL at which clc and nodes reach this daemon */
	char *domains;   /* names of this service: BUCKET.NAME is virtual-host style */
	char *website_listen, *website_domains;
	uint32_t loops;
	uint32_t bucket_limit; /* per account */
	uint64_t image_bytes_max;
	char *object_ownership;   /* of new buckets */
	bool block_public_access; /* likewise */
	uint32_t lifecycle_day_ms;
	char *notification_endpoints; /* words NAME=URL */
	uint32_t notification_age_ms;
	uint32_t access_log_ms;
	uint32_t identity_max_age_ms;
	uint64_t disk_reserve_bytes;
	uint32_t scrub_interval_ms;
	uint64_t scrub_bytes_per_second;
	uint64_t cache_bytes;
};
struct walrus {
	struct daemon *daemon;
	const struct walrus_conf *conf;
	const struct log *log;
	struct store *store;
	struct rpc *rpc;
	struct sigv4 *sigv4;
	struct identity *identity;
	struct blobs *blobs;
	struct keyring *keyring; /* of encrypted objects */
	struct buckets *buckets;
	struct contents *contents;
	struct hot *hot;
	struct images *images;
	struct bundles *bundles;
	struct disk *disk;
	struct scrub *scrub;
	struct http_worker_options internal; /* calls of other daemons */
	struct reconciler *garbage, *orphans, *digests, *scrubbing;
	struct reconciler *lifecycle, *notifications, *access_logs;
	struct notifier *notifier;
	struct logs *logs;
	struct http_resumes written; /* requests of the commit that is being told, by the store's writer */
};
