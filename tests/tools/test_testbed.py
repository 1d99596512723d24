"""The parts of the test bed that need no cloud."""
import os
import signal
import socket
import struct
import subprocess
import time

import pytest
from testbed import check, guests, images, model, net, proc, term
from testbed.term import Failure


@pytest.fixture
def base(tmp_path, monkeypatch):
    """A registry of its own."""
    monkeypatch.setattr(model, "BASE", str(tmp_path / "lib"))
    monkeypatch.setattr(model, "RUN", str(tmp_path / "run"))
    monkeypatch.setattr(model, "REGISTRY", str(tmp_path / "lib/clouds.json"))
    return tmp_path


def test_clouds_get_slots_of_their_own(base):
    first, second = model.create("one", 1, 1, None), model.create("two", 1, 1, None)
    assert first.slot != second.slot and first.loopback != second.loopback
    assert model.create("one", 1, 1, None).slot == first.slot
    model.forget("one")
    assert model.load("one") is None and model.create("three", 1, 1, None).slot == first.slot


def test_a_slot_in_use_by_a_stranger_is_passed_over(base):
    free = next(s for s in model.SLOTS if model.loopback_is_free(s))
    with socket.create_server((f"127.0.{free}.1", 8773)):
        assert model.create("one", 1, 1, None).slot != free


def test_a_cloud_grows_and_does_not_shrink(base):
    model.create("one", 2, 3, None)
    again = model.create("one", 1, 4, None)
    assert (again.zones, again.nodes) == (2, 4)


def test_forgetting_the_last_leaves_no_file(base):
    model.create("one", 1, 1, None)
    model.forget("one")
    assert not os.path.exists(model.BASE)


def test_state_directories_are_not_shared(base):
    model.create("one", 1, 1, str(base / "state"))
    with pytest.raises(Failure, match="belongs to cloud 'one'"):
        model.create("two", 1, 1, str(base / "state"))
    with pytest.raises(Failure, match="keeps its state in"):
        model.create("one", 1, 1, str(base / "elsewhere"))
    strangers = base / "strangers"
    strangers.mkdir()
    (strangers / "file").write_text("mine")
    with pytest.raises(Failure, match="no cloud's"):
        model.create("three", 1, 1, str(strangers))


@pytest.mark.parametrize("name", ["", "A", "-a", "a/b", "..", "a" * 21, "a b"])
def test_bad_names(base, name):
    with pytest.raises(Failure, match="cannot use the name"):
        model.create(name, 1, 1, None)


@pytest.mark.parametrize("zones, nodes", [(0, 1), (9, 1), (1, 41), (1, -1)])
def test_bad_shapes(base, zones, nodes):
    with pytest.raises(Failure):
        model.create("one", zones, nodes, None)


def test_addresses_are_distinct(base):
    cloud = model.create("one", model.ZONES_MAX, model.NODES_MAX, None)
    hosts = cloud.hosts
    underlay = [h.underlay for h in hosts if h.underlay]
    assert len(set(underlay)) == len(underlay) and len({h.name for h in hosts}) == len(hosts)
    assert len({h.number for h in hosts}) == len(hosts)


def test_a_damaged_registry_is_named(base):
    model.create("one", 1, 1, None)
    with open(model.REGISTRY, "w", encoding="ascii") as file:
        file.write("{")
    with pytest.raises(Failure, match="damaged"):
        model.load("one")


def test_launch_is_detached_and_passes_sockets(tmp_path):
    listener = socket.create_server(("127.0.0.1", 0))
    script = ("import os, socket; print(os.environ['LISTEN_PID'] == str(os.getpid()), os.getsid(0) == os.getpid(), "
              "socket.socket(fileno=3).getsockname()[1], flush=True); import time; time.sleep(60)")
    log, pidfile = str(tmp_path / "log"), str(tmp_path / "pid")
    pid = proc.launch(["env", "/usr/bin/python3", "-c", script], log, pidfile, [listener.fileno()])
    try:
        end = time.monotonic() + 10
        while not os.path.exists(log) or "\n" not in open(log, encoding="ascii").read():
            assert time.monotonic() < end
            time.sleep(0.02)
        same_pid, leads, port = open(log, encoding="ascii").read().split()
        assert same_pid == "True" and int(port) == listener.getsockname()[1] and leads == "False"
        assert proc.read_pidfile(pidfile) == pid
    finally:
        assert proc.kill([pid]) == []
    assert proc.read_pidfile(pidfile) is None


def test_launch_of_nothing(tmp_path):
    pid = proc.launch(["/nonexistent/program"], str(tmp_path / "log"), str(tmp_path / "pid"))
    assert proc.wait_gone([pid], 5) == []
    assert "cannot start" in (tmp_path / "log").read_text()


def test_a_pid_of_somebody_else_is_not_ours(tmp_path):
    path = tmp_path / "pid"
    path.write_text(f"{os.getpid()} 1\n")
    assert proc.read_pidfile(str(path)) is None
    path.write_text("garbage")
    assert proc.read_pidfile(str(path)) is None


def test_kill_waits(tmp_path):
    child = subprocess.Popen(["sleep", "60"])
    assert proc.kill([child.pid], signal.SIGTERM, 5) == []
    child.wait()


def test_listeners_of_this_namespace():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if os.geteuid() != 0:
            pytest.skip("entering a namespace needs root")
        assert ("tcp", *listener.getsockname()) in net.listeners("/proc/self/ns/net")


def test_failures_are_one_line():
    with pytest.raises(Failure, match="'false' failed: status 1"):
        term.run("false")
    with pytest.raises(Failure, match="not installed; install it with: apt-get install"):
        term.run("no-such-program-here")


class FakeCloud:
    loopback, name = "127.0.9.1", "fake"

    def __init__(self, directory):
        self.directory = directory
        (directory / "credentials").write_text("export AWS_ACCESS_KEY_ID='AK'\nexport AWS_SECRET_ACCESS_KEY=\"s'k\"\n")

    def path(self, *parts):
        return os.path.join(self.directory, *parts)


def test_env_quotes_and_refuses_unknown_services(tmp_path):
    cloud = FakeCloud(tmp_path)
    script = guests.shell_lines(cloud) + 'printf "%s\\n" "$AWS_SECRET_ACCESS_KEY"; aws nothing x; echo "status $?"\n'
    done = subprocess.run(["sh", "-eu"], input=script.replace("aws nothing x;", "aws nothing x ||"), text=True,
                          capture_output=True, check=True)
    assert done.stdout.splitlines()[0] == "s'k"
    assert "no such service" in done.stderr
    with pytest.raises(Failure, match="for no service"):
        guests.aws_argv(cloud, ["dynamodb", "list-tables"])
    assert guests.aws_argv(cloud, ["--output", "text", "s3", "ls"])[1:3] == ["--endpoint-url", "http://127.0.9.1:8777/"]


@pytest.mark.parametrize("data", [b"", b"\0" * 0x300, b"\0" * 0x202 + b"HdrS" + b"\0" * 0x300],
                         ids=["empty", "zeros", "header-only"])
def test_what_is_no_kernel(data):
    with pytest.raises(Failure):
        images.elf_of_bzimage(data)


def test_kernel_inside_a_bzimage():
    import gzip
    elf = b"\x7fELF" + bytes(range(256)) * 8
    payload = gzip.compress(elf) + struct.pack("<I", len(elf))
    head = bytearray(5 * 512)
    head[0x1F1] = 4
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", head, 0x248, 0, len(payload))
    assert images.elf_of_bzimage(bytes(head) + payload) == elf


def test_counts_of_a_report(tmp_path):
    path = tmp_path / "r.xml"
    path.write_text('<testsuites><testsuite tests="7" failures="1" errors="1" skipped="2"/></testsuites>')
    assert check.junit_counts(str(path)) == [3, 2, 2]
    assert check.junit_counts(str(tmp_path / "absent.xml")) == [0, 0, 0]


def test_builds_beside_a_stage_run_while_it_does_and_yield(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "LOGS", str(tmp_path))
    wait = "n=0; while [ ! -e {0} ] && [ $n -lt 600 ]; do sleep 0.05; n=$((n + 1)); done; [ -e {0} ]"
    paths = [str(tmp_path / name) for name in ("first", "second")]
    shell = ["sh", "-c"]
    found = [check.Stage("alone", "build", ["true"]),
             check.Stage("main", "build", shell + [wait.format(paths[1])]),
             check.Stage("first", "build", shell + [f"nice >{paths[0]}"], beside=True),
             check.Stage("second", "build", shell + [f"[ -e {paths[0]} ] && touch {paths[1]}; false"], beside=True)]
    groups = check.grouped(found)
    assert [[s.name for s in group] for group in groups] == [["alone"], ["main", "first", "second"]]
    for group in groups:
        check.run_group(group)
    assert [s.counts for s in found] == [[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert (tmp_path / "first").read_text().strip() == "19"


def test_a_process_lives_while_a_thread_of_it_does():
    """Its first thread has ended, and is a zombie; what it has open is open still."""
    code = ("import ctypes, threading, time; threading.Thread(target=time.sleep, args=(1,)).start(); "
            "ctypes.CDLL(None).syscall(60, 0)")  # exit: of the calling thread
    with subprocess.Popen(["/usr/bin/python3", "-c", code]) as process:
        until = time.monotonic() + 20
        while " Z " not in (stat := open(f"/proc/{process.pid}/stat", encoding="latin-1").read()):
            assert time.monotonic() < until, stat
            time.sleep(0.01)
        assert proc.stat_of(process.pid)[0] == "Z"
        while proc.stat_of(process.pid):
            assert time.monotonic() < until
            time.sleep(0.05)


def test_every_option_of_the_front_scripts_has_help():
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    for tool in ("cloud", "image", "quickstart", "check"):
        done = subprocess.run([os.path.join(top, "tools", tool), "--help"], capture_output=True, text=True, check=True)
        assert "usage: tools/" in done.stdout
