"""Varnish in front, with the VCL that the documentation gives: what is public is cached, what is not never."""
import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.parse

import boto3
import pytest
from botocore.client import Config
from clients import has
from world import REGION, TOP, free_ports, wait_for

VCL = os.path.join(TOP, "docs/examples/walrus.vcl")
SITE = {"index.html": ("text/html", b"<!doctype html><link rel=stylesheet href=css/site.css><script src=js/app.js></script>"),
        "css/site.css": ("text/css", b"body { margin: 0 }"), "js/app.js": ("text/javascript", b"fetch('catalogue.json')"),
        "catalogue.json": ("application/json", json.dumps({"images": [{"name": f"n{i}", "size": i} for i in range(500)]}).encode()),
        "big.img": ("application/octet-stream", bytes(range(256)) * 8192)}


class Answer:
    def __init__(self, reply):
        self.status, self.body = reply.status, reply.read()
        self.headers = {k.lower(): v for k, v in reply.getheaders()}
        self.cache = self.headers.get("x-cache")


class Varnish:
    def __init__(self, directory, world):
        self.directory, self.port = str(directory), free_ports(1)[0]
        with open(VCL, encoding="utf-8") as file:
            text = file.read()
        assert '.port = "8777"' in text
        self.vcl = os.path.join(self.directory, "walrus.vcl")
        with open(self.vcl, "w", encoding="utf-8") as file:
            file.write(text.replace('.port = "8777"', f'.port = "{world.walrus.port}"'))
        self.log = os.path.join(self.directory, "log")
        self.name = os.path.join(self.directory, "n")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["/usr/sbin/varnishd", "-F", "-j", "none", "-n", self.name, "-a", f"127.0.0.1:{self.port}", "-f", self.vcl,
                 "-s", "malloc,32m", "-p", "thread_pools=1", "-p", "thread_pool_min=10", "-p", "http_gzip_support=off",
                 "-p", "default_ttl=120"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_for(self.answers, 60, "varnishd did not answer")

    def answers(self):
        with open(self.log, encoding="utf-8") as log:
            assert self.process.poll() is None, log.read()
        try:
            self.ask("/", method="PURGE")
        except OSError:
            return False
        return True

    def ask(self, path, headers=None, method="GET", host=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, headers={**(headers or {}), **({"Host": host} if host else {})})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def ncsa(self, *words):
        """The lines of varnishncsa, once the log has all that was asked until now."""
        mark = f"/mark-{time.monotonic_ns()}"
        self.ask(mark)
        command = ["/usr/bin/varnishncsa", "-n", self.name, "-d", *words]

        def lines():
            every = subprocess.run(["/usr/bin/varnishncsa", "-n", self.name, "-d", "-F", "%U"], check=True, text=True,
                                   stdout=subprocess.PIPE, timeout=20).stdout
            return mark in every
        wait_for(lines, 10, "the log lacks what was asked")
        return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, timeout=20).stdout.splitlines()

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture(scope="module")
def varnish(world):
    if not has("varnishd", "varnishncsa"):
        pytest.skip("varnish is not installed")
    directory = tempfile.mkdtemp(prefix="walrus-varnish-")
    made = Varnish(directory, world)
    yield made
    made.stop()
    shutil.rmtree(directory)


@pytest.fixture
def public(s3, bucket):
    """Puts an object that everybody may read; returns its path."""
    def put(key, body, **options):
        s3.put_object(Bucket=bucket, Key=key, Body=body, ACL="public-read", **options)
        return f"/{bucket}/{urllib.parse.quote(key)}"
    return put


def test_public_objects_are_cached(varnish, public, s3, bucket):
    path = public("a b", b"0123456789" * 10, CacheControl="max-age=60", ContentType="text/plain")
    first, second = varnish.ask(path), varnish.ask(path)
    assert (first.status, first.cache, second.status, second.cache) == (200, "miss", 200, "hit")
    assert first.body == second.body == b"0123456789" * 10
    for name in ("etag", "last-modified", "cache-control", "content-type", "accept-ranges", "content-length"):
        assert first.headers[name] == second.headers[name]
    assert "set-cookie" not in first.headers and "vary" not in first.headers
    s3.delete_object(Bucket=bucket, Key="a b")
    assert varnish.ask(path).cache == "hit"  # it came from the cache, truly
    assert varnish.ask(path, method="PURGE").status == 200
    assert varnish.ask(path).status in (403, 404)


def test_conditions_ranges_and_heads_from_the_cache(varnish, public, s3, bucket):
    body = bytes(range(200))
    path = public("a", body, CacheControl="max-age=60")
    first = varnish.ask(path)
    s3.delete_object(Bucket=bucket, Key="a")
    for headers in ({"If-None-Match": first.headers["etag"]}, {"If-Modified-Since": first.headers["last-modified"]}):
        reply = varnish.ask(path, headers)
        assert (reply.status, reply.cache, reply.body) == (304, "hit", b"")
        assert reply.headers["etag"] == first.headers["etag"] and reply.headers["last-modified"]
    assert varnish.ask(path, {"If-None-Match": '"other"'}).status == 200
    for text, wanted in (("0-9", body[:10]), ("-5", body[-5:]), ("100-", body[100:])):
        reply = varnish.ask(path, {"Range": f"bytes={text}"})
        assert (reply.status, reply.cache, reply.body) == (206, "hit", wanted)
        assert re.fullmatch(rf"bytes \d+-\d+/{len(body)}", reply.headers["content-range"])
    assert varnish.ask(path, {"Range": "bytes=200-"}).status == 416
    head = varnish.ask(path, method="HEAD")
    assert (head.status, head.cache, head.body, head.headers["content-length"]) == (200, "hit", b"", "200")


def test_a_head_or_a_range_first_fetches_the_whole(varnish, public):
    one, two = public("one", b"x" * 100, CacheControl="max-age=60"), public("two", b"y" * 100, CacheControl="max-age=60")
    assert varnish.ask(one, method="HEAD").headers["content-length"] == "100"
    assert (varnish.ask(one).cache, varnish.ask(one).body) == ("hit", b"x" * 100)
    assert varnish.ask(two, {"Range": "bytes=90-"}).body == b"y" * 10
    assert (varnish.ask(two).cache, varnish.ask(two).body) == ("hit", b"y" * 100)


def walrus_saw(varnish, path):
    """What Varnish asked walrus for a path and heard, from its own log."""
    lines = varnish.ncsa("-b", "-F", "%{VSL:BerespStatus}x %U")
    return [int(line.split()[0]) for line in lines if line.split()[1] == path]


def test_expired_objects_are_revalidated(varnish, public):
    path = public("a", b"one", CacheControl="max-age=1")
    first = varnish.ask(path)
    assert varnish.ask(path).cache == "hit"
    time.sleep(1.1)
    again = varnish.ask(path)
    assert (again.status, again.body, again.headers["etag"]) == (200, b"one", first.headers["etag"])
    assert walrus_saw(varnish, path) == [200, 304]
    public("a", b"two!", CacheControl="max-age=1")
    time.sleep(1.1)
    assert varnish.ask(path).body == b"two!"
    assert walrus_saw(varnish, path) == [200, 304, 200]


def test_an_object_made_private_is_shown_until_it_expires(varnish, public, s3, bucket):
    path = public("a", b"was public", CacheControl="max-age=1")
    assert varnish.ask(path).status == 200
    s3.put_object_acl(Bucket=bucket, Key="a", ACL="private")
    time.sleep(1.1)
    for _ in range(2):
        refused = varnish.ask(path)
        assert refused.status == 403 and b"<Code>AccessDenied</Code>" in refused.body and refused.cache == "miss"


def test_without_cache_control(varnish, public):
    """Walrus sends what was stored and nothing else; the VCL gives such objects ten seconds."""
    path = public("a", b"x")
    first = varnish.ask(path)
    assert "cache-control" not in first.headers and "expires" not in first.headers
    assert varnish.ask(path).cache == "hit"


def test_what_is_stored_as_uncacheable_is_not_cached(varnish, public):
    for number, text in enumerate(("no-store", "private, max-age=60", "no-cache", "max-age=0")):
        path = public(f"a{number}", b"x", CacheControl=text)
        assert [varnish.ask(path).cache for _ in range(2)] == ["miss", "miss"], text


def test_errors_are_never_cached(varnish, public, s3, bucket):
    s3.put_object(Bucket=bucket, Key="private", Body=b"secret")
    paths = [f"/{bucket}/private", f"/{bucket}/not-there", "/no-such-bucket-here/x", f"/{bucket}"]
    for path in paths:
        for _ in range(2):
            reply = varnish.ask(path)
            assert reply.status in (403, 404) and reply.cache == "miss" and b"secret" not in reply.body
    public("private", b"public now")
    public("not-there", b"there now")
    assert varnish.ask(f"/{bucket}/private").body == b"public now"
    assert varnish.ask(f"/{bucket}/not-there").body == b"there now"


def test_lists_are_never_cached(varnish, s3, bucket):
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    for number in range(3):
        listed = varnish.ask(f"/{bucket}?list-type=2")
        assert listed.status == 200 and listed.cache == "miss" and listed.body.count(b"<Key>") == number
        s3.put_object(Bucket=bucket, Key=str(number), Body=b"x")


def test_signed_requests_are_never_cached(varnish, world, public, s3, bucket):
    """Of a private object, and of a public one that the cache has: each goes to walrus and nothing stays."""
    s3.put_object(Bucket=bucket, Key="private", Body=b"secret", CacheControl="max-age=60")
    target = f"http://127.0.0.1:{varnish.port}"
    for version in ("s3v4", "s3"):
        through = boto3.client("s3", endpoint_url=target, aws_access_key_id=world.admin_keys[0], region_name=REGION,
                               aws_secret_access_key=world.admin_keys[1],
                               config=Config(signature_version=version, s3={"addressing_style": "path"}))
        for _ in range(2):
            assert through.get_object(Bucket=bucket, Key="private")["ResponseMetadata"]["HTTPHeaders"]["x-cache"] == "miss"
        url = through.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "private"}, ExpiresIn=60)
        assert ("X-Amz-Signature=" in url) == (version == "s3v4") and ("AWSAccessKeyId=" in url) == (version == "s3")
        for _ in range(2):
            reply = varnish.ask(url[len(target):])
            assert (reply.status, reply.body, reply.cache) == (200, b"secret", "miss"), reply.body
        assert varnish.ask(f"/{bucket}/other?{urllib.parse.urlsplit(url).query}").status == 403
        through.put_object(Bucket=bucket, Key="written", Body=b"through the cache")
        assert through.get_object(Bucket=bucket, Key="written")["Body"].read() == b"through the cache"
    assert varnish.ask(f"/{bucket}/private").status == 403
    path = public("public", b"for all", CacheControl="max-age=60")
    varnish.ask(path)
    assert varnish.ask(path).cache == "hit"
    assert through.get_object(Bucket=bucket, Key="public")["ResponseMetadata"]["HTTPHeaders"]["x-cache"] == "miss"


def test_cors_through_the_cache(varnish, public, s3, bucket):
    """A page of another site gets its headers, whoever filled the cache."""
    path = public("a.json", b"{}", CacheControl="max-age=60")
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [
        {"AllowedOrigins": ["https://one.example"], "AllowedMethods": ["GET"], "ExposeHeaders": ["ETag"]},
        {"AllowedOrigins": ["https://*.two.example"], "AllowedMethods": ["GET", "PUT"], "MaxAgeSeconds": 60}]})
    origins = [None, "https://one.example", "https://www.two.example", "https://three.example"]
    for turn in ("miss", "hit"):
        for origin in origins:
            reply = varnish.ask(path, {"Origin": origin} if origin else {})
            allowed = reply.headers.get("access-control-allow-origin")
            assert (reply.status, reply.cache, reply.body) == (200, turn, b"{}"), (turn, origin)
            assert allowed == (origin if origin in origins[1:3] else None)
            assert "origin" in reply.headers["vary"].lower()
    for _ in range(2):
        asked = varnish.ask(path, {"Origin": "https://www.two.example", "Access-Control-Request-Method": "PUT"}, "OPTIONS")
        assert asked.status == 200 and asked.headers["access-control-allow-origin"] == "https://www.two.example"
        assert asked.cache == "miss"


@pytest.fixture
def site(s3):
    """The bucket that the VCL names."""
    s3.create_bucket(Bucket="www")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
                                                      "Resource": "arn:aws:s3:::www/*"}]}
    s3.put_bucket_policy(Bucket="www", Policy=json.dumps(policy))
    for key, (kind, body) in SITE.items():
        s3.put_object(Bucket="www", Key=key, Body=body, ContentType=kind,
                      CacheControl="max-age=1" if key.endswith(".json") else "max-age=300")
    yield "www.example.com"
    for key in SITE:
        s3.delete_object(Bucket="www", Key=key)
    s3.delete_bucket(Bucket="www")


def counted(varnish):
    """Downloads of each object, as docs/varnish.md counts them."""
    lines = varnish.ncsa("-q", 'ReqMethod eq "GET" and RespStatus == 200 and not ReqHeader:Range', "-F", "%{Host}i %U")
    found = {}
    for line in lines:
        found[line] = found.get(line, 0) + 1
    return found


def test_a_static_site(varnish, world, site, s3):
    """Markup, style, script and a catalogue; new data seen in time; downloads counted; walrus may be away."""
    for visit in range(3):
        for path, key in (("/", "index.html"), ("/css/site.css", "css/site.css"), ("/js/app.js?v=1", "js/app.js"),
                          ("/catalogue.json", "catalogue.json"), ("/big.img", "big.img")):
            page = varnish.ask(path, {"Cookie": f"visitor={visit}"}, host=site)
            assert (page.status, page.headers["content-type"], page.body) == (200, *SITE[key]), page.body
            assert page.cache == ("hit" if visit and key != "catalogue.json" else page.cache)
    assert varnish.ask("/big.img", {"Range": "bytes=256-511"}, host=site).body == bytes(range(256))
    assert varnish.ask("/not-there.html", host=site).status in (403, 404)
    found = counted(varnish)
    assert found[f"{site} /big.img"] == 3 and found[f"{site} /"] == 3
    s3.put_object(Bucket="www", Key="catalogue.json", Body=b'{"images": []}', CacheControl="max-age=1")
    time.sleep(1.1)
    assert varnish.ask("/catalogue.json", host=site).body == b'{"images": []}'
    world.walrus.kill()
    try:
        assert varnish.ask("/css/site.css", host=site).cache == "hit"
        wait_for(lambda: varnish.ask("/catalogue.json", host=site).status == 200, 10, "what had expired was not shown")
    finally:
        world.walrus.start()
    wait_for(lambda: varnish.ask("/css/none", host=site).status in (403, 404), 10, "varnish did not find walrus again")
