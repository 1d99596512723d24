"""Object lock: what is retained or held stays, whoever asks, until it may go."""
import datetime
import hashlib
import itertools
import time
from base64 import b64encode
from xml.etree import ElementTree

import pytest
from botocore.exceptions import ClientError

PROTECTED = "Access Denied because object protected by object lock."
NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


def in_time(**delta):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(**delta)).replace(microsecond=0)


def refused(call, *args, **kwargs):
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    reply = caught.value.response
    return reply["Error"]["Code"], reply["ResponseMetadata"]["HTTPStatusCode"], reply["Error"]["Message"]


def is_protected(call, *args, **kwargs):
    assert refused(call, *args, **kwargs) == ("AccessDenied", 403, PROTECTED)


def put(s3, bucket, key="a", body=b"x", **options):
    return s3.put_object(Bucket=bucket, Key=key, Body=body, ContentMD5=b64encode(hashlib.md5(body).digest()).decode(),
                         **options)["VersionId"]


def locked(mode="GOVERNANCE", **delta):
    return {"ObjectLockMode": mode, "ObjectLockRetainUntilDate": in_time(**(delta or {"days": 1}))}


def retention(mode="GOVERNANCE", **delta):
    return {"Mode": mode, "RetainUntilDate": in_time(**(delta or {"days": 1}))}


NUMBERS = itertools.count(1)


@pytest.fixture
def vault(world):
    """A bucket with object lock. What COMPLIANCE keeps stays afterwards: that is the point."""
    s3, name = world.s3(), f"vault-{next(NUMBERS)}"
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    yield name
    page = s3.list_object_versions(Bucket=name)
    for version in page.get("Versions", []) + page.get("DeleteMarkers", []):
        this = {"Bucket": name, "Key": version["Key"], "VersionId": version["VersionId"]}
        if "Size" in version:
            s3.put_object_legal_hold(**this, LegalHold={"Status": "OFF"})
        try:
            s3.delete_object(**this, BypassGovernanceRetention=True)
        except ClientError as error:
            assert error.response["Error"]["Message"] == PROTECTED
            return
    s3.delete_bucket(Bucket=name)


def put_configuration(world, bucket, body):
    status, _, text = world.request("PUT", f"/{bucket}", {"object-lock": ""}, {}, body.encode())
    root = ElementTree.fromstring(text) if text else None
    return (status, root.findtext("Code"), root.findtext("Message")) if status != 200 else (status, None, None)


def rule(*children, enabled="<ObjectLockEnabled>Enabled</ObjectLockEnabled>"):
    return (f"<ObjectLockConfiguration>{enabled}<Rule><DefaultRetention>{''.join(children)}</DefaultRetention></Rule>"
            "</ObjectLockConfiguration>")


def test_a_bucket_without(world, s3, bucket):
    missing = ("InvalidRequest", 400, "Bucket is missing Object Lock Configuration")
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    assert refused(s3.get_object_lock_configuration, Bucket=bucket) == (
        "ObjectLockConfigurationNotFoundError", 404, "Object Lock configuration does not exist for this bucket")
    assert refused(s3.put_object_lock_configuration, Bucket=bucket,
                   ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"}) == (
        "InvalidBucketState", 409, "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration")
    assert refused(s3.get_object_retention, Bucket=bucket, Key="a") == missing
    assert refused(s3.get_object_legal_hold, Bucket=bucket, Key="a") == missing
    assert refused(s3.put_object_retention, Bucket=bucket, Key="a", Retention=retention()) == missing
    assert refused(s3.put_object_legal_hold, Bucket=bucket, Key="a", LegalHold={"Status": "ON"}) == missing
    assert refused(put, s3, bucket, **locked()) == missing
    assert refused(put, s3, bucket, ObjectLockLegalHoldStatus="ON") == missing
    assert refused(s3.create_multipart_upload, Bucket=bucket, Key="a", **locked()) == missing
    only_there = "x-amz-bypass-governance-retention is only applicable to Object Lock enabled buckets."
    assert refused(s3.delete_object, Bucket=bucket, Key="a", BypassGovernanceRetention=True) == (
        "InvalidArgument", 400, only_there)
    assert refused(s3.delete_objects, Bucket=bucket, Delete={"Objects": [{"Key": "a"}]},
                   BypassGovernanceRetention=True) == ("InvalidArgument", 400, only_there)


def test_a_bucket_made_with_it(s3, vault):
    assert s3.get_bucket_versioning(Bucket=vault)["Status"] == "Enabled"
    assert s3.get_object_lock_configuration(Bucket=vault)["ObjectLockConfiguration"] == {"ObjectLockEnabled": "Enabled"}
    assert refused(s3.put_bucket_versioning, Bucket=vault, VersioningConfiguration={"Status": "Suspended"}) == (
        "InvalidBucketState", 409,
        "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.")
    s3.put_bucket_versioning(Bucket=vault, VersioningConfiguration={"Status": "Enabled"})
    s3.delete_bucket(Bucket=vault)
    s3.create_bucket(Bucket=vault)
    assert refused(s3.get_object_lock_configuration, Bucket=vault)[1] == 404
    s3.put_bucket_versioning(Bucket=vault, VersioningConfiguration={"Status": "Suspended"})
    assert refused(s3.put_object_lock_configuration, Bucket=vault,
                   ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})[0] == "InvalidBucketState"
    s3.put_bucket_versioning(Bucket=vault, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object_lock_configuration(Bucket=vault, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})
    assert refused(s3.put_bucket_versioning, Bucket=vault, VersioningConfiguration={"Status": "Suspended"})[1] == 409


@pytest.mark.parametrize("body, name, message", [
    ("", "MalformedXML", None),
    ("<ObjectLockConfiguration/>", "MalformedXML", None),
    ("<Other><ObjectLockEnabled>Enabled</ObjectLockEnabled></Other>", "MalformedXML", None),
    ("<ObjectLockConfiguration><ObjectLockEnabled>Disabled</ObjectLockEnabled></ObjectLockConfiguration>", "MalformedXML", None),
    ("<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule/></ObjectLockConfiguration>",
     "MalformedXML", None),
    (rule(), "MalformedXML", None),
    (rule("<Mode>GOVERNANCE</Mode>"), "MalformedXML", None),
    (rule("<Days>1</Days>"), "MalformedXML", None),
    (rule("<Mode>governance</Mode>", "<Days>1</Days>"), "MalformedXML", None),
    (rule("<Mode>GOVERNANCE</Mode>", "<Days>1</Days>", "<Years>1</Years>"), "MalformedXML", None),
    (rule("<Mode>GOVERNANCE</Mode>", "<Days>x</Days>"), "MalformedXML", None),
    (rule("<Mode>GOVERNANCE</Mode>", "<Days>1</Days>", enabled=""), "MalformedXML", None),
    (rule("<Mode>GOVERNANCE</Mode>", "<Days>0</Days>"), "InvalidArgument",
     "Default retention period must be a positive integer value."),
    (rule("<Mode>GOVERNANCE</Mode>", "<Years>-1</Years>"), "InvalidArgument",
     "Default retention period must be a positive integer value."),
    (rule("<Mode>GOVERNANCE</Mode>", "<Days>36501</Days>"), "InvalidArgument", "Default retention period too large."),
    (rule("<Mode>COMPLIANCE</Mode>", "<Years>101</Years>"), "InvalidArgument", "Default retention period too large."),
])
def test_a_configuration_refused(world, s3, vault, body, name, message):
    status, code, text = put_configuration(world, vault, body)
    assert (status, code) == (400, name) and message in (None, text)
    assert s3.get_object_lock_configuration(Bucket=vault)["ObjectLockConfiguration"] == {"ObjectLockEnabled": "Enabled"}


@pytest.mark.parametrize("unit, value, days", [("Days", 3, 3), ("Years", 2, 730), ("Days", 36500, 36500)])
def test_a_default(s3, vault, unit, value, days):
    before = put(s3, vault)
    configuration = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", unit: value}}}
    s3.put_object_lock_configuration(Bucket=vault, ObjectLockConfiguration=configuration)
    assert s3.get_object_lock_configuration(Bucket=vault)["ObjectLockConfiguration"] == configuration
    version = put(s3, vault)
    head = s3.head_object(Bucket=vault, Key="a")
    assert head["ObjectLockMode"] == "COMPLIANCE"
    assert abs(head["ObjectLockRetainUntilDate"] - in_time(days=days)) < datetime.timedelta(minutes=1)
    is_protected(s3.delete_object, Bucket=vault, Key="a", VersionId=version)
    s3.delete_object(Bucket=vault, Key="a", VersionId=before)  # made before the default was
    # its own lock instead of the default, but not instead of none
    put(s3, vault, "b", **locked())
    assert s3.head_object(Bucket=vault, Key="b")["ObjectLockMode"] == "GOVERNANCE"
    put(s3, vault, "c", ObjectLockLegalHoldStatus="ON")
    assert s3.head_object(Bucket=vault, Key="c")["ObjectLockMode"] == "COMPLIANCE"
    # a marker is never locked, and the default ends for what comes after its removal
    marker = s3.delete_object(Bucket=vault, Key="a")["VersionId"]
    s3.delete_object(Bucket=vault, Key="a", VersionId=marker)
    s3.put_object_lock_configuration(Bucket=vault, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})
    put(s3, vault, "d")
    assert "ObjectLockMode" not in s3.head_object(Bucket=vault, Key="d")


def test_a_default_reaches_uploads_and_copies(world, s3, vault):
    early = s3.create_multipart_upload(Bucket=vault, Key="early")["UploadId"]
    s3.put_object_lock_configuration(Bucket=vault, ObjectLockConfiguration={
        "ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}})
    own = s3.create_multipart_upload(Bucket=vault, Key="own", **locked("COMPLIANCE"))["UploadId"]
    for key, upload, mode in (("early", early, "GOVERNANCE"), ("own", own, "COMPLIANCE")):
        part = s3.upload_part(Bucket=vault, Key=key, UploadId=upload, PartNumber=1, Body=b"x",
                              ContentMD5=b64encode(hashlib.md5(b"x").digest()).decode())
        done = s3.complete_multipart_upload(Bucket=vault, Key=key, UploadId=upload,
                                            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
        assert s3.head_object(Bucket=vault, Key=key)["ObjectLockMode"] == mode
        is_protected(s3.delete_object, Bucket=vault, Key=key, VersionId=done["VersionId"])


def test_locked_bytes_come_with_a_digest(world, s3, vault):
    until = {"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": "2099-01-01T00:00:00Z"}
    digest = {"content-md5": b64encode(hashlib.md5(b"x").digest()).decode()}
    checksum = {"x-amz-checksum-sha256": b64encode(hashlib.sha256(b"x").digest()).decode()}
    hashed = hashlib.sha256(b"x").hexdigest()

    def reply(headers, path="a", **query):
        status, _, text = world.request("PUT", f"/{vault}/{path}", query, headers, b"x", payload=hashed)
        return (status, ElementTree.fromstring(text).findtext("Message")) if status != 200 else status
    message = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put {} requests with Object Lock parameters"
    assert reply(until) == (400, message.format("Object"))
    assert reply({"x-amz-object-lock-legal-hold": "ON"}) == (400, message.format("Object"))
    assert reply({**until, **digest}) == 200 and reply({**until, **checksum}) == 200 and reply({}) == 200
    upload = s3.create_multipart_upload(Bucket=vault, Key="u", **locked())["UploadId"]
    assert reply({}, "u", uploadId=upload, partNumber="1") == (400, message.format("Part"))
    assert reply(digest, "u", uploadId=upload, partNumber="1") == 200
    assert put_configuration(world, vault, rule("<Mode>GOVERNANCE</Mode>", "<Days>1</Days>"))[0] == 200
    assert reply({}) == (400, message.format("Object")) and reply(checksum) == 200


@pytest.mark.parametrize("headers, message", [
    ({"mode": "GOVERNANCE"}, "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied"),
    ({"retain-until-date": "2099-01-01T00:00:00Z"},
     "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied"),
    ({"mode": "governance", "retain-until-date": "2099-01-01T00:00:00Z"}, "Unknown wormMode directive."),
    ({"mode": "GOVERNANCE", "retain-until-date": "tomorrow"}, "The retain until date must be provided in ISO 8601 format"),
    ({"mode": "GOVERNANCE", "retain-until-date": "2019-01-01T00:00:00Z"}, "The retain until date must be in the future!"),
    ({"legal-hold": "on"}, "Legal Hold must be either of 'ON' or 'OFF'"),
])
def test_headers_refused(world, vault, headers, message):
    headers = {f"x-amz-object-lock-{k}": v for k, v in headers.items()}
    for method, path, query in (("PUT", "a", {}), ("POST", "a", {"uploads": ""})):
        status, _, text = world.request(method, f"/{vault}/{path}", query,
                                        {**headers, "content-md5": b64encode(hashlib.md5(b"").digest()).decode()})
        error = ElementTree.fromstring(text)
        assert (status, error.findtext("Code"), error.findtext("Message")) == (400, "InvalidArgument", message)


def test_governance(world, s3, vault):
    until = in_time(days=2)
    version = put(s3, vault, ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)
    for reply in (s3.get_object(Bucket=vault, Key="a"), s3.head_object(Bucket=vault, Key="a", VersionId=version)):
        assert (reply["ObjectLockMode"], reply["ObjectLockRetainUntilDate"]) == ("GOVERNANCE", until)
        assert "ObjectLockLegalHoldStatus" not in reply
    assert s3.get_object_retention(Bucket=vault, Key="a")["Retention"] == {"Mode": "GOVERNANCE", "RetainUntilDate": until}
    this = {"Bucket": vault, "Key": "a", "VersionId": version}
    is_protected(s3.delete_object, **this)
    many = s3.delete_objects(Bucket=vault, Delete={"Objects": [{"Key": "a", "VersionId": version}, {"Key": "b"}]})
    assert many["Errors"] == [{"Key": "a", "VersionId": version, "Code": "AccessDenied", "Message": PROTECTED}]
    assert [d["Key"] for d in many["Deleted"]] == ["b"]
    # a marker may come in front, and a version
    marker = s3.delete_object(Bucket=vault, Key="a")["VersionId"]
    newer = put(s3, vault)
    s3.delete_object(Bucket=vault, Key="a", VersionId=newer)
    s3.delete_object(Bucket=vault, Key="a", VersionId=marker)
    # longer is for everybody, shorter and other for those who may
    s3.put_object_retention(**this, Retention=retention(days=3))
    is_protected(s3.put_object_retention, **this, Retention=retention(days=2))
    is_protected(s3.put_object_retention, **this, Retention=retention("COMPLIANCE", days=9))
    is_protected(s3.put_object_retention, **this, Retention={})
    s3.put_object_retention(**this, Retention=retention(days=1), BypassGovernanceRetention=True)
    is_protected(s3.delete_object, **this)
    s3.delete_object(**this, BypassGovernanceRetention=True)
    # removed altogether
    version = put(s3, vault, "c", **locked())
    status, headers, _ = world.request("PUT", f"/{vault}/c", {"retention": ""},
                                       {"x-amz-bypass-governance-retention": "true"}, b"<Retention/>")
    assert (status, headers["x-amz-version-id"]) == (200, version)
    assert refused(s3.get_object_retention, Bucket=vault, Key="c") == (
        "NoSuchObjectLockConfiguration", 404, "The specified object does not have a ObjectLock configuration")
    s3.delete_object(Bucket=vault, Key="c", VersionId=version)
    many = put(s3, vault, "d", **locked())
    reply = s3.delete_objects(Bucket=vault, Delete={"Objects": [{"Key": "d", "VersionId": many}]},
                              BypassGovernanceRetention=True)
    assert reply["Deleted"] and "Errors" not in reply


def test_compliance_is_for_everybody(world, s3, vault):
    version = put(s3, vault, **locked("COMPLIANCE"))
    this = {"Bucket": vault, "Key": "a", "VersionId": version}
    is_protected(s3.delete_object, **this)
    is_protected(s3.delete_object, **this, BypassGovernanceRetention=True)
    for wanted in (retention("COMPLIANCE", hours=1), retention("GOVERNANCE", days=9), {}):
        is_protected(s3.put_object_retention, **this, Retention=wanted, BypassGovernanceRetention=True)
    s3.put_object_retention(**this, Retention=retention("COMPLIANCE", days=9))
    assert refused(s3.delete_bucket, Bucket=vault)[:2] == ("BucketNotEmpty", 409)
    world.walrus.kill()
    world.walrus.start()
    is_protected(s3.delete_object, **this)
    assert s3.get_object(**this)["Body"].read() == b"x"


def test_a_legal_hold(s3, vault):
    version = put(s3, vault)
    this = {"Bucket": vault, "Key": "a", "VersionId": version}
    assert refused(s3.get_object_legal_hold, **this)[:2] == ("NoSuchObjectLockConfiguration", 404)
    s3.put_object_legal_hold(**this, LegalHold={"Status": "ON"})
    assert s3.get_object_legal_hold(**this)["LegalHold"] == {"Status": "ON"}
    assert s3.head_object(**this)["ObjectLockLegalHoldStatus"] == "ON"
    is_protected(s3.delete_object, **this)
    is_protected(s3.delete_object, **this, BypassGovernanceRetention=True)
    s3.put_object_retention(**this, Retention=retention())
    s3.put_object_legal_hold(**this, LegalHold={"Status": "OFF"})
    assert s3.get_object_legal_hold(**this)["LegalHold"] == {"Status": "OFF"}
    assert s3.head_object(**this)["ObjectLockLegalHoldStatus"] == "OFF"
    is_protected(s3.delete_object, **this)
    s3.delete_object(**this, BypassGovernanceRetention=True)
    other = put(s3, vault, "b", ObjectLockLegalHoldStatus="ON")
    is_protected(s3.delete_object, Bucket=vault, Key="b", VersionId=other)


def test_retention_ends(s3, vault):
    version = put(s3, vault, **locked("COMPLIANCE", seconds=2))
    is_protected(s3.delete_object, Bucket=vault, Key="a", VersionId=version)
    time.sleep(2.1)
    assert s3.head_object(Bucket=vault, Key="a")["ObjectLockMode"] == "COMPLIANCE"
    s3.put_object_retention(Bucket=vault, Key="a", VersionId=version, Retention=retention("GOVERNANCE", seconds=60))
    s3.put_object_retention(Bucket=vault, Key="a", VersionId=version, Retention={}, BypassGovernanceRetention=True)
    s3.delete_object(Bucket=vault, Key="a", VersionId=version)


@pytest.mark.parametrize("query, body, name", [
    ("retention", "", "MissingRequestBodyError"),
    ("retention", "<Retention><Mode>GOVERNANCE</Mode></Retention>", "MalformedXML"),
    ("retention", "<Retention><RetainUntilDate>2099-01-01T00:00:00Z</RetainUntilDate></Retention>", "MalformedXML"),
    ("retention", "<Retention><Mode>governance</Mode><RetainUntilDate>2099-01-01T00:00:00Z</RetainUntilDate></Retention>",
     "MalformedXML"),
    ("retention", "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>soon</RetainUntilDate></Retention>", "MalformedXML"),
    ("retention", "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2019-01-01T00:00:00Z</RetainUntilDate></Retention>",
     "InvalidArgument"),
    ("legal-hold", "", "MissingRequestBodyError"),
    ("legal-hold", "<LegalHold/>", "MalformedXML"),
    ("legal-hold", "<LegalHold><Status>on</Status></LegalHold>", "MalformedXML"),
])
def test_changes_refused(world, s3, vault, query, body, name):
    put(s3, vault)
    status, _, text = world.request("PUT", f"/{vault}/a", {query: ""}, {}, body.encode())
    assert (status, ElementTree.fromstring(text).findtext("Code")) == (400, name)
    assert not {"ObjectLockMode", "ObjectLockLegalHoldStatus"} & set(s3.head_object(Bucket=vault, Key="a"))


def test_what_is_not_there_has_no_lock(s3, vault):
    calls = [(s3.get_object_retention, {}), (s3.get_object_legal_hold, {}),
             (s3.put_object_retention, {"Retention": retention()}), (s3.put_object_legal_hold, {"LegalHold": {"Status": "ON"}})]
    put(s3, vault)
    marker = s3.delete_object(Bucket=vault, Key="a")["VersionId"]
    for call, options in calls:
        assert refused(call, Bucket=vault, Key="none", **options)[:2] == ("NoSuchKey", 404)
        assert refused(call, Bucket=vault, Key="a", VersionId="0" * 32, **options)[:2] == ("NoSuchVersion", 404)
        assert refused(call, Bucket=vault, Key="a", VersionId="x", **options)[:2] == ("InvalidArgument", 400)
        assert refused(call, Bucket=vault, Key="a", VersionId=marker, **options)[:2] == ("MethodNotAllowed", 405)
        assert refused(call, Bucket=vault, Key="a", **options)[:2] == ("MethodNotAllowed", 405)
    s3.delete_object(Bucket=vault, Key="a", VersionId=marker)


def test_shapes(world, s3, vault):
    version = put(s3, vault, ObjectLockLegalHoldStatus="ON", **locked())
    for query, root, children in (("retention", "Retention", ["Mode", "RetainUntilDate"]), ("legal-hold", "LegalHold", ["Status"])):
        status, headers, text = world.request("GET", f"/{vault}/a", {query: ""})
        element = ElementTree.fromstring(text)
        assert (status, element.tag, headers["content-type"]) == (200, NAMESPACE + root, "application/xml")
        assert [c.tag for c in element] == [NAMESPACE + c for c in children] and headers["x-amz-version-id"] == version
