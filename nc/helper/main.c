/* mallee-nc-helper: the root half of the node controller. It owns libvirt and the kernel's network
 * and does for mallee-nc what a typed request says, nothing else. */
#include "helper/helper.h"

#include <unistd.h>

#define AT(member) offsetof(struct helper_conf, member)
const struct conf_key helper_conf_keys[] = {
	{ "state_dir", CONF_PATH, AT(daemon.state_dir), "/var/lib/mallee/nc-helper",
	    "directory of console logs", NULL, 0, 0 },
	{ "runtime_dir", CONF_PATH, AT(daemon.runtime_dir), "/run/mallee/nc-helper",
	    "directory of sockets", NULL, 0, 0 },
	{ "log_level", CONF_ENUM, AT(daemon.log_level), "info",
	    "what is logged; SIGHUP reads it again", "error|warn|info|debug", 0, 0 },
	{ "listen", CONF_LIST, AT(daemon.listen), "unix:/run/mallee/nc-helper/helper.sock",
	    "unix sockets that mallee-nc connects to, beside activated ones; mode 0660", NULL, 0,
	    0 },
	{ "status_listen", CONF_LIST, AT(daemon.status_listen), "", "not used by the helper", NULL,
	    0, 0 },
	{ "workers", CONF_U32, AT(daemon.workers), "2", "threads of the process's own pool", NULL,
	    1, 256 },
	{ "drain_timeout", CONF_DURATION, AT(daemon.drain_ms), "2s",
	    "how long requests under way may take after SIGTERM", NULL, 0, 0 },
	{ "client_user", CONF_STRING, AT(client_user), "mallee",
	    "the only user that may ask anything of the helper", NULL, 0, 0 },
	{ "client_group", CONF_STRING, AT(client_group), "",
	    "group of the socket; empty: the client's own", NULL, 0, 0 },
	{ "instances_dir", CONF_PATH, AT(instances_dir), "/var/lib/mallee/nc/instances",
	    "mallee-nc's directory of instances' disks", NULL, 0, 0 },
	{ "cache_dir", CONF_PATH, AT(cache_dir), "/var/lib/mallee/nc/cache",
	    "mallee-nc's directory of image files", NULL, 0, 0 },
	{ "libvirt_uri", CONF_STRING, AT(libvirt_uri), "qemu:///system", "libvirt connection", NULL,
	    0, 0 },
	{ "hypervisor", CONF_ENUM, AT(hypervisor), "auto",
	    "auto: KVM where a probe really runs guest code, else QEMU's TCG; test: libvirt's test "
	    "driver",
	    "auto|kvm|qemu|test", 0, 0 },
	{ "emulator", CONF_PATH, AT(emulator), "/usr/bin/qemu-system-x86_64", "QEMU", NULL, 0, 0 },
	{ "guest_user", CONF_STRING, AT(guest_user), "libvirt-qemu", "user that QEMU runs as", NULL,
	    0, 0 },
	{ "guest_group", CONF_STRING, AT(guest_group), "kvm", "group that QEMU runs as", NULL, 0,
	    0 },
	{ "libvirt_deadline", CONF_DURATION, AT(libvirt_deadline_ms), "30s",
	    "a libvirt call that takes longer makes the node degraded", NULL, 100, 0 },
	{ "netns_dir", CONF_PATH, AT(netns_dir), "/run/mallee/netns",
	    "where the VPCs' network namespaces are bound", NULL, 0, 0 },
	{ "public_interface", CONF_STRING, AT(public_interface), "",
	    "interface on which public addresses answer; empty: none", NULL, 0, 0 },
	{ "vtep", CONF_STRING, AT(vtep), "", "this node's address on the underlay; empty: no VXLAN",
	    NULL, 0, 0 },
	{ "mtu", CONF_U32, AT(mtu), "1500", "of guests' interfaces", NULL, 576, 9000 },
	{ "sleep_command", CONF_STRING, AT(sleep_command), "",
	    "puts this host to sleep when its zone saves power: an absolute path and arguments, "
	    "separated by spaces, run as root without a shell; empty: it never sleeps",
	    NULL, 0, 0 },
	CONF_END,
};

static int
start(struct daemon *d, void **ret_state, struct err *e)
{
	struct helper *h = NULL;
	int r;

	if (geteuid() != 0)
		return err_set(e, ERR_DENIED, "must be run as root");
	r = helper_new(d, &h, e);
	if (r < 0)
		return r;
	*ret_state = h;
	return 0;
}

static void
stop(struct daemon *d, void *state)
{
	helper_free(state);
}

int
main(int argc, char **argv)
{
	static const struct daemon_spec spec = {
		.name = "nc-helper",
		.description = "root helper of the Mallee node controller",
		.keys = helper_conf_keys,
		.conf_size = sizeof(struct helper_conf),
		.start = start,
		.stop = stop,
	};

	return daemon_main(&spec, argc, argv);
}
