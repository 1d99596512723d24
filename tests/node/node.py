"""A node of its own on this machine: a network and a mount namespace with their own virtlogd and libvirtd,
and the node controller's programs in it. Needs root. Everything ends with the `with` block."""
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, os.environ.get("MALLEE_BUILD", "build"))

sys.path.insert(0, os.path.join(TOP, "tools"))
from testbed import cgroups  # noqa: E402

LIBVIRTD_CONF = """\
listen_tls = 0
listen_tcp = 0
auth_unix_rw = "none"
unix_sock_group = "root"
host_uuid = "{uuid}"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""
QEMU_CONF = """\
security_driver = "none"
user = "libvirt-qemu"
group = "kvm"
remember_owner = 0
cgroup_controllers = [ {controllers} ]
namespaces = [ ]
stdio_handler = "{stdio}"
max_core = 0
"""
START = """\
set -e
for d in etc/libvirt run/libvirt var/lib/libvirt var/cache/libvirt var/log/libvirt; do
    mkdir -p {dir}/lv/$d /$d
    mount --bind {dir}/lv/$d /$d
done
for c in {controllers}; do
    mkdir -p {dir}/cgroup/$c
    mount --bind /sys/fs/cgroup/$c/mallee:{cgroup} {dir}/cgroup/$c
done
mount -t sysfs s /sys || true
mount -t tmpfs t /sys/fs/cgroup
for c in {controllers}; do
    mkdir /sys/fs/cgroup/$c
    mount --move {dir}/cgroup/$c /sys/fs/cgroup/$c
done
if [ -c /dev/kvm ]; then # for group kvm, as udev would have it: else libvirt probes QEMU again for each guest
    mknod -m 660 {dir}/kvm c 10 232
    chgrp kvm {dir}/kvm
    mount --bind {dir}/kvm /dev/kvm
fi
ip link set lo up
virtlogd -d -p /run/libvirt/virtlogd.pid
libvirtd -d -p /run/libvirt/libvirtd.pid
while :; do sleep 1000 & wait $!; done
"""


class Fault(Exception):
    """What a daemon or the helper answered instead: its code, then its sentence."""


def wait_for(what, condition, timeout=30):
    """Polls until condition() is true; returns its value. A daemon that a busy machine keeps from answering is asked
    again."""
    end = time.monotonic() + timeout
    while True:
        try:
            value = condition()
        except Fault as fault:
            if not str(fault).startswith("UNAVAILABLE") or time.monotonic() > end:
                raise
            value = None
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {timeout} s")
        time.sleep(0.05)


class Node:
    def __init__(self, stdio="logd", bounded=True):
        self.dir = tempfile.mkdtemp(prefix="mallee-node-", dir="/var/tmp")
        os.chmod(self.dir, 0o755)
        self.stdio = stdio
        self.cgroup = os.path.basename(self.dir)
        self.controllers = cgroups.up(self.cgroup) if bounded else []
        self.unshare = self.init = None
        self.children = []

    def __enter__(self):
        etc = os.path.join(self.dir, "lv/etc/libvirt")
        os.makedirs(etc)
        with open("/proc/sys/kernel/random/uuid", encoding="ascii") as f:
            uuid = f.read().strip()
        for name, text in (("libvirtd.conf", LIBVIRTD_CONF.format(uuid=uuid)),
                           ("qemu.conf", QEMU_CONF.format(stdio=self.stdio, controllers=", ".join(
                               f'"{c}"' for c in self.controllers))),
                           ("libvirt.conf", 'uri_default = "qemu:///system"\n')):
            with open(os.path.join(etc, name), "w", encoding="ascii") as f:
                f.write(text)
        # A PID namespace whose init reaps at once: libvirt waits for QEMU's zombies, and the init of a
        # container may take its time. Its end is also the end of everything in it.
        self.unshare = subprocess.Popen(
            ["unshare", "--mount", "--net", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc",
             "--propagation", "private", "bash", "-c", START.format(dir=self.dir, cgroup=self.cgroup, controllers=" ".join(self.controllers))],
            stdout=open(os.path.join(self.dir, "holder.log"), "wb"), stderr=subprocess.STDOUT)
        wait_for("libvirtd", lambda: os.path.exists(
            os.path.join(self.dir, "lv/run/libvirt/libvirt-sock")))
        with open(f"/proc/{self.unshare.pid}/task/{self.unshare.pid}/children", encoding="ascii") as f:
            self.init = f.read().split()[0]
        return self

    def __exit__(self, *exc):
        for child in self.children:
            if child.poll() is None:
                child.kill()
                child.wait()
        self.unshare.kill()
        self.unshare.wait()
        cgroups.down(self.cgroup)
        if exc[0] is None:
            time.sleep(0.2)
            shutil.rmtree(self.dir, ignore_errors=True)
        return False

    def command(self, *argv):
        return ["nsenter", "-t", self.init, "-m", "-n", "-u", "-p", "--wd=" + TOP, *argv]

    def run(self, *argv, check=True):
        return subprocess.run(self.command(*argv), check=check, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True).stdout

    def spawn(self, log, *argv):
        child = subprocess.Popen(self.command(*argv), stderr=subprocess.STDOUT,
                                 stdout=open(os.path.join(self.dir, log), "ab"))
        self.children.append(child)
        return child

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def libvirtd_pid(self):
        with open(self.path("lv/run/libvirt/libvirtd.pid"), encoding="ascii") as f:
            return int(f.read())


def connect(path, timeout=60):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.settimeout(timeout)
    s.connect(path)
    return s
