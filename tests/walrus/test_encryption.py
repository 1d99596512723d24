"""Encryption at rest: by keys of walrus, and by keys that only the client has."""
import base64
import hashlib
import os
import random

import boto3
import botocore.client
import pytest
from test_multipart import PART, complete, make
from test_objects import MIB, code

KEY, OTHER = b"0123456789abcdef0123456789abcdef", b"x" * 32
MINE = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY}
WRONG = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": OTHER}
OF_SOURCE = {"CopySourceSSECustomerAlgorithm": "AES256", "CopySourceSSECustomerKey": KEY}
SERVICE = {"ServerSideEncryption": "AES256"}
RULE = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
MARK = b"PLAINTEXT-MARKER"
BODY = MARK * 20000


pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS")


@pytest.fixture
def tls(world):
    """The same service by TLS: keys of clients travel by nothing else. The certificate is for the daemons' own names."""
    return boto3.client("s3", endpoint_url=f"https://127.0.0.1:{world.walrus.port}", region_name="mallee-1",
                        aws_access_key_id=world.admin_keys[0], aws_secret_access_key=world.admin_keys[1],
                        verify=False,
                        config=botocore.client.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}))


def stored(world, bucket, key):
    """What lies on the disk: files, and rows of small ones."""
    data = b""
    for path in world.blob_paths(bucket, key):
        with open(path, "rb") as file:
            data += file.read()
    rows = world.rows("SELECT e.data FROM extent e JOIN object o ON o.content_id = e.content_id JOIN bucket b ON"
                      " b.bucket_id = o.bucket_id WHERE b.name = ? AND o.object_key = ?", bucket, key.encode())
    return data + b"".join(r[0] for r in rows if r[0])


def check_ranges(s3, bucket, key, body, **more):
    size = len(body)
    for first, last in [(0, 0), (15, 16), (17, 33), (MIB - 1, MIB), (size // 2 + 3, size // 2 + 90), (size - 5, size - 1)]:
        if last < size:
            got = s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={first}-{last}", **more)
            assert got["Body"].read() == body[first:last + 1]


@pytest.mark.parametrize("size", [0, 1, 16, 65536, 65537, MIB, 2 * MIB + 5])
def test_by_the_service(world, s3, bucket, size):
    body = (MARK * (size // 16 + 1))[:size]
    put = s3.put_object(Bucket=bucket, Key="a", Body=body, **SERVICE)
    assert put["ServerSideEncryption"] == "AES256" and put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    for call in (s3.get_object, s3.head_object):
        assert call(Bucket=bucket, Key="a")["ServerSideEncryption"] == "AES256"
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == body
    check_ranges(s3, bucket, "a", body)
    on_disk = stored(world, bucket, "a")
    assert len(on_disk) >= size and MARK not in on_disk
    s3.put_object(Bucket=bucket, Key="b", Body=body)
    assert "ServerSideEncryption" not in s3.head_object(Bucket=bucket, Key="b")
    assert size < 16 or MARK in stored(world, bucket, "b")


def test_keys_are_the_objects_own(world, s3, bucket):
    for key in ("a", "b"):
        s3.put_object(Bucket=bucket, Key=key, Body=BODY, **SERVICE)
    assert stored(world, bucket, "a")[:64] != stored(world, bucket, "b")[:64]
    texts = {r[0] for r in world.rows("SELECT encryption FROM object WHERE encryption IS NOT NULL")}
    assert len(texts) >= 2 and all(t.startswith("service 1 ") for t in texts)
    path = os.path.join(world.walrus.state, "encryption.keys")
    assert os.stat(path).st_mode & 0o777 == 0o600
    world.walrus.kill()
    world.walrus.start()
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == BODY


def test_another_master_key(world, s3, bucket):
    """One that is added is used, and the one before still opens; without it there is nothing to be had."""
    s3.put_object(Bucket=bucket, Key="old", Body=BODY, **SERVICE)
    path = os.path.join(world.walrus.state, "encryption.keys")
    with open(path, encoding="ascii") as file:
        first = file.read()
    added = "2 " + base64.b64encode(os.urandom(32)).decode() + "\n"

    def restart(text):
        world.walrus.kill()
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        world.walrus.start()

    try:
        restart(first + added)
        s3.put_object(Bucket=bucket, Key="new", Body=BODY, **SERVICE)
        for key in ("old", "new"):
            assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == BODY
        restart(added)
        assert s3.get_object(Bucket=bucket, Key="new")["Body"].read() == BODY
        assert code(s3.get_object, Bucket=bucket, Key="old") == ("InternalError", 500)
    finally:
        restart(first)
    assert s3.get_object(Bucket=bucket, Key="old")["Body"].read() == BODY
    assert code(s3.get_object, Bucket=bucket, Key="new") == ("InternalError", 500)


def test_a_default_of_the_bucket(world, s3, bucket):
    assert code(s3.get_bucket_encryption, Bucket=bucket) == ("ServerSideEncryptionConfigurationNotFoundError", 404)
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=RULE)
    rule = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256" and not rule["BucketKeyEnabled"]
    assert s3.put_object(Bucket=bucket, Key="a", Body=BODY)["ServerSideEncryption"] == "AES256"
    assert MARK not in stored(world, bucket, "a") and s3.get_object(Bucket=bucket, Key="a")["Body"].read() == BODY
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")
    assert upload["ServerSideEncryption"] == "AES256"
    s3.abort_multipart_upload(Bucket=bucket, Key="m", UploadId=upload["UploadId"])
    s3.delete_bucket_encryption(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="b", Body=BODY)
    assert MARK in stored(world, bucket, "b") and s3.get_object(Bucket=bucket, Key="a")["Body"].read() == BODY


def test_what_there_is_not(world, s3, bucket):
    for kind, expected in (("aws:kms", "KMS.NotFoundException"), ("aws:kms:dsse", "KMS.NotFoundException"),
                           ("DES", "InvalidEncryptionAlgorithmError")):
        status, _, text = world.request("PUT", f"/{bucket}/a", headers={"x-amz-server-side-encryption": kind})
        assert status == 400 and f"<Code>{expected}<".encode() in text
    rule = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]}
    assert code(s3.put_bucket_encryption, Bucket=bucket, ServerSideEncryptionConfiguration=rule) == \
        ("KMS.NotFoundException", 400)
    assert code(s3.put_bucket_encryption, Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": []}) == \
        ("MalformedXML", 400)
    headers = {"x-amz-server-side-encryption-customer-algorithm": "AES256",
               "x-amz-server-side-encryption-customer-key": base64.b64encode(KEY).decode(),
               "x-amz-server-side-encryption-customer-key-md5": base64.b64encode(hashlib.md5(KEY).digest()).decode()}
    status, _, text = world.request("PUT", f"/{bucket}/a", headers=headers)
    assert status == 400 and b"must be made over a secure connection" in text
    status, _, text = world.request("GET", f"/{bucket}/a", headers={"x-amz-server-side-encryption": "AES256"})
    assert status == 404
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    status, _, text = world.request("GET", f"/{bucket}/a", headers={"x-amz-server-side-encryption": "AES256"})
    assert status == 400 and b"<Code>InvalidArgument" in text


def test_by_the_client(world, s3, tls, bucket):
    put = tls.put_object(Bucket=bucket, Key="a", Body=BODY, **MINE)
    md5 = base64.b64encode(hashlib.md5(KEY).digest()).decode()
    assert put["SSECustomerAlgorithm"] == "AES256" and put["SSECustomerKeyMD5"] == md5
    assert put["ETag"] != f'"{hashlib.md5(BODY).hexdigest()}"'
    got = tls.get_object(Bucket=bucket, Key="a", **MINE)
    assert got["Body"].read() == BODY and got["SSECustomerKeyMD5"] == md5
    assert tls.head_object(Bucket=bucket, Key="a", **MINE)["ContentLength"] == len(BODY)
    check_ranges(tls, bucket, "a", BODY, **MINE)
    for call in (tls.get_object, tls.head_object):
        assert code(call, Bucket=bucket, Key="a")[1] == 400 and code(call, Bucket=bucket, Key="a", **WRONG)[1] == 403
    assert code(tls.get_object, Bucket=bucket, Key="a") == ("InvalidRequest", 400)
    assert code(tls.get_object, Bucket=bucket, Key="a", **WRONG) == ("AccessDenied", 403)
    assert MARK not in stored(world, bucket, "a")
    with open(os.path.join(world.walrus.state, "walrus.db"), "rb") as file:
        database = file.read()
    for secret in (KEY, base64.b64encode(KEY), KEY.hex().encode(), md5.encode()):
        assert secret not in database
    tls.put_object(Bucket=bucket, Key="plain", Body=b"x")
    assert code(tls.get_object, Bucket=bucket, Key="plain", **MINE) == ("InvalidRequest", 400)
    tls.put_object(Bucket=bucket, Key="empty", Body=b"", **MINE)
    assert code(tls.get_object, Bucket=bucket, Key="empty") == ("InvalidRequest", 400)
    assert tls.get_object(Bucket=bucket, Key="empty", **MINE)["Body"].read() == b""


def test_wrong_keys_of_clients(tls, bucket):
    for wrong in ({"SSECustomerAlgorithm": "AES128", "SSECustomerKey": KEY}, {"SSECustomerAlgorithm": "AES256"},
                  {"SSECustomerKey": KEY.decode()}, {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"short"},
                  {**MINE, "SSECustomerKey": base64.b64encode(KEY).decode(), "SSECustomerKeyMD5": "AAAA"}, {**MINE, **SERVICE}):
        assert code(tls.put_object, Bucket=bucket, Key="a", Body=b"x", **wrong)[1] == 400, wrong
    assert code(tls.head_object, Bucket=bucket, Key="a") == ("404", 404)


@pytest.mark.parametrize("kind", ["service", "client"])
def test_uploads(world, s3, tls, bucket, kind):
    options = MINE if kind == "client" else {}
    upload = tls.create_multipart_upload(Bucket=bucket, Key="m", **(MINE if kind == "client" else SERVICE))["UploadId"]
    bodies, parts = [(MARK * (PART // 16 + 1))[:PART + 3], b"the end " + MARK], []
    name = {"Bucket": bucket, "Key": "m", "UploadId": upload}
    for number, body in enumerate(bodies, 1):
        done = tls.upload_part(PartNumber=number, Body=body, **name, **options)
        parts.append({"PartNumber": number, "ETag": done["ETag"]})
    if kind == "client":
        assert code(tls.upload_part, PartNumber=3, Body=b"x", **name) == ("InvalidRequest", 400)
        assert code(tls.upload_part, PartNumber=3, Body=b"x", **name, **WRONG) == ("InvalidRequest", 400)
    else:
        assert code(tls.upload_part, PartNumber=3, Body=b"x", **name, **MINE) == ("InvalidRequest", 400)
    complete(tls, bucket, "m", upload, parts)
    whole = b"".join(bodies)
    assert tls.get_object(Bucket=bucket, Key="m", **options)["Body"].read() == whole
    check_ranges(tls, bucket, "m", whole, **options)
    edge = len(bodies[0])
    assert tls.get_object(Bucket=bucket, Key="m", Range=f"bytes={edge - 2}-{edge + 1}", **options)["Body"].read() == \
        whole[edge - 2:edge + 2]
    assert tls.get_object(Bucket=bucket, Key="m", PartNumber=2, **options)["Body"].read() == bodies[1]
    assert MARK not in stored(world, bucket, "m")


def test_copies(world, s3, tls, bucket):
    tls.put_object(Bucket=bucket, Key="client", Body=BODY, **MINE)
    tls.put_object(Bucket=bucket, Key="service", Body=BODY, **SERVICE)
    tls.put_object(Bucket=bucket, Key="plain", Body=BODY)
    sources = {"client": OF_SOURCE, "service": {}, "plain": {}}
    targets = {"client": MINE, "service": SERVICE, "plain": {}}
    for source, of_source in sources.items():
        for target, of_target in targets.items():
            done = tls.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": source}, **of_source,
                                   **of_target)
            assert ("ServerSideEncryption" in done) == (target == "service")
            got = tls.get_object(Bucket=bucket, Key="to", **(MINE if target == "client" else {}))
            assert got["Body"].read() == BODY
            assert (MARK in stored(world, bucket, "to")) == (target == "plain")
            assert (world.blob_paths(bucket, "to") == world.blob_paths(bucket, source)) == (source == target)
    name = {"Bucket": bucket, "Key": "to", "CopySource": {"Bucket": bucket, "Key": "client"}}
    assert code(tls.copy_object, **name) == ("InvalidRequest", 400)
    assert code(tls.copy_object, **name, **{**OF_SOURCE, "CopySourceSSECustomerKey": OTHER}) == ("AccessDenied", 403)
    tls.copy_object(Bucket=bucket, Key="plain", CopySource={"Bucket": bucket, "Key": "plain"}, **SERVICE)
    assert MARK not in stored(world, bucket, "plain") and s3.get_object(Bucket=bucket, Key="plain")["Body"].read() == BODY
    upload = tls.create_multipart_upload(Bucket=bucket, Key="m", **SERVICE)["UploadId"]
    part = tls.upload_part_copy(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, CopySourceRange="bytes=5-99",
                                CopySource={"Bucket": bucket, "Key": "client"}, **OF_SOURCE)["CopyPartResult"]
    complete(tls, bucket, "m", upload, [{"PartNumber": 1, "ETag": part["ETag"]}])
    assert s3.get_object(Bucket=bucket, Key="m")["Body"].read() == BODY[5:100]
    world.assert_no_orphans()


@pytest.mark.parametrize("kind", ["service", "client"])
def test_images_of_encrypted_objects(world, tls, bucket, kind):
    """Other daemons read what walrus can decrypt, and are told of what it can't."""
    body = random.Random(8).randbytes(PART + 77)
    upload, parts = tls.create_multipart_upload(Bucket=bucket, Key="i", **(MINE if kind == "client" else SERVICE)), []
    for number, piece in ((1, body[:PART]), (2, body[PART:])):
        done = tls.upload_part(Bucket=bucket, Key="i", UploadId=upload["UploadId"], PartNumber=number, Body=piece,
                               **(MINE if kind == "client" else {}))
        parts.append({"PartNumber": number, "ETag": done["ETag"]})
    complete(tls, bucket, "i", upload["UploadId"], parts)
    ec2 = boto3.client("ec2", endpoint_url=f"http://127.0.0.1:{world.clc.port}", region_name="mallee-1",
                       aws_access_key_id=world.admin_keys[0], aws_secret_access_key=world.admin_keys[1],
                       config=botocore.client.Config(retries={"max_attempts": 0}))
    request = {"Name": "encrypted-" + kind, "ImageLocation": f"{bucket}/i", "Architecture": "x86_64",
               "RootDeviceName": "/dev/sda"}
    if kind == "client":
        assert code(ec2.register_image, **request)[1] < 500
        return
    image = ec2.register_image(**request)["ImageId"]
    assert world.rows("SELECT digest FROM image WHERE image_id = ?", image, daemon=world.clc) == \
        [(hashlib.sha256(body).hexdigest(),)]


def test_damage_is_found_below(world, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=BODY, **SERVICE)
    with open(world.blob_paths(bucket, "a")[0], "r+b") as file:
        file.seek(100)
        file.write(b"\0\1\2\3")
    assert code(s3.get_object, Bucket=bucket, Key="a") == ("InternalError", 500)


def test_uploads_without_tls_of_the_service(s3, bucket):
    upload, parts = make(s3, bucket, "m", [(1, b"small")], **SERVICE)
    assert complete(s3, bucket, "m", upload, parts)["ServerSideEncryption"] == "AES256"
    assert s3.get_object(Bucket=bucket, Key="m")["Body"].read() == b"small"
