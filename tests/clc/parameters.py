"""What tests need to know of single parameters beyond what the definitions and Amazon's model say: tables only.

Paths are those of the Query API without list indices: "Placement.AvailabilityZone". An action "*" is any.
"""
import base64

from world import MANY, OPERATIONS


class Refused:
    """A value that shows that it is looked at by the error that it gets: what a name stands for, most often."""

    def __init__(self, value, code):
        self.value, self.code = value, code


def encoded(text):
    return base64.b64encode(text.encode()).decode()


PUBLIC_KEY = encoded("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF1kT8tZWy6ZbNGQ0OL1ys1ZdsZBuJZfH2vRpfGUWS3W me")
OTHER_KEY = encoded("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF1kT8tZWy6ZbNGQ0OL1ys1ZdsZBuJZfH2vRpfGUWS3X me")

def template(world):
    made = world.must("CreateLaunchTemplate", {
        "LaunchTemplateName": f"template-{next(world.serial)}", "LaunchTemplateData.ImageId": world.resident["image"],
        "LaunchTemplateData.InstanceType": "t2.nano"})
    found = made.text("launchTemplateId")
    world.must("CreateLaunchTemplateVersion", {"LaunchTemplateId": found, "LaunchTemplateData.InstanceType": "t2.micro",
                                               "VersionDescription": "the second"})
    world.must("CreateLaunchTemplateVersion", {"LaunchTemplateId": found, "LaunchTemplateData.InstanceType": "m1.small"})
    return found


def bundle(world):
    return world.must("BundleInstance", {"InstanceId": world.new_instance(), "Storage.S3.Bucket": "bundles",
                                         "Storage.S3.Prefix": f"disk-{next(world.serial)}"}).text("bundleId")


def placement_group(world):
    name = f"group-{next(world.serial)}"
    if "CreatePlacementGroup" in OPERATIONS:
        world.must("CreatePlacementGroup", {"GroupName": name, "Strategy": "partition", "PartitionCount": "3"})
    return name


def deprecated(world):
    image = world.new_image()
    world.must("EnableImageDeprecation", {"ImageId": image, "DeprecateAt": "2035-01-01T00:00:00.000Z"})
    return image


def fill(world):
    """What filters and pages of other nouns than world.py's look at: many of each, some with tags."""
    def tags(kind, i):
        return {"TagSpecification.1.ResourceType": kind, "TagSpecification.1.Tag.1.Key": "Name",
                "TagSpecification.1.Tag.1.Value": f"name {i}"}
    if "ModifyImageAttribute" in OPERATIONS:
        world.must("ModifyImageAttribute", {"ImageId": world.new_image(), "Description.Value": "described"})
    for _ in range(2 if "BundleInstance" in OPERATIONS else 0):
        bundle(world)
    for i in range(MANY if "CreatePlacementGroup" in OPERATIONS else 0):
        world.must("CreatePlacementGroup", {"GroupName": f"filled {i}", "Strategy": ("spread", "cluster")[i % 2],
                                            **(tags("placement-group", i) if i < 3 else {})})
    for i in range(MANY if "CreateLaunchTemplate" in OPERATIONS else 0):
        world.must("CreateLaunchTemplate", {"LaunchTemplateName": f"filled-{i}", "LaunchTemplateData.InstanceType": "t2.nano",
                                            **(tags("launch-template", i) if i < 3 else {})})
    if "CreateLaunchTemplateVersion" in OPERATIONS:
        world.must("CreateLaunchTemplateVersion", {
            "LaunchTemplateId": world.resident["template"], **{f"LaunchTemplateData.{k}": v for k, v in {
                "EbsOptimized": "false", "KernelId": world.resident["kernel"], "RamDiskId": world.resident["ramdisk"],
                "MetadataOptions.HttpTokens": "required", "MetadataOptions.HttpEndpoint": "enabled"}.items()}})


def template_name(world):
    return world.must("DescribeLaunchTemplates", {"LaunchTemplateId.1": template(world)}).text("launchTemplateName")


def free_address(world):
    """Instances that name none have taken theirs at random from all of the subnet."""
    while True:
        n = next(world.serial)
        address = f"172.31.{8 + n // 250 % 7}.{n % 250 + 4}"
        held = world.must("DescribeInstances", {"Filter.1.Name": "private-ip-address", "Filter.1.Value.1": address})
        if not held.all("privateIpAddress"):
            return address


# Things that a request may name in braces, beside those of world.py: name, how it is made.
MAKERS = {
    "bundle": bundle, "template": template, "template_name": template_name, "placement_group": placement_group, "deprecated": deprecated,
    "root": lambda w: f"arn:aws:iam::{w.account.id}:root",
    "key_id": lambda w: w.must("DescribeKeyPairs", {"KeyName.1": w.new_key()}).text("keyPairId"),
    "reservation": lambda w: w.must("DescribeInstances", {}).text("reservationId"),
    "address": free_address,
}

# The least that an action needs to succeed. Without a row: nothing.
BASE = {
    "RunInstances": {"ImageId": "{image}", "MinCount": "1", "MaxCount": "1", "InstanceType": "t2.nano"},
    "StartInstances": {"InstanceId.1": "{stopped}"}, "StopInstances": {"InstanceId.1": "{instance}"},
    "RebootInstances": {"InstanceId.1": "{instance}"}, "TerminateInstances": {"InstanceId.1": "{instance}"},
    "GetConsoleOutput": {"InstanceId": "{instance}"}, "GetPasswordData": {"InstanceId": "{instance}"},
    "GetConsoleScreenshot": {"InstanceId": "{instance}"},
    "MonitorInstances": {"InstanceId.1": "{instance}"}, "UnmonitorInstances": {"InstanceId.1": "{instance}"},
    "ReportInstanceStatus": {"InstanceId.1": "{instance}", "Status": "impaired", "ReasonCode.1": "other"},
    "DescribeInstanceAttribute": {"InstanceId": "{instance}", "Attribute": "instanceType"},
    "ModifyInstanceAttribute": {"InstanceId": "{stopped}", "DisableApiTermination.Value": "true"},
    "ResetInstanceAttribute": {"InstanceId": "{stopped}", "Attribute": "sourceDestCheck"},
    "ModifyInstanceMetadataOptions": {"InstanceId": "{instance}", "HttpTokens": "required"},
    "ModifyInstanceMetadataDefaults": {"HttpTokens": "no-preference"},
    "ModifyInstanceMaintenanceOptions": {"InstanceId": "{instance}"},
    "ModifyInstanceCreditSpecification": {"InstanceCreditSpecification.1.InstanceId": "{instance}",
                                          "InstanceCreditSpecification.1.CpuCredits": "standard"},
    "ConfirmProductInstance": {"InstanceId": "{instance}", "ProductCode": "774F4FF8"},
    "AssociateIamInstanceProfile": {"InstanceId": "{instance}", "IamInstanceProfile.Name": "none"},
    "DisassociateIamInstanceProfile": {"AssociationId": "iip-assoc-12345678"},
    "ReplaceIamInstanceProfileAssociation": {"AssociationId": "iip-assoc-12345678", "IamInstanceProfile.Name": "none"},
    "ModifyInstancePlacement": {"InstanceId": "{stopped}", "GroupName": "{placement_group}"},
    "RegisterImage": {"Name": "an image {serial}", "ImageLocation": "bucket/key"}, "DeregisterImage": {"ImageId": "{image}"},
    "CopyImage": {"SourceImageId": "{image}", "SourceRegion": "{region}", "Name": "copied {serial}"},
    "CreateImage": {"InstanceId": "{instance}", "Name": "created {serial}"},
    "DescribeImageAttribute": {"ImageId": "{image}", "Attribute": "description"},
    "ModifyImageAttribute": {"ImageId": "{image}", "Description.Value": "described"},
    "ResetImageAttribute": {"ImageId": "{image}", "Attribute": "launchPermission"},
    "EnableImageDeprecation": {"ImageId": "{image}", "DeprecateAt": "2035-01-01T00:00:00.000Z"},
    "DisableImageDeprecation": {"ImageId": "{deprecated}"},
    "CreateKeyPair": {"KeyName": "made {serial}", "KeyType": "ed25519"},  # the other kind takes long
    "DeleteKeyPair": {"KeyName": "{key}"},
    "ImportKeyPair": {"KeyName": "brought {serial}", "PublicKeyMaterial": PUBLIC_KEY},
    "ModifyIdFormat": {"Resource": "instance", "UseLongIds": "true"}, "DescribeIdentityIdFormat": {"PrincipalArn": "{root}"},
    "ModifyIdentityIdFormat": {"PrincipalArn": "{root}", "Resource": "instance", "UseLongIds": "true"},
    "CreateTags": {"ResourceId.1": "{instance}", "Tag.1.Key": "colour", "Tag.1.Value": "red"},
    "DeleteTags": {"ResourceId.1": "{instance}", "Tag.1.Key": "Name"},
    "CreatePlacementGroup": {"GroupName": "made {serial}", "Strategy": "spread"},
    "DeletePlacementGroup": {"GroupName": "{placement_group}"},
    "CreateLaunchTemplate": {"LaunchTemplateName": "made-{serial}", "LaunchTemplateData.InstanceType": "t2.nano"},
    "CreateLaunchTemplateVersion": {"LaunchTemplateId": "{template}", "LaunchTemplateData.InstanceType": "t2.micro"},
    "DeleteLaunchTemplate": {"LaunchTemplateId": "{template}"},
    "DeleteLaunchTemplateVersions": {"LaunchTemplateId": "{template}", "LaunchTemplateVersion.1": "2"},
    "DescribeLaunchTemplateVersions": {"LaunchTemplateId": "{template}"},
    "BundleInstance": {"InstanceId": "{instance}", "Storage.S3.Bucket": "bundles", "Storage.S3.Prefix": "disk-{serial}"},
    "CancelBundleTask": {"BundleId": "{bundle}"},
    "GetLaunchTemplateData": {"InstanceId": "{instance}"},
    "ModifyLaunchTemplate": {"LaunchTemplateId": "{template}", "SetDefaultVersion": "2"},
}

# Other requests for parameters that exclude what the row above has: for them and all below them.
BASE_OF = {
    ("DeleteKeyPair", "KeyPairId"): {"KeyPairId": "{key_id}"},
    ("ModifyInstancePlacement", "GroupId"): {"InstanceId": "{stopped}", "Tenancy": "default"},
    **{("ModifyImageAttribute", name): {"ImageId": "{image}", **request} for name, request in {
        "Attribute": {"Attribute": "description", "Value": "described"},
        "Value": {"Attribute": "description", "Value": "described"},
        "LaunchPermission.Add.Group": {"LaunchPermission.Add.1.Group": "all"},
        "LaunchPermission.Add.UserId": {"LaunchPermission.Add.1.UserId": "{account}"},
        "LaunchPermission.Remove.Group": {"LaunchPermission.Remove.1.Group": "all"},
        "LaunchPermission.Remove.UserId": {"LaunchPermission.Remove.1.UserId": "{account}"},
        "OperationType": {"OperationType": "add", "UserGroup.1": "all"},
        "UserId": {"OperationType": "add", "UserId.1": "{account}"},
        "UserGroup": {"OperationType": "add", "UserGroup.1": "all"},
        "ImdsSupport": {"ImdsSupport.Value": "v2.0"}}.items()},
    **{("ModifyInstanceAttribute", name): {"InstanceId": "{stopped}", **request} for name, request in {
        "Attribute": {"Attribute": "disableApiTermination", "Value": "true"},
        "Value": {"Attribute": "disableApiTermination", "Value": "true"},
        "InstanceType": {"InstanceType.Value": "t2.micro"}, "UserData": {"UserData.Value": encoded("other")},
        "InstanceInitiatedShutdownBehavior": {"InstanceInitiatedShutdownBehavior.Value": "terminate"},
        "SourceDestCheck": {"SourceDestCheck.Value": "false"}, "GroupId": {"GroupId.1": "{group}"},
        "EbsOptimized": {"EbsOptimized.Value": "false"}, "EnaSupport": {"EnaSupport.Value": "false"},
        "DisableApiStop": {"DisableApiStop.Value": "false"},
        "Kernel": {"Kernel.Value": "{kernel}"}, "Ramdisk": {"Ramdisk.Value": ""}}.items()},
}

# Templates are named by id or by name; types are named or described.
REQUIREMENTS = {"LaunchTemplateData.InstanceRequirements.VCpuCount.Min": "1",
                "LaunchTemplateData.InstanceRequirements.MemoryMiB.Min": "128"}
for action, request in (("CreateLaunchTemplateVersion", {"LaunchTemplateData.InstanceType": "t2.micro"}), ("DeleteLaunchTemplate", {}),
                        ("DeleteLaunchTemplateVersions", {"LaunchTemplateVersion.1": "2"}), ("DescribeLaunchTemplateVersions", {}),
                        ("ModifyLaunchTemplate", {"SetDefaultVersion": "2"})):
    BASE_OF[(action, "LaunchTemplateName")] = {"LaunchTemplateName": "{template_name}", **request}
BASE_OF[("CreateLaunchTemplate", "LaunchTemplateData.InstanceRequirements")] = {"LaunchTemplateName": "made-{serial}", **REQUIREMENTS}
BASE_OF[("CreateLaunchTemplateVersion", "LaunchTemplateData.InstanceRequirements")] = {"LaunchTemplateId": "{template}", **REQUIREMENTS}

# What goes with a parameter or with all below it: other parameters of the request.
CONTEXT = {
    **{(action, "LaunchTemplateData.ElasticInferenceAccelerator"): {"LaunchTemplateData.ElasticInferenceAccelerator.1.Type": "eia1.medium"}
       for action in ("CreateLaunchTemplate", "CreateLaunchTemplateVersion")},
    **{(action, "LaunchTemplateData.TagSpecification"): {
        "LaunchTemplateData.TagSpecification.1.ResourceType": "instance", "LaunchTemplateData.TagSpecification.1.Tag.1.Key": "k",
        "LaunchTemplateData.TagSpecification.1.Tag.1.Value": "v"} for action in ("CreateLaunchTemplate", "CreateLaunchTemplateVersion")},
    ("CreateLaunchTemplateVersion", "ResolveAlias"): {"LaunchTemplateData.ImageId": "ami-12345678"},
    ("RunInstances", "LaunchTemplate.LaunchTemplateId"): {"LaunchTemplate.LaunchTemplateId": "{template}"},
    ("RunInstances", "LaunchTemplate.Version"): {"LaunchTemplate.LaunchTemplateId": "{template}"},
    ("*", "TagSpecification"): {"TagSpecification.1.ResourceType": "{taggable}", "TagSpecification.1.Tag.1.Key": "k",
                                "TagSpecification.1.Tag.1.Value": "v"},
    ("RunInstances", "NetworkInterface"): {"NetworkInterface.1.DeviceIndex": "0"},
    ("RunInstances", "PrivateIpAddress"): {"SubnetId": "{subnet}"},
    ("RunInstances", "NetworkInterface.PrivateIpAddress"): {"NetworkInterface.1.SubnetId": "{subnet}"},
    ("RunInstances", "NetworkInterface.PrivateIpAddresses"): {
        "NetworkInterface.1.SubnetId": "{subnet}", "NetworkInterface.1.PrivateIpAddresses.1.Primary": "true",
        "NetworkInterface.1.PrivateIpAddresses.1.PrivateIpAddress": "{address}"},
    ("RunInstances", "RamdiskId"): {"KernelId": "{kernel}"},
    ("RunInstances", "Placement.PartitionNumber"): {"Placement.GroupName": "{placement_group}"},
    **{("RunInstances", f"BlockDeviceMapping.{name}"): {
        "BlockDeviceMapping.1.DeviceName": "/dev/sdb", "BlockDeviceMapping.1.VirtualName": "ephemeral0",
        "InstanceType": "m1.small"} for name in ("DeviceName", "VirtualName", "NoDevice")},
    ("RunInstances", "BlockDeviceMapping.Ebs"): {"BlockDeviceMapping.1.DeviceName": "/dev/vda",
                                                 "BlockDeviceMapping.1.Ebs.VolumeSize": "3"},
    ("CreateImage", "BlockDeviceMapping"): {"BlockDeviceMapping.1.DeviceName": "/dev/sdb",
                                            "BlockDeviceMapping.1.VirtualName": "ephemeral0"},
}
# What each action that takes TagSpecification may tag.
TAGGABLE = {"RunInstances": "instance", "CreateKeyPair": "key-pair", "ImportKeyPair": "key-pair",
            "CreatePlacementGroup": "placement-group", "CreateLaunchTemplate": "launch-template", "CopyImage": "image",
            "CreateImage": "image", "RegisterImage": "image"}

# Values of a parameter that are known to make a difference; tried in turn before those made from its type.
VALUES = {
    ("*", "BundleId"): ["{bundle}", Refused("bun-12345678", "InvalidBundleID.NotFound")],
    **{("BundleInstance", f"Storage.S3.{name}"): [Refused("x", "MissingParameter")] for name in ("UploadPolicy", "UploadPolicySignature")},
    ("BundleInstance", "Storage.S3.AWSAccessKeyId"): [Refused("nobodys", "AuthFailure")],
    ("*", "LaunchTemplateId"): ["{template}", Refused("lt-12345678", "InvalidLaunchTemplateId.NotFound")],
    ("CreateLaunchTemplate", "LaunchTemplateName"): ["another-name-{serial}"],
    ("*", "LaunchTemplateName"): ["{template_name}", Refused("no-such-template", "InvalidLaunchTemplateName.NotFoundException")],
    ("*", "SourceVersion"): ["1"], ("*", "SetDefaultVersion"): ["1"], ("DescribeLaunchTemplateVersions", "LaunchTemplateVersion"): ["1"],
    ("DeleteLaunchTemplateVersions", "LaunchTemplateVersion"): ["1", "3"],
    ("*", "MinVersion"): ["2"], ("*", "MaxVersion"): ["1"], ("RunInstances", "LaunchTemplate.Version"): [Refused("99", "InvalidLaunchTemplateId.VersionNotFound")],
    **{(action, "LaunchTemplateData.UserData"): [encoded("other")] for action in ("CreateLaunchTemplate", "CreateLaunchTemplateVersion")},
    ("*", "TagSpecification.ResourceType"): [Refused("vpc", "InvalidParameterValue")],
    ("*", "TagSpecification.Tag.Key"): ["another key"], ("*", "TagSpecification.Tag.Value"): ["another value"],
    ("*", "ImageId"): ["{image}", Refused("ami-12345678", "InvalidAMIID.NotFound")],
    ("*", "InstanceId"): ["{instance}", Refused("i-12345678", "InvalidInstanceID.NotFound")],
    ("CopyImage", "Name"): [Refused("x", "InvalidAMIName.Malformed")],
    ("CopyImage", "SourceImageId"): [Refused("ami-12345678", "InvalidAMIID.NotFound")],
    ("CopyImage", "SourceRegion"): [Refused("nowhere-1", "InvalidParameterValue")],
    ("CopyImage", "Encrypted"): [Refused("true", "UnsupportedOperation")],
    ("DescribeImages", "Owner"): ["amazon"], ("DescribeImages", "ExecutableBy"): ["all"],
    ("ModifyImageAttribute", "Attribute"): [Refused("kernel", "InvalidParameterValue")],
    **{("ModifyImageAttribute", path): [Refused("nobody", "InvalidAMIAttributeItemValue")] for path in (
        "LaunchPermission.Add.Group", "LaunchPermission.Add.UserId", "LaunchPermission.Remove.Group",
        "LaunchPermission.Remove.UserId", "UserId", "UserGroup")},
    ("ModifyImageAttribute", "ImdsSupport.Value"): [Refused("v1.0", "InvalidParameterValue")],
    ("ResetImageAttribute", "Attribute"): [Refused("description", "InvalidParameterValue")],
    ("CreateKeyPair", "KeyName"): ["another name {serial}"], ("ImportKeyPair", "KeyName"): ["another name {serial}"],
    ("CreateKeyPair", "KeyFormat"): ["ppk", Refused("ppk", "UnsupportedOperation")],
    ("*", "PrincipalArn"): [Refused("arn:aws:iam::000000000000:root", "InvalidTargetArn.Unknown")],
    ("*", "Resource"): ["vpc", Refused("wish", "InvalidResourceType.Unknown")], ("*", "ResourceId"): ["{image}"],
    # Deleting a key that is not there is no error, and does nothing.
    ("DeleteKeyPair", "KeyName"): ["no such key"],
    ("DeleteKeyPair", "KeyPairId"): ["key-00000000000000000", Refused("key-00000000000000000", "InvalidKeyPair.NotFound")],
    ("ImportKeyPair", "PublicKeyMaterial"): [OTHER_KEY],
    ("*", "KeyName"): ["{key}", Refused("no-such-key", "InvalidKeyPair.NotFound")],
    ("*", "KeyPairId"): ["{key_id}"],
    ("*", "SubnetId"): ["{subnet}", Refused("subnet-12345678", "InvalidSubnetID.NotFound")],
    ("*", "SecurityGroupId"): [Refused("sg-12345678", "InvalidGroup.NotFound")],
    ("*", "SecurityGroup"): [Refused("no-such-group", "InvalidGroup.NotFound")],
    ("*", "GroupId"): ["{group}", Refused("sg-12345678", "InvalidGroup.NotFound")],
    ("DescribeSecurityGroups", "GroupName"): ["default"],
    ("*", "VpcId"): ["{vpc}"], ("*", "ZoneName"): ["zone-a"], ("*", "ZoneId"): ["m1-az1"], ("*", "RegionName"): [Refused("nowhere-1", "InvalidParameterValue")],
    ("*", "AvailabilityZone"): ["{other_zone}", Refused("nowhere", "InvalidParameterValue")],
    ("RunInstances", "MinCount"): [Refused("2", "InvalidParameterValue")],
    ("RunInstances", "KernelId"): ["{kernel}"], ("RunInstances", "RamdiskId"): ["{ramdisk}"],
    ("*", "PrivateIpAddress"): ["{address}"],
    ("RunInstances", "Placement.Tenancy"): [Refused("dedicated", "UnsupportedOperation")],
    ("RunInstances", "Placement.Affinity"): [Refused("host", "UnsupportedOperation")],
    ("RunInstances", "Placement.GroupName"): ["{placement_group}", Refused("no-such-group", "InvalidPlacementGroup.Unknown")],
    ("RunInstances", "Placement.GroupId"): [Refused("pg-12345678", "InvalidPlacementGroup.Unknown")],
    ("RunInstances", "Placement.PartitionNumber"): ["2", Refused("9", "InvalidParameterValue")],
    ("CreatePlacementGroup", "GroupName"): [Refused("{placement_group}", "InvalidPlacementGroup.Duplicate")],
    ("CreatePlacementGroup", "PartitionCount"): [Refused("2", "InvalidParameterCombination")],
    ("DescribePlacementGroups", "GroupName"): ["{placement_group}"],
    ("DescribePlacementGroups", "GroupId"): [Refused("pg-12345678", "InvalidPlacementGroup.Unknown")],
    ("DeletePlacementGroup", "GroupName"): [Refused("no-such-group", "InvalidPlacementGroup.Unknown")],
    ("ModifyInstancePlacement", "GroupName"): [Refused("no-such-group", "InvalidPlacementGroup.Unknown")],
    ("ModifyInstancePlacement", "GroupId"): [Refused("pg-12345678", "InvalidPlacementGroup.Unknown")],
    ("ModifyInstancePlacement", "PartitionNumber"): [Refused("9", "InvalidParameterValue")],
    ("ModifyInstancePlacement", "Tenancy"): [Refused("host", "UnsupportedOperation")],
    ("ModifyInstancePlacement", "Affinity"): [Refused("host", "UnsupportedOperation")],
    ("RunInstances", "NetworkInterface.DeviceIndex"): [Refused("1", "InvalidParameterValue")],
    ("RunInstances", "MetadataOptions.HttpEndpoint"): ["disabled", Refused("disabled", "UnsupportedOperation")],
    ("*", "BlockDeviceMapping.DeviceName"): ["/dev/sdc", Refused("no device", "InvalidBlockDeviceMapping")],
    ("*", "BlockDeviceMapping.NoDevice"): [Refused("x", "InvalidBlockDeviceMapping"), "x"],
    ("RunInstances", "BlockDeviceMapping.Ebs.VolumeSize"): ["5"],
    **{("RunInstances", f"BlockDeviceMapping.Ebs.{name}"): [Refused(value, "UnsupportedOperation")] for name, value in (
        ("DeleteOnTermination", "false"), ("Encrypted", "true"), ("Iops", "100"), ("KmsKeyId", "x"), ("OutpostArn", "x"),
        ("SnapshotId", "snap-12345678"), ("Throughput", "125"), ("VolumeType", "io1"))},
    ("CreateImage", "Name"): [Refused("x", "InvalidAMIName.Malformed")],
    ("CreateImage", "NoReboot"): [Refused("true", "UnsupportedOperation")],
    ("CreateImage", "BlockDeviceMapping.VirtualName"): ["ephemeral1"],
    ("RunInstances", "BlockDeviceMapping.VirtualName"): [Refused("nonsense", "InvalidParameterValue"), "ephemeral1"],
    ("RunInstances", "NetworkInterface.DeleteOnTermination"): [Refused("false", "UnsupportedOperation")],
    ("RunInstances", "NetworkInterface.NetworkInterfaceId"): [Refused("eni-12345678", "InvalidNetworkInterfaceID.NotFound")],
    ("RunInstances", "NetworkInterface.PrivateIpAddresses.Primary"): [Refused("false", "UnsupportedOperation")],
    ("RunInstances", "NetworkInterface.PrivateIpAddresses.PrivateIpAddress"): [Refused("10.0.0.1", "InvalidParameterValue")],
    ("RunInstances", "CpuOptions.CoreCount"): [Refused("2", "InvalidParameterCombination")],
    ("RunInstances", "CpuOptions.ThreadsPerCore"): [Refused("2", "InvalidParameterCombination")],
    ("*", "CpuCredits"): ["unlimited"],
    # There are no profiles, and no associations of them.
    ("RunInstances", "IamInstanceProfile.Arn"): [Refused("arn:aws:iam::1:instance-profile/x", "InvalidParameterValue")],
    ("RunInstances", "IamInstanceProfile.Name"): [Refused("x", "InvalidParameterValue")],
    ("*", "AssociationId"): [Refused("iip-assoc-12345678", "InvalidAssociationID.NotFound")],
    # What is kept already makes no difference the second time.
    ("ModifyInstanceMetadataDefaults", "HttpTokens"): [Refused("maybe", "InvalidParameterValue")],
    ("ModifyInstanceMetadataDefaults", "HttpEndpoint"): [Refused("maybe", "InvalidParameterValue")],
    ("ModifyInstanceMetadataDefaults", "InstanceMetadataTags"): [Refused("maybe", "InvalidParameterValue")],
    ("ModifyInstanceMetadataDefaults", "HttpPutResponseHopLimit"): [Refused("0", "InvalidParameterValue")],
    ("ModifyInstanceAttribute", "Value"): ["false"], ("ModifyInstanceAttribute", "InstanceType.Value"): ["t2.small"],
    ("ModifyInstanceAttribute", "Kernel.Value"): [Refused("aki-12345678", "InvalidAMIID.NotFound")],
    ("ModifyInstanceAttribute", "Ramdisk.Value"): [Refused("{ramdisk}", "InvalidParameterCombination")],
    ("ModifyInstanceAttribute", "UserData.Value"): [encoded("more")],
    ("ModifyInstanceAttribute", "InstanceInitiatedShutdownBehavior.Value"): ["stop"],
    ("ModifyInstanceAttribute", "EnaSupport.Value"): [Refused("true", "UnsupportedOperation")],
    # One attribute a call: with that of the request that works they are two.
    **{("ModifyInstanceAttribute", name): [Refused(value, "InvalidParameterCombination")] for name, value in {
        "SriovNetSupport.Value": "simple", "BlockDeviceMapping.DeviceName": "/dev/vdb", "BlockDeviceMapping.VirtualName": "x",
        "BlockDeviceMapping.NoDevice": "", "BlockDeviceMapping.Ebs.VolumeId": "vol-12345678",
        "BlockDeviceMapping.Ebs.DeleteOnTermination": "true"}.items()},
    ("StopInstances", "Hibernate"): [Refused("true", "UnsupportedOperation")],
}

# Parameters that are served, but for which no difference can be shown here, and why.
UNSEEN = {
    ("DescribeAvailabilityZones", "AllAvailabilityZones"): "all zones are opted in",
    ("DescribeRegions", "AllRegions"): "there is one region, and it is opted in",
    ("CreateKeyPair", "KeyFormat"): "the key is another each time: test_named.py reads both formats",
    ("ModifyIdFormat", "UseLongIds"): "ids are long either way, as at Amazon",
    ("ModifyIdentityIdFormat", "UseLongIds"): "ids are long either way, as at Amazon",
    ("GetConsoleOutput", "Latest"): "consoles come from a node: tests/e2e",
    ("DescribeImages", "IncludeDeprecated"): "of images of others: test_image.py",
    ("CopyImage", "CopyImageTags"): "of tags: test_image.py",
    ("ConfirmProductInstance", "ProductCode"): "there are no product codes: none is ever attached",
    ("*", "AdditionalInfo"): "reserved by Amazon, who does nothing with it either",
    **{(action, "ResolveAlias"): "images are named by ids; aliases of a parameter store are not here"
       for action in ("CreateLaunchTemplateVersion", "DescribeLaunchTemplateVersions")},
    ("ModifyLaunchTemplate", "ClientToken"): "asking again changes nothing, with a token and without",
    ("RunInstances", "AddressingType"): "of the days before VPCs; there is one kind of addressing now",
}
UNSEEN_MAX = 20  # of some five hundred
# Of what there is one in each account, so that there is nothing to page.
ONE_PAGE = {"DescribePrincipalIdFormat"}
# Actions that need another daemon to succeed: the test that has one.
ELSEWHERE = {"RegisterImage": "tests/e2e/test_images.py", "GetConsoleScreenshot": "tests/node/test_screen.py", **{a: "tests/clc/test_instances.py" for a in (
    "AssociateIamInstanceProfile", "DisassociateIamInstanceProfile", "ReplaceIamInstanceProfileAssociation")}}
# Actions of which there is never anything to list, and why.
EMPTY = {"DescribeIamInstanceProfileAssociations": "there are no instance profiles"}

# Values for filters whose field is not in the answer.
FILTER_VALUES = {
    ("DescribeSecurityGroups", "ip-permission.group-name"): "default",
    ("DescribeSecurityGroups", "egress.ip-permission.group-name"): "default",
    ("*", "owner-id"): "{account}", ("DescribeInstances", "reservation-id"): "{reservation}",
    ("DescribeInstances", "network-interface.attachment.instance-id"): "i-*",
    ("DescribeInstances", "network-interface.attachment.instance-owner-id"): "{account}",
    ("DescribeInstances", "network-interface.availability-zone"): "{zone}",
    ("DescribeInstances", "network-interface.requester-managed"): "false",
}

# Filters for which nothing here has a value, and why.
UNSEEN_FILTERS = {
    ("DescribeBundleTasks", "error-code"): "no node is here to fail", ("DescribeBundleTasks", "error-message"): "no node is here to fail",
    ("DescribeInstances", "affinity"): "there are no dedicated hosts",
    ("DescribeInstances", "dns-name"): "instances have no public names",
    ("DescribeInstances", "block-device-mapping.device-name"): "what is shown are volumes, and there are none",
    **{("DescribeLaunchTemplateVersions", name): "no template may say so: it is refused" for name in (
        "host-resource-group-arn", "iam-instance-profile", "license-configuration-arn", "network-card-index")},
    ("DescribeAvailabilityZones", "message"): "zones have no messages",
    **{("DescribeSecurityGroups", f"{way}ip-permission.{name}"): "rules name no IPv6 blocks and prefix lists"
       for way in ("", "egress.") for name in ("ipv6-cidr", "prefix-list-id")},
    **{("DescribeImages", name): "what RegisterImage records: test_image.py" for name in (
        "block-device-mapping.device-name", "ena-support", "kernel-id", "ramdisk-id", "sriov-net-support")},
    **{("DescribeInstanceStatus", f"event.{name}"): "nothing is scheduled for any instance" for name in (
        "code", "description", "instance-event-id", "not-after", "not-before", "not-before-deadline")},
    ("DescribeImages", "state-reason-code"): "a registration that failed leaves no image here",
    ("DescribeImages", "state-reason-message"): "a registration that failed leaves no image here",
}
UNSEEN_FILTERS_MAX = 30
