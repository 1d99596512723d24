"""Browsers, as they put their requests on the wire: preflights, cross-origin reads, upload forms, pages."""
import base64
import datetime
import hashlib
import hmac
import json
import urllib.parse
import xml.etree.ElementTree as ElementTree

import pytest

BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Accept": "*/*",
           "Accept-Language": "en-US,en;q=0.5", "Accept-Encoding": "gzip, deflate, br", "Connection": "keep-alive",
           "Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "cross-site"}
PAGE = "https://app.example"
CORS = {"CORSRules": [
    {"AllowedOrigins": [PAGE], "AllowedMethods": ["GET", "PUT", "POST"], "AllowedHeaders": ["*"],
     "ExposeHeaders": ["ETag", "x-amz-request-id"], "MaxAgeSeconds": 3000},
    {"AllowedOrigins": ["*"], "AllowedMethods": ["GET", "HEAD"], "AllowedHeaders": ["range", "x-amz-*"]}]}


def ask(world, method, path, headers=None, body=None, port=None):
    connection = world.connection(30)
    if port:
        connection.port = port
    try:
        connection.request(method, path, body=body, headers={**BROWSER, **(headers or {})})
        reply = connection.getresponse()
        return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()
    finally:
        connection.close()


def preflight(world, path, origin, method, headers=""):
    more = {"Access-Control-Request-Headers": headers} if headers else {}
    return ask(world, "OPTIONS", path, {"Origin": origin, "Access-Control-Request-Method": method, **more})


def words(text):
    return {w.strip().lower() for w in text.split(",")}


@pytest.fixture
def shared(s3, bucket):
    """A bucket with rules, and a public object in it."""
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration=CORS)
    s3.put_object(Bucket=bucket, Key="data.json", Body=b"{}", ContentType="application/json", ACL="public-read")
    return f"/{bucket}/data.json"


def test_preflight(world, shared):
    status, headers, text = preflight(world, shared, PAGE, "PUT", "content-type,x-amz-date,authorization")
    assert (status, text) == (200, b"")
    assert headers["access-control-allow-origin"] == PAGE and headers["access-control-allow-credentials"] == "true"
    assert "PUT" in headers["access-control-allow-methods"] and headers["access-control-max-age"] == "3000"
    assert {"content-type", "x-amz-date", "authorization"} <= words(headers["access-control-allow-headers"])
    assert words(headers["access-control-expose-headers"]) == {"etag", "x-amz-request-id"}
    assert "origin" in words(headers["vary"])
    # Of a key that is not there, and of the bucket itself: a preflight asks for leave, not for the object.
    assert preflight(world, shared + "-new", PAGE, "PUT")[0] == 200
    assert preflight(world, shared.rpartition("/")[0], PAGE, "POST")[0] == 200
    for origin in ("https://elsewhere.example", "null"):
        status, headers, _ = preflight(world, shared, origin, "GET", "Range, X-Amz-Date")
        assert (status, headers["access-control-allow-origin"]) == (200, "*")
        assert "access-control-allow-credentials" not in headers


@pytest.mark.parametrize("origin, method, headers", [
    ("https://elsewhere.example", "PUT", ""), (PAGE, "DELETE", ""), ("https://elsewhere.example", "GET", "range,x-other"),
    ("http://app.example", "PUT", ""), ("https://app.example.evil", "PUT", "")])
def test_preflight_refused(world, shared, origin, method, headers):
    status, answered, text = preflight(world, shared, origin, method, headers)
    assert status == 403 and b"<Code>AccessForbidden</Code>" in text
    assert "access-control-allow-origin" not in answered


def test_preflight_that_is_none(world, s3, bucket, shared):
    status, _, text = ask(world, "OPTIONS", shared)
    assert status == 400 and b"<Code>BadRequest</Code>" in text and b"Insufficient information" in text
    status, _, text = preflight(world, shared, PAGE, "FETCH")
    assert status == 400 and b"<Code>BadRequest</Code>" in text
    s3.delete_bucket_cors(Bucket=bucket)
    status, _, text = preflight(world, shared, PAGE, "GET")
    assert status == 403 and b"CORS is not enabled for this bucket" in text
    status, _, text = preflight(world, "/no-such-bucket-at-all/x", PAGE, "GET")
    assert status in (403, 404)


def test_reads_of_other_origins(world, s3, bucket, shared):
    status, headers, text = ask(world, "GET", shared, {"Origin": PAGE})
    assert (status, text) == (200, b"{}")
    assert headers["access-control-allow-origin"] == PAGE and headers["access-control-allow-credentials"] == "true"
    assert words(headers["access-control-expose-headers"]) == {"etag", "x-amz-request-id"}
    assert "origin" in words(headers["vary"])
    assert ask(world, "GET", shared, {"Origin": "null"})[1]["access-control-allow-origin"] == "*"
    # Refusals can be read by the page too.
    s3.put_object(Bucket=bucket, Key="private", Body=b"x")
    status, headers, text = ask(world, "GET", f"/{bucket}/private", {"Origin": PAGE})
    assert status == 403 and headers["access-control-allow-origin"] == PAGE
    # Without an origin nothing is allowed, but caches must know that it matters.
    status, headers, _ = ask(world, "GET", shared)
    assert status == 200 and "access-control-allow-origin" not in headers and "origin" in words(headers["vary"])
    tag = headers["etag"]
    status, headers, text = ask(world, "GET", shared, {"Origin": PAGE, "If-None-Match": tag})
    assert (status, text) == (304, b"") and headers["access-control-allow-origin"] == PAGE and headers["etag"] == tag
    s3.delete_bucket_cors(Bucket=bucket)
    status, headers, _ = ask(world, "GET", shared, {"Origin": PAGE})
    assert status == 200 and not [h for h in headers if h.startswith("access-control-")] and "vary" not in headers


def test_a_page_uploads_by_a_signed_link(world, s3, bucket, shared):
    url = urllib.parse.urlsplit(s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "up", "ContentType": "image/png"}))
    assert preflight(world, f"{url.path}?{url.query}", PAGE, "PUT", "content-type")[0] == 200
    status, headers, _ = ask(world, "PUT", f"{url.path}?{url.query}", {"Origin": PAGE, "Content-Type": "image/png"}, b"png")
    assert status == 200 and headers["access-control-allow-origin"] == PAGE
    assert s3.get_object(Bucket=bucket, Key="up")["ContentType"] == "image/png"


# -- forms --

BOUNDARY = "----WebKitFormBoundaryZ7sNq1oPcNhkbIXw"


def form(fields, file=b"bytes of the file", name="my photo.png", kind="image/png", after=()):
    parts = []
    for key, value in fields:
        parts.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n'.encode() + value.encode() + b"\r\n")
    if file is not None:
        parts.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: {kind}'
                     "\r\n\r\n".encode() + file + b"\r\n")
    for key, value in after:
        parts.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode())
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def post(world, path, body):
    return ask(world, "POST", path, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Origin": PAGE}, body)


def signed_form(s3, bucket, key, fields=None, conditions=None, seconds=60):
    made = s3.generate_presigned_post(bucket, key, Fields=fields, Conditions=conditions, ExpiresIn=seconds)
    return list(made["fields"].items())


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_an_upload_form(world, bucket, version):
    s3 = world.s3(version=version)
    fields = {"acl": "public-read", "success_action_status": "201", "Content-Type": "image/png", "x-amz-meta-from": "form",
              "Cache-Control": "max-age=5"}
    made = signed_form(s3, bucket, "up/${filename}", fields,
                       [{k: v} for k, v in fields.items()] + [["content-length-range", 1, 1 << 20]])
    body = b"\r\n--" + BOUNDARY.encode()[:-1] + b"\r\n" + bytes(range(256)) * 400
    status, headers, text = post(world, f"/{bucket}", form(made, body, after=[("submit", "Upload")]))
    assert status == 201, text
    root = ElementTree.fromstring(text)
    assert root.tag == "PostResponse" and root.findtext("Key") == "up/my photo.png" and root.findtext("Bucket") == bucket
    assert root.findtext("ETag") == headers["etag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert root.findtext("Location").endswith("up/my%20photo.png") or root.findtext("Location").endswith("up%2Fmy+photo.png") \
        or root.findtext("Location").endswith("up%2Fmy%20photo.png")
    got = s3.get_object(Bucket=bucket, Key="up/my photo.png")
    assert got["Body"].read() == body
    assert (got["ContentType"], got["CacheControl"], got["Metadata"]) == ("image/png", "max-age=5", {"from": "form"})
    assert ask(world, "GET", f"/{bucket}/up/my%20photo.png")[0] == 200


def test_what_comes_after_a_form(world, s3, bucket):
    status, headers, text = post(world, f"/{bucket}", form(signed_form(s3, bucket, "plain")))
    assert (status, text) == (204, b"") and headers["etag"]
    fields = {"success_action_redirect": f"{PAGE}/done?a=1"}
    made = signed_form(s3, bucket, "redirected", fields, [fields])
    status, headers, _ = post(world, f"/{bucket}", form(made))
    assert status == 303
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(headers["location"]).query))
    assert headers["location"].startswith(f"{PAGE}/done?a=1&")
    assert query == {"a": "1", "bucket": bucket, "key": "redirected", "etag": headers.get("etag", query["etag"])}


def replaced(fields, **values):
    return [(k, values.get(k.replace("-", "_"), v)) for k, v in fields]


def test_forms_refused(world, s3, bucket):
    conditions = [["starts-with", "$key", "up/"], ["content-length-range", 5, 20]]
    good = signed_form(s3, bucket, "up/a", None, conditions)
    assert post(world, f"/{bucket}", form(good, b"12345"))[0] == 204
    late = [{"expiration": "2020-01-01T00:00:00Z", "conditions": [{"bucket": bucket}, {"key": "up/a"}]}]
    for fields, body, status, name in [
            (replaced(good, key="elsewhere"), b"12345", 403, "AccessDenied"),
            (good + [("x-amz-meta-more", "1")], b"12345", 403, "AccessDenied"),
            (replaced(good, x_amz_signature="0" * 64), b"12345", 403, "SignatureDoesNotMatch"),
            (good, b"1234", 400, "EntityTooSmall"), (good, b"x" * 21, 400, "EntityTooLarge"),
            (replaced(good, policy="!!"), b"12345", 403, "SignatureDoesNotMatch"),
            ([f for f in good if f[0] != "key"], b"12345", 400, "InvalidArgument"),
            (good, None, 400, "InvalidArgument"), (own_policy(world, late[0]), b"12345", 403, "AccessDenied"),
            ([("key", "up/a")], b"12345", 403, "AccessDenied")]:
        got, _, text = post(world, f"/{bucket}", form(fields, body))
        assert (got, f"<Code>{name}</Code>".encode() in text) == (status, True), (fields[0], text)
    status, _, text = ask(world, "POST", f"/{bucket}", {"Content-Type": "text/plain"}, b"x")
    assert status in (400, 405, 412), text
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["up/a"]


def own_policy(world, document):
    """The fields of a form whose policy is ours, well signed."""
    now = datetime.datetime.utcnow()
    day, keys = now.strftime("%Y%m%d"), world.admin_keys
    credential = f"{keys[0]}/{day}/mallee-1/s3/aws4_request"
    fixed = {"x-amz-algorithm": "AWS4-HMAC-SHA256", "x-amz-credential": credential, "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ")}
    document["conditions"] += [{k: v} for k, v in fixed.items()]
    policy = base64.b64encode(json.dumps(document).encode()).decode()
    key = ("AWS4" + keys[1]).encode()
    for part in credential.split("/")[1:]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, policy.encode(), hashlib.sha256).hexdigest()
    return [("key", "up/a"), *fixed.items(), ("policy", policy), ("x-amz-signature", signature)]


def test_an_open_bucket_takes_unsigned_forms(world, s3, bucket):
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    status, _, text = post(world, f"/{bucket}", form([("key", "guest book"), ("acl", "public-read")], b"hello"))
    assert status == 204, text
    assert ask(world, "GET", f"/{bucket}/guest%20book")[2] == b"hello"


# -- pages --

NAVIGATION = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Upgrade-Insecure-Requests": "1",
              "Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none", "Sec-Fetch-User": "?1",
              "Cookie": "consent=yes; theme=dark"}


def test_a_website_is_read(world, s3, bucket):
    """By its host name: the page, what it loads, a folder, a page that is not there, and all again on a second visit."""
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"},
                                                               "ErrorDocument": {"Key": "errors/404.html"}})
    pages = {"index.html": ("text/html", b"<!doctype html><title>home</title>"), "docs/index.html": ("text/html", b"docs"),
             "errors/404.html": ("text/html", b"not here"), "site.css": ("text/css", b"body {}"), "data.json": ("application/json", b"[]")}
    for key, (kind, body) in pages.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType=kind, CacheControl="max-age=60", ACL="public-read")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:ListBucket"],
                                                      "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}]}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    host = {**NAVIGATION, "Host": f"{bucket}.web.test:{world.website_port}"}

    def visit(path, **headers):
        return ask(world, "GET", path, {**host, **headers}, port=world.website_port)
    for path, key in (("/", "index.html"), ("/docs/", "docs/index.html"), ("/site.css", "site.css"), ("/data.json?_=17", "data.json")):
        status, headers, text = visit(path)
        assert (status, headers["content-type"], text) == (200, *pages[key])
        assert headers["cache-control"] == "max-age=60" and "set-cookie" not in headers
        again = visit(path, **{"If-None-Match": headers["etag"], "Cache-Control": "max-age=0"})
        assert (again[0], again[2]) == (304, b"")
    status, headers, _ = visit("/docs")
    assert status == 302 and urllib.parse.urlsplit(headers["location"]).path == "/docs/"
    status, headers, text = visit("/favicon.ico")
    assert (status, headers["content-type"], text) == (404, "text/html", b"not here")
    status, headers, text = ask(world, "GET", "/", {**NAVIGATION, "Host": "no-such-bucket.web.test"}, port=world.website_port)
    assert status == 404 and headers["content-type"].startswith("text/html") and b"NoSuchBucket" in text
