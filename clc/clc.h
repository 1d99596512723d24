#pragma once
/* What the parts of the clc share: its configuration and its state. */
#include "base/id.h"
#include "rpc/changes.h"
#include "rpc/rpc.h"
#include "run/daemon.h"
#include "run/reconciler.h"
#include "store/outbox.h"
#include "store/store.h"

#include "schema.h"

struct clc_conf {
	struct daemon_conf daemon;
	char *region;
	char *ec2_url;               /* what users' clients call: DescribeRegions */
	char *s3_url;                /* the same of walrus: printed for users */
	char *image_url;             /* where nodes read images; empty: the URL walrus joined with */
	char *public_addresses;      /* list of FIRST-LAST or ADDRESS */
	char *default_vpc_cidr;
	char *default_group_ingress; /* list of PROTOCOL:PORT:CIDR; empty: members only, as at Amazon */
	uint32_t instance_limit;     /* per account, unless a quota row says otherwise */
	char *zone_names;            /* shared, shuffled: zone_name.h */
	bool stop_instance_store;    /* whether such instances may be stopped: Amazon refuses */
	uint32_t keep_terminated_ms; /* how long DescribeInstances shows them */
	uint32_t audit_keep_days;
	uint32_t url_life_s;         /* of presigned image URLs */
	char *answer_log;            /* file; empty: none */
};

struct clc_peers;
struct sigv4;

struct clc {
	struct daemon *daemon;
	const struct clc_conf *conf;
	const struct log *log;
	struct store *store;
	struct rpc *rpc;
	struct changes *changes;
	struct sigv4 *sigv4;
	struct clc_peers *peers; /* peers.h */
	struct clc_zones *zones;
	struct reconciler *expiry;
	struct reconciler *images; /* image.h */
	struct reconciler *bundles;
	char lease_holder[ID_MAX];
};
