"""A clc and a walrus on loopback, without a cloud around them, and ways to talk to them."""
import contextlib
import hashlib
import hmac
import http.client
import datetime
import os
import pwd
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import urllib.parse

import boto3
import botocore.client

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, os.environ.get("MALLEE_BUILD", "build"))
IS_SANITIZED = BUILD != os.path.join(TOP, "build")  # memory is another's, too
REGION = "mallee-1"


def program(name):
    return os.path.join(BUILD, "bin", name)


def free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def wait_for(what, seconds=15, why="nothing happened"):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{why} within {seconds} s")


class Daemon:
    def __init__(self, directory, name, port, status_port, **keys):
        self.name, self.port, self.status_port = name, port, status_port
        self.state = os.path.join(directory, name)
        self.runtime = os.path.join(directory, "run-" + name)
        self.conf = os.path.join(directory, name + ".conf")
        self.log = os.path.join(directory, name + ".log")
        self.process = None
        self.environment = {}
        os.makedirs(self.state, exist_ok=True)
        os.makedirs(self.runtime, exist_ok=True)
        keys = {"state_dir": self.state, "runtime_dir": self.runtime, "listen": f"127.0.0.1:{port}",
                "status_listen": f"127.0.0.1:{status_port}", **keys}
        self.keys = keys
        self.configure()

    def configure(self, **keys):
        """Writes the configuration, these keys beside its own; takes effect with the next start."""
        with open(self.conf, "w", encoding="utf-8") as file:
            file.writelines(f"{k} = {v}\n" for k, v in {**self.keys, **keys}.items())

    def start(self, wait=True):
        assert self.process is None
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([program(f"mallee-{self.name}"), "--config", self.conf], stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL,
                                            env={**os.environ, **self.environment})
        if wait:
            wait_for(self.is_ready, 30, f"mallee-{self.name} was not ready")

    def is_ready(self):
        assert self.process.poll() is None, f"mallee-{self.name} ended: {self.last_words()}"
        connection = http.client.HTTPConnection("127.0.0.1", self.status_port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def last_words(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-20:])

    def kill(self, number=signal.SIGKILL):
        if not self.process:
            return None
        self.process.send_signal(number)
        status = self.process.wait(60)
        self.process = None
        return status

    def rss_kib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


class World:
    def __init__(self, directory):
        ports = free_ports(6)
        self.directory = str(directory)
        self.clc = Daemon(self.directory, "clc", ports[0], ports[1])
        self.walrus = Daemon(self.directory, "walrus", ports[2], ports[3],
                             advertise=f"https://127.0.0.1:{ports[2]}", domains="s3.test",
                             website_listen=f"127.0.0.1:{ports[5]}", website_domains="web.test",
                             lifecycle_day="1s", access_log_interval="1s", notification_age="2s",
                             notification_endpoints=f"events=http://127.0.0.1:{ports[4]}/hook "
                             f"nobody=http://127.0.0.1:1/ second=http://127.0.0.1:{ports[4]}/second")
        self.hook_port, self.website_port = ports[4], ports[5]
        self.endpoint = f"http://127.0.0.1:{ports[2]}"
        try:
            self.begin()
        except BaseException:
            self.walrus.kill()
            self.clc.kill()
            raise

    def begin(self):
        self.admin_keys = self.credentials(self.admin("init"))
        self.clc.start()
        self.join()
        self.other_keys = self.credentials(self.admin("account", "create", "bob"))
        wait_for(lambda: self.knows(self.other_keys[0]), 10, "walrus did not hear of the account")

    def admin(self, *words):
        return subprocess.run([program("mallee-admin"), "--config", self.clc.conf, *words], check=True, timeout=60,
                              stdout=subprocess.PIPE, text=True).stdout

    def ask(self, *words):
        """What mallee-admin says of walrus; its sentence when it refuses."""
        done = subprocess.run([program("mallee-admin"), "--config", self.walrus.conf, *words], timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise AssertionError(done.stderr or done.stdout)
        return done.stdout

    def restart(self, number=signal.SIGTERM, **keys):
        """walrus, with these keys in its configuration; without any: with its own."""
        status = self.walrus.kill(number)
        assert number != signal.SIGTERM or status == 0, self.walrus.last_words()
        self.walrus.configure(**keys)
        self.walrus.start()

    def page(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.walrus.status_port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def metric(self, name):
        return next(float(line.split()[-1]) for line in self.page("/metrics").splitlines()
                    if line.split("{")[0].split()[0] == name)

    @staticmethod
    def credentials(text):
        found = dict(line.split("=", 1) for line in text.splitlines() if line.startswith("AWS_"))
        return found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"]

    def join(self):
        token = self.admin("token", "walrus").split()[-1]
        with subprocess.Popen([program("mallee-walrus"), "--config", self.walrus.conf, "join",
                               f"https://127.0.0.1:{self.clc.port}", token], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True) as command:
            wait_for(lambda: os.path.exists(os.path.join(self.walrus.state, "trust/peer.conf")), 20)
            self.walrus.start()
            said = command.communicate(timeout=60)[0]
        assert command.returncode == 0, said

    def stop(self):
        for daemon in (self.walrus, self.clc):
            if daemon.process:
                assert daemon.kill(signal.SIGTERM) == 0, daemon.last_words()

    # -- looking inside --

    def rows(self, sql, *values, daemon=None):
        daemon = daemon or self.walrus
        with sqlite3.connect(f"file:{daemon.state}/{daemon.name}.db?mode=ro", uri=True, timeout=10) as db:
            return db.execute(sql, values).fetchall()

    def knows(self, key):
        return self.rows("SELECT 1 FROM identity_key WHERE access_key_id = ? AND is_active = 1", key)

    def files(self):
        return sorted(name for _, _, names in os.walk(os.path.join(self.walrus.state, "blobs")) for name in names)

    def named_files(self):
        return sorted(r[0] for r in self.rows(
            "SELECT blob_id FROM extent WHERE blob_id IS NOT NULL"
            " UNION ALL SELECT blob_id FROM part WHERE blob_id IS NOT NULL"))

    def blob_paths(self, bucket, key):
        ids = [r[0] for r in self.rows(
            "SELECT e.blob_id FROM extent e JOIN object o ON o.content_id = e.content_id"
            " JOIN bucket b ON b.bucket_id = o.bucket_id WHERE b.name = ? AND o.object_key = ?"
            " ORDER BY e.end_bytes", bucket, key.encode())]
        return [os.path.join(self.walrus.state, "blobs", i[:2], i[2:4], i) for i in ids if i]

    def assert_no_orphans(self, seconds=10):
        wait_for(lambda: self.files() == self.named_files(), seconds, "files without an owner stayed")

    # -- clients --

    def s3(self, keys=None, version="s3v4", style="path", **options):
        keys = keys or self.admin_keys
        return boto3.client("s3", endpoint_url=self.endpoint, aws_access_key_id=keys[0],
                            aws_secret_access_key=keys[1], region_name=REGION,
                            config=botocore.client.Config(signature_version=version,
                                                          s3={"addressing_style": style},
                                                          retries={"max_attempts": 0}, read_timeout=60,
                                                          **options))

    def aws(self, *words, check=True, keys=None):
        keys = keys or self.admin_keys
        env = {"PATH": "/usr/bin:/bin", "HOME": self.directory, "AWS_ACCESS_KEY_ID": keys[0],
               "AWS_SECRET_ACCESS_KEY": keys[1], "AWS_DEFAULT_REGION": REGION, "LC_ALL": "C.UTF-8"}
        return subprocess.run(["/usr/bin/aws", "--endpoint-url", self.endpoint, *words], check=check, env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)

    def connection(self, timeout=60):
        return http.client.HTTPConnection("127.0.0.1", self.walrus.port, timeout=timeout)

    def signed(self, method, path, query=None, headers=None, payload="UNSIGNED-PAYLOAD", keys=None, now=None):
        """Headers of a request signed by Signature Version 4, made here so that it can be made wrong."""
        keys = keys or self.admin_keys
        now = now or datetime.datetime.utcnow()
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        all_headers = {"host": f"127.0.0.1:{self.walrus.port}", "x-amz-date": stamp,
                       "x-amz-content-sha256": payload, **{k.lower(): v for k, v in (headers or {}).items()}}
        names = ";".join(sorted(all_headers))
        text = "&".join(f"{urllib.parse.quote(k, safe='-_.~')}={urllib.parse.quote(v, safe='-_.~')}"
                        for k, v in sorted((query or {}).items()))
        canonical = "\n".join([method, urllib.parse.quote(path, safe="/-_.~"), text,
                               "".join(f"{k}:{all_headers[k].strip()}\n" for k in sorted(all_headers)), names, payload])
        scope = f"{day}/{REGION}/s3/aws4_request"
        key = ("AWS4" + keys[1]).encode()
        for part in (day, REGION, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        all_headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={keys[0]}/{scope}, SignedHeaders={names}, "
                                        f"Signature={signature}")
        target = urllib.parse.quote(path, safe="/-_.~") + ("?" + text if text else "")
        return target, all_headers, (key, stamp, scope, signature)

    def request(self, method, path, query=None, headers=None, body=b"", payload="UNSIGNED-PAYLOAD", keys=None,
                now=None):
        target, all_headers, _ = self.signed(method, path, query, headers, payload, keys, now)
        connection = self.connection()
        try:
            connection.request(method, target, body=body, headers=all_headers)
            reply = connection.getresponse()
            return reply.status, dict((k.lower(), v) for k, v in reply.getheaders()), reply.read()
        finally:
            connection.close()


def remove(directory):
    shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def living():
    """A world that must end well; gone with everything in it afterwards."""
    directory = tempfile.mkdtemp(prefix="walrus-test-")
    made = None
    try:
        made = World(directory)
        yield made
        made.stop()
    finally:
        for daemon in (made.walrus, made.clc) if made else ():
            daemon.kill()
        remove(directory)


def is_root():
    return pwd.getpwuid(os.geteuid()).pw_uid == 0
