"""One cloud of the test bed as data: its name, its hosts, their addresses, its directories.

Everything is a function of (name, slot, zones, nodes), which is kept in <state>/cloud.json: a command that
was killed can be given again. A slot is a small number that no other cloud of this machine has; it makes the
loopback address (127.0.<slot>.1) and the underlay network (10.<100+slot>.0.0/16).
"""
import contextlib
import dataclasses
import fcntl
import ipaddress
import json
import os
import re
import socket

from .term import Failure

BASE = "/var/lib/mallee-cloud"   # registry of clouds, and their state unless --state says otherwise
RUN = "/run/mallee-cloud"        # of this boot: sockets, process files
SLOTS = range(1, 100)
ZONES_MAX = 8
NODES_MAX = 40
PUBLIC = ipaddress.ip_network("203.0.113.0/24")   # documentation addresses; inside the namespaces only
PUBLIC_OUTSIDE = "203.0.113.2"
PUBLIC_FRONT = "203.0.113.3"
PUBLIC_POOL = "203.0.113.16-203.0.113.250"
MTU = 1600  # of the underlay: room for VXLAN around guests' 1500
REGION = "mallee-1"

# What listens on the loopback of the machine itself: socket name -> (daemon, port)
FRONT_DOORS = {"clc": ("clc", 8773), "walrus": ("walrus", 8777), "console": ("clc", 8443)}


@dataclasses.dataclass(frozen=True)
class Host:
    name: str        # "zone-a-node-1"
    kind: str        # ctl, zone, storage, node, outside
    number: int      # in this cloud; names its ports on the switch
    zone: str
    underlay: str    # address, "" for outside
    public: str      # address on the public network, "" for none
    on_public: bool  # has pub0


@dataclasses.dataclass
class Cloud:
    name: str
    slot: int
    zones: int
    nodes: int
    state: str

    @property
    def loopback(self):
        return f"127.0.{self.slot}.1"

    @property
    def run(self):
        return os.path.join(RUN, self.name)

    @property
    def log(self):
        return os.path.join(self.state, "log")

    @property
    def root(self):
        """Where `make install` put the programs."""
        return os.path.join(self.state, "root")

    def path(self, *parts):
        return os.path.join(self.state, *parts)

    def netns(self, host):
        return f"{self.name}-{host}"

    @property
    def switch(self):
        return self.netns("switch")

    @property
    def zone_names(self):
        return [f"zone-{chr(ord('a') + z)}" for z in range(self.zones)]

    @property
    def hosts(self):
        net = f"10.{100 + self.slot}"
        hosts = [Host("ctl", "ctl", 0, "", f"{net}.0.10", PUBLIC_FRONT, True),
                 Host("outside", "outside", 1, "", "", PUBLIC_OUTSIDE, True)]
        for z, zone in enumerate(self.zone_names):
            hosts.append(Host(zone, "zone", len(hosts), zone, f"{net}.{z + 1}.1", "", False))
            hosts.append(Host(f"{zone}-storage", "storage", len(hosts), zone, f"{net}.{z + 1}.2", "", False))
            for n in range(self.nodes):
                hosts.append(Host(f"{zone}-node-{n + 1}", "node", len(hosts), zone,
                                  f"{net}.{z + 1}.{11 + n}", "", True))
        return hosts

    def host(self, name):
        for host in self.hosts:
            if host.name == name:
                return host
        raise Failure(f"cloud '{self.name}' has no host '{name}'; it has: {', '.join(h.name for h in self.hosts)}")

    def save(self):
        os.makedirs(self.state, mode=0o755, exist_ok=True)
        write_file(self.path("cloud.json"), json.dumps(
            {"name": self.name, "slot": self.slot, "zones": self.zones, "nodes": self.nodes}, indent=1) + "\n")


def write_file(path, text, mode=0o644):
    """Replaces a file in one step."""
    temporary = f"{path}.new"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


# -- the registry: name -> slot and state directory -------------------------------------------------

REGISTRY = os.path.join(BASE, "clouds.json")


@contextlib.contextmanager
def registry(write=False):
    """The registry as a dict, under its lock; written back at the end."""
    try:
        os.makedirs(BASE, mode=0o755, exist_ok=True)
        lock = open(os.path.join(BASE, ".lock"), "a", encoding="ascii")
    except PermissionError:
        raise Failure(f"cannot write '{BASE}': the test bed needs root; use sudo") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            with open(REGISTRY, encoding="utf-8") as file:
                clouds = json.load(file)
        except FileNotFoundError:
            clouds = {}
        except ValueError:
            raise Failure(f"'{REGISTRY}' is damaged; look at it, or remove it when no cloud is up") from None
        yield clouds
        if write:
            write_file(REGISTRY, json.dumps(clouds, indent=1, sort_keys=True) + "\n")


def check_name(name):
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,19}", name):
        raise Failure(f"cannot use the name '{name}': it takes 1 to 20 of a-z, 0-9 and '-', and starts with a letter")


def load(name):
    """The cloud of this name, or None."""
    check_name(name)
    try:
        with open(REGISTRY, encoding="utf-8") as file:
            entry = json.load(file).get(name)
    except FileNotFoundError:
        return None
    except ValueError:
        raise Failure(f"'{REGISTRY}' is damaged; look at it, or remove it when no cloud is up") from None
    if not entry:
        return None
    return Cloud(name, entry["slot"], entry["zones"], entry["nodes"], entry["state"])


def need(name):
    cloud = load(name)
    if not cloud:
        raise Failure(f"there is no cloud '{name}'; make it with: tools/cloud up --name {name}")
    return cloud


def loopback_is_free(slot):
    """Somebody who is not in this registry (a cloud in a chroot, another program) may be there."""
    for _, port in FRONT_DOORS.values():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind((f"127.0.{slot}.1", port))
            except OSError:
                return False
    return True


def create(name, zones, nodes, state):
    """The cloud of this name: the one that exists (which may grow), or a new one with a slot of its own."""
    check_name(name)
    if not 1 <= zones <= ZONES_MAX or not 0 <= nodes <= NODES_MAX:
        raise Failure(f"a cloud has 1 to {ZONES_MAX} zones of 0 to {NODES_MAX} nodes")
    with registry(write=True) as clouds:
        entry = clouds.get(name)
        if entry:
            if state and os.path.abspath(state) != entry["state"]:
                raise Failure(f"cloud '{name}' keeps its state in '{entry['state']}', not in '{state}'; "
                              f"end it first: tools/cloud down --wipe --name {name}")
            if zones < entry["zones"] or nodes < entry["nodes"]:
                zones, nodes = max(zones, entry["zones"]), max(nodes, entry["nodes"])
        else:
            used = {e["slot"] for e in clouds.values()}
            free = [s for s in SLOTS if s not in used and loopback_is_free(s)]
            if not free:
                raise Failure(f"{len(used)} clouds are up already; end one with: tools/cloud down --wipe --name NAME")
            entry = {"slot": free[0], "state": os.path.abspath(state or os.path.join(BASE, name))}
            for other, e in clouds.items():
                if e["state"] == entry["state"]:
                    raise Failure(f"'{entry['state']}' belongs to cloud '{other}'; choose another --state")
            if os.path.isdir(entry["state"]) and os.listdir(entry["state"]) and \
                    not os.path.exists(os.path.join(entry["state"], "cloud.json")):
                raise Failure(f"'{entry['state']}' has files in it that are no cloud's; choose another --state")
        entry.update(zones=zones, nodes=nodes)
        clouds[name] = entry
    return Cloud(name, entry["slot"], zones, nodes, entry["state"])


def forget(name):
    with registry(write=True) as clouds:
        clouds.pop(name, None)
        last = not clouds
    if last:
        for path in (REGISTRY, os.path.join(BASE, ".lock")):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        with contextlib.suppress(OSError):
            os.rmdir(BASE)
        with contextlib.suppress(OSError):
            os.rmdir(RUN)


@contextlib.contextmanager
def locked(cloud):
    """Only one command changes a cloud at a time."""
    os.makedirs(cloud.run, mode=0o755, exist_ok=True)
    with open(os.path.join(cloud.run, "lock"), "a", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            from .term import say
            say(f"another command is changing cloud '{cloud.name}': waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
