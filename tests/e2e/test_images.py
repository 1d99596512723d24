"""Images that are damaged, missing or forged: the launch fails and says so; nothing is half done."""
import hashlib
import os
import uuid

import pytest
from cloud import ClientError, code_of, eventually, hosts, images_of

BUCKET = "broken-images"


@pytest.fixture(scope="module")
def bucket(cloud):
    cloud.s3.create_bucket(Bucket=BUCKET)
    yield BUCKET
    for item in cloud.s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        cloud.s3.delete_object(Bucket=BUCKET, Key=item["Key"])
    cloud.s3.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def registered(cloud, bucket):
    """Registers an image of given bytes with the tiny kernel; deregisters it after the test."""
    ids = []

    def register(content, key=None):
        key = key or f"image-{uuid.uuid4().hex[:8]}"
        cloud.s3.put_object(Bucket=bucket, Key=key, Body=content)
        tiny = images_of(cloud)
        made = cloud.ec2.register_image(Name=key, ImageLocation=f"{bucket}/{key}", Architecture="x86_64",
                                        RootDeviceName="/dev/vda", KernelId=tiny["kernel"], RamdiskId=tiny["ramdisk"])
        ids.append(made["ImageId"])
        return made["ImageId"], key
    yield register
    for one in ids:
        cloud.ec2.deregister_image(ImageId=one)


def ends_with_reason(cloud, instance_id):
    ended = eventually(f"{instance_id} ends", 120, lambda: (d := cloud.describe(instance_id))["State"]["Name"]
                       == "terminated" and d)
    assert not any(instance_id in ids for ids in cloud.domains().values())
    return ended["StateReason"]


def test_image_removed_after_registration(cloud, tidy, bucket, registered):
    image, key = registered(b"x" * (1 << 20))
    cloud.s3.delete_object(Bucket=bucket, Key=key)
    try:
        one = cloud.run(ImageId=image)
    except ClientError as problem:  # the clc may see it at once
        assert code_of(problem).startswith("InvalidAMIID") or code_of(problem) == "InvalidManifest"
        return
    reason = ends_with_reason(cloud, one)
    assert reason["Code"].startswith(("Server.", "Client.")) and "image" in reason["Message"].lower()


def test_image_replaced_after_registration(cloud, tidy, bucket, registered):
    """Other bytes under the same key: the digest of the registration decides."""
    image, key = registered(os.urandom(1 << 20))
    cloud.s3.put_object(Bucket=bucket, Key=key, Body=os.urandom(1 << 20))
    one = cloud.run(ImageId=image)
    reason = ends_with_reason(cloud, one)
    assert "digest" in reason["Message"] or "image" in reason["Message"].lower()


def test_image_of_noise_never_becomes_a_login(cloud, tidy, registered):
    """A well-kept image of noise is not ours to judge: its guest starts and finds no root; it can be ended."""
    image, _ = registered(os.urandom(1 << 20))
    one = cloud.run(ImageId=image)
    eventually("it is under way", 60, lambda: cloud.state(one) in ("running", "terminated", "stopped"))
    cloud.terminate(one)


def test_blob_damaged_in_the_store(cloud, tidy, bucket, registered):
    """A bit flips on Walrus' disk: never served as 200, so the launch fails by name."""
    content = os.urandom(3 << 20)
    image, _ = registered(content)
    walrus = os.path.join(hosts.directory(cloud.model, cloud.model.host("ctl")), "walrus")
    flipped = False
    for path, _, files in os.walk(walrus):
        for name in files:
            full = os.path.join(path, name)
            if os.path.getsize(full) < len(content) or name.startswith("store"):
                continue
            with open(full, "rb+") as file:
                data = file.read()
                at = data.find(content[1 << 20:(1 << 20) + 64])
                if at < 0:
                    continue
                file.seek(at)
                file.write(bytes([data[at] ^ 1]))
                flipped = True
    assert flipped, "the blob of the image was not found below walrus' state"
    one = cloud.run(ImageId=image)
    reason = ends_with_reason(cloud, one)
    assert "image" in reason["Message"].lower()


@pytest.mark.parametrize("image, code", [
    ("ami-00000000000000000", "InvalidAMIID.NotFound"),
    ("ami-00000000", "InvalidAMIID.NotFound"),
    ("nonsense", "InvalidAMIID.Malformed"),
])
def test_unknown_images_are_refused(cloud, image, code):
    with pytest.raises(ClientError) as problem:
        cloud.run(ImageId=image)
    assert code_of(problem.value) == code


def test_registration_of_what_is_not_there(cloud, bucket):
    for location in (f"{bucket}/absent", "no-such-bucket-here/absent"):
        with pytest.raises(ClientError) as problem:
            cloud.ec2.register_image(Name="absent", ImageLocation=location, Architecture="x86_64")
        assert code_of(problem.value).startswith("Invalid")


def test_the_uploaded_image_comes_back_whole(cloud):
    tiny = images_of(cloud)
    location = next(i for i in cloud.ec2.describe_images(ImageIds=[tiny["image"]])["Images"])["ImageLocation"]
    bucket, _, key = location.lstrip("/").partition("/")
    directory = os.path.join("/var/cache/mallee-images", tiny["digest"])
    with open(os.path.join(directory, "root.ext4"), "rb") as file:
        wanted = hashlib.sha256(file.read()).hexdigest()
    assert hashlib.sha256(cloud.s3.get_object(Bucket=bucket, Key=key)["Body"].read()).hexdigest() == wanted
