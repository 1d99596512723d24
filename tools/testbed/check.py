"""`tools/check`: every test, in stages. The short form is to stay under 30 minutes on two cores.

Guests of the end-to-end tests keep about one processor busy: most tests wait for one to boot. What the other stages
need is compiled meanwhile, in the time that is left. Each stage's output goes to build/check/STAGE.log; what it
counted is added up in the last line.
"""
import argparse
import concurrent.futures
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

from . import machine, term
from .machine import TOP
from .term import Failure, say

COUNTS = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped")
BUDGET_S = 30 * 60
BY_FILE = ["-n", "2", "--dist", "loadfile"]  # files at once; the tests of each in their order
LOGS = os.path.join(TOP, "build/check")
# Unit tests of what has threads; parsers under fuzzing and the clc's calls, one by one, have none.
THREADED = [f"unit/{d}" for d in ("base", "run", "net", "xml", "auth", "store", "rpc", "walrus", "cc", "sc", "nc")] + [
    "unit/clc/test_instance_run"]


class Stage:
    """name, what it runs, which counts it gives: "build" (one, passed or failed, unless
    it prints counts), "unit" (prints counts), "pytest". Those that are `beside` run, one after the other, while the
    last one before them that is not does. A build among them takes only the time that tests leave."""

    def __init__(self, name, kind, argv, env=None, long=False, needs=None, beside=False):
        self.name, self.kind, self.argv, self.env, self.long, self.needs = name, kind, argv, env or {}, long, needs
        self.beside = beside
        self.process = None
        self.counts = [0, 0, 0]
        self.seconds = 0.0
        self.note = ""

    @property
    def log(self):
        return os.path.join(LOGS, f"{self.name}.log")

    @property
    def yields(self):
        return self.beside and self.kind == "build"

    def interrupt(self):
        if self.yields and self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)


def make(*words):
    return ["make", "--no-print-directory", f"-j{os.cpu_count() or 1}", *words]


def pytest(name, *words):
    return ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-v", "-ra", "--tb=short",
            f"--junit-xml={LOGS}/{name}.xml", *words]


def stages(long):
    asan, tsan = "SANITIZE=address,undefined", "SANITIZE=thread"
    asan_options = {"ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "print_stacktrace=1"}
    clc_env = {"MALLEE_BUILD": "build/asan", "CYCLES": "50" if long else "1", **asan_options}
    threaded = "T=" + " ".join(THREADED)
    found = [
        Stage("build-gcc", "build", make("CC=gcc")),
        Stage("unit", "unit", make("check")),
        Stage("docs", "unit", ["tools/check-docs"]),
        Stage("e2e", "pytest", pytest("e2e", "tests/e2e", *([] if long else ["-m", "not long"])), needs="tests/e2e"),
        Stage("build-clang", "build", make("CC=clang"), beside=True),
        Stage("build-asan", "build", make("check-programs", asan), beside=True),
        Stage("node-tools", "build", make("node-tools", asan), beside=True),
        Stage("build-tsan", "build", make("check-programs", tsan, threaded), beside=True),
        Stage("postgres", "build", make("check-postgres"), beside=True),
        Stage("clc-model", "pytest", pytest("clc-model", "tests/clc/test_model.py"), needs="tests/clc", beside=True),
        Stage("unit-asan", "unit", make("check", asan), asan_options),
        Stage("unit-tsan", "unit", make("check", tsan, threaded), {"TSAN_OPTIONS": "halt_on_error=1:suppressions=tests/tsan.supp"}),
        Stage("node", "pytest", pytest("node", *BY_FILE, "tests/node"), {"MALLEE_BUILD": "build/asan"}, needs="tests/node"),
        Stage("walrus", "pytest", pytest("walrus", *BY_FILE, "tests/walrus"), {"CYCLES": "200" if long else "8",
              "LARGE_MIB": "3000" if long else "18"}, needs="tests/walrus"),
        Stage("clc", "pytest", pytest("clc", *BY_FILE, "tests/clc", "--ignore=tests/clc/test_model.py",
              "--ignore=tests/clc/test_why.py"), clc_env, needs="tests/clc"),
        # What is to be known within a second is measured with nothing beside it.
        Stage("clc-why", "pytest", pytest("clc-why", "tests/clc/test_why.py"), clc_env, needs="tests/clc"),
        Stage("tools", "pytest", pytest("tools", "tests/tools"), needs="tests/tools"),
    ]
    return [s for s in found if long or not s.long]


def grouped(found):
    """Stages and those that run beside them, together."""
    groups = []
    for stage in found:
        if stage.beside and groups:
            groups[-1].append(stage)
        else:
            groups.append([stage])
    return groups


def run_group(group):
    """The first, and meanwhile the others, one after the other."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        others = [pool.submit(run_stage, stage) for stage in group[1:]]
        try:
            run_stage(group[0])
            for one in others:
                one.result()
        except BaseException:
            for stage, one in zip(group[1:], others):
                one.cancel()
                stage.interrupt()  # what has a session of its own is out of the terminal's reach
            raise


def yield_to_all():
    """Of the process that is about to be a build's. In a session of its own, so that where the kernel schedules by
    session it yields there as well."""
    os.nice(19)
    os.setsid()
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w", encoding="ascii") as file:
        file.write("19")


def run_stage(stage):
    begin = time.monotonic()
    env = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", LC_ALL="C.UTF-8", **stage.env)
    last = time.monotonic()
    count_line = None
    with open(stage.log, "w", encoding="utf-8") as log:
        process = stage.process = subprocess.Popen(stage.argv, cwd=TOP, env=env, stdin=subprocess.DEVNULL,
                                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                                   errors="replace",
                                                   preexec_fn=yield_to_all if stage.yields else None)
        lines = 0
        for line in process.stdout:
            log.write(line)
            log.flush()
            lines += 1
            count_line = COUNTS.match(line) or count_line
            if stage.kind == "pytest" and re.search(r" (PASSED|FAILED|ERROR|SKIPPED)\b", line):
                say(f"  {line.strip()[:110]}")
            elif time.monotonic() - last > 20:
                say(f"  {stage.name}: {lines} lines so far; {line.strip()[:80]}")
                last = time.monotonic()
        status = process.wait()
    stage.seconds = time.monotonic() - begin
    if stage.kind == "pytest":
        stage.counts = junit_counts(os.path.join(LOGS, f"{stage.name}.xml"))
    elif count_line:
        stage.counts = [int(n) for n in count_line.groups()]
    elif stage.kind == "build":
        stage.counts = [int(status == 0), int(status != 0), 0]
    if status != 0 and stage.counts[1] == 0:
        stage.counts[1] = 1
        stage.note = f"ended with status {status}"
    if sum(stage.counts) == 0:
        stage.counts[1] = 1
        stage.note = "ran no test"


def junit_counts(path):
    if not os.path.exists(path):
        return [0, 0, 0]
    passed = failed = skipped = 0
    for suite in ElementTree.parse(path).getroot().iter("testsuite"):
        bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skip = int(suite.get("skipped", 0))
        failed, skipped = failed + bad, skipped + skip
        passed += int(suite.get("tests", 0)) - bad - skip
    return [passed, failed, skipped]


def show_end_of(stage):
    with open(stage.log, encoding="utf-8", errors="replace") as file:
        lines = file.read().splitlines()
    print(f"--- the end of {os.path.relpath(stage.log, TOP)}")
    for line in lines[-40:]:
        print(f"    {line}")


def body(argv):
    parser = argparse.ArgumentParser(prog="tools/check", description="Installs what is missing, builds, runs every "
                                     "test. Ends with a line: N passed, N failed, N skipped.")
    parser.add_argument("--long", action="store_true", help="also what takes hours: a build in a minimal Debian, the "
                        "debian image, long runs")
    parser.add_argument("--only", metavar="STAGE", action="append", help="only this stage; may be repeated: "
                        + ", ".join(s.name for s in stages(True)))
    options = parser.parse_args(argv)
    names = [s.name for s in stages(True)]
    for name in options.only or []:
        if name not in names:
            raise Failure(f"there is no stage '{name}'; there are: {', '.join(names)}")
    term.require_root("tools/check")
    machine.install_packages("build", "run", "test")
    shutil.rmtree(LOGS, ignore_errors=True)
    os.makedirs(LOGS)
    ran = []
    for group in grouped([s for s in stages(options.long) if (not options.only or s.name in options.only)
                          and (not s.needs or os.path.exists(os.path.join(TOP, s.needs)))]):
        say(f"{', '.join(s.name for s in group)} ...")
        run_group(group)
        for stage in group:
            ran.append(stage)
            say(f"{stage.name}: {stage.counts[0]} passed, {stage.counts[1]} failed, {stage.counts[2]} skipped "
                f"in {stage.seconds:.0f} s{' (' + stage.note + ')' if stage.note else ''}")
        if any(s.name == "build-gcc" and s.counts[1] for s in group):
            break
    print()
    for stage in ran:
        if stage.counts[1]:
            show_end_of(stage)
    for stage in ran:
        print(f"{stage.name:<14} {stage.seconds:6.0f} s  {stage.counts[0]:5} passed  {stage.counts[1]:3} failed  "
              f"{stage.counts[2]:3} skipped")
    total = time.monotonic() - term.START
    print(f"{'in all':<14} {total:6.0f} s")
    if not options.long and total > BUDGET_S:
        print(f"the short form took more than its {BUDGET_S // 60} minutes", file=sys.stderr)
    counts = [sum(s.counts[i] for s in ran) for i in range(3)]
    print(f"{counts[0]} passed, {counts[1]} failed, {counts[2]} skipped")
    return 1 if counts[1] or not ran else 0


def main(argv):
    return term.main(body, argv)
