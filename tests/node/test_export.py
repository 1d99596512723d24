"""The root disk of a stopped instance leaves its node: whole, once, and only for as long as it is wanted. A
real node controller and real guests; the object store is images.py."""
import os
import re
import subprocess
import tarfile
import time

import pytest

from node import wait_for

FIRST = "i-0123456789abcde05"
SECOND = "i-0123456789abcde06"


def export_of(c, instance):
    item = next((i for i in c.call("Changes").find("instances")
                 if i.findtext("instanceId") == instance), None)
    found = item.find("export") if item is not None else None
    return {} if found is None else {e.tag: e.text for e in found} | {
        "needsSources": item.findtext("needsSources")}


def wait_export(c, instance, state, timeout=60):
    try:
        wait_for(f"export {state}", lambda: export_of(c, instance).get("state") == state, timeout)
    except AssertionError as e:
        raise AssertionError(f"{e}: {export_of(c, instance)}\n{c.logs()}") from None
    return export_of(c, instance)


def left_over(c, instance):
    return [n for n in os.listdir(c.node.path("nc/instances", instance)) if n.startswith("export")]


def disk_of(c, instance):
    """The flattened disk, as qemu-img sees it."""
    raw = c.node.path("wanted.raw")
    subprocess.run(["qemu-img", "convert", "-U", "-O", "raw",
                    c.node.path("nc/instances", instance, "root.qcow2"), raw], check=True)
    with open(raw, "rb") as f:
        return f.read()


@pytest.fixture(scope="module")
def stopped(controller):
    c = controller
    c.put_vpc()
    c.put(FIRST)
    c.wait_console(FIRST, b"TINY userspace")
    c.put(FIRST, wanted="stopped", force=True)
    c.wait_state(FIRST, "stopped")
    subprocess.run(["qemu-io", "-c", "write -P 0x5a 1M 300k",
                    c.node.path("nc/instances", FIRST, "root.qcow2")],
                   check=True, stdout=subprocess.DEVNULL)
    return c


def test_the_archive_is_the_disk(stopped):
    c = stopped
    c.put(FIRST, wanted="stopped", export=("export-1", c.images.url + "one"))
    report = wait_export(c, FIRST, "done")
    path = c.node.path("images", "one")
    assert report["progress"] == "100" and int(report["archiveBytes"]) == os.path.getsize(path)
    with tarfile.open(path, "r:gz") as tar:
        member, = tar.getmembers()
        data = tar.extractfile(member).read()
    assert int(report["sizeBytes"]) == member.size == len(data)
    assert data == disk_of(c, FIRST) and b"\x5a" * 300000 in data
    assert left_over(c, FIRST) == []
    assert c.report(FIRST)["state"] == "stopped"


def test_said_again_it_is_not_done_again(stopped):
    c = stopped
    os.unlink(c.node.path("images", "one"))
    c.put(FIRST, wanted="stopped", export=("export-1", c.images.url + "one"))
    time.sleep(1)
    assert export_of(c, FIRST)["state"] == "done"
    assert not os.path.exists(c.node.path("images", "one"))


def test_an_expired_address_is_asked_for_again(stopped):
    c = stopped
    c.put(FIRST, wanted="stopped",
          export=("export-2", c.images.url + "two?status=403&amp;text=Request+has+expired"))
    report = wait_export(c, FIRST, "waiting")
    wait_for("needs_sources", lambda: export_of(c, FIRST)["needsSources"] == "true")
    assert "expired" in export_of(c, FIRST)["reason"]
    assert left_over(c, FIRST) == ["export-export-2.tar.gz"], report
    c.put(FIRST, wanted="stopped", export=("export-2", c.images.url + "two"))
    wait_export(c, FIRST, "done")
    assert int(export_of(c, FIRST)["sizeBytes"]) == len(disk_of(c, FIRST))


@pytest.mark.parametrize("fault,words", [("404", "status 404"), ("400", "status 400")])
def test_a_store_that_refuses_it(stopped, fault, words):
    c = stopped
    c.put(FIRST, wanted="stopped", export=("export-" + fault, c.images.url + "no?status=" + fault))
    assert words in wait_export(c, FIRST, "failed")["reason"]
    assert left_over(c, FIRST) == []


def test_a_store_that_is_ill_is_tried_again(stopped):
    c = stopped
    c.put(FIRST, wanted="stopped", export=("export-5", c.images.url + "ill?status=503"))
    wait_export(c, FIRST, "waiting")
    wait_for("the reason", lambda: "503" in (export_of(c, FIRST).get("reason") or ""))
    c.put(FIRST, wanted="stopped", export=("export-5", c.images.url + "well"))
    wait_export(c, FIRST, "done")


def slow(c, name):
    c.put(FIRST, wanted="stopped", export=(name, c.images.url + name + "?rate=20000"))
    wait_for("the upload", lambda: os.path.exists(c.node.path("images", name + ".part")))


def test_killed_on_the_way_it_ends_once(stopped):
    c = stopped
    slow(c, "slow-1")
    c.kill(c.controller)
    c.start_controller()
    assert export_of(c, FIRST)["state"] in ("running", "waiting")
    c.put(FIRST, wanted="stopped", export=("slow-1", c.images.url + "slow-1"))
    # the transfer under way has its old address; the kill of it frees the next from waiting
    c.kill(c.controller)
    c.start_controller()
    wait_export(c, FIRST, "done")
    with tarfile.open(c.node.path("images", "slow-1"), "r:gz") as tar:
        assert tar.extractfile(tar.getmembers()[0]).read() == disk_of(c, FIRST)
    with open(c.node.path("nc.log"), encoding="utf-8") as f:
        assert len(re.findall("export.ended .*export=slow-1 state=done", f.read())) == 1


def test_cancelled_it_stops_and_leaves_nothing(stopped):
    c = stopped
    slow(c, "slow-2")
    c.put(FIRST, wanted="stopped")
    wait_for("its files to go", lambda: left_over(c, FIRST) == [], 30)
    assert export_of(c, FIRST) == {} and not os.path.exists(c.node.path("images", "slow-2"))
    # also when nobody lived to see it
    slow(c, "slow-3")
    c.kill(c.controller)
    c.start_controller()
    c.put(FIRST, wanted="stopped")
    wait_for("its files to go", lambda: left_over(c, FIRST) == [], 30)


def test_a_start_ends_it(stopped):
    c = stopped
    slow(c, "slow-4")
    c.put(FIRST, generation=2)
    c.wait_state(FIRST, "running", 30)
    assert left_over(c, FIRST) == []


def test_termination_ends_it(stopped):
    c = stopped
    c.put(FIRST, generation=2, wanted="stopped", force=True)
    c.wait_state(FIRST, "stopped")
    c.put(FIRST, generation=2, wanted="stopped",
          export=("slow-5", c.images.url + "slow-5?rate=20000"))
    wait_for("the upload", lambda: os.path.exists(c.node.path("images", "slow-5.part")))
    c.put(FIRST, generation=2, wanted="terminated", force=True)
    c.wait_state(FIRST, "terminated", 30)
    assert not os.path.exists(c.node.path("nc/instances", FIRST))


def test_what_never_ran_has_no_disk(stopped):
    c = stopped
    c.put(SECOND, wanted="stopped", export=("export-9", c.images.url + "nine"))
    assert "never run" in wait_export(c, SECOND, "failed")["reason"]


def test_a_disk_that_names_another_file_is_not_believed(stopped):
    """QEMU writes the disk's header; a guest that took it over must not read what the node may read."""
    c = stopped
    c.put(SECOND, generation=2)
    c.wait_state(SECOND, "running")
    c.put(SECOND, generation=2, wanted="stopped", force=True)
    c.wait_state(SECOND, "stopped")
    secret = c.node.path("nc/secret")
    with open(secret, "wb") as f:
        f.write(b"top secret" * 100000)
    os.chmod(secret, 0o644)
    disk = c.node.path("nc/instances", SECOND, "root.qcow2")
    subprocess.run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", secret, disk], check=True)
    c.put(SECOND, generation=2, wanted="stopped", export=("export-10", c.images.url + "ten"))
    wait_export(c, SECOND, "done")
    with tarfile.open(c.node.path("images", "ten"), "r:gz") as tar:
        assert b"top secret" not in tar.extractfile(tar.getmembers()[0]).read()
