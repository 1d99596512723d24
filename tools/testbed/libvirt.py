"""libvirt on a node: its own virtlogd and libvirtd, with configuration and state under the node's directory."""
import grp
import os
import pwd
import time
import uuid

from . import cgroups, hosts, proc
from .model import write_file
from .term import Failure, run

DIRECTORIES = ("etc", "lib", "cache", "log")

LIBVIRTD = """listen_tls = 0
listen_tcp = 0
auth_unix_rw = "none"
unix_sock_group = "root"
unix_sock_rw_perms = "0700"
unix_sock_ro_perms = "0700"
host_uuid = "{uuid}"
log_level = 3
log_outputs = "3:stderr"
"""
# No security driver: there is one per machine. Files are given to guests by group kvm, not by changing their owner.
QEMU = """security_driver = "none"
user = "libvirt-qemu"
group = "kvm"
dynamic_ownership = 0
remember_owner = 0
cgroup_controllers = [ {controllers} ]
namespaces = [ ]
stdio_handler = "logd"
max_core = 0
"""


def prepare_machine():
    """The user that guests run as, as Debian's libvirt-daemon-system makes it; that would start a libvirtd."""
    try:
        grp.getgrnam("libvirt-qemu")
    except KeyError:
        run("addgroup", "--system", "--quiet", "libvirt-qemu")
    try:
        pwd.getpwnam("libvirt-qemu")
    except KeyError:
        run("adduser", "--system", "--quiet", "--ingroup", "kvm", "--home", "/var/lib/libvirt", "--no-create-home",
            "--gecos", "Libvirt Qemu", "libvirt-qemu")


def prepare(cloud, host):
    """Configuration, before the host's init mounts it."""
    home = os.path.join(hosts.directory(cloud, host), "libvirt")
    for name in DIRECTORIES:
        os.makedirs(os.path.join(home, name), mode=0o755, exist_ok=True)
    identity = uuid.uuid5(uuid.NAMESPACE_DNS, f"{host.name}.{cloud.name}.{cloud.slot}")
    write_file(os.path.join(home, "etc/libvirtd.conf"), LIBVIRTD.format(uuid=identity))
    controllers = ", ".join(f'"{c}"' for c in cgroups.up(cloud.netns(host.name)))
    write_file(os.path.join(home, "etc/qemu.conf"), QEMU.format(controllers=controllers))
    write_file(os.path.join(home, "etc/virtlogd.conf"), 'log_level = 3\nlog_outputs = "3:stderr"\n')
    write_file(os.path.join(home, "etc/libvirt.conf"), 'uri_default = "qemu:///system"\n')


def start(cloud, host, which):
    """Starts virtlogd or libvirtd and waits for its socket. True when it was not running."""
    pidfile = os.path.join(cloud.run, "pid", f"{which}:{host.name}")
    if proc.read_pidfile(pidfile):
        return False
    socket = {"virtlogd": "/run/libvirt/virtlogd-sock", "libvirtd": "/run/libvirt/libvirt-sock"}[which]
    inside = f"/proc/{hosts.init_pid(cloud, host.name)}/root{socket}"
    try:
        os.unlink(inside)
    except FileNotFoundError:
        pass
    log = os.path.join(cloud.log, f"{which}:{host.name}.log")
    pid = proc.launch(hosts.enter(cloud, host.name, f"/usr/sbin/{which}"), log, pidfile, reap=True)
    end = time.monotonic() + 20
    while not os.path.exists(inside):
        if not proc.stat_of(pid) or time.monotonic() > end:
            raise Failure(f"{which} on '{host.name}' did not start: {hosts.last_line(log)}")
        time.sleep(0.02)
    return True
