"""What the machine must have before a cloud can come up, and the build. Every lack is named with its cure."""
import collections
import fcntl
import os
import shutil
import subprocess
import time

from . import term
from .term import Failure, run, say

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DISK_NEEDED = 3 << 30


def packages(*groups):
    """Names in tools/packages of these groups."""
    found = []
    with open(os.path.join(TOP, "tools/packages"), encoding="ascii") as file:
        for line in file:
            words = line.split("#")[0].split()
            if len(words) == 2 and words[0] in groups:
                found.append(words[1])
    return found


def missing_packages(*groups):
    wanted = packages(*groups)
    if not shutil.which("dpkg-query"):
        raise Failure("this machine has no dpkg: Mallee's tools are made for Debian 12")
    known = run("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *wanted, check=False)
    installed = {line.split()[0] for line in known.splitlines() if line.endswith(" installed")}
    return [p for p in wanted if p not in installed]


def install_packages(*groups):
    missing = missing_packages(*groups)
    if not missing:
        return
    term.require_root("installing packages")
    say(f"installing {len(missing)} Debian packages: {' '.join(missing)}")
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    # Services of the packages (postgresql, nginx, libvirt) are not for this machine: the tests start their own.
    policy = "/usr/sbin/policy-rc.d"
    ours = not os.path.exists(policy)
    if ours:
        with open(policy, "w", encoding="ascii") as file:
            file.write("#!/bin/sh\nexit 101\n")
        os.chmod(policy, 0o755)
    try:
        argv = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
        if term.status(*argv, env=env) != 0:
            say("apt-get update")
            run("apt-get", "update", "-q", env=env)
            run(*argv, env=env)
    finally:
        if ours:
            os.unlink(policy)
    still = missing_packages(*groups)
    if still:
        raise Failure(f"apt-get did not install: {' '.join(still)}")


def check(state):
    term.require_root("the test bed")
    missing = missing_packages("build", "run")
    if missing:
        raise Failure("packages are missing; install them with: "
                      f"apt-get install -y --no-install-recommends {' '.join(missing)}")
    if not os.path.exists("/dev/net/tun"):
        raise Failure("/dev/net/tun is missing: guests have no network; load it with: modprobe tun "
                      "(in a container: pass the device in)")
    at = os.path.abspath(state)
    while not os.path.exists(at):
        at = os.path.dirname(at)
    free = shutil.disk_usage(at).free
    if free < DISK_NEEDED:
        raise Failure(f"'{at}' has {free >> 20} MiB free and a cloud needs {DISK_NEEDED >> 20}; "
                      "make room or choose another directory with --state")


def make(jobs):
    """Runs make, saying now and then how far it is; fails with what it said last."""
    said, done, last = collections.deque(maxlen=8), 0, time.monotonic()
    with subprocess.Popen(["make", "--no-print-directory", jobs], cwd=TOP, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace") as process:
        for line in process.stdout:
            said.append(line.strip())
            done += line.startswith("  CC ")
            if time.monotonic() - last > 10:
                last = time.monotonic()
                say(f"  {done} files compiled; {line.strip()[:80]}")
    if process.returncode:
        wrong = [line for line in said if "rror" in line] or list(said)
        raise Failure(f"the build failed: {'; '.join(wrong[-3:])}; see it all with: make")


def build(root):
    """Builds the tree and installs it below root, as a package would."""
    jobs = f"-j{os.cpu_count() or 1}"
    say("building")
    os.makedirs(os.path.join(TOP, "build"), exist_ok=True)
    with open(os.path.join(TOP, "build/.lock"), "a", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several clouds may come up from one tree
        make(jobs)
        os.makedirs(root, mode=0o755, exist_ok=True)
        run("make", "--no-print-directory", "install", f"DESTDIR={root}", "PREFIX=/usr", cwd=TOP, timeout=600)
