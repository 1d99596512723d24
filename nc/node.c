/* What the node is: how much it holds (the machine's, or as configured) and whether it can start
 * guests now. A node whose libvirt or helper is stuck stays there and serves its guests' networks;
 * it says so. */
#include <dirent.h>
#include <net/if.h>
#include <stdio.h>
#include <unistd.h>
#include "base/clock.h"
#include "nc.h"
#include "run/fs.h"
#include "run/health.h"

#define VCPUS_PER_CORE 4
#define MEMORY_RESERVE_MIB 512 /* the host's own */

static int
read_boot_id(char out[40], struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int r = fs_read("/proc/sys/kernel/random/boot_id", 64, &text, e);

	if (r == 0)
		snprintf(out, 40, "%.36s", strbuf_c(&text));
	return r;
}

static bool
read_address(const char *interface, char out[18])
{
	_cleanup_free_ char *path = xasprintf("/sys/class/net/%s/address", interface);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	if (strchr(interface, '/') || fs_read(path, 64, &text, NULL) < 0 || text.n < 17)
		return false;
	snprintf(out, 18, "%.17s", strbuf_c(&text));
	return true;
}

/* The address that a magic packet names: of the interface configured, else of the first one that
 * is hardware. */
static void
read_mac(const char *interface, char out[18])
{
	DIR *all = interface[0] ? NULL : opendir("/sys/class/net");
	char first[IF_NAMESIZE] = "";
	const struct dirent *entry;

	if (interface[0])
		(void)read_address(interface, out);
	while (all && (entry = readdir(all))) {
		_cleanup_free_ char *device = xasprintf("/sys/class/net/%s/device", entry->d_name);

		if (entry->d_name[0] == '.' || strlen(entry->d_name) >= sizeof(first) ||
		    access(device, F_OK) < 0 || (first[0] && strcmp(entry->d_name, first) > 0))
			continue;
		strcpy(first, entry->d_name);
	}
	if (all)
		closedir(all);
	if (first[0])
		(void)read_address(first, out);
}

int
nc_node_init(struct nc *nc, struct err *e)
{
	const struct nc_conf *conf = nc->conf;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) >> 20;
	uint64_t free_bytes, all_bytes;
	int r;

	r = fs_free_bytes(conf->daemon.state_dir, &free_bytes, &all_bytes, e);
	if (r == 0)
		r = read_boot_id(nc->host_boot, e);
	if (r < 0)
		return r;
	r = nc_cpus_init(nc, e);
	if (r < 0)
		return r;
	nc->capacity.vcpus = conf->vcpus ? conf->vcpus : (uint32_t)(cores * VCPUS_PER_CORE);
	nc->capacity.memory_mib = conf->memory ? (uint32_t)(conf->memory >> 20)
				  : memory > 2 * MEMORY_RESERVE_MIB
				      ? (uint32_t)(memory - MEMORY_RESERVE_MIB)
				      : (uint32_t)(memory / 2);
	nc->capacity.disk_gib = (uint32_t)((conf->disk ? conf->disk : all_bytes) >> 30);
	read_mac(conf->wake_interface, nc->mac);
	nc->health.degraded = true;
	strcpy(nc->health.reason, "the node's helper is not there yet");
	health_set("helper", false, "%s", nc->health.reason);
	return 0;
}

int
nc_node_report(struct nc *nc, struct arena *arena, struct node_report *ret, struct err *e)
{
	struct node_capacity now;
	int r = instance_used(nc->store, &now, e);

	if (r < 0)
		return r;
	LOCK_SCOPE(&nc->lock);
	*ret = (struct node_report){ .node_id = nc->node_id,
		.state = nc->health.degraded ? "degraded" : "up",
		.reason = nc->health.degraded  ? arena_strdup(arena, nc->health.reason)
			  : nc->health.note[0] ? arena_strdup(arena, nc->health.note)
					       : NULL,
		.hypervisor =
		    nc->health.hypervisor[0] ? arena_strdup(arena, nc->health.hypervisor) : NULL,
		.vcpus = nc->capacity.vcpus,
		.has_vcpus = true,
		.memory_mib = nc->capacity.memory_mib,
		.has_memory_mib = true,
		.disk_gib = nc->capacity.disk_gib,
		.has_disk_gib = true,
		.vcpus_used = now.vcpus,
		.has_vcpus_used = true,
		.memory_mib_used = now.memory_mib,
		.has_memory_mib_used = true,
		.disk_gib_used = now.disk_gib,
		.has_disk_gib_used = true,
		.last_seen = clock_now_us(),
		.has_last_seen = true,
		.mac = nc->mac[0] ? arena_strdup(arena, nc->mac) : NULL };
	return 0;
}

struct health_news {
	struct nc *nc;
	char what[32];
};

static void
tell(void *arg)
{
	_cleanup_free_ struct health_news *n = arg;
	struct err e = { 0 };

	if (node_changed(n->nc->store, n->nc->node_id, n->what, &e) < 0)
		log_warn(n->nc->log, "node.tell", "error=\"%s\"", e.text);
}

void
nc_node_health(struct nc *nc, const struct helper_health *health)
{
	struct health_news *n;

	{
		LOCK_SCOPE(&nc->lock);
		if (memcmp(&nc->health, health, sizeof(*health)) == 0)
			return;
		nc->health = *health;
	}
	health_set("helper", !health->degraded, "%s", health->reason);
	if (health->degraded)
		log_warn(nc->log, "node.degraded", "reason=\"%s\"", health->reason);
	else
		log_info(nc->log, "node.up", "hypervisor=%s", health->hypervisor);
	n = xcalloc(1, sizeof(*n));
	n->nc = nc;
	strcpy(n->what, health->degraded ? "degraded" : "up");
	if (nc_run(nc, tell, n, NULL) < 0)
		free(n); /* the queue is full: readers learn it with the next news */
	nc_instances_news(nc);
}

static void
ask_health(void *arg)
{
	_cleanup_helper_reply_ struct helper_reply reply = { 0 };
	struct nc *nc = arg;

	if (helper_call(nc->helper, HELPER_HELLO, NULL, 0, 5000, &reply, NULL) == 0)
		nc_node_health(nc, reply.payload);
}

/* On the loop. */
void
nc_node_helper_link(void *arg, bool up, const char *why)
{
	struct nc *nc = arg;
	struct helper_health health = { .degraded = 1 };

	if (up) {
		(void)workers_run(
		    nc->workers, ask_health, nc, NULL); /* full: its next event tells */
		return;
	}
	{
		LOCK_SCOPE(&nc->lock);
		nc->has_swept = false; /* it may have left something half done */
		memcpy(health.hypervisor, nc->health.hypervisor, sizeof(health.hypervisor));
	}
	snprintf(
	    health.reason, sizeof(health.reason), "the node's helper is not there: %.200s", why);
	nc_node_health(nc, &health);
}
