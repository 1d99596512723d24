"""Objects through real clients: what was put comes back, as a whole, in ranges, under conditions."""
import hashlib
import base64
import datetime
import http.client
import random
import signal
import socket
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from botocore.exceptions import ClientError

from world import wait_for

MIB = 1 << 20
SIZES = [0, 1, 65535, 65536, 65537, MIB - 1, MIB, MIB + 1, 3 * MIB + 7]


def code(call, *args, **kwargs):
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    error = caught.value.response
    return error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize("size", SIZES)
def test_what_was_put_comes_back(s3, bucket, size):
    body = random.Random(size).randbytes(size)
    put = s3.put_object(Bucket=bucket, Key="a", Body=body)
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="a")
    assert got["Body"].read() == body and got["ContentLength"] == size and got["ETag"] == put["ETag"]
    assert got["ContentType"] == "binary/octet-stream" and got["AcceptRanges"] == "bytes"
    head = s3.head_object(Bucket=bucket, Key="a")
    assert head["ContentLength"] == size and head["LastModified"] == got["LastModified"]
    assert abs(head["LastModified"] - datetime.datetime.now(datetime.timezone.utc)) < datetime.timedelta(minutes=1)


def ascii_id(key):
    return key.encode("unicode_escape").decode()[:20]


@pytest.mark.parametrize("key", ["plain", "a/b/c", "with space", "per%cent", "plus+", "ümlaut", "日本", "a//b", "/lead",
                                 "../up", "./dot", "q?x=1&y", "#hash", "tilde~", "quote'\"<>&", "x" * 1024, "end/"], ids=ascii_id)
def test_keys_are_bytes_not_paths(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    s3.delete_object(Bucket=bucket, Key=key)
    assert code(s3.get_object, Bucket=bucket, Key=key) == ("NoSuchKey", 404)


def test_a_key_too_long(s3, bucket):
    assert code(s3.put_object, Bucket=bucket, Key="x" * 1025, Body=b"") == ("KeyTooLongError", 400)


def test_headers_are_returned_as_put(s3, bucket):
    stored = {"ContentType": "text/html; charset=utf-8", "CacheControl": "max-age=60", "ContentLanguage": "de",
              "ContentDisposition": 'attachment; filename="x y"', "ContentEncoding": "gzip"}
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", Metadata={"One": "1", "two": "zwei  2"},
                  Expires=datetime.datetime(2030, 1, 1), **stored)
    for reply in (s3.get_object(Bucket=bucket, Key="a"), s3.head_object(Bucket=bucket, Key="a")):
        assert {k: reply[k] for k in stored} == stored
        assert reply["Metadata"] == {"one": "1", "two": "zwei  2"}
        assert reply["Expires"].year == 2030
    got = s3.get_object(Bucket=bucket, Key="a", ResponseContentType="a/b", ResponseCacheControl="no-cache")
    assert got["ContentType"] == "a/b" and got["CacheControl"] == "no-cache"
    assert code(s3.put_object, Bucket=bucket, Key="b", Body=b"", Metadata={"x": "y" * 2048}) == ("MetadataTooLarge", 400)


def test_an_overwritten_object_is_the_new_one(world, s3, bucket):
    for size in (10, 2 * MIB, 5, 3 * MIB):
        s3.put_object(Bucket=bucket, Key="a", Body=b"%d" % size * (size // len(b"%d" % size)))
        assert s3.get_object(Bucket=bucket, Key="a")["Body"].read()[:1] == b"%d" % (size // 10 ** (len(str(size)) - 1))
    assert len(world.blob_paths(bucket, "a")) == 1
    world.assert_no_orphans()


def test_ranges(s3, bucket):
    body = random.Random(1).randbytes(2 * MIB + 100)
    s3.put_object(Bucket=bucket, Key="a", Body=body)
    size = len(body)
    for text, first, last in [("0-0", 0, 0), ("0-99", 0, 99), ("100-", 100, size - 1), ("-7", size - 7, size - 1),
                              (f"{MIB - 1}-{MIB}", MIB - 1, MIB), (f"{size - 1}-", size - 1, size - 1),
                              (f"0-{size * 2}", 0, size - 1), (f"5-{2 * MIB + 3}", 5, 2 * MIB + 3)]:
        got = s3.get_object(Bucket=bucket, Key="a", Range=f"bytes={text}")
        assert got["Body"].read() == body[first:last + 1]
        assert got["ContentRange"] == f"bytes {first}-{last}/{size}"
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert s3.head_object(Bucket=bucket, Key="a", Range=f"bytes={text}")["ContentLength"] == last - first + 1
    assert code(s3.get_object, Bucket=bucket, Key="a", Range=f"bytes={size}-") == ("InvalidRange", 416)
    assert s3.get_object(Bucket=bucket, Key="a", Range="lines=1-2")["ContentLength"] == size


def test_conditions(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"x")["ETag"]
    at = s3.head_object(Bucket=bucket, Key="a")["LastModified"]
    hour = datetime.timedelta(hours=1)
    for ok in ({"IfMatch": etag}, {"IfNoneMatch": '"other"'}, {"IfModifiedSince": at - hour},
               {"IfUnmodifiedSince": at + hour}, {"IfMatch": etag, "IfUnmodifiedSince": at - hour}):
        assert s3.get_object(Bucket=bucket, Key="a", **ok)["Body"].read() == b"x"
    assert code(s3.get_object, Bucket=bucket, Key="a", IfMatch='"other"') == ("PreconditionFailed", 412)
    assert code(s3.get_object, Bucket=bucket, Key="a", IfUnmodifiedSince=at - hour) == ("PreconditionFailed", 412)
    assert code(s3.get_object, Bucket=bucket, Key="a", IfNoneMatch=etag) == ("304", 304)
    assert code(s3.get_object, Bucket=bucket, Key="a", IfModifiedSince=at) == ("304", 304)
    assert code(s3.head_object, Bucket=bucket, Key="a", IfMatch='"other"') == ("412", 412)


def test_digests_are_checked(world, s3, bucket):
    good = base64.b64encode(hashlib.md5(b"body").digest()).decode()
    s3.put_object(Bucket=bucket, Key="a", Body=b"body", ContentMD5=good)
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    assert code(s3.put_object, Bucket=bucket, Key="a", Body=b"more", ContentMD5=wrong) == ("BadDigest", 400)
    assert code(s3.put_object, Bucket=bucket, Key="a", Body=b"more", ContentMD5="!") == ("InvalidDigest", 400)
    status, _, text = world.request("PUT", f"/{bucket}/a", body=b"more", payload=hashlib.sha256(b"x").hexdigest())
    assert status == 400 and b"<Code>XAmzContentSHA256Mismatch</Code>" in text
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"body"


def test_delete_many(s3, bucket):
    keys = [f"k{i:04}" for i in range(50)] + ["<&>", "ümlaut"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    done = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": k} for k in keys + ["never there"]]})
    assert sorted(d["Key"] for d in done["Deleted"]) == sorted(keys + ["never there"])
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert "Deleted" not in s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}], "Quiet": True})
    assert code(s3.delete_objects, Bucket=bucket,
                Delete={"Objects": [{"Key": f"{i}"} for i in range(1001)]}) == ("MalformedXML", 400)


def test_concurrent_puts_of_one_key_one_wins_whole(world, bucket):
    bodies = [bytes([i]) * (200_000 + i) for i in range(8)]
    clients = [world.s3() for _ in bodies]
    threads = [threading.Thread(target=c.put_object, kwargs={"Bucket": bucket, "Key": "a", "Body": b})
               for c, b in zip(clients, bodies)]
    for t in threads:
        t.start()
    seen = set()
    while any(t.is_alive() for t in threads):
        try:
            seen.add(clients[0].get_object(Bucket=bucket, Key="a")["Body"].read())
        except clients[0].exceptions.NoSuchKey:
            pass
    for t in threads:
        t.join()
    assert seen <= set(bodies)
    assert clients[0].get_object(Bucket=bucket, Key="a")["Body"].read() in bodies
    world.assert_no_orphans()


def test_reading_while_it_is_replaced(world, s3, bucket):
    """A reader gets the object that it began with, also when it is gone meanwhile."""
    old = random.Random(2).randbytes(24 * MIB)
    s3.put_object(Bucket=bucket, Key="a", Body=old)
    stream = s3.get_object(Bucket=bucket, Key="a")["Body"]
    first = stream.read(MIB)
    s3.put_object(Bucket=bucket, Key="a", Body=b"new")
    world.assert_no_orphans()
    assert first + stream.read() == old
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"new"


def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_presigned(world, bucket, version):
    s3 = world.s3(version=version)
    s3.put_object(Bucket=bucket, Key="a b", Body=b"content")
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "a b", "ResponseContentType": "x/y"})
    assert fetch(url) == (200, b"content")
    status, text = fetch(url.replace("ignature=", "ignature=0"))
    assert status in (400, 403)
    assert fetch(world.endpoint + f"/{bucket}/a%20b")[0] == 403
    put = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "c"})
    with urllib.request.urlopen(urllib.request.Request(put, data=b"by url", method="PUT",
                                                       headers={"Content-Type": ""}), timeout=30) as reply:
        assert reply.status == 200
    assert s3.get_object(Bucket=bucket, Key="c")["Body"].read() == b"by url"


def put_link(url, body=b"body", **headers):
    with urllib.request.urlopen(urllib.request.Request(url, data=body, method="PUT",
                                                       headers={"Content-Type": "", **headers}), timeout=30) as reply:
        return reply.status


def own_link(world, target, keys=None, **parameters):
    """A link that SDKs make which move all headers into the query."""
    request = botocore.awsrequest.AWSRequest("PUT", world.endpoint + target + "?" + urllib.parse.urlencode(parameters))
    botocore.auth.S3SigV4QueryAuth(botocore.credentials.Credentials(*(keys or world.admin_keys)), "s3", "mallee-1",
                                   expires=600).add_auth(request)
    return request.url


def test_parameters_of_links_are_headers(world, bucket, s3):
    link = own_link(world, f"/{bucket}/k", **{
        "x-amz-meta-colour": "red and blue", "X-Amz-Meta-Size": "7", "X-Amz-Storage-Class": "STANDARD_IA",
        "x-amz-acl": "public-read", "x-amz-tagging": "a=b", "x-amz-server-side-encryption": "AES256",
        "x-amz-checksum-crc32": "AAAAAA==", "x-amz-sdk-checksum-algorithm": "CRC32"})
    assert put_link(link) == 200
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["Metadata"] == {"colour": "red and blue", "size": "7"} and head["StorageClass"] == "STANDARD_IA"
    assert fetch(f"{world.endpoint}/{bucket}/k") == (200, b"body")  # by everybody
    assert head["ServerSideEncryption"] == "AES256" and not s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]
    for changed in (link.replace("public-read", "private"), link + "&x-amz-meta-more=1"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            put_link(changed)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        put_link(link, **{"x-amz-acl": "private"})
    for name, value in (("x-amz-storage-class", "NONSENSE"), ("x-amz-meta-a", "x\ny"), ("x-amz-meta-(", "x"),
                        ("x-amz-server-side-encryption", "aws:kms")):
        with pytest.raises(urllib.error.HTTPError, match="400"):
            put_link(own_link(world, f"/{bucket}/k", **{name: value}))
    # where the signature is in the header they are parameters
    assert world.request("PUT", f"/{bucket}/k", {"x-amz-meta-colour": "red"}, body=b"x")[0] == 200
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {}


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_links_that_boto3_makes(world, bucket, s3, version):
    """Version 4 leaves the headers to the client; Version 2 has them in the link, and signs them as headers."""
    url = world.s3(version=version).generate_presigned_url("put_object", {
        "Bucket": bucket, "Key": "k", "Metadata": {"colour": "red"}, "ACL": "public-read", "Tagging": "a=b",
        "ContentType": "x/y"})
    headers = {"x-amz-meta-colour": "red", "x-amz-acl": "public-read", "x-amz-tagging": "a=b", "Content-Type": "x/y"}
    if version == "s3":
        assert "x-amz-acl=public-read" in url
        with pytest.raises(urllib.error.HTTPError, match="403"):
            put_link(url, **{"x-amz-acl": "public-read-write"})
        headers = {}
    if version == "s3v4":
        assert put_link(url, **headers) == 200
    else:
        connection = world.connection()
        connection.request("PUT", url[len(world.endpoint):], body=b"body")  # without a Content-Type
        assert connection.getresponse().status == 200
        connection.close()
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["Metadata"] == {"colour": "red"} and head["ContentType"] == "x/y"
    assert fetch(f"{world.endpoint}/{bucket}/k") == (200, b"body")
    assert len(s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]) == 1


def test_a_header_keeps_its_effect_in_a_link(world, bucket, s3):
    """What Version 2 signs is the same wherever it is sent: who has a link to copy an object puts none of his own there."""
    s3.put_object(Bucket=bucket, Key="source", Body=b"source")
    url = world.s3(version="s3").generate_presigned_url("copy_object", {
        "Bucket": bucket, "Key": "copy", "CopySource": {"Bucket": bucket, "Key": "source"}})
    assert "x-amz-copy-source=" in url
    connection = world.connection()
    connection.request("PUT", url[len(world.endpoint):], body=b"mine")
    assert connection.getresponse().status == 200
    connection.close()
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == b"source"


def test_a_header_that_comes_twice(world, bucket, s3):
    """In two it would have the same signature, and say less."""
    owner = s3.get_bucket_acl(Bucket=bucket)["Owner"]["ID"]
    both = f'id={owner},uri="http://acs.amazonaws.com/groups/global/AllUsers"'
    url = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "k", "GrantRead": both})

    def put(*values):
        connection = world.connection()
        connection.putrequest("PUT", url[len(world.endpoint):])
        for value in values:
            connection.putheader("x-amz-grant-read", value)
        connection.putheader("Content-Length", "1")
        connection.endheaders(b"x")
        reply = connection.getresponse()
        body = reply.read()
        connection.close()
        return reply.status, body
    status, body = put(*both.split(","))
    assert (status, b"<Code>InvalidArgument</Code>" in body) == (400, True), body
    assert put(both)[0] == 200


def test_an_expired_url(world, bucket, s3):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "a"}, ExpiresIn=1)
    import time
    time.sleep(2.1)
    status, text = fetch(url)
    assert status == 403 and b"<Code>AccessDenied</Code>" in text


def test_signature_version_2(world, bucket):
    s3 = world.s3(version="s3")
    s3.put_object(Bucket=bucket, Key="ü x", Body=b"two", Metadata={"a": "b"})
    assert s3.get_object(Bucket=bucket, Key="ü x")["Body"].read() == b"two"
    assert s3.list_objects(Bucket=bucket, Prefix="ü")["Contents"][0]["Size"] == 3


@pytest.mark.parametrize("path", ["/", "/services/Walrus", "/services/objectstorage"])
def test_boto_2(world, bucket, path):
    import boto.s3.connection
    connection = boto.connect_s3(*world.admin_keys, host="127.0.0.1", port=world.walrus.port, is_secure=False,
                                 path=path, calling_format=boto.s3.connection.OrdinaryCallingFormat())
    assert bucket in [b.name for b in connection.get_all_buckets()]
    one = connection.get_bucket(bucket)
    key = one.new_key("dir/ä key")
    key.set_contents_from_string("by boto 2")
    assert one.get_key("dir/ä key").get_contents_as_string() == b"by boto 2"
    assert [k.name for k in one.list(prefix="dir/")] == ["dir/ä key"]
    assert one.get_key("absent") is None
    key.delete()


def test_boto_2_connect_walrus(world, bucket):
    import boto
    connection = boto.connect_walrus("127.0.0.1", *world.admin_keys, port=world.walrus.port)
    one = connection.get_bucket(bucket)
    one.new_key("k").set_contents_from_string("v")
    assert one.get_key("k").get_contents_as_string() == b"v"


def test_keys_that_look_like_mounts(world, bucket, s3):
    """In virtual-host style all of the path is the key, also for the signature."""
    connection = world.connection()

    def get(path, signed_path=None):
        host = f"{bucket}.s3.test:{world.walrus.port}"
        _, headers, _ = world.signed("GET", signed_path or path, headers={"host": host})
        connection.request("GET", path, headers=headers)
        reply = connection.getresponse()
        return reply.status, reply.read()

    keys = ["k", "services/Walrus/k", "services/objectstorage/k", "services/internal/k", "services/internals"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in keys:
        assert get("/" + key) == (200, key.encode())
    assert get("/services/Walrus/k", "/k")[0] == 403
    connection.close()


def test_virtual_host_style(world, bucket, s3):
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"x")
    connection = world.connection()
    host = f"{bucket}.s3.test:{world.walrus.port}"
    target, headers, _ = world.signed("GET", "/a/b", headers={"host": host})
    connection.request("GET", target, headers=headers)
    reply = connection.getresponse()
    assert (reply.status, reply.read()) == (200, b"x")
    connection.close()


def test_tls(world, bucket, s3):
    context = ssl.create_default_context(cafile=f"{world.walrus.state}/trust/ca.pem")
    body = random.Random(3).randbytes(2 * MIB)
    s3.put_object(Bucket=bucket, Key="a", Body=body)
    connection = http.client.HTTPSConnection("127.0.0.1", world.walrus.port, context=context, timeout=30)
    target, headers, _ = world.signed("GET", f"/{bucket}/a")
    connection.request("GET", target, headers=headers)
    assert connection.getresponse().read() == body
    connection.close()


def test_a_renewed_certificate(world):
    """One that names no host of users', with two thirds of its life behind it: the one that replaces it names walrus'."""
    x509 = pytest.importorskip("cryptography.x509", reason="python3-cryptography is not installed")
    from cryptography.hazmat.primitives import hashes, serialization
    trust = f"{world.walrus.state}/trust"
    with open(f"{trust}/certificate.pem", "rb") as file:
        old = x509.load_pem_x509_certificate(file.read())
    with open(f"{world.clc.state}/trust/ca.key", "rb") as file:
        ca_key = serialization.load_pem_private_key(file.read(), None)
    now = datetime.datetime.utcnow()
    builder = x509.CertificateBuilder(old.issuer, old.subject, old.public_key(), x509.random_serial_number(),
                                      now - datetime.timedelta(80), now + datetime.timedelta(10))
    for extension in old.extensions:
        if not isinstance(extension.value, x509.SubjectAlternativeName):
            builder = builder.add_extension(extension.value, extension.critical)
    world.walrus.kill(signal.SIGTERM)
    with open(f"{trust}/certificate.pem", "wb") as file:
        file.write(builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    world.walrus.start()
    context = ssl.create_default_context(cafile=f"{trust}/ca.pem")

    def is_named():
        try:
            with socket.create_connection(("127.0.0.1", world.walrus.port), timeout=5) as plain:
                with context.wrap_socket(plain, server_hostname="127.0.0.1"):
                    return True
        except ssl.SSLCertVerificationError:
            return False
    wait_for(is_named, 30, "the certificate was not renewed")
