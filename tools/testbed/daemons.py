"""The daemons of a cloud: where each runs, its configuration, how it joins, start and kill.

No supervisor: a daemon is a detached process with a pid file. `kill` is SIGKILL and nobody starts it again
but `start` (or `up`), so that a test sees what the others do without it.
"""
import contextlib
import dataclasses
import grp
import os
import pwd
import signal
import subprocess
import time

from . import holder, hosts, libvirt, net, proc, term
from .model import PUBLIC_FRONT, PUBLIC_POOL, REGION, write_file
from .term import Failure, run, say

USER = "mallee"
HELPER_SOCKET = "helper.sock"
ANSWERS = "MALLEE_ANSWERS"  # names a directory in which each clc writes down all that it answers


@dataclasses.dataclass(frozen=True)
class Role:
    program: str
    kind: str          # of the hosts that run one
    port: int = 0
    status_port: int = 0
    user: str = USER
    group: str = ""    # the user's own; the nc's is the guests', who read its files through it
    joins: bool = False
    door: str = ""     # whose front doors it gets


ROLES = {
    "clc": Role("mallee-clc", "ctl", 8773, 9773, door="clc"),
    "walrus": Role("mallee-walrus", "ctl", 8777, 9777, joins=True, door="walrus"),
    "cc": Role("mallee-cc", "zone", 8774, 9774, joins=True),
    "sc": Role("mallee-sc", "storage", 8776, 9776, joins=True),
    "virtlogd": Role("virtlogd", "node", user="root"),
    "libvirtd": Role("libvirtd", "node", user="root"),
    "helper": Role("mallee-nc-helper", "node", user="root"),
    "nc": Role("mallee-nc", "node", 8775, 9775, joins=True, group="kvm"),
}


@dataclasses.dataclass(frozen=True)
class Unit:
    """One daemon of one host."""
    name: str    # "cc:zone-a": what a person writes
    role: str
    host: object

    @property
    def spec(self):
        return ROLES[self.role]


def units(cloud):
    found = []
    for role, spec in ROLES.items():
        for host in cloud.hosts:
            if host.kind == spec.kind:
                name = {"ctl": role, "zone": f"{role}:{host.zone}", "storage": f"{role}:{host.zone}",
                        "node": f"{role}:{host.name}"}[host.kind]
                found.append(Unit(name, role, host))
    order = list(ROLES)
    return sorted(found, key=lambda u: (order.index(u.role) if u.host.kind != "node" else 100, u.host.number,
                                        order.index(u.role)))


def unit(cloud, name):
    known = units(cloud)
    for one in known:
        if one.name == name:
            return one
    raise Failure(f"cloud '{cloud.name}' has no daemon '{name}'; it has: {', '.join(u.name for u in known)}")


# -- files -------------------------------------------------------------------------------------------

def program(cloud, name):
    for directory in ("sbin", "bin"):
        path = os.path.join(cloud.root, "usr", directory, name)
        if os.path.exists(path):
            return path
    raise Failure(f"'{name}' is not installed in '{cloud.root}'; the build did not make it")


def state_directory(cloud, one):
    return os.path.join(hosts.directory(cloud, one.host), one.role)


def file_name(one):
    return one.spec.program.removeprefix("mallee-")


def runtime_directory(one):
    """As the host sees it."""
    return f"/run/mallee/{file_name(one)}"


def config_path(cloud, one):
    return os.path.join(hosts.directory(cloud, one.host), "etc", f"{file_name(one)}.conf")


def log_path(cloud, one):
    return os.path.join(cloud.log, f"{one.name}.log")


def pidfile(cloud, one):
    return os.path.join(cloud.run, "pid", one.name)


def clc_url(cloud):
    return f"https://{cloud.host('ctl').underlay}:8773"


def advertise(cloud, one):
    return f"https://{one.host.underlay}:{one.spec.port}"


def config(cloud, one):
    """Keys of one daemon's file, in the order in which a person would read them."""
    keys = {"state_dir": state_directory(cloud, one), "runtime_dir": runtime_directory(one),
            "log_level": os.environ.get("MALLEE_LOG_LEVEL", "info")}
    if one.spec.port:
        listen = [f"{one.host.underlay}:{one.spec.port}"]
        if one.host.kind == "ctl":
            listen.append(f"{PUBLIC_FRONT}:{one.spec.port}")
        keys["listen"] = " ".join(listen)
    if one.spec.status_port:
        keys["status_listen"] = f"127.0.0.1:{one.spec.status_port}"
    keys.update(EXTRA.get(one.role, lambda c, u: {})(cloud, one))
    return keys


def extra_clc(cloud, one):
    front = f"http://{cloud.loopback}"
    record = {"answer_log": f"{os.environ[ANSWERS]}/{cloud.name}"} if ANSWERS in os.environ else {}
    return {**record, "region": REGION, "public_addresses": PUBLIC_POOL,
            "default_group_ingress": "tcp:22:0.0.0.0/0 icmp:-1:0.0.0.0/0",
            "ec2_url": f"{front}:8773", "s3_url": f"{front}:8777"}


def extra_joiner(cloud, one):
    return {"advertise": advertise(cloud, one)}


def extra_nc(cloud, one):
    # Nobody outside would answer guests' questions: the hosts have no way out.
    return {"advertise": advertise(cloud, one), "resolver": "none"}


def extra_helper(cloud, one):
    nc = os.path.join(hosts.directory(cloud, one.host), "nc")
    return {"client_user": USER, "instances_dir": f"{nc}/instances", "cache_dir": f"{nc}/cache",
            "public_interface": "pub0", "vtep": one.host.underlay}


EXTRA = {"clc": extra_clc, "walrus": extra_joiner, "cc": extra_joiner, "sc": extra_joiner, "nc": extra_nc,
         "helper": extra_helper}


def write_config(cloud, one):
    path = config_path(cloud, one)
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    lines = [f"# {one.name} of the test bed's cloud '{cloud.name}'; written by tools/cloud up"]
    lines += [f"{key} = {value}" for key, value in config(cloud, one).items()]
    write_file(path, "\n".join(lines) + "\n")
    directory = state_directory(cloud, one)
    os.makedirs(directory, mode=0o750, exist_ok=True)
    user = pwd.getpwnam(one.spec.user)
    # Guests' files are read by QEMU through group kvm; everything else is the daemon's alone.
    group = grp.getgrnam("kvm").gr_gid if one.role == "nc" else user.pw_gid
    os.chown(directory, user.pw_uid, group)


def prepare_machine():
    """The users of daemons and guests."""
    for group in ("kvm",):
        try:
            grp.getgrnam(group)
        except KeyError:
            run("addgroup", "--system", "--quiet", group)
    try:
        pwd.getpwnam(USER)
    except KeyError:
        run("adduser", "--system", "--quiet", "--group", "--home", "/nonexistent", "--no-create-home",
            "--gecos", "Mallee", USER)
    if USER not in grp.getgrnam("kvm").gr_mem:
        run("adduser", "--quiet", USER, "kvm")
    libvirt.prepare_machine()


# -- processes ---------------------------------------------------------------------------------------

def running(cloud, one):
    return proc.read_pidfile(pidfile(cloud, one))


def as_user(one, argv):
    if one.spec.user == "root":
        return argv
    return ["setpriv", "--reuid", one.spec.user, "--regid", one.spec.group or one.spec.user, "--init-groups", "--", *argv]


def start(cloud, one, wait=True):
    """True when it was not running. Returns when it is ready, or fails with the last thing it said."""
    if running(cloud, one):
        return False
    if one.role in ("virtlogd", "libvirtd"):
        return libvirt.start(cloud, one.host, one.role)
    argv = [program(cloud, one.spec.program), "--config", config_path(cloud, one)]
    names, fds = holder.sockets(cloud, one.spec.door) if one.spec.door else ([], [])
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
    if fds:
        env.update(LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=":".join(names))
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"):
        if name in os.environ:
            env[name] = os.environ[name]
    log = log_path(cloud, one)
    begin = os.path.getsize(log) if os.path.exists(log) else 0
    if not one.spec.status_port:
        # Left by a killed one; asking it would look like a stranger's call.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(helper_socket(cloud, one))
    try:
        pid = proc.launch(hosts.enter(cloud, one.host.name, *as_user(one, argv)), log, pidfile(cloud, one), fds, env)
    finally:
        for fd in fds:
            os.close(fd)
    if wait:
        wait_ready(cloud, one, pid, log, begin)
    return True


def helper_socket(cloud, one):
    return f"/proc/{hosts.init_pid(cloud, one.host.name)}/root{runtime_directory(one)}/{HELPER_SOCKET}"


def wait_ready(cloud, one, pid, log, begin, seconds=60):
    end = time.monotonic() + seconds
    why = "nothing answers"
    while time.monotonic() < end:
        if not proc.stat_of(pid):
            with open(log, encoding="utf-8", errors="replace") as file:
                file.seek(begin)
                said = [line.strip() for line in file if line.strip()]
            raise Failure(f"{one.name} ended at once: {said[-1] if said else 'it said nothing'}")
        if not one.spec.status_port:
            if os.path.exists(helper_socket(cloud, one)):
                return
            why = f"there is no {runtime_directory(one)}/{HELPER_SOCKET}"
        else:
            status, text = net.get(cloud, one.host.name, "127.0.0.1", one.spec.status_port, "/readyz")
            if status == 200:
                return
            why = f"/readyz says {status} {text.strip()[:200]}" if status else text
        time.sleep(0.05)
    raise Failure(f"{one.name} is not ready after {seconds} s: {why}; see {log}")


def kill(cloud, one, number=signal.SIGKILL, seconds=30):
    pid = running(cloud, one)
    if not pid:
        return False
    if proc.kill([pid], number, seconds):
        proc.kill([pid])
    return True


# -- making the cloud ----------------------------------------------------------------------------------

def admin(cloud, *words, check=True):
    """mallee-admin, where the clc runs."""
    conf = config_path(cloud, unit(cloud, "clc"))
    return run(*hosts.enter(cloud, "ctl", *as_user(unit(cloud, "clc"), [
        program(cloud, "mallee-admin"), "--config", conf, *words])), check=check, timeout=120)


def certificate(cloud, one):
    return os.path.join(state_directory(cloud, one), "trust", "certificate.pem")


def join(cloud, one):
    """As an administrator would: a token from the clc, given to the daemon's own join command, which waits
    until the daemon, started as soon as it has its certificate, is in service."""
    if os.path.exists(certificate(cloud, one)):
        return False
    words = ["token", one.role] + ([one.host.zone] if one.host.zone else [])
    token = admin(cloud, *words).split()[-1]
    argv = hosts.enter(cloud, one.host.name, *as_user(one, [
        program(cloud, one.spec.program), "--config", config_path(cloud, one), "join", clc_url(cloud), token]))
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True) as command:
        while command.poll() is None and not os.path.exists(certificate(cloud, one)):
            time.sleep(0.02)
        if command.poll() is None:
            try:
                start(cloud, one)
            except Failure:
                command.kill()
                raise
        said = (command.communicate()[0].strip().splitlines() or ["it said nothing"])[-1]
    if command.returncode != 0:
        raise Failure(f"{one.name} did not join: {said}; see {log_path(cloud, one)}")
    return True


def up(cloud):
    for one in units(cloud):
        if one.role in ("virtlogd", "libvirtd"):
            continue
        write_config(cloud, one)
    for one in units(cloud):
        if one.role == "clc":
            init(cloud, one)
        if one.spec.joins and join(cloud, one):
            say(f"{one.name} is in service")
        elif start(cloud, one):
            say(f"{one.name} runs")


def init(cloud, one):
    credentials = cloud.path("credentials")
    if os.path.exists(credentials):
        return
    say("making the cloud: keys, certificates, first account")
    text = admin(cloud, "init")
    write_file(credentials, text, 0o600)


def down(cloud):
    """In order and gently; whatever does not end is killed with its host."""
    for one in reversed(units(cloud)):
        if running(cloud, one):
            kill(cloud, one, signal.SIGTERM, 15)
