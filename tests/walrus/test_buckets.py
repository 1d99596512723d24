"""Buckets, listing, access, and the exact errors."""
import datetime
import random
import xml.etree.ElementTree as ElementTree

import pytest
from test_objects import code

NS = "{http://s3.amazonaws.com/doc/2006-03-01/}"


def test_life_of_a_bucket(s3):
    s3.create_bucket(Bucket="life-1", CreateBucketConfiguration={"LocationConstraint": "anywhere-7"})
    assert s3.get_bucket_location(Bucket="life-1")["LocationConstraint"] == "anywhere-7"
    assert s3.head_bucket(Bucket="life-1")["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert "life-1" in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    assert code(s3.create_bucket, Bucket="life-1") == ("BucketAlreadyOwnedByYou", 409)
    s3.put_object(Bucket="life-1", Key="a", Body=b"")
    assert code(s3.delete_bucket, Bucket="life-1") == ("BucketNotEmpty", 409)
    s3.delete_object(Bucket="life-1", Key="a")
    s3.create_multipart_upload(Bucket="life-1", Key="left open")
    s3.delete_bucket(Bucket="life-1")
    assert code(s3.head_bucket, Bucket="life-1") == ("404", 404)
    assert code(s3.list_objects, Bucket="life-1") == ("NoSuchBucket", 404)
    assert code(s3.put_object, Bucket="life-1", Key="a", Body=b"x") == ("NoSuchBucket", 404)


@pytest.mark.parametrize("name", ["ab", "Upper", "under_score", "192.168.0.1", "a..b", "-a-", "x" * 64])
def test_names_that_are_none(world, name):
    status, _, text = world.request("PUT", f"/{name}")
    assert status == 400 and b"<Code>InvalidBucketName</Code>" in text


def test_accounts_are_apart(world, bucket, s3):
    other = world.s3(world.other_keys)
    s3.put_object(Bucket=bucket, Key="a", Body=b"secret")
    for call, extra in [(other.get_object, {"Key": "a"}), (other.put_object, {"Key": "a", "Body": b"x"}),
                        (other.delete_object, {"Key": "a"}), (other.list_objects, {}), (other.delete_bucket, {}),
                        (other.create_multipart_upload, {"Key": "b"}), (other.get_bucket_location, {})]:
        assert code(call, Bucket=bucket, **extra) == ("AccessDenied", 403)
    assert code(other.head_object, Bucket=bucket, Key="a") == ("403", 403)
    assert code(other.create_bucket, Bucket=bucket) == ("BucketAlreadyExists", 409)
    assert other.list_buckets()["Buckets"] == []
    assert other.list_buckets()["Owner"]["ID"] != s3.list_buckets()["Owner"]["ID"]
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"secret"


def plain(world, method, path, headers=None, body=None):
    connection = world.connection()
    connection.request(method, path, body=body, headers=headers or {})
    reply = connection.getresponse()
    text = reply.read()
    connection.close()
    return reply, text


def test_anonymous(world, bucket):
    for method, path in [("GET", "/"), ("GET", f"/{bucket}"), ("GET", f"/{bucket}/a"), ("PUT", f"/{bucket}/a"),
                         ("DELETE", f"/{bucket}"), ("PUT", "/new-bucket-of-nobody")]:
        reply, text = plain(world, method, path, {"Content-Length": "0"})
        assert reply.status == 403 and b"<Code>AccessDenied</Code>" in text


def test_shape_of_an_error(world, bucket):
    status, headers, text = world.request("GET", f"/{bucket}/no such key")
    error = ElementTree.fromstring(text)
    assert status == 404 and error.tag == "Error" and headers["content-type"] == "application/xml"
    fields = {child.tag: child.text for child in error}
    assert fields["Code"] == "NoSuchKey" and fields["Message"] == "The specified key does not exist."
    assert fields["Key"] == "no such key" and fields["Resource"] == f"/{bucket}/no%20such%20key"
    assert fields["RequestId"] == headers["x-amz-request-id"] and fields["HostId"] == headers["x-amz-id-2"]
    status, headers, text = world.request("HEAD", f"/{bucket}/no such key")
    assert (status, text, headers["content-length"]) == (404, b"", "0") and headers["x-amz-request-id"]


@pytest.mark.parametrize("method, path, query, headers, status, name", [
    ("PUT", "/B", {}, {"content-length": None}, 411, "MissingContentLength"),
    ("PUT", "/B", {}, {"content-length": str(6 << 30)}, 400, "EntityTooLarge"),
    ("POST", "/B", {}, {}, 405, "MethodNotAllowed"),
    ("GET", "/B", {"acl": ""}, {}, 404, "NoSuchKey"),
    ("PUT", "/B", {"uploadId": "x", "partNumber": "0"}, {}, 400, "InvalidArgument"),
    ("PUT", "/B", {"uploadId": "x", "partNumber": "1"}, {}, 404, "NoSuchUpload"),
    ("GET", "/B", {"versionId": "0" * 32}, {}, 404, "NoSuchVersion"),
    ("GET", "/B", {"versionId": "v1"}, {}, 400, "InvalidArgument"),
    ("PUT", "/B", {}, {"x-amz-copy-source": "/no-such-bucket/b"}, 404, "NoSuchBucket"),
])
def test_refused(world, bucket, method, path, query, headers, status, name):
    path = path.replace("/B", f"/{bucket}/key")
    length = headers.get("content-length", "0")
    headers = {k: v for k, v in headers.items() if k != "content-length"}
    target, signed, _ = world.signed(method, path, query, headers)
    connection = world.connection(20)
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    for key, value in signed.items():
        connection.putheader(key, value)
    if length is not None:
        connection.putheader("content-length", length)
    connection.endheaders()
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    assert (reply.status, f"<Code>{name}</Code>" in text) == (status, True), text


def test_wrong_signatures(world, bucket):
    wrong = (world.admin_keys[0], "x" * 40)
    unknown = ("AKIAAAAAAAAAAAAAAAAA", "x" * 40)
    late = datetime.datetime.utcnow() - datetime.timedelta(minutes=16)
    for keys, now, name in [(wrong, None, "SignatureDoesNotMatch"), (unknown, None, "InvalidAccessKeyId"),
                            (None, late, "RequestTimeTooSkewed")]:
        status, _, text = world.request("GET", f"/{bucket}", keys=keys, now=now)
        assert status == 403 and f"<Code>{name}</Code>".encode() in text


def listed(s3, bucket, version, **options):
    """Everything, page by page: keys and common prefixes in the order of the pages."""
    keys, prefixes, pages = [], [], 0
    name = "list_objects_v2" if version == 2 else "list_objects"
    for page in s3.get_paginator(name).paginate(Bucket=bucket, **options):
        pages += 1
        assert pages < 1000
        keys += [o["Key"] for o in page.get("Contents", [])]
        prefixes += [p["Prefix"] for p in page.get("CommonPrefixes", [])]
    return keys, prefixes


def expected(names, prefix="", delimiter=""):
    keys, prefixes = [], []
    for name in sorted(names, key=str.encode):
        if not name.startswith(prefix):
            continue
        at = name.find(delimiter, len(prefix)) if delimiter else -1
        if at < 0:
            keys.append(name)
        elif name[:at + len(delimiter)] not in prefixes:
            prefixes.append(name[:at + len(delimiter)])
    return keys, prefixes


def test_listing_agrees_with_a_model(s3, bucket):
    rng = random.Random(4)
    names = {"/".join("".join(rng.choice("ab%+ é~") for _ in range(rng.randint(1, 2)))
                      for _ in range(rng.randint(1, 4))) for _ in range(150)} | {"a/", "a", "a/b", "ab/", "zz\U0001f600"}
    for name in names:
        s3.put_object(Bucket=bucket, Key=name, Body=b"")
    for prefix in ("", "a", "a/", "b/a", "nothing", "é"):
        for delimiter in ("", "/", "a", "b/", "%"):
            for size in (1, 3, 1000):
                if size == 1 and not delimiter:
                    continue
                options = {"Prefix": prefix, "Delimiter": delimiter, "PaginationConfig": {"PageSize": size}}
                for version in (1, 2):
                    assert listed(s3, bucket, version, **options) == expected(names, prefix, delimiter), options


def test_listing_parameters(world, s3, bucket):
    for name in ("a", "b c", "d<e", "f/1", "f/2"):
        s3.put_object(Bucket=bucket, Key=name, Body=name.encode())
    page = s3.list_objects_v2(Bucket=bucket, MaxKeys=2, FetchOwner=True)
    assert (page["KeyCount"], page["IsTruncated"], page["MaxKeys"]) == (2, True, 2)
    assert page["Contents"][0]["Owner"]["DisplayName"] == "mallee"
    assert s3.list_objects_v2(Bucket=bucket, StartAfter="d<e")["Contents"][0]["Key"] == "f/1"
    assert [o["Key"] for o in s3.list_objects(Bucket=bucket, Marker="b c")["Contents"]] == ["d<e", "f/1", "f/2"]
    page = s3.list_objects(Bucket=bucket, Delimiter="/", Marker="f/")
    assert "CommonPrefixes" not in page and "Contents" not in page
    empty = s3.list_objects_v2(Bucket=bucket, MaxKeys=0)
    assert (empty["KeyCount"], empty["IsTruncated"]) == (0, False)
    assert code(s3.list_objects_v2, Bucket=bucket, ContinuationToken="!") == ("InvalidArgument", 400)
    _, _, text = world.request("GET", f"/{bucket}", {"encoding-type": "url", "prefix": "b c", "list-type": "2"})
    assert b"<Prefix>b%20c</Prefix>" in text and b"<EncodingType>url</EncodingType>" in text
    for query, name in [({"max-keys": "x"}, "InvalidArgument"), ({"max-keys": "-1"}, "InvalidArgument"),
                        ({"encoding-type": "base64"}, "InvalidArgument"), ({"list-type": "3"}, "InvalidArgument")]:
        status, _, text = world.request("GET", f"/{bucket}", query)
        assert status == 400 and name.encode() in text


def test_a_revoked_key_stops_and_an_outage_does_not_hurt(world, bucket):
    """The clc goes away: known keys go on. It comes back with a key revoked: that stops at once."""
    import sqlite3
    import signal
    from world import World, wait_for
    keys = World.credentials(world.admin("account", "create", "carol"))
    wait_for(lambda: world.knows(keys[0]), 5)
    carol = world.s3(keys)
    carol.list_buckets()
    world.clc.kill(signal.SIGTERM)
    carol.list_buckets()
    world.walrus.kill()
    world.walrus.start()
    carol.list_buckets()
    with sqlite3.connect(f"{world.clc.state}/clc.db") as db:
        db.execute("UPDATE access_key SET is_active = 0, generation = generation + 1 WHERE access_key_id = ?",
                   keys[:1])
        db.execute("UPDATE outbox_state SET last_revision = last_revision + 1")
        db.execute("INSERT INTO outbox SELECT last_revision, 1, 'access_key', ?, '', NULL FROM outbox_state", keys[:1])
    db.close()
    world.clc.start()

    def refused():
        try:
            carol.list_buckets()
        except carol.exceptions.ClientError as error:
            return error.response["Error"]["Code"] == "InvalidAccessKeyId"
        return False
    wait_for(refused, 5, "the revoked key went on working")
    world.s3().head_bucket(Bucket=bucket)
