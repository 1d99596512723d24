"""Processes that outlive the command: started detached, found again by a file with pid and start time.

A process belongs to a host when its network or mount namespace is the host's. That finds also what daemons
started themselves (guests, libvirt's children), so that nothing is left when a cloud goes down.
"""
import ctypes
import os
import signal
import time

from .term import Failure

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def stat_of(pid):
    """(state, start time in ticks) of a process, or None when there is none. Zombies count as none, but not while
    threads of theirs wait for the disk: those hold its files and locks."""
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
            fields = file.read().rpartition(")")[2].split()
        if fields[0] in "ZX" and len(os.listdir(f"/proc/{pid}/task")) <= 1:
            return None
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0], int(fields[19])


def write_pidfile(path, pid):
    found = stat_of(pid)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(f"{pid} {found[1] if found else 0}\n")
    os.replace(path + ".new", path)


def read_pidfile(path):
    """The pid, when that very process still lives."""
    try:
        with open(path, encoding="ascii") as file:
            pid, started = (int(w) for w in file.read().split())
    except (FileNotFoundError, ValueError):
        return None
    found = stat_of(pid)
    return pid if found and found[1] == started else None


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return [a.decode(errors="replace") for a in file.read().split(b"\0")[:-1]]
    except (FileNotFoundError, ProcessLookupError):
        return []


def collect_orphans(writer):
    """Waits for children, and for the orphans that became ours; returns when there are none left."""
    os.close(writer)
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.closerange(3, 1024)
    os.chdir("/")
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def launch(argv, log, pidfile, fds=(), env=None, reap=False):
    """Starts argv detached from us (own session, orphan), output appended to `log`, `fds` as 3, 4, ...

    With fds, LISTEN_PID is set to the pid that argv gets: every program in front of the last (nsenter,
    setpriv) must only exec the next. Returns the pid.

    reap: our first child stays as the parent of whatever argv's children leave behind, and collects it.
    libvirtd waits for each QEMU that it has killed to vanish, and process 1 may take seconds to collect one.
    """
    os.makedirs(os.path.dirname(log), exist_ok=True)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            if reap:
                ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            pid = os.fork()
            if pid:
                os.write(writer, b"%d\n" % pid)
                if reap:
                    collect_orphans(writer)
                os._exit(0)
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            null = os.open("/dev/null", os.O_RDONLY)
            # First above everything in use, then down to their places.
            high = [os.dup2(fd, 100 + i) for i, fd in enumerate([null, out, out, *fds])]
            for number, fd in enumerate(high):
                os.dup2(fd, number)
            os.closerange(3 + len(fds), 1024)
            environment = dict(os.environ if env is None else env)
            for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET"):
                if env is None or name not in env:
                    environment.pop(name, None)
            if fds:
                environment["LISTEN_PID"] = str(os.getpid())
            os.chdir("/")
            os.umask(0o022)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.execvpe(argv[0], argv, environment)
        except BaseException as problem:  # the child must never return into our code
            os.write(2, f"cannot start '{argv[0]}': {problem}\n".encode())
            os._exit(127)
    os.close(writer)
    with os.fdopen(reader, "r") as answer:
        line = answer.readline()
    if not reap:
        os.waitpid(child, 0)
    if not line:
        raise Failure(f"cannot start '{argv[0]}'")
    pid = int(line)
    write_pidfile(pidfile, pid)
    return pid


def wait_gone(pids, seconds):
    """Waits for processes to end; returns those that did not."""
    end = time.monotonic() + seconds
    known = {pid: stat_of(pid) for pid in pids}
    while True:
        left = [p for p, was in known.items() if was and (now := stat_of(p)) and now[1] == was[1]]
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.02)


def kill(pids, number=signal.SIGKILL, seconds=10):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
    return wait_gone(pids, seconds)


def namespace(path):
    """(device, inode) of a namespace file, which name it."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def in_namespaces(wanted):
    """Pids of processes whose network or mount namespace is one of these."""
    wanted = {w for w in wanted if w}
    pids = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and stat_of(entry):
            if namespace(f"/proc/{entry}/ns/net") in wanted or namespace(f"/proc/{entry}/ns/mnt") in wanted:
                pids.append(int(entry))
    return pids
