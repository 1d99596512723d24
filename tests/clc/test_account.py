"""What an account may have and how it sees the cloud: attributes, quotas, lengths of ids, regions and zones."""
import collections
import signal
import subprocess

import front
import pytest
from strict import check_ec2, check_error


def filters(**asked):
    words = {}
    for n, (name, value) in enumerate(asked.items(), 1):
        words[f"Filter__{n}__Name"] = name.replace("_", "-")
        words[f"Filter__{n}__Value__1"] = value
    return words


def attributes(clc, account, *names):
    words = {f"AttributeName__{n}": name for n, name in enumerate(names, 1)}
    reply = check_ec2(clc.ec2(account, "DescribeAccountAttributes", **words), "DescribeAccountAttributes")
    return dict(zip(reply.all("attributeName"), reply.all("attributeValue")))


def run(clc, account, **words):
    return clc.ec2(account, "RunInstances", **{"ImageId": account.image, "MinCount": "1", "MaxCount": "1",
                                               "InstanceType": "t2.nano", **words})


# -- attributes and quotas --

def test_attributes(clc, account):
    whole = attributes(clc, account)
    assert whole == {"supported-platforms": "VPC", "default-vpc": clc.ec2(account, "DescribeVpcs").text("vpcId"),
                     "max-instances": "100000", "vpc-max-security-groups-per-interface": "5", "max-elastic-ips": "0",
                     "vpc-max-elastic-ips": "0"}
    assert attributes(clc, account, "default-vpc", "max-instances") == {k: whole[k] for k in ("default-vpc", "max-instances")}
    check_error(clc.ec2(account, "DescribeAccountAttributes", AttributeName__1="x"), 400, "InvalidParameterValue")


def quotas(clc, account):
    return dict(line.split(" ", 1) for line in clc.mallee_admin("quota", "list", account.id).splitlines())


def refused(clc, *words):
    done = subprocess.run([clc.program("mallee-admin"), "--runtime-dir", f"{clc.directory}/run", "quota", *words],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and done.stdout == ""
    return done.stderr


def test_quota(clc, account):
    assert quotas(clc, account)["instances"] == "100000 default" and quotas(clc, account)["key-pairs"] == "5000 default"
    assert "instances 3\n" in clc.mallee_admin("quota", "set", account.id, "instances", "3")
    assert attributes(clc, account)["max-instances"] == "3"
    check_error(run(clc, account, MinCount="4", MaxCount="4"), 400, "InstanceLimitExceeded")
    assert len(check_ec2(run(clc, account, MaxCount="10"), "RunInstances").all("instanceId")) == 3
    # Acknowledged is durable; other accounts have their own.
    clc.stop(signal.SIGKILL)
    clc.start()
    assert quotas(clc, account)["instances"] == "3"
    name = clc.rows("SELECT name FROM account WHERE account_id = ?", account.id)[0][0]
    assert "instances 100000 default\n" in clc.mallee_admin("quota", "set", name, "instances", "default")
    check_ec2(run(clc, account), "RunInstances")


def test_quota_of_vcpus(clc, account):
    clc.mallee_admin("quota", "set", account.id, "vcpus", "5")
    assert len(check_ec2(run(clc, account, InstanceType="m1.large", MaxCount="9"), "RunInstances").all("instanceId")) == 2
    check_error(run(clc, account, InstanceType="m1.large"), 400, "VcpuLimitExceeded", "current vCPU limit of 5")
    check_ec2(run(clc, account), "RunInstances")
    check_error(run(clc, account), 400, "VcpuLimitExceeded")


def test_quota_of_key_pairs(clc, account):
    clc.mallee_admin("quota", "set", account.id, "key-pairs", "1")
    check_ec2(clc.ec2(account, "CreateKeyPair", KeyName="one", KeyType="ed25519"), "CreateKeyPair")
    check_error(clc.ec2(account, "CreateKeyPair", KeyName="two", KeyType="ed25519"), 400, "KeyPairLimitExceeded")
    clc.mallee_admin("quota", "set", account.id, "key-pairs", "0")
    check_ec2(clc.ec2(account, "DeleteKeyPair", KeyName="one"), "DeleteKeyPair")
    check_error(clc.ec2(account, "CreateKeyPair", KeyName="one", KeyType="ed25519"), 400, "KeyPairLimitExceeded")


def test_quota_refused(clc, account):
    assert "there is no quota 'wishes'" in refused(clc, "set", account.id, "wishes", "1")
    assert "there is no account '000000000000'" in refused(clc, "set", "000000000000", "instances", "1")
    assert "there is no account 'nobody'" in refused(clc, "list", "nobody")
    for value in ("x", "-1", "1.5", "", "1000000001"):
        assert "number" in refused(clc, "set", account.id, "--", "instances", value) or value == "", value
    assert "default" in quotas(clc, account)["instances"]


def test_groups_per_interface(clc, account):
    words = {f"SecurityGroupId__{n}": f"sg-{n:08x}" for n in range(3)} | {f"SecurityGroup__{n}": f"group-{n}" for n in range(3)}
    check_error(run(clc, account, **words), 400, "SecurityGroupsPerInterfaceLimitExceeded")


# -- lengths of ids --

def test_id_formats(clc, account):
    root = f"arn:aws:iam::{account.id}:root"
    whole = check_ec2(clc.ec2(account, "DescribeIdFormat"), "DescribeIdFormat")
    assert {"instance", "image", "vpc", "volume"} < set(whole.all("resource")) and set(whole.all("useLongIds")) == {"true"}
    assert check_ec2(clc.ec2(account, "DescribeIdFormat", Resource="vpc"), "DescribeIdFormat").all("resource") == ["vpc"]
    for action, words in (("DescribeIdFormat", {}), ("DescribeIdentityIdFormat", {"PrincipalArn": root}),
                          ("ModifyIdFormat", {"UseLongIds": "true"}),
                          ("ModifyIdentityIdFormat", {"UseLongIds": "true", "PrincipalArn": root})):
        check_error(clc.ec2(account, action, Resource="wish", **words), 400, "InvalidResourceType.Unknown")
    for arn in (root, f"arn:aws:iam::{account.id}:user/admin"):
        reply = check_ec2(clc.ec2(account, "DescribeIdentityIdFormat", PrincipalArn=arn), "DescribeIdentityIdFormat")
        assert reply.all("resource") == whole.all("resource")
        check_ec2(clc.ec2(account, "ModifyIdentityIdFormat", PrincipalArn=arn, Resource="all-current", UseLongIds="false"),
                  "ModifyIdentityIdFormat")
    check_ec2(clc.ec2(account, "ModifyIdentityIdFormat", PrincipalArn="all", Resource="vpc", UseLongIds="true"), "ModifyIdentityIdFormat")
    for arn in ("x", "all", "arn:aws:iam::000000000000:root", f"arn:aws:iam::{account.id}:user/nobody", f"arn:aws:iam::{account.id}:user/"):
        check_error(clc.ec2(account, "DescribeIdentityIdFormat", PrincipalArn=arn), 400, "InvalidTargetArn.Unknown")
    check_error(clc.ec2(account, "ModifyIdentityIdFormat", PrincipalArn="x", Resource="vpc", UseLongIds="true"), 400,
                "InvalidTargetArn.Unknown")
    # Accepted, and ids stay long.
    check_ec2(clc.ec2(account, "ModifyIdFormat", Resource="vpc", UseLongIds="false"), "ModifyIdFormat")
    assert check_ec2(clc.ec2(account, "DescribeAggregateIdFormat"), "DescribeAggregateIdFormat").text("useLongIdsAggregated") == "true"
    reply = check_ec2(clc.ec2(account, "DescribePrincipalIdFormat", Resource__1="vpc", Resource__2="image"), "DescribePrincipalIdFormat")
    assert (reply.all("arn"), reply.all("resource"), reply.all("useLongIds")) == ([root], ["vpc", "image"], ["true"] * 2)
    assert clc.rows("SELECT COUNT(*) FROM audit WHERE account_id = ? AND action LIKE 'Modify%IdFormat'", account.id) == [(4,)]


# -- regions and zones --

def test_regions(clc, account):
    reply = check_ec2(clc.ec2(account, "DescribeRegions", AllRegions="true"), "DescribeRegions")
    assert (reply.all("regionName"), reply.text("regionEndpoint"), reply.text("optInStatus")) == (
        [front.REGION], f"127.0.0.1:{clc.port}", "opt-in-not-required")
    for asked, count in (({"region_name": front.REGION}, 1), ({"region_name": "x"}, 0), ({"endpoint": "127.*"}, 1),
                         ({"opt_in_status": "opted-in"}, 0)):
        assert len(clc.ec2(account, "DescribeRegions", **filters(**asked)).all("regionName")) == count
    check_error(clc.ec2(account, "DescribeRegions", RegionName__1=front.REGION, RegionName__2="us-east-1"), 400,
                "InvalidParameterValue", "Invalid region name: 'us-east-1'")


def zones(clc, account, **words):
    reply = check_ec2(clc.ec2(account, "DescribeAvailabilityZones", **words), "DescribeAvailabilityZones")
    return dict(zip(reply.all("zoneId"), reply.all("zoneName")))


def test_zones(clc, account):
    both = {"m1-az1": "zone-a", "m1-az2": "zone-b"}
    assert zones(clc, account, AllAvailabilityZones="true") == both
    assert zones(clc, account, ZoneName__1="zone-b") == zones(clc, account, ZoneId__1="m1-az2") == {"m1-az2": "zone-b"}
    for asked, found in (({"zone_id": "m1-az1"}, {"m1-az1": "zone-a"}), ({"zone_name": "zone-*"}, both), ({"state": "available"}, both),
                         ({"state": "unavailable"}, {}), ({"message": "x"}, {}), ({"zone_type": "availability-zone"}, both),
                         ({"zone_type": "local-zone"}, {}), ({"group_name": front.REGION}, both), ({"region_name": front.REGION}, both),
                         ({"opt_in_status": "opt-in-not-required"}, both), ({"parent_zone_id": "*"}, {})):
        assert zones(clc, account, **filters(**asked)) == found, asked
    check_error(clc.ec2(account, "DescribeAvailabilityZones", ZoneName__1="zone-x"), 400, "InvalidParameterValue",
                "Invalid availability zone: [zone-x]")
    check_error(clc.ec2(account, "DescribeAvailabilityZones", ZoneId__1="zone-a", **filters(state="available")), 400,
                "InvalidParameterValue", "Invalid availability zone-id: [zone-a]")


@pytest.fixture(scope="module")
def shuffled():
    daemon = front.Clc()
    daemon.configure(zone_names="shuffled")
    for n, name in enumerate(("east", "north", "west")):
        daemon.seed_zone(name, vcpus=4 if name == "east" else 64, third=16 * n)
    daemon.start()
    daemon.accounts = [daemon.new_account(f"one-of-{n}") for n in range(12)]
    yield daemon
    daemon.close()


def test_shuffled_names(shuffled):
    seen = [zones(shuffled, a) for a in shuffled.accounts]
    for names in seen:
        assert sorted(names) == ["m1-az1", "m1-az2", "m1-az3"] and sorted(names.values()) == ["east", "north", "west"]
    assert len({tuple(n.items()) for n in seen}) > 2
    # The first account was there before the zones: it knows them by their own names.
    assert zones(shuffled, shuffled.admin) == {"m1-az1": "east", "m1-az2": "north", "m1-az3": "west"}
    shuffled.stop()
    shuffled.start()
    assert [zones(shuffled, a) for a in shuffled.accounts] == seen
    # A zone that comes later changes nothing of what is known.
    shuffled.seed_zone("south", third=48)
    for account, before in zip(shuffled.accounts, seen):
        assert zones(shuffled, account) == {**before, "m1-az4": "south"}
    assert zones(shuffled, shuffled.new_account("later")) != {**seen[0], "m1-az4": "x"}


def test_shuffled_everywhere(shuffled):
    """By any name: what is asked for, where it is, what is shown, filtered and refused are the same zone."""
    used = collections.Counter()
    for number, account in enumerate(shuffled.accounts):
        account.image = shuffled.seed_image(account, f"ami-{number + 1000:017x}")
        known = zones(shuffled, account)
        for zone_id, name in known.items():
            if zone_id == "m1-az4":
                continue
            subnet = check_ec2(shuffled.ec2(account, "DescribeSubnets", **filters(availability_zone_id=zone_id)), "DescribeSubnets")
            assert subnet.text("availabilityZone") == name
            assert shuffled.ec2(account, "DescribeSubnets", **filters(availability_zone=name)).all("subnetId") == subnet.all("subnetId")
            if zone_id == "m1-az1":
                reply = run(shuffled, account, Placement__AvailabilityZone=name, MinCount="9", MaxCount="9")
                check_error(reply, 500, "InsufficientInstanceCapacity", f"requested ({name})")
                continue
            reply = check_ec2(run(shuffled, account, Placement__AvailabilityZone=name), "RunInstances")
            assert (reply.text("availabilityZone"), reply.text("subnetId")) == (name, subnet.text("subnetId"))
            real = shuffled.rows("SELECT zone FROM instance WHERE instance_id = ?", reply.text("instanceId"))[0][0]
            assert real == {"m1-az2": "north", "m1-az3": "west"}[zone_id]
            used[real == name] += 1
            found = check_ec2(shuffled.ec2(account, "DescribeInstances", **filters(availability_zone=name)), "DescribeInstances")
            assert found.all("instanceId") == [reply.text("instanceId")] and found.text("availabilityZone") == name
            others = [n for n in known.values() if n not in (name, "south")]
            check_error(run(shuffled, account, SubnetId=subnet.text("subnetId"), Placement__AvailabilityZone=others[0]), 400,
                        "InvalidParameterValue", f"is not in the availability zone '{others[0]}'")
    assert used[False] > 2


# -- where types are offered --

def offerings(clc, account, **words):
    reply = check_ec2(clc.ec2(account, "DescribeInstanceTypeOfferings", **words), "DescribeInstanceTypeOfferings")
    return list(zip(reply.all("instanceType"), reply.all("locationType"), reply.all("location"))), reply.text("nextToken")


def test_offerings(clc, account):
    types = clc.ec2(account, "DescribeInstanceTypes").all("instanceType")
    places = {"region": [front.REGION], "availability-zone": ["zone-a", "zone-b"], "availability-zone-id": ["m1-az1", "m1-az2"]}
    for kind, where in places.items():
        found, _ = offerings(clc, account, LocationType=kind)
        assert sorted(found) == sorted((t, kind, p) for t in types for p in where)
    assert offerings(clc, account)[0] == offerings(clc, account, LocationType="region")[0]
    found, _ = offerings(clc, account, LocationType="availability-zone", Filter__1__Name="location", Filter__1__Value__1="zone-b",
                         Filter__2__Name="instance-type", Filter__2__Value__1="t2.*")
    assert {f[0][:3] for f in found} == {"t2."} and {f[2] for f in found} == {"zone-b"}
    check_error(clc.ec2(account, "DescribeInstanceTypeOfferings", LocationType="planet"), 400, "InvalidParameterValue")
    paged, token = [], None
    while True:
        page, token = offerings(clc, account, LocationType="availability-zone-id", MaxResults="5", NextToken=token)
        paged += page
        assert len(page) <= 5
        if not token:
            break
    assert paged == offerings(clc, account, LocationType="availability-zone-id")[0]


def test_offerings_by_the_accounts_own_names(shuffled):
    for account in shuffled.accounts[:4]:
        found, _ = offerings(shuffled, account, LocationType="availability-zone", Filter__1__Name="instance-type",
                             Filter__1__Value__1="t2.nano")
        assert [f[2] for f in found] == list(zones(shuffled, account).values())
