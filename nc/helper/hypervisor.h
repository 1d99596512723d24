#pragma once
/* What runs guests. One real implementation (libvirt: QEMU with KVM or TCG, and libvirt's own test
 * driver); the table lets tests put another in its place that fails, hangs or lies on command.
 *
 * All calls block and may hang: they run on worker threads, never on the helper's loop. Any thread.
 */
#include "base/err.h"
#include "nc/helper_protocol.h"

struct hypervisor;
struct hypervisor_events {
	/* On the hypervisor's own event thread: post it to where it belongs. */
	void (*lifecycle)(void *arg, const struct helper_guest *guest);
	void (*rebooted)(void *arg, const char *instance_id);
	void (*connected)(void *arg, bool up, const char *reason);
	void *arg;
};

struct hypervisor_ops {
	/* Connects when that is needed; ERR_UNAVAILABLE says why not. Every other call does so too.
	 */
	int (*connect)(struct hypervisor *h, struct err *e);
	/* What is slow the first time (QEMU is asked for what it can do) is done now. */
	int (*warm)(struct hypervisor *h, const char *type, const char *emulator, struct err *e);
	/* How libvirt counts processor time here: the share of a guest for which nothing is said (1024
	 * of cgroup v1, 100 of v2). 0: it cannot bound guests. Starts one that never runs. */
	int (*default_shares)(struct hypervisor *h, const char *type, const char *emulator,
	    uint32_t *ret, struct err *e);
	/* At most `max` guests that are ours (their name is an instance id). */
	int (*list)(struct hypervisor *h, struct helper_guest *guests, size_t max,
	    size_t *ret_count, struct err *e);
	/* GUEST_ABSENT when unknown. */
	int (*look)(
	    struct hypervisor *h, const char *instance_id, struct helper_guest *ret, struct err *e);
	/* Defines (replacing an inactive definition) and starts paused: no instruction was run. */
	int (*create_paused)(
	    struct hypervisor *h, const char *instance_id, const char *xml, struct err *e);
	int (*resume)(struct hypervisor *h, const char *instance_id, struct err *e);
	int (*press_power)(struct hypervisor *h, const char *instance_id, struct err *e);
	int (*destroy)(
	    struct hypervisor *h, const char *instance_id, struct err *e); /* absent: fine */
	int (*reboot)(
	    struct hypervisor *h, const char *instance_id, struct err *e); /* asks the guest */
	int (*reset)(struct hypervisor *h, const char *instance_id, struct err *e);
	/* Moves a running guest's threads to these processors. */
	int (*set_cpus)(struct hypervisor *h, const char *instance_id,
	    const struct helper_cpus *cpus, struct err *e);
	/* A file in memory with what the guest's screen shows, PNG or PPM; the caller's to close. */
	int (*screenshot)(struct hypervisor *h, const char *instance_id, bool wakes, int *ret_fd,
	    struct err *e);
	int (*undefine)(
	    struct hypervisor *h, const char *instance_id, struct err *e); /* absent: fine */
	void (*free)(struct hypervisor *h);
};
struct hypervisor {
	const struct hypervisor_ops *ops;
};

/* Starts libvirt's event thread (one per process). */
int hyp_libvirt_new(const char *uri, const struct hypervisor_events *events,
    struct hypervisor **ret, struct err *e);
static inline void
hypervisor_free(struct hypervisor *h)
{
	if (h)
		h->ops->free(h);
}
DEFINE_CLEANUP(struct hypervisor *, hypervisor_free)
