#pragma once
/* The root helper: its loop thread owns connections, network and jobs; whatever may hang (libvirt)
 * runs as a task on a worker, under a deadline. Everything here is for the loop thread unless said
 * otherwise. */
#include "base/list.h"
#include "base/map.h"
#include "helper/dataplane.h"
#include "helper/domain_xml.h"
#include "helper/hypervisor.h"
#include "run/daemon.h"

struct helper_conf {
	struct daemon_conf daemon;
	char *client_user, *client_group;
	char *instances_dir, *cache_dir;
	char *libvirt_uri, *hypervisor, *emulator, *guest_user, *guest_group;
	uint32_t libvirt_deadline_ms;
	char *netns_dir, *public_interface, *vtep;
	uint32_t mtu;
	char *sleep_command;
};
extern const struct conf_key helper_conf_keys[];

#define HELPER_CONNECTIONS_MAX 4
#define HELPER_JOBS_MAX 512

struct ticket;
struct helper {
	const struct helper_conf *conf;
	struct loop *loop;
	const struct log *log;
	struct workers *workers; /* for tasks */
	struct hypervisor *hypervisor;
	struct hypervisor_events events;
	struct dataplane *dataplane;
	char *console_dir, *screen_dir, *probe_dir, *seclabel;
	uid_t client_uid;
	struct loop_watch **listeners;
	int *listener_fds;
	size_t listener_count;
	/* Answers a request, now or later; its payload is whole, and not checked yet. */
	void (*serve)(struct helper *h, const struct ticket *t, struct str payload);
	struct list connections;
	unsigned connection_count;
	uint64_t last_connection;
	struct list jobs, probes;
	unsigned job_count, probe_count;
	struct helper_health health;
	struct loop_timer *beat;
	bool is_beating, is_warm;
	_Atomic int64_t default_shares; /* libvirt's (hypervisor.h); -1: not known yet */
	unsigned stuck; /* tasks past their deadline whose call has not come back */
};

int helper_new(struct daemon *d, struct helper **ret, struct err *e);
void helper_free(struct helper *h);
DEFINE_CLEANUP(struct helper *, helper_free)
/* The parts of helper_new() that need no root: what tests begin with. They set `hypervisor`
 * themselves, made with helper_events(), and bring connections by helper_connect(). */
int helper_init(struct helper *h, struct loop *loop, const struct helper_conf *conf,
    const struct log *log, struct err *e);
const struct hypervisor_events *helper_events(struct helper *h);

/* -- connections (connections.c); to answer one that is gone is no error -- */
void helper_connect(struct helper *h, int fd); /* takes it */
void helper_disconnect(struct helper *h);      /* all */
struct ticket { /* which request an answer is for */
	uint64_t connection;
	uint32_t serial;
	uint16_t verb;
};
void helper_reply(struct helper *h, const struct ticket *t, const void *payload, size_t n,
    const int *fds, size_t fd_count);
void helper_reply_error(struct helper *h, const struct ticket *t, const struct err *e);
void helper_event(struct helper *h, enum helper_verb verb, const void *payload, size_t n);
/* Texts may come from libvirt: only what helper_payload_check lets pass. */
void helper_copy_printable(char *out, size_t size, const char *in);

/* -- tasks (task.c) -- */
struct task {
	/* On a worker; writes only what `done` reads. */
	int (*work)(void *arg, struct err *e);
	/* On the loop, once. ERR_TIMEOUT: the call has not come back, `work` may still run. */
	void (*done)(void *arg, int r, const struct err *e);
	void (*release)(void *arg); /* on the loop, when neither will run any more */
	void *arg;
};
void helper_task(struct helper *h, const struct task *task);

/* -- the hypervisor (health.c) -- */
void helper_set_health(struct helper *h, bool degraded, const char *hypervisor, const char *reason);
/* libvirt's share for 1024 of ours, 0: it bounds nobody. On a worker. */
uint32_t helper_bounds(struct helper *h);

/* -- verbs -- */
void guest_verb(struct helper *h, const struct ticket *t, struct str payload); /* guest_jobs.c */
void guest_jobs_lifecycle(struct helper *h, const struct helper_guest *guest);
void guest_jobs_rebooted(struct helper *h, const char *instance_id);
void guest_jobs_free(struct helper *h);
void net_verb(struct helper *h, const struct ticket *t, struct str payload); /* net_verbs.c */
void neighbour_verb(struct helper *h, const struct ticket *t, struct str payload); /* neighbour.c */
void neighbour_probes_free(struct helper *h);
void helper_nic_to_dataplane(const struct helper_nic *in, struct dataplane_nic *out);
void power_verb(struct helper *h, const struct ticket *t); /* power.c */
void console_verb(struct helper *h, const struct ticket *t, struct str payload); /* console.c */
int console_prepare(struct helper *h, const char *instance_id, struct err *e);
void console_remove(struct helper *h, const char *instance_id);
void screen_remove(struct helper *h, const char *instance_id); /* QEMU leaves its socket */
void console_trim_all(struct helper *h); /* gives back the space of what nobody will read */

/* Checks the guest's files below the configured directories: regular, no symbolic links. Any
 * thread. *ret_direct_io tells whether they can be opened past the page cache. */
int guest_files_check(const struct helper_conf *conf, const struct helper_guest_spec *spec,
    bool *ret_direct_io, struct err *e); /* files.c */
