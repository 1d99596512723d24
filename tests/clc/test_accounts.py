"""Two accounts see nothing of each other, and learn nothing from errors."""
from strict import check_ec2, check_error


def test_nothing_of_each_other(clc):
    a, b = clc.new_account("apart-a"), clc.new_account("apart-b")
    for n, account in enumerate((a, b)):
        account.image = clc.seed_image(account, f"ami-{n + 0xa0a0:017x}", name=f"image of {n}")
        check_ec2(clc.ec2(account, "CreateKeyPair", KeyName="key"), "CreateKeyPair")
        reply = check_ec2(clc.ec2(account, "RunInstances", ImageId=account.image, MinCount="1", MaxCount="1",
                                  KeyName="key", InstanceType="t2.nano"), "RunInstances")
        account.instance = reply.text("instanceId")
    seen = {}
    for account in (a, b):
        seen[account] = set()
        for action, names in (("DescribeInstances", ["instanceId", "reservationId", "networkInterfaceId", "macAddress"]),
                              ("DescribeImages", ["imageId"]), ("DescribeKeyPairs", ["keyPairId", "keyFingerprint"]),
                              ("DescribeVpcs", ["vpcId"]), ("DescribeSubnets", ["subnetId"]),
                              ("DescribeSecurityGroups", ["groupId"])):
            reply = check_ec2(clc.ec2(account, action), action)
            for name in names:
                assert reply.all(name), (action, name)
                seen[account] |= set(reply.all(name))
            assert set(reply.all("ownerId")) <= {account.id}
    assert not seen[a] & seen[b]


def test_ids_of_the_other(clc, account):
    other = clc.other
    other.image = clc.seed_image(other, "ami-00000000000000eee")
    i = clc.ec2(other, "RunInstances", ImageId=other.image, MinCount="1", MaxCount="1", InstanceType="t2.nano").text("instanceId")
    key = clc.ec2(other, "CreateKeyPair", KeyName="theirs").text("keyPairId")
    vpc, subnet, group = (clc.ec2(other, action).text(name) for action, name in (
        ("DescribeVpcs", "vpcId"), ("DescribeSubnets", "subnetId"), ("DescribeSecurityGroups", "groupId")))
    for action in ("DescribeInstances", "StartInstances", "StopInstances", "RebootInstances", "TerminateInstances"):
        check_error(clc.ec2(account, action, InstanceId__1=i), 400, "InvalidInstanceID.NotFound",
                    f"The instance ID '{i}' does not exist")
    check_error(clc.ec2(account, "GetConsoleOutput", InstanceId=i), 400, "InvalidInstanceID.NotFound")
    check_error(clc.ec2(account, "DescribeImages", ImageId__1=other.image), 400, "InvalidAMIID.NotFound")
    check_error(clc.ec2(account, "DeregisterImage", ImageId=other.image), 400, "InvalidAMIID.NotFound")
    check_error(clc.ec2(account, "DescribeKeyPairs", KeyPairId__1=key), 400, "InvalidKeyPair.NotFound")
    check_error(clc.ec2(account, "DescribeVpcs", VpcId__1=vpc), 400, "InvalidVpcID.NotFound")
    check_error(clc.ec2(account, "DescribeSubnets", SubnetId__1=subnet), 400, "InvalidSubnetID.NotFound")
    check_error(clc.ec2(account, "DescribeSecurityGroups", GroupId__1=group), 400, "InvalidGroup.NotFound")
    run = {"ImageId": account.image, "MinCount": "1", "MaxCount": "1", "InstanceType": "t2.nano"}
    for extra, code in (({"KeyName": "theirs"}, "InvalidKeyPair.NotFound"), ({"SubnetId": subnet}, "InvalidSubnetID.NotFound"),
                        ({"SecurityGroupId__1": group}, "InvalidGroup.NotFound"),
                        ({"ImageId": other.image}, "InvalidAMIID.NotFound")):
        check_error(clc.ec2(account, "RunInstances", **{**run, **extra}), 400, code)
    # Deleting by the other's id succeeds, as deleting what is not there does, and deletes nothing.
    check_ec2(clc.ec2(account, "DeleteKeyPair", KeyPairId=key), "DeleteKeyPair")
    assert clc.ec2(other, "DescribeKeyPairs", KeyName__1="theirs").text("keyPairId") == key
