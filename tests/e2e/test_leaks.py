"""Runs after all other tests on the same cloud: nothing may be without an owner."""
import os

import inventory
from cloud import daemons, eventually, hosts


def settle(cloud, seconds=60):
    found = []

    def clean():
        found[:] = inventory.find(cloud)
        return not found
    try:
        eventually("no leak", seconds, clean, every=1)
    except AssertionError:
        pass
    return found


def test_nothing_without_an_owner(cloud):
    assert settle(cloud) == []


def test_nothing_without_an_owner_when_all_is_terminated(cloud):
    left = [i["InstanceId"] for i in cloud.instances("pending", "running", "stopping", "stopped")]
    cloud.terminate(*left)
    assert settle(cloud) == []
    assert all(not ids for ids in cloud.domains().values())


def test_the_inventory_sees_a_leak(cloud):
    """The test above can fail: a directory and a tap of nobody are found."""
    node = inventory.nodes(cloud)[0]
    directory = os.path.join(hosts.directory(cloud.model, node), "nc", "instances", "i-00000000000000abc")
    os.makedirs(directory)
    cloud.on(node.name, "ip", "tuntap", "add", "tap9999", "mode", "tap")
    try:
        found = inventory.find(cloud)
        assert any("i-00000000000000abc" in line for line in found)
        assert any("tap9999" in line for line in found)
    finally:
        os.rmdir(directory)
        cloud.on(node.name, "ip", "link", "del", "tap9999", check=False)


def test_no_daemon_has_died(cloud):
    assert [u.name for u in daemons.units(cloud.model) if not daemons.running(cloud.model, u)] == []
