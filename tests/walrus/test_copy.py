"""Copies: whose bytes and whose headers they have, under which conditions they are made."""
import base64
import datetime
import hashlib
import random

import boto3
import pytest
from test_multipart import PART, complete, make
from test_objects import MIB, code


def source(bucket, key="from", **more):
    return {"Bucket": bucket, "Key": key, **more}


@pytest.fixture
def other_bucket(s3, bucket):
    name = bucket[:50] + "-other"
    s3.create_bucket(Bucket=name)
    yield name
    for o in s3.list_objects_v2(Bucket=name).get("Contents", []):
        s3.delete_object(Bucket=name, Key=o["Key"])
    s3.delete_bucket(Bucket=name)


@pytest.mark.parametrize("size", [0, 1, 70000, 3 * MIB + 7])
def test_a_copy_shares_bytes_and_outlives_its_source(world, s3, bucket, other_bucket, size):
    body = random.Random(size).randbytes(size)
    etag = s3.put_object(Bucket=bucket, Key="from", Body=body)["ETag"]
    files = world.files()
    done = s3.copy_object(Bucket=other_bucket, Key="to", CopySource=source(bucket))["CopyObjectResult"]
    assert done["ETag"] == etag
    assert world.files() == files
    head = s3.head_object(Bucket=other_bucket, Key="to")
    assert head["LastModified"] == done["LastModified"].replace(microsecond=0) and head["ContentLength"] == size
    s3.copy_object(Bucket=other_bucket, Key="third", CopySource=source(other_bucket, "to"))
    for gone in ((bucket, "from"), (other_bucket, "to")):
        s3.delete_object(Bucket=gone[0], Key=gone[1])
        assert s3.get_object(Bucket=other_bucket, Key="third")["Body"].read() == body
    world.assert_no_orphans()
    s3.delete_object(Bucket=other_bucket, Key="third")
    world.assert_no_orphans()
    assert world.rows("SELECT COUNT(*) FROM content_share") == [(0,)]


def test_an_overwritten_source_leaves_the_copy(world, s3, bucket):
    s3.put_object(Bucket=bucket, Key="from", Body=b"1" * MIB)
    s3.copy_object(Bucket=bucket, Key="to", CopySource=source(bucket))
    s3.put_object(Bucket=bucket, Key="from", Body=b"2" * MIB)
    world.assert_no_orphans()
    assert s3.get_object(Bucket=bucket, Key="to")["Body"].read() == b"1" * MIB
    s3.copy_object(Bucket=bucket, Key="to", CopySource=source(bucket))
    world.assert_no_orphans()
    assert s3.get_object(Bucket=bucket, Key="to")["Body"].read() == b"2" * MIB
    world.walrus.kill()
    world.walrus.start()
    s3.delete_object(Bucket=bucket, Key="from")
    assert s3.get_object(Bucket=bucket, Key="to")["Body"].read() == b"2" * MIB


def test_keys_of_sources(world, s3, bucket):
    for i, key in enumerate(["with space", "per%cent", "plus+", "ümlaut", "日本", "a//b", "/lead", "q?versionId=1", "x&y"]):
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
        s3.copy_object(Bucket=bucket, Key=f"to{i}", CopySource=source(bucket, key))
        assert s3.get_object(Bucket=bucket, Key=f"to{i}")["Body"].read() == key.encode()
    status, _, text = world.request("PUT", f"/{bucket}/slash", headers={"x-amz-copy-source": f"/{bucket}/x%26y"})
    assert status == 200 and b"<CopyObjectResult" in text


def test_directives(s3, bucket):
    s3.put_object(Bucket=bucket, Key="from", Body=b"x", Metadata={"a": "1"}, ContentType="text/one", CacheControl="no-cache",
                  Tagging="t=1", StorageClass="STANDARD_IA", WebsiteRedirectLocation="/there")
    s3.copy_object(Bucket=bucket, Key="to", CopySource=source(bucket), ContentType="text/ignored", Metadata={"b": "2"})
    head = s3.head_object(Bucket=bucket, Key="to")
    assert head["Metadata"] == {"a": "1"} and head["ContentType"] == "text/one" and head["CacheControl"] == "no-cache"
    assert "StorageClass" not in head and "WebsiteRedirectLocation" not in head
    assert s3.get_object_tagging(Bucket=bucket, Key="to")["TagSet"] == [{"Key": "t", "Value": "1"}]
    s3.copy_object(Bucket=bucket, Key="to", CopySource=source(bucket), MetadataDirective="REPLACE", Metadata={"b": "2"},
                   ContentType="text/two", TaggingDirective="REPLACE", Tagging="u=2&v=3", StorageClass="GLACIER_IR",
                   WebsiteRedirectLocation="/elsewhere")
    head = s3.head_object(Bucket=bucket, Key="to")
    assert head["Metadata"] == {"b": "2"} and head["ContentType"] == "text/two" and "CacheControl" not in head
    assert head["StorageClass"] == "GLACIER_IR" and head["WebsiteRedirectLocation"] == "/elsewhere"
    assert len(s3.get_object_tagging(Bucket=bucket, Key="to")["TagSet"]) == 2
    s3.copy_object(Bucket=bucket, Key="to", CopySource=source(bucket), TaggingDirective="REPLACE")
    assert s3.get_object_tagging(Bucket=bucket, Key="to")["TagSet"] == []
    for name in ("MetadataDirective", "TaggingDirective"):
        assert code(s3.copy_object, Bucket=bucket, Key="to", CopySource=source(bucket), **{name: "MOVE"}) == \
            ("InvalidArgument", 400)


def test_onto_itself(world, s3, bucket):
    s3.put_object(Bucket=bucket, Key="from", Body=b"x" * MIB, Metadata={"a": "1"})
    assert code(s3.copy_object, Bucket=bucket, Key="from", CopySource=source(bucket)) == ("InvalidRequest", 400)
    s3.copy_object(Bucket=bucket, Key="from", CopySource=source(bucket), MetadataDirective="REPLACE", Metadata={"b": "2"})
    s3.copy_object(Bucket=bucket, Key="from", CopySource=source(bucket), StorageClass="STANDARD_IA")
    got = s3.get_object(Bucket=bucket, Key="from")
    assert got["Metadata"] == {"b": "2"} and got["StorageClass"] == "STANDARD_IA" and got["Body"].read() == b"x" * MIB
    world.assert_no_orphans()
    s3.delete_object(Bucket=bucket, Key="from")
    world.assert_no_orphans()


def test_conditions_of_the_source(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="from", Body=b"x")["ETag"]
    at = s3.head_object(Bucket=bucket, Key="from")["LastModified"]
    hour = datetime.timedelta(hours=1)
    before, after = at - hour, at + hour
    name = "CopySourceIf"
    for good in ({"Match": etag}, {"NoneMatch": '"other"'}, {"ModifiedSince": before}, {"UnmodifiedSince": after},
                 {"Match": etag, "UnmodifiedSince": before}, {"NoneMatch": '"other"', "ModifiedSince": after}):
        s3.copy_object(Bucket=bucket, Key="to", CopySource=source(bucket), **{name + k: v for k, v in good.items()})
    for bad in ({"Match": '"other"'}, {"NoneMatch": etag}, {"ModifiedSince": at}, {"UnmodifiedSince": before},
                {"NoneMatch": etag, "ModifiedSince": before}, {"Match": '"other"', "UnmodifiedSince": after}):
        assert code(s3.copy_object, Bucket=bucket, Key="to", CopySource=source(bucket),
                    **{name + k: v for k, v in bad.items()}) == ("PreconditionFailed", 412)


def test_conditions_of_the_destination(world, s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="from", Body=b"x")["ETag"]
    header = {"x-amz-copy-source": f"{bucket}/from"}
    for more, status in (({"if-none-match": "*"}, 200), ({"if-none-match": "*"}, 412), ({"if-match": etag}, 200),
                         ({"if-match": '"other"'}, 412)):
        assert world.request("PUT", f"/{bucket}/to", headers={**header, **more})[0] == status


def test_versions_as_sources(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    one = s3.put_object(Bucket=bucket, Key="from", Body=b"one")["VersionId"]
    two = s3.put_object(Bucket=bucket, Key="from", Body=b"two")["VersionId"]
    marker = s3.delete_object(Bucket=bucket, Key="from")["VersionId"]
    done = s3.copy_object(Bucket=bucket, Key="to", CopySource=source(bucket, VersionId=one))
    assert done["CopySourceVersionId"] == one and done["VersionId"] not in (one, two)
    assert s3.get_object(Bucket=bucket, Key="to")["Body"].read() == b"one"
    assert code(s3.copy_object, Bucket=bucket, Key="to", CopySource=source(bucket)) == ("NoSuchKey", 404)
    assert code(s3.copy_object, Bucket=bucket, Key="to", CopySource=source(bucket, VersionId=marker)) == \
        ("InvalidRequest", 400)
    assert code(s3.copy_object, Bucket=bucket, Key="to", CopySource=source(bucket, VersionId="0" * 32)) == \
        ("NoSuchVersion", 404)
    assert code(s3.copy_object, Bucket=bucket, Key="to", CopySource=source(bucket, VersionId="never")) == \
        ("InvalidArgument", 400)
    s3.copy_object(Bucket=bucket, Key="from", CopySource=source(bucket, VersionId=one))
    assert s3.get_object(Bucket=bucket, Key="from")["Body"].read() == b"one"
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    for key in ("from", "to"):
        while True:
            try:
                found = s3.head_object(Bucket=bucket, Key=key)["VersionId"]
            except s3.exceptions.ClientError:
                break
            s3.delete_object(Bucket=bucket, Key=key, VersionId=found)
    s3.delete_object(Bucket=bucket, Key="from", VersionId=marker)
    for version in (one, two):
        s3.delete_object(Bucket=bucket, Key="from", VersionId=version)


def test_what_can_not_be_copied(world, s3, bucket):
    s3.put_object(Bucket=bucket, Key="from", Body=b"x")
    for header, expected in (("", b"InvalidArgument"), ("nothing", b"InvalidArgument"), ("a/%zz", b"InvalidArgument"),
                             ("never-there/k", b"NoSuchBucket"), (f"{bucket}/never", b"NoSuchKey")):
        text = world.request("PUT", f"/{bucket}/to", headers={"x-amz-copy-source": header})[2]
        assert b"<Code>" + expected in text, header
    bob = world.s3(world.other_keys)
    bob.create_bucket(Bucket=bucket[:50] + "-bob")
    try:
        for key in ("from", "never"):
            assert code(bob.copy_object, Bucket=bucket[:50] + "-bob", Key="to", CopySource=source(bucket, key)) == \
                ("AccessDenied", 403)
    finally:
        bob.delete_bucket(Bucket=bucket[:50] + "-bob")


def test_another_checksum(world, s3, bucket):
    body = b"some text" * 9000
    s3.put_object(Bucket=bucket, Key="from", Body=body)
    done = s3.copy_object(Bucket=bucket, Key="to", CopySource=source(bucket), ChecksumAlgorithm="SHA256")
    sha = base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert done["CopyObjectResult"]["ChecksumSHA256"] == sha
    assert s3.head_object(Bucket=bucket, Key="to", ChecksumMode="ENABLED")["ChecksumSHA256"] == sha
    assert len(world.blob_paths(bucket, "from")) == 1 and world.blob_paths(bucket, "to") == world.blob_paths(bucket, "from")


def test_a_copy_of_an_upload_has_its_digest(world, s3, bucket):
    """The SHA-256 of an upload comes later than the copy may."""
    body = random.Random(3).randbytes(PART + 10)
    upload, parts = make(s3, bucket, "from", [(1, body[:PART]), (2, body[PART:])])
    complete(s3, bucket, "from", upload, parts)
    s3.copy_object(Bucket=bucket, Key="to", CopySource=source(bucket))
    s3.delete_object(Bucket=bucket, Key="from")
    assert s3.get_object(Bucket=bucket, Key="to")["Body"].read() == body
    ec2 = boto3.client("ec2", endpoint_url=f"http://127.0.0.1:{world.clc.port}", region_name="mallee-1",
                       aws_access_key_id=world.admin_keys[0], aws_secret_access_key=world.admin_keys[1])
    image = ec2.register_image(Name="copied", ImageLocation=f"{bucket}/to", Architecture="x86_64",
                               RootDeviceName="/dev/sda")["ImageId"]
    assert world.rows("SELECT digest FROM image WHERE image_id = ?", image, daemon=world.clc) == \
        [(hashlib.sha256(body).hexdigest(),)]


def test_parts_that_are_copies(world, s3, bucket):
    body = random.Random(4).randbytes(2 * PART)
    s3.put_object(Bucket=bucket, Key="from", Body=body)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="to")["UploadId"]
    name = {"Bucket": bucket, "Key": "to", "UploadId": upload, "CopySource": source(bucket)}
    one = s3.upload_part_copy(PartNumber=1, CopySourceRange=f"bytes=7-{PART + 6}", **name)["CopyPartResult"]
    two = s3.upload_part_copy(PartNumber=2, **name)["CopyPartResult"]
    assert one["ETag"] == f'"{hashlib.md5(body[7:PART + 7]).hexdigest()}"' and "LastModified" in one
    for wrong in ("bytes=0-", "bytes=5-2", f"bytes=0-{2 * PART}", "1-2"):
        assert code(s3.upload_part_copy, PartNumber=3, CopySourceRange=wrong, **name) == ("InvalidArgument", 400)
    assert code(s3.upload_part_copy, PartNumber=3, CopySourceIfMatch='"x"', **name) == ("PreconditionFailed", 412)
    assert code(s3.upload_part_copy, PartNumber=10001, **name) == ("InvalidArgument", 400)
    complete(s3, bucket, "to", upload, [{"PartNumber": n, "ETag": p["ETag"]} for n, p in ((1, one), (2, two))])
    assert s3.get_object(Bucket=bucket, Key="to")["Body"].read() == body[7:PART + 7] + body
    world.assert_no_orphans()


def test_a_damaged_source_gives_no_part(world, s3, bucket):
    s3.put_object(Bucket=bucket, Key="from", Body=bytes(2 * MIB))
    path = world.blob_paths(bucket, "from")[0]
    with open(path, "r+b") as file:
        file.seek(MIB + 5)
        file.write(b"\x01")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="to")["UploadId"]
    assert code(s3.upload_part_copy, Bucket=bucket, Key="to", UploadId=upload, PartNumber=1,
                CopySource=source(bucket)) == ("InternalError", 500)
    assert code(s3.copy_object, Bucket=bucket, Key="to", CopySource=source(bucket), ServerSideEncryption="AES256") == \
        ("InternalError", 500)
    s3.abort_multipart_upload(Bucket=bucket, Key="to", UploadId=upload)
    world.assert_no_orphans()
