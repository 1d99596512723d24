"""What an account asks about itself and its surroundings, through Amazon's client: tags, and what follows from them."""
import pytest
from botocore import xform_name
from cloud import ClientError, code_of

NOTHING_OF = [  # what the cloud has none of, and consoles and tools ask for all the same
    "DescribeReservedInstances", "DescribeReservedInstancesOfferings", "DescribeReservedInstancesListings",
    "DescribeReservedInstancesModifications", "DescribeHosts", "DescribeHostReservations",
    "DescribeHostReservationOfferings", "DescribeCapacityReservations", "DescribeScheduledInstances",
    "DescribeSpotInstanceRequests", "DescribeSpotPriceHistory", "DescribeSpotFleetRequests", "DescribeFleets",
    "DescribeExportTasks", "DescribeConversionTasks", "DescribeImportImageTasks", "DescribeImportSnapshotTasks",
    "DescribeFpgaImages", "DescribeExportImageTasks", "DescribeFastLaunchImages", "DescribeStoreImageTasks",
    "DescribeVolumes", "DescribeVolumeStatus", "DescribeVolumesModifications", "DescribeSnapshots",
    "DescribeReplaceRootVolumeTasks", "DescribeFlowLogs", "DescribePrefixLists", "DescribeManagedPrefixLists",
    "DescribeClassicLinkInstances", "DescribeMovingAddresses", "DescribeAddresses", "DescribeNatGateways",
    "DescribeVpcPeeringConnections", "DescribeVpnGateways", "DescribeVpnConnections", "DescribeCustomerGateways",
    "DescribeVpcEndpoints", "DescribeEgressOnlyInternetGateways", "DescribeElasticGpus",
    "DescribeInstanceEventWindows", "DescribeInstanceEventNotificationAttributes",
]


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


def test_what_there_is_none_of(cloud):
    for action in NOTHING_OF:
        said = getattr(cloud.ec2, xform_name(action))()
        assert not any(v for k, v in said.items() if k not in ("ResponseMetadata", "InstanceTagAttribute")), action
    with pytest.raises(ClientError) as problem:
        cloud.ec2.describe_spot_datafeed_subscription()
    assert code_of(problem.value) == "InvalidSpotDatafeed.NotFound"
    with pytest.raises(ClientError) as problem:
        cloud.ec2.describe_hosts(HostIds=["h-12345678"])
    assert code_of(problem.value) == "InvalidHostID.NotFound"


def test_where_types_are_offered(cloud):
    types = {t["InstanceType"] for t in cloud.ec2.describe_instance_types()["InstanceTypes"]}
    zones = cloud.ec2.describe_availability_zones()["AvailabilityZones"]
    for kind, places in (("region", {zones[0]["RegionName"]}), ("availability-zone", {z["ZoneName"] for z in zones}),
                         ("availability-zone-id", {z["ZoneId"] for z in zones})):
        said = cloud.ec2.describe_instance_type_offerings(LocationType=kind)["InstanceTypeOfferings"]
        assert {(o["InstanceType"], o["Location"]) for o in said} == {(t, p) for t in types for p in places}
