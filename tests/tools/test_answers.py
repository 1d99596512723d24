"""What holds all answers of a run against Amazon's model must itself notice what is wrong."""
import json
import os
import re
import subprocess
import sys

import pytest

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(TOP, "tests/lib"))
import amazon  # noqa: E402
import answers  # noqa: E402

ID = "01234567-89ab-cdef-0123-456789abcdef"
XML = '<?xml version="1.0" encoding="UTF-8"?>\n'


def good(inner, action="DescribeRegions", version="2016-11-15", **more):
    return {"service": "ec2", "action": action, "version": version, "status": 200, "request": "r",
            "body": f'{XML}<{action}Response xmlns="http://ec2.amazonaws.com/doc/{version}/"><requestId>{ID}</requestId>'
                    f"{inner}</{action}Response>", **more}


def bad(code, status, message="text", request_id=ID):
    return {"service": "ec2", "action": "DescribeRegions", "status": status,
            "body": f"{XML}<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
                    f"<RequestID>{request_id}</RequestID></Response>"}


REGION = "<regionInfo><item><regionName>a</regionName></item></regionInfo>"


@pytest.mark.parametrize("record", [
    good(REGION), good("<regionInfo/>", version="2009-11-30"), bad("InvalidAction", 400), bad("DryRunOperation", 412),
    bad("AuthFailure", 401), bad("InternalError", 500), bad("RequestEntityTooLarge", 413)])
def test_what_amazon_answers_passes(record):
    answers.verify(record)


@pytest.mark.parametrize("record", [
    good("<regions/>"), good(REGION + REGION), good("<regionInfo><entry/></regionInfo>"), good("<regionInfo>x</regionInfo>"),
    good("<regionInfo><item><colour>red</colour></item></regionInfo>"), good(REGION, action="DescribeMoons"),
    {**good(REGION), "version": "2012-01-01"}, {**good(REGION), "body": good(REGION)["body"].replace(ID, "x")},
    {**good(REGION), "action": None},
    good("<instanceTypeSet><item><freeTierEligible>yes</freeTierEligible></item></instanceTypeSet>", action="DescribeInstanceTypes"),
    bad("NoSuchCode", 400), bad("InvalidAction", 404), bad("InvalidInstanceID.NotFound", 404), bad("DryRunOperation", 200),
    bad("AuthFailure", 403), bad("InternalError", 400), bad("InvalidAction", 400, message=""),
    bad("InvalidAction", 400, request_id="x"), bad("", 400)])
def test_what_it_would_not_answer_is_noticed(record):
    with pytest.raises(AssertionError):
        answers.verify(record)


def test_a_file_of_records(tmp_path):
    path = tmp_path / "answers"
    other = {**good(REGION), "body": good(REGION)["body"].replace(ID, "f" * 8 + ID[8:])}
    lines = [json.dumps(r) for r in (good(REGION), other, bad("Nonsense", 400), bad("Nonsense", 400, request_id="f" * 36))]
    path.write_text("\n".join(lines) + "\n" + lines[0][:50])  # the last one was being written when its daemon was killed
    count, found = answers.verify_file(str(path))
    assert count == 4
    assert len(found) == 1 and "Nonsense" in found[0][1]


CONFTEST = """import sys
sys.path.insert(0, {lib!r})
from answers import (pytest_runtest_logstart, pytest_sessionfinish, pytest_terminal_summary,  # noqa: F401
                     pytest_testnodedown)
"""
SUITE = """import answers

def test_it():
    with open(answers.path("{name}"), "a", encoding="utf-8") as file:
        file.write({line!r})
"""


@pytest.mark.parametrize("workers", [[], ["-n", "2", "--dist", "loadfile"]], ids=["alone", "workers"])
@pytest.mark.parametrize("wrong", [False, True])
def test_a_run_ends_with_them(tmp_path, workers, wrong):
    """Whichever process ran the test: answers are counted, and one that is wrong fails the run and names its test."""
    (tmp_path / "conftest.py").write_text(CONFTEST.format(lib=os.path.join(TOP, "tests/lib")))
    records = {"test_one.py": good(REGION), "test_two.py": bad("Nonsense", 400) if wrong else bad("InvalidAction", 400)}
    for name, record in records.items():
        line = json.dumps({**record, "time": "9999"}) + "\n"
        (tmp_path / name).write_text(SUITE.format(name=name, line=line))
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *workers, "."], cwd=tmp_path,
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == int(wrong), done.stdout
    assert f"2 answers of the clc checked against Amazon's model and error codes, {int(wrong)} wrong" in done.stdout
    assert ("WRONG ANSWER in test_two.py::test_it: DescribeRegions" in done.stdout) == wrong, done.stdout


def test_the_list_of_error_codes():
    assert len(amazon.ERRORS) > 420
    for code, (statuses, kind, source) in amazon.ERRORS.items():
        assert re.fullmatch(r"[A-Z][A-Za-z.]+", code) and source, code
        assert kind in ("client", "server"), code
        assert statuses and all((400 if kind == "client" else 500) <= s < (500 if kind == "client" else 600) for s in statuses), code


def test_faults_are_in_it():
    """Each fault that EC2 answers with, with its status. What functions say among themselves, at the head of the file,
    and what S3 alone says are not of EC2."""
    with open(os.path.join(TOP, "common/base/faults.def"), encoding="utf-8") as file:
        text = file.read()
    section = text[text.index("/* authentication, all services */"):text.index("/* S3 */")]
    rows = re.findall(r'FAULT\((\w+), (\d+), "([^"]+)"', section)
    assert len(rows) > 40
    of_s3 = {"INVALID_ACCESS_KEY_ID", "REQUEST_TIME_TOO_SKEWED"}
    for name, status, code in rows:
        if name not in of_s3:
            assert code in amazon.ERRORS, f"{name}: '{code}' is not in tests/data/ec2_errors.tsv"
            assert int(status) in amazon.ERRORS[code][0], f"{name}: '{code}' with status {status}"
