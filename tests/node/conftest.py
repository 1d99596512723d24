"""A node with its helper and its controller, for the tests of this directory."""
import hashlib
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest

import helper_client
from node import BUILD, TOP, Node, wait_for

CONTROLLER = ["setpriv", "--reuid=nobody", "--regid=kvm", "--clear-groups"]


def tool(name):
    return os.path.join(BUILD, name)


def pytest_collection_modifyitems(items):
    """The file whose tests wait longest begins, so that others run meanwhile when several do at once."""
    items.sort(key=lambda item: os.path.basename(str(item.fspath)) != "test_reports.py")


@pytest.fixture(scope="session")
def tiny():
    """The tiny image's files: $MALLEE_TINY, else what tools/image makes."""
    directory = os.environ.get("MALLEE_TINY")
    if not directory:
        directory = subprocess.run([os.path.join(TOP, "tools/image"), "tiny"], check=True,
                                   stdout=subprocess.PIPE, text=True).stdout.strip().splitlines()[-1]
    names = {"kernel": ["vmlinuz"], "ramdisk": ["initrd.img"],
             "image": ["root.ext4"]}
    found = {}
    for kind, candidates in names.items():
        for name in candidates:
            path = os.path.join(directory, name)
            if os.path.exists(path):
                with open(path, "rb") as f:
                    found[kind] = (path, hashlib.sha256(f.read()).hexdigest(), os.path.getsize(path))
    assert set(found) == set(names), f"{directory} lacks {set(names) - set(found)}"
    return found


class ImageStore:
    """An HTTP server inside the node's namespace: files by name, with faults on request."""

    def __init__(self, node, directory):
        self.node, self.directory = node, directory
        self.process = node.spawn("images.log", "python3", os.path.join(TOP, "tests/node/images.py"),
                                  directory, "8999")
        self.url = "http://127.0.0.1:8999/"
        wait_for("the image store", lambda: node.run(
            "python3", "-c", "import socket;socket.create_connection(('127.0.0.1',8999))",
            check=False) == "")

    def fetched(self, name):
        with open(self.node.path("images.log"), encoding="utf-8") as f:
            return len(re.findall(rf"GET /{name}[ ?]", f.read()))


class Controller:
    """mallee-nc and mallee-nc-helper on a Node, and the zone that calls them."""

    def __init__(self, node, tiny, **conf):
        self.node, self.tiny = node, tiny
        os.chmod(node.dir, 0o755)
        for name in ("nc", "zone", "images", "run"):
            os.makedirs(node.path(name))
        self.url = "https://127.0.0.1:8775"
        subprocess.run([tool("tests/node/nc_call"), "init", node.path("zone"), node.path("nc"), self.url],
                       check=True)
        for kind, (path, _, _) in tiny.items():
            shutil.copy(path, node.path("images", kind))
        subprocess.run(["chown", "-R", "nobody:kvm", node.path("nc"), node.path("run")], check=True)
        os.chmod(node.path("nc"), 0o750)
        self.write_conf(conf)
        self.images = ImageStore(node, node.path("images"))
        self.helper = self.controller = None
        self.start_helper()
        self.start_controller()

    def write_conf(self, conf):
        d = self.node.dir
        values = {"stop_grace": "3s", "terminate_grace": "1s", "reboot_grace": "2s", "resolver": "none"}
        values.update(conf)
        with open(self.node.path("nc.conf"), "w", encoding="ascii") as f:
            f.write(f"state_dir = {d}/nc\nruntime_dir = {d}/run\nlisten = 127.0.0.1:8775\n"
                    f"helper_socket = {d}/helper.sock\n"
                    + "".join(f"{k} = {v}\n" for k, v in values.items()))
        with open(self.node.path("helper.conf"), "w", encoding="ascii") as f:
            f.write(f"state_dir = {d}/helper\nruntime_dir = {d}/helper-run\n"
                    f"listen = unix:{d}/helper.sock\nclient_user = nobody\nclient_group = kvm\n"
                    f"instances_dir = {d}/nc/instances\ncache_dir = {d}/nc/cache\n"
                    f"netns_dir = {d}/netns\nlibvirt_deadline = 20s\n")

    def start_helper(self):
        self.helper = self.node.spawn("helper.log", tool("bin/mallee-nc-helper"), "--config",
                                      self.node.path("helper.conf"))

    def start_controller(self):
        self.controller = self.node.spawn("nc.log", *CONTROLLER, tool("bin/mallee-nc"), "--config",
                                          self.node.path("nc.conf"))
        wait_for("mallee-nc", lambda: self.call("DescribeNode", check=False))

    def kill(self, child, number=9):
        """Ends one of the two programs and waits for its end."""
        pid = int(open(f"/proc/{child.pid}/task/{child.pid}/children").read().split()[0]) \
            if open(f"/proc/{child.pid}/comm").read().startswith("nsenter") else child.pid
        os.kill(pid, number)
        child.wait()

    def call(self, operation, body="", check=True):
        done = subprocess.run(self.node.command(tool("tests/node/nc_call"), self.node.path("zone/cc"),
                                                self.url, operation),
                              input=f"<in>{body}</in>", stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
        if done.returncode:
            if check:
                raise helper_client.Fault(done.stderr.strip())
            return None
        return ElementTree.fromstring(done.stdout)

    def spec(self, instance, generation=1, wanted="running", **more):
        def image(kind):
            _, digest, size = self.tiny[kind]
            digest = more.get(f"{kind}_digest", digest)
            source = more.get(f"{kind}_source", self.images.url + kind)
            sources = f"<sources><item><url>{source}</url></item></sources>" if source else ""
            return (f"<{kind}><imageId>{kind[0]}mi-00000001</imageId><digest>{digest}</digest>"
                    f"<sizeBytes>{size}</sizeBytes><format>raw</format>{sources}</{kind}>")
        number = int(instance[-2:], 16)
        fields = {"instanceId": instance, "accountId": "000012345678",
                  "reservationId": "r-00000001", "generation": generation, "wanted": wanted,
                  "rebootSerial": more.get("reboot", 0), "force": str(more.get("force", False)).lower(),
                  "instanceType": "t1.micro", "vcpus": more.get("vcpus", 1),
                  "memoryMib": more.get("memory", 192),
                  "ephemeralGib": more.get("ephemeral", 0)}
        text = "".join(f"<{k}>{v}</{k}>" for k, v in fields.items())
        text += image("image") + image("kernel") + image("ramdisk")
        text += ("<kernelArguments>root=/dev/vda console=ttyS0 quiet panic=-1</kernelArguments>"
                 f"<shutdownBehavior>{more.get('behavior', 'stop')}</shutdownBehavior>"
                 f"<interfaces><item><interfaceId>eni-000000{number:02x}</interfaceId>"
                 f"<vpcId>{more.get('vpc', 'vpc-00000001')}</vpcId><subnetId>subnet-00000001</subnetId>"
                 f"<mac>02:00:00:00:00:{number:02x}</mac><privateIp>172.31.0.{number}</privateIp>"
                 f"<subnetCidr>172.31.0.0/20</subnetCidr>"
                 f"<groupIds><item>sg-00000001</item></groupIds></item></interfaces>"
                 f"<region>mallee</region><zone>zone-a</zone><hostname>ip-172-31-0-{number}</hostname>"
                 f"<domain>mallee.compute.internal</domain>")
        if "export" in more:
            name, url = more["export"]
            text += f"<export><exportId>{name}</exportId><url>{url}</url></export>"
        if "shares" in more:
            text += f"<cpuShares>{more['shares']}</cpuShares>"
        if "pinned" in more:
            text += f"<isPinned>{str(more['pinned']).lower()}</isPinned>"
        if "ephemeral_disks" in more:
            text += "<ephemeralDisks>" + "".join(
                f"<item><deviceName>/dev/sd{chr(ord('b') + n)}</deviceName><virtualName>{name}</virtualName>"
                f"<sizeGib>{size}</sizeGib></item>" for n, (name, size) in enumerate(more["ephemeral_disks"]))
            text += "</ephemeralDisks>"
        text += more.get("extra", "")
        if "user_data" in more:
            text += f"<userData>{more['user_data']}</userData>"
        return f"<spec>{text}</spec>"

    def put(self, instance, **more):
        return self.call("PutInstance", self.spec(instance, **more))

    def put_vpc(self, vpc="vpc-00000001", revision=1, vni=1001):
        return self.call("PutVpc", f"<vpc><vpcId>{vpc}</vpcId><accountId>000012345678</accountId>"
                         f"<revision>{revision}</revision><vni>{vni}</vni><cidr>172.31.0.0/16</cidr>"
                         "<groups><item><groupId>sg-00000001</groupId><rules>"
                         "<item><direction>egress</direction><protocol>-1</protocol>"
                         "<cidr>0.0.0.0/0</cidr></item></rules></item></groups></vpc>")

    def reports(self):
        answer = self.call("Changes")
        found = {}
        for item in answer.find("instances") if answer.find("instances") is not None else []:
            found[item.findtext("instanceId")] = {c.tag: c.text for c in item}
        return found

    def report(self, instance):
        return self.reports().get(instance)

    def wait_state(self, instance, state, timeout=60):
        def look():
            self.last = self.report(instance)
            return self.last and self.last["state"] == state
        try:
            wait_for(f"{instance} {state}", look, timeout)
        except AssertionError as e:
            raise AssertionError(f"{e}; last report {self.last}\n" + self.logs()) from None
        return self.last

    def console(self, instance):
        import base64
        text = self.call("GetConsoleOutput", f"<instanceId>{instance}</instanceId>").findtext("output")
        return base64.b64decode(text or "")

    def wait_console(self, instance, text, count=1, timeout=90):
        wait_for(f"{count} x {text!r} on the console of {instance}",
                 lambda: self.console(instance).count(text) >= count, timeout)

    def domains(self):
        return self.node.run("virsh", "-q", "list", "--all", "--name").split()

    def qemus(self):
        """How many guests run; the helper's probe and libvirt's are QEMU as well."""
        return self.node.run("pgrep", "-c", "-f", "qemu-system.*guest=i-", check=False).strip()

    def logs(self):
        return "".join(f"--- {n}\n" + open(self.node.path(n), encoding="utf-8", errors="replace").read()[-6000:]
                       for n in ("nc.log", "helper.log"))


@pytest.fixture(scope="module")
def controller(tiny):
    with Node() as node:
        c = Controller(node, tiny)
        yield c
