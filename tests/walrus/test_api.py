"""Every operation of Amazon's model: called here with boto3 and answered well, or refused as docs/s3.md says.

A story names the operations that it calls; it fails when one of them was not answered with success. What an operation
does in all its corners is tested beside what it is about; this file shows that none is missing and the page is true.
"""
import base64
import datetime
import hashlib
import os
import re

import botocore.session
import pytest
from test_objects import code
from world import TOP

PAGE = os.path.join(TOP, "docs/s3.md")
ROW = re.compile(r"^\| `(\w+)` \| `([A-Z]+) (/[^`]*)` \| (served|refused)(?:, as `(\w+)`|: (\d{3}) `(\w+)`)? \|")
# Of the S3 API, yet no call of the clients that Debian has.
BEYOND_THE_MODEL = {"PostObject", "OptionsObject", "ListDirectoryBuckets"}
HOUR = datetime.timedelta(hours=1)


def rows():
    """{operation: (method, path, served or refused, status, code)} as the page has them."""
    with open(PAGE, encoding="utf-8") as file:
        found = [ROW.match(line) for line in file if line.startswith("| `")]
    return {m[1]: (m[2], m[3], m[4], int(m[6] or 0), m[7]) for m in found if m}


ROWS = rows()
MODEL = botocore.session.get_session().get_service_model("s3")
REFUSED = sorted(name for name, row in ROWS.items() if row[2] == "refused")
STORIES = {}


def story(*operations):
    def keep(function):
        STORIES[function.__name__] = (function, operations)
        return function
    return keep


def test_the_page_has_every_operation():
    assert set(MODEL.operation_names) <= set(ROWS), "docs/s3.md does not name all"
    told = {o for _, operations in STORIES.values() for o in operations} | {o for s in SETTINGS for o in s[:3] if o}
    served = {name for name, row in ROWS.items() if row[2] == "served"} - BEYOND_THE_MODEL
    assert told == served, "docs/s3.md says one thing and the stories another"


@pytest.mark.parametrize("name", REFUSED)
def test_refused(world, s3, bucket, name):
    """With code and status as written, whether or not there is something to do it to, and nothing changes."""
    method, path, _, status, wanted = ROWS[name]
    s3.put_object(Bucket=bucket, Key="key", Body=b"kept")
    path, _, query = path.replace("/bucket", f"/{bucket}", 1).partition("?")
    query = dict(word.partition("=")[::2] for word in query.split("&") if word)
    got, _, text = world.request(method, path, query)
    assert (got, re.search(b"<Code>(.*?)</Code>", text)[1].decode()) == (status, wanted), text
    if name in MODEL.operation_names:  # and for its wire format, where a client knows it
        assert MODEL.operation_model(name).http["method"] == method
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == b"kept"
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["key"]


def test_words_without_a_meaning(world, s3, bucket):
    """What names an operation of buckets is nothing to an object: pages put all sorts of words behind their links."""
    s3.put_object(Bucket=bucket, Key="key", Body=b"kept")
    for word in ("session", "abac", "utm_source", "v", "metadataTable"):
        assert world.request("GET", f"/{bucket}/key", {word: "1"})[::2] == (200, b"kept"), word
    assert world.request("GET", f"/{bucket}", {"renameObject": ""})[0] == 200


@pytest.fixture
def mine(world, request):
    """A bucket of this test that goes with all its versions."""
    name = "api-" + re.sub(r"[^a-z0-9]+", "-", request.node.callspec.id.lower()).strip("-")[:50]
    s3 = world.s3()
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket="object_lock" in request.node.callspec.id)
    yield name
    if code_of(s3.head_bucket, Bucket=name) == "404":
        return
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
        for entry in page.get("Versions", []) + page.get("DeleteMarkers", []):
            bypass = {"BypassGovernanceRetention": True} if "object_lock" in request.node.callspec.id else {}
            s3.delete_object(Bucket=name, Key=entry["Key"], VersionId=entry["VersionId"], **bypass)
    s3.delete_bucket(Bucket=name)


def code_of(call, **words):
    try:
        call(**words)
    except call.__self__.exceptions.ClientError as error:
        return error.response["Error"]["Code"]
    return None


def watch(s3, seen):
    def heard(http_response, model, **_):
        if http_response.status_code < 300:
            seen.add(model.name)
    s3.meta.events.register("after-call.s3", heard)


@pytest.mark.parametrize("name", STORIES)
def test_story(world, mine, name):
    function, operations = STORIES[name]
    s3, seen = world.s3(), set()
    watch(s3, seen)
    function(s3, mine, world)
    assert set(operations) <= seen


# -- settings: what was put comes back; what was deleted is away --

TOPIC = {"Id": "n", "Events": ["s3:ObjectCreated:*"]}
RULE = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "old/"}, "Expiration": {"Days": 30}}
SETTINGS = [
    # put, get, delete, the parameter with its value, how the answer shows it (None: as it was put), code when not set
    # (None: there is always an answer)
    ("PutBucketCors", "GetBucketCors", "DeleteBucketCors", {"CORSConfiguration": {"CORSRules": [
        {"AllowedOrigins": ["*"], "AllowedMethods": ["GET"], "MaxAgeSeconds": 5}]}}, None, "NoSuchCORSConfiguration"),
    ("PutBucketEncryption", "GetBucketEncryption", "DeleteBucketEncryption", {"ServerSideEncryptionConfiguration": {"Rules": [
        {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]}},
        {"ServerSideEncryptionConfiguration": {"Rules": [
            {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]}},
        "ServerSideEncryptionConfigurationNotFoundError"),
    ("PutBucketLifecycleConfiguration", "GetBucketLifecycleConfiguration", "DeleteBucketLifecycle",
        {"LifecycleConfiguration": {"Rules": [RULE]}}, None, "NoSuchLifecycleConfiguration"),
    ("PutBucketOwnershipControls", "GetBucketOwnershipControls", "DeleteBucketOwnershipControls",
        {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}},
        {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}}, "OwnershipControlsNotFoundError"),
    ("PutBucketTagging", "GetBucketTagging", "DeleteBucketTagging", {"Tagging": {"TagSet": [{"Key": "a", "Value": "b"}]}},
        None, "NoSuchTagSet"),
    ("PutBucketWebsite", "GetBucketWebsite", "DeleteBucketWebsite", {"WebsiteConfiguration": {
        "IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": "error.html"}}}, None, "NoSuchWebsiteConfiguration"),
    ("PutPublicAccessBlock", "GetPublicAccessBlock", "DeletePublicAccessBlock", {"PublicAccessBlockConfiguration": {
        "BlockPublicAcls": True, "IgnorePublicAcls": False, "BlockPublicPolicy": True, "RestrictPublicBuckets": False}},
        {"PublicAccessBlockConfiguration": {"BlockPublicAcls": True, "IgnorePublicAcls": False, "BlockPublicPolicy": True,
                                            "RestrictPublicBuckets": False}}, "NoSuchPublicAccessBlockConfiguration"),
    ("PutBucketRequestPayment", "GetBucketRequestPayment", None,
        {"RequestPaymentConfiguration": {"Payer": "BucketOwner"}}, None, None),
    ("PutBucketVersioning", "GetBucketVersioning", None, {"VersioningConfiguration": {"Status": "Enabled"}}, None, None),
]


def snake(name):
    return botocore.xform_name(name)


@pytest.mark.parametrize("put, get, delete, value, answer, absent", SETTINGS, ids=[s[0] for s in SETTINGS])
def test_setting(world, mine, put, get, delete, value, answer, absent):
    s3, seen = world.s3(), set()
    watch(s3, seen)

    def shown():
        reply = getattr(s3, snake(get))(Bucket=mine)
        return {k: v for k, v in reply.items() if k != "ResponseMetadata"}
    if absent:
        assert code(getattr(s3, snake(get)), Bucket=mine) == (absent, 404)
    else:
        shown()
    getattr(s3, snake(put))(Bucket=mine, **value)
    wanted = answer or next(iter(value.values()))
    assert shown() == wanted
    if delete:
        getattr(s3, snake(delete))(Bucket=mine)
        assert code(getattr(s3, snake(get)), Bucket=mine) == (absent, 404)
        getattr(s3, snake(delete))(Bucket=mine)  # once more: nothing to do
    assert {o for o in (put, get, delete) if o} <= seen


# -- stories --

@story("CreateBucket", "HeadBucket", "ListBuckets", "GetBucketLocation", "DeleteBucket")
def buckets(s3, bucket, world):
    name = bucket + "-2"
    made = s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert made["Location"].rstrip("/").endswith(name)
    assert s3.head_bucket(Bucket=name)["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"]
    assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] == "eu-west-1"
    assert {bucket, name} <= {b["Name"] for b in s3.list_buckets()["Buckets"]}
    assert code(s3.create_bucket, Bucket="No") == ("InvalidBucketName", 400)
    s3.delete_bucket(Bucket=name)
    assert code(s3.head_bucket, Bucket=name) == ("404", 404)


@story("PutObject", "GetObject", "HeadObject", "CopyObject", "DeleteObject", "DeleteObjects")
def objects(s3, bucket, world):
    put = s3.put_object(Bucket=bucket, Key="a", Body=b"body", Metadata={"k": "v"}, StorageClass="STANDARD")
    copy = s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a"})
    assert copy["CopyObjectResult"]["ETag"] == put["ETag"]
    assert s3.get_object(Bucket=bucket, Key="b")["Body"].read() == b"body"
    assert s3.head_object(Bucket=bucket, Key="b")["Metadata"] == {"k": "v"}
    s3.delete_object(Bucket=bucket, Key="a")
    done = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "b"}, {"Key": "c"}]})
    assert sorted(d["Key"] for d in done["Deleted"]) == ["b", "c"]
    assert code(s3.get_object, Bucket=bucket, Key="b") == ("NoSuchKey", 404)


@story("GetObjectAttributes")
def attributes(s3, bucket, world):
    put = s3.put_object(Bucket=bucket, Key="a", Body=b"hello", ChecksumAlgorithm="SHA256")
    got = s3.get_object_attributes(Bucket=bucket, Key="a", ObjectAttributes=["ETag", "Checksum", "ObjectSize", "StorageClass"])
    assert (got["ETag"], got["ObjectSize"], got["StorageClass"]) == (put["ETag"].strip('"'), 5, "STANDARD")
    assert got["Checksum"]["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(b"hello").digest()).decode()
    assert s3.get_object_attributes(Bucket=bucket, Key="a", ObjectAttributes=["ObjectSize"])["ObjectSize"] == 5


@story("CreateMultipartUpload", "UploadPart", "UploadPartCopy", "ListParts", "ListMultipartUploads", "CompleteMultipartUpload",
       "AbortMultipartUpload")
def uploads(s3, bucket, world):
    first = bytes(5 << 20)
    s3.put_object(Bucket=bucket, Key="source", Body=b"0123456789")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    one = s3.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=first)["ETag"]
    two = s3.upload_part_copy(Bucket=bucket, Key="m", UploadId=upload, PartNumber=2, CopySource=f"{bucket}/source",
                              CopySourceRange="bytes=2-5")["CopyPartResult"]["ETag"]
    assert [p["Size"] for p in s3.list_parts(Bucket=bucket, Key="m", UploadId=upload)["Parts"]] == [5 << 20, 4]
    assert [u["UploadId"] for u in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [upload]
    s3.complete_multipart_upload(Bucket=bucket, Key="m", UploadId=upload, MultipartUpload={
        "Parts": [{"PartNumber": 1, "ETag": one}, {"PartNumber": 2, "ETag": two}]})
    assert s3.get_object(Bucket=bucket, Key="m", PartNumber=2)["Body"].read() == b"2345"
    other = s3.create_multipart_upload(Bucket=bucket, Key="n")["UploadId"]
    s3.abort_multipart_upload(Bucket=bucket, Key="n", UploadId=other)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


@story("ListObjects", "ListObjectsV2", "ListObjectVersions")
def lists(s3, bucket, world):
    for key in ("a/1", "a/2", "b"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert [o["Key"] for o in s3.list_objects(Bucket=bucket)["Contents"]] == ["a/1", "a/2", "b"]
    two = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert two["KeyCount"] == 2 and two["CommonPrefixes"] == [{"Prefix": "a/"}]
    assert [(v["Key"], v["VersionId"], v["IsLatest"]) for v in s3.list_object_versions(Bucket=bucket)["Versions"]] == \
        [(k, "null", True) for k in ("a/1", "a/2", "b")]


@story("PutBucketAcl", "GetBucketAcl", "PutObjectAcl", "GetObjectAcl")
def acls(s3, bucket, world):
    everyone = "http://acs.amazonaws.com/groups/global/AllUsers"
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    s3.put_object_acl(Bucket=bucket, Key="a", GrantRead=f'uri="{everyone}"')
    for grants in (s3.get_bucket_acl(Bucket=bucket)["Grants"], s3.get_object_acl(Bucket=bucket, Key="a")["Grants"]):
        assert ("READ", everyone) in [(g["Permission"], g["Grantee"].get("URI")) for g in grants]


@story("PutBucketPolicy", "GetBucketPolicy", "GetBucketPolicyStatus", "DeleteBucketPolicy")
def policies(s3, bucket, world):
    text = ('{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", '
            f'"Resource": "arn:aws:s3:::{bucket}/*"}}]}}')
    assert code(s3.get_bucket_policy, Bucket=bucket) == ("NoSuchBucketPolicy", 404)
    s3.put_bucket_policy(Bucket=bucket, Policy=text)
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"].replace(" ", "") == text.replace(" ", "")
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is True
    s3.delete_bucket_policy(Bucket=bucket)
    assert code(s3.get_bucket_policy, Bucket=bucket) == ("NoSuchBucketPolicy", 404)


@story("PutObjectTagging", "GetObjectTagging", "DeleteObjectTagging")
def object_tags(s3, bucket, world):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", Tagging="one=1")
    assert s3.get_object_tagging(Bucket=bucket, Key="a")["TagSet"] == [{"Key": "one", "Value": "1"}]
    tags = [{"Key": "two", "Value": "2"}]
    s3.put_object_tagging(Bucket=bucket, Key="a", Tagging={"TagSet": tags})
    assert s3.get_object_tagging(Bucket=bucket, Key="a")["TagSet"] == tags
    s3.delete_object_tagging(Bucket=bucket, Key="a")
    assert s3.get_object_tagging(Bucket=bucket, Key="a")["TagSet"] == []


@story("PutObjectLockConfiguration", "GetObjectLockConfiguration", "PutObjectRetention", "GetObjectRetention",
       "PutObjectLegalHold", "GetObjectLegalHold")
def object_lock(s3, bucket, world):
    rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}
    s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=rule)
    assert s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"] == rule
    version = s3.put_object(Bucket=bucket, Key="a", Body=b"x", ContentMD5=base64.b64encode(hashlib.md5(b"x").digest()).decode())
    assert s3.get_object_retention(Bucket=bucket, Key="a")["Retention"]["Mode"] == "GOVERNANCE"
    until = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + 48 * HOUR
    s3.put_object_retention(Bucket=bucket, Key="a", Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until})
    assert s3.get_object_retention(Bucket=bucket, Key="a")["Retention"]["RetainUntilDate"] == until
    s3.put_object_legal_hold(Bucket=bucket, Key="a", LegalHold={"Status": "ON"})
    assert s3.get_object_legal_hold(Bucket=bucket, Key="a")["LegalHold"]["Status"] == "ON"
    assert code(s3.delete_object, Bucket=bucket, Key="a", VersionId=version["VersionId"],
                BypassGovernanceRetention=True) == ("AccessDenied", 403)
    s3.put_object_legal_hold(Bucket=bucket, Key="a", LegalHold={"Status": "OFF"})


@story("PutBucketLogging", "GetBucketLogging")
def logging(s3, bucket, world):
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    s3.put_bucket_acl(Bucket=bucket, ACL="log-delivery-write")
    wanted = {"TargetBucket": bucket, "TargetPrefix": "log/"}
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": wanted})
    assert s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"] == wanted
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)


@story("PutBucketNotificationConfiguration", "GetBucketNotificationConfiguration", "PutBucketNotification",
       "GetBucketNotification")
def notification(s3, bucket, world):
    for get in (s3.get_bucket_notification_configuration, s3.get_bucket_notification):
        assert set(get(Bucket=bucket)) == {"ResponseMetadata"}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    s3.put_bucket_notification(Bucket=bucket, NotificationConfiguration={})
    assert set(s3.get_bucket_notification_configuration(Bucket=bucket)) == {"ResponseMetadata"}


@story("PutBucketLifecycle", "GetBucketLifecycle")
def lifecycle_of_old(s3, bucket, world):
    """By the older form of the document: a prefix and no filter."""
    rule = {"ID": "a", "Prefix": "tmp/", "Status": "Enabled", "Expiration": {"Days": 1}}
    s3.put_bucket_lifecycle(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    assert s3.get_bucket_lifecycle(Bucket=bucket)["Rules"] == [rule]


@story("GetBucketAccelerateConfiguration", "PutBucketAccelerateConfiguration")
def acceleration(s3, bucket, world):
    assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket=bucket)
    s3.put_bucket_accelerate_configuration(Bucket=bucket, AccelerateConfiguration={"Status": "Suspended"})
    assert s3.get_bucket_accelerate_configuration(Bucket=bucket)["Status"] == "Suspended"
    assert code(s3.put_bucket_accelerate_configuration, Bucket=bucket,
                AccelerateConfiguration={"Status": "Enabled"}) == ("InvalidRequest", 400)
