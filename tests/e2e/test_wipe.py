"""The very last: the shared cloud, with a guest running, goes down and leaves nothing."""
import os

import pytest
from cloud import model, net, proc
from test_bed import assert_nothing_left


def test_a_cloud_goes_and_the_other_stays(cloud, other):
    name = other.name
    other.down(wipe=True)
    assert_nothing_left(name)
    assert "not running" not in cloud.tool("status").stdout


def test_down_keeps_the_state_and_up_finds_it(cloud):
    one = cloud.booted()
    cloud.down(wipe=False)
    assert os.path.isdir(cloud.model.state)
    cloud.up()
    # The host was off: the guest does not run, and the API comes to say so; its record is not lost.
    assert one in [i["InstanceId"] for i in cloud.instances()]
    cloud.terminate(one)


def test_wipe_leaves_nothing(cloud):
    if os.environ.get("MALLEE_KEEP") == "1":
        pytest.skip("MALLEE_KEEP=1: the cloud stays up")
    cloud.run()
    loopback = cloud.model.loopback
    namespaces = [os.stat(f"/run/netns/{cloud.model.netns(h.name)}").st_ino for h in cloud.model.hosts]
    cloud.down(wipe=True)
    assert_nothing_left(cloud.name)
    assert not [one for one in net.listeners("/proc/self/ns/net") if one[1] == loopback]
    for entry in os.listdir("/proc"):
        if entry.isdigit() and proc.stat_of(entry):
            found = proc.namespace(f"/proc/{entry}/ns/net")
            assert not found or found[1] not in namespaces, proc.command_line(entry)
    assert model.load(cloud.name) is None
