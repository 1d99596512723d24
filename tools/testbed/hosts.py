"""Hosts: a network namespace each, joined by a switch namespace; processes enter through the host's init.

Underlay (eth0, between daemons) and public network (pub0, where instances' public addresses live) are two
bridges in the switch namespace. Nothing of it touches the machine's own network, and no host has a route out.
"""
import contextlib
import os
import shlex
import signal
import sys
import time

from . import cgroups, proc, term
from .model import MTU, PUBLIC
from .term import Failure, run, say

INIT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "host-init.sh")


def netns_path(name):
    return f"/run/netns/{name}"


def ip(netns, *words, check=True):
    return run("ip", "-n", netns, *words, check=check)


def batch(netns, lines):
    """Several ip commands in one process."""
    run("ip", "-n", netns, "-batch", "-", input="\n".join(lines) + "\n")


def add_netns(name):
    if not is_netns(name):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(netns_path(name))
        run("ip", "netns", "add", name)
    ip(name, "link", "set", "lo", "up")


def is_netns(name):
    """The file may be there without a namespace mounted on it, when a command was killed half way."""
    found = proc.namespace(netns_path(name))
    return bool(found) and found[0] == os.stat("/proc/self/ns/net").st_dev


def devices(netns):
    return {line.split(": ")[1].split("@")[0] for line in ip(netns, "-o", "link", "show").splitlines()}


# -- the switch --------------------------------------------------------------------------------------

CUT_TABLE = """
add table bridge bed
add set bridge bed cut { type ifname . ifname; }
add chain bridge bed forward { type filter hook forward priority 0; policy accept; }
flush chain bridge bed forward
add rule bridge bed forward iifname . oifname @cut drop
"""


def switch_up(cloud):
    add_netns(cloud.switch)
    have = devices(cloud.switch)
    for bridge in ("underlay", "public"):
        if bridge not in have:
            ip(cloud.switch, "link", "add", bridge, "mtu", MTU, "type", "bridge", "forward_delay", "0")
        ip(cloud.switch, "link", "set", bridge, "up")
    nft(cloud, CUT_TABLE)


def nft(cloud, commands):
    run("ip", "netns", "exec", cloud.switch, "nft", "-f", "-", input=commands)


def ports(host):
    """(name on the host, name on the switch, bridge, address with prefix)"""
    found = []
    if host.underlay:
        found.append(("eth0", f"u{host.number}", "underlay", host.underlay + "/16"))
    if host.on_public:
        found.append(("pub0", f"p{host.number}", "public", f"{host.public}/{PUBLIC.prefixlen}" if host.public else ""))
    return found


def partition(cloud, a, b):
    """Cuts two hosts apart, on both networks; b None: from everybody."""
    others = [cloud.host(b)] if b else [h for h in cloud.hosts if h.name != a]
    elements = []
    for _, port, bridge, _ in ports(cloud.host(a)):
        for other in others:
            for _, far, far_bridge, _ in ports(other):
                if bridge == far_bridge:
                    elements += [f'"{port}" . "{far}"', f'"{far}" . "{port}"']
    if not elements:
        raise Failure(f"'{a}' and '{b}' share no network")
    nft(cloud, f"add element bridge bed cut {{ {', '.join(elements)} }}")


def heal(cloud):
    nft(cloud, "flush set bridge bed cut")


# -- one host ----------------------------------------------------------------------------------------

def directory(cloud, host):
    return cloud.path("hosts", host.name)


def init_pidfile(cloud, name):
    return os.path.join(cloud.run, "pid", f"init:{name}")


def init_pid(cloud, name):
    return proc.read_pidfile(init_pidfile(cloud, name))


def wire(cloud, host):
    netns = cloud.netns(host.name)
    have = devices(netns)
    for device, port, bridge, address in ports(host):
        if device not in have:
            ip(cloud.switch, "link", "del", port, check=False)
            ip(netns, "link", "add", device, "mtu", MTU if device == "eth0" else 1500, "type", "veth",
               "peer", "name", port, "mtu", MTU if device == "eth0" else 1500, "netns", cloud.switch)
        batch(cloud.switch, [f"link set {port} master {bridge}", f"link set {port} up"])
        if address:
            ip(netns, "addr", "replace", address, "dev", device)
        ip(netns, "link", "set", device, "up")
        if device == "pub0" and not address:
            ip(netns, "route", "replace", str(PUBLIC), "dev", device)


def host_up(cloud, host):
    netns = cloud.netns(host.name)
    add_netns(netns)
    wire(cloud, host)
    home = directory(cloud, host)
    os.makedirs(home, mode=0o755, exist_ok=True)
    if init_pid(cloud, host.name):
        return False
    # What an earlier init of this host left behind is another boot's.
    proc.kill(proc.in_namespaces([proc.namespace(netns_path(netns))]))
    with open(os.path.join(home, "hosts.txt"), "w", encoding="ascii") as file:
        file.write("127.0.0.1 localhost\n::1 localhost\n")
        file.writelines(f"{h.underlay or h.public} {h.name}\n" for h in cloud.hosts if h.underlay or h.public)
    log = os.path.join(cloud.log, f"init:{host.name}.log")
    pid = proc.launch(["nsenter", f"--net={netns_path(netns)}", "unshare", "--mount", "--uts", "--propagation",
                       "private", INIT, host.name, host.kind, home, netns], log, init_pidfile(cloud, host.name))
    end = time.monotonic() + 15
    while not os.path.exists(f"/proc/{pid}/root/run/ready"):
        if not proc.stat_of(pid) or time.monotonic() > end:
            raise Failure(f"host '{host.name}' did not come up: {last_line(log)}")
        time.sleep(0.01)
    return True


def last_line(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file if line.strip()]
    except FileNotFoundError:
        lines = []
    return lines[-1] if lines else "it said nothing"


def up(cloud):
    switch_up(cloud)
    for host in cloud.hosts:
        if host_up(cloud, host):
            say(f"host {host.name} {host.underlay or host.public}")


def enter(cloud, name, *argv):
    """argv that runs argv on the host; every program in front only execs the next."""
    pid = init_pid(cloud, name)
    if not pid:
        cloud.host(name)
        raise Failure(f"host '{name}' is not up; bring it up with: tools/cloud up --name {cloud.name}")
    return ["nsenter", "-t", str(pid), "-m", "-n", "-u", "-r", "-w", "--", *argv]


def execute(cloud, name, argv):
    """Runs argv on a host in the foreground, in our working directory where it can, and returns its status."""
    import subprocess
    with contextlib.suppress(KeyboardInterrupt):
        return subprocess.run(enter(cloud, name, "env", "-C", os.getcwd(), *argv), check=False).returncode
    return 130


# -- the end -----------------------------------------------------------------------------------------

def known_netns(cloud):
    """Every namespace of this cloud, also of hosts that an earlier shape of it had."""
    names = [cloud.switch] + [cloud.netns(h.name) for h in cloud.hosts]
    for entry in os.listdir("/run/netns") if os.path.isdir("/run/netns") else []:
        rest = entry[len(cloud.name) + 1:] if entry.startswith(cloud.name + "-") else ""
        if entry not in names and (rest in ("ctl", "switch", "outside") or rest.startswith("zone-")):
            names.append(entry)
    return names


def processes(cloud):
    """Every process of every host: by network namespace, and by mount namespace for those that left it."""
    wanted = {proc.namespace(netns_path(n)) for n in known_netns(cloud) if is_netns(n)}
    first = proc.in_namespaces(wanted)
    machine = proc.namespace("/proc/1/ns/mnt") or proc.namespace("/proc/self/ns/mnt")
    mounts = {proc.namespace(f"/proc/{p}/ns/mnt") for p in first} - {machine, proc.namespace("/proc/self/ns/mnt")}
    return proc.in_namespaces(wanted | mounts)


def down(cloud):
    for _ in range(5):
        left = [p for p in processes(cloud) if p != os.getpid()]
        if not left:
            break
        proc.kill(left, signal.SIGKILL)
    else:
        names = ", ".join(f"{p} ({shlex.join(proc.command_line(p))[:60]})" for p in left)
        raise Failure(f"these processes of cloud '{cloud.name}' do not end: {names}")
    for name in known_netns(cloud):
        cgroups.down(name)
        if os.path.exists(netns_path(name)):
            if term.status("ip", "netns", "del", name) != 0:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(netns_path(name))
    with contextlib.suppress(OSError):
        os.rmdir("/run/netns")  # only when it is empty and not a mount of somebody's


if __name__ == "__main__":
    sys.exit("run tools/cloud")
