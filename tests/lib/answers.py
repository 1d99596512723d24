"""Every answer that a clc gave in a run of tests, held against Amazon's model or list of error codes.

The clc itself writes them down (its key `answer_log`), which no client, whatever it is and wherever it runs, gets
around: not from a namespace, not over a raw socket, not while the daemon was being killed. A conftest.py takes
the hooks below; then a run in which any answer was wrong fails at its end, naming request and test. Where pytest has
workers, each checks what its own daemons answered and hands that over when it ends.

    answers.path("front")      a file for a daemon's `answer_log`
"""
import datetime
import hashlib
import json
import os
import re
import tempfile
import xml.etree.ElementTree as ElementTree

import pytest

import amazon
import strict

SHOWN = 25      # findings told of
_directory = None
_is_asked = False
_started = []   # (time, test)
_findings = []  # (record, what is wrong, test)
_checked = 0


class Answer:
    """A record as strict.py knows replies."""

    def __init__(self, record):
        self.record = record
        self.status, self.body = record["status"], record["body"]
        self.headers = {"Content-Type": "text/xml;charset=UTF-8"}
        self.xml = ElementTree.fromstring(self.body)

    def text(self, name):
        for element in self.xml.iter():
            if strict.local(element) == name:
                return element.text or ""
        return None

    @property
    def code(self):
        return self.text("Code")

    @property
    def message(self):
        return self.text("Message")

    def __repr__(self):
        return f"{self.status} {self.body[:400]}"


def verify(record):
    """Raises AssertionError when the answer is none that Amazon would give."""
    answer = Answer(record)
    is_sts = record.get("service") == "sts"
    if answer.status == 200:
        assert record.get("action"), "a good answer to no action"
        if is_sts:
            strict.check_sts(answer, record["action"])
        else:
            strict.check_ec2(answer, record["action"], record.get("version"))
        return
    strict.check_error(answer, answer.status, answer.code, iam=is_sts)
    assert answer.code in amazon.ERRORS, f"'{answer.code}' is no error code of Amazon's (tests/data/ec2_errors.tsv)"
    statuses = amazon.ERRORS[answer.code][0]
    assert answer.status in statuses, f"'{answer.code}' comes with status {answer.status}, not with one of {sorted(statuses)}"


def read(path):
    """Records of a file; a daemon killed while it wrote leaves its last line unfinished."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def verify_file(path, seen=None):
    """(answers checked, [(record, what is wrong)]). Answers alike but for their id are looked at once."""
    seen = {} if seen is None else seen
    count, found = 0, []
    for record in read(path):
        count += 1
        alike = re.sub(r"(<requestI[dD]>|<RequestI[dD]>)[0-9a-f-]{36}<", r"\1<", record["body"])
        key = hashlib.sha256(json.dumps([record["status"], record.get("service"), record.get("action"),
                                         record.get("version"), alike]).encode()).digest()
        if key in seen:
            continue
        seen[key] = True
        try:
            verify(record)
        except (AssertionError, ElementTree.ParseError, ValueError) as problem:
            found.append((record, str(problem).split("\nassert ")[0]))
    return count, found


# -- where daemons write ---------------------------------------------------------------------------------

def use(directory):
    """Another directory than one of our own, emptied: for daemons that outlive a run or have another user."""
    global _directory
    _directory = directory
    for name in os.listdir(directory):
        os.truncate(os.path.join(directory, name), 0)  # whoever still has it open goes on at its end


def path(name):
    global _directory, _is_asked
    _is_asked = True
    if _directory is None:
        _directory = tempfile.mkdtemp(prefix="mallee-answers-")
    return os.path.join(_directory, name)


# -- hooks of pytest ---------------------------------------------------------------------------------------

def pytest_runtest_logstart(nodeid):
    _started.append((datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:23] + "Z", nodeid))


def test_at(time):
    """The test that began last before then: which one asked, when they do not run at once."""
    return next((test for start, test in reversed(_started) if start <= time), "before the first test")


def pytest_sessionfinish(session):
    """After the last fixture was torn down; where there are workers, after the last of them ended."""
    if hasattr(session.config, "mallee_answers"):
        return
    session.config.mallee_answers = True
    if _directory is not None:
        check_all(session.testscollected)
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["answers"] = {"checked": _checked, "findings": _findings}
    if _findings and session.exitstatus in (0, 5):
        session.exitstatus = 1


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """What a worker found; one that crashed says nothing, and fails the run by that."""
    global _checked
    told = getattr(node, "workeroutput", {}).pop("answers", None)
    if told:
        _checked += told["checked"]
        _findings.extend(told["findings"])


def check_all(tests):
    """All that was written down; then it is removed."""
    global _checked
    seen = {}
    for name in sorted(os.listdir(_directory)):
        count, found = verify_file(os.path.join(_directory, name), seen)
        _checked += count
        _findings.extend((record, problem, test_at(record["time"])) for record, problem in found)
    if _is_asked and not _checked and tests > 20:  # what writes them down must itself not fail unseen
        _findings.append(({"status": 0, "body": ""}, "no answer was written down in the whole run", "any test"))
    if os.environ.get("MALLEE_KEEP") != "1":  # what is kept up still writes there
        for name in os.listdir(_directory):
            os.unlink(os.path.join(_directory, name))
        os.rmdir(_directory)


def pytest_terminal_summary(terminalreporter):
    if getattr(terminalreporter.config, "mallee_answers_told", False):
        return
    terminalreporter.config.mallee_answers_told = True
    for record, problem, test in _findings[:SHOWN]:
        terminalreporter.write_line(
            f"WRONG ANSWER in {test}: {record.get('action', 'no action')} "
            f"({record.get('parameters', '')[:200]}), request {record.get('request')}: {problem}\n"
            f"    {record['status']} {record['body'][:600]}", red=True)
    if len(_findings) > SHOWN:
        terminalreporter.write_line(f"... and {len(_findings) - SHOWN} more", red=True)
    terminalreporter.write_line(f"{_checked} answers of the clc checked against Amazon's model and error codes, "
                                f"{len(_findings)} wrong")
