"""The same story told by each client from Debian as its users would: look around, bring a key, launch with tags and user
data, find it again by filters, look at attributes and tags, stop, start, end.

No node is here, so what a node would have reported (that an instance runs, that it is stopped) the test writes.
"""
import base64
import json
import os
import shutil
import subprocess

import boto3
import botocore.config
import front
import pytest
from test_clients import aws
from world import OPERATIONS

HERE = os.path.dirname(os.path.abspath(__file__))
PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF1kT8tZWy6ZbNGQ0OL1ys1ZdsZBuJZfH2vRpfGUWS3W me"
USER_DATA = "#!/bin/sh\necho hello\n"


def served(action):
    return action in OPERATIONS


def report(clc, instance, state):
    """As its node would."""
    clc.rows("UPDATE instance SET state = ?, to_put = 0 WHERE instance_id = ?", state, instance)


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key.pub"
    path.write_text(PUBLIC + "\n")
    return str(path)


def test_boto3(clc, account):
    ec2 = boto3.client("ec2", endpoint_url=f"http://127.0.0.1:{clc.port}/services/compute", region_name=front.REGION,
                       config=botocore.config.Config(retries={"max_attempts": 0}, read_timeout=60),
                       aws_access_key_id=account.key, aws_secret_access_key=account.secret)
    assert {z["ZoneName"] for z in ec2.describe_availability_zones()["AvailabilityZones"]} == {"zone-a", "zone-b"}
    assert account.image in [i["ImageId"] for i in ec2.describe_images(Owners=["self"])["Images"]]
    types = {t["InstanceType"]: t for page in ec2.get_paginator("describe_instance_types").paginate(PaginationConfig={"PageSize": 5})
             for t in page["InstanceTypes"]}
    assert types["t2.nano"]["VCpuInfo"]["DefaultVCpus"] == 1
    assert ec2.import_key_pair(KeyName="mine", PublicKeyMaterial=PUBLIC.encode())["KeyFingerprint"]
    one = ec2.run_instances(ImageId=account.image, MinCount=1, MaxCount=1, InstanceType="t2.nano", KeyName="mine", UserData=USER_DATA,
                            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "of boto3"}]}],
                            )["Instances"][0]["InstanceId"]
    report(clc, one, "running")
    ec2.get_waiter("instance_running").wait(InstanceIds=[one], WaiterConfig={"Delay": 1, "MaxAttempts": 3})
    for name, value in (("tag:Name", "of*"), ("instance-state-name", "running"), ("key-name", "mine"), ("instance-type", "t2.*")):
        found = ec2.describe_instances(Filters=[{"Name": name, "Values": [value]}])["Reservations"]
        assert [i["InstanceId"] for r in found for i in r["Instances"]] == [one], name
    assert ec2.describe_instances(Filters=[{"Name": "tag:Name", "Values": ["other"]}])["Reservations"] == []
    if served("DescribeInstanceAttribute"):
        shown = ec2.describe_instance_attribute(InstanceId=one, Attribute="userData")["UserData"]["Value"]
        assert base64.b64decode(shown).decode() == USER_DATA
        assert ec2.describe_instance_attribute(InstanceId=one, Attribute="instanceType")["InstanceType"]["Value"] == "t2.nano"
    if served("ModifyInstanceAttribute"):
        ec2.modify_instance_attribute(InstanceId=one, DisableApiTermination={"Value": True})
        with pytest.raises(ec2.exceptions.ClientError, match="OperationNotPermitted"):
            ec2.terminate_instances(InstanceIds=[one])
        ec2.modify_instance_attribute(InstanceId=one, DisableApiTermination={"Value": False})
    if served("CreateTags"):
        ec2.create_tags(Resources=[one, account.image], Tags=[{"Key": "colour", "Value": "red"}])
        found = ec2.describe_tags(Filters=[{"Name": "key", "Values": ["colour"]}])["Tags"]
        assert {t["ResourceId"] for t in found} == {one, account.image}
        ec2.delete_tags(Resources=[one], Tags=[{"Key": "colour"}])
        assert len(ec2.describe_tags(Filters=[{"Name": "key", "Values": ["colour"]}])["Tags"]) == 1
    if served("DescribeInstanceStatus"):
        assert [s["InstanceId"] for s in ec2.describe_instance_status()["InstanceStatuses"]] == [one]
    assert ec2.stop_instances(InstanceIds=[one])["StoppingInstances"][0]["CurrentState"]["Name"] == "stopping"
    report(clc, one, "stopped")
    assert ec2.start_instances(InstanceIds=[one])["StartingInstances"][0]["PreviousState"]["Name"] == "stopped"
    ec2.terminate_instances(InstanceIds=[one])
    ec2.delete_key_pair(KeyName="mine")
    assert ec2.describe_key_pairs()["KeyPairs"] == []


def test_aws_cli(clc, account, key_file):
    def ask(*words):
        done = aws(clc, account, "ec2", *words)
        assert done.returncode == 0, (words, done.stderr)
        return json.loads(done.stdout) if done.stdout.strip() else None
    assert len(ask("describe-availability-zones")["AvailabilityZones"]) == 2
    assert account.image in [i["ImageId"] for i in ask("describe-images", "--owners", "self")["Images"]]
    assert ask("describe-instance-types", "--instance-types", "t2.nano")["InstanceTypes"][0]["CurrentGeneration"] in (True, False)
    ask("import-key-pair", "--key-name", "mine", "--public-key-material", f"fileb://{key_file}")
    one = ask("run-instances", "--image-id", account.image, "--instance-type", "t2.nano", "--key-name", "mine", "--user-data", USER_DATA,
              "--tag-specifications", "ResourceType=instance,Tags=[{Key=Name,Value=of the command}]")["Instances"][0]["InstanceId"]
    report(clc, one, "running")
    found = ask("describe-instances", "--filters", "Name=tag:Name,Values=of the *", "Name=instance-state-name,Values=running",
                "--query", "Reservations[].Instances[].InstanceId")
    assert found == [one]
    if served("CreateTags"):
        ask("create-tags", "--resources", one, "--tags", "Key=colour,Value=red")
        assert ask("describe-tags", "--filters", "Name=value,Values=red")["Tags"][0]["ResourceId"] == one
    if served("DescribeInstanceAttribute"):
        shown = ask("describe-instance-attribute", "--instance-id", one, "--attribute", "userData")["UserData"]["Value"]
        assert base64.b64decode(shown).decode() == USER_DATA
    assert ask("stop-instances", "--instance-ids", one)["StoppingInstances"][0]["InstanceId"] == one
    report(clc, one, "stopped")
    ask("start-instances", "--instance-ids", one)
    ask("terminate-instances", "--instance-ids", one)


def test_boto2(clc, account):
    boto = pytest.importorskip("boto", reason="python3-boto is not installed")
    ec2 = boto.connect_euca(host="127.0.0.1", port=clc.port, path="/services/Eucalyptus", is_secure=False,
                            aws_access_key_id=account.key, aws_secret_access_key=account.secret)
    assert {z.name for z in ec2.get_all_zones()} == {"zone-a", "zone-b"}
    assert [i.id for i in ec2.get_all_images(owners=["self"])] == [account.image]
    assert ec2.import_key_pair("mine", PUBLIC.encode()).fingerprint
    one = ec2.run_instances(account.image, key_name="mine", instance_type="t2.nano", user_data=USER_DATA.encode(),
                            security_groups=["default"]).instances[0]
    report(clc, one.id, "running")
    assert one.update() == "running"
    assert [i.id for i in ec2.get_only_instances(filters={"key-name": "mine", "instance-state-name": "running"})] == [one.id]
    assert ec2.get_only_instances(filters={"key-name": "other"}) == []
    if served("CreateTags"):
        one.add_tag("Name", "of boto")
        assert [i.id for i in ec2.get_only_instances(filters={"tag:Name": "of boto"})] == [one.id]
        assert [t.value for t in ec2.get_all_tags(filters={"resource-id": one.id})] == ["of boto"]
        one.remove_tag("Name")
    if served("DescribeInstanceAttribute"):
        assert base64.b64decode(one.get_attribute("userData")["userData"]).decode() == USER_DATA
        assert one.get_attribute("instanceType")["instanceType"] == "t2.nano"
    if served("ModifyInstanceAttribute"):
        assert one.modify_attribute("disableApiTermination", True)
        with pytest.raises(boto.exception.EC2ResponseError):
            one.terminate()
        assert one.modify_attribute("disableApiTermination", False)
    one.stop()
    report(clc, one.id, "stopped")
    one.start()
    one.terminate()
    assert one.update() == "shutting-down"


@pytest.mark.parametrize("name, words", [("EUCALYPTUS", {"path": "/services/Eucalyptus"}),
                                         ("EC2", {"region": "us-east-1", "signature_version": "4"})], ids=["euca", "ec2"])
def test_libcloud(clc, account, name, words, monkeypatch, key_file):
    pytest.importorskip("libcloud", reason="python3-libcloud is not installed")
    from libcloud.compute.providers import get_driver
    from libcloud.compute.types import NodeState, Provider
    driver = get_driver(getattr(Provider, name))(account.key, account.secret, host="127.0.0.1", port=clc.port, secure=False, **words)
    # It asks with each list of nodes; elastic addresses are not of the compute API.
    monkeypatch.setattr(driver, "ex_describe_addresses", lambda nodes: {n.id: [] for n in nodes})
    with monkeypatch.context() as patch:
        patch.setattr(driver, "region_name", front.REGION)  # it looks for zones by their region, and knows Amazon's alone
        assert {z.name for z in driver.ex_list_availability_zones()} == {"zone-a", "zone-b"}
    image = next(i for i in driver.list_images(ex_owner="self") if i.id == account.image)
    size = next(s for s in driver.list_sizes() if s.id == "t2.nano") if name == "EC2" else None
    driver.import_key_pair_from_file("mine", key_file)
    assert [k.name for k in driver.list_key_pairs()] == ["mine"]
    if size is None:
        from libcloud.compute.base import NodeSize
        size = NodeSize("t2.nano", "t2.nano", 512, 5, 0, 0, driver)
    if served("CreateTags"):  # it names what it made by tags
        made = driver.create_node(name="of libcloud", image=image, size=size, ex_keyname="mine", ex_userdata=USER_DATA,
                                  ex_metadata={"colour": "green"})
    else:
        monkeypatch.setattr(driver, "ex_create_tags", lambda resource, tags: True)
        made = driver.create_node(name="of libcloud", image=image, size=size, ex_keyname="mine", ex_userdata=USER_DATA)
    report(clc, made.id, "running")
    found = driver.list_nodes(ex_node_ids=[made.id])
    assert [n.state for n in found] == [NodeState.RUNNING] and found[0].extra["key_name"] == "mine"
    assert [n.id for n in driver.list_nodes(ex_filters={"key-name": "mine"})] == [made.id]
    assert driver.list_nodes(ex_filters={"key-name": "other"}) == []
    if served("DescribeTags"):
        assert driver.ex_describe_tags(made)["colour"] == "green"
        assert found[0].name == "of libcloud"
    assert driver.reboot_node(made)
    assert driver.stop_node(made)
    report(clc, made.id, "stopped")
    assert driver.start_node(made)
    assert driver.destroy_node(made)
    assert driver.delete_key_pair(driver.list_key_pairs()[0])


def test_fog(clc, account, key_file):
    if not shutil.which("ruby") or subprocess.run(["ruby", "-e", "require 'fog/aws'"], capture_output=True, check=False).returncode:
        pytest.skip("ruby-fog-aws is not installed")

    def fog(step, *words):
        done = subprocess.run(["ruby", os.path.join(HERE, "clients/fog.rb"), step, f"http://127.0.0.1:{clc.port}/services/compute",
                               account.key, account.secret, account.image, *words], capture_output=True, text=True, timeout=180,
                              check=False, env={**os.environ, "PUBLIC_KEY": key_file, **({"TAGS": "1"} if served("CreateTags") else {})})
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)
    said = fog("launch")
    one = said.pop("id")
    if served("CreateTags"):  # fog tags by a call of its own
        assert (said.pop("by_tag"), said.pop("tags")) == ([one], {"Name": "fogged", "colour": "grey"})
    else:
        del said["by_tag"], said["tags"]
    vpc, subnets, zone = said.pop("vpc"), said.pop("subnets"), said.pop("zone")
    assert vpc.startswith("vpc-") and len(subnets) == 2 and zone in ("zone-a", "zone-b")
    assert said == {
        "zones": ["zone-a", "zone-b"], "regions": [front.REGION], "images": [account.image], "key": "of fog", "keys": ["of fog"],
        "state": "pending", "by_type": [one], "by_nothing": [], "key_name": "of fog", "groups": ["default"], "console": one, "stopped": True}
    report(clc, one, "stopped")
    assert fog("end", one) == {"before": "stopped", "started": True, "rebooted": True, "ended": True, "after": "shutting-down",
                               "keys": []}
    said = fog("errors")
    assert "i-12345678" in said["not_found"] and "ami-12345678" in said["no_image"]
