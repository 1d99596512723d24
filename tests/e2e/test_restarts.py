"""Daemons die at bad moments; what was acknowledged happens, once, and guests never notice."""
import glob
import os
import subprocess
import threading
import time

import pytest
from cloud import daemons, eventually, hosts


@pytest.fixture(autouse=True)
def everything_runs_again(cloud):
    """A test that failed half way leaves no daemon dead and no cable cut."""
    yield
    hosts.heal(cloud.model)
    for one in daemons.units(cloud.model):
        daemons.start(cloud.model, one)


class Ping:
    """Pings an address from `outside`, five times a second, while a block runs; then tells the losses."""

    def __init__(self, cloud, address):
        argv = hosts.enter(cloud.model, "outside", "ping", "-n", "-i", "0.2", "-W", "1", address)
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.answers = []
        self.thread = threading.Thread(target=self.read, daemon=True)

    def read(self):
        for line in self.process.stdout:
            if "icmp_seq=" in line and "ttl=" in line:
                self.answers.append(int(line.split("icmp_seq=")[1].split()[0]))

    def __enter__(self):
        self.thread.start()
        eventually("a first answer", 10, lambda: self.answers)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.thread.join(5)

    @property
    def lost(self):
        return self.answers[-1] - self.answers[0] + 1 - len(self.answers)


def boot_count(cloud, instance_id):
    return cloud.console(instance_id).count("TINY userspace")


def test_clc_killed_between_answer_and_running(cloud, tidy):
    one = cloud.run()
    cloud.kill("clc")
    # No client calls now: the rest of the cloud, and the clc once it is back, do it alone.
    time.sleep(1)
    cloud.start("clc")
    cloud.wait(one, "running")
    guest = cloud.guest(one).wait()
    assert guest.boots() == 1
    assert sum(one in ids for ids in cloud.domains().values()) == 1
    assert boot_count(cloud, one) == 1


def test_clc_dead_for_the_whole_boot(cloud, tidy):
    one = cloud.run()
    eventually("the order reached the node", 30, lambda: any(one in ids for ids in cloud.domains().values()))
    cloud.kill("clc")
    eventually("the guest boots without it", 120, lambda: "TINY ready" in console_on_node(cloud, one), every=1)
    cloud.start("clc")
    cloud.wait(one, "running", 30)
    assert cloud.guest(one).wait().boots() == 1


def console_on_node(cloud, instance_id):
    """Straight from the nodes' files, when there is no API to ask."""
    text = ""
    for host in cloud.model.hosts:
        for path in glob.glob(os.path.join(hosts.directory(cloud.model, host), "*/consoles", f"{instance_id}*")):
            with open(path, encoding="utf-8", errors="replace") as file:
                text += file.read()
    return text


@pytest.mark.parametrize("daemon", ["cc:zone-a", "nc:zone-a-node-1", "walrus", "helper:zone-a-node-1"])
def test_a_daemon_killed_during_a_launch(cloud, tidy, daemon):
    one = cloud.run()
    cloud.kill(daemon)
    time.sleep(0.5)
    cloud.start(daemon)
    cloud.wait(one, "running", 120)
    assert cloud.guest(one).wait().boots() == 1


@pytest.mark.parametrize("daemon", ["helper:zone-a-node-1", "nc:zone-a-node-1", "cc:zone-a", "clc",
                                    "libvirtd:zone-a-node-1"])
def test_networks_and_guests_outlive(cloud, resident, daemon):
    guest = cloud.guest(resident)
    boots = guest.boots()
    with Ping(cloud, guest.address) as ping:
        cloud.kill(daemon)
        time.sleep(2)
        cloud.start(daemon)
        time.sleep(3)
    assert ping.lost <= 1, f"{ping.lost} of {len(ping.answers)} answers lost"
    assert guest.boots() == boots
    eventually("it is still running", 30, lambda: cloud.state(resident) == "running")


def test_metadata_works_without_the_other_daemons(cloud, resident):
    guest = cloud.guest(resident)
    address = guest.address
    for daemon in ("clc", "cc:zone-a", "walrus"):
        cloud.kill(daemon)
    try:
        got = guest.sh("timeout 5 wget -q -O - http://169.254.169.254/latest/meta-data/instance-id", address=address)
        assert got == resident
    finally:
        for daemon in ("clc", "walrus", "cc:zone-a"):
            cloud.start(daemon)


def test_calls_queue_while_the_clc_is_dead(cloud):
    """The front door stays open in its holder: a call made meanwhile is answered by the next clc."""
    cloud.kill("clc")
    answers = []
    client = cloud.client("ec2")
    caller = threading.Thread(target=lambda: answers.append(client.describe_regions()["Regions"]))
    caller.start()
    time.sleep(1)
    assert not answers
    cloud.start("clc")
    caller.join(30)
    assert answers


def test_order_given_while_the_node_is_cut_off(cloud, tidy):
    with cloud.cut("zone-a", "zone-a-node-1"):
        one = cloud.run()
        time.sleep(3)
        assert cloud.state(one) == "pending"
    cloud.wait(one, "running", 120)
    assert cloud.guest(one).wait().boots() == 1


def test_a_silent_node_is_seen_and_nothing_is_lost(cloud, resident):
    guest = cloud.guest(resident)
    boots = guest.boots()

    def status_of():
        found = cloud.ec2.describe_instance_status(InstanceIds=[resident])["InstanceStatuses"][0]
        return found["SystemStatus"]["Status"]

    with cloud.cut("zone-a", "zone-a-node-1"):
        eventually("the clc says that the node is silent", 90,
                   lambda: "silent" in cloud.admin("nodes", check=False), every=1)
        assert cloud.state(resident) == "running"
    eventually("the node is back", 60, lambda: "silent" not in cloud.admin("nodes", check=False), every=1)
    assert cloud.state(resident) == "running" and guest.boots() == boots
    assert sum(resident in ids for ids in cloud.domains().values()) == 1


def test_stop_while_the_nc_is_dead(cloud, tidy):
    one = cloud.booted()
    cloud.kill("nc:zone-a-node-1")
    cloud.ec2.stop_instances(InstanceIds=[one])
    time.sleep(1)
    assert cloud.state(one) == "stopping"
    cloud.start("nc:zone-a-node-1")
    cloud.wait(one, "stopped", 120)


def test_guest_killed_on_its_node(cloud, tidy):
    """QEMU dies: the instance is not running any more, and says why."""
    one = cloud.run()
    cloud.wait(one, "running")
    node = cloud.node_of(one)
    pid = cloud.on(node, "cat", f"/run/libvirt/qemu/{one}.pid").strip()
    subprocess.run(["kill", "-9", pid], check=True)
    ended = eventually("it is not running", 60, lambda: (d := cloud.describe(one))["State"]["Name"] != "running" and d)
    assert ended["StateReason"]["Message"]
