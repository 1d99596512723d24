"""The node's dataplane (nc/helper/dataplane.h) in the kernel: policy, isolation, public addresses,
repetition, restarts, and that nothing stays behind.

One node namespace, one client on the public network, guests played by namespaces whose frames
tap_pump carries (tests/node/tap_pump.c). Needs root and the programs of `make node-tools`."""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

BUILD = os.environ.get("MALLEE_BUILD", "build")
TOOL = f"{BUILD}/tests/node/dataplane_tool"
PUMP = f"{BUILD}/tests/node/tap_pump"
PREFIX = f"dp{os.getpid()}"
NODE, CLIENT = f"{PREFIX}n", f"{PREFIX}c"
CLIENT_IP, NODE_IP = "172.30.0.100", "172.30.0.1"
VNI, OTHER_VNI = 100, 200
ALL_OUT = "rule out -1 -1 -1 0.0.0.0/0"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces")


def run(*argv, check=True, **kw):
    return subprocess.run(argv, check=check, text=True, capture_output=True, **kw)


def inside(netns, *argv, check=True, **kw):
    path = netns if netns.startswith("/") else f"/run/netns/{netns}"
    return run("nsenter", f"--net={path}", *argv, check=check, **kw)


def popen_inside(netns, *argv, **kw):
    path = netns if netns.startswith("/") else f"/run/netns/{netns}"
    return subprocess.Popen(["nsenter", f"--net={path}", *argv], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **kw)


class Guest:
    """A NIC and the namespace that plays its guest."""

    def __init__(self, node, index, address, vni=VNI, public="-", groups=(1,), gateway="10.0.1.1"):
        self.node, self.index, self.vni = node, index, vni
        self.address, self.gateway, self.public = address, gateway, public
        self.groups, self.netns = list(groups), f"{PREFIX}g{index}"
        self.mac = f"02:aa:00:00:00:{index:02x}"
        self.tap = f"tap{index}"
        self.listeners = []
        self.pump = None

    def record(self):
        return (f"{self.index} {self.vni} {self.mac} {self.address} {self.gateway} 24 {self.public} "
                + " ".join(map(str, self.groups)))

    def start(self):
        run("ip", "netns", "add", self.netns)
        self.node.ask(f"tap {self.index}")
        self.pump = popen_inside(self.node.netns, PUMP, self.tap, f"/run/netns/{self.netns}",
                                 "eth0", self.mac)
        assert self.pump.stdout.readline() == "ready\n"
        self.plug()
        self.ip("addr", "add", f"{self.address}/24", "dev", "eth0")
        self.ip("link", "set", "lo", "up")
        self.ip("link", "set", "eth0", "up")
        self.ip("route", "add", "default", "via", self.gateway)
        return self

    def plug(self):
        self.node.ask("plug " + self.record())

    def unplug(self):
        self.node.ask("unplug " + self.record())
        if self.pump:
            self.pump.kill()
            self.pump.wait()
            self.pump = None

    def stop(self):
        for p in self.listeners:
            p.kill()
            p.wait()
        if self.pump:
            self.pump.kill()
            self.pump.wait()
        run("ip", "netns", "del", self.netns, check=False)

    def ip(self, *argv, check=True):
        return inside(self.netns, "ip", *argv, check=check)

    def listen(self, *ports):
        for port in ports:
            self.listeners.append(listen(self.netns, port))
        return self

    def tcp(self, address, port, timeout=1.0):
        return tcp(self.netns, address, port, timeout)

    def ping(self, address, *more):
        return inside(self.netns, "ping", "-c1", "-W1", "-q", *more, address, check=False).returncode == 0


SERVER = """
import socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", int(sys.argv[1]))); s.listen(64); print("ready", flush=True)
while True:
    c, peer = s.accept(); c.sendall(peer[0].encode()); c.close()
"""
CONNECT = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3]))
print(s.recv(64).decode())
"""


def listen(netns, port):
    p = popen_inside(netns, "/usr/bin/python3", "-c", SERVER, str(port))
    assert p.stdout.readline() == "ready\n"
    return p


def tcp(netns, address, port, timeout=1.0):
    """The address that the server saw, or None when there is no connection."""
    r = inside(netns, "/usr/bin/python3", "-c", CONNECT, address, str(port), str(timeout), check=False)
    return r.stdout.strip() if r.returncode == 0 else None


class Node:
    def __init__(self):
        self.netns = NODE
        self.dir = tempfile.mkdtemp(prefix=PREFIX)
        self.tool = None
        self.guests = []
        run("ip", "netns", "add", NODE)
        run("ip", "netns", "add", CLIENT)
        run("ip", "-n", NODE, "link", "add", "pub0", "type", "veth", "peer", "name", "eth0", "netns", CLIENT)
        for netns, dev, address in ((NODE, "pub0", NODE_IP), (CLIENT, "eth0", CLIENT_IP)):
            run("ip", "-n", netns, "addr", "add", f"{address}/24", "dev", dev)
            run("ip", "-n", netns, "link", "set", dev, "up")
            run("ip", "-n", netns, "link", "set", "lo", "up")
        self.start()

    def start(self):
        self.tool = subprocess.Popen(["nsenter", f"--net=/run/netns/{NODE}", TOOL, self.dir, "pub0", "1500"],
                                     text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        answer = self.tool.stdout.readline()
        assert answer == "ok\n", answer

    def kill(self):
        self.tool.send_signal(signal.SIGKILL)
        self.tool.wait()

    def say(self, line):
        self.tool.stdin.write(line + "\n")
        self.tool.stdin.flush()
        return self.tool.stdout.readline().strip()

    def ask(self, line):
        answer = self.say(line)
        assert answer.split()[0] == "ok", f"{line}: {answer}"
        return answer[3:]

    def vpc(self, groups, vni=VNI, network="10.0.0.0/16"):
        """groups: {index: (rules, members)}"""
        self.ask(f"vpc {vni} {network}")
        for index, (rules, members) in groups.items():
            self.ask(f"group {index}")
            for rule in rules:
                self.ask(rule)
            for member in members:
                self.ask(f"member {member}")
        self.ask("put")

    def guest(self, *argv, **kw):
        g = Guest(self, *argv, **kw)
        self.guests.append(g)
        return g.start()

    def path(self, vni=VNI):
        return f"{self.dir}/v{vni}"

    def close(self):
        self.tool.stdin.close()
        status = self.tool.wait()
        for g in self.guests:
            g.stop()
        for name in os.listdir(self.dir):
            run("umount", "-l", f"{self.dir}/{name}", check=False)
        shutil.rmtree(self.dir)
        for netns in (NODE, CLIENT):
            run("ip", "netns", "del", netns, check=False)
        assert status == 0, "the tool ended badly (sanitizer?)"


@pytest.fixture
def node():
    n = Node()
    try:
        yield n
    finally:
        n.close()


def everything(node, vni=VNI):
    """All that the kernel holds of a VPC and of the node, comparable as text."""
    parts = [inside(node.netns, "ip", *what.split()).stdout
             for what in ("-br link", "route", "neigh show proxy", "neigh show nud permanent")]
    if os.path.exists(node.path(vni)):
        parts += [inside(node.path(vni), "ip", *what.split()).stdout
                  for what in ("-br link", "route", "neigh show nud permanent", "-br addr")]
        text = inside(node.path(vni), "nft", "list", "ruleset").stdout
        parts.append(re.sub(r"packets \d+ bytes \d+", "", text))
    return "\n".join(line for part in parts[:-1] for line in sorted(part.splitlines())) + parts[-1]


def test_default_deny_and_rule_kinds(node):
    node.vpc({1: ([ALL_OUT], [])})
    a = node.guest(1, "10.0.1.11")
    b = node.guest(2, "10.0.1.12").listen(22, 80)
    assert a.tcp(b.address, 22) is None
    assert not a.ping(b.address)
    assert a.ping("10.0.1.1"), "the gateway answers"

    node.vpc({1: ([ALL_OUT, "rule in 6 22 22 10.0.0.0/16", "rule in 1 8 -1 0.0.0.0/0"], [])})
    assert a.tcp(b.address, 22) == a.address
    assert a.tcp(b.address, 80) is None
    assert a.ping(b.address)

    # A network that the sender is not in; a range of ports; overlapping rules.
    node.vpc({1: ([ALL_OUT, "rule in 6 80 80 10.0.2.0/24"], [])})
    assert a.tcp(b.address, 80) is None
    assert a.tcp(b.address, 22) is None
    node.vpc({1: ([ALL_OUT, "rule in 6 80 80 10.0.2.0/24", "rule in 6 20 30 10.0.1.0/24",
                   "rule in 6 25 90 10.0.1.0/24", "rule in 6 80 80 0.0.0.0/0", "rule in 6 1 22 0.0.0.0/0"], [])})
    assert a.tcp(b.address, 80) and a.tcp(b.address, 22)
    # All protocols.
    node.vpc({1: ([ALL_OUT, "rule in -1 -1 -1 10.0.1.11/32"], [])})
    assert a.tcp(b.address, 80) and a.ping(b.address)
    # No egress rule: nothing leaves.
    node.vpc({1: (["rule in -1 -1 -1 0.0.0.0/0"], [])})
    assert a.tcp(b.address, 80) is None and not a.ping(b.address)
    node.vpc({1: (["rule in -1 -1 -1 0.0.0.0/0", "rule out 6 80 80 10.0.1.12/32"], [])})
    assert a.tcp(b.address, 80) and a.tcp(b.address, 22) is None


def effective(netns, group=1):
    """What a group's chains and sets hold, as nft lists them."""
    text = inside(netns, "nft", "list", "ruleset").stdout
    out = []
    for name in (f"set c_{group}", f"set ci_{group}", f"set d_{group}", f"set di_{group}",
                 f"chain i_{group}", f"chain o_{group}"):
        body = re.search(name + r" \{(.*?)\n\t\}", text, re.S).group(1)
        out.append((name, sorted(re.split(r"[,\n]", re.sub(r"elements = \{|\}", "", body).replace("\t", " ")),
                                 key=str.strip)))
    return [(n, [line.strip() for line in lines if line.strip()]) for n, lines in out]


def test_any_change_equals_building_anew(node):
    """Rule sets that overlap in every way, one after the other: each ends where a fresh VPC would."""
    pool = ["rule in 6 22 22 0.0.0.0/0", "rule in 6 22 22 10.0.0.0/8", "rule in 6 1 100 10.0.0.0/8",
            "rule in 6 50 200 10.0.0.0/8", "rule in 6 0 65535 10.1.0.0/16", "rule in -1 -1 -1 10.0.0.0/8",
            "rule in -1 -1 -1 0.0.0.0/0", "rule in 17 53 53 10.1.2.3/32", "rule in 1 8 -1 0.0.0.0/0",
            "rule in 1 -1 -1 10.0.0.0/8", "rule in 1 8 0 10.1.0.0/16", "rule in 6 80 80 g1", "rule in 50 -1 -1 10.0.0.0/8",
            "rule out 6 443 443 0.0.0.0/0", "rule out 6 400 500 10.0.0.0/8", "rule out -1 -1 -1 10.0.0.0/8"]
    chance = random.Random(os.environ.get("SEED", "rules"))
    node.vpc({1: ([], [])})
    for step in range(60):
        rules = chance.sample(pool, chance.randint(0, len(pool)))
        node.vpc({1: (rules, [])})
        node.vpc({1: (rules, [])}, vni=OTHER_VNI)
        assert effective(node.path()) == effective(node.path(OTHER_VNI)), (step, rules)
        node.ask(f"remove {OTHER_VNI}")


def test_groups_by_membership(node):
    db = [ALL_OUT, "rule in 6 80 80 g1"]
    node.vpc({1: ([ALL_OUT], ["10.0.1.11"]), 2: (db, []), 3: ([ALL_OUT], [])})
    a = node.guest(1, "10.0.1.11", groups=[1])
    c = node.guest(3, "10.0.1.13", groups=[3])
    b = node.guest(2, "10.0.2.12", groups=[2], gateway="10.0.2.1").listen(80)
    assert a.tcp(b.address, 80)
    assert c.tcp(b.address, 80) is None
    node.vpc({1: ([ALL_OUT], ["10.0.1.11", "10.0.1.13"]), 2: (db, []), 3: ([ALL_OUT], [])})
    assert c.tcp(b.address, 80)
    node.vpc({1: ([ALL_OUT], ["10.0.1.13"]), 2: (db, []), 3: ([ALL_OUT], [])})
    assert a.tcp(b.address, 80) is None and c.tcp(b.address, 80)
    # A NIC joins a second group, and leaves it.
    c.groups = [3, 2]
    c.plug()
    c.listen(80)
    node.vpc({1: ([ALL_OUT], ["10.0.1.11"]), 2: (db, []), 3: ([ALL_OUT], [])})
    assert a.tcp(c.address, 80)
    c.groups = [3]
    c.plug()
    assert a.tcp(c.address, 80) is None
    # A group goes that a rule still names, then one that a NIC still has.
    node.vpc({2: (db, []), 3: ([ALL_OUT], [])})
    assert a.tcp(b.address, 80) is None
    node.vpc({})
    assert not c.ping(b.address)
    b.unplug()
    node.vpc({})
    assert "i_2" not in inside(node.path(), "nft", "list", "ruleset").stdout


def test_revoke_keeps_established(node):
    open_rules = {1: ([ALL_OUT, "rule in 1 8 -1 0.0.0.0/0"], [])}
    node.vpc(open_rules)
    a, b = node.guest(1, "10.0.1.11"), node.guest(2, "10.0.1.12")
    flow = popen_inside(a.netns, "ping", "-i0.1", "-c20", "-q", b.address)
    time.sleep(0.5)
    node.vpc({1: ([ALL_OUT], [])})
    assert not a.ping(b.address), "a new flow is refused"
    out = flow.communicate()[0]
    assert "20 received" in out, out


def test_spoofing(node):
    node.vpc({1: ([ALL_OUT, "rule in -1 -1 -1 0.0.0.0/0"], [])})
    a, b = node.guest(1, "10.0.1.11"), node.guest(2, "10.0.1.12")
    c = node.guest(3, "10.0.1.13")
    assert a.ping(b.address)
    seen = popen_inside(b.netns, "tcpdump", "-lnni", "eth0", "icmp[icmptype]==icmp-echo")
    time.sleep(0.5)
    a.ip("addr", "add", "10.0.1.99/32", "dev", "eth0")
    assert not a.ping(b.address, "-I", "10.0.1.99")
    a.ip("addr", "add", "10.0.1.13/32", "dev", "eth0")
    assert not a.ping(b.address, "-I", "10.0.1.13"), "not even a neighbour's"
    a.ip("addr", "del", "10.0.1.99/32", "dev", "eth0")
    a.ip("addr", "del", "10.0.1.13/32", "dev", "eth0")
    a.ip("link", "set", "eth0", "address", "02:aa:00:00:00:77")
    a.ip("route", "replace", "default", "via", a.gateway)
    assert not a.ping(b.address), "spoofed source MAC"
    a.ip("link", "set", "eth0", "address", a.mac)
    a.ip("route", "replace", "default", "via", a.gateway)
    assert a.ping(b.address)
    time.sleep(0.3)
    seen.terminate()
    lines = [l for l in seen.communicate()[0].splitlines() if "ICMP" in l]
    assert lines and all(f"{a.address} > " in l for l in lines), lines

    arping = ["arping", "-c1", "-w1", "-q", "-I", "eth0"]
    inside(a.netns, "sysctl", "-qw", "net.ipv4.ip_nonlocal_bind=1")
    assert inside(a.netns, *arping, b.address, check=False).returncode == 0, "proxy ARP"
    assert inside(a.netns, *arping, "-s", c.address, b.address, check=False).returncode != 0, "spoofed ARP"
    # Duplicate address detection: neither one's own nor a free address is answered.
    for address in (a.address, "10.0.1.250"):
        assert inside(a.netns, *arping, "-D", address, check=False).returncode == 0


def test_isolation_of_equal_addresses(node):
    open_rules = {1: ([ALL_OUT, "rule in -1 -1 -1 0.0.0.0/0"], [])}
    node.vpc(open_rules)
    node.vpc(open_rules, vni=OTHER_VNI)
    a = node.guest(1, "10.0.1.11")
    b = node.guest(2, "10.0.1.12").listen(80)
    other_a = node.guest(3, "10.0.1.11", vni=OTHER_VNI)
    assert a.tcp(b.address, 80)
    assert other_a.tcp(b.address, 80) is None
    other_b = node.guest(4, "10.0.1.12", vni=OTHER_VNI).listen(80)
    before = int(node.ask(f"counters {VNI} 2").split()[1])
    assert other_a.tcp(other_b.address, 80)
    assert int(node.ask(f"counters {VNI} 2").split()[1]) == before


def test_public_addresses(node):
    rules = [ALL_OUT, f"rule in 6 80 80 {CLIENT_IP}/32"]
    node.vpc({1: (rules, []), 2: ([ALL_OUT, "rule in 6 80 80 172.30.0.201/32"], [])})
    client = listen(CLIENT, 80)
    try:
        a = node.guest(1, "10.0.1.11", public="172.30.0.201").listen(80, 443)
        b = node.guest(2, "10.0.1.12", public="172.30.0.202", groups=[2]).listen(80)
        c = node.guest(3, "10.0.1.13")
        assert tcp(CLIENT, "172.30.0.201", 80) == CLIENT_IP
        assert tcp(CLIENT, "172.30.0.201", 443) is None
        assert tcp(CLIENT, "172.30.0.202", 80) is None
        assert a.tcp(CLIENT_IP, 80) == "172.30.0.201"
        assert c.tcp(CLIENT_IP, 80) is None, "no public address, no way out"
        # From public address to public address on one node: the source is the public one.
        assert a.tcp("172.30.0.202", 80) == "172.30.0.201"
        # ... and to one in another VPC, with the same private addresses.
        node.vpc({1: ([ALL_OUT, "rule in 6 80 80 172.30.0.201/32"], [])}, vni=OTHER_VNI)
        other = node.guest(4, "10.0.1.11", vni=OTHER_VNI, public="172.30.0.204").listen(80)
        assert a.tcp("172.30.0.204", 80) == "172.30.0.201"
        assert b.tcp("172.30.0.204", 80) is None
        other.unplug()
        # The client can't reach a private address, even with a route to it.
        run("ip", "-n", CLIENT, "route", "add", "10.0.0.0/16", "via", NODE_IP)
        run("ip", "-n", NODE, "route", "add", "10.0.0.0/16", "via", "169.254.1.2", "dev", f"x{VNI}", "onlink")
        assert tcp(CLIENT, a.address, 80) is None
        run("ip", "-n", NODE, "route", "del", "10.0.0.0/16")

        # The address moves to another NIC; flows of the old one end; neighbours are told.
        told = popen_inside(CLIENT, "tcpdump", "-lnni", "eth0", "-c", "1", "arp and arp[24:4] == 0xac1e00c9 and arp[14:4] == 0xac1e00c9")
        flow = popen_inside(a.netns, "ping", "-i0.1", "-w3", "-q", CLIENT_IP)
        time.sleep(0.5)
        c.public, a.public = a.public, "-"
        c.plug()
        a.plug()
        c.listen(80)
        assert tcp(CLIENT, "172.30.0.201", 80) == CLIENT_IP
        assert a.tcp(CLIENT_IP, 80) is None
        assert "tell 172.30.0.201" in told.communicate(timeout=5)[0]
        received = int(re.search(r"(\d+) received", flow.communicate()[0]).group(1))
        assert received < 12, "a flow of a released address went on"
        c.unplug()
        assert tcp(CLIENT, "172.30.0.201", 80) is None
        assert not re.search(r"172\.30\.0\.201(?! \. tcp)", everything(node))
        assert "172.30.0.202" in everything(node)
    finally:
        client.kill()
        client.wait()


def test_only_services_on_the_node(node):
    node.vpc({1: ([ALL_OUT, "rule in -1 -1 -1 0.0.0.0/0"], [])})
    a = node.guest(1, "10.0.1.11", public="172.30.0.201")
    node.ask(f"serve {VNI}")
    listeners = [listen(node.path(), p) for p in (22, 8080)] + [listen(NODE, 22)]
    try:
        def reaches(address, port):
            code = ("import socket,sys\n"
                    f"socket.create_connection(('{address}', {port}), 1)")
            return inside(a.netns, "/usr/bin/python3", "-c", code, check=False).returncode == 0

        assert reaches("169.254.169.254", 80) and reaches("169.254.169.253", 53)
        for address in ("169.254.169.254", "169.254.169.253", a.gateway, "169.254.1.2"):
            assert not reaches(address, 22) and not reaches(address, 8080)
        assert not reaches(a.gateway, 80) and not reaches("169.254.169.254", 53)
        assert not reaches(NODE_IP, 22), "the node is not for guests"
        # The node itself reaches the guest.
        assert inside(NODE, "ping", "-c1", "-W1", "-q", "172.30.0.201", check=False).returncode == 0
    finally:
        for p in listeners:
            p.kill()
            p.wait()


def test_repeating_changes_nothing(node):
    rules = [ALL_OUT, "rule in 1 8 -1 0.0.0.0/0", "rule in 6 1 100 10.0.0.0/8"]
    node.vpc({1: (rules, ["10.0.1.11"])})
    a = node.guest(1, "10.0.1.11", public="172.30.0.201")
    b = node.guest(2, "10.0.1.12")
    before = everything(node)
    flow = popen_inside(a.netns, "ping", "-i0.01", "-c300", "-q", b.address)
    for i in range(20):
        # Every other time with a change in between, which is a transaction of its own.
        node.vpc({1: (rules + (["rule in 17 53 53 0.0.0.0/0"] if i % 2 else []), ["10.0.1.11"])})
        a.plug()
        b.plug()
    node.vpc({1: (rules, ["10.0.1.11"])})
    out = flow.communicate()[0]
    assert "300 received" in out, out
    assert everything(node) == before


def test_foreign_change_is_repaired(node):
    rules = {1: ([ALL_OUT, "rule in 1 8 -1 0.0.0.0/0"], [])}
    node.vpc(rules)
    a, b = node.guest(1, "10.0.1.11"), node.guest(2, "10.0.1.12")
    before = everything(node)
    inside(node.path(), "nft", "flush", "chain", "inet", "vpc", "ing")
    assert not a.ping(b.address)
    flow = popen_inside(b.netns, "ping", "-i0.01", "-c100", "-q", a.gateway)
    node.vpc(rules)
    assert a.ping(b.address)
    assert everything(node) == before
    flow.communicate()


def test_killed_and_restarted(node):
    rules = {1: ([ALL_OUT, "rule in 1 8 -1 0.0.0.0/0", "rule in 6 80 80 0.0.0.0/0"], [])}
    node.vpc(rules)
    a = node.guest(1, "10.0.1.11", public="172.30.0.201").listen(80)
    b = node.guest(2, "10.0.1.12", groups=[1, 7])
    before = everything(node)
    flow = popen_inside(a.netns, "ping", "-i0.01", "-c300", "-q", b.address)
    node.kill()
    assert tcp(CLIENT, "172.30.0.201", 80) == CLIENT_IP
    node.start()
    assert everything(node) == before
    a.plug()
    b.plug()
    node.vpc(rules)
    out = flow.communicate()[0]
    assert "300 received" in out, out
    assert everything(node) == before
    # What the new process found it can also remove.
    b.unplug()
    assert not a.ping(b.address)
    assert "10.0.1.12" not in everything(node) and "tap2" not in everything(node)


def test_unplug_and_remove_leave_nothing(node):
    clean = everything(node)
    node.vpc({1: ([ALL_OUT], [])})
    empty = everything(node)
    g = [node.guest(i, f"10.0.1.{10 + i}", public=f"172.30.0.20{i}") for i in (1, 2)]
    assert node.say(f"remove {VNI}").startswith("error CONFLICT")
    for guest in g:
        guest.unplug()
        guest.unplug()
    assert everything(node) == empty
    node.ask("tap 9")
    node.ask("unplug 9 100 02:aa:00:00:00:09 10.0.1.19 10.0.1.1 24 -")
    assert everything(node) == empty
    node.ask(f"remove {VNI}")
    node.ask(f"remove {VNI}")
    assert everything(node) == clean
    assert os.listdir(node.dir) == []


def test_sweep(node):
    node.vpc({1: ([ALL_OUT, "rule in -1 -1 -1 0.0.0.0/0"], [])})
    node.vpc({1: ([ALL_OUT], [])}, vni=OTHER_VNI)
    node.vpc({1: ([ALL_OUT], [])}, vni=300)
    kept = node.guest(1, "10.0.1.11", public="172.30.0.201").listen(80)
    node.guest(2, "10.0.1.12", public="172.30.0.202")
    node.guest(3, "10.0.1.13", vni=OTHER_VNI)
    node.ask("tap 9")
    run("ip", "-n", NODE, "link", "add", "tap77", "type", "veth", "peer", "name", "foreign")
    run("ip", "-n", NODE, "route", "add", "172.30.0.209/32", "dev", "pub0")
    node.kill()
    node.start()
    node.ask(f"keep 1 {VNI} 172.30.0.201")
    node.ask(f"sweep {VNI} 300")
    text = everything(node)
    assert tcp(CLIENT, "172.30.0.201", 80) == CLIENT_IP
    assert sorted(os.listdir(node.dir)) == ["v100", "v300"]
    for gone in ("172.30.0.202", "tap2", "tap9", f"x{OTHER_VNI}"):
        assert gone not in text, gone
    assert "tap77" in text and "172.30.0.209" in text, "what is not ours stays"
    kept.unplug()


def test_refusals(node):
    cases = [
        ("plug 1 100 02:aa:00:00:00:01 10.0.1.11 10.0.1.1 24 -", "NOT_FOUND"),
        ("ifindex 100 1", "NOT_FOUND"),
        ("serve 100", "NOT_FOUND"),
        ("vpc 0 10.0.0.0/16", "ok"), ("put", "INVALID"),
        ("vpc 16777216 10.0.0.0/16", "ok"), ("put", "INVALID"),
        ("vpc 100 10.0.0.0/16", "ok"), ("group 1", "ok"),
        ("rule in 6 80 70 0.0.0.0/0", "ok"), ("put", "INVALID"),
        ("vpc 100 10.0.0.0/16", "ok"), ("group 1", "ok"),
        ("rule in 1 256 0 0.0.0.0/0", "ok"), ("put", "INVALID"),
        ("vpc 100 10.0.0.0/16", "ok"), ("group 1", "ok"), ("group 1", "ok"), ("put", "INVALID"),
        ("vpc 100 10.0.0.0/16", "ok"), ("put", "ok"),
        ("plug 1 100 02:aa:00:00:00:01 10.0.1.11 10.0.1.1 24 -", "NOT_FOUND"),
        ("tap 1", "ok"),
        ("plug 1 100 01:aa:00:00:00:01 10.0.1.11 10.0.1.1 24 -", "INVALID"),
        ("plug 1 100 02:aa:00:00:00:01 10.0.1.11 10.0.1.1 24 -", "ok"),
    ]
    for line, expected in cases:
        answer = node.say(line)
        assert expected in answer, f"{line}: {answer}"
    # A device of somebody else with our name.
    run("ip", "-n", NODE, "link", "add", "tap5", "type", "veth", "peer", "name", "foreign")
    assert "EXISTS" in node.say("tap 5")
    # At the limits: as many rules and members as there may be, and one more.
    for count, expected in ((1024, "ok"), (1025, "LIMIT")):
        node.ask("vpc 100 10.0.0.0/16")
        node.ask("group 1")
        for i in range(count):
            node.ask(f"rule in 6 {i} {i + 100} 0.0.0.0/0")
        assert expected in node.say("put")
    for count, expected in ((4096, "ok"), (4097, "LIMIT")):
        node.ask("vpc 100 10.0.0.0/16")
        node.ask("group 1")
        for i in range(count):
            node.ask(f"member 10.0.{i >> 8}.{i & 255}")
        assert expected in node.say("put")
