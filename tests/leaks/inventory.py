#!/usr/bin/python3
"""Everything a cloud has, and who owns it. `tests/leaks/inventory.py NAME` prints what nobody owns.

Owners are what the API shows to each account: instances that are not terminated, and registered images. Guests,
directories, taps, addresses, VPC namespaces, console logs, cached images, processes, and rows of the
nodes' and zones' stores must each belong to one. The daemons clean up in the background, so a caller asks
again for a while before it believes in a leak.
"""
import glob
import os
import re
import sqlite3
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import cloud as lib  # noqa: E402
from cloud import daemons, hosts, net, proc  # noqa: E402

INSTANCE = re.compile(r"\bi-[0-9a-f]{17}\b")


def nodes(cloud):
    return [h for h in cloud.model.hosts if h.kind == "node"]


def stores(cloud):
    """{daemon: paths of its SQLite files}"""
    found = {}
    for one in daemons.units(cloud.model):
        if one.spec.port:
            directory = daemons.state_directory(cloud.model, one)
            found[one.name] = sorted(glob.glob(f"{directory}/*.db") + glob.glob(f"{directory}/*.sqlite"))
    return found


def rows_naming_instances(path):
    """{(table, instance id)} of a store, whatever its tables are; read only, beside the daemon."""
    found = set()
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10) as db:
        db.text_factory = lambda raw: raw.decode("utf-8", "replace")
        tables = [r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in db.execute(f'SELECT * FROM "{table}"'):
                for value in row:
                    if isinstance(value, str):
                        found.update((table, i) for i in INSTANCE.findall(value))
    return found


def vpc_namespaces(cloud, node):
    """{name: path from our own mount namespace} of the VPC namespaces on a node"""
    pid = hosts.init_pid(cloud.model, node.name)
    return {os.path.basename(p): p for p in glob.glob(f"/proc/{pid}/root/run/mallee/netns/*")}


def links(cloud, node, namespace=None):
    argv = ["ip", "-o", "link", "show"]
    if namespace:
        argv = ["nsenter", f"--net=/run/mallee/netns/{namespace}", *argv]
    return {line.split(": ")[1].split("@")[0] for line in cloud.on(node.name, *argv).splitlines()}


def of_node(cloud, node, live, leaks):
    def leak(text):
        leaks.append(f"{node.name}: {text}")

    defined = set(cloud.on(node.name, "virsh", "list", "--all", "--name").split())
    for name in sorted(defined - set(live)):
        leak(f"libvirt domain {name}")
    running = set(cloud.on(node.name, "virsh", "list", "--name").split())
    taps, namespaces = {d for d in links(cloud, node) if d.startswith("tap")}, vpc_namespaces(cloud, node)
    for namespace in namespaces:
        taps |= {d for d in links(cloud, node, namespace) if d.startswith("tap")}
    if len(taps) > len(running & set(live)):
        leak(f"{len(taps)} taps ({', '.join(sorted(taps))}) for {len(running & set(live))} running guests")
    # The network of a VPC stays on a node that once had a NIC of it, as long as the VPC is.
    if len(namespaces) > cloud.vpc_count():
        leak(f"{len(namespaces)} VPC namespaces ({', '.join(sorted(namespaces))}) for {cloud.vpc_count()} VPCs")
    addresses = cloud.on(node.name, "ip", "neigh", "show", "proxy", "dev", "pub0").split()
    public = {one.get("PublicIpAddress") for one in live.values()}
    for word in addresses:
        if word.count(".") == 3 and word not in public:
            leak(f"public address {word}")
    state = hosts.directory(cloud.model, node)
    for path in sorted(glob.glob(f"{state}/*/instances/*") + glob.glob(f"{state}/*/consoles/*")):
        for instance in INSTANCE.findall(os.path.basename(path)):
            if instance not in live:
                leak(f"file {path}")
    inside = proc.in_namespaces([proc.namespace(hosts.netns_path(cloud.model.netns(node.name)))])
    for pid in inside:
        words = proc.command_line(pid)
        if words and "qemu" in os.path.basename(words[0]):
            named = INSTANCE.findall(" ".join(words))
            if not named or named[0] not in live:
                leak(f"process {pid}: {' '.join(words)[:100]}")


def find(cloud):
    """One line for each thing without an owner."""
    leaks = []
    everything = {i["InstanceId"]: i for i in cloud.everybodys_instances()}
    live = {i: one for i, one in everything.items() if one["State"]["Name"] not in ("terminated", "shutting-down")}
    for node in nodes(cloud):
        of_node(cloud, node, live, leaks)
    for daemon, paths in stores(cloud).items():
        # The clc remembers the ended for an hour, for the API; nobody else does.
        known = set(everything) if daemon == "clc" else set(live)
        for path in paths:
            for table, instance in sorted(rows_naming_instances(path)):
                if instance not in known and not table.startswith(("audit", "outbox")):
                    leaks.append(f"{daemon}: row of table {table} for {instance}")
    return leaks


LISTENERS = {
    # kind of host: {(protocol, port): whose}
    "ctl": {("tcp", 8773): "clc", ("tcp", 8777): "walrus", ("tcp", 9773): "clc's status",
            ("tcp", 9777): "walrus' status"},
    "zone": {("tcp", 8774): "cc", ("tcp", 9774): "cc's status"},
    "storage": {("tcp", 8776): "sc", ("tcp", 9776): "sc's status"},
    "node": {("tcp", 8775): "nc", ("tcp", 9775): "nc's status"},
    "outside": {},
}
# In each VPC's namespace: where guests ask.
VPC_LISTENERS = {("tcp", "169.254.169.254", 80), ("udp", "0.0.0.0", 67), ("udp", "169.254.169.253", 53),
                 ("tcp", "169.254.169.253", 53)}


def unknown_listeners(cloud):
    """(listening sockets that the table does not have, those of the table that do not listen)"""
    unknown, absent = [], []
    for host in cloud.model.hosts:
        wanted = dict(LISTENERS[host.kind])
        for protocol, address, port in sorted(net.listeners(cloud.model.netns(host.name))):
            if (protocol.rstrip("6"), port) in wanted:
                if port in range(9773, 9900) and address not in ("127.0.0.1", "::1"):
                    unknown.append(f"{host.name}: status on {address}:{port}, not only on loopback")
            else:
                unknown.append(f"{host.name}: {protocol} {address}:{port}")
        have = {(p.rstrip("6"), port) for p, _, port in net.listeners(cloud.model.netns(host.name))}
        absent += [f"{host.name}: {wanted[k]}" for k in wanted if k not in have]
        if host.kind == "node":
            for name, path in vpc_namespaces(cloud, host).items():
                have = net.listeners(path)
                unknown += [f"{host.name} {name}: {one}" for one in sorted(have - VPC_LISTENERS)]
                absent += [f"{host.name} {name}: {one}" for one in sorted(VPC_LISTENERS - have)]
    return unknown, absent


if __name__ == "__main__":
    lines = find(lib.Cloud(sys.argv[1] if len(sys.argv) > 1 else "mallee"))
    print("\n".join(lines) or "everything has an owner")
    sys.exit(1 if lines else 0)
