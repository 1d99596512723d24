"""Images on their way in: the tiny image as a triple of bundles, shared, copied, launched, logged in to."""
import http.client
import os

import bundle as bundles
import pytest
from cloud import START_S, ClientError, code_of, eventually, image_files

BUCKET = "bundles-of-a-user"


@pytest.fixture(scope="module")
def bucket(cloud):
    cloud.s3.create_bucket(Bucket=BUCKET)
    yield BUCKET
    for item in cloud.s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        cloud.s3.delete_object(Bucket=BUCKET, Key=item["Key"])
    cloud.s3.delete_bucket(Bucket=BUCKET)


def upload(cloud, bundle):
    """The requests of euca-upload-bundle."""
    keys = cloud.variables["AWS_ACCESS_KEY_ID"], cloud.variables["AWS_SECRET_ACCESS_KEY"]
    connection = http.client.HTTPConnection(cloud.model.loopback, 8777, timeout=60)
    mount = "/services/objectstorage"
    connection.request("GET", f"{mount}/{BUCKET}?max-keys=0", headers=bundles.v1_headers("GET", f"/{BUCKET}", keys))
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    answer.read()
    for name, content in [*bundle.parts, (f"{bundle.name}.manifest.xml", bundle.manifest())]:
        path = f"/{BUCKET}/tiny/{name}"
        connection.request("PUT", mount + path, body=content,
                           headers=bundles.v1_headers("PUT", path, keys, {"x-amz-acl": "aws-exec-read"}))
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
    connection.close()
    return f"{BUCKET}/tiny/{bundle.name}.manifest.xml"


def available(cloud, image, ec2=None):
    def there():
        shown = (ec2 or cloud.ec2).describe_images(ImageIds=[image])["Images"][0]
        assert shown["State"] != "failed", shown["StateReason"]
        return shown["State"] == "available" and shown
    return eventually(f"{image} available", 120, there)


def test_bundles(cloud, tidy, bucket, tmp_path):
    found, made = cloud.variables, []
    directory = image_files.build("tiny")
    certificate = tmp_path / "cloud-cert.pem"
    certificate.write_text(cloud.admin("certificate"), "ascii")
    for name, kind in (("vmlinux", "kernel"), ("initrd.img", "ramdisk"), ("root.ext4", "machine")):
        with open(os.path.join(directory, name), "rb") as file:
            one = bundles.Bundle.of(file.read(), name, found["EC2_USER_ID"], found["EC2_PRIVATE_KEY"],
                                    found["EC2_CERT"], str(certificate), kind)
        if kind == "machine":
            one.fields.update(kernel_id="eki" + made[0][3:], ramdisk_id="eri" + made[1][3:])
            one.mappings = {"root": "/dev/vda"}
        made.append(cloud.ec2.register_image(Name=f"bundled {name}", ImageLocation=upload(cloud, one))["ImageId"])
        assert available(cloud, made[-1])["ImageType"] == kind
    kernel, ramdisk, machine = made
    shown = available(cloud, machine)
    assert (shown["KernelId"], shown["RamdiskId"], shown["RootDeviceName"]) == (kernel, ramdisk, "/dev/vda")
    # Nothing depends on the bundle any more.
    for item in cloud.s3.list_objects_v2(Bucket=BUCKET)["Contents"]:
        cloud.s3.delete_object(Bucket=BUCKET, Key=item["Key"])
    one = cloud.run(ImageId="emi" + machine[3:])
    cloud.wait(one, "running", 2 * START_S)
    cloud.guest(one).wait()
    assert cloud.guest(one).sh("id -u") == "0"
    assert cloud.describe(one)["ImageId"] == machine

    # Another account launches nothing of it before it is permitted, and copies it afterwards.
    key, secret, account = cloud.account("bundle-friend")
    theirs = cloud.client("ec2", key, secret)
    with pytest.raises(ClientError) as problem:
        theirs.describe_images(ImageIds=[machine])
    assert code_of(problem.value) == "InvalidAMIID.NotFound"
    for image in made:
        cloud.ec2.modify_image_attribute(ImageId=image, LaunchPermission={"Add": [{"UserId": account}]})
        permitted = cloud.ec2.describe_image_attribute(ImageId=image, Attribute="launchPermission")["LaunchPermissions"]
        assert permitted == [{"UserId": account}]
    copy = theirs.copy_image(Name="copied", SourceImageId=machine, SourceRegion=found["AWS_DEFAULT_REGION"])["ImageId"]
    assert available(cloud, copy, theirs)["OwnerId"] == account
    borrowed = cloud.run(ec2=theirs, ImageId=copy, KeyName=None)
    eventually("the copy runs", 120, lambda: cloud.describe(borrowed, theirs)["State"]["Name"] == "running")
    theirs.terminate_instances(InstanceIds=[borrowed])

    # Deregistered, it goes on for what runs of it.
    for image in made:
        cloud.ec2.reset_image_attribute(ImageId=image, Attribute="launchPermission")
        cloud.ec2.enable_image_deprecation(ImageId=image, DeprecateAt="2030-01-01T00:00:00Z")
        cloud.ec2.disable_image_deprecation(ImageId=image)
        cloud.ec2.deregister_image(ImageId=image)
    theirs.deregister_image(ImageId=copy)
    cloud.ec2.reboot_instances(InstanceIds=[one])
    cloud.guest(one).wait()
