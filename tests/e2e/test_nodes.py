"""Several nodes and zones: where instances go, and what becomes of them when hosts, links, daemons or stores fail."""
import os
import shutil
import sqlite3
import time

import pytest
import cloud as lib
from cloud import ClientError, code_of, daemons, eventually, hosts

SILENT_AFTER = 3


@pytest.fixture(scope="module")
def wide():
    """Two zones of two nodes, which call a node silent soon."""
    one = lib.Cloud(os.environ.get("MALLEE_E2E_CLOUD", "check") + "-w")
    keep = os.environ.get("MALLEE_KEEP") == "1"
    if one.model and not keep:
        one.down(wipe=True)
    one.up(zones=2, nodes=2, no_build=True)
    for zone in ("zone-a", "zone-b"):
        cc = one.unit(f"cc:{zone}")
        with open(daemons.config_path(one.model, cc), "a", encoding="utf-8") as file:
            file.write(f"silent_after = {SILENT_AFTER}s\n")
        one.restart(f"cc:{zone}")
    eventually("four nodes are up", 30, lambda: node_states(one).count("up") == 4)
    yield one
    if not keep:
        one.down(wipe=True)


def node_states(cloud):
    return [word.removeprefix("state=") for word in cloud.admin("nodes").split() if word.startswith("state=")]


def run(cloud, zone, **options):
    return cloud.run(InstanceType="t2.nano", Placement={"AvailabilityZone": zone}, **options)


@pytest.fixture(scope="module")
def pair(wide):
    """Two instances in zone-a, which the tests here do not change."""
    pair = [run(wide, "zone-a"), run(wide, "zone-a")]
    for one in pair:
        wide.wait(one, "running")
    return pair


def guests(cloud, ids):
    """{instance: (node, pid of its QEMU)}: neither changes while it is the same guest."""
    found = {}
    for node, there in cloud.domains().items():
        for one in there.intersection(ids):
            assert one not in found, f"{one} runs twice"
            found[one] = (node, cloud.on(node, "cat", f"/run/libvirt/qemu/{one}.pid").strip())
    return found


@pytest.fixture
def untouched(wide, pair):
    """Whatever a test does, the guests of the pair stay the same, run once, and are well in the end."""
    before = guests(wide, pair)
    assert set(before) == set(pair)
    yield before
    eventually("they are running and reachable", 60, lambda: all(is_well(wide.describe(one)) for one in pair))
    assert guests(wide, pair) == before


def is_well(described):
    return described["State"]["Name"] == "running" and "StateReason" not in described


def end(cloud, one):
    """Without waiting: a guest that has not booted does not hear the power button."""
    cloud.ec2.terminate_instances(InstanceIds=[one])


def zone_states(cloud):
    return {z["ZoneName"]: z["State"] for z in cloud.ec2.describe_availability_zones()["AvailabilityZones"]}


def test_placement_spreads(wide, pair):
    assert {node for node, _ in guests(wide, pair).values()} == {"zone-a-node-1", "zone-a-node-2"}


def test_zone_is_as_asked(wide):
    assert zone_states(wide) == {"zone-a": "available", "zone-b": "available"}
    one = run(wide, "zone-b")
    assert wide.wait(one, "running")["Placement"]["AvailabilityZone"] == "zone-b"
    assert wide.node_of(one).startswith("zone-b-")
    end(wide, one)
    with pytest.raises(ClientError) as problem:
        run(wide, "zone-z")
    assert code_of(problem.value) == "InvalidParameterValue"


def test_a_node_cut_off(wide, pair, untouched):
    """Its instances are unreachable and say so; the others are not concerned; all is well again afterwards."""
    lost = next(one for one in pair if untouched[one][0] == "zone-a-node-1")
    other = next(one for one in pair if one != lost)
    with wide.cut("zone-a-node-1"):
        reason = eventually("it is unreachable", 30,
                            lambda: wide.describe(lost).get("StateReason"), every=0.5)
        assert reason["Code"] == "Server.Unreachable" and "silent" in reason["Message"]
        assert wide.state(lost) == "running"
        assert is_well(wide.describe(other))
        assert zone_states(wide)["zone-a"] == "available"
        third = run(wide, "zone-a")     # goes where somebody answers
        wide.wait(third, "running")
        assert wide.node_of(third) == "zone-a-node-2"
        end(wide, third)
    eventually("it is reachable", 30, lambda: is_well(wide.describe(lost)))


@pytest.mark.long
def test_a_zone_without_nodes(wide):
    for node in ("zone-b-node-1", "zone-b-node-2"):
        hosts.partition(wide.model, "zone-b", node)
    try:
        eventually("the zone is unavailable", 30, lambda: zone_states(wide)["zone-b"] != "available", every=0.5)
        assert zone_states(wide)["zone-a"] == "available"
        with pytest.raises(ClientError) as problem:
            run(wide, "zone-b")
        assert code_of(problem.value) == "InsufficientInstanceCapacity"
    finally:
        hosts.heal(wide.model)
    eventually("the zone is available", 30, lambda: zone_states(wide)["zone-b"] == "available")


@pytest.mark.long
@pytest.mark.parametrize("daemons_killed", [
    ["cc:zone-a"],
    ["nc:zone-a-node-1", "nc:zone-a-node-2"],
    ["helper:zone-a-node-1", "nc:zone-a-node-1", "helper:zone-a-node-2", "nc:zone-a-node-2"],
    ["clc", "cc:zone-a", "nc:zone-a-node-1", "nc:zone-a-node-2"],
])
def test_daemons_killed_during_a_launch(wide, untouched, daemons_killed):
    """They come back in either order; the launch goes on, once."""
    one = run(wide, "zone-a")
    for daemon in daemons_killed:
        wide.kill(daemon)
    for daemon in reversed(daemons_killed):
        wide.start(daemon)
    wide.wait(one, "running", 60)
    assert len(guests(wide, [one])) == 1
    end(wide, one)


def replace_store(cloud, daemon, saved=None):
    """The daemon with another store: the one saved, or none. As after a restore, it has another epoch."""
    unit = cloud.unit(daemon)
    directory = daemons.state_directory(cloud.model, unit)
    path = os.path.join(directory, f"{unit.role}.db")
    cloud.kill(daemon)
    for end in ("", "-wal", "-shm"):
        if os.path.exists(path + end):
            os.unlink(path + end)
    if saved:
        shutil.copyfile(saved, path)
        shutil.chown(path, os.stat(directory).st_uid, os.stat(directory).st_gid)
    eventually("it starts: the one killed has let go of its state", 10, lambda: cloud.start(daemon) or True)


def save_store(cloud, daemon, path):
    unit = cloud.unit(daemon)
    source = os.path.join(daemons.state_directory(cloud.model, unit), f"{unit.role}.db")
    cloud.kill(daemon)
    with sqlite3.connect(source) as store:
        store.execute("VACUUM INTO ?", (str(path),))
    cloud.start(daemon)


def test_a_cc_without_its_store(wide, pair, untouched):
    """It learns from the clc what there is and where, and nothing is ended or started for it."""
    replace_store(wide, "cc:zone-a")
    eventually("the nodes are up", 30, lambda: node_states(wide).count("up") == 4)
    time.sleep(2)
    assert all(is_well(wide.describe(one)) for one in pair)
    one = run(wide, "zone-a")
    wide.wait(one, "running")
    end(wide, one)


@pytest.mark.long
def test_a_clc_put_back_from_a_backup(wide, pair, untouched, tmp_path):
    """What was started after the backup was made runs on; what ended since then does not come back."""
    moved, ended = run(wide, "zone-a"), run(wide, "zone-a")
    for one in (moved, ended):
        wide.wait(one, "running")
    save_store(wide, "clc", tmp_path / "clc.db")
    eventually("the clc answers", 30, lambda: wide.state(moved) == "running")
    wide.ec2.stop_instances(InstanceIds=[moved, ended], Force=True)
    wide.wait(moved, "stopped")
    wide.wait(ended, "stopped")
    wide.terminate(ended)
    wide.ec2.start_instances(InstanceIds=[moved])
    wide.wait(moved, "running")
    guest = guests(wide, [moved])
    replace_store(wide, "clc", tmp_path / "clc.db")
    eventually("what had ended ends", 60, lambda: wide.state(ended) == "terminated")
    eventually("the other runs", 30, lambda: is_well(wide.describe(moved)))
    assert guests(wide, [moved, ended]) == guest
    wide.ec2.stop_instances(InstanceIds=[moved], Force=True)    # and obeys again
    wide.wait(moved, "stopped")
    wide.terminate(moved)
