"""Clients that people use, from Debian: aws CLI, boto3, boto 2, libcloud. Each as its users configure it."""
import json
import os
import subprocess

import boto3
import botocore.config
import front
import pytest
from botocore.exceptions import ClientError

CONFIG = botocore.config.Config(retries={"max_attempts": 0}, read_timeout=60)


@pytest.mark.parametrize("path", ["", "/", "/services/compute", "/services/compute/", "/services/Eucalyptus"])
def test_boto3(clc, account, path):
    ec2 = boto3.client("ec2", endpoint_url=f"http://127.0.0.1:{clc.port}{path}", region_name="us-east-1", config=CONFIG,
                       aws_access_key_id=account.key, aws_secret_access_key=account.secret)
    made = ec2.run_instances(ImageId=account.image, MinCount=2, MaxCount=2, InstanceType="t2.nano", UserData="#!/bin/sh",
                             TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}])
    ids = [i["InstanceId"] for i in made["Instances"]]
    seen = [i["InstanceId"] for page in ec2.get_paginator("describe_instances").paginate(
        Filters=[{"Name": "tag:a", "Values": ["b"]}], PaginationConfig={"PageSize": 5})
        for r in page["Reservations"] for i in r["Instances"]]
    assert sorted(seen) == sorted(ids)
    assert ec2.stop_instances(InstanceIds=ids)["StoppingInstances"][0]["CurrentState"] == {"Code": 64, "Name": "stopping"}
    assert ec2.terminate_instances(InstanceIds=ids)["TerminatingInstances"][1]["CurrentState"]["Code"] == 32
    assert ec2.describe_regions()["Regions"][0]["RegionName"] == front.REGION
    assert {z["ZoneName"] for z in ec2.describe_availability_zones()["AvailabilityZones"]} == {"zone-a", "zone-b"}
    key = ec2.create_key_pair(KeyName="k" + str(len(path)), KeyType="ed25519")
    assert key["KeyMaterial"].startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert ec2.describe_key_pairs()["KeyPairs"][0]["KeyPairId"] == key["KeyPairId"]
    ec2.delete_key_pair(KeyName=key["KeyName"])
    assert ec2.get_console_output(InstanceId=ids[0])["InstanceId"] == ids[0]
    with pytest.raises(ClientError) as e:
        ec2.describe_instances(InstanceIds=["i-12345678"])
    assert e.value.response["Error"] == {"Code": "InvalidInstanceID.NotFound",
                                         "Message": "The instance ID 'i-12345678' does not exist"}
    assert len(e.value.response["ResponseMetadata"]["RequestId"]) == 36


def test_boto3_resource_and_sts(clc, account):
    words = dict(region_name=front.REGION, config=CONFIG, aws_access_key_id=account.key,
                 aws_secret_access_key=account.secret)
    ec2 = boto3.resource("ec2", endpoint_url=f"http://127.0.0.1:{clc.port}", **words)
    instance = ec2.create_instances(ImageId=account.image, MinCount=1, MaxCount=1, InstanceType="t2.nano")[0]
    instance.reload()
    assert instance.state["Name"] == "pending" and instance.vpc.is_default and instance.launch_time
    assert [v.id for v in ec2.vpcs.all()] == [instance.vpc_id]
    sts = boto3.client("sts", endpoint_url=f"http://127.0.0.1:{clc.port}/services/Tokens", **words)
    assert sts.get_caller_identity()["Account"] == account.id


def aws(clc, account, *words, path="/services/compute"):
    env = {**os.environ, "AWS_ACCESS_KEY_ID": account.key, "AWS_SECRET_ACCESS_KEY": account.secret,
           "AWS_DEFAULT_REGION": front.REGION, "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1",
           "AWS_CONFIG_FILE": "/dev/null"}
    return subprocess.run(["/usr/bin/aws", "--endpoint-url", f"http://127.0.0.1:{clc.port}{path}", "--output", "json",
                           *words], env=env, capture_output=True, text=True, timeout=120, check=False)


def test_aws_cli(clc, account):
    made = aws(clc, account, "ec2", "run-instances", "--image-id", account.image, "--count", "2", "--instance-type", "t2.nano")
    assert made.returncode == 0, made.stderr
    assert len(json.loads(made.stdout)["Instances"]) == 2
    shown = aws(clc, account, "ec2", "describe-instances", "--query", "length(Reservations[0].Instances)")
    assert shown.stdout.strip() == "2", shown.stderr
    assert json.loads(aws(clc, account, "sts", "get-caller-identity", path="/services/Tokens").stdout)["Account"] == account.id
    bad = aws(clc, account, "ec2", "describe-images", "--image-ids", "ami-12345678")
    assert bad.returncode == 254 and "(InvalidAMIID.NotFound)" in bad.stderr


@pytest.mark.parametrize("old", [False, True], ids=["v4", "v2"])
def test_boto2(clc, account, old, monkeypatch):
    boto = pytest.importorskip("boto", reason="python3-boto is not installed")
    import boto.ec2.connection
    if old:
        monkeypatch.setattr(boto.ec2.connection.EC2Connection, "_required_auth_capability", lambda self: ["ec2"])
    connection = boto.connect_euca(host="127.0.0.1", port=clc.port, path="/services/Eucalyptus", is_secure=False,
                                   aws_access_key_id=account.key, aws_secret_access_key=account.secret)
    reservation = connection.run_instances(account.image, instance_type="t2.nano")
    found = connection.get_all_instances()
    assert [r.id for r in found] == [reservation.id]
    assert found[0].instances[0].state == "pending" and found[0].instances[0].state_code == 0
    assert connection.get_all_regions()[0].name == front.REGION
    assert {z.name for z in connection.get_all_zones()} == {"zone-a", "zone-b"}
    assert connection.create_key_pair("boto").material.startswith("-----BEGIN")
    assert [i.id for i in connection.get_all_images(owners=["self"])] == [account.image]
    assert connection.get_console_output(found[0].instances[0].id).instance_id == found[0].instances[0].id
    assert connection.terminate_instances([found[0].instances[0].id])[0].state == "shutting-down"
    with pytest.raises(boto.exception.EC2ResponseError) as e:
        connection.get_all_instances(["i-12345678"])
    assert e.value.error_code == "InvalidInstanceID.NotFound" and e.value.request_id


@pytest.mark.parametrize("name,words", [("EUCALYPTUS", {"path": "/services/Eucalyptus"}), ("EC2", {"region": "us-east-1"}),
                                        ("EC2", {"region": "us-east-1", "signature_version": "4"})])
def test_libcloud(clc, account, name, words, monkeypatch):
    pytest.importorskip("libcloud", reason="python3-libcloud is not installed")
    from libcloud.compute.providers import get_driver
    from libcloud.compute.types import Provider
    driver = get_driver(getattr(Provider, name))(account.key, account.secret, host="127.0.0.1", port=clc.port,
                                                 secure=False, **words)
    monkeypatch.setattr(driver, "ex_describe_addresses", lambda nodes: {n.id: [] for n in nodes})  # DescribeAddresses is no action of ours yet
    made = driver.connection.request(driver.path or "/", params={
        "Action": "RunInstances", "ImageId": account.image, "MinCount": "1", "MaxCount": "1", "InstanceType": "t2.nano"})
    assert made.status == 200
    nodes = driver.list_nodes()
    assert len(nodes) == 1 and nodes[0].extra["image_id"] == account.image
    assert [i.id for i in driver.list_images(ex_owner="self")] == [account.image]
    assert driver.destroy_node(nodes[0])
