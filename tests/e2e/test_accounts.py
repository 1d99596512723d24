"""Two accounts see nothing of each other, from the first row on."""
import pytest
from cloud import ClientError, code_of


@pytest.fixture(scope="module")
def other(cloud):
    key, secret, account = cloud.account("second")
    return {"ec2": cloud.client("ec2", key, secret), "s3": cloud.client("s3", key, secret),
            "sts": cloud.client("sts", key, secret), "account": account}


def test_who_they_are(cloud, other):
    mine, theirs = cloud.sts.get_caller_identity(), other["sts"].get_caller_identity()
    assert mine["Account"] != theirs["Account"] and theirs["Account"].isdigit()
    assert theirs["Arn"].startswith(f"arn:aws:iam::{theirs['Account']}:")


def test_instances_are_not_seen(cloud, other, resident):
    assert other["ec2"].describe_instances()["Reservations"] == []
    for call in ("stop_instances", "start_instances", "reboot_instances", "terminate_instances"):
        with pytest.raises(ClientError) as problem:
            getattr(other["ec2"], call)(InstanceIds=[resident])
        assert code_of(problem.value) == "InvalidInstanceID.NotFound", call
    with pytest.raises(ClientError) as problem:
        other["ec2"].get_console_output(InstanceId=resident)
    assert code_of(problem.value) == "InvalidInstanceID.NotFound"
    assert cloud.state(resident) == "running"


def test_images_keys_and_objects_are_not_seen(cloud, other):
    with pytest.raises(ClientError) as problem:
        other["ec2"].run_instances(ImageId=cloud.image, MinCount=1, MaxCount=1)
    assert code_of(problem.value) == "InvalidAMIID.NotFound"
    assert other["ec2"].describe_images()["Images"] == []
    assert other["ec2"].describe_key_pairs()["KeyPairs"] == []
    assert other["s3"].list_buckets()["Buckets"] == []
    with pytest.raises(ClientError) as problem:
        other["s3"].list_objects_v2(Bucket="mallee-images")
    assert code_of(problem.value) == "AccessDenied"


def test_networks_are_their_own(cloud, other):
    mine = cloud.ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    assert [v["VpcId"] for v in other["ec2"].describe_vpcs()["Vpcs"]] != [mine]
    assert len(other["ec2"].describe_vpcs()["Vpcs"]) == 1


def test_an_image_of_mine_needs_my_object(cloud, other):
    """Registering somebody else's object is refused: the clc asks on the caller's authority."""
    from cloud import images_of
    digest = images_of(cloud)["digest"]
    with pytest.raises(ClientError) as problem:
        other["ec2"].register_image(Name="stolen", ImageLocation=f"mallee-images/{digest}/root.ext4",
                                    Architecture="x86_64")
    assert code_of(problem.value) in ("AuthFailure", "UnauthorizedOperation", "AccessDenied", "InvalidAMILocation",
                                      "InvalidManifest")
