"""Tags: of several resources of several kinds at once, with Amazon's limits, filters and faults."""
import signal

import pytest
from strict import check_ec2, check_error


def tag(clc, account, ids, tags, action="CreateTags", **words):
    for n, resource in enumerate(ids, 1):
        words[f"ResourceId__{n}"] = resource
    for n, (key, value) in enumerate(tags, 1):
        words[f"Tag__{n}__Key"] = key
        if value is not None:
            words[f"Tag__{n}__Value"] = value
    return clc.ec2(account, action, **words)


def untag(clc, account, ids, tags=()):
    return tag(clc, account, ids, tags, "DeleteTags")


def shown(clc, account, **words):
    """{resource id: {key: value}}, and the type of each."""
    reply = check_ec2(clc.ec2(account, "DescribeTags", **words), "DescribeTags")
    found = {}
    for resource, key, value in zip(reply.all("resourceId"), reply.all("key"), reply.all("value")):
        found.setdefault(resource, {})[key] = value or ""
    return found


def filters(*pairs):
    words = {}
    for n, (name, values) in enumerate(pairs, 1):
        words[f"Filter__{n}__Name"] = name
        for v, value in enumerate(values, 1):
            words[f"Filter__{n}__Value__{v}"] = value
    return words


@pytest.fixture
def things(clc, account):
    """One resource of each kind that the account has."""
    found = {"instance": clc.ec2(account, "RunInstances", ImageId=account.image, MinCount="1", MaxCount="1",
                                 InstanceType="t2.nano").text("instanceId"),
             "image": account.image, "key-pair": clc.ec2(account, "CreateKeyPair", KeyName="k", KeyType="ed25519").text("keyPairId"),
             "vpc": clc.ec2(account, "DescribeVpcs").text("vpcId"),
             "dhcp-options": clc.ec2(account, "DescribeVpcs").text("dhcpOptionsId"),
             "subnet": clc.ec2(account, "DescribeSubnets").text("subnetId"),
             "security-group": clc.ec2(account, "DescribeSecurityGroups").text("groupId")}
    found["network-interface"] = clc.ec2(account, "DescribeInstances").text("networkInterfaceId")
    return found


def test_each_kind(clc, account, things):
    check_ec2(tag(clc, account, things.values(), [("Name", "all"), ("empty", None)]), "CreateTags")
    assert shown(clc, account) == {i: {"Name": "all", "empty": ""} for i in things.values()}
    reply = clc.ec2(account, "DescribeTags")
    assert dict(zip(reply.all("resourceId"), reply.all("resourceType"))) == {i: kind for kind, i in things.items()}
    for action in ("DescribeInstances", "DescribeKeyPairs", "DescribeVpcs", "DescribeSubnets",
                   "DescribeSecurityGroups"):
        reply = check_ec2(clc.ec2(account, action, **filters(("tag:Name", ["all"]), ("tag:empty", [""]))), action)
        assert "all" in reply.all("value"), action
        assert not check_ec2(clc.ec2(account, action, **filters(("tag:Name", ["x"]))), action).all("value"), action
    # Another value takes the place of the first.
    check_ec2(tag(clc, account, [things["vpc"]], [("Name", "other")]), "CreateTags")
    assert shown(clc, account)[things["vpc"]] == {"Name": "other", "empty": ""}
    assert clc.rows("SELECT COUNT(*) FROM audit WHERE account_id = ? AND action = 'CreateTags'", account.id) == [(len(things) + 1,)]


ABSENT = {
    "i-12345678": ("InvalidInstanceID.NotFound", "The instance ID 'i-12345678' does not exist"),
    "ami-12345678": ("InvalidAMIID.NotFound", "The image id '[ami-12345678]' does not exist"),
    "aki-12345678": ("InvalidAMIID.NotFound", "The image id '[aki-12345678]' does not exist"),
    "key-0123456789abcdef0": ("InvalidKeyPair.NotFound", None),
    "vpc-12345678": ("InvalidVpcID.NotFound", "The vpc ID 'vpc-12345678' does not exist"),
    "dopt-12345678": ("InvalidDhcpOptionID.NotFound", None),
    "subnet-12345678": ("InvalidSubnetID.NotFound", "The subnet ID 'subnet-12345678' does not exist"),
    "sg-12345678": ("InvalidSecurityGroupID.NotFound", None), "eni-12345678": ("InvalidNetworkInterfaceID.NotFound", None),
    "vol-12345678": ("InvalidVolume.NotFound", "The volume 'vol-12345678' does not exist."),
    "snap-12345678": ("InvalidSnapshot.NotFound", "The snapshot 'snap-12345678' does not exist."),
    "rtb-12345678": ("InvalidRouteTableID.NotFound", None), "igw-12345678": ("InvalidInternetGatewayID.NotFound", None),
    "acl-12345678": ("InvalidNetworkAclID.NotFound", None), "vgw-12345678": ("InvalidVpnGatewayID.NotFound", None),
    "cgw-12345678": ("InvalidCustomerGatewayID.NotFound", None), "vpn-12345678": ("InvalidVpnConnectionID.NotFound", None),
    "pcx-12345678": ("InvalidVpcPeeringConnectionID.NotFound", None), "eipalloc-12345678": ("InvalidAllocationID.NotFound", None),
    "nat-12345678": ("NatGatewayNotFound", None), "vpce-12345678": ("InvalidVpcEndpointId.NotFound", None),
    "i-1": ("InvalidID", "The ID 'i-1' is not valid"), "r-12345678": ("InvalidID", None), "x": ("InvalidID", "The ID 'x' is not valid"),
    "I-12345678": ("InvalidID", None),
}


@pytest.mark.parametrize("absent", ABSENT)
def test_absent(clc, tagged, absent):
    """One id that is nothing fails all, whatever was named before it."""
    account, instance = tagged
    code, message = ABSENT[absent]
    before = shown(clc, account)
    check_error(tag(clc, account, [instance, absent], [("new", "x")]), 400, code, message)
    check_error(untag(clc, account, [instance, absent]), 400, code, message)
    assert shown(clc, account) == before == {instance: {"Name": "one"}}


@pytest.fixture(scope="module")
def tagged(clc):
    account = clc.new_account("tagged")
    image = clc.seed_image(account, "ami-0000000000007a699")
    instance = clc.ec2(account, "RunInstances", ImageId=image, MinCount="1", MaxCount="1", InstanceType="t2.nano",
                       TagSpecification__1__ResourceType="instance", TagSpecification__1__Tag__1__Key="Name",
                       TagSpecification__1__Tag__1__Value="one").text("instanceId")
    return account, instance


def test_of_another_account(clc, account, things):
    other = clc.new_account("tags-other")
    check_ec2(tag(clc, account, things.values(), [("a", "b")]), "CreateTags")
    for resource in things.values():
        for reply in (tag(clc, other, [resource], [("x", "y")]), untag(clc, other, [resource])):
            assert reply.status == 400 and reply.code.endswith(".NotFound"), reply
    assert shown(clc, other) == {}
    assert len(shown(clc, account)) == len(things)


def test_delete(clc, account, things):
    vpc, subnet = things["vpc"], things["subnet"]
    check_ec2(tag(clc, account, [vpc, subnet], [(k, f"v{k}") for k in "abcd"] + [("e", "")]), "CreateTags")
    # A value must be equal; a key alone is enough; what is not there is no error.
    check_ec2(untag(clc, account, [vpc, vpc], [("a", "x"), ("b", "vb"), ("c", None), ("d", ""), ("e", ""), ("z", None)]), "DeleteTags")
    assert shown(clc, account) == {vpc: {"a": "va", "d": "vd"}, subnet: {"a": "va", "b": "vb", "c": "vc", "d": "vd", "e": ""}}
    check_ec2(untag(clc, account, [subnet, vpc]), "DeleteTags")
    check_ec2(untag(clc, account, [subnet]), "DeleteTags")
    assert shown(clc, account) == {}
    check_error(untag(clc, account, [vpc], [("aws:x", None)]), 400, "InvalidParameterValue", "reserved")


def test_limits(clc, account, things):
    vpc = things["vpc"]
    check_ec2(tag(clc, account, [vpc], [("é" * 127, "ü" * 255)]), "CreateTags")
    check_error(tag(clc, account, [vpc], [("é" * 128, "")]), 400, "InvalidParameterValue")
    check_error(tag(clc, account, [vpc], [("x", "ü" * 256)]), 400, "InvalidParameterValue",
                "Tag value exceeds the maximum length of 255 characters")
    for key in ("", "aws:x", "AWS:Name"):
        check_error(tag(clc, account, [vpc], [(key, "x")]), 400, "InvalidParameterValue")
    check_error(tag(clc, account, [vpc], [("a", "1"), ("a", "2")]), 400, "InvalidParameterValue", "Duplicate tag key 'a' specified.")
    check_error(tag(clc, account, [vpc], [(f"k{n}", "") for n in range(51)]), 400, "TagLimitExceeded")
    # What is there counts; the same key again does not.
    check_ec2(tag(clc, account, [vpc], [(f"k{n}", "") for n in range(49)]), "CreateTags")
    check_error(tag(clc, account, [things["subnet"], vpc], [("one-more", "")]), 400, "TagLimitExceeded")
    check_ec2(tag(clc, account, [vpc], [("k0", "again"), ("k48", "")]), "CreateTags")
    assert len(shown(clc, account)[vpc]) == 50 and things["subnet"] not in shown(clc, account)


def test_filters(clc, account, things):
    vpc, subnet, instance = things["vpc"], things["subnet"], things["instance"]
    check_ec2(tag(clc, account, [vpc, subnet], [("stack", "prod"), ("owner", "a")]), "CreateTags")
    check_ec2(tag(clc, account, [instance], [("stack", "test"), ("owner", "prod")]), "CreateTags")
    for asked, found in ((("key", ["stack"]), {vpc: {"stack": "prod"}, subnet: {"stack": "prod"}, instance: {"stack": "test"}}),
                         (("resource-id", [vpc]), {vpc: {"stack": "prod", "owner": "a"}}),
                         (("resource-type", ["instance"]), {instance: {"stack": "test", "owner": "prod"}}),
                         (("value", ["prod"]), {vpc: {"stack": "prod"}, subnet: {"stack": "prod"}, instance: {"owner": "prod"}}),
                         (("tag:stack", ["prod"]), {vpc: {"stack": "prod"}, subnet: {"stack": "prod"}}),
                         (("tag-key", ["own*"]), {vpc: {"owner": "a"}, subnet: {"owner": "a"}, instance: {"owner": "prod"}}),
                         (("value", ["PROD"]), {})):
        assert shown(clc, account, **filters(asked)) == found, asked
    assert shown(clc, account, **filters(("key", ["owner"]), ("resource-type", ["vpc", "subnet"]))) == {
        vpc: {"owner": "a"}, subnet: {"owner": "a"}}


def test_pages(clc, account, things):
    check_ec2(tag(clc, account, [things["vpc"], things["subnet"]], [(f"k{n}", str(n)) for n in range(7)]), "CreateTags")
    seen, token, sizes = [], None, []
    while True:
        reply = check_ec2(clc.ec2(account, "DescribeTags", MaxResults="5", NextToken=token), "DescribeTags")
        seen += list(zip(reply.all("resourceId"), reply.all("key")))
        sizes.append(len(reply.all("key")))
        token = reply.text("nextToken")
        if token is None:
            break
    assert sizes == [5, 5, 4] and len(set(seen)) == 14
    check_error(clc.ec2(account, "DescribeTags", MaxResults="4"), 400, "InvalidParameterValue")


def test_guest_sees_them(clc, account, things):
    """Only an instance that shows its tags to its guest gives its zone something to do, and needs keys that a path can have."""
    instance = things["instance"]

    def told():
        return clc.rows("SELECT revision, to_put FROM instance WHERE instance_id = ?", instance)[0]
    clc.rows("UPDATE instance SET to_put = 0 WHERE instance_id = ?", instance)
    before = told()
    check_ec2(tag(clc, account, [instance], [("a b", "x")]), "CreateTags")
    assert told() == before
    clc.rows("UPDATE instance SET metadata_tags = 'enabled' WHERE instance_id = ?", instance)
    check_error(tag(clc, account, [instance], [("a/b", "x")]), 400, "InvalidParameterValue", "'a/b' is not a valid tag key")
    assert told() == before
    check_ec2(tag(clc, account, [instance, things["vpc"]], [("ab", "x")]), "CreateTags")
    assert told() == (before[0] + 1, 1)
    check_ec2(untag(clc, account, [instance], [("a b", None)]), "DeleteTags")
    assert told() == (before[0] + 2, 1)


def test_specifications(clc, account):
    """At creations: the resource type must be one that is created, once, with at least one tag."""
    def make(**words):
        return clc.ec2(account, "CreateKeyPair", KeyName="made", KeyType="ed25519", **words)
    spec = "TagSpecification__1__"
    check_error(make(**{spec + "ResourceType": "instance", spec + "Tag__1__Key": "x"}), 400, "InvalidParameterValue",
                "'instance' is not a valid taggable resource type for this operation.")
    check_error(make(**{spec + "Tag__1__Key": "x"}), 400, "InvalidParameterValue", "Tag specification resource type must have a value")
    check_error(make(**{spec + "ResourceType": "key-pair"}), 400, "InvalidParameterValue", "Tag specification must have at least one tag")
    check_error(make(**{spec + "ResourceType": "key-pair", spec + "Tag__1__Key": "x", "TagSpecification__2__ResourceType": "key-pair",
                        "TagSpecification__2__Tag__1__Key": "y"}), 400, "InvalidParameterValue", "more than once")
    assert check_ec2(make(**{spec + "ResourceType": "key-pair", spec + "Tag__1__Key": "x"}), "CreateKeyPair").all("key") == ["x"]


def test_survive_kill(clc, account, things):
    check_ec2(tag(clc, account, [things["vpc"]], [("kept", "yes")]), "CreateTags")
    clc.stop(signal.SIGKILL)
    clc.start()
    assert shown(clc, account) == {things["vpc"]: {"kept": "yes"}}
