"""The way out of an instance: what its guest wrote is in the image, and in the bundle, that are made of it."""
import hashlib
import io
import subprocess
import tarfile
import xml.etree.ElementTree as ElementTree

import pytest
from cloud import ClientError, code_of, daemons, eventually, guests

BUCKET = "bundles-of-instances"
STORE_S = 240
FETCH_S = 300  # a disk of a gibibyte, on a busy machine


@pytest.fixture(autouse=True)
def everything_runs_again(cloud):
    yield
    for one in daemons.units(cloud.model):
        daemons.start(cloud.model, one)


@pytest.fixture(scope="module")
def writer(cloud):
    """An instance whose guest wrote a file."""
    one = cloud.run()
    cloud.wait(one, "running", FETCH_S)
    cloud.guest(one).wait(FETCH_S).sh("echo 'written by the guest' > /root/story && sync")
    yield one
    cloud.terminate(one)


@pytest.fixture
def made(cloud):
    """Images to deregister at the end."""
    images = []
    yield images
    for one in images:
        cloud.ec2.deregister_image(ImageId=one)


def image_state(cloud, image_id):
    return cloud.ec2.describe_images(ImageIds=[image_id])["Images"][0]


def wait_image(cloud, image_id):
    def look():
        one = image_state(cloud, image_id)
        if one["State"] == "failed":
            raise RuntimeError(one["StateReason"])
        return one["State"] == "available" and one
    return eventually(f"{image_id} available", STORE_S, look, every=0.5)


def task_of(cloud, task_id):
    return cloud.ec2.describe_bundle_tasks(BundleIds=[task_id])["BundleTasks"][0]


def wait_task(cloud, task_id, *states):
    def look():
        one = task_of(cloud, task_id)
        if one["State"] == "failed" and "failed" not in states:
            raise RuntimeError(one["BundleTaskError"])
        return one["State"] in states and one
    return eventually(f"{task_id} {states}", STORE_S, look, every=0.3)


def runs_again(cloud, instance_id):
    """It is started again by itself, after having been stopped for its disk."""
    eventually(f"{instance_id} runs again", STORE_S, lambda: cloud.state(instance_id) == "running", every=0.5)


def story(cloud, instance_id):
    return cloud.guest(instance_id).wait(FETCH_S).sh("cat /root/story")


def test_an_image_of_an_instance(cloud, tidy, writer, made):
    address = cloud.describe(writer)["PublicIpAddress"]
    image = cloud.ec2.create_image(
        InstanceId=writer, Name="of-the-writer", Description="a story",
        TagSpecifications=[{"ResourceType": "image", "Tags": [{"Key": "kind", "Value": "copy"}]}])["ImageId"]
    made.append(image)
    assert image_state(cloud, image)["State"] == "pending"
    with pytest.raises(ClientError) as problem:
        cloud.run(ImageId=image)
    assert code_of(problem.value) == "InvalidAMIID.Unavailable"
    eventually("it stops", 60, lambda: cloud.state(writer) in ("stopping", "stopped"))
    with pytest.raises(ClientError) as problem:
        cloud.ec2.start_instances(InstanceIds=[writer])
    assert code_of(problem.value) == "IncorrectInstanceState"
    found = wait_image(cloud, image)
    assert found["Tags"] == [{"Key": "kind", "Value": "copy"}] and found["Description"] == "a story"
    assert found["KernelId"] == cloud.describe(writer)["KernelId"]
    # The writer runs again by itself, where it was.
    runs_again(cloud, writer)
    assert cloud.describe(writer)["PublicIpAddress"] == address
    assert story(cloud, writer) == "written by the guest"
    copy = cloud.run(ImageId=image)
    cloud.wait(copy, "running", FETCH_S)
    assert story(cloud, copy) == "written by the guest"
    cloud.terminate(copy)


def unbundle(cloud, prefix, cloud_key):
    """The raw disk of a bundle, by openssl and the manifest alone; checks every digest on the way."""
    body = cloud.s3.get_object(Bucket=BUCKET, Key=prefix + ".manifest.xml")["Body"].read()
    image = ElementTree.fromstring(body).find("image")

    def unwrap(name):
        return subprocess.run(["openssl", "pkeyutl", "-decrypt", "-inkey", cloud_key, "-pkeyopt",
                               "rsa_padding_mode:pkcs1"], input=bytes.fromhex(image.findtext(name)), check=True,
                              stdout=subprocess.PIPE).stdout.decode()
    sealed = b""
    for part in image.find("parts").iter("part"):
        piece = cloud.s3.get_object(Bucket=BUCKET, Key=part.findtext("filename"))["Body"].read()
        assert hashlib.sha1(piece).hexdigest() == part.findtext("digest")
        sealed += piece
    assert len(sealed) == int(image.findtext("bundled_size"))
    packed = subprocess.run(["openssl", "enc", "-d", "-aes-128-cbc", "-K", unwrap("ec2_encrypted_key"), "-iv",
                             unwrap("ec2_encrypted_iv")], input=sealed, check=True, stdout=subprocess.PIPE).stdout
    tar = subprocess.run(["gzip", "-d"], input=packed, check=True, stdout=subprocess.PIPE).stdout
    assert hashlib.sha1(tar).hexdigest() == image.findtext("digest")
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        raw = archive.extractfile(archive.getmembers()[0]).read()
    assert len(raw) == int(image.findtext("size"))
    return raw


def test_a_bundle_of_an_instance_and_an_image_of_it_again(cloud, tidy, writer, made):
    """Killed on the way: the node, the cloud controller and the object store, once each."""
    task = cloud.ec2.bundle_instance(InstanceId=writer, Storage={"S3": {"Bucket": BUCKET, "Prefix": "writer"}})
    task_id = task["BundleTask"]["BundleId"]
    assert task["BundleTask"]["State"] == "pending"
    wait_task(cloud, task_id, "waiting-for-shutdown", "bundling", "storing")
    cloud.kill("clc")
    cloud.start("clc")
    wait_task(cloud, task_id, "bundling", "storing", "complete")
    cloud.kill("nc:zone-a-node-1")
    cloud.start("nc:zone-a-node-1")
    wait_task(cloud, task_id, "storing", "complete")
    cloud.restart("walrus")
    done = wait_task(cloud, task_id, "complete")
    assert done["Progress"] == "100%" and "BundleTaskError" not in done
    runs_again(cloud, writer)
    keys = [o["Key"] for o in cloud.s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert "writer.manifest.xml" in keys and "writer.part.00" in keys
    raw = unbundle(cloud, "writer", guests.variables(cloud.model)["EUCALYPTUS_CERT"].replace("-cert", "-key"))
    assert b"written by the guest" in raw
    # What came out goes in again.
    tiny = guests.registered(cloud.model)
    image = cloud.ec2.register_image(Name="from-the-bundle", ImageLocation=f"{BUCKET}/writer.manifest.xml",
                                     RootDeviceName="/dev/vda", KernelId=tiny["kernel"], RamdiskId=tiny["ramdisk"])
    made.append(image["ImageId"])
    assert wait_image(cloud, image["ImageId"])["ImageLocation"] == f"{BUCKET}/writer.manifest.xml"
    for key in keys:
        cloud.s3.delete_object(Bucket=BUCKET, Key=key)
    cloud.s3.delete_bucket(Bucket=BUCKET)
    assert not [b for b in cloud.s3.list_buckets()["Buckets"] if b["Name"].startswith(".")]


def test_a_bundle_that_is_cancelled(cloud, tidy, writer):
    runs_again(cloud, writer)
    task_id = cloud.ec2.bundle_instance(InstanceId=writer, Storage={"S3": {"Bucket": BUCKET, "Prefix": "cancelled"}})[
        "BundleTask"]["BundleId"]
    wait_task(cloud, task_id, "waiting-for-shutdown", "bundling", "storing")
    assert cloud.ec2.cancel_bundle_task(BundleId=task_id)["BundleTask"]["State"] == "cancelling"
    ended = wait_task(cloud, task_id, "failed")
    assert ended["BundleTaskError"]["Code"] == "Client.Cancelled"
    runs_again(cloud, writer)
    assert story(cloud, writer) == "written by the guest"
    assert not [b for b in cloud.s3.list_buckets()["Buckets"] if b["Name"] == BUCKET] or not \
        cloud.s3.list_objects_v2(Bucket=BUCKET).get("Contents")


def test_a_bucket_of_somebody_else(cloud, tidy, writer):
    key, secret, _ = cloud.account("stranger")
    theirs = cloud.client("s3", key, secret)
    theirs.create_bucket(Bucket="not-the-writers")
    with pytest.raises(ClientError) as problem:
        cloud.ec2.bundle_instance(InstanceId=writer, Storage={"S3": {"Bucket": "not-the-writers", "Prefix": "x"}})
    assert code_of(problem.value) == "UnauthorizedOperation"
    theirs.delete_bucket(Bucket="not-the-writers")
