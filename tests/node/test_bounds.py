"""Guests bounded against each other: shares and pinning, read back from the guests' own control groups, and what
libvirt without a cpu controller comes to. Real guests under QEMU."""
import glob
import os
import time

import pytest

from conftest import Controller
from helper_client import Fault
from node import Node, wait_for
from testbed import cgroups
from test_controller import end

FIRST, SECOND, THIRD = "i-0123456789abcde15", "i-0123456789abcde16", "i-0123456789abcde17"
HOST_CPUS = sorted(os.sched_getaffinity(0))

has_cgroups = pytest.mark.skipif(
    any(not os.path.exists(f"{cgroups.ROOT}/{c}/cgroup.procs") for c in cgroups.CONTROLLERS),
    reason="this machine has no cgroup v1 controllers cpu and cpuset")


def group(c, controller, instance):
    found = glob.glob(f"{cgroups.path(controller, c.node.cgroup)}/machine/qemu-*-{instance}.libvirt-qemu")
    assert len(found) == 1, found
    return found[0]


def read(*path):
    with open(os.path.join(*path), encoding="ascii") as f:
        return f.read().strip()


def cpus_of(text):
    found = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def cpu_seconds(c, instance):
    """What its processors have used; QEMU's other threads do not count."""
    pid, = c.node.run("pgrep", "-f", f"guest={instance},").split()[:1]
    seconds = 0
    for stat in glob.glob(f"/proc/{c.node.init}/root/proc/{pid}/task/*/stat"):
        text = read(stat)
        if "(CPU " in text:
            fields = text.rsplit(") ", 1)[1].split()
            seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


@has_cgroups
def test_shares_are_in_the_guests_cgroup(controller):
    c = controller
    c.put_vpc()
    c.put(FIRST, vcpus=2)
    c.put(SECOND, shares=300)
    for instance in (FIRST, SECOND):
        c.wait_state(instance, "running")
    assert read(group(c, "cpu", FIRST), "cpu.shares") == "2048"  # in proportion to vcpus
    assert read(group(c, "cpu", SECOND), "cpu.shares") == "300"
    assert c.call("DescribeNode").findtext("reason") is None
    end(c, FIRST)
    end(c, SECOND)


@has_cgroups
@pytest.mark.skipif(len(HOST_CPUS) < 2, reason="this machine has one processor only")
def test_a_pinned_guest_has_its_processors_alone(controller):
    c = controller
    c.put_vpc()
    c.put(FIRST)
    c.wait_state(FIRST, "running")
    assert cpus_of(read(group(c, "cpuset", FIRST), "vcpu0/cpuset.cpus")) == set(HOST_CPUS)
    c.put(SECOND, pinned=True)
    c.wait_state(SECOND, "running")
    own = cpus_of(read(group(c, "cpuset", SECOND), "vcpu0/cpuset.cpus"))
    assert own == {HOST_CPUS[-1]}
    assert cpus_of(read(group(c, "cpuset", SECOND), "emulator/cpuset.cpus")) == own

    def others_left():
        return not own & cpus_of(read(group(c, "cpuset", FIRST), "vcpu0/cpuset.cpus"))
    wait_for("the other guest to be moved", others_left)
    # The assignment is durable: it outlives the controller, and one more does not fit.
    c.kill(c.controller)
    c.start_controller()
    c.put(THIRD, pinned=True, vcpus=len(HOST_CPUS))
    report = c.wait_state(THIRD, "failed")
    assert report["reasonCode"] == "Server.InsufficientInstanceCapacity"
    assert f"and {len(HOST_CPUS)} are wanted" in report["reasonMessage"]
    assert cpus_of(read(group(c, "cpuset", SECOND), "vcpu0/cpuset.cpus")) == own and others_left()
    c.put(SECOND, wanted="stopped", force=True, pinned=True)
    c.wait_state(SECOND, "stopped")
    wait_for("the other guest to be given them back",
             lambda: cpus_of(read(group(c, "cpuset", FIRST), "vcpu0/cpuset.cpus")) == set(HOST_CPUS))
    for instance in (FIRST, SECOND, THIRD):
        end(c, instance)


@has_cgroups
@pytest.fixture
def busy(controller):
    """Two guests that work without end, and end with the test however it goes."""
    c = controller
    c.put_vpc()
    loop = "IyEvYmluL3NoCndoaWxlIDo7IGRvIDo7IGRvbmUgJgo="  # #!/bin/sh; a loop without end
    c.put(FIRST, shares=512, user_data=loop)
    c.put(SECOND, shares=1024, user_data=loop)
    yield c
    end(c, FIRST)
    end(c, SECOND)


def test_two_busy_guests_get_processor_time_by_their_shares(busy, capsys):
    c = busy
    for instance in (FIRST, SECOND):
        c.wait_console(instance, b"TINY ready", timeout=180)
    # On one processor of the machine; what runs there beside them takes from both alike.
    for instance in (FIRST, SECOND):
        for thread in ("vcpu0", "emulator"):
            with open(os.path.join(group(c, "cpuset", instance), thread, "cpuset.cpus"), "w", encoding="ascii") as f:
                f.write(str(HOST_CPUS[-1]))
    time.sleep(2)
    before = [cpu_seconds(c, i) for i in (FIRST, SECOND)]
    wait_for("enough to compare", lambda: sum(cpu_seconds(c, i) for i in (FIRST, SECOND)) - sum(before) > 6, 120)
    used = [cpu_seconds(c, i) - b for i, b in zip((FIRST, SECOND), before)]
    with capsys.disabled():
        print(f" [{used[0]:.1f} s and {used[1]:.1f} s, 1:{used[1] / used[0]:.2f}]", end="")
    assert 1.5 < used[1] / used[0] < 2.6


def test_without_a_cpu_controller_the_node_says_so(tiny):
    with Node(bounded=False) as node:
        c = Controller(node, tiny)
        c.put_vpc()
        wait_for("the note", lambda: "no cpu controller" in (c.call("DescribeNode").findtext("reason") or ""))
        assert c.call("DescribeNode").findtext("state") == "up"
        c.put(FIRST, shares=300)
        c.wait_state(FIRST, "running")
        assert "<cputune>" not in node.run("virsh", "dumpxml", FIRST)
        end(c, FIRST)


def test_a_number_of_disks_that_no_guest_can_have_is_refused(controller):
    with pytest.raises(Fault, match="LIMIT"):
        controller.put(FIRST, ephemeral_disks=[("ephemeral0", 1)] * 25)
