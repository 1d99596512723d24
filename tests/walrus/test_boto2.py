"""boto 2, which scripts written for Eucalyptus use: each way to connect, and what it can ask."""
import io
import random

import boto
import boto.exception
import boto.s3.connection
import pytest
from boto.s3.acl import ACL
from clients import MIB


def connect_s3(path):
    return lambda world: boto.connect_s3(*world.admin_keys, host="127.0.0.1", port=world.walrus.port, is_secure=False,
                                         path=path, calling_format=boto.s3.connection.OrdinaryCallingFormat())


def connect_walrus(world):
    return boto.connect_walrus("127.0.0.1", *world.admin_keys, port=world.walrus.port)


WAYS = {"connect-walrus": connect_walrus, "root": connect_s3("/"), "Walrus": connect_s3("/services/Walrus"),
        "objectstorage": connect_s3("/services/objectstorage")}


@pytest.fixture(params=WAYS)
def connection(request, world):
    return WAYS[request.param](world)


def test_buckets_and_keys(connection, bucket):
    assert bucket in [b.name for b in connection.get_all_buckets()]
    made = connection.create_bucket(bucket + "-2")
    key = made.new_key("dir/ä key")
    key.set_metadata("colour", "blue")
    key.set_contents_from_string("by boto 2", headers={"Content-Type": "text/plain"})
    got = made.get_key("dir/ä key")
    assert (got.get_contents_as_string(), got.content_type, got.get_metadata("colour")) == (b"by boto 2", "text/plain", "blue")
    assert got.get_contents_as_string(headers={"Range": "bytes=3-6"}) == b"boto"
    copy = key.copy(made.name, "copy & more")
    assert copy.etag == got.etag
    for name in ("a/1", "a/2", "b"):
        made.new_key(name).set_contents_from_string(name)
    assert [k.name for k in made.list(delimiter="/")] == ["b", "copy & more", "a/", "dir/"]
    assert [k.name for k in made.get_all_keys(max_keys=2, prefix="a")] == ["a/1", "a/2"]
    assert made.get_key("absent") is None and connection.lookup(bucket + "-3") is None
    with pytest.raises(boto.exception.S3ResponseError) as refused:
        connection.delete_bucket(made.name)
    assert (refused.value.status, refused.value.error_code) == (409, "BucketNotEmpty")
    done = made.delete_keys([k.name for k in made.list()])
    assert len(done.deleted) == 5 and not done.errors
    connection.delete_bucket(made.name)


def test_links(connection, bucket):
    one = connection.get_bucket(bucket)
    one.new_key("a b").set_contents_from_string("linked")
    import urllib.request
    with urllib.request.urlopen(one.get_key("a b").generate_url(60), timeout=20) as reply:
        assert reply.read() == b"linked"


def test_parts(connection, s3, bucket):
    body = random.Random(9).randbytes(5 * MIB + 10)
    upload = connection.get_bucket(bucket).initiate_multipart_upload("large", metadata={"a": "b"})
    upload.upload_part_from_file(io.BytesIO(body[:5 * MIB]), 1)
    upload.upload_part_from_file(io.BytesIO(body[5 * MIB:]), 2)
    assert [(p.part_number, p.size) for p in upload] == [(1, 5 * MIB), (2, 10)]
    assert upload.complete_upload().etag.endswith('-2"')
    got = connection.get_bucket(bucket).get_key("large")
    assert got.get_contents_as_string() == body and got.get_metadata("a") == "b"
    other = connection.get_bucket(bucket).initiate_multipart_upload("other")
    assert [u.id for u in connection.get_bucket(bucket).get_all_multipart_uploads()] == [other.id]
    other.copy_part_from_key(bucket, "large", 1, 0, 9)
    other.complete_upload()
    assert s3.get_object(Bucket=bucket, Key="other")["Body"].read() == body[:10]


def test_settings(connection, world, bucket):
    one = connection.get_bucket(bucket)
    key = one.new_key("k")
    key.set_contents_from_string("v", policy="public-read")
    grants = key.get_acl().acl.grants
    assert sorted(g.permission for g in grants) == ["FULL_CONTROL", "READ"]
    assert [g.uri for g in grants if g.permission == "READ"] == ["http://acs.amazonaws.com/groups/global/AllUsers"]
    key.set_acl("private")
    assert len(key.get_acl().acl.grants) == 1
    one.set_acl("public-read-write")
    assert len(one.get_acl().acl.grants) == 3
    policy = one.get_acl()
    policy.acl = ACL(policy)
    policy.acl.add_user_grant("READ", world.s3(world.other_keys).list_buckets()["Owner"]["ID"])
    one.set_acl(policy)
    assert [g.permission for g in one.get_acl().acl.grants] == ["READ"]
    one.set_acl("private")
    assert (one.get_location() or None) == world.s3().get_bucket_location(Bucket=bucket)["LocationConstraint"]
    assert one.get_versioning_status() == {}
    one.configure_versioning(True)
    assert one.get_versioning_status() == {"Versioning": "Enabled"}
    key.set_contents_from_string("newer")
    versions = [v for v in one.list_versions() if v.name == "k"]
    assert [v.is_latest for v in versions] == [True, False]
    assert versions[1].get_contents_as_string(version_id=versions[1].version_id) == b"v"
    for version in one.list_versions():
        one.delete_key(version.name, version_id=version.version_id)
    assert list(one.list_versions()) == []
