"""A clc whose store holds one of each thing, and what a call did there: its answer and the rows it changed.

    world.effect("StopInstances", {"InstanceId.1": "{instance}"})

Names in braces are things of the account: `{instance}` is a running one (made anew for a call that changes state, so
that one call's doings are not in the way of the next), `{stopped}`, `{image}`, `{key}`, `{group}`, `{subnet}`,
`{vpc}`, `{zone}`, `{account}`, and what parameters.py adds in MAKERS.
"""
import itertools
import json
import os
import sqlite3
import string
import subprocess

import front
from strict import local

API = json.loads(subprocess.run(
    ["/usr/bin/python3", os.path.join(front.TOP, "tools/apigen"), "--json", os.path.join(front.TOP, "clc/api/ec2.api")],
    capture_output=True, text=True, check=True).stdout)
OPERATIONS = {o["operation"]: o for o in API}
# The record of who did what holds the request itself, so there every parameter would make a difference.
UNTOLD = {"audit", "outbox"}
MANY = 12  # of each kind, for pages: more than two of the smallest


def leaves(element, path=""):
    """(path, text) of each leaf; places in lists are in the path."""
    path = f"{path}/{local(element)}"
    if not len(element):
        yield path, element.text or ""
    for i, child in enumerate(element):
        yield from leaves(child, f"{path}[{i}]" if local(child) == "item" else path)


class Effect:
    def __init__(self, reply, rows):
        self.reply = reply
        self.told = {}
        if reply.status == 200:
            for path, text in leaves(reply.xml):
                self.told.setdefault(path, []).append(text)
            self.told.pop(f"/{local(reply.xml)}/requestId", None)
        else:
            self.told["error"] = [reply.status, reply.code, reply.message]
        self.told.update(rows)
        self.values = {str(v) for values in self.told.values() for v in values}


class Things(dict):
    """Made when first named."""

    def __init__(self, world, known):
        super().__init__(known)
        self.world = world

    def __missing__(self, name):
        made = self.world.makers[name](self.world)
        self[name] = made
        return made


class World:
    def __init__(self, makers=None):
        self.serial = itertools.count(1)
        self.makers = {"instance": World.new_instance, "stopped": lambda w: w.new_instance("stopped"),
                       "image": World.new_image, "key": World.new_key,
                       "kernel": lambda w: w.new_image("kernel"), "ramdisk": lambda w: w.new_image("ramdisk"), **(makers or {})}
        self.clc = front.Clc()
        try:
            self.clc.seed_zone("zone-a", vcpus=100000, memory_mib=1 << 30, disk_gib=1 << 30)
            for n in range(4):  # the partitions of a placement group have nodes of their own
                self.clc.seed_node("zone-a", vcpus=100000, node_id=f"nc-zone-a-{n}")
            self.clc.seed_zone("zone-b", vcpus=100000, memory_mib=1 << 30, disk_gib=1 << 30, third=16)
            self.clc.start()
            self.account = self.clc.new_account("world")
            self.clc.rows("UPDATE quota SET value = 100000 WHERE account_id = ?", self.account.id)
            first = self.call("DescribeSubnets", {"Filter.1.Name": "availability-zone", "Filter.1.Value.1": "zone-a"})
            self.known = {"account": self.account.id, "zone": "zone-a", "other_zone": "zone-b", "region": front.REGION,
                          "subnet": first.text("subnetId"), "vpc": first.text("vpcId"),
                          "group": self.call("DescribeSecurityGroups", {}).text("groupId"), "serial": "0"}
            self.resident = Things(self, self.known)
        except BaseException:
            self.clc.stop()
            print(self.clc.read_log())
            raise

    def close(self):
        self.clc.close()

    # -- things --

    def call(self, action, params):
        return self.clc.call(self.account, [("Action", action), ("Version", front.VERSION), *params.items()])

    def must(self, action, params):
        reply = self.call(action, params)
        assert reply.status == 200, (action, params, reply)
        return reply

    def new_image(self, kind="machine"):
        prefix = {"machine": "ami", "kernel": "aki", "ramdisk": "ari"}[kind]
        return self.clc.seed_image(self.account, f"{prefix}-{next(self.serial):017x}", kind, name=f"image-{next(self.serial)}")

    def new_key(self):
        name = f"key-{next(self.serial)}"
        self.must("CreateKeyPair", {"KeyName": name, "KeyType": "ed25519"})
        return name

    def rich_instance(self):
        """One with as much as this clc knows to give it, so that filters have something to find."""
        request = {"ImageId": self.resident["image"], "MinCount": "1", "MaxCount": "1", "InstanceType": "t2.nano"}
        for more in ({"NetworkInterface.1.DeviceIndex": "0", "NetworkInterface.1.Description": "described"},
                     {"BlockDeviceMapping.1.DeviceName": "/dev/sdb", "BlockDeviceMapping.1.VirtualName": "ephemeral0"},
                     {"Placement.GroupName": "{placement_group}"}, {"ClientToken": "a token"}, {"Monitoring.Enabled": "true"},
                     {"KernelId": "{kernel}"}, {"RamdiskId": "{ramdisk}"}, {"Placement.Affinity": "default"}):
            more = self.fill_in(more, False)
            last = {"DryRun": "true"}
            if self.call("RunInstances", {**request, **more, **last}).code == "DryRunOperation":
                reply = self.call("RunInstances", {**request, **more, "ClientToken": f"token-{next(self.serial)}"})
                if reply.status == 200:
                    self.set_state(reply.text("instanceId"), "terminated")
                    request.update(more)
        self.set_state(self.must("RunInstances", request).text("instanceId"), "running")

    def set_state(self, instance, state):
        wanted = "stopped" if state == "stopped" else "running"
        self.clc.rows("UPDATE instance SET state = ?, wanted = ?, to_put = 0 WHERE instance_id = ?", state, wanted, instance)

    def new_instance(self, state="running"):
        reply = self.must("RunInstances", {
            "ImageId": self.resident["image"], "MinCount": "1", "MaxCount": "1", "InstanceType": "t2.nano",
            "KeyName": self.resident["key"], "ClientToken": f"token-{next(self.serial)}",
            "TagSpecification.1.ResourceType": "instance", "TagSpecification.1.Tag.1.Key": "Name",
            "TagSpecification.1.Tag.1.Value": f"name-{next(self.serial)}"})
        instance = reply.text("instanceId")
        if state == "stopped":
            self.must("StopInstances", {"InstanceId.1": instance})
        self.set_state(instance, state)
        return instance

    def clone(self, table, where, count, **changed):
        """Rows like the first one found, each with other values; {n} stands for a number."""
        database = sqlite3.connect(f"{self.clc.directory}/state/clc.db", timeout=20)
        database.row_factory = sqlite3.Row
        try:
            row = database.execute(f"SELECT * FROM {table} WHERE {where}").fetchone()
            for _ in range(count):
                n = next(self.serial)
                new = {**dict(row), **{k: v.format(n=n, hex=f"{n:017x}", octet=n % 250) if isinstance(v, str) else v + n
                                       for k, v in changed.items()}}
                database.execute(f"INSERT INTO {table} ({', '.join(new)}) VALUES ({', '.join('?' * len(new))})",
                                 list(new.values()))
            database.commit()
        finally:
            database.close()

    def fill(self):
        """Many of what pages list, each somewhat different, and tags on all that bear them."""
        mine = f"account_id = '{self.account.id}'"
        for i in range(MANY):
            self.new_instance("stopped" if i % 5 == 4 else "running")
            self.new_key()
            self.new_image()
        self.rich_instance()
        self.clc.rows("UPDATE instance SET cpu_credits = 'unlimited', reachability = 'passed'")
        kernel, ramdisk = self.resident["kernel"], self.resident["ramdisk"]
        self.clc.rows(f"UPDATE image SET kernel_id = ?, ramdisk_id = ?, description = 'described' WHERE {mine} AND"
                      " image_id LIKE '%8'", kernel, ramdisk)
        self.clone("vpc", mine, MANY, vpc_id="vpc-{hex}", cidr="10.{octet}.0.0/16", vni=1000, is_default=0,
                   association_id="vpc-cidr-assoc-{hex}")
        self.clone("subnet", mine, MANY, subnet_id="subnet-{hex}", cidr="172.31.{octet}.0/28", is_default=0)
        self.clone("security_group", mine, MANY, group_id="sg-{hex}", name="group-{n}", description="number {n}")
        group = self.known["group"]
        for egress in (0, 1):
            rule = ("INSERT INTO group_rule (rule_id, group_id, position, is_egress, protocol, from_port, to_port, cidr,"
                    " source_group_id) VALUES (?, ?, ?, ?, 'tcp', ?, ?, ?, ?)")
            self.clc.rows(rule, f"sgr-{egress}a", group, 40 + egress, egress, 1000 + egress, 1010, "192.0.2.0/24", None)
            self.clc.rows(rule, f"sgr-{egress}b", group, 50 + egress, egress, 2000 + egress, 2010, None, group)
        for table, column in (("image", "image_id"), ("vpc", "vpc_id"), ("subnet", "subnet_id"), ("security_group", "group_id"),
                              ("key_pair", "key_pair_id")):
            for i, (one,) in enumerate(self.clc.rows(f"SELECT {column} FROM {table} WHERE {mine} ORDER BY {column} LIMIT 3")):
                self.tag(one, "Name", f"name {i}")
                self.tag(one, f"key {i}", "the value")

    def tag(self, resource, key, value):
        self.clc.rows("INSERT INTO tag (account_id, resource_id, tag_key, value) VALUES (?, ?, ?, ?)", self.account.id, resource,
                      key, value)

    def fill_in(self, params, is_fresh):
        """Values with their names in braces put in."""
        things = Things(self, {**self.known, "serial": str(next(self.serial))}) if is_fresh else self.resident
        return {k: string.Formatter().vformat(v, (), things) if "{" in v and not v.startswith("\\") else v.lstrip("\\")
                for k, v in params.items()}

    # -- what a call does --

    def dump(self):
        """{table: [row as {column: value}]}"""
        database = sqlite3.connect(f"file:{self.clc.directory}/state/clc.db?mode=ro", uri=True, timeout=20)
        database.row_factory = sqlite3.Row
        try:
            tables = [r[0] for r in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
                      if not r[0].startswith("sqlite_") and r[0] not in UNTOLD]
            return {t: [tuple(r) for r in database.execute(f"SELECT * FROM {t}")] for t in tables}, {
                t: [c[1] for c in database.execute(f"PRAGMA table_info({t})")] for t in tables}
        finally:
            database.close()

    def effect(self, action, params):
        mutates = OPERATIONS[action]["mutates"]
        form = self.fill_in(params, mutates)
        before = self.dump()[0] if mutates else {}
        reply = self.call(action, form)
        rows = {}
        if mutates:
            after, columns = self.dump()
            for table, found in after.items():
                old = set(before[table])
                for i, row in enumerate([r for r in found if r not in old]):
                    for column, value in zip(columns[table], row):
                        rows[f"{table}[{i}].{column}"] = [value]
                gone = old - set(found)
                if gone:
                    rows[f"{table}: gone"] = [len(gone)]
        effect = Effect(reply, rows)
        effect.form = form
        return effect
