#pragma once
/* The node controller's own state, wired by main.c and shared by its nouns. */
#include "base/id.h"
#include "base/map.h"
#include "guest_services.h"
#include "helper_client.h"
#include "image_cache.h"
#include "instance_store.h"
#include "network_store.h"
#include "rpc/changes.h"
#include "rpc/rpc.h"
#include "run/daemon.h"
#include "run/lock.h"
#include "run/reconciler.h"

struct nc_conf {
	struct daemon_conf daemon;
	char *database, *advertise, *helper_socket, *resolver, *wake_interface;
	uint32_t vcpus, mtu;
	uint64_t memory, disk, cache_limit;
	uint32_t stop_grace_ms, terminate_grace_ms, reboot_grace_ms;
	uint32_t fetches, fetch_stall_ms;
};
extern const struct conf_key nc_conf_keys[];

struct nc {
	struct daemon *daemon;
	const struct nc_conf *conf;
	const struct log *log;
	struct loop *loop;
	char *instances_dir, *cache_dir;
	char mac[18];       /* that wakes this host; "" when there is none */
	char host_boot[40]; /* of this boot of the host */
	char node_id[ID_MAX + 8];
	struct node_capacity capacity;
	struct helper_cpus cpus; /* the host's */
	struct store *store;
	struct rpc *rpc;
	struct http_client *http; /* for images */
	struct http_client_tls image_tls;
	char *ca_path;
	struct rpc_server *server;
	struct status_server *status;
	struct changes *changes;
	struct helper_client *helper;
	struct image_cache *cache;
	struct guest_services *services;
	struct workers
	    *workers; /* of instances' steps: they take long, calls must not wait for them */
	struct reconciler *instances, *networks, *reachability, *renewal;

	struct lock lock;
	struct helper_health
	    health;       /* under lock; degraded with a reason while the helper is away */
	struct map *live; /* under lock: instance id -> struct nc_live */
	struct map *vpcs; /* under lock: VPC id -> struct nc_vpc_live */
	uint64_t news;    /* under lock: counts nc_instances_news */
	bool has_swept;   /* under lock: since this process and its helper know each other */
	bool is_ending;   /* under lock */
	unsigned exports; /* under lock: root disks being exported */
	uint64_t cpus_version; /* under lock: counts changes of who has processors of its own */
	unsigned jobs;    /* under lock: of nc_run, queued or running */
	pthread_cond_t no_jobs;
};
/* Runs fn(arg) on the workers of steps; ERR_CANCELLED once the daemon stops. Any thread. */
int nc_run(struct nc *nc, void (*fn)(void *arg), void *arg, struct err *e);

/* -- node.c: what this host can hold, and how it is -- */
int nc_node_init(struct nc *nc, struct err *e);
int nc_node_report(struct nc *nc, struct arena *arena, struct node_report *ret, struct err *e);
void nc_node_health(struct nc *nc, const struct helper_health *health); /* any thread */
void nc_node_helper_link(void *arg, bool up, const char *why);

/* -- instance.c: deciding what to do, when -- */
struct nc_live {      /* what this process knows of an instance beside the store; under nc->lock */
	bool is_busy; /* a step is under way */
	bool is_adopted;   /* its network services were registered by this process */
	uint64_t spec_hash; /* from this spec */
	uint64_t released; /* FAILED: the generation of which nothing is left */
	bool is_clear;     /* STOPPED: no export left anything in its directory */
	uint64_t cpus_version; /* as of which it was given its processors */
	uint64_t retry_ms; /* not before */
	/* reachability.c */
	bool has_passed;
	uint64_t heard_ms; /* when it last gave a sign; 0: not yet */
	uint64_t since_ms; /* since when it is watched, of the generation `judged` */
	uint64_t judged;
};
int nc_instances_reconcile(void *arg, uint32_t *ret_again_ms, struct err *e);

/* -- instance_news.c: what wakes that, and what there is to look at -- */
void nc_instances_poke(struct nc *nc); /* look again; any thread */
/* Something came that an instance may be waiting for: nobody waits for its retry. Any thread. */
void nc_instances_news(struct nc *nc);
bool nc_image_is_used(void *arg, const char *digest);
/* The guests there are; heap. */
int nc_guests_list(struct nc *nc, struct helper_reply *ret, struct err *e);
/* GUEST_ABSENT when it is not among them. */
struct helper_guest nc_guest_find(const struct helper_reply *guests, const char *instance_id);

/* -- instance_steps.c: doing it, on a worker -- */
#define NC_SETTLED UINT32_MAX
struct nc_step {
	struct nc *nc;
	const struct instance_record *i;
	struct arena *arena;
	bool is_adopted, is_released, is_clear; /* may be set by the step */
	uint64_t cpus_version, spec_hash; /* likewise */
	uint32_t retry_ms;            /* out; NC_SETTLED: only news can change anything */
};
/* One step of an instance. 0: done, look again at once; 1: wait for news or retry_ms; negative: an
 * error worth a retry. */
int nc_instance_step(struct nc_step *s, struct err *e);

/* -- cpus.c: which processors of the host an instance may use -- */
int nc_cpus_init(struct nc *nc, struct err *e);
/* Takes an instance's own processors if it is pinned, and the same again when it is asked anew;
 * ERR_NO_SPACE when too few are left. Others get those that are nobody's own. *ret_version is for
 * nc_live. */
int nc_cpus_place(struct nc *nc, const struct instance_spec *spec, struct helper_cpus *ret,
    uint64_t *ret_version, struct err *e);
int nc_cpus_release(struct nc *nc, const char *instance_id, struct err *e);
uint64_t nc_cpus_version(struct nc *nc);

/* -- disks.c -- */
/* How many ephemeral disks it has. */
unsigned nc_disks_ephemeral(const struct instance_spec *spec);
int nc_disks_prepare(struct nc *nc, const struct instance_record *i, struct err *e);
int nc_disks_remove(struct nc *nc, const char *instance_id, struct err *e);

/* -- network.c -- */
struct nc_vpc_live {
	uint64_t revision; /* applied by the helper, as far as this process knows */
	bool has_sockets;
};
/* A reconciler's body: brings the VPCs that the store wants into the kernel, and serves them. */
int nc_networks_reconcile(void *arg, uint32_t *ret_again_ms, struct err *e);
void nc_networks_forget_applied(struct nc *nc); /* the helper is new: apply everything again */
uint64_t nc_network_applied(struct nc *nc, const char *vpc_id); /* revision, 0: not yet */
/* ERR_INVALID for addresses that are none. */
int nc_network_check(const struct instance_spec *spec, struct err *e);
/* ERR_NOT_FOUND: the zone has not told of a VPC yet; ERR_UNAVAILABLE: it is being made. */
int nc_network_is_ready(
    struct nc *nc, const struct instance_spec *spec, struct arena *arena, struct err *e);
int nc_network_nics(struct nc *nc, const struct instance_spec *spec, struct arena *arena,
    struct helper_nic nics[HELPER_NICS_MAX], uint32_t *ret_count, struct err *e);
/* Tells DHCP, DNS and metadata of an instance's interfaces, or that they are gone. */
int nc_network_serve(struct nc *nc, const struct instance_spec *spec, const struct helper_nic *nics,
    const uint32_t *ifindex, uint32_t count, struct err *e);
void nc_network_unserve(struct nc *nc, const struct helper_nic *nics, uint32_t count);
/* What the kernel has and no record wants goes. Once, after a start. */
int nc_network_sweep(struct nc *nc, const struct instance_record *instances, size_t count,
    struct arena *arena, struct err *e);

/* -- screenshot.c -- */
#define NC_SCREENSHOT_MAX (1024 * 1024)
/* JPEG; `wakes` presses a key first. ERR_CONFLICT when the guest does not run. */
int nc_screenshot(struct nc *nc, const char *instance_id, bool wakes, struct arena *arena,
    struct str *ret, struct err *e);

/* -- reachability.c -- */
void nc_heard(void *arg, const char *instance_id); /* on the loop: a guest asked something */
int nc_reachability_reconcile(void *arg, uint32_t *ret_again_ms, struct err *e);

/* -- console.c -- */
#define NC_CONSOLE_MAX (64 * 1024)
int nc_console_read(
    struct nc *nc, const char *instance_id, struct arena *arena, struct str *ret, struct err *e);
