"""Joining: a token serves one daemon, of one role, once, for fifteen minutes."""
import os
import shutil

import pytest
from cloud import daemons, hosts


@pytest.fixture
def spare(cloud, tmp_path):
    """A daemon's configuration beside the real ones, on the host of the sc: never started."""
    directory = os.path.join(hosts.directory(cloud.model, cloud.model.host("zone-a-storage")), "spare")
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    shutil.chown(directory, daemons.USER, daemons.USER)

    def join(role, token, url=None):
        conf = os.path.join(directory, f"{role}.conf")
        state = os.path.join(directory, f"state-{role}")
        os.makedirs(state, exist_ok=True)
        shutil.chown(state, daemons.USER, daemons.USER)
        with open(conf, "w", encoding="ascii") as file:
            file.write(f"state_dir = {state}\nruntime_dir = /run/mallee/spare\n"
                       f"listen = {cloud.model.host('zone-a-storage').underlay}:9999\n"
                       "status_listen = 127.0.0.1:9998\n")
        import subprocess
        argv = hosts.enter(cloud.model, "zone-a-storage", "setpriv", "--reuid", daemons.USER, "--regid",
                           daemons.USER, "--init-groups", "--", daemons.program(cloud.model, f"mallee-{role}"),
                           "--config", conf, "join", url or daemons.clc_url(cloud.model), token)
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    yield join
    shutil.rmtree(directory, ignore_errors=True)


def token(cloud, role, *words):
    return cloud.admin("token", role, *words).split()[-1]


def one_line(done):
    assert done.returncode != 0
    said = done.stderr.strip().splitlines()
    assert len(said) == 1, said
    return said[0]


def test_another_role_is_refused(cloud, spare):
    assert "role" in one_line(spare("cc", token(cloud, "sc", "zone-a")))


def test_a_forged_token_is_refused(cloud, spare):
    good = token(cloud, "sc", "zone-a")
    identity, secret, pin = good.split(".")
    assert one_line(spare("sc", ".".join([identity, secret[:-1] + ("A" if secret[-1] != "A" else "B"), pin])))
    # Another CA's hash: the joiner does not even ask.
    assert one_line(spare("sc", ".".join([identity, secret, "0" * 64])))
    assert one_line(spare("sc", "nonsense"))


def test_no_clc_there(cloud, spare):
    assert one_line(spare("sc", token(cloud, "sc", "zone-a"), url="https://10.0.0.1:8773"))


def test_the_real_ones_cannot_be_joined_twice(cloud):
    """A token used by a daemon of the cloud is spent."""
    text = cloud.admin("peers", check=False)
    assert "zone-a-node-1" in text or "nc" in text
