"""What every front script says and how it runs other programs.

Failures that a person can do something about are `Failure`s: one sentence, no traceback. Programs are
run by argv, never through a shell, and what they said is part of the failure.
"""
import os
import shlex
import signal
import subprocess
import sys
import time


class Failure(Exception):
    """Ends the command with one sentence for the person who gave it."""


START = time.monotonic()
quiet = False


def say(text):
    """One line of progress, with the seconds since the start."""
    if not quiet:
        print(f"[{time.monotonic() - START:6.1f}s] {text}", file=sys.stderr, flush=True)


def run(*argv, check=True, capture=True, input=None, env=None, cwd=None, timeout=None, quiet_fail=False):
    """Runs a program to its end and returns its output as text."""
    argv = [str(a) for a in argv]
    try:
        done = subprocess.run(argv, input=input, env=env, cwd=cwd, timeout=timeout, text=True,
                              stdin=None if input is not None else subprocess.DEVNULL,
                              stdout=subprocess.PIPE if capture else None,
                              stderr=subprocess.PIPE if capture else None, errors="replace")
    except FileNotFoundError:
        raise Failure(f"'{argv[0]}' is not installed; {install_line(argv[0])}") from None
    except subprocess.TimeoutExpired:
        raise Failure(f"'{shlex.join(argv)}' did not end within {timeout} s") from None
    if check and done.returncode != 0:
        said = ((done.stderr or "") + (done.stdout or "")).strip().splitlines()
        tail = "; ".join(line.strip() for line in said[-4:]) or f"status {done.returncode}"
        raise Failure(f"'{shlex.join(argv[:12])}' failed: {tail}")
    return done.stdout or ""


def status(*argv, **kwargs):
    """The exit status of a program; its output is dropped."""
    argv = [str(a) for a in argv]
    try:
        return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, **kwargs).returncode
    except FileNotFoundError:
        return 127


# Programs and the packages they come from, where the names differ.
PACKAGE_OF = {
    "aws": "awscli", "busybox": "busybox-static", "debugfs": "e2fsprogs", "depmod": "kmod", "dropbear": "dropbear-bin",
    "ip": "iproute2", "ldd": "libc-bin", "libvirtd": "libvirt-daemon", "mcopy": "mtools", "mke2fs": "e2fsprogs",
    "mkfs.vfat": "dosfstools", "modprobe": "kmod", "nft": "nftables", "nsenter": "util-linux",
    "qemu-img": "qemu-utils", "qemu-system-x86_64": "qemu-system-x86", "sfdisk": "fdisk",
    "ssh": "openssh-client", "ssh-keygen": "openssh-client", "virsh": "libvirt-clients",
    "virtlogd": "libvirt-daemon",
}


def install_line(*programs):
    packages = sorted({PACKAGE_OF.get(os.path.basename(p), os.path.basename(p)) for p in programs})
    return "install it with: apt-get install -y --no-install-recommends " + " ".join(packages)


def require_root(what):
    if os.geteuid() != 0:
        raise Failure(f"{what} needs root (network namespaces, guests); run it as: sudo {shlex.join(sys.argv)}")


def main(body, argv):
    """Runs body(argv), turning failures into one line and interruptions into a status."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        return body(argv) or 0
    except Failure as failure:
        print(f"{os.path.basename(sys.argv[0])}: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{os.path.basename(sys.argv[0])}: interrupted; run it again to go on", file=sys.stderr)
        return 130
