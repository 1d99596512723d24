"""The main job, by the aws command and by boto3: upload, start, log in, console, stop, start, reboot, terminate."""
import base64
import re

import pytest
from cloud import ClientError, code_of, eventually


@pytest.fixture(scope="module")
def instance(cloud):
    data = "#!/bin/sh\necho user-data-ran-here\n"
    made = cloud.aws("ec2", "run-instances", "--image-id", cloud.image, "--instance-type", "t2.micro",
                     "--key-name", cloud.variables["MALLEE_KEY"], "--user-data", data)["Instances"][0]
    assert made["State"]["Name"] == "pending"
    assert re.fullmatch(r"i-[0-9a-f]{17}", made["InstanceId"])
    yield made["InstanceId"]
    cloud.terminate(made["InstanceId"])


def test_runs_and_answers_ssh(cloud, instance):
    one = cloud.wait(instance, "running")
    assert one["PrivateIpAddress"].startswith("172.31.")
    assert one["ImageId"] == cloud.image
    assert one["Placement"]["AvailabilityZone"] == "zone-a"
    guest = cloud.guest(instance).wait()
    assert guest.sh("id -u") == "0"
    assert one["PrivateIpAddress"] in guest.sh("ip -4 addr show dev eth0")


def test_console_shows_the_boot_and_user_data(cloud, instance):
    cloud.guest(instance).wait()
    text = eventually("user data on the console", 60, lambda: "user-data-ran-here" in cloud.console(instance)
                      and cloud.console(instance))
    assert "TINY sshd" in text and f"TINY instance-id {instance}" in text
    # The command prints it decoded as well.
    answer = cloud.aws("ec2", "get-console-output", "--instance-id", instance)
    assert "TINY sshd" in answer["Output"] and answer["InstanceId"] == instance


def test_user_data_can_be_read_in_the_guest(cloud, instance):
    got = cloud.guest(instance).wait().sh("timeout 5 wget -q -O - http://169.254.169.254/latest/user-data")
    assert "user-data-ran-here" in got


def test_stop_and_start_keep_address_and_disk(cloud, instance):
    guest = cloud.guest(instance).wait()
    before = cloud.describe(instance)
    guest.sh("echo kept >/root/kept; sync")
    boots = guest.boots()
    answer = cloud.ec2.stop_instances(InstanceIds=[instance])["StoppingInstances"][0]
    assert answer["PreviousState"]["Name"] == "running" and answer["CurrentState"]["Name"] == "stopping"
    stopped = cloud.wait(instance, "stopped")
    assert stopped["PrivateIpAddress"] == before["PrivateIpAddress"]
    assert "PublicIpAddress" not in stopped
    assert "TINY power-button" in cloud.console(instance)   # the guest was asked, not cut off
    assert not any(instance in ids for ids in cloud.domains().values())
    answer = cloud.ec2.start_instances(InstanceIds=[instance])["StartingInstances"][0]
    assert answer["PreviousState"]["Name"] == "stopped" and answer["CurrentState"]["Name"] == "pending"
    again = cloud.wait(instance, "running")
    assert again["PrivateIpAddress"] == before["PrivateIpAddress"]
    guest.wait()
    assert guest.sh("cat /root/kept") == "kept"
    assert guest.boots() == boots + 1


def test_reboot_keeps_everything(cloud, instance):
    guest = cloud.guest(instance).wait()
    before, boots = cloud.describe(instance), guest.boots()
    cloud.ec2.reboot_instances(InstanceIds=[instance])
    eventually("a boot more", 150, lambda: guest.boots() == boots + 1, every=1)
    after = cloud.describe(instance)
    assert after["State"]["Name"] == "running"
    assert (after["PrivateIpAddress"], after["PublicIpAddress"]) == \
        (before["PrivateIpAddress"], before["PublicIpAddress"])


def test_terminate_ends_it(cloud, tidy):
    one = cloud.run()
    cloud.wait(one, "running")
    answer = cloud.ec2.terminate_instances(InstanceIds=[one])["TerminatingInstances"][0]
    assert answer["CurrentState"]["Name"] in ("shutting-down", "terminated")
    ended = cloud.wait(one, "terminated")
    assert ended["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert not any(one in ids for ids in cloud.domains().values())
    # Terminating again is fine, starting is not.
    assert cloud.ec2.terminate_instances(InstanceIds=[one])["TerminatingInstances"]
    with pytest.raises(ClientError) as problem:
        cloud.ec2.start_instances(InstanceIds=[one])
    assert code_of(problem.value) == "IncorrectInstanceState"


def test_terminate_while_pending(cloud, tidy):
    one = cloud.run()
    cloud.ec2.terminate_instances(InstanceIds=[one])
    cloud.wait(one, "terminated")
    eventually("no guest left", 30, lambda: not any(one in ids for ids in cloud.domains().values()))


def test_client_token_makes_one_instance(cloud, tidy):
    token = "token-" + base64.b16encode(b"once").decode()
    first = cloud.run(ClientToken=token)
    assert cloud.run(ClientToken=token) == first
    with pytest.raises(ClientError) as problem:
        cloud.run(ClientToken=token, InstanceType="t2.small")
    assert code_of(problem.value) == "IdempotentParameterMismatch"


def test_instances_are_listed_with_filters(cloud, instance):
    found = cloud.ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["running"]},
                                                  {"Name": "instance-id", "Values": [instance]}])
    assert [i["InstanceId"] for r in found["Reservations"] for i in r["Instances"]] == [instance]


@pytest.mark.parametrize("behaviour, state, reason", [
    ("stop", "stopped", "Client.InstanceInitiatedShutdown"),
    ("terminate", "terminated", "Client.InstanceInitiatedShutdown"),
])
def test_shutdown_from_inside(cloud, tidy, behaviour, state, reason):
    one = cloud.booted(InstanceInitiatedShutdownBehavior=behaviour)
    cloud.guest(one).sh("poweroff", check=False)
    ended = cloud.wait(one, state)
    assert ended["StateReason"]["Code"] == reason


def test_ephemeral_disk(cloud, tidy):
    one = cloud.booted(InstanceType="m1.small")
    guest = cloud.guest(one)
    assert int(guest.sh("cat /sys/block/vdb/size")) * 512 == 1 << 30
    guest.sh("dd if=/dev/zero of=/dev/vdb bs=64k count=16 conv=fsync 2>/dev/null")


def test_the_rest_of_the_api_answers(cloud, resident):
    ec2 = cloud.ec2
    assert [r["RegionName"] for r in ec2.describe_regions()["Regions"]] == [cloud.variables["AWS_DEFAULT_REGION"]]
    assert [z["ZoneName"] for z in ec2.describe_availability_zones()["AvailabilityZones"]] == ["zone-a"]
    assert "t2.micro" in [t["InstanceType"] for t in ec2.describe_instance_types()["InstanceTypes"]]
    vpcs = ec2.describe_vpcs()["Vpcs"]
    assert len(vpcs) == 1 and vpcs[0]["IsDefault"] and vpcs[0]["CidrBlock"] == "172.31.0.0/16"
    subnets = ec2.describe_subnets()["Subnets"]
    assert [s["AvailabilityZone"] for s in subnets] == ["zone-a"] and subnets[0]["VpcId"] == vpcs[0]["VpcId"]
    groups = ec2.describe_security_groups()["SecurityGroups"]
    assert [g["GroupName"] for g in groups] == ["default"]
    who = cloud.sts.get_caller_identity()
    assert re.fullmatch(r"\d{12}", who["Account"]) and who["Arn"].startswith("arn:aws:")


def test_key_pairs(cloud):
    ec2 = cloud.ec2
    made = ec2.create_key_pair(KeyName="made-here")
    try:
        assert made["KeyMaterial"].startswith("-----BEGIN") and made["KeyFingerprint"]
        assert "made-here" in [k["KeyName"] for k in ec2.describe_key_pairs()["KeyPairs"]]
        with pytest.raises(ClientError) as problem:
            ec2.create_key_pair(KeyName="made-here")
        assert code_of(problem.value) == "InvalidKeyPair.Duplicate"
    finally:
        ec2.delete_key_pair(KeyName="made-here")
    with pytest.raises(ClientError) as problem:
        ec2.describe_key_pairs(KeyNames=["made-here"])
    assert code_of(problem.value) == "InvalidKeyPair.NotFound"
    ec2.delete_key_pair(KeyName="made-here")  # absent is fine
