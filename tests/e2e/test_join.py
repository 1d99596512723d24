"""Joining: a token serves one daemon, of one role, once, for fifteen minutes."""
import os
import re
import shutil
import sqlite3
import subprocess

import pytest
from cloud import daemons, hosts


@pytest.fixture
def join(other):
    """Runs the join command of a daemon that is not one of the cloud's, on the storage host."""
    home = os.path.join(hosts.directory(other.model, other.model.host("zone-a-storage")), "spare")

    def run(role, token, url=None, wait="0"):
        shutil.rmtree(home, ignore_errors=True)
        os.makedirs(f"{home}/state")
        for path in (home, f"{home}/state"):
            shutil.chown(path, daemons.USER, daemons.USER)
        conf = f"{home}/{role}.conf"
        with open(conf, "w", encoding="ascii") as file:
            file.write(f"state_dir = {home}/state\nruntime_dir = /run/mallee/spare\n"
                       f"listen = {other.model.host('zone-a-storage').underlay}:9999\nstatus_listen = 127.0.0.1:9998\n")
        argv = hosts.enter(other.model, "zone-a-storage", "setpriv", "--reuid", daemons.USER, "--regid",
                           daemons.USER, "--init-groups", "--", daemons.program(other.model, f"mallee-{role}"),
                           "--config", conf, "join", url or daemons.clc_url(other.model), token, wait)
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    yield run
    shutil.rmtree(home, ignore_errors=True)


def token_for(cloud, *words):
    return cloud.admin("token", *words).split()[-1]


def refused(done, pattern):
    assert done.returncode == 1
    said = done.stderr.strip().splitlines()
    assert len(said) == 1 and re.search(pattern, said[0]), said


def test_once(other, join):
    token = token_for(other, "nc", "zone-a")
    first = join("nc", token)
    assert first.returncode == 0 and first.stdout.strip() == "joined", first.stderr
    refused(join("nc", token), "used")


def test_not_in_service_says_what_is_missing(other, join):
    """It joined, but nobody starts it: one sentence."""
    refused(join("nc", token_for(other, "nc", "zone-a"), wait="2"), "not in service: .")


def test_one_sc_per_zone(other, join):
    refused(join("sc", token_for(other, "sc", "zone-a")), "in service already")


@pytest.mark.parametrize("given, used", [("sc", "cc"), ("cc", "nc"), ("nc", "sc"), ("walrus", "cc")])
def test_another_role(other, join, given, used):
    words = [given] if given == "walrus" else [given, "zone-a"]
    refused(join(used, token_for(other, *words)), f"is for a {given}, not for a {used}")


def test_expired(other, join):
    """Fifteen minutes later, as the store sees it."""
    token = token_for(other, "nc", "zone-a")
    store = os.path.join(daemons.state_directory(other.model, other.unit("clc")), "clc.db")
    other.kill("clc")
    with sqlite3.connect(store) as db:
        assert db.execute("UPDATE join_token SET expires_us = expires_us - 900000000 WHERE token_id = ?",
                          [token.split(".")[0]]).rowcount == 1
    db.close()
    for name in os.listdir(os.path.dirname(store)):
        if name.startswith("clc.db"):
            shutil.chown(os.path.join(os.path.dirname(store), name), daemons.USER, daemons.USER)
    other.start("clc")
    refused(join("nc", token), "expired")


def test_forged(other, join):
    good = token_for(other, "nc", "zone-a")
    identity, secret, pin = good.split(".")
    refused(join("nc", ".".join([identity, secret[:-2] + ("AA" if secret[-2:] != "AA" else "BB"), pin])), "token")
    # The hash of another CA: the joiner does not hand the secret over.
    refused(join("nc", ".".join([identity, secret, "0" * 64])), "CA|certificate|fingerprint")
    refused(join("nc", "nonsense"), "no token")
    # And the token is as good as before.
    assert join("nc", good).returncode == 0


def test_no_clc_there(other, join):
    refused(join("nc", token_for(other, "nc", "zone-a"), url=f"https://{other.model.host('zone-a').underlay}:8773"),
            "connect")
    refused(join("nc", token_for(other, "nc", "zone-a"), url="http://10.0.0.1:8773"), "https://")


@pytest.mark.parametrize("words", [["nonsense"], ["cc"], ["cc", "Bad Zone"]])
def test_tokens_that_cannot_be(other, words):
    argv = hosts.enter(other.model, "ctl", daemons.program(other.model, "mallee-admin"), "token", *words)
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2) and len(done.stderr.strip().splitlines()) >= 1


def test_init_twice(other):
    """The cloud is there: nothing is made anew."""
    one = other.unit("clc")
    argv = hosts.enter(other.model, "ctl", *daemons.as_user(one, [
        daemons.program(other.model, "mallee-admin"), "--config", daemons.config_path(other.model, one), "init"]))
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and done.stderr.strip()
    assert other.sts.get_caller_identity()["Account"]
