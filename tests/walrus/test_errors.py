"""Errors as Amazon words them: status, code, the elements of each code, headers, and what goes with a refusal."""
import base64
import datetime
import hashlib
import hmac
import re
import socket
import urllib.parse
import xml.etree.ElementTree as ElementTree

import pytest

DAY = datetime.timedelta(days=1)
EMPTY = hashlib.sha256(b"").hexdigest()


def fields(text):
    root = ElementTree.fromstring(text)
    assert root.tag == "Error"
    names = [e.tag for e in root]
    assert names[:2] == ["Code", "Message"] and names[-3:] == ["Resource", "RequestId", "HostId"]
    assert len(set(names)) == len(names), names
    return {e.tag: e.text or "" for e in root}


def raw(world, method, target, headers=None, body=b""):
    """Unsigned, as it stands here."""
    connection = world.connection(20)
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in {"host": f"127.0.0.1:{world.walrus.port}", **(headers or {})}.items():
            for one in value if isinstance(value, list) else [value]:
                connection.putheader(name, one)
        if body and "content-length" not in (headers or {}):
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
        reply = connection.getresponse()
        return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def home(world):
    s3 = world.s3()
    s3.create_bucket(Bucket="errors")
    s3.put_object(Bucket="errors", Key="key", Body=b"0123456789")
    yield "errors"
    for key in ("key", "part"):
        s3.delete_object(Bucket="errors", Key=key)
    s3.delete_bucket(Bucket="errors")




def md5(content):
    return base64.b64encode(hashlib.md5(content).digest()).decode()


MD5 = md5(b"other")
CASES = [  # method, path, query, headers, body, status, code, elements
    ("GET", "/nowhere", {}, {}, b"", 404, "NoSuchBucket", {"BucketName": "nowhere", "Resource": "/nowhere"}),
    ("GET", "/errors/absent", {}, {}, b"", 404, "NoSuchKey", {"Key": "absent"}),
    ("GET", "/errors/key", {"versionId": "x" * 32}, {}, b"", 404, "NoSuchVersion", {"Key": "key", "VersionId": "x" * 32}),
    ("GET", "/errors/key", {"uploadId": "abc"}, {}, b"", 404, "NoSuchUpload", {"UploadId": "abc"}),
    ("PUT", "/Not_a_name", {}, {}, b"", 400, "InvalidBucketName", {"BucketName": "Not_a_name"}),
    ("DELETE", "/errors", {}, {}, b"", 409, "BucketNotEmpty", {"BucketName": "errors"}),
    ("PUT", "/errors", {}, {}, b"", 409, "BucketAlreadyOwnedByYou", {"BucketName": "errors"}),
    ("POST", "/errors/key", {}, {}, b"", 405, "MethodNotAllowed", {"Method": "POST", "ResourceType": "OBJECT"}),
    ("DELETE", "/", {}, {}, b"", 405, "MethodNotAllowed", {"Method": "DELETE", "ResourceType": "SERVICE"}),
    ("PUT", "/errors/" + "k" * 1025, {}, {}, b"", 400, "KeyTooLongError", {"Size": "1025", "MaxSizeAllowed": "1024"}),
    ("GET", "/errors/key", {}, {"range": "bytes=10-"}, b"", 416, "InvalidRange", {"RangeRequested": "bytes=10-"}),
    ("PUT", "/errors/part", {}, {"content-md5": "bm8="}, b"x", 400, "InvalidDigest", {"Content-MD5": "bm8="}),
    ("PUT", "/errors/part", {}, {"content-md5": MD5}, b"x", 400, "BadDigest", {
        "ExpectedDigest": MD5, "CalculatedDigest": md5(b"x")}),
    ("PUT", "/errors/part", {}, {"x-amz-checksum-crc32": "AAAAAA=="}, b"x", 400, "BadDigest", {
        "Message": "The CRC32 you specified did not match the calculated checksum."}),
    ("PUT", "/errors/part", {}, {"x-amz-checksum-crc32": "AA=="}, b"x", 400, "InvalidRequest", {
        "Message": "Value for x-amz-checksum-crc32 header is invalid."}),
    ("PUT", "/errors/part", {}, {"x-amz-checksum-crc32": "jNwWgw==", "x-amz-sdk-checksum-algorithm": "SHA1"}, b"x", 400,
     "InvalidRequest", {"Message": "Value for x-amz-sdk-checksum-algorithm header is invalid."}),
    ("PUT", "/errors/part", {}, {"x-amz-trailer": "x-amz-checksum-none"}, b"x", 400, "InvalidRequest", {
        "Message": "The value specified in the x-amz-trailer header is not supported"}),
    ("POST", "/errors", {"delete": ""}, {"content-md5": md5(b"")}, b"", 400, "MissingRequestBodyError", {}),
    ("POST", "/errors", {"delete": ""}, {"content-md5": md5(b"<Delete>")}, b"<Delete>", 400, "MalformedXML", {}),
    ("POST", "/errors", {"delete": ""}, {}, b" " * (4 << 20) + b" ", 400, "MaxMessageLengthExceeded", {
        "MaxMessageLengthBytes": str(4 << 20)}),
    ("POST", "/errors", {}, {"content-type": "text/plain"}, b"x", 412, "PreconditionFailed", {
        "Condition": "Bucket POST must be of the enclosure-type multipart/form-data"}),
    ("PUT", "/errors/key", {}, {"if-none-match": "*"}, b"x", 412, "PreconditionFailed", {"Condition": "If-None-Match"}),
    ("PUT", "/errors/key", {}, {"if-match": '"x"'}, b"x", 412, "PreconditionFailed", {"Condition": "If-Match"}),
    ("PUT", "/errors/key", {}, {"if-none-match": "*", "if-match": "*"}, b"x", 501, "NotImplemented", {}),
    ("DELETE", "/errors/key", {}, {"if-match": '"x"'}, b"", 412, "PreconditionFailed", {"Condition": "If-Match"}),
    ("GET", "/errors", {"replication": ""}, {}, b"", 404, "ReplicationConfigurationNotFoundError", {"BucketName": "errors"}),
    ("PUT", "/errors", {"replication": ""}, {}, b"<x/>", 501, "NotImplemented", {}),
    ("GET", "/nowhere", {"replication": ""}, {}, b"", 404, "NoSuchBucket", {}),
    ("GET", "/errors", {"inventory": "", "id": "1"}, {}, b"", 404, "NoSuchConfiguration", {"BucketName": "errors"}),
    ("POST", "/errors/key", {"select": "", "select-type": "2"}, {}, b"<x/>", 405, "MethodNotAllowed", {}),
    ("GET", "/errors/key", {"torrent": ""}, {}, b"", 405, "MethodNotAllowed", {}),
    ("PUT", "/errors", {"location": ""}, {}, b"<x/>", 405, "MethodNotAllowed", {}),
    ("GET", "/errors", {"max-keys": "x"}, {}, b"", 400, "InvalidArgument", {}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[6]}-{c[0]}")
def test_elements(world, home, case):
    method, path, query, headers, body, status, code, elements = case
    got, replied, text = world.request(method, path, query, headers, body)
    error = fields(text)
    assert (got, error["Code"]) == (status, code), text
    for name, value in elements.items():
        assert error.get(name) == value, text
    assert replied["content-type"] == "application/xml"
    assert error["RequestId"] == replied["x-amz-request-id"] and error["HostId"] == replied["x-amz-id-2"]
    assert error["Resource"] == urllib.parse.quote(path)


def test_allow(world, home):
    def allowed(path, method="POST", query=None):
        status, headers, _ = world.request(method, path, query)
        assert status == 405
        return set(headers["allow"].split(", "))
    assert allowed("/errors/key") >= {"GET", "HEAD", "PUT", "DELETE"}
    assert allowed("/", "DELETE") == {"GET"}
    assert allowed("/errors", "PUT", {"location": ""}) == {"GET"}


def test_head_has_no_body(world, home):
    for path in ("/errors/absent", "/nowhere"):
        status, headers, text = world.request("HEAD", path)
        assert (status, text, headers["content-type"]) == (404, b"", "application/xml")
        assert headers["x-amz-request-id"] and headers["x-amz-id-2"]
    assert raw(world, "HEAD", "/errors/key")[::2] == (403, b"")
    status, headers, _ = world.request("HEAD", "/errors")
    assert (status, headers["x-amz-bucket-region"]) == (200, "us-east-1")


# -- signatures --

def refused(world, *args, **kwargs):
    status, _, text = world.request(*args, **kwargs)
    return status, fields(text)


def test_signature_does_not_match(world, home):
    status, error = refused(world, "GET", "/errors/key", keys=(world.admin_keys[0], "wrong"))
    assert (status, error["Code"]) == (403, "SignatureDoesNotMatch")
    assert error["AWSAccessKeyId"] == world.admin_keys[0]
    assert re.fullmatch("[0-9a-f]{64}", error["SignatureProvided"])
    canonical = error["CanonicalRequest"]
    assert canonical.startswith("GET\n/errors/key\n\nhost:127.0.0.1:")
    assert error["StringToSign"].endswith("\n" + hashlib.sha256(canonical.encode()).hexdigest())
    for name in ("StringToSign", "CanonicalRequest"):
        assert bytes.fromhex(error[name + "Bytes"]) == error[name].encode()
    s3 = world.s3(keys=(world.admin_keys[0], "wrong"), version="s3")
    with pytest.raises(s3.exceptions.ClientError) as caught:
        s3.get_object(Bucket="errors", Key="key")
    error = caught.value.response["Error"]
    assert error["Code"] == "SignatureDoesNotMatch" and error["StringToSign"].endswith("\n/errors/key")


def test_an_unknown_key(world, home):
    status, error = refused(world, "GET", "/errors/key", keys=("AKIANOBODY", "x"))
    assert (status, error["Code"], error["AWSAccessKeyId"]) == (403, "InvalidAccessKeyId", "AKIANOBODY")


def test_clocks(world, home):
    now = datetime.datetime.utcnow()
    for then in (now - datetime.timedelta(minutes=16), now + datetime.timedelta(minutes=16)):
        status, error = refused(world, "GET", "/errors/key", now=then)
        assert (status, error["Code"]) == (403, "RequestTimeTooSkewed")
        assert error["MaxAllowedSkewMilliseconds"] == "900000"
        assert error["RequestTime"] == then.strftime("%Y%m%dT%H%M%SZ")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", error["ServerTime"])
    assert world.request("GET", "/errors/key", now=now - datetime.timedelta(minutes=14))[0] == 200


def test_headers_that_are_not_signed(world, home):
    target, headers, _ = world.signed("PUT", "/errors/part")
    error = fields(raw(world, "PUT", target, {**headers, "X-Amz-Acl": "public-read", "x-amz-tagging": "a=b"}, b"x")[2])
    assert (error["Code"], error["HeadersNotSigned"]) == ("AccessDenied", "x-amz-acl, x-amz-tagging")
    without = {k: v for k, v in headers.items() if k != "host"}
    without["authorization"] = without["authorization"].replace("host;", "")
    assert fields(raw(world, "GET", target, without)[2])["HeadersNotSigned"] == "host"


def presigned(world, **changed):
    url = world.s3().generate_presigned_url("get_object", {"Bucket": "errors", "Key": "key"}, ExpiresIn=600)
    split = urllib.parse.urlsplit(url)
    query = dict(urllib.parse.parse_qsl(split.query))
    query.update({k.replace("_", "-"): v for k, v in changed.items() if v is not None})
    for name in [k for k, v in changed.items() if v is None]:
        del query[name.replace("_", "-")]
    return split.path + "?" + urllib.parse.urlencode(query)


@pytest.mark.parametrize("changed, code, says", [
    ({"X_Amz_Expires": "604801"}, "AuthorizationQueryParametersError", "less than a week"),
    ({"X_Amz_Expires": "-1"}, "AuthorizationQueryParametersError", "non-negative"),
    ({"X_Amz_Expires": "soon"}, "AuthorizationQueryParametersError", "should be a number"),
    ({"X_Amz_Expires": None}, "AuthorizationQueryParametersError", "requires the X-Amz-Algorithm"),
    ({"X_Amz_Date": "yesterday"}, "AuthorizationQueryParametersError", "ISO8601"),
    ({"X_Amz_Date": "20200101T000000Z"}, "AuthorizationQueryParametersError", "Invalid credential date"),
    ({"X_Amz_Credential": "a/b"}, "AuthorizationQueryParametersError", "mal-formed"),
    ({"X_Amz_Algorithm": "AWS4-HMAC-MD5"}, "AuthorizationQueryParametersError", "only supports"),
    ({"X_Amz_Expires": "0"}, "AccessDenied", "Request has expired"),
    ({"X_Amz_Expires": "604800"}, "SignatureDoesNotMatch", "does not match"),
    ({"X_Amz_SignedHeaders": "date"}, "AccessDenied", "not signed"),
])
def test_links(world, home, changed, code, says):
    error = fields(raw(world, "GET", presigned(world, **changed))[2])
    assert error["Code"] == code and says in error["Message"], error


def test_an_expired_link_says_when(world, home):
    s3, url = world.s3(version="s3"), None
    url = s3.generate_presigned_url("get_object", {"Bucket": "errors", "Key": "key"}, ExpiresIn=-60)
    split = urllib.parse.urlsplit(url)
    error = fields(raw(world, "GET", f"{split.path}?{split.query}")[2])
    assert (error["Code"], error["Message"]) == ("AccessDenied", "Request has expired")
    assert error["Expires"] < error["ServerTime"]


def test_one_signature_only(world, home):
    _, headers, _ = world.signed("GET", "/errors/key")
    ours = headers["authorization"]
    for target, more in ((presigned(world), {"authorization": ours}), ("/errors/key", {**headers, "authorization": [ours] * 2}),
                         ("/errors/key?AWSAccessKeyId=a&Signature=b&Expires=1", {"authorization": "AWS a:b"})):
        status, _, text = raw(world, "GET", target, more)
        error = fields(text)
        assert (status, error["Code"], error["ArgumentName"]) == (400, "InvalidArgument", "Authorization"), text
        assert error["Message"].startswith("Only one auth mechanism allowed")


def test_authorizations_that_are_none(world, home):
    _, headers, _ = world.signed("GET", "/errors/key")
    whole = headers["authorization"]
    for value, code in ((whole.replace("/aws4_request", ""), "AuthorizationHeaderMalformed"),
                        (whole.replace("Signature=", "Sig="), "AuthorizationHeaderMalformed"),
                        ("Basic dXNlcjpwYXNz", "InvalidArgument"), ("AWS nocolon", "InvalidArgument"),
                        ("AWS4-HMAC-SHA256", "AuthorizationHeaderMalformed")):
        status, _, text = raw(world, "GET", "/errors/key", {**headers, "authorization": value})
        assert (status, fields(text)["Code"]) == (400, code), text
    without = {k: v for k, v in headers.items() if k != "x-amz-date"}
    without["authorization"] = whole.replace(";x-amz-date", "")
    assert fields(raw(world, "GET", "/errors/key", without)[2])["Message"].startswith("AWS authentication requires a valid Date")


def test_tokens_are_nobodys(world, home):
    status, error = refused(world, "GET", "/errors/key", headers={"x-amz-security-token": "abc"})
    assert (status, error["Code"], error["Token-0"]) == (400, "InvalidToken", "abc")


def test_any_region_and_dates(world, home):
    for region in ("us-east-1", "eu-nowhere-7"):
        s3 = world.s3()
        s3.meta.config.region_name = region
        import boto3
        import botocore.client
        s3 = boto3.client("s3", endpoint_url=world.endpoint, aws_access_key_id=world.admin_keys[0],
                          aws_secret_access_key=world.admin_keys[1], region_name=region,
                          config=botocore.client.Config(s3={"addressing_style": "path"}))
        assert s3.get_object(Bucket="errors", Key="key")["Body"].read() == b"0123456789"


def test_a_listed_header_that_did_not_come_is_empty(world, home):
    """libs3 lists headers that it does not send; the service takes them as empty."""
    target, headers, _ = world.signed("GET", "/errors/key", headers={"x-extra": ""})
    del headers["x-extra"]
    assert raw(world, "GET", target, headers)[0] == 200


# -- mounts and hosts --

def v2(world, method, resource, date):
    text = f"{method}\n\n\n{date}\n{resource}"
    mac = hmac.new(world.admin_keys[1].encode(), text.encode(), hashlib.sha1).digest()
    return base64.b64encode(mac).decode()


@pytest.mark.parametrize("mount", ["/services/objectstorage", "/services/Walrus", "/services/walrus"])
@pytest.mark.parametrize("signs_mount", [True, False])
def test_mounts(world, home, mount, signs_mount):
    """Clients sign the path as they send it, or what comes behind the mount; in the header and in links, V4 and V2."""
    signed = (mount if signs_mount else "") + "/errors/key"
    _, headers, _ = world.signed("GET", signed)
    assert raw(world, "GET", mount + "/errors/key", headers)[::2] == (200, b"0123456789")
    date = datetime.datetime.utcnow().strftime("%a, %d %b %Y %H:%M:%S GMT")
    ours = f"AWS {world.admin_keys[0]}:{v2(world, 'GET', signed, date)}"
    assert raw(world, "GET", mount + "/errors/key", {"date": date, "authorization": ours})[0] == 200
    until = str(int(datetime.datetime.now().timestamp()) + 60)
    query = urllib.parse.urlencode({"AWSAccessKeyId": world.admin_keys[0], "Expires": until,
                                    "Signature": v2(world, "GET", signed, until)})
    assert raw(world, "GET", f"{mount}/errors/key?{query}")[0] == 200
    import botocore.auth
    import botocore.awsrequest
    import botocore.credentials
    request = botocore.awsrequest.AWSRequest("GET", world.endpoint + signed)
    botocore.auth.S3SigV4QueryAuth(botocore.credentials.Credentials(*world.admin_keys), "s3", "x-1", 60).add_auth(request)
    link = mount + "/errors/key?" + urllib.parse.urlsplit(request.url).query
    assert raw(world, "GET", link)[::2] == (200, b"0123456789")


@pytest.mark.parametrize("host", ["errors.s3.test", "ERRORS.S3.TEST:80", "errors.S3.test:8777"])
def test_hosts(world, home, host):
    target, headers, _ = world.signed("GET", "/key", headers={"host": host})
    assert raw(world, "GET", target, headers)[::2] == (200, b"0123456789")


@pytest.mark.parametrize("host", ["[::1]", "[::1]:8777", "s3.test", "10.0.0.1:1"])
def test_hosts_of_path_style(world, home, host):
    target, headers, _ = world.signed("GET", "/errors/key", headers={"host": host})
    assert raw(world, "GET", target, headers)[::2] == (200, b"0123456789")


def test_a_bucket_with_dots_as_host(world):
    s3 = world.s3()
    s3.create_bucket(Bucket="a.b.errors")
    try:
        target, headers, _ = world.signed("PUT", "/k", headers={"host": "a.b.errors.s3.test"})
        assert raw(world, "PUT", target, headers, b"x")[0] == 200
        assert s3.get_object(Bucket="a.b.errors", Key="k")["Body"].read() == b"x"
        s3.delete_object(Bucket="a.b.errors", Key="k")
    finally:
        s3.delete_bucket(Bucket="a.b.errors")


# -- before the body --

def exchange(world, text, seconds=10):
    """What comes back of bytes on a connection of their own, until it is closed or silent."""
    got = b""
    with socket.create_connection(("127.0.0.1", world.walrus.port), timeout=seconds) as connection:
        connection.sendall(text)
        try:
            while True:
                piece = connection.recv(65536)
                if not piece:
                    break
                got += piece
                if b"</Error>" in got:
                    break
        except socket.timeout:
            pass
    return got


def test_an_error_comes_before_the_body(world, home):
    target, headers, _ = world.signed("PUT", "/nowhere/key", headers={"expect": "100-continue"})
    head = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    got = exchange(world, f"PUT {target} HTTP/1.1\r\n{head}content-length: 1000000\r\n\r\n".encode())
    assert got.startswith(b"HTTP/1.1 404 ") and b"NoSuchBucket" in got
    assert b"connection: close" in got.lower()


def test_a_put_without_a_length(world, home):
    target, headers, _ = world.signed("PUT", "/errors/part")
    head = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    got = exchange(world, f"PUT {target} HTTP/1.1\r\n{head}\r\n".encode())
    assert b"411 " in got.split(b"\r\n")[0] and b"<Code>MissingContentLength</Code>" in got
    got = exchange(world, f"PUT {target} HTTP/1.1\r\n{head}transfer-encoding: chunked\r\n\r\n0\r\n\r\n".encode())
    assert b"501 " in got.split(b"\r\n")[0] and b"<Header>Transfer-Encoding</Header>" in got
    got = exchange(world, f"PUT {target} HTTP/1.1\r\n{head}content-length: {6 << 30}\r\n\r\n".encode())
    assert b"<Code>EntityTooLarge</Code>" in got and b"<MaxSizeAllowed>5368709120</MaxSizeAllowed>" in got


def test_a_body_that_nobody_asked_for(world, home):
    assert world.request("GET", "/errors/key", body=b"what")[::2] == (200, b"0123456789")
