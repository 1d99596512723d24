"""Holds the front doors open on the machine's own loopback: one small process per cloud, outside every host.

A socket stays in the namespace where it was opened. So these are opened here and handed, over a unix
socket, to whoever starts a daemon inside; since the holder keeps them too, connections queue while a
daemon is dead and the next one serves them.

    python3 -m testbed.holder ADDRESS SOCKET NAME=PORT...
"""
import os
import socket
import sys
import time

from . import proc
from .model import FRONT_DOORS
from .term import Failure

BACKLOG = 4096


def paths(cloud):
    return os.path.join(cloud.run, "holder"), os.path.join(cloud.run, "pid", "holder")


def serve(address, path, doors):
    opened = {}
    for name, port in doors:
        door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((address, port))
        door.listen(BACKLOG)
        opened[name] = door
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    desk = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    desk.bind(path)
    os.chmod(path, 0o600)
    desk.listen(16)
    while True:
        caller, _ = desk.accept()
        with caller:
            caller.settimeout(5)
            try:
                names = [n for n in caller.recv(256).decode("ascii").split() if n in opened]
                socket.send_fds(caller, [" ".join(names).encode() or b" "], [opened[n].fileno() for n in names])
            except OSError:
                continue


def running(cloud):
    return proc.read_pidfile(paths(cloud)[1])


def start(cloud):
    """True when it was not running. Daemons that have the old one's sockets must have been stopped."""
    path, pidfile = paths(cloud)
    if running(cloud):
        return False
    log = os.path.join(cloud.log, "holder.log")
    doors = [f"{name}={port}" for name, (_, port) in FRONT_DOORS.items()]
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    pid = proc.launch([sys.executable, "-m", "testbed.holder", cloud.loopback, path, *doors], log, pidfile,
                      env=dict(os.environ, PYTHONPATH=package, PYTHONDONTWRITEBYTECODE="1"))
    end = time.monotonic() + 10
    while not os.path.exists(path) or not answers(path):
        if not proc.stat_of(pid) or time.monotonic() > end:
            from .hosts import last_line
            raise Failure(f"cannot open the front doors on {cloud.loopback}: {last_line(log)}")
        time.sleep(0.01)
    return True


def answers(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        return s.connect_ex(path) == 0


def sockets(cloud, daemon):
    """(names, descriptors) of a daemon's front doors."""
    names = [n for n, (owner, _) in FRONT_DOORS.items() if owner == daemon]
    if not names:
        return [], []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        try:
            s.connect(paths(cloud)[0])
            s.sendall(" ".join(names).encode())
            text, fds, _, _ = socket.recv_fds(s, 256, 16)
        except OSError as problem:
            raise Failure(f"the holder of cloud '{cloud.name}' does not answer ({problem.strerror}); "
                          f"run: tools/cloud up --name {cloud.name}") from None
    return text.decode().split(), fds


if __name__ == "__main__":
    try:
        serve(sys.argv[1], sys.argv[2], [(a.split("=")[0], int(a.split("=")[1])) for a in sys.argv[3:]])
    except OSError as problem:
        sys.exit(f"{sys.argv[1]}: {problem.strerror}")
