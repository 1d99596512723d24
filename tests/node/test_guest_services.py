"""What a guest asks of its node: DHCP by udhcpc, DNS by hand, metadata by urllib as cloud-init does,
each from inside a guest, over the dataplane's real sockets."""

import contextlib
import http.server
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import test_dataplane as dp  # noqa: E402
from test_dataplane import inside, node  # noqa: E402,F401

TOOL = f"{dp.BUILD}/tests/node/services_tool"
OPEN = {1: ([dp.ALL_OUT], [])}
pytestmark = dp.pytestmark
BASE = "http://169.254.169.254"


class Services:
    def __init__(self, node, guests, vni=dp.VNI, tokens="optional", resolver="none"):
        nics = [f"{g.index},{g.mac},{g.address},{g.gateway},24,{g.public.strip('-')},i-{vni}-{g.index}"
                for g in guests]
        self.process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{dp.NODE}", TOOL, node.dir, node.dir, resolver, str(vni), tokens, *nics],
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == "ready\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        assert self.process.wait() == 0


FETCH = """
import json, sys, urllib.request, urllib.error
for line in sys.stdin:
    method, path, headers = json.loads(line)
    rq = urllib.request.Request("http://169.254.169.254" + path, method=method, headers=headers)
    try:
        with urllib.request.urlopen(rq, timeout=3) as r:
            out = r.status, dict(r.headers), r.read().decode("latin-1")
    except urllib.error.HTTPError as e:
        out = e.code, dict(e.headers), e.read().decode("latin-1")
    except (TimeoutError, urllib.error.URLError):
        out = "timeout"
    print(json.dumps(out), flush=True)
"""


class Browser:
    def __init__(self, guest):
        self.p = subprocess.Popen(["nsenter", f"--net=/run/netns/{guest.netns}", "/usr/bin/python3", "-c", FETCH],
                                  text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, path, method="GET", **headers):
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        self.p.stdin.write(json.dumps([method, path, headers]) + "\n")
        self.p.stdin.flush()
        return json.loads(self.p.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.stdin.close()
        self.p.wait()


def test_dhcp(node):  # noqa: F811
    node.vpc(OPEN)
    a = node.guest(1, "10.0.1.11")
    b = node.guest(2, "10.0.1.12")
    script = f"{node.dir}.udhcpc"
    with open(script, "w") as f:
        f.write("#!/bin/sh\nenv\n")
    os.chmod(script, 0o755)
    try:
        with Services(node, [a, b]):
            for g in (a, b):
                g.ip("addr", "flush", "dev", "eth0")
                g.ip("link", "set", "eth0", "up")
                out = inside(g.netns, "busybox", "udhcpc", "-i", "eth0", "-q", "-n", "-f", "-t", "3", "-T", "1",
                             "-s", script, "-O", "mtu").stdout
                for line in (f"ip={g.address}", "mask=24", f"router={g.gateway}", "dns=169.254.169.253",
                             "mtu=1450", "hostname=ip-" + g.address.replace(".", "-"),
                             "domain=here.compute.internal", "lease=3600"):
                    assert f"\n{line}\n" in out, f"{line} is not in {out}"
            # Another guest's address is refused at once.
            r = inside(a.netns, "busybox", "udhcpc", "-i", "eth0", "-q", "-n", "-f", "-t", "2", "-T", "1", "-s", script,
                       "-r", b.address)
            assert f"ip={a.address}\n" in r.stdout
    finally:
        os.unlink(script)


def dns_query(name, kind, ident=0xbeef):
    q = b"".join(bytes([len(l)]) + l.encode() for l in name.split(".") if l) + b"\0"
    return struct.pack(">HHHHHH", ident, 0x100, 1, 0, 0, 0) + q + struct.pack(">HH", kind, 1)


ASK = """
import socket, struct, sys
name, kind, proto = sys.argv[1], int(sys.argv[2]), sys.argv[3]
q = bytes.fromhex(sys.argv[4])
if proto == "udp":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(8)
    s.connect(("169.254.169.253", 53)); s.send(q); r = s.recv(4096)
else:
    s = socket.create_connection(("169.254.169.253", 53), 8)
    # Two queries at once, in pieces.
    m = struct.pack(">H", len(q)) + q
    s.sendall(m[:1]); s.sendall(m[1:] + m); s.shutdown(socket.SHUT_WR)
    def get(n):
        b = b""
        while len(b) < n:
            p = s.recv(n - len(b))
            if not p: raise SystemExit("closed")
            b += p
        return b
    r = get(*struct.unpack(">H", get(2)))
    assert r[:3] == get(*struct.unpack(">H", get(2)))[:3]
print(r.hex())
"""


def ask(guest, name, kind, proto="udp"):
    r = inside(guest.netns, "/usr/bin/python3", "-c", ASK, name, str(kind), proto, dns_query(name, kind).hex())
    r = bytes.fromhex(r.stdout.strip())
    assert r[:2] == b"\xbe\xef"
    return r[3] & 15, r


class Upstream:
    """A resolver on the node: answers every A query with 192.0.2.7, the first datagram of a name
    starting with "lost" not at all."""

    def __init__(self, port):
        fd = os.open(f"/run/netns/{dp.NODE}", os.O_RDONLY)
        ready = threading.Event()
        self.lost, self.ids = set(), []

        def serve():
            libc_setns(fd)
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.udp.bind(("127.0.0.1", port))
            self.tcp = socket.socket()
            self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.tcp.bind(("127.0.0.1", port))
            self.tcp.listen()
            threading.Thread(target=self.serve_tcp, daemon=True).start()
            ready.set()
            while True:
                q, peer = self.udp.recvfrom(4096)
                self.ids.append(q[:2])
                if b"\x04lost" in q and q[2:] not in self.lost:
                    self.lost.add(q[2:])
                    continue
                # First two lies: another id, another question.
                self.udp.sendto(bytes([q[0] ^ 1]) + self.answer(q)[1:], peer)
                self.udp.sendto(self.answer(q.replace(b"debian", b"dEbiaX")), peer)
                self.udp.sendto(self.answer(q), peer)

        threading.Thread(target=serve, daemon=True).start()
        assert ready.wait(5)

    def serve_tcp(self):
        while True:
            c, _ = self.tcp.accept()
            n = struct.unpack(">H", c.recv(2))[0]
            r = self.answer(c.recv(n))
            c.sendall(struct.pack(">H", len(r)) + r)
            c.close()

    @staticmethod
    def answer(q):
        return (q[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + q[12:]
                + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\7")


def libc_setns(fd):
    import ctypes
    if ctypes.CDLL(None, use_errno=True).setns(fd, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def test_dns(node):  # noqa: F811
    node.vpc(OPEN)
    node.vpc(OPEN, vni=dp.OTHER_VNI)
    run = dp.run
    run("ip", "-n", dp.NODE, "link", "set", "lo", "up")
    a = node.guest(1, "10.0.1.11")
    stranger = node.guest(2, "10.0.1.12")
    upstream = Upstream(5353)
    with Services(node, [a], resolver="127.0.0.1:5353"):
        for proto in ("udp", "tcp"):
            code, r = ask(a, "ip-10-0-1-11.here.compute.internal", 1, proto)
            assert code == 0 and r.endswith(b"\x0a\0\1\x0b")
            code, r = ask(a, "11.1.0.10.in-addr.arpa", 12, proto)
            assert code == 0 and b"ip-10-0-1-11\x04here" in r
            assert ask(a, "www.here.compute.internal", 1, proto)[0] == 3
            code, r = ask(a, "debian.org", 1, proto)
            assert code == 0 and r.endswith(b"\xc0\0\2\7")
        assert b"\xbe\xef" not in upstream.ids, "the guest's id went upstream"
        before = time.monotonic()
        assert ask(a, "lost.org", 1)[0] == 0
        assert time.monotonic() - before > 1.5, "asked again after a loss"
        with pytest.raises(subprocess.CalledProcessError):
            ask(stranger, "debian.org", 1)
    with Services(node, [a], resolver="none"):
        for proto in ("udp", "tcp"):
            assert ask(a, "debian.org", 1, proto)[0] == 2
            assert ask(a, "ip-10-0-1-11.here.compute.internal", 1, proto)[0] == 0
    # Nobody upstream: refused is SERVFAIL at once.
    with Services(node, [a], resolver="127.0.0.1:5399"):
        before = time.monotonic()
        for proto in ("udp", "tcp"):
            assert ask(a, "debian.org", 1, proto)[0] == 2
        assert time.monotonic() - before < 2


HOG = """
import socket, struct, sys
q = bytes.fromhex(sys.argv[1])
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(600):
    u.sendto(struct.pack(">H", i) + q[2:], ("169.254.169.253", 53))
kept = [socket.create_connection(("169.254.169.253", 53), 5) for i in range(40)]
open_ = 0
for c in kept:
    c.settimeout(0.3)
    try:
        open_ += c.recv(1) != b""
    except socket.timeout:
        open_ += 1
    except ConnectionError:
        pass
print(open_, flush=True)
sys.stdin.read()
"""


def test_one_guest_cannot_silence_another(node):  # noqa: F811
    node.vpc(OPEN)
    dp.run("ip", "-n", dp.NODE, "link", "set", "lo", "up")
    a, b = node.guest(1, "10.0.1.11"), node.guest(2, "10.0.1.12")
    Upstream(5353)
    with Services(node, [a, b], resolver="127.0.0.1:5353"):
        hog = dp.popen_inside(a.netns, "/usr/bin/python3", "-c", HOG, dns_query("lost.net", 1).hex(),
                              stdin=subprocess.PIPE)
        assert hog.stdout.readline() == "8\n", "connections of one guest"
        for proto in ("udp", "tcp"):
            assert ask(b, "debian.org", 1, proto)[0] == 0
        hog.communicate()


def walk(get, path, token):
    """Follows the listings as cloud-init does."""
    status, _, body = get(path, **token)
    assert status == 200, path
    out = {}
    for name in body.split("\n"):
        if name.startswith("0="):
            name = "0/openssh-key"
        if name.endswith("/"):
            out.update(walk(get, path + name, token))
        else:
            status, headers, value = get(path + name, **token)
            assert status == 200 and value, path + name
            out[path + name] = value
    return out


def test_metadata(node):  # noqa: F811
    node.vpc(OPEN)
    node.vpc(OPEN, vni=dp.OTHER_VNI)
    a = node.guest(1, "10.0.1.11", public="172.30.0.201")
    b = node.guest(2, "10.0.1.12")
    twin = node.guest(3, "10.0.1.11", vni=dp.OTHER_VNI)
    stranger = node.guest(4, "10.0.1.14")
    with Services(node, [a, b]), Services(node, [twin], vni=dp.OTHER_VNI), \
            Browser(a) as get, Browser(b) as get_b, Browser(twin) as get_twin, Browser(stranger) as get_s:
        status, headers, body = get("/latest/meta-data/instance-id")
        assert (status, body) == (200, "i-100-1")
        assert headers["Server"] == "EC2ws" and headers["Content-Type"] == "text/plain"
        assert headers["ETag"] and headers["Last-Modified"].endswith("GMT")
        assert get_b("/latest/meta-data/instance-id")[2] == "i-100-2"
        assert get_twin("/latest/meta-data/instance-id")[2] == "i-200-3", "equal addresses, another VPC"
        assert get_s("/latest/meta-data/instance-id")[0] == 404, "an address nobody registered"

        # As cloud-init: token, extended versions, the whole tree, user data, identity.
        status, headers, token = get("/latest/api/token", "PUT", X_aws_ec2_metadata_token_ttl_seconds="21600")
        assert status == 200 and len(token) == 56
        assert headers["X-aws-ec2-metadata-token-ttl-seconds"] == "21600"
        auth = {"X_aws_ec2_metadata_token": token}
        tree = walk(get, "/2021-03-23/meta-data/", auth)
        assert tree["/2021-03-23/meta-data/public-ipv4"] == "172.30.0.201"
        assert tree[f"/2021-03-23/meta-data/network/interfaces/macs/{a.mac}/vpc-ipv4-cidr-block"] == "10.0.0.0/16"
        assert tree["/2021-03-23/meta-data/public-keys/0/openssh-key"] == "ssh-ed25519 AAAAC3 photos\n"
        status, headers, body = get("/latest/user-data", **auth)
        assert (status, body, headers["Content-Type"]) == (200, "#!/bin/sh\ntrue\n", "application/octet-stream")
        assert json.loads(get("/latest/dynamic/instance-identity/document", **auth)[2])["instanceId"] == "i-100-1"
        mac = a.mac.replace(":", "%3A")
        assert get(f"/latest/meta-data/network/interfaces/macs/{mac}/device-number")[2] == "0"

        cases = [
            # method, path, headers, status
            ("PUT", "/latest/api/token", {}, 400),
            ("PUT", "/latest/api/token", {"X_aws_ec2_metadata_token_ttl_seconds": "0"}, 400),
            ("PUT", "/latest/api/token", {"X_aws_ec2_metadata_token_ttl_seconds": "21601"}, 400),
            ("PUT", "/latest/api/token", {"X_aws_ec2_metadata_token_ttl_seconds": "1e3"}, 400),
            ("PUT", "/latest/api/token", {"X_aws_ec2_metadata_token_ttl_seconds": "60",
                                          "X_Forwarded_For": "10.0.1.12"}, 403),
            ("GET", "/latest/api/token", {}, 405),
            ("POST", "/latest/api/token", {}, 405),
            ("PUT", "/latest/meta-data/", {}, 405),
            ("POST", "/latest/meta-data/", {}, 405),
            ("DELETE", "/latest/meta-data/", {}, 405),
            ("OPTIONS", "/latest/meta-data/", {}, 200),
            ("HEAD", "/latest/meta-data/", {}, 200),
            ("GET", "/", {}, 200),
            ("GET", "/latest/meta-data/?x=y", {}, 200),
            ("GET", "/latest/meta-data/absent", {}, 404),
            ("GET", "/latest/meta-data/%zz", {}, 400),
            ("GET", "/latest/meta-data/%00", {}, 400),
            ("GET", "/latest/" + "a" * 5000, {}, 400),
            ("GET", "/latest/meta-data/", {"X_aws_ec2_metadata_token": "bad"}, 401),
            ("GET", "/latest/meta-data/", {"X_aws_ec2_metadata_token": ""}, 401),
            ("GET", "/latest/meta-data/", auth, 200),
        ]
        for method, path, headers, wanted in cases:
            assert get(path, method, **headers)[0] == wanted, (method, path, headers)
        assert get_b("/latest/meta-data/", **auth)[0] == 401, "another guest's token"
        assert get_twin("/latest/meta-data/", **auth)[0] == 401
        assert get("/latest/meta-data/", "HEAD")[2] == ""

        # Short-lived tokens end.
        _, _, brief = get("/latest/api/token", "PUT", X_aws_ec2_metadata_token_ttl_seconds="1")
        assert get("/latest/", X_aws_ec2_metadata_token=brief)[0] == 200
        time.sleep(1.2)
        assert get("/latest/", X_aws_ec2_metadata_token=brief)[0] == 401

    # Required tokens; the key and so the token outlive the process.
    with Services(node, [a], tokens="required"), Browser(a) as get:
        assert get("/latest/meta-data/")[0] == 401
        assert get("/latest/meta-data/", **auth)[0] == 200
        status, _, token = get("/latest/api/token", "PUT", X_aws_ec2_metadata_token_ttl_seconds="60")
        assert status == 200
        assert get("/latest/meta-data/", X_aws_ec2_metadata_token=token)[0] == 200


def put_token(get):
    return get("/latest/api/token", "PUT", X_aws_ec2_metadata_token_ttl_seconds="60")


def ttls(guest, act):
    """The TTLs of what the metadata service sent while `act` ran."""
    seen = dp.popen_inside(guest.netns, "tcpdump", "-lvnni", "eth0", "src 169.254.169.254 and tcp")
    time.sleep(0.5)
    try:
        act()
        time.sleep(0.3)
    finally:
        seen.terminate()
    return re.findall(r"ttl (\d+),", seen.communicate()[0])


@contextlib.contextmanager
def behind(guest):
    """A namespace behind the guest, as a container with a bridge of its own has it: one more hop."""
    name = f"{guest.netns}c"
    dp.run("ip", "netns", "add", name)
    try:
        dp.run("ip", "-n", guest.netns, "link", "add", "in", "type", "veth", "peer", "name", "out", "netns", name)
        for netns, device, address in ((guest.netns, "in", "192.168.77.1/24"), (name, "out", "192.168.77.2/24")):
            dp.run("ip", "-n", netns, "addr", "add", address, "dev", device)
            dp.run("ip", "-n", netns, "link", "set", device, "up")
        dp.run("ip", "-n", name, "route", "add", "default", "via", "192.168.77.1")
        inside(guest.netns, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        inside(guest.netns, "nft", "add table ip t; add chain ip t c { type nat hook postrouting priority 100; };"
               " add rule ip t c oifname eth0 masquerade")
        yield type("Behind", (), {"netns": name})
    finally:
        dp.run("ip", "netns", "del", name)


def test_hop_limit(node):  # noqa: F811
    """What carries a token gets as far as the hop limit says; the handshake, and the rest, as far as any packet."""
    node.vpc(OPEN)
    a = node.guest(1, "10.0.1.11")
    for tokens, wanted in (("optional", "1"), ("optional+hops=3", "3")):
        with Services(node, [a], tokens=tokens), Browser(a) as get:
            assert set(ttls(a, lambda: get("/latest/"))) == {"64"}
            got = ttls(a, lambda: put_token(get))
            assert got[0] == "64" and wanted in got  # the SYN's answer, then what carries the token
            token = put_token(get)[2]
            got = ttls(a, lambda: get("/latest/", X_aws_ec2_metadata_token=token))
            assert got[0] == "64" and wanted in got


def test_a_container_needs_a_hop_more(node):  # noqa: F811
    node.vpc(OPEN)
    a = node.guest(1, "10.0.1.11")
    with behind(a) as container:
        with Services(node, [a]), Browser(container) as get:
            assert get("/latest/meta-data/instance-id")[2] == f"i-{dp.VNI}-1"
            assert put_token(get) == "timeout"
        with Services(node, [a], tokens="required+hops=2"), Browser(container) as get:
            token = put_token(get)[2]
            assert get("/latest/meta-data/instance-id", X_aws_ec2_metadata_token=token)[2] == f"i-{dp.VNI}-1"


def test_a_disabled_endpoint(node):  # noqa: F811
    node.vpc(OPEN)
    a = node.guest(1, "10.0.1.11")
    with Services(node, [a], tokens="optional+disabled"), Browser(a) as get:
        assert [get("/latest/meta-data/")[0], get("/")[0], put_token(get)[0]] == [403, 403, 403]


def test_tags(node):  # noqa: F811
    node.vpc(OPEN)
    a = node.guest(1, "10.0.1.11")
    with Services(node, [a]), Browser(a) as get:
        assert get("/latest/meta-data/tags/")[0] == get("/latest/meta-data/tags/instance/Name")[0] == 404
    with Services(node, [a], tokens="optional+tags"), Browser(a) as get:
        assert get("/latest/meta-data/tags/instance/")[2] == "Name"
        assert get("/latest/meta-data/tags/instance/Name")[2] == "first"
        assert get("/latest/meta-data/tags/instance/Other")[0] == 404
