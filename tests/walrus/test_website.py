"""Websites: pages, errors that people read, and where redirections lead."""
import http.client
import json

import botocore.exceptions
import pytest
from test_objects import code

SITE = {"IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": "error.html"}}


def publish(s3, bucket, *actions):
    """Everybody may read what is in it."""
    try:
        s3.delete_public_access_block(Bucket=bucket)
    except botocore.exceptions.ClientError as e:
        assert e.response["Error"]["Code"] == "NotImplemented"
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", *actions],
         "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}]}
    try:
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    except botocore.exceptions.ClientError as e:
        if e.response["Error"]["Code"] != "NotImplemented":
            raise
        pytest.skip("there are no policies")


def ask(world, host, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", world.website_port, timeout=20)
    connection.request(method, path, headers={"Host": host, **{k.replace("_", "-"): v for k, v in headers.items()}})
    reply = connection.getresponse()
    text = reply.read()
    connection.close()
    return reply.status, {k.lower(): v for k, v in reply.getheaders()}, text


def put(s3, bucket, **more):
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration={**SITE, **more})


@pytest.fixture
def site(world, s3, bucket):
    put(s3, bucket)
    publish(s3, bucket, "s3:ListBucket")
    for key, body in [("index.html", b"home"), ("docs/index.html", b"docs"), ("error.html", b"sorry"),
                      ("a b.css", b"css"), ("services/internal", b"a key like others")]:
        s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="text/html")
    return bucket


def test_setting(s3, bucket):
    assert code(s3.get_bucket_website, Bucket=bucket) == ("NoSuchWebsiteConfiguration", 404)
    rules = [{"Condition": {"KeyPrefixEquals": "old/", "HttpErrorCodeReturnedEquals": "404"},
              "Redirect": {"Protocol": "https", "HostName": "new.test", "ReplaceKeyPrefixWith": "n/",
                           "HttpRedirectCode": "302"}},
             {"Redirect": {"ReplaceKeyWith": "gone.html"}}]
    put(s3, bucket, RoutingRules=rules)
    found = s3.get_bucket_website(Bucket=bucket)
    assert {k: found[k] for k in ("IndexDocument", "ErrorDocument", "RoutingRules")} == {**SITE, "RoutingRules": rules}
    everything = {"RedirectAllRequestsTo": {"HostName": "x.test", "Protocol": "https"}}
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=everything)
    found = s3.get_bucket_website(Bucket=bucket)
    assert found["RedirectAllRequestsTo"] == everything["RedirectAllRequestsTo"] and "IndexDocument" not in found
    s3.delete_bucket_website(Bucket=bucket)
    assert code(s3.get_bucket_website, Bucket=bucket) == ("NoSuchWebsiteConfiguration", 404)


@pytest.mark.parametrize("configuration, wanted", [
    ({}, "InvalidArgument"),
    ({"IndexDocument": {"Suffix": "a/b"}}, "InvalidArgument"),
    ({"IndexDocument": {"Suffix": ""}}, "InvalidArgument"),
    ({**SITE, "RedirectAllRequestsTo": {"HostName": "x"}}, "InvalidRequest"),
    ({"RedirectAllRequestsTo": {"HostName": "x", "Protocol": "ftp"}}, "InvalidRequest"),
    ({**SITE, "RoutingRules": [{"Redirect": {"HttpRedirectCode": "200"}}]}, "InvalidRequest"),
    ({**SITE, "RoutingRules": [{"Redirect": {"HttpRedirectCode": "300"}}]}, "InvalidRequest"),
    ({**SITE, "RoutingRules": [{"Redirect": {"ReplaceKeyWith": "a", "ReplaceKeyPrefixWith": "b"}}]}, "InvalidRequest"),
    ({**SITE, "RoutingRules": [{"Condition": {"HttpErrorCodeReturnedEquals": "200"}, "Redirect": {"HostName": "x"}}]},
     "InvalidRequest"),
    ({**SITE, "RoutingRules": [{"Redirect": {}}]}, "MalformedXML"),
    ({**SITE, "RoutingRules": [{"Redirect": {"HostName": "x"}}] * 51}, "InvalidRequest")])
def test_configurations_that_are_none(s3, bucket, configuration, wanted):
    assert code(s3.put_bucket_website, Bucket=bucket, WebsiteConfiguration=configuration) == (wanted, 400)


def test_redirections_of_all(world, s3, bucket):
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration={
        "RedirectAllRequestsTo": {"HostName": "x.test", "Protocol": "https"}})
    status, headers, _ = ask(world, f"{bucket}.web.test:80", "/a%20b/c?d=e")
    assert (status, headers["location"]) == (301, "https://x.test/a%20b/c")
    assert ask(world, bucket, "/")[1]["location"] == "https://x.test/"


def test_rules_before_an_object(world, s3, bucket):
    put(s3, bucket, RoutingRules=[
        {"Condition": {"KeyPrefixEquals": "docs/"}, "Redirect": {"ReplaceKeyPrefixWith": "documents/"}},
        {"Condition": {"KeyPrefixEquals": "x"}, "Redirect": {"HostName": "y.test", "HttpRedirectCode": "307",
                                                             "ReplaceKeyWith": "z z"}}])
    host = f"{bucket}.web.test:8778"
    status, headers, _ = ask(world, host, "/docs/a")
    assert (status, headers["location"]) == (301, f"http://{host}/documents/a")
    status, headers, _ = ask(world, host, "/x/1")
    assert (status, headers["location"]) == (307, "http://y.test/z%20z")


def test_errors_that_people_read(world, s3, bucket):
    status, headers, text = ask(world, f"{bucket}.web.test", "/k")
    assert status == 404 and headers["content-type"] == "text/html; charset=utf-8"
    assert b"<title>404 Not Found</title>" in text and b"<li>Code: NoSuchWebsiteConfiguration</li>" in text
    assert f"<li>BucketName: {bucket}</li>".encode() in text
    assert headers["x-amz-error-code"] == "NoSuchWebsiteConfiguration"
    for host in ("no-such-bucket.web.test", ".images-1", "web.test", "A_B"):
        status, headers, text = ask(world, host, "/")
        assert status == 404 and b"<li>Code: NoSuchBucket</li>" in text, host
    status, headers, text = ask(world, f"{bucket}.web.test", "/", "POST")
    assert status == 405 and b"<li>Code: MethodNotAllowed</li>" in text
    put(s3, bucket)
    status, headers, text = ask(world, f"{bucket}.web.test", "/private<b>")
    assert status == 403 and b"<li>Code: AccessDenied</li>" in text
    status, headers, text = ask(world, f"{bucket}.web.test", "/private", "HEAD")
    assert (status, text, headers["x-amz-error-code"]) == (403, b"", "AccessDenied")
    assert ask(world, f"{bucket}.web.test", "/%ff")[0] == 400


def test_pages(world, s3, site):
    host = f"{site.upper()}.Web.Test:8778"
    status, headers, text = ask(world, host, "/")
    assert (status, text, headers["content-type"]) == (200, b"home", "text/html") and headers["etag"]
    assert ask(world, host, "/docs/")[2] == b"docs" and ask(world, host, "/a%20b.css?v=1")[2] == b"css"
    assert ask(world, site, "/index.html")[2] == b"home"
    assert ask(world, host, "/services/internal")[2] == b"a key like others"
    status, headers, text = ask(world, host, "/docs")
    assert (status, headers["location"], text) == (302, "/docs/", b"")
    status, headers, text = ask(world, host, "/index.html", "HEAD")
    assert (status, text, headers["content-length"]) == (200, b"", "4")
    assert ask(world, host, "/", Range="bytes=1-2")[0::2] == (206, b"om")
    assert ask(world, host, "/", If_None_Match=headers["etag"])[0] == 304
    status, headers, text = ask(world, host, "/none", Range="bytes=0-1")
    assert (status, text, headers["x-amz-error-code"]) == (404, b"sorry", "NoSuchKey")
    status, headers, text = ask(world, host, "/none", "HEAD")
    assert (status, text, headers["content-length"]) == (404, b"", "5")
    s3.delete_object(Bucket=site, Key="error.html")
    status, headers, text = ask(world, host, "/none<b>")
    assert status == 404 and b"<li>Key: none&lt;b&gt;</li>" in text and b"NoSuchKey" in text


def test_rules_of_errors(world, s3, site):
    put(s3, site, RoutingRules=[{"Condition": {"HttpErrorCodeReturnedEquals": "404", "KeyPrefixEquals": "old/"},
                                 "Redirect": {"ReplaceKeyPrefixWith": "docs/"}}])
    s3.put_object(Bucket=site, Key="old/there", Body=b"still here")
    host = f"{site}.web.test"
    assert ask(world, host, "/old/there")[2] == b"still here"
    status, headers, _ = ask(world, host, "/old/a")
    assert (status, headers["location"]) == (301, f"http://{host}/docs/a")
    assert ask(world, host, "/other")[0] == 404


def test_objects_that_lead_elsewhere(world, s3, site):
    put_object = s3.put_object
    put_object(Bucket=site, Key="go", Body=b"x", WebsiteRedirectLocation="/docs/")
    put_object(Bucket=site, Key="away", Body=b"x", WebsiteRedirectLocation="https://x.test/a?b")
    status, headers, text = ask(world, f"{site}.web.test", "/go")
    assert (status, headers["location"], text) == (301, "/docs/", b"")
    assert ask(world, f"{site}.web.test", "/away", "HEAD")[1]["location"] == "https://x.test/a?b"
    assert s3.get_object(Bucket=site, Key="go")["WebsiteRedirectLocation"] == "/docs/"
    assert code(put_object, Bucket=site, Key="go", Body=b"x", WebsiteRedirectLocation="docs") == \
        ("InvalidRedirectLocation", 400)
