"""The node controller end to end: real libvirtd, real guests under QEMU, the real dataplane; the zone is
nc_call. Reads from top to bottom as one story; each test leaves the node without its guests."""
import base64
import hashlib
import os
import re
import signal
import time

import pytest

from helper_client import Fault
from node import wait_for

FIRST = "i-0123456789abcde05"
SECOND = "i-0123456789abcde06"
THIRD = "i-0123456789abcde07"


def end(c, instance, generation=9, **more):
    c.put(instance, generation=generation, wanted="terminated", force=True, **more)
    c.wait_state(instance, "terminated")
    c.call("ForgetInstance", f"<instanceId>{instance}</instanceId>")
    assert instance not in c.domains()


def test_an_instance_waits_for_its_network(controller):
    c = controller
    assert c.put(FIRST).findtext("state") == "pending"
    wait_for("the step", lambda: "network" in (c.report(FIRST).get("step") or ""))
    c.put_vpc()
    report = c.wait_state(FIRST, "running")
    assert report["bootCount"] == "1" and "reasonCode" not in report


def test_the_guest_has_its_network_and_metadata(controller):
    c = controller
    c.wait_console(FIRST, b"TINY instance-id " + FIRST.encode())


def test_orders_of_an_older_generation_are_refused(controller):
    c = controller
    c.put(FIRST, generation=1, wanted="stopped")
    with pytest.raises(Fault, match="STALE"):
        c.put(FIRST, generation=1)  # overtaken by the stop
    c.wait_state(FIRST, "stopped")


def test_start_keeps_the_disk_and_counts_anew(controller):
    c = controller
    disk = c.node.path("nc/instances", FIRST, "root.qcow2")
    inode = os.stat(disk).st_ino
    c.put(FIRST, generation=2)
    assert c.wait_state(FIRST, "running")["bootCount"] == "1"
    assert os.stat(disk).st_ino == inode


def test_reboot_by_reset_when_the_guest_does_not_listen(controller):
    c = controller
    booted = c.console(FIRST).count(b"TINY userspace")
    c.wait_console(FIRST, b"TINY userspace", max(booted, 1))
    booted = c.console(FIRST).count(b"TINY userspace")
    c.put(FIRST, generation=2, reboot=1)
    c.wait_console(FIRST, b"TINY userspace", booted + 1)
    assert c.report(FIRST)["bootCount"] == "1" and c.report(FIRST)["state"] == "running"


def test_kill_of_either_program_leaves_the_guest(controller):
    c = controller
    before = c.qemus()
    c.kill(c.controller)
    c.kill(c.helper)
    c.start_helper()
    c.start_controller()
    wait_for("adoption", lambda: "instance.adopted" in c.logs())
    assert c.qemus() == before == "1"
    assert c.report(FIRST)["bootCount"] == "1" and c.report(FIRST)["state"] == "running"


def test_kill_between_order_and_running_starts_once(controller):
    c = controller
    for at_ms in (0, 150, 400, 900):
        c.put(SECOND, generation=at_ms + 1)
        time.sleep(at_ms / 1000)
        c.kill(c.controller)
        if at_ms % 100:
            c.kill(c.helper)
            c.start_helper()
        c.start_controller()
        assert c.wait_state(SECOND, "running")["bootCount"] == "1"
        assert c.qemus() == "2"
        c.put(SECOND, generation=at_ms + 1, wanted="stopped", force=True)
        c.wait_state(SECOND, "stopped")
    end(c, SECOND, 1000)


def test_one_image_is_fetched_once(controller):
    assert controller.images.fetched("image") == 1


def test_terminate_leaves_nothing(controller):
    c = controller
    end(c, FIRST)
    assert c.domains() == [] and c.qemus() == "0"
    assert not os.path.exists(c.node.path("nc/instances", FIRST))
    assert os.listdir(c.node.path("helper/consoles")) == []
    assert FIRST not in c.reports() or c.report(FIRST)["state"] == "gone"
    assert "tap" not in c.node.run("ip", "-brief", "link")


@pytest.mark.parametrize("fault,words", [
    ("", "damaged"), ("?damage=1", "damaged"), ("?status=404", "missing"), ("?cut=1", None),
    ("?status=500", None),
])
def test_an_image_that_does_not_come_whole(controller, fault, words):
    c = controller
    c.put_vpc()
    digest = hashlib.sha256(fault.encode()).hexdigest()  # of nothing there is
    c.put(SECOND, generation=1, image_source=c.images.url + "image" + fault, image_digest=digest)
    if words:
        report = c.wait_state(SECOND, "failed")
        assert report["reasonCode"] == "Server.InvalidImage"
        assert words in report["reasonMessage"] and "imi-00000001" in report["reasonMessage"]
    else:
        wait_for("the step", lambda: "again" in (c.report(SECOND).get("step") or ""))
        assert c.report(SECOND)["state"] == "pending"
    assert not [f for f in os.listdir(c.node.path("nc/cache")) if f.endswith(".part")] or not words
    end(c, SECOND)


def test_expired_sources_are_asked_for_again(controller):
    c = controller
    c.put_vpc()
    expired = c.images.url + "ramdisk?status=403&amp;text=Request+has+expired"
    for name in os.listdir(c.node.path("nc/cache")):
        if name == c.tiny["ramdisk"][1]:
            os.unlink(c.node.path("nc/cache", name))
    c.put(SECOND, ramdisk_source=expired)
    wait_for("needs_sources", lambda: c.report(SECOND).get("needsSources") == "true")
    c.put(SECOND)
    c.wait_state(SECOND, "running")
    end(c, SECOND)


def test_an_orderly_stop_waits_for_no_source(controller):
    c = controller
    c.put_vpc()
    digest = hashlib.sha256(b"slow").hexdigest()
    c.put(SECOND, image_source=c.images.url + "image?rate=20000", image_digest=digest)
    wait_for("the step", lambda: "downloading" in (c.report(SECOND).get("step") or ""))
    began = time.monotonic()
    c.kill(c.controller, signal.SIGTERM)
    assert time.monotonic() - began < 8
    c.start_controller()
    assert c.report(SECOND)["state"] == "pending"
    end(c, SECOND, image_digest=digest)
    wait_for("the fetch to be given up",
             lambda: not [f for f in os.listdir(c.node.path("nc/cache")) if f.endswith(".part")])


def test_what_the_guests_group_may_see(controller):
    c = controller
    for name, allowed in (("nc.db", 0o600), ("trust", 0o700), ("instances", 0o710), ("cache", 0o710)):
        assert os.stat(c.node.path("nc", name)).st_mode & 0o777 & ~allowed == 0, name


def test_a_node_does_not_oversell(controller):
    c = controller
    c.put(SECOND, memory=1 << 20)
    report = c.wait_state(SECOND, "failed", 5)
    assert report["reasonCode"] == "Server.InsufficientInstanceCapacity"
    end(c, SECOND)


@pytest.mark.parametrize("behavior,state", [("stop", "stopped"), ("terminate", "terminated")])
def test_shutdown_from_inside(controller, behavior, state):
    c = controller
    c.put_vpc()
    script = base64.b64encode(b"#!/bin/sh\necho going down; sleep 1; poweroff -f\n").decode()
    c.put(THIRD, behavior=behavior, user_data=script)
    report = c.wait_state(THIRD, state, 90)
    assert report["reasonCode"] == "Client.InstanceInitiatedShutdown" and report["bootCount"] == "1"
    assert c.qemus() == "0"
    end(c, THIRD)


def test_a_guest_that_dies_is_not_started_again(controller):
    c = controller
    c.put_vpc()
    c.put(THIRD)
    c.wait_state(THIRD, "running")
    c.kill(c.controller)  # nobody listens
    c.node.run("pkill", "-9", "-f", "guest=" + THIRD)
    c.start_controller()
    report = c.wait_state(THIRD, "stopped")
    assert report["reasonCode"] == "Server.InternalError" and report["bootCount"] == "1"
    end(c, THIRD)


def test_a_stuck_libvirt_degrades_the_node_and_nothing_else(controller):
    c = controller
    c.put_vpc()
    pid = c.node.run("cat", "/run/libvirt/libvirtd.pid").strip()
    c.put(THIRD)
    c.wait_state(THIRD, "running")
    c.node.run("kill", "-STOP", pid)
    try:
        wait_for("degraded", lambda: c.call("DescribeNode").findtext("state") == "degraded", 60)
        assert "libvirt" in c.call("DescribeNode").findtext("reason")
        assert c.put_vpc(revision=2) is not None
        wait_for("the network verb", lambda: re.search(r"vpc.applied .*revision=2", c.logs()), 5)
        assert c.report(THIRD)["state"] == "running"
    finally:
        c.node.run("kill", "-CONT", pid)
    try:
        wait_for("up", lambda: c.call("DescribeNode").findtext("state") == "up", 60)
    except AssertionError as e:
        raise AssertionError(f"{e}\n{c.logs()}") from None
    assert c.report(THIRD)["bootCount"] == "1" and c.report(THIRD)["state"] == "running"
    end(c, THIRD)


def test_libvirtd_killed_and_started_again(controller):
    c = controller
    c.put_vpc()
    c.put(THIRD)
    c.wait_state(THIRD, "running")
    c.node.run("kill", "-9", c.node.run("cat", "/run/libvirt/libvirtd.pid").strip())
    wait_for("degraded", lambda: c.call("DescribeNode").findtext("state") == "degraded")
    assert c.report(THIRD)["state"] == "running"
    c.node.run("libvirtd", "-d", "-p", "/run/libvirt/libvirtd.pid")
    wait_for("up", lambda: c.call("DescribeNode").findtext("state") == "up")
    report = c.wait_state(THIRD, "running")
    assert report["bootCount"] == "1" and c.qemus() == "1"
    end(c, THIRD)
