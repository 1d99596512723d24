"""`mallee-admin why`: within a second of anything being off its wanted state there is a code, a sentence, since when,
what it waits for and who can act. A clc with real daemons of one zone beside it, on loopback: a cc, a walrus and a
node controller whose root helper is missing, which is how a node looks whose libvirt does not answer."""
import datetime
import os
import re
import signal
import subprocess
import time

import front
import pytest
from strict import check_ec2

ZONE = "zone-w"
LINES = ["id", "state", "wanted", "code", "reason", "since", "waits_for", "who"]


class Peer:
    """A daemon that joined the clc's cloud."""

    def __init__(self, clc, role, zone=None, **keys):
        self.clc, self.role, self.process = clc, role, None
        self.directory = os.path.join(clc.directory, role)
        os.makedirs(self.directory, exist_ok=True)
        self.config = os.path.join(self.directory, "conf")
        self.port = front.free_port()
        lines = {"state_dir": f"{self.directory}/state", "runtime_dir": f"{self.directory}/run",
                 "listen": f"127.0.0.1:{self.port}", "advertise": f"https://127.0.0.1:{self.port}",
                 "status_listen": f"127.0.0.1:{front.free_port()}", "workers": "4", **keys}
        with open(self.config, "w", encoding="utf-8") as file:
            file.writelines(f"{k} = {v}\n" for k, v in lines.items())
        token = clc.mallee_admin("token", role, *([zone] if zone else [])).split()[-1]
        with subprocess.Popen([self.program, "--config", self.config, "join", f"https://127.0.0.1:{clc.port}", token, "2"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as command:
            certificate = f"{self.directory}/state/trust/certificate.pem"
            while command.poll() is None and not os.path.exists(certificate):
                time.sleep(0.02)
            assert os.path.exists(certificate), command.communicate()[0]
            self.start()
            command.communicate(timeout=60)
        self.id = clc.rows("SELECT peer_id FROM peer WHERE role = ?", role)[0][0]

    @property
    def program(self):
        return self.clc.program(f"mallee-{self.role}")

    def start(self):
        with open(os.path.join(self.directory, "log"), "ab") as log:
            self.process = subprocess.Popen([self.program, "--config", self.config], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)

    def stop(self, how=signal.SIGKILL):
        if self.process:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None


def parse(text):
    """The blocks, each with all its lines in their order, and none of them empty."""
    blocks = []
    for block in text.strip().split("\n\n"):
        lines = [re.fullmatch(r"(\S+) +(\S.*)", line) for line in block.splitlines()]
        assert all(lines), block
        assert [line[1] for line in lines] == LINES, block
        blocks.append({line[1]: line[2] for line in lines})
    for one in blocks:
        assert one["who"] in ("cloud", "administrator", "user", "nobody"), one
        stamp = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) \(\d+ (s|min|h|days)\)", one["since"])
        assert stamp, one
        one["at"] = datetime.datetime.fromisoformat(stamp[1].replace("Z", "+00:00")).timestamp()
        assert 0 < one["at"] <= time.time() + 1, one
    return blocks


def why(clc, one):
    return parse(clc.mallee_admin("why", one))[0]


def all_off(clc):
    text = clc.mallee_admin("why")
    return {} if text == "everything is as it should be\n" else {b["id"]: b for b in parse(text)}


def soon(clc, one, code, seconds=1.0):
    """Its block, which has that code within a second, and is never without one before. The last look begins after
    that time: however long a look takes, it is the daemon that was late."""
    end = time.monotonic() + seconds
    while True:
        asked = time.monotonic()
        block = why(clc, one)
        if block["code"] == code:
            return block
        assert asked < end, (code, block)
        time.sleep(0.02)


@pytest.fixture(scope="module")
def world():
    clc = front.Clc()
    clc.peers = {}
    try:
        clc.start()
        clc.peers["cc"] = Peer(clc, "cc", ZONE, silent_after="1s")
        clc.peers["walrus"] = Peer(clc, "walrus")
        clc.peers["nc"] = Peer(clc, "nc", ZONE, helper_socket=f"{clc.directory}/no-helper.sock", resolver="none",
                               vcpus="1")
        clc.account = clc.new_account("one")
        clc.image = clc.seed_image(clc.account)
        yield clc
    finally:
        for one in clc.peers.values():
            one.stop()
        clc.close()


def room(clc, state="up"):
    """The clc counts on this much, as if a node of the zone had said so."""
    clc.rows("INSERT OR REPLACE INTO node (node_id, zone, state, hypervisor, vcpus, memory_mib, disk_gib, vcpus_used,"
             " memory_mib_used, disk_gib_used, last_seen_us) VALUES ('nc-seeded', ?, ?, 'qemu', 64, 65536, 10000, 0, 0, 0, ?)",
             ZONE, state, int(time.time() * 1e6))


def run(clc):
    room(clc)
    return check_ec2(clc.ec2(clc.account, "RunInstances", ImageId=clc.image, MinCount="1", MaxCount="1",
                             InstanceType="t2.nano"), "RunInstances").text("instanceId")


def test_nobody_knows_it(world):
    for one in ("i-12345678", "ami-12345678", "vpc-12345678", "nc-none", "zone-none", "x", "lt-12345678"):
        with pytest.raises(subprocess.CalledProcessError) as failed:
            world.mallee_admin("why", one)
        assert failed.value.returncode == 1 and one in failed.value.stderr


def test_what_is_as_it_should_be(world):
    account = world.account
    subnet = world.ec2(account, "DescribeSubnets")
    key = world.ec2(account, "CreateKeyPair", KeyName="k").text("keyPairId")
    template = world.ec2(account, "CreateLaunchTemplate", LaunchTemplateName="web",
                         LaunchTemplateData__InstanceType="t2.nano").text("launchTemplateId")
    for one in (world.image, key, template, subnet.text("subnetId"), subnet.text("vpcId"),
                world.ec2(account, "DescribeSecurityGroups").text("groupId"), world.peers["cc"].id, world.peers["walrus"].id):
        block = why(world, one)
        assert (block["id"], block["code"], block["who"], block["waits_for"]) == (one, "ok", "nobody", "nothing")
        assert block["state"] == block["wanted"]


def test_a_node_that_cannot_work(world):
    """Its helper is missing: the node says so itself."""
    node = world.peers["nc"].id
    block = soon(world, node, "Server.NodeDegraded", 5)
    assert (block["state"], block["wanted"], block["who"], block["waits_for"]) == ("degraded", "up", "administrator",
                                                                                   f"node {node}")
    assert "helper" in block["reason"]
    assert node in all_off(world)


def test_a_node_in_maintenance(world):
    """It is as its administrator wants it, and the reason says what that is."""
    room(world)
    world.mallee_admin("node", "maintenance", "nc-seeded", "on", "a new disk")
    block = why(world, "nc-seeded")
    assert (block["code"], block["state"], block["who"]) == ("Server.NodeMaintenance", "up", "administrator")
    assert "takes no new instances: a new disk" in block["reason"]
    assert "nc-seeded" not in all_off(world)
    world.mallee_admin("node", "maintenance", "nc-seeded", "off")
    assert why(world, "nc-seeded")["code"] == "ok"


def test_a_zone_without_nodes(world):
    world.rows("DELETE FROM node WHERE node_id = 'nc-seeded'")
    block = why(world, ZONE)
    assert (block["code"], block["state"], block["who"]) == ("Server.ZoneWithoutNodes", "impaired", "administrator")
    room(world)
    assert why(world, ZONE)["code"] == "ok"


def test_libvirt_is_stuck(world):
    """It was placed, and its node can do nothing: what the node says of itself is the reason."""
    i = run(world)
    block = soon(world, i, "Server.NodeDegraded")
    node = world.peers["nc"].id
    assert (block["state"], block["wanted"], block["who"], block["waits_for"]) == ("pending", "running", "administrator",
                                                                                   f"node {node}")
    assert "helper" in block["reason"] and i in all_off(world)
    shown = check_ec2(world.ec2(world.account, "DescribeInstances", InstanceId__1=i), "DescribeInstances").find("stateReason")
    assert shown.find("{*}code").text == "pending" and "helper" in shown.find("{*}message").text


def test_no_room_when_it_was_placed(world):
    """The zone's only node is full, and the cc does not count on what the clc does."""
    i = run(world)
    block = soon(world, i, "Server.InsufficientInstanceCapacity")
    assert (block["state"], block["wanted"], block["who"]) == ("terminated", "terminated", "administrator")
    assert "no node of this zone has room" in block["reason"]


def test_the_cc_goes_and_comes(world):
    cc = world.peers["cc"]
    cc.stop()
    killed = time.time()
    i = run(world)
    block = soon(world, i, "Server.ZoneUnreachable")
    assert (block["state"], block["wanted"], block["who"]) == ("pending", "running", "administrator")
    assert block["waits_for"] == f"cluster controller {cc.id} of zone {ZONE}"
    assert re.match(rf"waiting for cluster controller {cc.id} of zone {ZONE}, which does not answer since "
                    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ: .*connect", block["reason"], re.I), block
    assert abs(block["at"] - killed) < 1.5
    # The user sees the sentence, with Amazon's code.
    shown = check_ec2(world.ec2(world.account, "DescribeInstances", InstanceId__1=i), "DescribeInstances").find("stateReason")
    assert shown.find("{*}code").text == "pending" and cc.id in shown.find("{*}message").text
    assert soon(world, ZONE, "Server.ZoneUnreachable")["state"] == "unavailable"
    peer = soon(world, cc.id, "Server.PeerDown")
    assert peer["state"] == "down" and f"127.0.0.1:{cc.port}" in peer["reason"]
    assert soon(world, world.peers["nc"].id, "Server.ZoneUnreachable")["who"] == "administrator"
    off = all_off(world)
    assert {i, ZONE, cc.id} <= set(off)
    assert list(off).index(ZONE) < list(off).index(i)
    cc.start()
    assert soon(world, i, "Server.InsufficientInstanceCapacity", 10)["state"] == "terminated"
    assert soon(world, cc.id, "ok")["state"] == "up"
    assert i not in all_off(world)


def test_telling_is_paused(world):
    world.mallee_admin("reconcilers", "pause", f"zone {ZONE}")
    try:
        i = run(world)
        block = why(world, i)
        assert (block["code"], block["who"]) == ("Server.Paused", "administrator")
        assert block["waits_for"] == f"mallee-admin reconcilers resume 'zone {ZONE}'"
        assert why(world, ZONE)["code"] == "Server.Paused"
    finally:
        world.mallee_admin("reconcilers", "resume", f"zone {ZONE}")
    soon(world, i, "Server.InsufficientInstanceCapacity", 5)


def test_the_zone_cannot_be_told(world):
    """No walrus has a URL for the image's files: the order can't be made."""
    peer = world.rows("SELECT * FROM peer WHERE role = 'walrus'")[0]
    world.rows("DELETE FROM peer WHERE role = 'walrus'")
    try:
        i = run(world)
        block = soon(world, i, "Server.ZoneRefuses")
        assert block["who"] == "administrator" and "no walrus has joined this cloud" in block["reason"]
    finally:
        world.rows(f"INSERT INTO peer VALUES ({', '.join('?' * len(peer))})", *peer)
    soon(world, i, "Server.InsufficientInstanceCapacity", 20)


def test_walrus_goes(world):
    walrus = world.peers["walrus"]
    walrus.stop()
    block = soon(world, walrus.id, "Server.PeerDown")
    assert (block["state"], block["wanted"], block["who"], block["waits_for"]) == ("down", "up", "administrator",
                                                                                   f"walrus {walrus.id}")
    walrus.start()
    soon(world, walrus.id, "ok", 5)


def test_a_silent_node(world):
    nc = world.peers["nc"]
    nc.stop()
    killed = time.time()
    block = soon(world, nc.id, "Server.NodeSilent", 5)
    assert (block["state"], block["who"], block["waits_for"]) == ("silent", "administrator", f"node {nc.id}")
    assert abs(block["at"] - killed) < 5
    assert world.peers["cc"].id in block["reason"]
    nc.start()
    assert soon(world, nc.id, "Server.NodeDegraded", 10)["at"] > killed


def place(clc, i, **columns):
    """The row as reports of a zone would have left it."""
    names = ", ".join(f"{name} = ?" for name in columns)
    clc.rows(f"UPDATE instance SET {names} WHERE instance_id = ?", *columns.values(), i)


def test_instances_on_a_node(world):
    """What a zone reported of them, as rows: silent, degraded, without a word, stopping, image missing."""
    world.mallee_admin("reconcilers", "pause", f"zone {ZONE}")
    try:
        i = run(world)
        node = world.peers["nc"].id
        place(world, i, to_put=0)
        assert why(world, i)["code"] == "Server.WaitingForZone"
        place(world, i, node_id="nc-seeded")
        block = why(world, i)
        assert (block["code"], block["waits_for"], block["who"]) == ("Server.WaitingForNode", "node nc-seeded", "cloud")
        place(world, i, step="starting guest", step_us=int((time.time() - 7) * 1e6))
        block = why(world, i)
        assert (block["code"], block["reason"]) == ("Server.Starting", "starting guest")
        assert "(7 s)" in block["since"] or "(8 s)" in block["since"]
        place(world, i, waits_for="libvirt", who="administrator")
        block = why(world, i)
        assert (block["waits_for"], block["who"]) == ("libvirt", "administrator")
        place(world, i, node_id=node, waits_for=None, who=None)
        soon(world, node, "Server.NodeDegraded", 10)
        assert (why(world, i)["code"], why(world, i)["who"]) == ("Server.NodeDegraded", "administrator")
        place(world, i, node_id="nc-seeded", state="running", step=None, is_unreachable=1)
        block = why(world, i)
        assert (block["code"], block["who"], block["waits_for"]) == ("Server.Unreachable", "administrator", "node nc-seeded")
        shown = check_ec2(world.ec2(world.account, "DescribeInstances", InstanceId__1=i), "DescribeInstances")
        assert shown.find("stateReason").find("{*}code").text == "Server.Unreachable"
        assert i in all_off(world)
        place(world, i, state="stopping", wanted="stopped", is_unreachable=0, step="shutting down the guest",
              step_us=int(time.time() * 1e6))
        assert why(world, i)["code"] == "Server.Stopping"
        place(world, i, state="terminated", wanted="terminated", reason_code="Server.InvalidImage", step=None, holds=0,
              reason_message="Server.InvalidImage: image 'ami-1' is missing")
        block = why(world, i)
        assert (block["code"], block["who"]) == ("Server.InvalidImage", "user") and "is missing" in block["reason"]
        assert i not in all_off(world)
    finally:
        world.mallee_admin("reconcilers", "resume", f"zone {ZONE}")


def test_a_certificate_that_ran_out(world):
    walrus = world.peers["walrus"].id
    before = world.rows("SELECT expires_us FROM peer WHERE peer_id = ?", walrus)[0][0]
    world.rows("UPDATE peer SET expires_us = ? WHERE peer_id = ?", int((time.time() - 90) * 1e6), walrus)
    block = why(world, walrus)
    assert (block["state"], block["code"], block["who"]) == ("expired", "Server.CertificateExpired", "administrator")
    assert walrus in all_off(world)
    world.rows("UPDATE peer SET expires_us = ? WHERE peer_id = ?", before, walrus)
    assert why(world, walrus)["code"] == "ok"


def test_a_zone_without_a_controller(world):
    world.rows("INSERT INTO zone (name, zone_id, position, nodes_revision, nodes_put, report_epoch, report_revision,"
               " created_us) VALUES ('zone-empty', 'm1-az9', 8, 1, 1, 0, 0, ?)", int(time.time() * 1e6))
    block = why(world, "zone-empty")
    assert (block["code"], block["who"]) == ("Server.ZoneWithoutController", "administrator")
    world.rows("DELETE FROM zone WHERE name = 'zone-empty'")
