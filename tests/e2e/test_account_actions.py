"""What an account asks about itself and its surroundings, through Amazon's client: tags, and what follows from them."""
import pytest
from cloud import ClientError, code_of


def test_tags(cloud):
    vpc = cloud.ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    cloud.ec2.create_tags(Resources=[vpc, cloud.image], Tags=[{"Key": "stack", "Value": "e2e"}])
    found = cloud.ec2.describe_tags(Filters=[{"Name": "key", "Values": ["stack"]}])["Tags"]
    assert {(t["ResourceId"], t["ResourceType"], t["Value"]) for t in found} == {
        (vpc, "vpc", "e2e"), (cloud.image, "image", "e2e")}
    with pytest.raises(ClientError) as problem:
        cloud.ec2.create_tags(Resources=[vpc, "subnet-12345678"], Tags=[{"Key": "x", "Value": "y"}])
    assert code_of(problem.value) == "InvalidSubnetID.NotFound"
    cloud.ec2.delete_tags(Resources=[vpc, cloud.image], Tags=[{"Key": "stack"}])
    assert cloud.ec2.describe_tags(Filters=[{"Name": "key", "Values": ["stack", "x"]}])["Tags"] == []


def test_what_an_account_may(cloud):
    ec2 = cloud.ec2
    attributes = {a["AttributeName"]: a["AttributeValues"][0]["AttributeValue"]
                  for a in ec2.describe_account_attributes()["AccountAttributes"]}
    assert attributes["default-vpc"] == ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    root = ec2.describe_principal_id_format()["Principals"][0]["Arn"]
    ec2.modify_id_format(Resource="instance", UseLongIds=True)
    ec2.modify_identity_id_format(PrincipalArn=root, Resource="instance", UseLongIds=True)
    for said in (ec2.describe_id_format(), ec2.describe_identity_id_format(PrincipalArn=root), ec2.describe_aggregate_id_format()):
        assert all(s["UseLongIds"] for s in said["Statuses"])
