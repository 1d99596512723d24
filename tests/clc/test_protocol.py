"""The front door as bytes: signatures, paths, versions, spellings, and everything that is none of these."""
import http.client
import socket
import time

import front
import pytest
from strict import check_ec2, check_error, check_sts

REGIONS = [("Action", "DescribeRegions"), ("Version", front.VERSION)]


# -- who asks --

def test_no_signature(clc):
    reply = clc.send("POST", "/", {"Host": "x", "Content-Type": "application/x-www-form-urlencoded"},
                     b"Action=DescribeRegions&Version=2016-11-15")
    check_error(reply, 403, "MissingAuthenticationToken")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/", "/services", "/services/", "/services/compute", "/services/compute/",
                                  "/services/Eucalyptus", "/services/Eucalyptus/", "/services/ec2"])
def test_paths(clc, method, path):
    check_ec2(clc.call(clc.admin, REGIONS, method=method, path=path), "DescribeRegions")


@pytest.mark.parametrize("path", ["/services/Tokens", "/services/Tokens/", "/services/sts", "/", "/services"])
def test_sts_paths(clc, path):
    reply = clc.ec2(clc.admin, "GetCallerIdentity", version="2011-06-15", service="sts", path=path)
    check_sts(reply, "GetCallerIdentity")
    assert reply.text("Account") == clc.admin.id
    assert reply.text("Arn") == f"arn:aws:iam::{clc.admin.id}:user/admin"
    assert reply.text("UserId").startswith("AIDA")


def test_service_by_action_when_scope_says_nothing(clc):
    reply = clc.ec2(clc.admin, "GetCallerIdentity", version="2011-06-15", service="whatever")
    check_sts(reply, "GetCallerIdentity")


@pytest.mark.parametrize("path", ["/services/nothing", "/service", "/services/computer", "/favicon.ico", "/services/compute/x"])
def test_no_service(clc, path):
    check_error(clc.call(clc.admin, REGIONS, path=path), 404, "NotFound")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_methods(clc, method):
    reply = clc.send(method, "/", {"Host": "x", "Content-Length": "0"})
    check_error(reply, 405, "MethodNotAllowed")


@pytest.mark.parametrize("host,signed", [("127.0.0.1:{port}", None), ("127.0.0.1", None), ("127.0.0.1:{port}", "127.0.0.1"),
                                         ("cloud.example", None), ("CLOUD.example:8773", "CLOUD.example:8773")])
def test_v4_host(clc, host, signed):
    host = host.format(port=clc.port)
    check_ec2(clc.call(clc.admin, REGIONS, host=host, signed_host=signed), "DescribeRegions")


@pytest.mark.parametrize("region,service", [("us-east-1", "ec2"), ("0", "127"), ("anything", "ec2")])
def test_v4_scope_is_the_clients(clc, region, service):
    check_ec2(clc.call(clc.admin, REGIONS, region=region, service=service), "DescribeRegions")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("algorithm", ["HmacSHA1", "HmacSHA256"])
@pytest.mark.parametrize("host,signed", [("127.0.0.1:{port}", None), ("127.0.0.1", None), ("127.0.0.1:{port}", "127.0.0.1")])
def test_v2(clc, method, algorithm, host, signed):
    reply = clc.call_v2(clc.admin, REGIONS, method=method, algorithm=algorithm, host=host.format(port=clc.port),
                        signed_host=signed)
    check_ec2(reply, "DescribeRegions")


def test_v2_path_and_spelling(clc):
    check_ec2(clc.call_v2(clc.admin, REGIONS + [("SecurityToken", "")], path="/services/Eucalyptus/"), "DescribeRegions")
    check_ec2(clc.call_v2(clc.admin, REGIONS, path="/services/Eucalyptus", signed_path="/"), "DescribeRegions")
    check_ec2(clc.call_v2(clc.admin, REGIONS, expires=60), "DescribeRegions")


def test_keys_that_do_not_sign(clc):
    class Unknown:
        key, secret = "AKIAAAAAAAAAAAAAAAAA", "x" * 40
    check_error(clc.call(Unknown, REGIONS), 401, "AuthFailure", "AWS was not able to validate the provided access credentials")
    check_error(clc.call_v2(Unknown, REGIONS), 401, "AuthFailure")
    check_error(clc.call(clc.admin, REGIONS, secret="wrong" * 8), 401, "AuthFailure",
                "AWS was not able to validate the provided access credentials")
    check_error(clc.call_v2(clc.admin, REGIONS, secret="wrong" * 8), 401, "AuthFailure")
    identity = [("Action", "GetCallerIdentity"), ("Version", "2011-06-15")]
    check_error(clc.call(Unknown, identity, service="sts"), 403, "InvalidClientTokenId", iam=True)
    check_error(clc.call(clc.admin, identity, service="sts", secret="wrong" * 8), 403, "SignatureDoesNotMatch", iam=True)
    check_error(clc.call(clc.admin, identity, service="sts", skew_s=-16 * 60), 403, "SignatureDoesNotMatch", iam=True)


def test_revoked_key(clc):
    account = clc.new_account("revoked")
    check_ec2(clc.call(account, REGIONS), "DescribeRegions")
    clc.rows("UPDATE access_key SET is_active = 0, generation = generation + 1 WHERE access_key_id = ?", account.key)
    check_error(clc.call(account, REGIONS), 401, "AuthFailure")
    check_error(clc.call_v2(account, REGIONS), 401, "AuthFailure")


@pytest.mark.parametrize("skew", [-14 * 60, -5 * 60, 0, 5 * 60, 14 * 60])
def test_skew_borne(clc, skew):
    check_ec2(clc.call(clc.admin, REGIONS, skew_s=skew), "DescribeRegions")
    check_ec2(clc.call_v2(clc.admin, REGIONS, skew_s=skew), "DescribeRegions")


@pytest.mark.parametrize("skew", [-16 * 60, 16 * 60, -86400])
def test_skew_refused(clc, skew):
    check_error(clc.call(clc.admin, REGIONS, skew_s=skew), 400, "RequestExpired")
    check_error(clc.call_v2(clc.admin, REGIONS, skew_s=skew), 400, "RequestExpired")


def test_expires(clc):
    check_error(clc.call_v2(clc.admin, REGIONS, expires=-60), 400, "RequestExpired")
    check_ec2(clc.presign(clc.admin, REGIONS), "DescribeRegions")
    check_ec2(clc.presign(clc.admin, REGIONS, expires=3600, skew_s=-1800), "DescribeRegions")
    check_error(clc.presign(clc.admin, REGIONS, expires=60, skew_s=-120), 400, "RequestExpired")


@pytest.mark.parametrize("header", ["AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=x", "Basic eDp5", "AWS a:b",
                                    "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host, Signature=zz",
                                    "AWS4-HMAC-SHA256 " + "x" * 5000, "AWS4-HMAC-SHA512 Credential=a/20260101/r/ec2/aws4_request"])
def test_broken_authorization(clc, header):
    reply = clc.send("POST", "/", {"Host": "h", "Authorization": header, "X-Amz-Date": "20260101T000000Z",
                                   "Content-Type": "application/x-www-form-urlencoded"},
                     b"Action=DescribeRegions&Version=2016-11-15")
    assert reply.status in (400, 401, 403) and reply.code in (
        "IncompleteSignature", "AuthFailure", "MissingAuthenticationToken", "RequestExpired"), reply
    check_error(reply, reply.status, reply.code)


# -- what is asked --

@pytest.mark.parametrize("version", ["2009-11-30", "2010-08-31", "2012-12-01", "2013-02-01", "2014-06-15", "2014-10-01",
                                     "2015-10-01", "2016-11-15"])
def test_versions(clc, version):
    check_ec2(clc.ec2(clc.admin, "DescribeRegions", version=version), "DescribeRegions", version)


@pytest.mark.parametrize("version", ["2009-11-29", "2016-11-16", "2099-01-01", "2014", "2014-10-01 ", "2014-10-01/x",
                                     "2014-1-01", "2014-10-0x", "<b>", "2014-<x>-01"])
def test_versions_outside(clc, version):
    check_error(clc.ec2(clc.admin, "DescribeRegions", version=version), 400, "NoSuchVersion",
                f"The requested version ({version}) of service AmazonEC2 does not exist")


def test_action_and_version(clc):
    check_error(clc.call(clc.admin, [("Version", front.VERSION)]), 400, "MissingParameter",
                "The request must contain the parameter Action")
    check_error(clc.call(clc.admin, [("Action", "DescribeRegions")]), 400, "MissingParameter",
                "The request must contain the parameter Version")
    check_error(clc.ec2(clc.admin, "MakeCoffee"), 400, "InvalidAction",
                "The action MakeCoffee is not valid for this web service.")
    check_error(clc.ec2(clc.admin, "describeregions"), 400, "InvalidAction")
    check_error(clc.ec2(clc.admin, "x" * 100000), 400, "InvalidAction")
    check_error(clc.ec2(clc.admin, "GetCallerIdentity", path="/services/compute"), 400, "InvalidAction")
    check_error(clc.ec2(clc.admin, "DescribeRegions", service="sts", path="/services/Tokens", version="2011-06-15"), 400,
                "InvalidAction", iam=True)
    for version in ("2012-01-01", None):
        check_error(clc.ec2(clc.admin, "GetCallerIdentity", service="sts", path="/services/Tokens", version=version), 400,
                    "InvalidAction", f"for version {version or 'NO_VERSION_SPECIFIED'}", iam=True)
    check_error(clc.call(clc.admin, [("Version", "2011-06-15")], path="/services/Tokens"), 400, "MissingAction", iam=True)


def test_spellings_of_lists(clc, account):
    ids = [clc.ec2(account, "RunInstances", ImageId=account.image, MinCount="1", MaxCount="1").text("instanceId")
           for _ in range(3)]
    one = [("Action", "DescribeInstances"), ("Version", front.VERSION)]
    for names in (["InstanceId.1"], ["InstanceId.0"], ["InstanceId"], ["InstanceId.7"], ["InstanceId.01"]):
        reply = check_ec2(clc.call(account, one + [(n, ids[0]) for n in names]), "DescribeInstances")
        assert reply.all("instanceId") == ids[:1], names
    for names in (["InstanceId.1", "InstanceId.3"], ["InstanceId.9", "InstanceId.2"], ["InstanceId.0", "InstanceId.1"],
                  ["InstanceId", "InstanceId"]):
        reply = check_ec2(clc.call(account, one + list(zip(names, ids))), "DescribeInstances")
        assert sorted(reply.all("instanceId")) == sorted(ids[:2]), names
    # An empty one is an empty list, as Net::Amazon::EC2 sends it.
    assert len(check_ec2(clc.call(account, one + [("InstanceId", "")]), "DescribeInstances").all("instanceId")) == 3
    # The same one twice is there once.
    reply = clc.call(account, one + [("InstanceId.1", ids[0]), ("InstanceId.2", ids[0])])
    assert check_ec2(reply, "DescribeInstances").all("instanceId") == ids[:1]
    # Scalars with an index, and stray parameters of old clients.
    assert check_ec2(clc.ec2(account, "GetConsoleOutput", InstanceId__1=ids[0], SecurityToken=""),
                     "GetConsoleOutput").text("instanceId") == ids[0]
    check_error(clc.call(account, one + [("InstanceId.x", ids[0])]), 400, "UnknownParameter",
                "The parameter InstanceId.x is not recognized")
    check_error(clc.call(account, one + [("Instance.1", ids[0])]), 400, "UnknownParameter")
    check_error(clc.call(account, one + [("Filter.1.Name", "image-id"), ("Filter.1.Values.1", "x")]), 400, "UnknownParameter")


def test_space_is_plus_and_percent(clc, account):
    clc.ec2(account, "CreateKeyPair", KeyName="a b", KeyType="ed25519")
    for body in (b"Action=DescribeKeyPairs&Version=2016-11-15&KeyName.1=a+b",
                 b"Action=DescribeKeyPairs&Version=2016-11-15&KeyName.1=a%20b"):
        assert check_ec2(clc.call(account, [], body=body), "DescribeKeyPairs").text("keyName") == "a b"


# -- bodies --

@pytest.mark.parametrize("kind", ["application/json", "text/xml", "multipart/form-data; boundary=x", "text/plain"])
def test_content_type(clc, kind):
    check_error(clc.call(clc.admin, REGIONS, content_type=kind), 400, "InvalidParameterValue")


@pytest.mark.parametrize("kind", [None, "application/x-www-form-urlencoded; charset=utf-8",
                                  "application/x-www-form-urlencoded;charset=UTF-8", "Application/X-WWW-Form-Urlencoded"])
def test_content_type_good(clc, kind):
    check_ec2(clc.call(clc.admin, REGIONS, content_type=kind), "DescribeRegions")


@pytest.mark.parametrize("body,code", [
    (b"%", None), (b"Action=%zz&Version=2016-11-15", None), (b"\xff\xfe=\x00", None), (b"=&=&=", None), (b"&&&&", None),
    (b"Action=DescribeRegions&Version=2016-11-15&%00=x", None), (b"Action=DescribeRegions%00&Version=2016-11-15", None),
    (b"Action=DescribeRegions&Version=2016-11-15&RegionName.1=%ff%fe", None),
    (b"Action=DescribeRegions&Version=2016-11-15&RegionName.1=%00", None),
    (b"Action=DescribeRegions&Version=2016-11-15&" + b"." * 1000 + b"=x", "UnknownParameter"),
    (b"Action=DescribeRegions&Version=2016-11-15&" + b"Filter.1." * 500 + b"=x", "UnknownParameter"),
    (b"Action=DescribeRegions&Version=2016-11-15&Filter.99999999999999999999.Name=endpoint", None),
    (b"Action=DescribeRegions&Action=DescribeVpcs&Version=2016-11-15", None),
    (b"<xml/>", None), (b'{"Action": 1}', None), (b"a" * 100000, None), (b"", "MissingParameter"),
    (b"&".join(b"a%d=1" % i for i in range(5000)), None),
], ids=range(18))
def test_malformed_bodies(clc, body, code):
    reply = clc.call(clc.admin, [], body=body)
    assert 200 <= reply.status < 500, reply
    if reply.status != 200:
        check_error(reply, reply.status, code or reply.code)
        assert reply.code in ("MissingParameter", "InvalidAction", "UnknownParameter", "InvalidParameterValue",
                              "MalformedQueryString", "RequestLimitExceeded", "InvalidQueryParameter"), reply


def test_large_bodies(clc):
    reply = clc.call(clc.admin, [], body=b"Action=DescribeRegions&Version=2016-11-15&x=" + b"y" * 900_000)
    check_error(reply, 400, "UnknownParameter")
    # Past the limit the answer may come while we still send.
    try:
        reply = clc.call(clc.admin, [], body=b"y" * 3_000_000)
        check_error(reply, 413, "RequestEntityTooLarge")
    except (BrokenPipeError, ConnectionResetError):
        pass
    headers = {"Host": "h", "Content-Length": str(1 << 40), "Content-Type": "application/x-www-form-urlencoded"}
    check_error(clc.send("POST", "/", headers), 413, "RequestEntityTooLarge")


def test_raw_garbage(clc):
    for data in (b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x00\x05junk", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
                 b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc"):
        with socket.create_connection(("127.0.0.1", clc.port), timeout=30) as s:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := s.recv(65536):
                answer += piece
            assert b" 500 " not in answer.split(b"\r\n")[0], answer
    check_ec2(clc.call(clc.admin, REGIONS), "DescribeRegions")


# -- what is not for users --

@pytest.mark.parametrize("method,body", [("POST", b"<x/>"), ("POST", b""), ("GET", b""),
                                         ("POST", b"Action=DescribeRegions&Version=2016-11-15")])
def test_internal_service_by_plain_http(clc, method, body):
    reply = clc.send(method, "/services/internal", {"Host": "x", "Content-Type": "text/xml"}, body)
    assert reply.status == 403, reply
    assert b"TLS" in reply.body or b"certificate" in reply.body, reply


@pytest.mark.parametrize("path", ["/join", "/join/", "/join/x"])
def test_join_without_token(clc, path):
    for method, body in (("POST", b""), ("POST", b"x" * 2000), ("GET", b"")):
        reply = clc.send(method, path, {"Host": "x"}, body)
        assert 400 <= reply.status < 500, (path, method, reply)


def test_request_ids_differ_and_connection_stays(clc):
    connection = http.client.HTTPConnection("127.0.0.1", clc.port, timeout=30)
    seen = set()
    for _ in range(20):
        connection.request("POST", "/", b"Action=x", {"Content-Type": "application/x-www-form-urlencoded"})
        reply = connection.getresponse()
        text = reply.read().decode()
        seen.add(text.split("<RequestID>")[1].split("<")[0])
    assert len(seen) == 20
    connection.close()


def test_metrics(clc):
    def count(line):
        found = [x for x in clc.status_get("/metrics")[1].splitlines() if x.startswith(line)]
        return float(found[0].split()[-1]) if found else 0.0
    good = 'mallee_clc_requests_total{action="DescribeRegions",class="2xx"}'
    bad = 'mallee_clc_requests_total{action="DescribeRegions",class="4xx"}'
    other = 'mallee_clc_requests_total{action="unknown",class="4xx"}'
    before = count(good), count(bad), count(other)
    clc.call(clc.admin, REGIONS)
    clc.call(clc.admin, REGIONS + [("X", "y")])
    clc.ec2(clc.admin, "MakeCoffee")
    assert (count(good), count(bad), count(other)) == tuple(n + 1 for n in before)
    assert count('mallee_clc_request_seconds_count{action="DescribeRegions"}') >= 2
    assert "MakeCoffee" not in clc.status_get("/metrics")[1]


def test_slow_client_holds_nobody_up(clc):
    slow = [socket.create_connection(("127.0.0.1", clc.port)) for _ in range(40)]
    for s in slow:
        s.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nAct")
    begin = time.monotonic()
    check_ec2(clc.call(clc.admin, REGIONS), "DescribeRegions")
    assert time.monotonic() - begin < 5
    for s in slow:
        s.close()
