#pragma once
/* What mallee-nc and its root helper say to each other, over a unix stream socket: a header, then a
 * payload whose size the verb decides. Fixed C structs of ids, numbers, addresses and digests:
 * never a path, never an argument vector. Both programs come from one build and one host, so the
 * structs travel as they are; the version is checked first of all. The helper trusts nothing of it:
 * every field passes helper_payload_check() before anything else looks at it.
 *
 * A request carries a serial that its one reply repeats; replies come in any order. Events have
 * serial 0. Descriptors travel with the header. */
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/str.h"

#define HELPER_MAGIC 0x6c616d6eu
#define HELPER_VERSION 2u
#define HELPER_PAYLOAD_MAX (4u << 20)
#define HELPER_NICS_MAX 4
#define HELPER_GUESTS_MAX 1024
#define HELPER_GROUPS_MAX 256
#define HELPER_RULES_MAX 1024
#define HELPER_MEMBERS_MAX 4096
#define HELPER_REPLY_FDS_MAX 4
#define HELPER_EPHEMERAL_MAX 24 /* vdb to vdy */
#define HELPER_CPUS_MAX 1024

enum helper_verb {
	HELPER_HELLO = 1,
	HELPER_PROBE,        /* -> helper_health */
	HELPER_GUEST_START,  /* helper_guest_spec -> helper_guest_started */
	HELPER_GUEST_STOP,   /* helper_guest_stop -> nothing; answers when the guest is off */
	HELPER_GUEST_REBOOT, /* helper_guest_reboot -> nothing; answers when it has been reset */
	HELPER_GUEST_RESUME, /* helper_guest_ref -> nothing; only pauses by an I/O error */
	HELPER_GUEST_CPUS,   /* helper_guest_cpus -> nothing; moves a running guest */
	HELPER_GUEST_SCREEN, /* helper_guest_screen -> 1 descriptor: what it shows, PNG or PPM */
	HELPER_GUEST_FORGET, /* helper_guest_ref: an ended guest's definition and console log */
	HELPER_GUEST_LIST,   /* -> helper_guest_list */
	HELPER_CONSOLE,      /* helper_guest_ref -> 1 or 2 descriptors, newest log last */
	HELPER_VPC_PUT,      /* helper_vpc, then per group: helper_group, its rules, its members */
	HELPER_VPC_REMOVE,   /* helper_vpc_ref */
	HELPER_VPC_SOCKETS,  /* helper_vpc_ref -> 4 descriptors: dhcp, metadata, dns_udp, dns_tcp */
	HELPER_NIC_PLUG,     /* helper_nic -> helper_nic_plugged */
	HELPER_NIC_UNPLUG,   /* helper_nic */
	HELPER_NIC_COUNTERS, /* helper_nic -> helper_nic_counters */
	HELPER_NIC_PROBE,    /* helper_nic -> helper_nic_probed; answers within some 1 s */
	HELPER_NET_SWEEP,    /* helper_sweep, then nics, then vnis */
	HELPER_SLEEP,        /* -> nothing; runs sleep_command */
	HELPER_VERB_MAX,

	HELPER_EVENT_LIFECYCLE = 64, /* helper_lifecycle */
	HELPER_EVENT_HEALTH,         /* helper_health */
};
const char *helper_verb_name(unsigned verb);

struct helper_header {
	uint32_t magic;
	uint16_t version, verb;
	uint32_t serial;
	uint32_t length;   /* of the payload */
	uint32_t is_error; /* the payload is a helper_error */
};

struct helper_error {
	char fault[48]; /* fault_name() */
	char text[256];
};

enum helper_state {     /* of a guest */
	GUEST_ABSENT,   /* nothing is known of it */
	GUEST_DEFINED,  /* never ran, or libvirt lost the evidence (the host restarted) */
	GUEST_PREPARED, /* paused before its first instruction */
	GUEST_RUNNING,
	GUEST_PAUSED_IO_ERROR,
	GUEST_PAUSED,    /* for any other reason */
	GUEST_SHUT_DOWN, /* by itself, or by the power button */
	GUEST_DESTROYED,
	GUEST_CRASHED,
	GUEST_FAILED, /* could not be started */
	GUEST_STATE_MAX
};
const char *helper_state_name(unsigned state);

#define HELPER_INSTANCE_ID_SIZE 20 /* "i-" and 17 (or 8) digits */
#define HELPER_ARGUMENTS_SIZE 1024

struct helper_guest_ref {
	char instance_id[HELPER_INSTANCE_ID_SIZE];
};

struct helper_nic {
	uint32_t index, vni;
	struct in_addr address, gateway, public_address;
	uint32_t groups[5];
	uint8_t mac[6];
	uint8_t subnet_prefix, group_count;
};

enum helper_format { HELPER_FORMAT_NONE, HELPER_FORMAT_RAW, HELPER_FORMAT_QCOW2 };
struct helper_file { /* of the image cache */
	uint8_t digest[32];
	uint8_t format; /* helper_format; NONE: there is no such file */
};

/* Processors of the host, a bit each; none at all: any of them. */
struct helper_cpus {
	uint8_t bits[HELPER_CPUS_MAX / 8];
};
static inline bool
helper_cpus_has(const struct helper_cpus *c, uint32_t cpu)
{
	return cpu < HELPER_CPUS_MAX && (c->bits[cpu / 8] >> cpu % 8 & 1);
}
static inline void
helper_cpus_add(struct helper_cpus *c, uint32_t cpu)
{
	c->bits[cpu / 8] = (uint8_t)(c->bits[cpu / 8] | 1u << cpu % 8);
}
static inline uint32_t
helper_cpus_count(const struct helper_cpus *c)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < sizeof(c->bits); i++)
		n += (uint32_t)__builtin_popcount(c->bits[i]);
	return n;
}

struct helper_guest_spec {
	char instance_id[HELPER_INSTANCE_ID_SIZE];
	uint32_t vcpus;
	uint64_t generation;
	uint32_t memory_mib;
	uint32_t nic_count;
	struct helper_file base, kernel, ramdisk; /* base: what the overlay stands on */
	uint8_t ephemeral_count; /* ephemeral0.qcow2 and so on, as vdb and so on */
	uint8_t is_pinned;       /* the n-th vcpu on the n-th of `cpus`, which is as many */
	uint32_t cpu_shares;     /* weight against its neighbours, 1024 for an average vcpu */
	struct helper_cpus cpus;
	struct helper_nic nics[HELPER_NICS_MAX];
	char kernel_arguments[HELPER_ARGUMENTS_SIZE]; /* printable ASCII */
};
struct helper_guest_started {
	uint32_t ifindex[HELPER_NICS_MAX];
	uint32_t was_running; /* this generation had been started before: nothing was done */
};
struct helper_guest_stop {
	char instance_id[HELPER_INSTANCE_ID_SIZE];
	uint32_t force;     /* pull the plug; else press the power button first */
	uint32_t grace_ms;  /* how long the guest may take */
	uint32_t nic_count; /* unplugged once it is off */
	struct helper_nic nics[HELPER_NICS_MAX];
};
struct helper_guest_reboot {
	char instance_id[HELPER_INSTANCE_ID_SIZE];
	uint32_t grace_ms;
};
struct helper_guest_cpus {
	char instance_id[HELPER_INSTANCE_ID_SIZE];
	struct helper_cpus cpus;
};
#define HELPER_SCREEN_MAX (64u << 20) /* bytes of a picture */
struct helper_guest_screen {
	char instance_id[HELPER_INSTANCE_ID_SIZE];
	uint32_t wakes; /* presses a key first, for screens that have gone dark */
};
struct helper_guest {
	char instance_id[HELPER_INSTANCE_ID_SIZE];
	uint32_t state;
	uint64_t generation;
};
struct helper_guest_list {
	uint32_t count;
	uint32_t reserved;
	struct helper_guest guests[]; /* at most HELPER_GUESTS_MAX */
};
struct helper_lifecycle {
	struct helper_guest guest;
};
struct helper_health {
	uint32_t degraded;
	char hypervisor[16]; /* "kvm", "qemu", "test"; "" while it is not known yet */
	char reason[256];
	char note[128]; /* what the host can't do, though it is healthy */
};

struct helper_vpc_ref {
	uint32_t vni;
};
struct helper_vpc {
	uint32_t vni;
	struct in_addr network;
	uint32_t prefix;
	uint32_t group_count;
};
struct helper_group {
	uint32_t index, rule_count, member_count;
};
struct helper_rule {
	uint8_t is_ingress, prefix;
	int16_t protocol;
	int32_t from, to;
	struct in_addr network;
	uint32_t group;
};
struct helper_nic_plugged {
	uint32_t ifindex;
};
struct helper_nic_probed {
	uint32_t has_answered; /* the guest said that it has its address */
};
struct helper_nic_counters {
	uint64_t received_bytes, received_packets, sent_bytes, sent_packets;
};
struct helper_sweep { /* what may stay */
	uint32_t nic_count, vni_count;
};

/* Whether a payload is what its verb says: sizes, counts, terminators, ranges, alphabets.
 * ERR_INVALID names the field, ERR_LIMIT the limit. Replies and events are checked with is_reply.
 */
int helper_payload_check(unsigned verb, bool is_reply, struct str payload, struct err *e);
/* ERR_UNSUPPORTED for another version, ERR_INVALID for what is no header, ERR_LIMIT for too much.
 */
int helper_header_check(const struct helper_header *h, struct err *e);

/* Writes a whole frame; blocks at most timeout_ms. */
int helper_frame_send(int socket, const struct helper_header *header, struct str payload,
    const int *fds, size_t fd_count, int timeout_ms, struct err *e);
