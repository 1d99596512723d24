"""An action is its definition, its handler and its test. A missing handler does not link; a missing test fails here."""
import glob
import json
import os
import re
import subprocess
import sys

import pytest

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def listed(pattern):
    """[(service, WireName, c_name)] of the definitions."""
    paths = sorted(glob.glob(os.path.join(TOP, pattern)))
    said = subprocess.run([sys.executable, os.path.join(TOP, "tools/apigen"), "--list", *paths], capture_output=True,
                          text=True, check=True).stdout
    return [tuple(line.split("\t")) for line in said.splitlines()]


def code(*patterns):
    """Sources without comments and docstrings: to be mentioned is not to be tested."""
    text = []
    for pattern in patterns:
        for path in sorted(glob.glob(os.path.join(TOP, pattern), recursive=True)):
            with open(path, encoding="utf-8") as file:
                source = file.read()
            if path.endswith(".py"):
                source = re.sub(r'"""(?:.|\n)*?"""', "", source)
                source = re.sub(r"(?m)(?<!['\"\w])#.*$", "", source)
            else:
                source = re.sub(r"/\*(?:.|\n)*?\*/", "", source)
            text.append(source)
    return "\n".join(text)


def is_called(operation, text):
    """By boto3 (run_instances), the aws command (run-instances) or the Query API (RunInstances)."""
    _, wire, name = operation
    return re.search(rf"\.{name}\(|[\"' ]{name.replace('_', '-')}[\"' ]|[\"'=]{wire}\b", text) is not None


ACTIONS = listed("clc/api/*.api")
# Answered by the zone, but no program asks yet: what it says comes through Changes.
NOT_CALLED = {("cc", "DescribeNodes")}
END_TO_END = code("tests/e2e/*.py", "tests/lib/cloud.py")


def test_there_are_definitions():
    assert ("ec2", "RunInstances", "run_instances") in ACTIONS
    assert ("sts", "GetCallerIdentity", "get_caller_identity") in ACTIONS


def test_what_is_not_called_is_noticed():
    assert not is_called(("ec2", "HibernateInstances", "hibernate_instances"), END_TO_END)
    assert is_called(("ec2", "X", "run_instances"), 'client.run_instances(ImageId="ami-1")')
    assert is_called(("ec2", "X", "run_instances"), 'cloud.aws("ec2", "run-instances")')
    assert is_called(("ec2", "RunInstances", "-"), "?Action=RunInstances&Version=2016-11-15")


@pytest.mark.parametrize("action", ACTIONS, ids=lambda a: f"{a[0]}:{a[1]}")
def test_action_is_called_end_to_end(action):
    assert is_called(action, END_TO_END), f"no test in tests/e2e calls {action[1]}"


def answered():
    """The actions whose declaration is all there is of them."""
    said = subprocess.run([sys.executable, os.path.join(TOP, "tools/apigen"), "--json", *sorted(glob.glob(os.path.join(TOP, "clc/api/*.api")))],
                          capture_output=True, text=True, check=True).stdout
    return {(o["service"], o["operation"]) for o in json.loads(said) if o["answers"]}


ANSWERED = answered()


@pytest.mark.parametrize("action", [a for a in ACTIONS if a[:2] not in ANSWERED], ids=lambda a: f"{a[0]}:{a[1]}")
def test_action_has_a_handler(action):
    service, _, name = action
    assert re.search(rf"(?m)^{service}_handle_{name}\(", code("clc/*.c"))


@pytest.mark.parametrize("message", listed("common/rpc/*.api"), ids=lambda m: f"{m[0]}:{m[1]}")
def test_message_has_a_handler_and_a_caller(message):
    """Messages between daemons are exercised by every end-to-end test; what nobody calls has none."""
    service, wire, name = message
    if wire != "Hello":
        assert re.search(rf"(?m)^{service}_handle_{name}\(", code(f"{service}/**/*.c"))
    callers = code("clc/*.c", "cc/*.c", "sc/*.c", "nc/*.c", "walrus/*.c", "common/rpc/*.c", "tests/**/*.c")
    called = re.search(rf"&{service}_{name}\b", callers) is not None
    if wire != "Hello":
        assert called != ((service, wire) in NOT_CALLED)
