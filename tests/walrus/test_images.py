"""Images whose bytes walrus makes: bundles as euca2ools makes and uploads them, and copies. A clc and a walrus."""
import gzip
import hashlib
import http.client
import os
import random
import signal
import sys
import tarfile
import time

import boto3
import botocore.client
import botocore.exceptions
import pytest
import world as worlds

sys.path.insert(0, os.path.join(worlds.TOP, "tests/lib"))
import bundle as bundles  # noqa: E402

MOUNT = "/services/objectstorage"


def ec2(world, keys=None):
    keys = keys or world.admin_keys
    return boto3.client("ec2", endpoint_url=f"http://127.0.0.1:{world.clc.port}", aws_access_key_id=keys[0],
                        aws_secret_access_key=keys[1], region_name=worlds.REGION,
                        config=botocore.client.Config(retries={"max_attempts": 0}))


def code_of(call, **words):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**words)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def account_of(world, keys):
    return world.rows("SELECT account_id FROM access_key WHERE access_key_id = ?", keys[0], daemon=world.clc)[0][0]


@pytest.fixture(scope="module")
def certificates(world):
    """key, certificate of the admin; certificate of the cloud."""
    directory = os.path.join(world.clc.state, "credentials")
    return [os.path.join(directory, name) for name in ("admin-key.pem", "admin-cert.pem", "cloud-cert.pem")]


@pytest.fixture
def make(world, certificates):
    def make_one(content, name="disk", kind="machine", **words):
        return bundles.Bundle.of(content, name, account_of(world, world.admin_keys), *certificates, kind=kind, **words)
    return make_one


def upload(world, bucket, bundle, prefix="", manifest=None, keys=None):
    """As euca2ools does it: signature version 1, a canned ACL for the cloud, below the mount of Eucalyptus."""
    keys = keys or world.admin_keys
    connection = http.client.HTTPConnection("127.0.0.1", world.walrus.port, timeout=60)
    path = f"{MOUNT}/{bucket}"
    connection.request("GET", path + "?max-keys=0", headers=bundles.v1_headers("GET", "/" + bucket, keys))
    reply = connection.getresponse()
    assert reply.status == 200, reply.read()
    reply.read()
    for name, content in [*bundle.parts, (f"{bundle.name}.manifest.xml", manifest or bundle.manifest())]:
        resource = f"/{bucket}/{prefix}{name}"
        headers = bundles.v1_headers("PUT", resource, keys, {"x-amz-acl": "aws-exec-read"})
        connection.request("PUT", MOUNT + resource, body=content, headers=headers)
        reply = connection.getresponse()
        assert reply.status == 200, reply.read()
        assert reply.getheader("ETag").strip('"') == hashlib.md5(content).hexdigest()
        reply.read()
    connection.close()
    return f"{bucket}/{prefix}{bundle.name}.manifest.xml"


_count = 0


def register(world, location, keys=None, **words):
    global _count
    _count += 1
    return ec2(world, keys).register_image(Name=words.pop("Name", f"image {_count}"), ImageLocation=location,
                                           **words)["ImageId"]


def image(world, image_id, keys=None):
    return ec2(world, keys).describe_images(ImageIds=[image_id])["Images"][0]


def settled(world, image_id, seconds=60):
    return worlds.wait_for(lambda: (i := image(world, image_id))["State"] != "pending" and i, seconds,
                           f"{image_id} stayed pending")


def row(world, image_id):
    names = ("bucket", "object_key", "size_bytes", "digest", "is_stored", "format", "disk_bytes")
    return dict(zip(names, world.rows(f"SELECT {', '.join(names)} FROM image WHERE image_id = ?", image_id,
                                      daemon=world.clc)[0]))


def service_keys(world, keys):
    return world.rows("SELECT access_key_id, secret FROM access_key WHERE account_id = ? AND is_service = 1",
                      account_of(world, keys), daemon=world.clc)[0]


def stored(world, image_id, keys=None):
    """The bytes, as a node gets them: by the hidden key of the owner."""
    keys = service_keys(world, keys or world.admin_keys)
    where = row(world, image_id)
    return world.s3(keys).get_object(Bucket=where["bucket"], Key=where["object_key"])["Body"].read()


def content_of(size, seed=1):
    """Some noise, some emptiness: it shrinks, but not to nothing."""
    noise = random.Random(seed).randbytes(size // 2)
    return noise + bytes(size - len(noise))


# -- plain objects --

def test_a_damaged_object_is_no_image(world, s3, bucket):
    """Said when its digest can't be computed, not when the patience for that is over."""
    content = content_of(3 << 20)
    assert world.request("PUT", f"/{bucket}/disk", body=content)[0] == 200
    path = world.blob_paths(bucket, "disk")[0]
    with open(path, "r+b") as file:
        file.seek((2 << 20) + 5)
        file.write(bytes([content[(2 << 20) + 5] ^ 1]))
    start = time.monotonic()
    assert code_of(ec2(world).register_image, Name="damaged", ImageLocation=f"{bucket}/disk")[0] == "InternalError"
    assert time.monotonic() - start < 5
    with open(path, "r+b") as file:
        file.write(content)
    image_id = ec2(world).register_image(Name="mended", ImageLocation=f"{bucket}/disk")["ImageId"]
    assert row(world, image_id)["digest"] == hashlib.sha256(content).hexdigest()
    ec2(world).deregister_image(ImageId=image_id)


# -- bundles --

@pytest.mark.parametrize("size,part", [(1 << 20, 10 << 20), ((3 << 20) + 17, 100_000), (1, 10 << 20)])
def test_bundle(world, bucket, make, size, part):
    content = content_of(size)
    if size == 1:
        content = b"x"
    bundle = make(content, part_bytes=part)
    location = upload(world, bucket, bundle, "some/prefix/")
    image_id = register(world, location, Description="from a bundle")
    shown = settled(world, image_id)
    assert shown["State"] == "available", shown
    assert shown["ImageLocation"] == location and shown["Description"] == "from a bundle"
    assert stored(world, image_id) == content
    found = row(world, image_id)
    assert found["size_bytes"] == found["disk_bytes"] == len(content)
    assert found["digest"] == hashlib.sha256(content).hexdigest() and found["format"] == "raw"
    ec2(world).deregister_image(ImageId=image_id)


def test_large_bundle_of_many_parts(world, bucket, make):
    content = content_of(64 << 20)
    before = world.walrus.rss_kib()
    image_id = register(world, upload(world, bucket, make(content)))
    assert settled(world, image_id)["State"] == "available"
    assert hashlib.sha256(stored(world, image_id)).hexdigest() == hashlib.sha256(content).hexdigest()
    if "asan" not in worlds.BUILD:
        assert world.walrus.rss_kib() - before < 40 << 10
    ec2(world).deregister_image(ImageId=image_id)


def test_what_a_manifest_says(world, bucket, make):
    kernel = register(world, upload(world, bucket, make(b"kernel" * 100, "vmlinuz", "kernel")))
    ramdisk = register(world, upload(world, bucket, make(b"ramdisk" * 100, "initrd", "ramdisk")))
    assert kernel.startswith("aki-") and ramdisk.startswith("ari-")
    for one, kind in ((kernel, "kernel"), (ramdisk, "ramdisk")):
        shown = settled(world, one)
        assert (shown["State"], shown["ImageType"]) == ("available", kind)
    bundle = make(b"root" * 1000)
    bundle.fields.update(kernel_id="eki" + kernel[3:], ramdisk_id="eri" + ramdisk[3:])
    bundle.mappings = {"ami": "sda1", "root": "/dev/sda1", "ephemeral0": "sdb", "swap": "sda3"}
    shown = settled(world, register(world, upload(world, bucket, bundle, manifest=bundle.manifest(pretty=True))))
    assert shown["State"] == "available", shown
    assert (shown["KernelId"], shown["RamdiskId"], shown["RootDeviceName"]) == (kernel, ramdisk, "/dev/sda1")
    assert shown["BlockDeviceMappings"] == [{"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"}]


def test_sparse_archive_of_amazons_tools(world, bucket, make, tmp_path):
    """ec2-bundle-image calls tar with -S."""
    path = tmp_path / "disk"
    with open(path, "wb") as file:
        file.truncate(8 << 20)
        file.seek(5 << 20)
        file.write(b"in the middle")
    tar = worlds.subprocess.run(["tar", "-chSf", "-", "-C", str(tmp_path), "disk"], stdout=worlds.subprocess.PIPE,
                                check=True).stdout
    assert len(tar) < 1 << 20
    bundle = make(path.read_bytes())
    bundle.pack(tar)
    image_id = register(world, upload(world, bucket, bundle))
    assert settled(world, image_id)["State"] == "available"
    assert stored(world, image_id) == path.read_bytes()


# -- manifests that are refused at once --

def refused(world, location, keys=None):
    code, message = code_of(ec2(world, keys).register_image, Name="refused", ImageLocation=location)
    assert code == "InvalidManifest", (code, message)
    assert not [i for i in ec2(world, keys).describe_images(Owners=["self"])["Images"] if i["Name"] == "refused"]
    return message


def test_signed_by_somebody_else(world, bucket, make, tmp_path):
    bundle = make(b"x" * 1000)
    bundle.user_key, bundle.user_cert = bundles.make_certificate(str(tmp_path), "stranger")
    assert "signature" in refused(world, upload(world, bucket, bundle))


def test_signed_by_another_account(world, bucket, make):
    """The admin's certificate is the admin's: bob can't register with it, whoever wrote the bundle."""
    s3 = world.s3(world.other_keys)
    s3.create_bucket(Bucket="of-bob")
    try:
        location = upload(world, "of-bob", make(b"x" * 1000), keys=world.other_keys)
        assert "signature" in refused(world, location, world.other_keys)
    finally:
        for item in s3.list_objects_v2(Bucket="of-bob")["Contents"]:
            s3.delete_object(Bucket="of-bob", Key=item["Key"])
        s3.delete_bucket(Bucket="of-bob")


def test_signed_by_the_cloud(world, bucket, make, certificates):
    """What the cloud bundles it signs itself."""
    bundle = make(b"x" * 1000)
    bundle.user_key = certificates[2].replace("-cert", "-key")
    image_id = register(world, upload(world, bucket, bundle))
    assert settled(world, image_id)["State"] == "available"


@pytest.mark.parametrize("change", [(b"<size>", b"<size>1"), (b"x86_64", b"x86-64"), (b"<user>", b"<user>1"),
                                    (b"index=\"0\"", b"index=\"00\"")])
def test_changed_after_it_was_signed(world, bucket, make, change):
    bundle = make(b"x" * 1000)
    text = bundle.manifest()
    assert change[0] in text
    assert "signature" in refused(world, upload(world, bucket, bundle, manifest=text.replace(*change)))


def test_a_second_image_element(world, bucket, make):
    """What is read is what is signed: an element slipped in before or behind is not looked at, or breaks it."""
    bundle = make(b"x" * 1000)
    text = bundle.manifest()
    evil = b"<image>" + text.split(b"<image>")[1].split(b"</image>")[0].replace(b"<size>", b"<size>9") + b"</image>"
    refused(world, upload(world, bucket, bundle, manifest=text.replace(b"<image>", evil + b"<image>", 1)))
    image_id = register(world, upload(world, bucket, bundle, manifest=text.replace(b"</image>", b"</image>" + evil, 1)))
    assert settled(world, image_id)["State"] == "available"
    assert row(world, image_id)["size_bytes"] == 1000


def test_the_certificate_is_the_clouds(world, certificates):
    with open(certificates[2], encoding="ascii") as file:
        assert world.admin("certificate") == file.read()
    assert os.stat(certificates[2].replace("-cert", "-key")).st_mode & 0o777 == 0o600


def test_for_another_cloud(world, bucket, make, tmp_path):
    bundle = make(b"x" * 1000)
    bundle.cloud_cert = bundles.make_certificate(str(tmp_path), "elsewhere")[1]
    assert "not encrypted for this cloud" in refused(world, upload(world, bucket, bundle))


def test_parts_that_are_not_there(world, bucket, make):
    bundle = make(b"x" * 1000)
    location = upload(world, bucket, bundle)
    world.s3().delete_object(Bucket=bucket, Key=bundle.parts[0][0])
    assert "NoSuchKey" in refused(world, location)
    world.s3().put_object(Bucket=bucket, Key=bundle.parts[0][0], Body=b"short")
    assert "bundled_size" in refused(world, location)
    assert "NoSuchKey" in refused(world, f"{bucket}/nothing.manifest.xml")
    world.s3().put_object(Bucket=bucket, Key="big.manifest.xml", Body=b"<" * (1 << 21))
    assert "too large" in refused(world, f"{bucket}/big.manifest.xml")
    for n, text in enumerate((b"no xml", b"<manifest/>", b"<!DOCTYPE x><manifest/>", bundle.manifest().replace(
            b"2007-10-10", b"2017-10-10"))):
        world.s3().put_object(Bucket=bucket, Key=f"bad{n}.manifest.xml", Body=text)
        refused(world, f"{bucket}/bad{n}.manifest.xml")


def test_manifest_of_another(world, bucket, make):
    location = upload(world, bucket, make(b"x" * 1000))
    assert "AccessDenied" in refused(world, location, world.other_keys)


# -- bundles that fail when they are unpacked --

def tar_link():
    info = tarfile.TarInfo("disk")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return bundles.tar_of(("disk", info))


BROKEN = {
    "two files": (lambda c: bundles.tar_of(("disk", c), ("more", b"x")), None, "more than one file"),
    "a link": (lambda c: tar_link(), None, "something else than a file"),
    "no tar": (lambda c: b"\x07" * 5000, None, "no tar archive"),
    "empty tar": (lambda c: bytes(10240), None, "no tar archive"),
    "another size": (lambda c: bundles.tar_of(("disk", c + b"x")), None, "another size"),
    "no gzip": (lambda c: bundles.tar_of(("disk", c)), lambda t: t, "not compressed with gzip"),
    "cut gzip": (lambda c: bundles.tar_of(("disk", c)), lambda t: gzip.compress(t)[:-2000], "damaged"),
    "other bytes": (lambda c: bundles.tar_of(("disk", c)), lambda t: gzip.compress(t.replace(b"\xaa", b"\xab")),
                    "another SHA-1"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_archive(world, bucket, make, name):
    tar, compressed, words = BROKEN[name]
    content = content_of(200_000)
    bundle = make(content)
    archive = tar(content)
    bundle.pack(archive, compressed=compressed(archive) if compressed else None)
    failed(world, register(world, upload(world, bucket, bundle)), words)


def failed(world, image_id, words):
    shown = settled(world, image_id)
    assert shown["State"] == "failed", shown
    assert words in shown["StateReason"]["Message"] and shown["StateReason"]["Code"] == "Client.InvalidImage", shown
    code, _ = code_of(ec2(world).run_instances, ImageId=image_id, MinCount=1, MaxCount=1)
    assert code == "InvalidAMIID.Unavailable"
    worlds.wait_for(lambda: not row(world, image_id)["is_stored"], 10, "it was not forgotten")
    world.assert_no_orphans()
    ec2(world).deregister_image(ImageId=image_id)


def test_bomb(world, bucket, make):
    """A file of 200 GiB by its header and its manifest: nothing of it is kept."""
    bundle = make(b"x" * 1000)
    info = tarfile.TarInfo("disk")
    info.size = 200 << 30
    archive = info.tobuf() + bytes(64 << 20)
    bundle.size = info.size
    bundle.pack(archive)
    failed(world, register(world, upload(world, bucket, bundle)), "larger than an image may be")


def test_wrong_digest_of_a_part(world, bucket, make):
    bundle = make(content_of(300_000), part_bytes=100_000)
    bundle.part_digests[1] = "0" * 40
    failed(world, register(world, upload(world, bucket, bundle)), "another SHA-1")


def test_wrong_key(world, bucket, make):
    bundle = make(content_of(300_000))
    bundle.key = os.urandom(16)
    failed(world, register(world, upload(world, bucket, bundle)), "")


# -- what survives --

def test_killed_in_the_middle(world, bucket, make):
    """kill -9 of either daemon while a bundle is unpacked: it becomes available, once, and nothing else is left."""
    content = content_of(96 << 20, seed=7)
    bundle = make(content, part_bytes=4 << 20)
    location = upload(world, bucket, bundle)
    for daemon in (world.walrus, world.clc, world.walrus):
        image_id = register(world, location)
        time.sleep(random.Random(daemon.port).random() * 0.4)
        daemon.kill(signal.SIGKILL)
        daemon.start()
        worlds.wait_for(lambda: _answers(world), 20)
        assert settled(world, image_id)["State"] == "available"
        assert row(world, image_id)["digest"] == hashlib.sha256(content).hexdigest()
        assert hashlib.sha256(stored(world, image_id)).hexdigest() == row(world, image_id)["digest"]
        ec2(world).deregister_image(ImageId=image_id)
        worlds.wait_for(lambda: not row(world, image_id)["is_stored"], 10, "its bytes were not given back")
    world.assert_no_orphans(30)


def _answers(world):
    try:
        world.s3().list_buckets()
        return ec2(world).describe_regions()
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
        return None


def test_deregistered_in_the_middle(world, bucket, make):
    image_id = register(world, upload(world, bucket, make(content_of(96 << 20, seed=8))))
    ec2(world).deregister_image(ImageId=image_id)
    worlds.wait_for(lambda: not row(world, image_id)["is_stored"], 10, "it was not forgotten")
    time.sleep(0.5)
    assert not world.rows("SELECT 1 FROM object WHERE object_key = ?", image_id.encode())
    world.assert_no_orphans(20)


# -- the bucket of images --

def test_nobody_uses_the_bucket_of_images(world, bucket, make):
    image_id = register(world, upload(world, bucket, make(b"y" * 1000)))
    assert settled(world, image_id)["State"] == "available"
    hidden = row(world, image_id)["bucket"]
    assert hidden.startswith(".images-")
    assert hidden not in [b["Name"] for b in world.s3().list_buckets()["Buckets"]]
    for method, path in (("GET", f"/{hidden}/{image_id}"), ("HEAD", f"/{hidden}/{image_id}"), ("GET", f"/{hidden}"),
                         ("PUT", f"/{hidden}/other"), ("DELETE", f"/{hidden}/{image_id}"), ("DELETE", f"/{hidden}")):
        for keys in (world.admin_keys, world.other_keys):
            status, _, _ = world.request(method, path, keys=keys, headers={"content-length": "0"} if method == "PUT" else None)
            assert status == 403, (method, path)
    assert world.request("PUT", "/.images-000000000000")[0] == 400
    # Nor by way of the clc.
    for keys in (world.admin_keys, world.other_keys):
        code, message = code_of(ec2(world, keys).register_image, Name="stolen", ImageLocation=f"{hidden}/{image_id}")
        assert code == "InvalidManifest" and "AccessDenied" in message


# -- copies --

def test_copy(world, bucket):
    content = content_of(3 << 20)
    world.s3().put_object(Bucket=bucket, Key="disk", Body=content)
    source = register(world, f"{bucket}/disk", Description="the source")
    api = ec2(world)
    words = {"Name": "a copy", "SourceImageId": "emi" + source[3:], "SourceRegion": worlds.REGION, "ClientToken": "once"}
    copy = api.copy_image(**words)["ImageId"]
    assert api.copy_image(**words)["ImageId"] == copy
    assert code_of(api.copy_image, **{**words, "Name": "b copy"})[0] == "IdempotentParameterMismatch"
    shown = settled(world, copy)
    assert (shown["State"], shown["Name"], shown["Description"]) == ("available", "a copy", "the source")
    world.s3().delete_object(Bucket=bucket, Key="disk")  # it stands by itself
    assert stored(world, copy) == content
    assert row(world, copy)["digest"] == row(world, source)["digest"]
    assert code_of(api.copy_image, **{**words, "ClientToken": "other"})[0] == "InvalidAMIName.Duplicate"
    assert code_of(api.copy_image, **{**words, "SourceRegion": "us-east-1"})[0] == "InvalidParameterValue"
    # A copy of a copy; and its source has changed since it was registered, or is gone.
    again = api.copy_image(Name="c copy", SourceImageId=copy, SourceRegion=worlds.REGION)["ImageId"]
    assert settled(world, again)["State"] == "available"
    failed(world, api.copy_image(Name="d copy", SourceImageId=source, SourceRegion=worlds.REGION)["ImageId"],
           "does not exist any more")
    world.s3().put_object(Bucket=bucket, Key="disk", Body=content[::-1])
    failed(world, api.copy_image(Name="e copy", SourceImageId=source, SourceRegion=worlds.REGION)["ImageId"],
           "not those that were registered")
    for one in (copy, again, source):
        api.deregister_image(ImageId=one)
    worlds.wait_for(lambda: not row(world, copy)["is_stored"], 10)


def test_copy_by_permission(world, bucket):
    """Who may launch an image may copy it, and owns the copy; who may not does not know of it."""
    world.s3().put_object(Bucket=bucket, Key="disk", Body=b"shared" * 1000)
    source = register(world, f"{bucket}/disk")
    theirs, mine = ec2(world, world.other_keys), ec2(world)
    words = {"Name": "of bob", "SourceImageId": source, "SourceRegion": worlds.REGION}
    assert code_of(theirs.copy_image, **words)[0] == "InvalidAMIID.NotFound"
    mine.modify_image_attribute(ImageId=source, LaunchPermission={"Add": [{"UserId": account_of(world, world.other_keys)}]})
    copy = theirs.copy_image(**words)["ImageId"]
    shown = worlds.wait_for(lambda: (i := image(world, copy, world.other_keys))["State"] != "pending" and i, 30)
    assert shown["State"] == "available" and shown["OwnerId"] == account_of(world, world.other_keys)
    assert not shown["Public"]
    assert stored(world, copy, world.other_keys) == b"shared" * 1000
    assert code_of(mine.describe_images, ImageIds=[copy])[0] == "InvalidAMIID.NotFound"
    theirs.deregister_image(ImageId=copy)
    mine.deregister_image(ImageId=source)


def test_qcow2_is_copied_as_qcow2(world, bucket, tmp_path):
    path = str(tmp_path / "disk.qcow2")
    worlds.subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "5M"], check=True)
    with open(path, "rb") as file:
        world.s3().put_object(Bucket=bucket, Key="disk.qcow2", Body=file.read())
    source = register(world, f"{bucket}/disk.qcow2")
    copy = ec2(world).copy_image(Name="copied qcow2", SourceImageId=source, SourceRegion=worlds.REGION)["ImageId"]
    assert settled(world, copy)["State"] == "available"
    assert (row(world, copy)["format"], row(world, copy)["disk_bytes"]) == ("qcow2", 5 << 20)
    ec2(world).deregister_image(ImageId=copy)
    ec2(world).deregister_image(ImageId=source)
