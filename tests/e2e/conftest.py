"""One cloud for the whole run: `check`, one zone, one node, the tiny image.

MALLEE_KEEP=1 leaves it up at the end (and finds it again at the next start); MALLEE_E2E_CLOUD names another.
"""
import contextlib
import os
import shutil
import stat
import sys

import pytest

for directory in ("lib", "leaks"):
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", directory))
import answers  # noqa: E402
import cloud as lib  # noqa: E402
from answers import (pytest_runtest_logstart, pytest_sessionfinish, pytest_terminal_summary,  # noqa: E402,F401
                     pytest_testnodedown)

NAME = os.environ.get("MALLEE_E2E_CLOUD", "check")
KEEP = os.environ.get("MALLEE_KEEP") == "1"


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes more than a few minutes; runs with tools/check --long")


def pytest_collection_modifyitems(items):
    """What ends the shared cloud comes last: first the leak test, then its wipe."""
    order = {"test_leaks.py": 1, "test_wipe.py": 2}
    items.sort(key=lambda item: order.get(os.path.basename(str(item.fspath)), 0))


@pytest.fixture(scope="session", autouse=True)
def recorded():
    """Where clcs of the test bed, which have a user of their own, write down what they answer."""
    lib.daemons.prepare_machine()
    directory = f"/var/tmp/mallee-answers-{NAME}"
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o770)
    found = os.lstat(directory)
    assert stat.S_ISDIR(found.st_mode) and found.st_uid == 0, f"{directory} is somebody else's"
    os.chmod(directory, 0o770)
    shutil.chown(directory, "root", lib.daemons.USER)
    os.environ[lib.daemons.ANSWERS] = directory
    answers.use(directory)


@pytest.fixture(scope="session")
def cloud():
    one = lib.Cloud(NAME)
    if one.model and not KEEP:
        one.down(wipe=True)
    one.up(zones=1, nodes=1)
    yield one
    if not KEEP and lib.model.load(NAME):
        one.down(wipe=True)


@pytest.fixture(scope="session")
def other(cloud):
    """A second cloud beside the first: for what two clouds mean to each other, and for what spoils one."""
    two = lib.Cloud(NAME + "-2")
    if two.model:
        two.down(wipe=True)
    two.up(no_build=True, image=None)
    yield two
    if lib.model.load(two.name):
        two.down(wipe=True)


@pytest.fixture
def tidy(cloud):
    """Terminates whatever the test started."""
    before = {i["InstanceId"] for i in cloud.instances()}
    yield cloud
    left = [i["InstanceId"] for i in cloud.instances("pending", "running", "stopping", "stopped")
            if i["InstanceId"] not in before]
    if left:
        cloud.ec2.terminate_instances(InstanceIds=left)
        for one in left:
            cloud.wait(one, "terminated")


@pytest.fixture(scope="session")
def resident(cloud):
    """An instance that many tests may look at and nobody changes."""
    one = cloud.booted()
    yield one
    if lib.model.load(NAME):
        cloud.terminate(one)
