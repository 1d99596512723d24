"""Actions that no other story needs: each called once for what it is for."""
import base64
import hashlib
import subprocess

import pytest


def make_key(tmp_path, kind, *more):
    path = tmp_path / kind
    subprocess.run(["ssh-keygen", "-q", "-t", kind, *more, "-N", "", "-C", "ann@example.net", "-f", str(path)], check=True)
    return path, (tmp_path / f"{kind}.pub").read_text()


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_an_imported_key_is_shown_with_amazons_fingerprint_and_goes(cloud, tmp_path, kind):
    path, line = make_key(tmp_path, kind, *(["-b", "2048"] if kind == "rsa" else []))
    name = f"imported-{kind}"
    imported = cloud.ec2.import_key_pair(KeyName=name, PublicKeyMaterial=line.encode())
    try:
        if kind == "rsa":  # MD5 of the public key in DER
            der = subprocess.run(["ssh-keygen", "-e", "-m", "pkcs8", "-f", str(path) + ".pub"], capture_output=True,
                                 text=True, check=True).stdout
            der = base64.b64decode("".join(der.splitlines()[1:-1]))
            digest = hashlib.md5(der).hexdigest()
            wanted = ":".join(digest[i:i + 2] for i in range(0, 32, 2))
        else:              # SHA-256 of the key as SSH sends it
            wanted = base64.b64encode(hashlib.sha256(base64.b64decode(line.split()[1])).digest()).decode()
        assert imported["KeyFingerprint"].rstrip("=") == wanted.rstrip("=")
        found = cloud.ec2.describe_key_pairs(KeyNames=[name])["KeyPairs"]
        assert [(k["KeyName"], k["KeyFingerprint"]) for k in found] == [(name, imported["KeyFingerprint"])]
    finally:
        cloud.ec2.delete_key_pair(KeyName=name)
    assert name not in [k["KeyName"] for k in cloud.ec2.describe_key_pairs()["KeyPairs"]]


def test_instance_types_come_in_pages_and_by_filter(cloud):
    everything = cloud.ec2.describe_instance_types()["InstanceTypes"]
    names = [t["InstanceType"] for t in everything]
    assert "t2.micro" in names and len(set(names)) == len(names)
    assert all(t["VCpuInfo"]["DefaultVCpus"] >= 1 and t["MemoryInfo"]["SizeInMiB"] >= 1 for t in everything)
    paged = [t["InstanceType"] for page in cloud.ec2.get_paginator("describe_instance_types").paginate(
        PaginationConfig={"PageSize": 5}) for t in page["InstanceTypes"]]
    assert sorted(paged) == sorted(names)
    one = cloud.ec2.describe_instance_types(Filters=[{"Name": "instance-type", "Values": ["t2.micro"]}])
    assert [t["InstanceType"] for t in one["InstanceTypes"]] == ["t2.micro"]


def test_the_default_network_hangs_together(cloud):
    zones = [z["ZoneName"] for z in cloud.ec2.describe_availability_zones()["AvailabilityZones"]]
    vpc, = cloud.ec2.describe_vpcs(Filters=[{"Name": "isDefault", "Values": ["true"]}])["Vpcs"]
    of_vpc = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    subnets = cloud.ec2.describe_subnets(Filters=of_vpc)["Subnets"]
    assert sorted(s["AvailabilityZone"] for s in subnets) == sorted(zones)
    groups = cloud.ec2.describe_security_groups(Filters=of_vpc)["SecurityGroups"]
    assert [g["GroupName"] for g in groups] == ["default"]
    assert {g["OwnerId"] for g in groups} == {cloud.sts.get_caller_identity()["Account"]}


def test_the_region_is_named_once_with_its_endpoint(cloud):
    region, = cloud.ec2.describe_regions()["Regions"]
    assert region["RegionName"] == cloud.variables["AWS_DEFAULT_REGION"]
    assert region["Endpoint"]
