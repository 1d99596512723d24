/* The messages between mallee-nc and its root helper: names, and the check that every payload
 * passes on the privileged side (and, against accidents, on the other as well).
 *
 * The idea: sizes first, then counts against the named limits, then each field against its alphabet
 * or range; what comes out can be used as it lies there. Payloads arrive in a malloc'ed buffer, so
 * that they are aligned. */
#include "helper_protocol.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include "base/clock.h"
#include "base/id.h"

static const char *const verb_names[] = {
	[HELPER_HELLO] = "hello",
	[HELPER_PROBE] = "probe",
	[HELPER_GUEST_START] = "guest_start",
	[HELPER_GUEST_STOP] = "guest_stop",
	[HELPER_GUEST_REBOOT] = "guest_reboot",
	[HELPER_GUEST_RESUME] = "guest_resume",
	[HELPER_GUEST_CPUS] = "guest_cpus",
	[HELPER_GUEST_SCREEN] = "guest_screen",
	[HELPER_GUEST_FORGET] = "guest_forget",
	[HELPER_GUEST_LIST] = "guest_list",
	[HELPER_CONSOLE] = "console",
	[HELPER_VPC_PUT] = "vpc_put",
	[HELPER_VPC_REMOVE] = "vpc_remove",
	[HELPER_VPC_SOCKETS] = "vpc_sockets",
	[HELPER_NIC_PLUG] = "nic_plug",
	[HELPER_NIC_UNPLUG] = "nic_unplug",
	[HELPER_NIC_COUNTERS] = "nic_counters",
	[HELPER_NIC_PROBE] = "nic_probe",
	[HELPER_NET_SWEEP] = "net_sweep",
	[HELPER_SLEEP] = "sleep",
	[HELPER_EVENT_LIFECYCLE] = "lifecycle",
	[HELPER_EVENT_HEALTH] = "health",
};

const char *
helper_verb_name(unsigned verb)
{
	return verb < ARRAY_SIZE(verb_names) && verb_names[verb] ? verb_names[verb] : "unknown";
}

static const char *const state_names[GUEST_STATE_MAX] = {
	[GUEST_ABSENT] = "absent",
	[GUEST_DEFINED] = "defined",
	[GUEST_PREPARED] = "prepared",
	[GUEST_RUNNING] = "running",
	[GUEST_PAUSED_IO_ERROR] = "paused by an I/O error",
	[GUEST_PAUSED] = "paused",
	[GUEST_SHUT_DOWN] = "shut down",
	[GUEST_DESTROYED] = "destroyed",
	[GUEST_CRASHED] = "crashed",
	[GUEST_FAILED] = "failed",
};

const char *
helper_state_name(unsigned state)
{
	return state < GUEST_STATE_MAX ? state_names[state] : "unknown";
}

int
helper_header_check(const struct helper_header *h, struct err *e)
{
	if (h->magic != HELPER_MAGIC)
		return err_set(e, ERR_INVALID, "not a message of the node helper");
	if (h->version != HELPER_VERSION)
		return err_set(e, ERR_UNSUPPORTED,
		    "the other side speaks version %u of the helper protocol, this side %u",
		    h->version, HELPER_VERSION);
	if (h->length > HELPER_PAYLOAD_MAX)
		return err_set(e, ERR_LIMIT, "message of %u bytes, at most %u are taken", h->length,
		    HELPER_PAYLOAD_MAX);
	return 0;
}

/* -- fields -- */

static int
check_id(const char id[HELPER_INSTANCE_ID_SIZE], struct err *e)
{
	if (!memchr(id, 0, HELPER_INSTANCE_ID_SIZE) || !id_is_valid(id, "i"))
		return err_set(e, ERR_INVALID, "ill-formed instance id");
	return 0;
}

/* Text that libvirt and logs may see: printable ASCII, terminated. */
static int
check_text(const char *name, const char *text, size_t size, struct err *e)
{
	const char *end = memchr(text, 0, size);

	if (!end)
		return err_set(e, ERR_INVALID, "%s is not terminated", name);
	for (const char *p = text; p < end; p++)
		if (*p < ' ' || *p > '~')
			return err_set(
			    e, ERR_INVALID, "%s holds a character that is not printable", name);
	return 0;
}

static int
check_range(const char *name, uint64_t value, uint64_t min, uint64_t max, struct err *e)
{
	if (value < min || value > max)
		return err_set(e, ERR_INVALID, "%s %llu is not within %llu and %llu", name,
		    (unsigned long long)value, (unsigned long long)min, (unsigned long long)max);
	return 0;
}

#define INDEX_MAX 99999999u /* "tap" and 8 digits fit IFNAMSIZ */
#define VNI_MAX 0xffffffu
#define VCPUS_MAX 512u
#define MEMORY_MIB_MAX (16u << 20)
#define GRACE_MS_MAX 600000u
#define CPU_SHARES_MIN 2u
#define CPU_SHARES_MAX 262144u /* of the kernel's cpu controller */

static int
check_nic(const struct helper_nic *nic, struct err *e)
{
	int r;

	r = check_range("NIC index", nic->index, 1, INDEX_MAX, e);
	if (r < 0)
		return r;
	r = check_range("VNI", nic->vni, 1, VNI_MAX, e);
	if (r < 0)
		return r;
	r = check_range("subnet prefix", nic->subnet_prefix, 8, 30, e);
	if (r < 0)
		return r;
	r = check_range("number of groups", nic->group_count, 0, ARRAY_SIZE(nic->groups), e);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < nic->group_count; i++) {
		r = check_range("group index", nic->groups[i], 1, INDEX_MAX, e);
		if (r < 0)
			return r;
	}
	/* Unicast, locally administered: nobody's real hardware. */
	if ((nic->mac[0] & 3) != 2)
		return err_set(
		    e, ERR_INVALID, "MAC address is not unicast and locally administered");
	if (!nic->address.s_addr || IN_MULTICAST(ntohl(nic->address.s_addr)) ||
	    !nic->gateway.s_addr)
		return err_set(e, ERR_INVALID, "NIC without a usable address and gateway");
	return 0;
}

static int
check_nics(const struct helper_nic *nics, uint32_t count, struct err *e)
{
	int r = check_range("number of NICs", count, 0, HELPER_NICS_MAX, e);

	for (uint32_t i = 0; r == 0 && i < count; i++)
		r = check_nic(&nics[i], e);
	return r;
}

static int
check_file(const char *name, const struct helper_file *f, bool is_required, struct err *e)
{
	if (f->format > HELPER_FORMAT_QCOW2 || (is_required && f->format == HELPER_FORMAT_NONE))
		return err_set(e, ERR_INVALID, "%s has no valid format", name);
	return 0;
}

/* -- payloads -- */

static int
check_guest_spec(struct str p, struct err *e)
{
	const struct helper_guest_spec *s = (const void *)p.p;
	int r;

	if ((r = check_id(s->instance_id, e)) < 0 ||
	    (r = check_range("vcpus", s->vcpus, 1, VCPUS_MAX, e)) < 0 ||
	    (r = check_range("memory", s->memory_mib, 16, MEMORY_MIB_MAX, e)) < 0 ||
	    (r = check_range("generation", s->generation, 1, INT64_MAX, e)) < 0 ||
	    (r = check_range("number of ephemeral disks", s->ephemeral_count, 0,
		 HELPER_EPHEMERAL_MAX, e)) < 0 ||
	    (r = check_range("pinning", s->is_pinned, 0, 1, e)) < 0 ||
	    (r = check_range(
		 "processor shares", s->cpu_shares, CPU_SHARES_MIN, CPU_SHARES_MAX, e)) < 0 ||
	    (r = check_file("image", &s->base, true, e)) < 0 ||
	    (r = check_file("kernel", &s->kernel, false, e)) < 0 ||
	    (r = check_file("ramdisk", &s->ramdisk, false, e)) < 0 ||
	    (r = check_text(
		 "kernel arguments", s->kernel_arguments, sizeof(s->kernel_arguments), e)) < 0)
		return r;
	if (s->is_pinned && helper_cpus_count(&s->cpus) != s->vcpus)
		return err_set(e, ERR_INVALID, "%u vcpus pinned to %u processors", s->vcpus,
		    helper_cpus_count(&s->cpus));
	if (s->ramdisk.format && !s->kernel.format)
		return err_set(e, ERR_INVALID, "ramdisk without a kernel");
	return check_nics(s->nics, s->nic_count, e);
}

static int
check_guest_stop(struct str p, struct err *e)
{
	const struct helper_guest_stop *s = (const void *)p.p;
	int r;

	if ((r = check_id(s->instance_id, e)) < 0 ||
	    (r = check_range("force", s->force, 0, 1, e)) < 0 ||
	    (r = check_range("grace", s->grace_ms, 0, GRACE_MS_MAX, e)) < 0)
		return r;
	return check_nics(s->nics, s->nic_count, e);
}

static int
check_guest_reboot(struct str p, struct err *e)
{
	const struct helper_guest_reboot *s = (const void *)p.p;
	int r = check_id(s->instance_id, e);

	return r < 0 ? r : check_range("grace", s->grace_ms, 0, GRACE_MS_MAX, e);
}

static int
check_guest_ref(struct str p, struct err *e)
{
	return check_id(((const struct helper_guest_ref *)(const void *)p.p)->instance_id, e);
}

static int
check_guest_cpus(struct str p, struct err *e)
{
	const struct helper_guest_cpus *g = (const void *)p.p;
	int r = check_id(g->instance_id, e);

	return r < 0 ? r
		     : check_range("number of processors", helper_cpus_count(&g->cpus), 1,
			   HELPER_CPUS_MAX, e);
}

static int
check_guest_screen(struct str p, struct err *e)
{
	const struct helper_guest_screen *s = (const void *)p.p;
	int r = check_id(s->instance_id, e);

	return r < 0 ? r : check_range("waking", s->wakes, 0, 1, e);
}

static int
check_one_nic(struct str p, struct err *e)
{
	return check_nic((const void *)p.p, e);
}

static int
check_vpc_ref(struct str p, struct err *e)
{
	return check_range(
	    "VNI", ((const struct helper_vpc_ref *)(const void *)p.p)->vni, 1, VNI_MAX, e);
}

/* Cuts `size` bytes off the front; NULL when there are fewer. */
static const void *
cut(struct str *rest, size_t size)
{
	const void *p = rest->p;

	if (rest->n < size)
		return NULL;
	rest->p += size;
	rest->n -= size;
	return p;
}

static int
check_rule(const struct helper_rule *rule, struct err *e)
{
	if (rule->is_ingress > 1 || rule->prefix > 32 || rule->protocol < -1 ||
	    rule->protocol > 255 || rule->from < -1 || rule->from > 65535 || rule->to < -1 ||
	    rule->to > 65535 || rule->group > INDEX_MAX)
		return err_set(e, ERR_INVALID, "a rule is out of range");
	return 0;
}

static int
check_vpc(struct str p, struct err *e)
{
	const struct helper_vpc *vpc = cut(&p, sizeof(*vpc));
	int r;

	if ((r = check_range("VNI", vpc->vni, 1, VNI_MAX, e)) < 0 ||
	    (r = check_range("prefix", vpc->prefix, 8, 30, e)) < 0 ||
	    (r = check_range("number of groups", vpc->group_count, 0, HELPER_GROUPS_MAX, e)) < 0)
		return r;
	for (uint32_t i = 0; i < vpc->group_count; i++) {
		const struct helper_group *group = cut(&p, sizeof(*group));

		if (!group)
			return err_set(e, ERR_INVALID, "the list of groups is cut short");
		if ((r = check_range("group index", group->index, 1, INDEX_MAX, e)) < 0 ||
		    (r = check_range(
			 "number of rules", group->rule_count, 0, HELPER_RULES_MAX, e)) < 0 ||
		    (r = check_range(
			 "number of members", group->member_count, 0, HELPER_MEMBERS_MAX, e)) < 0)
			return r;
		for (uint32_t k = 0; k < group->rule_count; k++) {
			const struct helper_rule *rule = cut(&p, sizeof(*rule));

			if (!rule)
				return err_set(e, ERR_INVALID, "the list of rules is cut short");
			r = check_rule(rule, e);
			if (r < 0)
				return r;
		}
		if (!cut(&p, group->member_count * sizeof(struct in_addr)))
			return err_set(e, ERR_INVALID, "the list of members is cut short");
	}
	return p.n ? err_set(e, ERR_INVALID, "bytes after the last group") : 0;
}

static int
check_sweep(struct str p, struct err *e)
{
	const struct helper_sweep *s = cut(&p, sizeof(*s));
	int r;

	if ((r = check_range("number of NICs", s->nic_count, 0, HELPER_GUESTS_MAX, e)) < 0 ||
	    (r = check_range("number of VPCs", s->vni_count, 0, HELPER_GUESTS_MAX, e)) < 0)
		return r;
	if (p.n != s->nic_count * sizeof(struct helper_nic) + s->vni_count * sizeof(uint32_t))
		return err_set(e, ERR_INVALID, "lists of another length than announced");
	for (uint32_t i = 0; i < s->nic_count; i++) {
		r = check_nic(cut(&p, sizeof(struct helper_nic)), e);
		if (r < 0)
			return r;
	}
	for (uint32_t i = 0; i < s->vni_count; i++) {
		r = check_range("VNI", *(const uint32_t *)cut(&p, sizeof(uint32_t)), 1, VNI_MAX, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int
check_guest(const struct helper_guest *g, struct err *e)
{
	int r = check_id(g->instance_id, e);

	return r < 0 ? r : check_range("guest state", g->state, 0, GUEST_STATE_MAX - 1, e);
}

static int
check_guest_list(struct str p, struct err *e)
{
	const struct helper_guest_list *l = cut(&p, sizeof(*l));
	int r = check_range("number of guests", l->count, 0, HELPER_GUESTS_MAX, e);

	if (r < 0)
		return r;
	if (p.n != l->count * sizeof(struct helper_guest))
		return err_set(e, ERR_INVALID, "list of another length than announced");
	for (uint32_t i = 0; r == 0 && i < l->count; i++)
		r = check_guest(&l->guests[i], e);
	return r;
}

static int
check_lifecycle(struct str p, struct err *e)
{
	return check_guest((const void *)p.p, e);
}

static int
check_health(struct str p, struct err *e)
{
	const struct helper_health *h = (const void *)p.p;
	int r = check_text("hypervisor", h->hypervisor, sizeof(h->hypervisor), e);

	if (r == 0)
		r = check_text("reason", h->reason, sizeof(h->reason), e);
	return r < 0 ? r : check_text("note", h->note, sizeof(h->note), e);
}

/* Size of what a verb carries; is_open: more follows, which `check` measures. */
struct payload {
	size_t size;
	bool is_open;
	int (*check)(struct str p, struct err *e);
};
#define OF(type, fn)                                                                               \
	{                                                                                          \
		sizeof(type), false, fn                                                            \
	}
#define FROM(type, fn)                                                                             \
	{                                                                                          \
		sizeof(type), true, fn                                                             \
	}
static const struct payload requests[HELPER_VERB_MAX] = {
	[HELPER_GUEST_START] = OF(struct helper_guest_spec, check_guest_spec),
	[HELPER_GUEST_STOP] = OF(struct helper_guest_stop, check_guest_stop),
	[HELPER_GUEST_REBOOT] = OF(struct helper_guest_reboot, check_guest_reboot),
	[HELPER_GUEST_RESUME] = OF(struct helper_guest_ref, check_guest_ref),
	[HELPER_GUEST_CPUS] = OF(struct helper_guest_cpus, check_guest_cpus),
	[HELPER_GUEST_SCREEN] = OF(struct helper_guest_screen, check_guest_screen),
	[HELPER_GUEST_FORGET] = OF(struct helper_guest_ref, check_guest_ref),
	[HELPER_CONSOLE] = OF(struct helper_guest_ref, check_guest_ref),
	[HELPER_VPC_PUT] = FROM(struct helper_vpc, check_vpc),
	[HELPER_VPC_REMOVE] = OF(struct helper_vpc_ref, check_vpc_ref),
	[HELPER_VPC_SOCKETS] = OF(struct helper_vpc_ref, check_vpc_ref),
	[HELPER_NIC_PLUG] = OF(struct helper_nic, check_one_nic),
	[HELPER_NIC_UNPLUG] = OF(struct helper_nic, check_one_nic),
	[HELPER_NIC_COUNTERS] = OF(struct helper_nic, check_one_nic),
	[HELPER_NIC_PROBE] = OF(struct helper_nic, check_one_nic),
	[HELPER_NET_SWEEP] = FROM(struct helper_sweep, check_sweep),
};
static const struct payload replies[HELPER_EVENT_HEALTH + 1] = {
	[HELPER_HELLO] = OF(struct helper_health, check_health),
	[HELPER_PROBE] = OF(struct helper_health, check_health),
	[HELPER_GUEST_START] = OF(struct helper_guest_started, NULL),
	[HELPER_GUEST_LIST] = FROM(struct helper_guest_list, check_guest_list),
	[HELPER_NIC_PLUG] = OF(struct helper_nic_plugged, NULL),
	[HELPER_NIC_COUNTERS] = OF(struct helper_nic_counters, NULL),
	[HELPER_NIC_PROBE] = OF(struct helper_nic_probed, NULL),
	[HELPER_EVENT_LIFECYCLE] = OF(struct helper_lifecycle, check_lifecycle),
	[HELPER_EVENT_HEALTH] = OF(struct helper_health, check_health),
};

int
helper_payload_check(unsigned verb, bool is_reply, struct str payload, struct err *e)
{
	size_t count = is_reply ? ARRAY_SIZE(replies) : ARRAY_SIZE(requests);
	const struct payload *p = is_reply ? replies : requests;

	if (verb >= count || !verb_names[verb])
		return err_set(e, ERR_UNSUPPORTED, "unknown verb %u", verb);
	p += verb;
	if (payload.n < p->size || (payload.n > p->size && !p->is_open))
		return err_set(
		    e, ERR_INVALID, "%s with %zu bytes", helper_verb_name(verb), payload.n);
	return p->check ? p->check(payload, e) : 0;
}

/* -- sending -- */

static int
wait_writable(int socket, uint64_t until_ms, struct err *e)
{
	uint64_t now = clock_monotonic_ms();
	struct pollfd p = { .fd = socket, .events = POLLOUT };

	if (now >= until_ms || poll(&p, 1, (int)(until_ms - now)) == 0)
		return err_set(e, ERR_TIMEOUT, "the other side of the helper socket does not read");
	return 0;
}

int
helper_frame_send(int socket, const struct helper_header *header, struct str payload,
    const int *fds, size_t fd_count, int timeout_ms, struct err *e)
{
	uint64_t until_ms = clock_monotonic_ms() + (uint64_t)timeout_ms;
	size_t total = sizeof(*header) + payload.n, done = 0;
	union {
		char bytes[CMSG_SPACE(sizeof(int) * HELPER_REPLY_FDS_MAX)];
		struct cmsghdr align;
	} control = { 0 };

	assert(fd_count <= HELPER_REPLY_FDS_MAX && header->length == payload.n);
	while (done < total) {
		struct iovec iov[2];
		struct msghdr m = { .msg_iov = iov };
		ssize_t n;
		int r;

		if (done < sizeof(*header))
			iov[m.msg_iovlen++] =
			    (struct iovec){ (char *)header + done, sizeof(*header) - done };
		if (payload.n) {
			size_t skip = done > sizeof(*header) ? done - sizeof(*header) : 0;

			iov[m.msg_iovlen++] =
			    (struct iovec){ (char *)payload.p + skip, payload.n - skip };
		}
		if (done == 0 && fd_count) {
			struct cmsghdr *c;

			m.msg_control = control.bytes;
			m.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
			c = CMSG_FIRSTHDR(&m);
			c->cmsg_level = SOL_SOCKET;
			c->cmsg_type = SCM_RIGHTS;
			c->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
			memcpy(CMSG_DATA(c), fds, sizeof(int) * fd_count);
		}
		n = sendmsg(socket, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0) {
			done += (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return err_set_errno(e, errno, "cannot write to the helper socket");
		r = wait_writable(socket, until_ms, e);
		if (r < 0)
			return r;
	}
	return 0;
}
