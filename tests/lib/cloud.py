"""A cloud for tests: what a test says about it reads as a story.

    instance = cloud.run()
    cloud.wait(instance, "running")
    assert cloud.guest(instance).sh("id -u") == "0"

It drives the same modules as tools/cloud, and AWS' own clients with explicit endpoints.
"""
import concurrent.futures
import contextlib
import functools
import json
import os
import shlex
import subprocess
import sys
import time
import types
import uuid

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tools"))
sys.dont_write_bytecode = True

import boto3  # noqa: E402
import botocore.config  # noqa: E402
from botocore.exceptions import ClientError  # noqa: E402,F401 (tests import it from here)
from testbed import cli, daemons, guests, hosts, images as image_files, model, net, proc, term  # noqa: E402,F401
from testbed.term import Failure  # noqa: E402,F401

BOOT_S = 150   # a guest under TCG on a busy machine
START_S = 90   # until `running`
TYPE = "t2.micro"


def eventually(what, seconds, body, every=0.2):
    """The first true value of body(); fails with its last error or falsehood."""
    end = time.monotonic() + seconds
    last = None
    while True:
        try:
            value = body()
            if value:
                return value
            last = value
        except (AssertionError, Failure, OSError, ClientError, subprocess.SubprocessError) as problem:
            last = problem
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}; last: {last!r}")
        time.sleep(every)


@functools.cache
def _session():
    """One for all clients, which have their own keys: each session reads Amazon's models again, half a second long."""
    return boto3.session.Session()


class Guest:
    """A shell in an instance, over SSH from the host `outside`."""

    def __init__(self, cloud, instance_id, user="root"):
        self.cloud, self.id, self.user = cloud, instance_id, user

    @property
    def address(self):
        return self.cloud.describe(self.id)["PublicIpAddress"]

    def sh(self, script, check=True, timeout=60, address=None):
        argv = guests.ssh_argv(self.cloud.model, address or self.address, self.user, [script])
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
                              check=False)
        if check and done.returncode:
            raise AssertionError(f"in {self.id}: {script!r}: status {done.returncode}: {done.stderr.strip()}")
        return done.stdout.strip()

    def wait(self, seconds=BOOT_S):
        eventually(f"SSH to {self.id}", seconds, lambda: self.sh("echo here", timeout=20) == "here", every=0.5)
        return self

    def boots(self):
        return int(self.sh("cat /var/lib/boots"))


class Cloud:
    def __init__(self, name, **shape):
        self.name, self.shape = name, shape
        self.model = model.load(name)

    # -- the test bed --

    def up(self, zones=1, nodes=1, image="tiny", no_build=False):
        options = types.SimpleNamespace(name=self.name, zones=zones, nodes=nodes, image=image, state=None,
                                        no_build=no_build)
        cli.up(options)
        self.model = model.need(self.name)
        return self

    def down(self, wipe=True):
        cli.down(types.SimpleNamespace(name=self.name, wipe=wipe))
        self.model = model.load(self.name)

    def unit(self, daemon):
        return daemons.unit(self.model, daemon)

    def kill(self, daemon):
        assert daemons.kill(self.model, self.unit(daemon)), f"{daemon} did not run"

    def start(self, daemon):
        daemons.start(self.model, self.unit(daemon))

    def restart(self, daemon):
        self.kill(daemon)
        self.start(daemon)

    def pid(self, daemon):
        return daemons.running(self.model, self.unit(daemon))

    def on(self, host, *argv, check=True, timeout=120):
        """Output of a command on a host."""
        return term.run(*hosts.enter(self.model, host, *argv), check=check, timeout=timeout)

    def admin(self, *words, check=True):
        return daemons.admin(self.model, *words, check=check)

    def log(self, daemon):
        try:
            with open(daemons.log_path(self.model, self.unit(daemon)), encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    @contextlib.contextmanager
    def cut(self, a, b=None):
        hosts.partition(self.model, a, b)
        try:
            yield
        finally:
            hosts.heal(self.model)

    def tool(self, *words, check=True):
        """tools/cloud as a person runs it."""
        done = subprocess.run([os.path.join(TOP, "tools/cloud"), words[0], "--name", self.name, *words[1:]],
                              capture_output=True, text=True, check=False, timeout=600)
        if check:
            assert done.returncode == 0, done.stderr
        return done

    # -- its API --

    @property
    def variables(self):
        return guests.variables(self.model)

    def client(self, service, key=None, secret=None, retries=0):
        found = self.variables
        endpoint = {"ec2": "AWS_ENDPOINT_URL_EC2", "s3": "AWS_ENDPOINT_URL_S3", "sts": "AWS_ENDPOINT_URL_STS"}[service]
        config = botocore.config.Config(retries={"max_attempts": retries}, connect_timeout=5, read_timeout=60,
                                        max_pool_connections=128, proxies={}, s3={"addressing_style": "path"})
        return _session().client(service, endpoint_url=found[endpoint], config=config,
                                 region_name=found["AWS_DEFAULT_REGION"],
                                 aws_access_key_id=key or found["AWS_ACCESS_KEY_ID"],
                                 aws_secret_access_key=secret or found["AWS_SECRET_ACCESS_KEY"])

    @property
    def ec2(self):
        return self._cached("ec2")

    @property
    def s3(self):
        return self._cached("s3")

    @property
    def sts(self):
        return self._cached("sts")

    def _cached(self, service):
        name = f"_client_{service}"
        if name not in self.__dict__:
            self.__dict__[name] = self.client(service)
        return self.__dict__[name]

    def aws(self, *words, check=True):
        """The aws command; its JSON."""
        argv = guests.aws_argv(self.model, [*words, "--output", "json"])
        done = subprocess.run(argv, env=guests.environment(self.model), capture_output=True, text=True, timeout=300,
                              check=False)
        if not check:
            return done
        assert done.returncode == 0, f"aws {shlex.join(words)}: {done.stderr.strip()}"
        return json.loads(done.stdout) if done.stdout.strip() else None

    @property
    def image(self):
        return self.variables["MALLEE_IMAGE"]

    def run(self, count=1, ec2=None, **options):
        """Ids of started instances (one id when one was asked for)."""
        asked = {"ImageId": self.image, "InstanceType": TYPE, "KeyName": self.variables["MALLEE_KEY"],
                 "MinCount": count, "MaxCount": count}
        asked.update(options)
        asked = {k: v for k, v in asked.items() if v is not None}
        made = [i["InstanceId"] for i in (ec2 or self.ec2).run_instances(**asked)["Instances"]]
        return made[0] if len(made) == 1 and count == 1 else made

    def describe(self, instance_id, ec2=None):
        answer = (ec2 or self.ec2).describe_instances(InstanceIds=[instance_id])
        return answer["Reservations"][0]["Instances"][0]

    def state(self, instance_id):
        return self.describe(instance_id)["State"]["Name"]

    def instances(self, *states):
        found = [i for r in self.ec2.describe_instances()["Reservations"] for i in r["Instances"]]
        return [i for i in found if not states or i["State"]["Name"] in states]

    def wait(self, instance_id, wanted, seconds=START_S):
        ends = {"running": ("terminated", "stopped"), "stopped": ("terminated",)}.get(wanted, ())

        def reached():
            one = self.describe(instance_id)
            state = one["State"]["Name"]
            if state in ends and state != wanted:
                raise RuntimeError(f"{instance_id} is {state}: {one.get('StateReason')}, wanted {wanted}")
            return one if state == wanted else None
        return eventually(f"{instance_id} {wanted}", seconds, reached)

    def terminate(self, *instance_ids):
        if instance_ids:
            self.ec2.terminate_instances(InstanceIds=list(instance_ids))
            for one in instance_ids:
                self.wait(one, "terminated")

    def guest(self, instance_id):
        return Guest(self, instance_id)

    def booted(self, **options):
        """An instance that answers SSH."""
        one = self.run(**options)
        self.wait(one, "running")
        self.guest(one).wait()
        return one

    def console(self, instance_id):
        return self.ec2.get_console_output(InstanceId=instance_id).get("Output", "")

    def node_of(self, instance_id):
        """The node on which a guest of this instance runs, as libvirt there says."""
        for host in self.model.hosts:
            if host.kind == "node" and instance_id in self.on(host.name, "virsh", "list", "--name").split():
                return host.name
        return None

    def domains(self):
        """{node: ids of guests that run there}"""
        return {h.name: set(self.on(h.name, "virsh", "list", "--name").split())
                for h in self.model.hosts if h.kind == "node"}

    def vpc_count(self):
        """Of all accounts, as far as the operator's tool counts them: one default VPC each."""
        return len([line for line in self.admin("account", "list").splitlines() if line.strip()])

    def account(self, name):
        """(access key, secret, account id) of the admin of a new account; its name gets an end, so that it is new."""
        text = self.admin("account", "create", f"{name}-{uuid.uuid4().hex[:8]}")
        pairs = dict(line.removeprefix("export ").split("=", 1) for line in text.splitlines() if "=" in line)
        clean = {k.strip(): v.strip().strip("'\"") for k, v in pairs.items()}
        key, secret = clean["AWS_ACCESS_KEY_ID"], clean["AWS_SECRET_ACCESS_KEY"]
        private = functools.partial(os.open, mode=0o600)
        with open(self.model.path("accounts"), "a", encoding="ascii", opener=private) as file:
            print(key, secret, file=file)
        return key, secret, clean.get("EC2_USER_ID", "")

    def everybodys_instances(self):
        """Of this account and of those that tests made, in this run or in one before it."""
        found = self.instances()
        if os.path.exists(self.model.path("accounts")):
            with open(self.model.path("accounts"), encoding="ascii") as file:
                for line in file:
                    reservations = self.client("ec2", *line.split()).describe_instances()["Reservations"]
                    found += [i for r in reservations for i in r["Instances"]]
        return found


def parallel(bodies):
    """Runs functions at once; (result, error) of each."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=len(bodies)) as pool:
        futures = [pool.submit(b) for b in bodies]
    return [(None, f.exception()) if f.exception() else (f.result(), None) for f in futures]


def code_of(problem):
    """AWS' error code of a ClientError."""
    return problem.response["Error"]["Code"]


def images_of(cloud):
    """Ids of the test bed's registered image: image, kernel, ramdisk, digest."""
    return guests.registered(cloud.model)
