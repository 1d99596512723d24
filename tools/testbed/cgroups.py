"""Control groups of a node: a directory of its own in each controller that bounds guests' processors, shown to its
libvirt as the whole of it. Where the machine has no cgroup v1 controllers that we may use, guests are not bounded.
"""
import contextlib
import os
import time

ROOT = "/sys/fs/cgroup"
CONTROLLERS = ("cpu", "cpuset")


SHARES = 16384  # of a node: what its guests would have of a host of their own


def path(controller, name):
    return os.path.join(ROOT, controller, "mallee:" + name)


def copy_from_parent(directory):
    """A new cpuset has neither processors nor memory."""
    for key in ("cpuset.cpus", "cpuset.mems"):
        with open(os.path.join(os.path.dirname(directory), key), encoding="ascii") as parent:
            value = parent.read()
        with open(os.path.join(directory, key), "w", encoding="ascii") as child:
            child.write(value)


def make(controller, name):
    with contextlib.suppress(FileExistsError):
        os.mkdir(path(controller, name), 0o755)
    if controller == "cpuset":
        copy_from_parent(path(controller, name))
    else:
        with open(os.path.join(path(controller, name), "cpu.shares"), "w", encoding="ascii") as file:
            file.write(str(SHARES))


def up(name):
    """Makes the directories of a node. The controllers that it has."""
    found = []
    for controller in CONTROLLERS:
        if os.path.exists(os.path.join(ROOT, controller, "cgroup.procs")):
            with contextlib.suppress(OSError):  # not ours to use
                make(controller, name)
                found.append(controller)
    return found


def remove(directory):
    for parent, names, _ in os.walk(directory, topdown=False):
        for name in names:
            os.rmdir(os.path.join(parent, name))
    os.rmdir(directory)


def down(name):
    """Removes them, when the processes in them have ended."""
    for controller in CONTROLLERS:
        end = time.monotonic() + 5
        while os.path.isdir(path(controller, name)):
            try:
                remove(path(controller, name))
            except OSError:  # a killed process is in it until it is gone
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
