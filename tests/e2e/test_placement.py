"""Two nodes: where instances go, exact capacity, maintenance, placement groups, and nodes that sleep and are woken for real."""
import os
import threading
import time

import pytest
import cloud as lib
from cloud import ClientError, code_of, daemons, eventually
from testbed.term import Failure

SETTINGS = {"cc:zone-a": "silent_after = 3s\npower_idle_after = 5s\nwake_timeout = 60s\n"}


def directory(cloud, daemon):
    return daemons.state_directory(cloud.model, cloud.unit(daemon))


def configure(cloud, daemon, text):
    """Replaces what was appended before, and starts it again."""
    path = daemons.config_path(cloud.model, cloud.unit(daemon))
    with open(path, encoding="utf-8") as file:
        own = file.read().split("# of this test\n")[0]
    with open(path, "w", encoding="utf-8") as file:
        file.write(own + "# of this test\n" + text)
    cloud.restart(daemon)


@pytest.fixture(scope="module")
def pair():
    one = lib.Cloud(os.environ.get("MALLEE_E2E_CLOUD", "check") + "-p")
    keep = os.environ.get("MALLEE_KEEP") == "1"
    if one.model and not keep:
        one.down(wipe=True)
    one.up(zones=1, nodes=2, no_build=True)
    configure(one, "cc:zone-a", SETTINGS["cc:zone-a"])
    well(one)
    yield one
    if not keep:
        one.down(wipe=True)


def lines(cloud):
    return cloud.admin("nodes").splitlines()


def host_of(cloud, node_id):
    """The test bed's name of the host whose nc has that id."""
    for host in cloud.model.hosts:
        if host.kind == "node":
            with open(os.path.join(directory(cloud, f"nc:{host.name}"), "trust", "peer.conf"), encoding="utf-8") as file:
                if node_id in file.read():
                    return host.name
    raise AssertionError(node_id)


def node_ids(cloud):
    """{host: node id}"""
    return {host_of(cloud, line.split()[0]): line.split()[0] for line in lines(cloud)}


def line_of(cloud, node_id):
    return next(x for x in lines(cloud) if x.startswith(node_id + " "))


def zone(cloud):
    return cloud.admin("zone", "list").split()[0]


def well(cloud):
    """On a busy machine libvirt may be slow for a moment, and a degraded node is not counted."""
    eventually("two nodes are up", 120, lambda: len(lines(cloud)) == 2 and all("state=up" in x for x in lines(cloud)))


def running(cloud, instance):
    """Described, once it runs; a node may have to wake for that."""
    return cloud.wait(instance, "running", seconds=300)


def capacity(cloud, kind):
    well(cloud)
    count, sentence = cloud.admin("capacity", kind, zone(cloud)).strip().splitlines()
    return int(count), sentence


def nano(cloud, **options):
    return cloud.run(InstanceType="t2.nano", **options)


def clean(cloud):
    for line in lines(cloud):
        if "maintenance_since=" in line:
            cloud.admin("node", "maintenance", line.split()[0], "off")
    left = [i["InstanceId"] for i in cloud.instances("pending", "running", "stopping", "stopped")]
    if left:
        cloud.terminate(*left)
    for group in cloud.ec2.describe_placement_groups()["PlacementGroups"]:
        cloud.ec2.delete_placement_group(GroupName=group["GroupName"])


@pytest.fixture
def tidy(pair):
    clean(pair)
    yield pair
    clean(pair)


def test_groups_maintenance_and_capacity(pair, tidy):
    """A spread group takes one instance a node; the next one, and the one past the last that fits, fail as foretold."""
    made = pair.ec2.create_placement_group(GroupName="apart", Strategy="spread")["PlacementGroup"]
    assert pair.ec2.describe_placement_groups(GroupIds=[made["GroupId"]])["PlacementGroups"][0]["State"] == "available"
    both = nano(pair, count=2, Placement={"GroupName": "apart"})
    for one in both:
        assert running(pair, one)["Placement"]["GroupName"] == "apart"
    assert {pair.node_of(one) for one in both} == {h.name for h in pair.model.hosts if h.kind == "node"}
    well(pair)
    with pytest.raises(ClientError) as problem:
        nano(pair, Placement={"GroupName": "apart"})
    assert code_of(problem.value) == "InsufficientInstanceCapacity"
    assert "2 nodes have an instance of the placement group already" in str(problem.value)
    with pytest.raises(ClientError) as problem:
        pair.ec2.delete_placement_group(GroupName="apart")
    assert code_of(problem.value) == "InvalidPlacementGroup.InUse"
    # Maintenance: nothing new comes, and what is there goes on.
    ids = node_ids(pair)
    closed, open_ = sorted(ids)
    pair.admin("node", "maintenance", ids[closed], "on", "new fans")
    assert 'maintenance_reason="new fans"' in line_of(pair, ids[closed])
    well(pair)
    third = nano(pair)
    running(pair, third)
    assert pair.node_of(third) == open_
    assert all(pair.state(one) == "running" for one in both)
    # N fit, and N + 1 fails with the sentence that was foretold.
    kind = "m1.xlarge"
    count, sentence = capacity(pair, kind)
    assert "1 is in maintenance" in sentence
    reached = pair.ec2.run_instances(ImageId=pair.image, InstanceType=kind, MinCount=count, MaxCount=count,
                                     KeyName=pair.variables["MALLEE_KEY"])["Instances"] if count else []
    assert len(reached) == count
    with pytest.raises(ClientError) as problem:
        pair.run(InstanceType=kind)
    assert code_of(problem.value) == "InsufficientInstanceCapacity"
    assert problem.value.response["Error"]["Message"] == sentence
    pair.admin("node", "maintenance", ids[closed], "off")
    pair.terminate(*[i["InstanceId"] for i in reached], third, *both)
    # A stopped one leaves the group, or joins it.
    well(pair)
    one = nano(pair)
    running(pair, one)
    pair.ec2.stop_instances(InstanceIds=[one], Force=True)
    pair.wait(one, "stopped")
    pair.ec2.modify_instance_placement(InstanceId=one, GroupName="apart")
    assert pair.describe(one)["Placement"]["GroupName"] == "apart"
    pair.ec2.modify_instance_placement(InstanceId=one, GroupName="")
    pair.ec2.delete_placement_group(GroupName="apart")


def sleep(cloud, node_id):
    """By order, as soon as the clc has found the cc again that was just restarted."""
    eventually("the order is accepted", 20, lambda: cloud.admin("node", "sleep", node_id) or True)


class Machines(threading.Thread):
    """The hardware: a node whose helper ran its sleep command loses its nc, one that was called gets it back."""

    def __init__(self, cloud):
        super().__init__(daemon=True)
        self.cloud, self.ending = cloud, threading.Event()
        self.hosts = [h.name for h in cloud.model.hosts if h.kind == "node"]
        self.calls = []     # what happened, in order
        self.deaf = set()   # hosts that do not wake

    def sleep_file(self, host):
        return os.path.join(directory(self.cloud, f"helper:{host}"), "asleep")

    def wake_file(self, node_id):
        return os.path.join(directory(self.cloud, "cc:zone-a"), f"wake-{node_id}")

    def run(self):
        ids = node_ids(self.cloud)
        while not self.ending.wait(0.2):
            for host in self.hosts:
                if os.path.exists(self.sleep_file(host)):
                    time.sleep(1)   # the command has ended, the answer has gone: now the machine falls
                    os.unlink(self.sleep_file(host))
                    self.cloud.kill(f"nc:{host}")
                    self.calls.append(("sleep", host))
                if os.path.exists(self.wake_file(ids[host])):
                    os.unlink(self.wake_file(ids[host]))
                    if host not in self.deaf and not self.cloud.pid(f"nc:{host}"):
                        self.cloud.start(f"nc:{host}")
                        self.calls.append(("wake", host))

    def wake_all(self):
        self.ending.set()
        self.join()
        for host in self.hosts:
            if not self.cloud.pid(f"nc:{host}"):
                self.cloud.start(f"nc:{host}")


@pytest.fixture
def machines(pair, tidy):
    for host in (h.name for h in pair.model.hosts if h.kind == "node"):
        path = os.path.join(directory(pair, f"helper:{host}"), "asleep")
        configure(pair, f"helper:{host}", f"sleep_command = /usr/bin/touch {path}\n")
    configure(pair, "cc:zone-a", SETTINGS["cc:zone-a"] +
              f"wake_command = /usr/bin/touch {directory(pair, 'cc:zone-a')}/wake-{{node}}\n")
    well(pair)
    machines = Machines(pair)
    machines.start()
    yield machines
    pair.admin("zone", "set", zone(pair), "policy=round-robin")
    machines.wake_all()
    eventually("both are awake", 120, lambda: all("power=awake" in x and "state=up" in x for x in lines(pair)))


def test_nodes_that_sleep(pair, machines):
    ids = node_ids(pair)
    count, _ = capacity(pair, "t2.nano")
    # By order, at once; it stays up, asleep, and its capacity counts.
    sleep(pair, ids[machines.hosts[0]])
    eventually("it sleeps", 60, lambda: ("sleep", machines.hosts[0]) in machines.calls)
    time.sleep(5)       # longer than silent_after
    assert "state=up" in line_of(pair, ids[machines.hosts[0]]) and "power=asleep" in line_of(pair, ids[machines.hosts[0]])
    assert capacity(pair, "t2.nano")[0] == count
    assert pair.ec2.describe_availability_zones()["AvailabilityZones"][0]["State"] == "available"
    well(pair)
    # Instances go where somebody is awake; that node may not sleep then, nor be put to sleep.
    one = nano(pair)
    running(pair, one)
    assert pair.node_of(one) == machines.hosts[1]
    with pytest.raises(Failure, match="is needed"):
        pair.admin("node", "sleep", ids[machines.hosts[1]])
    # One that must have the sleeping node waits for it, and says so.
    pair.ec2.create_placement_group(GroupName="awake", Strategy="spread")
    pair.ec2.stop_instances(InstanceIds=[one], Force=True)
    pair.wait(one, "stopped")
    pair.ec2.modify_instance_placement(InstanceId=one, GroupName="awake")
    pair.ec2.start_instances(InstanceIds=[one])
    running(pair, one)
    other = nano(pair, Placement={"GroupName": "awake"})
    said = eventually("it says what it waits for", 40, lambda: (
        lambda d: d if "to wake" in d.get("StateReason", {}).get("Message", "") or d["State"]["Name"] == "running" else None)(
            pair.describe(other)), every=0.2)
    if said["State"]["Name"] == "pending":
        assert said["StateReason"]["Message"] == f"waiting for node {ids[machines.hosts[0]]} to wake"
    running(pair, other)
    assert ("wake", machines.hosts[0]) in machines.calls
    assert pair.node_of(other) == machines.hosts[0]
    eventually("it is awake", 30, lambda: "power=awake" in line_of(pair, ids[machines.hosts[0]]))
    pair.terminate(one, other)
    pair.ec2.delete_placement_group(GroupName="awake")
    # By policy: both fall asleep when nothing runs; a launch wakes one, and only one.
    pair.admin("zone", "set", zone(pair), "policy=power-save")
    eventually("both sleep", 120, lambda: all("power=asleep" in x for x in lines(pair)))
    eventually("both are down", 60, lambda: not any(pair.pid(f"nc:{h}") for h in machines.hosts))
    machines.calls.clear()
    third = nano(pair)
    running(pair, third)
    assert [c for c in machines.calls if c[0] == "wake"] == [("wake", pair.node_of(third))]
    # A machine that does not wake: what waits for it goes elsewhere.
    deaf = next(h for h in machines.hosts if h != pair.node_of(third))
    machines.deaf.add(deaf)
    fourth = nano(pair)     # there is room where somebody is awake
    running(pair, fourth)
    assert pair.node_of(fourth) != deaf and not pair.pid(f"nc:{deaf}")


LISTEN = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 4009))
s.settimeout(60)
print(s.recv(200).hex())
"""


def test_a_magic_packet_wakes(pair, machines):
    """Without a command it is the hardware's own way: a packet with the address that the node has told."""
    host = machines.hosts[0]
    interface, address = underlay_of(pair, host)
    configure(pair, f"nc:{host}", f"wake_interface = {interface}\n")
    ctl = next(h for h in pair.model.hosts if h.kind == "ctl")
    configure(pair, "cc:zone-a", SETTINGS["cc:zone-a"] + f"wake_broadcast = {ctl.underlay}:4009\n")
    ids = node_ids(pair)
    well(pair)
    sleep(pair, ids[host])
    eventually("it sleeps", 60, lambda: ("sleep", host) in machines.calls)
    heard = []
    listener = threading.Thread(target=lambda: heard.append(pair.on(ctl.name, "/usr/bin/python3", "-c", LISTEN).strip()))
    listener.start()
    time.sleep(1)
    pair.admin("node", "wake", ids[host])
    listener.join(90)
    mac = address.replace(":", "")
    assert heard == ["ff" * 6 + mac * 16]
    pair.start(f"nc:{host}")
    eventually("it is awake", 60, lambda: "power=awake" in line_of(pair, ids[host]))


def underlay_of(cloud, host):
    """(interface, hardware address) that carries the host's own address."""
    address = next(h for h in cloud.model.hosts if h.name == host).underlay
    interface = next(x.split()[1] for x in cloud.on(host, "ip", "-o", "-4", "address").splitlines() if f" {address}/" in x)
    return interface, cloud.on(host, "cat", f"/sys/class/net/{interface}/address").strip()
