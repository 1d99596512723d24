"""A daemon that cannot start says why in one line and exits non-zero."""
import os
import re
import shutil
import subprocess

import pytest
from cloud import daemons, hosts

ALL = ["clc", "walrus", "cc:zone-a", "sc:zone-a", "nc:zone-a-node-1"]


def start(cloud, name, config, *words, timeout=30):
    one = cloud.unit(name)
    argv = hosts.enter(cloud.model, one.host.name, *daemons.as_user(one, [
        daemons.program(cloud.model, one.spec.program), "--config", config, *words]))
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=timeout)


LOGGED = re.compile(r"^\d\d:\d\d:\d\d\.\d{3} (info|debug) ")


def one_line(done):
    """What it said of the failure; what it logged of its progress before does not count."""
    assert done.returncode not in (0, None)
    said = [line for line in done.stderr.strip().splitlines() if line and not LOGGED.match(line)]
    assert len(said) == 1, said
    assert done.returncode < 128, "ended by a signal"
    return said[0]


@pytest.fixture
def changed(cloud, tmp_path):
    """A daemon's configuration with some keys changed, in a file that it can read."""
    made = []

    def change(name, **keys):
        one = cloud.unit(name)
        wanted = dict(daemons.config(cloud.model, one), **keys)
        path = os.path.join(hosts.directory(cloud.model, one.host), "etc", f"test-{len(made)}.conf")
        with open(path, "w", encoding="ascii") as file:
            file.writelines(f"{k} = {v}\n" for k, v in wanted.items() if v is not None)
        made.append(path)
        return path
    yield change
    for path in made:
        os.unlink(path)


@pytest.mark.parametrize("name", ALL)
def test_unknown_key(cloud, changed, name):
    path = changed(name, no_such_key="1")
    said = one_line(start(cloud, name, path))
    assert "no_such_key" in said and path in said
    said = one_line(start(cloud, name, path, "--check-config"))
    assert "no_such_key" in said


@pytest.mark.parametrize("name", ALL)
def test_bad_value(cloud, changed, name):
    assert "log_level" in one_line(start(cloud, name, changed(name, log_level="loud")))


@pytest.mark.parametrize("name", ALL)
def test_good_configuration_passes(cloud, name):
    done = start(cloud, name, daemons.config_path(cloud.model, cloud.unit(name)), "--check-config")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ALL)
def test_no_configuration(cloud, name):
    assert "/nonexistent.conf" in one_line(start(cloud, name, "/nonexistent.conf"))


@pytest.mark.parametrize("name", ALL)
def test_no_state_directory(cloud, changed, name):
    assert "'/nonexistent" in one_line(start(cloud, name, changed(name, state_dir="/nonexistent/state")))


@pytest.mark.parametrize("name", ALL)
def test_port_in_use(cloud, changed, name):
    """The very daemon runs: its port is taken. With state of its own, so that only the port is in the way."""
    one = cloud.unit(name)
    copy = daemons.state_directory(cloud.model, one) + ".copy"
    shutil.rmtree(copy, ignore_errors=True)
    subprocess.run(["cp", "-a", "--sparse=always", daemons.state_directory(cloud.model, one), copy], check=True)
    try:
        path = changed(name, state_dir=copy, runtime_dir="/run/mallee/copy", status_listen="127.0.0.1:9990")
        said = one_line(start(cloud, name, path))
        assert str(one.spec.port) in said
    finally:
        shutil.rmtree(copy)


CA_CONFIG = """[ca]
default_ca = it
[it]
database = {0}/index
serial = {0}/serial
new_certs_dir = {0}
default_md = sha256
policy = any
[any]
commonName = supplied
organizationName = optional
organizationalUnitName = optional
"""


def expired_certificate(cloud, key, work):
    """For this key, by the cloud's own CA, and over since 2001."""
    trust = os.path.join(daemons.state_directory(cloud.model, cloud.unit("clc")), "trust")
    (work / "index").write_text("")
    (work / "serial").write_text("01\n")
    (work / "ca.conf").write_text(CA_CONFIG.format(work))
    for argv in (["req", "-new", "-key", key, "-subj", "/O=Mallee/OU=cc/CN=cc-0", "-out", f"{work}/csr"],
                 ["ca", "-batch", "-notext", "-config", f"{work}/ca.conf", "-cert", f"{trust}/ca.pem", "-keyfile",
                  f"{trust}/ca.key", "-in", f"{work}/csr", "-startdate", "20010101000000Z", "-enddate",
                  "20010201000000Z", "-out", f"{work}/pem"]):
        done = subprocess.run(["openssl", *argv], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return (work / "pem").read_text()


@pytest.mark.parametrize("name", ["cc:zone-a", "sc:zone-a", "nc:zone-a-node-1", "walrus"])
def test_expired_certificate(cloud, changed, name, tmp_path):
    one = cloud.unit(name)
    state = daemons.state_directory(cloud.model, one)
    copy = state + ".copy"
    shutil.rmtree(copy, ignore_errors=True)
    subprocess.run(["cp", "-a", "--sparse=always", state, copy], check=True)
    try:
        trust = os.path.join(copy, "trust")
        text = expired_certificate(cloud, f"{trust}/key.pem", tmp_path)
        with open(f"{trust}/certificate.pem", "w", encoding="ascii") as file:
            file.write(text)
        path = changed(name, state_dir=copy, runtime_dir="/run/mallee/copy", status_listen="127.0.0.1:9990",
                       listen=f"{one.host.underlay}:9991")
        said = one_line(start(cloud, name, path))
        assert "expired" in said
    finally:
        shutil.rmtree(copy)


@pytest.mark.parametrize("name", ["cc:zone-a", "sc:zone-a", "nc:zone-a-node-1", "walrus"])
def test_not_joined(cloud, changed, name):
    one = cloud.unit(name)
    empty = daemons.state_directory(cloud.model, one) + ".empty"
    os.makedirs(empty, exist_ok=True)
    shutil.chown(empty, daemons.USER, daemons.USER)
    try:
        said = one_line(start(cloud, name, changed(name, state_dir=empty, runtime_dir="/run/mallee/copy",
                                                   status_listen="127.0.0.1:9990",
                                                   listen=f"{one.host.underlay}:9991")))
        assert "join" in said
    finally:
        shutil.rmtree(empty)
