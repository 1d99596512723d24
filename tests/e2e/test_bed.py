"""The test bed itself: contract of tools/cloud, listeners, two clouds side by side."""
import os
import subprocess

import pytest
from cloud import TOP, ClientError, model, net

import inventory


def test_up_again_changes_nothing(cloud):
    before = {d: cloud.pid(d) for d in ("clc", "walrus", "cc:zone-a", "sc:zone-a", "nc:zone-a-node-1")}
    cloud.tool("up", "--image", "tiny")
    assert {d: cloud.pid(d) for d in before} == before


def test_status_says_that_all_run(cloud):
    text = cloud.tool("status").stdout
    assert "not running" not in text and text.count("ready") >= 5


def test_env_is_for_a_shell(cloud):
    script = (f'eval "$({TOP}/tools/cloud env --name {cloud.name})"; '
              'aws ec2 describe-regions --query "Regions[].RegionName" --output text; aws s3 ls; '
              'aws sts get-caller-identity --query Account --output text; '
              'aws dynamodb list-tables; echo "status $?"; echo $MALLEE_IMAGE')
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True,
                          env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"})
    assert cloud.variables["AWS_DEFAULT_REGION"] in done.stdout and "mallee-images" in done.stdout
    assert "status 2" in done.stdout and "no such service" in done.stderr   # never asks Amazon
    assert cloud.image in done.stdout


def test_aws_and_ssh_commands(cloud, resident):
    assert resident in cloud.tool("aws", "ec2", "describe-instances", "--output", "text").stdout
    assert cloud.tool("ssh", resident, "id", "-u").stdout.strip() == "0"
    assert cloud.tool("ssh", resident, "exit 3", check=False).returncode == 3


def test_exec_and_logs(cloud):
    assert cloud.tool("exec", "zone-a-node-1", "hostname").stdout.strip() == "zone-a-node-1"
    assert "clc" in cloud.tool("logs", "clc").stdout
    assert "zone-a-node-1" in cloud.tool("exec", "nowhere", "true", check=False).stderr
    assert "nc:zone-a-node-1" in cloud.tool("kill", "nothing", check=False).stderr


def test_partition_cuts_and_heal_joins(cloud):
    node = cloud.model.host("zone-a-node-1").underlay

    def reachable():
        return "1 received" in cloud.on("zone-a", "ping", "-c", "1", "-W", "1", node, check=False)
    assert reachable()
    cloud.tool("partition", "zone-a", "zone-a-node-1")
    try:
        assert not reachable()
        assert "1 received" in cloud.on("ctl", "ping", "-c", "1", "-W", "1", node)
    finally:
        cloud.tool("heal")
    assert reachable()


def test_no_host_has_a_way_out(cloud):
    for host in cloud.model.hosts:
        assert "default" not in cloud.on(host.name, "ip", "-4", "route"), host.name
        assert "default" not in cloud.on(host.name, "ip", "-6", "route"), host.name


def test_every_listening_socket_is_known(cloud, resident):
    unknown, absent = inventory.unknown_listeners(cloud)
    assert unknown == [] and absent == []


def test_front_doors_are_on_their_own_loopback_only(cloud):
    ours = {(a, p) for _, a, p in net.listeners("/proc/self/ns/net") if a == cloud.model.loopback}
    assert {p for _, p in ours} == {8773, 8777, 8443}


def test_two_clouds_side_by_side(cloud, other, resident):
    assert other.model.loopback != cloud.model.loopback
    assert other.ec2.describe_instances()["Reservations"] == []
    assert other.sts.get_caller_identity()["Account"]
    # Each knows only its own keys.
    found = other.variables
    with pytest.raises(ClientError, match="AuthFailure|InvalidClientTokenId"):
        cloud.client("ec2", found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"]).describe_instances()
    # Equal addresses in both, and no way between them.
    assert "1 received" not in cloud.on("ctl", "ping", "-c", "1", "-W", "1", other.model.host("ctl").underlay,
                                        check=False)
    assert cloud.guest(resident).sh("echo here") == "here"


def assert_nothing_left(name):
    assert not any(n.startswith(name + "-") for n in (os.listdir("/run/netns") if os.path.isdir("/run/netns") else [])
                   if n[len(name) + 1:].split("-")[0] in ("ctl", "zone", "switch", "outside"))
    assert not os.path.exists(os.path.join(model.BASE, name)) and not os.path.exists(os.path.join(model.RUN, name))
    assert model.load(name) is None
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        assert not [line for line in file if f"/{name}-ctl" in line or f"{model.BASE}/{name}/" in line]
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    assert f"{model.BASE}/{name}/".encode() not in file.read()
            except (FileNotFoundError, ProcessLookupError):
                pass


def as_nobody(*argv):
    return subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *argv],
                          capture_output=True, text=True, check=False, cwd="/")


@pytest.mark.parametrize("tool", ["quickstart", "check"])
def test_without_root(tool):
    done = as_nobody("/usr/bin/python3", os.path.join(TOP, "tools", tool))
    if "Permission denied" in done.stderr:
        pytest.skip("the tree cannot be read by others here")
    assert done.returncode == 1 and "needs root" in done.stderr and "sudo" in done.stderr


def test_quickstart_with_a_cloud_of_this_name(cloud):
    done = subprocess.run([os.path.join(TOP, "tools/quickstart"), "--name", cloud.name], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 1
    assert f"tools/cloud down --wipe --name {cloud.name}" in done.stderr and "exists already" in done.stderr \
        or "is up already" in done.stderr


def test_names_that_cannot_be(cloud):
    for name in ("Upper", "", "a" * 40, "../x"):
        done = subprocess.run([os.path.join(TOP, "tools/cloud"), "status", "--name", name], capture_output=True,
                              text=True, check=False)
        assert done.returncode == 1 and "cannot use the name" in done.stderr


def test_ssh_to_what_is_not_there(cloud):
    done = cloud.tool("ssh", "i-00000000000000000", check=False)
    assert done.returncode == 1 and "InvalidInstanceID.NotFound" in done.stderr
