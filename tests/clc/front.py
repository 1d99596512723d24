"""One mallee-clc alone, on loopback, with rows that other daemons would have brought: a zone, a node, images.

The daemon is the real one and so are its store and its sockets; no zone answers it, so instances stay
`pending` until a test moves their rows. Requests are signed here by hand (SigV2, SigV4) where a test
wants bytes that no client library sends.
"""
import base64
import datetime
import hashlib
import hmac
import http.client
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import urllib.parse
import xml.etree.ElementTree as ElementTree

import answers

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, os.environ.get("MALLEE_BUILD", "build"))
VERSION = "2016-11-15"
REGION = "mallee-1"
START_S = 60


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def quote(text):
    return urllib.parse.quote(text, safe="-_.~")


def now(offset_s=0):
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=offset_s)


class Account:
    def __init__(self, lines):
        values = dict(line.split("=", 1) for line in lines.splitlines() if "=" in line and not line.startswith("#"))
        self.key, self.secret, self.id = (values["AWS_ACCESS_KEY_ID"], values["AWS_SECRET_ACCESS_KEY"],
                                          values["EC2_USER_ID"])


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body
        self._xml = None

    @property
    def xml(self):
        if self._xml is None and self.body.strip().startswith(b"<"):
            self._xml = ElementTree.fromstring(self.body)
        return self._xml

    def find(self, name):
        for element in self.xml.iter():
            if element.tag.split("}")[-1] == name:
                return element
        return None

    def text(self, name):
        element = self.find(name)
        return None if element is None else element.text or ""

    def all(self, name):
        return [e.text for e in self.xml.iter() if e.tag.split("}")[-1] == name]

    @property
    def code(self):
        return self.text("Code")

    @property
    def message(self):
        return self.text("Message")

    def __repr__(self):
        return f"{self.status} {self.body[:600]!r}"


class Clc:
    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="mallee-front-")
        self.port, self.status_port = free_port(), free_port()
        self.process = None
        self.zone_nodes = ()
        self.configure()
        done = subprocess.run([self.program("mallee-clc"), "--config", self.config, "init"], capture_output=True,
                              text=True, timeout=120, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        self.admin = Account(done.stdout)

    # -- the daemon --

    @staticmethod
    def program(name):
        return os.path.join(BUILD, "bin", name)

    @property
    def config(self):
        return os.path.join(self.directory, "clc.conf")

    @property
    def log(self):
        return os.path.join(self.directory, "log")

    def configure(self, **extra):
        lines = {"state_dir": f"{self.directory}/state", "runtime_dir": f"{self.directory}/run",
                 "listen": f"127.0.0.1:{self.port}", "status_listen": f"127.0.0.1:{self.status_port}",
                 "region": REGION, "ec2_url": f"http://127.0.0.1:{self.port}", "workers": "8",
                 "public_addresses": "198.18.0.1-198.18.31.254", "instance_limit": "100000", "answer_log": answers.path(os.path.basename(self.directory)), **extra}
        with open(self.config, "w", encoding="utf-8") as file:
            file.writelines(f"{k} = {v}\n" for k, v in lines.items())

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([self.program("mallee-clc"), "--config", self.config],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + START_S
        while True:
            try:
                if self.status_get("/readyz")[0] == 200:
                    return self
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the clc does not start: " + self.read_log()[-2000:])
            time.sleep(0.05)

    def stop(self, how=signal.SIGTERM):
        if self.process:
            self.process.send_signal(how)
            status = self.process.wait(60)
            self.process = None
            return status
        return 0

    def close(self):
        status = self.stop()
        log = self.read_log()
        shutil.rmtree(self.directory, ignore_errors=True)
        assert "Sanitizer" not in log and "runtime error" not in log, log[-6000:]
        assert status == 0, log[-3000:]

    def read_log(self):
        if not os.path.exists(self.log):
            return ""
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def status_get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.status_port, timeout=10)
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()

    def mallee_admin(self, *words):
        return subprocess.run([self.program("mallee-admin"), "--runtime-dir", f"{self.directory}/run", *words],
                              capture_output=True, text=True, timeout=60, check=True).stdout

    def new_account(self, name):
        return Account(self.mallee_admin("account", "create", name))

    # -- rows --

    def rows(self, sql, *values):
        """A statement on the daemon's own database, as another process."""
        database = sqlite3.connect(f"{self.directory}/state/clc.db", timeout=20)
        try:
            found = database.execute(sql, values).fetchall()
            database.commit()
            return found
        finally:
            database.close()

    def seed_zone(self, zone="zone-a", vcpus=64, memory_mib=65536, disk_gib=10000, third=0):
        """A zone with one node. Before start: accounts made later get its subnet by themselves."""
        us = int(time.time() * 1e6)
        self.rows("INSERT INTO zone (name, zone_id, position, nodes_revision, nodes_put, report_epoch, report_revision,"
                  " created_us) VALUES (?, ?, ?, 1, 1, 0, 0, ?)", zone, f"m1-az{third // 16 + 1}", third // 16, us)
        vpc, account = self.rows("SELECT vpc_id, account_id FROM vpc")[0]
        self.rows("INSERT INTO subnet VALUES (?, ?, ?, ?, ?, ?, 1, 1, ?)", f"subnet-{third + 1:017x}", account, REGION,
                  vpc, zone, f"172.31.{third}.0/20", us)
        self.seed_node(zone, vcpus, memory_mib, disk_gib)

    def seed_node(self, zone, vcpus, memory_mib=1 << 30, disk_gib=1 << 30, node_id=None):
        self.rows("INSERT OR REPLACE INTO node (node_id, zone, state, hypervisor, vcpus, memory_mib, disk_gib, vcpus_used,"
                  " memory_mib_used, disk_gib_used, last_seen_us) VALUES (?, ?, 'up', 'qemu', ?, ?, ?, 0, 0, 0, ?)",
                  node_id or f"nc-{zone}", zone, vcpus, memory_mib, disk_gib, int(time.time() * 1e6))

    def seed_image(self, account, image_id="ami-00000000000000001", kind="machine", name=None, public=0):
        self.rows("INSERT INTO image (image_id, account_id, region, name, location, bucket, object_key, type, architecture,"
                  " format, virtualization, size_bytes, digest, root_device_name, is_public, is_deregistered, created_us,"
                  " disk_bytes) VALUES (?, ?, ?, ?, 'images/disk', 'images', 'disk', ?, 'x86_64', 'raw', 'hvm', 1048576, ?,"
                  " '/dev/vda', ?, 0, ?, 1048576)", image_id, account.id, REGION,
                  name or image_id, kind, "0" * 64, public, int(time.time() * 1e6))
        return image_id

    # -- requests --

    def send(self, method, target, headers, body=b"", timeout=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if method == "POST" and "Content-Length" not in headers:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body if body else None)
            reply = connection.getresponse()
            return Reply(reply.status, dict(reply.getheaders()), reply.read())
        finally:
            connection.close()

    def ec2(self, account, action, *, version=VERSION, service="ec2", path="/", method="POST", **params):
        """A SigV4 call. A parameter's name is written with '__' where the API has a dot."""
        form = {"Action": action, "Version": version, **{k.replace("__", "."): v for k, v in params.items()}}
        return self.call(account, [(k, v) for k, v in form.items() if v is not None], service=service, path=path,
                         method=method)

    def call(self, account, form, *, service="ec2", path="/", method="POST", host=None, signed_host=None, skew_s=0,
             region=REGION, content_type="application/x-www-form-urlencoded", body=None, secret=None, timeout=60):
        host = host or f"127.0.0.1:{self.port}"
        text = "&".join(f"{quote(k)}={quote(v)}" for k, v in form)
        data = body if body is not None else (text.encode() if method == "POST" else b"")
        query = text if method == "GET" else ""
        stamp = now(skew_s).strftime("%Y%m%dT%H%M%SZ")
        headers = {"Host": host, "X-Amz-Date": stamp}
        if method == "POST" and content_type:
            headers["Content-Type"] = content_type
        headers["Authorization"] = sign_v4(account.key, secret or account.secret, method, path, query,
                                           {**headers, "Host": signed_host or host}, data, stamp, region, service)
        return self.send(method, path + ("?" + query if query else ""), headers, data, timeout)

    def presign(self, account, form, *, expires=300, skew_s=0, path="/"):
        stamp = now(skew_s).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{stamp[:8]}/{REGION}/ec2/aws4_request"
        host = f"127.0.0.1:{self.port}"
        pairs = form + [("X-Amz-Algorithm", "AWS4-HMAC-SHA256"), ("X-Amz-Credential", f"{account.key}/{scope}"),
                        ("X-Amz-Date", stamp), ("X-Amz-Expires", str(expires)), ("X-Amz-SignedHeaders", "host")]
        query = "&".join(sorted(f"{quote(k)}={quote(v)}" for k, v in pairs))
        canonical = "\n".join(["GET", path, query, f"host:{host}\n", "host", hashlib.sha256(b"").hexdigest()])
        signature = v4_signature(account.secret, stamp, REGION, "ec2", canonical)
        return self.send("GET", f"{path}?{query}&X-Amz-Signature={signature}", {"Host": host})

    def call_v2(self, account, form, *, method="POST", algorithm="HmacSHA256", path="/", signed_path=None, host=None,
                signed_host=None, skew_s=0, expires=None, secret=None):
        host = host or f"127.0.0.1:{self.port}"
        stamp = now(skew_s).strftime("%Y-%m-%dT%H:%M:%SZ")
        pairs = form + [("AWSAccessKeyId", account.key), ("SignatureVersion", "2"), ("SignatureMethod", algorithm)]
        pairs.append(("Expires", now(expires).strftime("%Y-%m-%dT%H:%M:%SZ")) if expires is not None
                     else ("Timestamp", stamp))
        query = "&".join(f"{quote(k)}={quote(v)}" for k, v in sorted(pairs))
        text = "\n".join([method, (signed_host or host).lower(), signed_path or path, query])
        digest = hashlib.sha256 if algorithm == "HmacSHA256" else hashlib.sha1
        mac = base64.b64encode(hmac.new((secret or account.secret).encode(), text.encode(), digest).digest()).decode()
        query += "&Signature=" + quote(mac)
        if method == "GET":
            return self.send("GET", f"{path}?{query}", {"Host": host})
        return self.send("POST", path, {"Host": host, "Content-Type": "application/x-www-form-urlencoded"},
                         query.encode())


def v4_signature(secret, stamp, region, service, canonical):
    key = ("AWS4" + secret).encode()
    for part in (stamp[:8], region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, f"{stamp[:8]}/{region}/{service}/aws4_request",
                      hashlib.sha256(canonical.encode()).hexdigest()])
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def sign_v4(key_id, secret, method, path, query, headers, body, stamp, region, service):
    names = sorted(k.lower() for k in headers)
    lower = {k.lower(): v for k, v in headers.items()}
    canonical = "\n".join([method, quote(path).replace("%2F", "/"), "&".join(sorted(query.split("&"))),
                           "".join(f"{n}:{lower[n].strip()}\n" for n in names), ";".join(names),
                           hashlib.sha256(body).hexdigest()])
    signature = v4_signature(secret, stamp, region, service, canonical)
    return (f"AWS4-HMAC-SHA256 Credential={key_id}/{stamp[:8]}/{region}/{service}/aws4_request, "
            f"SignedHeaders={';'.join(names)}, Signature={signature}")
