import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]
sys.dont_write_bytecode = True

import front  # noqa: E402
from answers import (pytest_runtest_logstart, pytest_sessionfinish, pytest_terminal_summary,  # noqa: E402,F401
                     pytest_testnodedown)


@pytest.fixture(scope="session")
def clc():
    """One daemon for all tests: zones zone-a (as good as endless) and zone-b (8), an image of the admin, other accounts."""
    daemon = front.Clc()
    try:
        daemon.seed_zone("zone-a", vcpus=4096, memory_mib=1 << 22, disk_gib=1 << 20)
        daemon.seed_zone("zone-b", vcpus=8, third=16)
        daemon.image = daemon.seed_image(daemon.admin)
        daemon.kernel = daemon.seed_image(daemon.admin, "aki-00000000000000001", "kernel")
        daemon.start()
        daemon.other = daemon.new_account("other")
    except BaseException:
        daemon.stop()
        print(daemon.read_log())
        raise
    yield daemon
    daemon.close()


_count = 0


@pytest.fixture
def account(clc):
    """A fresh account that owns an image, so that nothing of other tests is in the way."""
    global _count
    _count += 1
    made = clc.new_account(f"account-{_count}")
    made.image = clc.seed_image(made, f"ami-{_count + 100:017x}")
    return made
