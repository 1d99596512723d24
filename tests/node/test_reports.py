"""What a node reports of an instance beside its state: whether the guest is reachable, for what a step waits; and
changes of a running instance's record that have effect at once. Real guests."""
import time

from node import wait_for
from test_controller import end

FIRST, SECOND = "i-0123456789abcde25", "i-0123456789abcde26"


def test_a_step_says_for_what_and_who(controller):
    c = controller
    c.put(FIRST, vpc="vpc-000000ff")
    report = wait_for("the step", lambda: (c.report(FIRST) or {}).get("step") and c.report(FIRST))
    assert report["waitsFor"] == "the zone to describe the network" and report["who"] == "cloud"
    assert report["stepSince"]
    since = report["stepSince"]
    time.sleep(1.2)
    assert c.report(FIRST)["stepSince"] == since
    end(c, FIRST, vpc="vpc-000000ff")


def test_a_guest_becomes_reachable_and_stops_being_it(controller):
    c = controller
    c.put_vpc()
    c.put(FIRST)
    assert c.wait_state(FIRST, "running")["reachability"] in ("initializing", "passed")
    wait_for("the guest to be heard", lambda: c.report(FIRST).get("reachability") == "passed", 90)
    c.wait_console(FIRST, b"TINY instance-id")
    assert "stepSince" not in c.report(FIRST) and "waitsFor" not in c.report(FIRST)
    # It answers probes though it asks for nothing any more, until it is paused behind everybody's back.
    c.kill(c.controller)
    c.start_controller()
    time.sleep(5)
    assert c.report(FIRST)["reachability"] == "passed"
    pid = c.node.run("pgrep", "-f", f"guest={FIRST},").split()[0]
    c.node.run("kill", "-STOP", pid)
    try:
        wait_for("failed", lambda: c.report(FIRST)["reachability"] == "failed", 150)
        assert c.report(FIRST)["state"] == "running"
    finally:
        c.node.run("kill", "-CONT", pid)
    wait_for("passed again", lambda: c.report(FIRST)["reachability"] == "passed", 60)
    c.put(FIRST, wanted="stopped", force=True)
    assert "reachability" not in c.wait_state(FIRST, "stopped")
    end(c, FIRST)


LOOK = ("#!/bin/sh\nwhile :; do busybox wget -q -O - http://169.254.169.254/latest/meta-data/tags/instance/Name"
        " >/dev/ttyS0 2>&1 || echo REFUSED >/dev/ttyS0; echo >/dev/ttyS0; sleep 1; done &\n")


def test_a_changed_record_has_effect_at_once(controller):
    import base64
    c = controller
    c.put_vpc()
    script = base64.b64encode(LOOK.encode()).decode()

    def tags(value):
        return ("<instanceMetadataTags>enabled</instanceMetadataTags>"
                f"<tags><item><key>Name</key><value>{value}</value></item></tags>")
    c.put(SECOND, user_data=script, extra=tags("before-the-change"))
    c.wait_state(SECOND, "running")
    c.wait_console(SECOND, b"before-the-change")
    c.put(SECOND, user_data=script, extra=tags("after-the-change"))
    c.wait_console(SECOND, b"after-the-change", timeout=15)
    c.kill(c.controller)
    c.start_controller()
    seen = c.console(SECOND).count(b"after-the-change")
    c.wait_console(SECOND, b"after-the-change", seen + 2, timeout=30)
    c.put(SECOND, user_data=script, extra="<httpEndpoint>disabled</httpEndpoint>" + tags("never-shown"))
    c.wait_console(SECOND, b"REFUSED", timeout=15)
    assert b"never-shown" not in c.console(SECOND)
    assert c.report(SECOND)["bootCount"] == "1"
    end(c, SECOND)
