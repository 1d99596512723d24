"""Pages of other hosts: preflights, what replies say, and what caches are told."""
import pytest
from test_objects import code

VARY = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"
RULES = {"CORSRules": [
    {"ID": "one", "AllowedOrigins": ["https://*.example.com", "https://exact.test"], "AllowedMethods": ["GET", "PUT"],
     "AllowedHeaders": ["x-amz-*", "Content-Type"], "ExposeHeaders": ["ETag", "x-amz-version-id"],
     "MaxAgeSeconds": 3000},
    {"AllowedOrigins": ["*"], "AllowedMethods": ["HEAD"]}]}


def ask(world, method, path, **headers):
    connection = world.connection()
    connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    reply = connection.getresponse()
    text = reply.read()
    connection.close()
    return reply.status, {k.lower(): v for k, v in reply.getheaders()}, text


def preflight(world, path, origin, method="PUT", headers=None):
    asked = {"Origin": origin, "Access_Control_Request_Method": method}
    if headers:
        asked["Access_Control_Request_Headers"] = headers
    return ask(world, "OPTIONS", path, **asked)


def test_setting(s3, bucket):
    assert code(s3.get_bucket_cors, Bucket=bucket) == ("NoSuchCORSConfiguration", 404)
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration=RULES)
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == RULES["CORSRules"]
    s3.delete_bucket_cors(Bucket=bucket)
    assert code(s3.get_bucket_cors, Bucket=bucket) == ("NoSuchCORSConfiguration", 404)


@pytest.mark.parametrize("rule, wanted", [
    ({"AllowedOrigins": ["http://*.*"], "AllowedMethods": ["GET"]}, "InvalidRequest"),
    ({"AllowedOrigins": ["*"], "AllowedMethods": ["PATCH"]}, "InvalidRequest"),
    ({"AllowedOrigins": ["*"], "AllowedMethods": ["GET"], "AllowedHeaders": ["*-*"]}, "InvalidRequest"),
    ({"AllowedOrigins": ["*"], "AllowedMethods": ["GET"], "ExposeHeaders": ["x-*"]}, "InvalidRequest"),
    ({"AllowedOrigins": ["*"], "AllowedMethods": ["GET"], "ExposeHeaders": ["a\r\nb: c"]}, "MalformedXML"),
    ({"AllowedOrigins": ["*"], "AllowedMethods": []}, "MalformedXML"),
    ({"AllowedOrigins": [], "AllowedMethods": ["GET"]}, "MalformedXML"),
    ({"AllowedOrigins": ["*"], "AllowedMethods": ["GET"], "MaxAgeSeconds": -1}, "MalformedXML")])
def test_rules_that_are_none(s3, bucket, rule, wanted):
    assert code(s3.put_bucket_cors, Bucket=bucket, CORSConfiguration={"CORSRules": [rule]}) == (wanted, 400)


def test_limit_of_rules(s3, bucket):
    rule = {"AllowedOrigins": ["*"], "AllowedMethods": ["GET"]}
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule] * 100})
    assert code(s3.put_bucket_cors, Bucket=bucket, CORSConfiguration={"CORSRules": [rule] * 101}) == \
        ("InvalidRequest", 400)


def test_preflight(world, s3, bucket):
    status, headers, text = preflight(world, f"/{bucket}/k", "https://a.example.com")
    assert status == 403 and b"CORS is not enabled for this bucket." in text and b"AccessForbidden" in text
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration=RULES)
    status, headers, text = preflight(world, f"/{bucket}/k?uploads", "https://a.example.com",
                                      headers="X-Amz-Date, content-type")
    assert (status, text) == (200, b"")
    assert headers["access-control-allow-origin"] == "https://a.example.com"
    assert headers["access-control-allow-methods"] == "GET, PUT"
    assert headers["access-control-allow-headers"] == "x-amz-date, content-type"
    assert headers["access-control-expose-headers"] == "ETag, x-amz-version-id"
    assert headers["access-control-max-age"] == "3000" and headers["access-control-allow-credentials"] == "true"
    assert headers["vary"] == VARY
    status, headers, _ = preflight(world, f"/{bucket}", "http://whoever", "HEAD")
    assert status == 200 and headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in headers and "access-control-max-age" not in headers
    for origin, method, wanted in [("https://example.com", "PUT", None), ("https://a.example.com", "DELETE", None),
                                   ("https://a.example.com", "PUT", "authorization"),
                                   ("https://exact.test.evil", "GET", None)]:
        status, headers, text = preflight(world, f"/{bucket}/k", origin, method, wanted)
        assert status == 403 and b"This CORS request is not allowed." in text, (origin, method)
        assert f"<Method>{method}</Method><ResourceType>OBJECT</ResourceType>".encode() in text
        assert "access-control-allow-origin" not in headers and headers["vary"] == VARY


def test_preflights_that_are_none(world, bucket):
    for path, asked, wanted, part in [
            (f"/{bucket}/k", {}, 400, b"Origin request header needed"),
            (f"/{bucket}/k", {"Origin": "http://a"}, 400, b"Invalid Access-Control-Request-Method: null"),
            (f"/{bucket}/k", {"Origin": "http://a", "Access_Control_Request_Method": "PATCH"}, 400, b"PATCH"),
            ("/no-such-bucket-here/k", {"Origin": "http://a", "Access_Control_Request_Method": "GET"}, 403,
             b"CORSResponse: Bucket not found"),
            ("/", {"Origin": "http://a"}, 405, b"MethodNotAllowed")]:
        status, _, text = ask(world, "OPTIONS", path, **asked)
        assert status == wanted and part in text, (path, asked, text)


def test_replies(world, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert "vary" not in world.request("GET", f"/{bucket}/k", headers={"Origin": "https://exact.test"})[1]
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration=RULES)
    status, headers, _ = world.request("GET", f"/{bucket}/k", headers={"Origin": "https://exact.test"})
    assert status == 200 and headers["access-control-allow-origin"] == "https://exact.test"
    assert headers["access-control-allow-methods"] == "GET, PUT" and headers["vary"] == VARY
    # errors as well, before and after the bucket is looked at; and 304
    status, headers, _ = world.request("GET", f"/{bucket}/none", headers={"Origin": "https://exact.test"})
    assert status == 404 and headers["access-control-allow-origin"] == "https://exact.test"
    for asked in ({"Origin": "https://exact.test"}, {"Origin": "https://exact.test", "Authorization": "nonsense"}):
        status, headers, _ = ask(world, "GET", f"/{bucket}/k", **asked)
        assert status in (400, 403) and headers["access-control-allow-origin"] == "https://exact.test"
    status, headers, _ = world.request("GET", f"/{bucket}/k", headers={
        "Origin": "https://exact.test", "If-None-Match": "*"})
    assert status == 304 and headers["access-control-allow-origin"] == "https://exact.test"
    # what a cache must keep apart is said also without an Origin
    status, headers, _ = world.request("GET", f"/{bucket}/k")
    assert headers["vary"] == VARY and "access-control-allow-origin" not in headers
    status, headers, _ = world.request("GET", f"/{bucket}/k", headers={"Origin": "https://other.test"})
    assert status == 200 and headers["vary"] == VARY and "access-control-allow-origin" not in headers
    status, headers, _ = world.request("HEAD", f"/{bucket}/k", headers={"Origin": "https://other.test"})
    assert status == 200 and headers["access-control-allow-origin"] == "*"
