"""Sockets inside a host's network namespace, without leaving our process, and what listens there."""
import contextlib
import ctypes
import http.client
import os
import socket

from . import hosts

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def inside(path):
    """This thread in the network namespace at path; sockets opened here stay there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(path, os.O_RDONLY)
    try:
        if libc.setns(there, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {path}")
        try:
            yield
        finally:
            if libc.setns(home, CLONE_NEWNET) != 0:
                os._exit(70)  # nothing sensible can run in the wrong namespace
    finally:
        os.close(there)
        os.close(home)


def connect(cloud, host, address, port, timeout=5):
    with inside(hosts.netns_path(cloud.netns(host))):
        s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    s.settimeout(timeout)
    try:
        s.connect((address, port))
    except OSError:
        s.close()
        raise
    return s


def get(cloud, host, address, port, path, timeout=5):
    """(status, body) of a GET from inside a host; status 0 and the reason when there is no answer."""
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        connection.sock = connect(cloud, host, address, port, timeout)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(1 << 20).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as problem:
        return 0, str(problem) or type(problem).__name__
    finally:
        connection.close()


def reachable(cloud, host, address, port, timeout=2):
    try:
        connect(cloud, host, address, port, timeout).close()
        return True
    except OSError:
        return False


def listeners(netns):
    """{(protocol, address, port)} of listening and unconnected sockets in a namespace, by name or path."""
    path = netns if netns.startswith("/") else hosts.netns_path(netns)
    found = set()
    with inside(path):
        for protocol, states in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07"), ("raw", "07")):
            try:
                with open(f"/proc/thread-self/net/{protocol}", encoding="ascii") as file:
                    lines = file.read().splitlines()[1:]
            except FileNotFoundError:
                continue
            for line in lines:
                fields = line.split()
                if fields[3] == states:
                    address, _, port = fields[1].rpartition(":")
                    found.add((protocol, text_of(address), int(port, 16)))
    return found


def text_of(hexadecimal):
    words = [bytes.fromhex(hexadecimal[i:i + 8])[::-1] for i in range(0, len(hexadecimal), 8)]
    raw = b"".join(words)
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)
