"""Command line clients that people use, from Debian: aws CLI, s3cmd, rclone, restic, s3fs. Each does a day's work."""
import hashlib
import json
import os
import re
import subprocess
import urllib.error
import urllib.request

import pytest
from clients import LARGE_MIB, MIB, Client, change, digest, fill, has, large, stored, tree
from world import REGION, is_root, wait_for


@pytest.fixture
def client(world, tmp_path):
    return Client(world, tmp_path)


# -- aws CLI --

@pytest.fixture
def aws(client):
    return lambda *words, **more: client.run("/usr/bin/aws", "--endpoint-url", client.endpoint, *words, **more)


def test_aws_sync(aws, s3, bucket, tmp_path):
    here, there = fill(tmp_path / "here"), tmp_path / "there"
    aws("s3", "sync", "--only-show-errors", here, f"s3://{bucket}/site")
    assert stored(s3, bucket, "site/") == tree(here)
    assert aws("s3", "sync", here, f"s3://{bucket}/site") == ""  # nothing to do
    aws("s3", "sync", "--only-show-errors", f"s3://{bucket}/site", there)
    assert tree(there) == tree(here)
    change(here)
    said = aws("s3", "sync", "--no-progress", "--delete", here, f"s3://{bucket}/site")
    assert sorted(line.split()[0] for line in said.splitlines()) == ["delete:", "upload:", "upload:", "upload:"]
    aws("s3", "sync", "--only-show-errors", "--delete", "--exact-timestamps", f"s3://{bucket}/site", there)
    assert stored(s3, bucket, "site/") == tree(here) == tree(there)


def test_aws_large_file(aws, s3, bucket, tmp_path):
    one, back = large(tmp_path / "one"), tmp_path / "back"
    aws("s3", "cp", "--only-show-errors", "--storage-class", "STANDARD", one, f"s3://{bucket}/large")
    head = s3.head_object(Bucket=bucket, Key="large")
    assert head["ETag"].endswith(f'-{LARGE_MIB // 8 + 1}"') and head["ContentLength"] == one.stat().st_size
    aws("s3", "cp", "--only-show-errors", f"s3://{bucket}/large", f"s3://{bucket}/copy")  # in parts, within the server
    aws("s3", "cp", "--only-show-errors", f"s3://{bucket}/copy", back)
    assert digest(back) == digest(one)
    url = aws("s3", "presign", f"s3://{bucket}/large", "--expires-in", "60").strip()
    with urllib.request.urlopen(url, timeout=60) as reply:
        assert hashlib.file_digest(reply, "sha256").hexdigest() == digest(one)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url.replace("/large?", "/copy?"), timeout=60)
    with refused.value as reply:
        assert reply.code == 403 and b"<Code>SignatureDoesNotMatch</Code>" in reply.read()
    assert "large" in aws("s3", "ls", f"s3://{bucket}")
    summary = aws("s3", "ls", "--summarize", "--recursive", f"s3://{bucket}")
    assert f"Total Size: {2 * one.stat().st_size}" in summary and "Total Objects: 2" in summary


def test_aws_buckets_and_moves(aws, tmp_path):
    (tmp_path / "x").write_text("x")
    aws("s3", "mb", "s3://made-by-the-cli")
    for key in ("x", "d/one", "d/two", "d/e/three"):
        aws("s3", "cp", "--only-show-errors", tmp_path / "x", f"s3://made-by-the-cli/{key}")
    aws("s3", "mv", "--only-show-errors", "s3://made-by-the-cli/x", "s3://made-by-the-cli/d/moved")
    listed = aws("s3", "ls", "s3://made-by-the-cli/d/").split()
    assert listed[:2] == ["PRE", "e/"] and {"moved", "one", "two"} <= set(listed)
    assert "BucketNotEmpty" in aws("s3", "rb", "s3://made-by-the-cli", status=1)
    aws("s3", "rm", "--only-show-errors", "s3://made-by-the-cli/d/one")
    aws("s3", "rm", "--only-show-errors", "--recursive", "--exclude", "*three", "s3://made-by-the-cli/d/")
    assert aws("s3", "ls", "--recursive", "s3://made-by-the-cli").split()[-1] == "d/e/three"
    aws("s3", "rb", "--force", "s3://made-by-the-cli")
    assert "NoSuchBucket" in aws("s3", "ls", "s3://made-by-the-cli", status=254)


def test_aws_checksums_and_waiters(aws, bucket, tmp_path):
    (tmp_path / "x").write_bytes(b"hello")
    put = json.loads(aws("s3api", "put-object", "--bucket", bucket, "--key", "k", "--body", tmp_path / "x",
                         "--checksum-algorithm", "CRC32"))
    assert put["ChecksumCRC32"] == "NhCmhg=="
    got = json.loads(aws("s3api", "get-object", "--bucket", bucket, "--key", "k", "--checksum-mode", "ENABLED", tmp_path / "y"))
    assert got["ChecksumCRC32"] == "NhCmhg==" and (tmp_path / "y").read_bytes() == b"hello"
    aws("s3api", "wait", "object-exists", "--bucket", bucket, "--key", "k")
    aws("s3api", "wait", "bucket-exists", "--bucket", bucket)
    aws("s3api", "wait", "object-not-exists", "--bucket", bucket, "--key", "other")


# -- s3cmd --

S3CMD = """[default]
access_key = {keys[0]}
secret_key = {keys[1]}
host_base = {host}
host_bucket = {host}
use_https = False
signature_v2 = {v2}
bucket_location = {region}
multipart_chunk_size_mb = 5
progress_meter = False
"""


@pytest.fixture(params=["v2", "v4"])
def s3cmd(request, client):
    path = client.file(".s3cfg", S3CMD.format(keys=client.keys, host=client.host, v2=request.param == "v2", region=REGION))
    return lambda *words, **more: client.run("/usr/bin/s3cmd", "-c", path, *words, **more)


def test_s3cmd_objects(s3cmd, s3, bucket, tmp_path):
    here = fill(tmp_path / "here")
    s3cmd("put", "--add-header=Cache-Control:max-age=60", "--mime-type=text/css", here / "css/site.css", f"s3://{bucket}/site.css")
    head = s3.head_object(Bucket=bucket, Key="site.css")
    assert (head["ContentType"], head["CacheControl"]) == ("text/css", "max-age=60")
    s3cmd("get", f"s3://{bucket}/site.css", tmp_path / "back")
    assert digest(tmp_path / "back") == digest(here / "css/site.css")
    s3cmd("cp", f"s3://{bucket}/site.css", f"s3://{bucket}/a copy.css")
    s3cmd("mv", f"s3://{bucket}/site.css", f"s3://{bucket}/moved.css")
    assert set(stored(s3, bucket)) == {"a copy.css", "moved.css"}
    assert f"s3://{bucket}/moved.css" in s3cmd("ls", f"s3://{bucket}/mo")
    size = (here / "css/site.css").stat().st_size
    assert s3cmd("du", f"s3://{bucket}").split()[:2] == [str(2 * size), "2"]
    assert f"s3://{bucket}" in s3cmd("ls")
    info = s3cmd("info", f"s3://{bucket}/moved.css")
    assert re.search(rf"File size: +{size}\b", info) and re.search(r"MIME type: +text/css", info)
    s3cmd("modify", "--add-header=x-amz-meta-colour:blue", f"s3://{bucket}/moved.css")
    assert s3.head_object(Bucket=bucket, Key="moved.css")["Metadata"]["colour"] == "blue"
    s3cmd("del", f"s3://{bucket}/moved.css")
    s3cmd("del", "--recursive", "--force", f"s3://{bucket}")
    assert stored(s3, bucket) == {}


def test_s3cmd_sync(s3cmd, s3, bucket, tmp_path):
    here, there = fill(tmp_path / "here"), tmp_path / "there"
    there.mkdir()
    s3cmd("sync", f"{here}/", f"s3://{bucket}/tree/")
    assert stored(s3, bucket, "tree/") == tree(here)
    change(here)
    s3cmd("sync", "--delete-removed", f"{here}/", f"s3://{bucket}/tree/")
    assert stored(s3, bucket, "tree/") == tree(here)
    s3cmd("sync", f"s3://{bucket}/tree/", f"{there}/")
    assert tree(there) == tree(here)
    assert "upload:" not in s3cmd("sync", f"{here}/", f"s3://{bucket}/tree/")


def test_s3cmd_multipart(s3cmd, s3, bucket, tmp_path):
    one = large(tmp_path / "one", 11)
    s3cmd("put", one, f"s3://{bucket}/large")
    assert s3.head_object(Bucket=bucket, Key="large")["ETag"].endswith('-3"')
    s3cmd("get", f"s3://{bucket}/large", tmp_path / "back")
    assert digest(tmp_path / "back") == digest(one)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="left")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="left", UploadId=upload, PartNumber=1, Body=b"part")
    assert upload in s3cmd("multipart", f"s3://{bucket}")
    assert "4" in s3cmd("listmp", f"s3://{bucket}/left", upload)
    s3cmd("abortmp", f"s3://{bucket}/left", upload)
    assert upload not in s3cmd("multipart", f"s3://{bucket}")


def test_s3cmd_settings(s3cmd, s3, request, world, tmp_path):
    bucket = "s3cmd-" + request.node.callspec.id
    (tmp_path / "x").write_text("x")
    s3cmd("mb", f"s3://{bucket}")
    s3cmd("put", tmp_path / "x", f"s3://{bucket}/x")
    path = f"/{bucket}/x"
    assert plain(world, path) == 403
    s3cmd("setacl", "--acl-public", f"s3://{bucket}/x")
    assert plain(world, path) == 200
    assert re.search(r"ACL: +\*anon\*: READ", s3cmd("info", f"s3://{bucket}/x"))
    s3cmd("setacl", "--acl-private", f"s3://{bucket}/x")
    assert plain(world, path) == 403
    rule = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
                                                    "Resource": f"arn:aws:s3:::{bucket}/*"}]}
    (tmp_path / "policy").write_text(json.dumps(rule))
    s3cmd("setpolicy", tmp_path / "policy", f"s3://{bucket}")
    assert plain(world, path) == 200
    s3cmd("delpolicy", f"s3://{bucket}")
    assert plain(world, path) == 403
    (tmp_path / "cors").write_text("<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET"
                                   "</AllowedMethod></CORSRule></CORSConfiguration>")
    s3cmd("setcors", tmp_path / "cors", f"s3://{bucket}")
    s3cmd("expire", "--expiry-days=3", "--expiry-prefix=old/", f"s3://{bucket}")
    info = s3cmd("info", f"s3://{bucket}")
    assert re.search(rf"Location: +{REGION}", info) and re.search(r"Payer: +BucketOwner", info)
    assert "old/" in info and "<AllowedMethod>GET" in info and re.search(r"Policy: +none", info)
    s3cmd("delcors", f"s3://{bucket}")
    s3cmd("dellifecycle", f"s3://{bucket}")
    s3cmd("ws-create", "--ws-index=index.html", f"s3://{bucket}")
    assert re.search(r"Index document: +index.html", s3cmd("ws-info", f"s3://{bucket}"))
    s3cmd("ws-delete", f"s3://{bucket}")
    s3cmd("accesslog", f"s3://{bucket}")
    s3cmd("rb", "--recursive", "--force", f"s3://{bucket}")
    assert bucket not in [b["Name"] for b in s3.list_buckets()["Buckets"]]


def plain(world, path):
    """The status of a request that nobody signed."""
    connection = world.connection(20)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


def test_s3cmd_signed_links(s3cmd, bucket, tmp_path):
    (tmp_path / "x").write_text("linked")
    s3cmd("put", tmp_path / "x", f"s3://{bucket}/a b")
    url = s3cmd("signurl", f"s3://{bucket}/a b", "+60").strip()
    with urllib.request.urlopen(url, timeout=20) as reply:
        assert reply.read() == b"linked"
    late = s3cmd("signurl", f"s3://{bucket}/a b", "1000000000").strip()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(late, timeout=20)
    with refused.value as reply:
        assert reply.code == 403 and b"<Code>AccessDenied</Code>" in reply.read()


# -- rclone --

@pytest.fixture
def rclone(client):
    client.env.update({"RCLONE_CONFIG": str(client.file("rclone.conf", "")), "RCLONE_CONFIG_M_TYPE": "s3",
                       "RCLONE_CONFIG_M_PROVIDER": "Other", "RCLONE_CONFIG_M_ENV_AUTH": "true",
                       "RCLONE_CONFIG_M_REGION": REGION, "RCLONE_CONFIG_M_ENDPOINT": client.endpoint,
                       "RCLONE_CONFIG_M_ACL": "private"})
    return lambda *words, **more: client.run("/usr/bin/rclone", "--retries=1", "--low-level-retries=1", *words, **more)


def test_rclone(rclone, s3, bucket, tmp_path):
    here, there = fill(tmp_path / "here"), tmp_path / "there"
    rclone("sync", here, f"m:{bucket}/tree")
    assert stored(s3, bucket, "tree/") == tree(here)
    rclone("check", here, f"m:{bucket}/tree")
    change(here)
    assert "differences found" in rclone("check", here, f"m:{bucket}/tree", status=1)
    rclone("sync", here, f"m:{bucket}/tree")
    rclone("check", "--download", here, f"m:{bucket}/tree")
    rclone("copy", f"m:{bucket}/tree", f"m:{bucket}/second")  # by the server
    rclone("move", f"m:{bucket}/tree", f"m:{bucket}/moved")
    assert stored(s3, bucket, "second/") == stored(s3, bucket, "moved/") == tree(here)
    assert stored(s3, bucket, "tree/") == {}
    rclone("sync", f"m:{bucket}/moved", there)
    assert tree(there) == tree(here)
    assert rclone("cat", f"m:{bucket}/moved/new") == "new"
    assert rclone("cat", "--offset=1", "--count=1", f"m:{bucket}/moved/new") == "e"
    rclone("dedupe", "--dedupe-mode=newest", f"m:{bucket}/moved")
    assert len(rclone("lsf", "-R", "--files-only", f"m:{bucket}/moved").splitlines()) == len(tree(here))
    size = json.loads(rclone("size", "--json", f"m:{bucket}/moved"))
    assert size["count"] == len(tree(here)) and size["bytes"] == sum(p.stat().st_size for p in here.rglob("*") if p.is_file())
    rclone("purge", f"m:{bucket}/second")
    assert stored(s3, bucket, "second/") == {}


def test_rclone_large_file(rclone, s3, bucket, tmp_path):
    one = large(tmp_path / "one")
    rclone("copyto", "--s3-upload-cutoff=5Mi", "--s3-chunk-size=5Mi", one, f"m:{bucket}/large")
    assert "-" in s3.head_object(Bucket=bucket, Key="large")["ETag"]
    rclone("copyto", "--s3-copy-cutoff=8Mi", "--s3-chunk-size=5Mi", f"m:{bucket}/large", f"m:{bucket}/copy")
    rclone("check", "--download", tmp_path, f"m:{bucket}", "--include=/one", "--one-way", status=1)
    rclone("moveto", f"m:{bucket}/copy", f"m:{bucket}/one")
    rclone("check", tmp_path, f"m:{bucket}", "--include=/one")  # by the digest that it keeps in the metadata
    rclone("check", "--download", tmp_path, f"m:{bucket}", "--include=/one")
    rclone("rmdir", f"m:{bucket}", status=None)
    rclone("mkdir", "m:made-by-rclone")
    assert "made-by-rclone" in rclone("lsd", "m:")
    rclone("rmdir", "m:made-by-rclone")
    assert "made-by-rclone" not in rclone("lsd", "m:")


# -- restic --

@pytest.fixture
def restic(client, bucket):
    client.env.update({"RESTIC_PASSWORD": "correct horse", "RESTIC_REPOSITORY": f"s3:{client.endpoint}/{bucket}/backups"})
    return lambda *words, **more: client.run("/usr/bin/restic", "-o", "s3.bucket-lookup=path", *words, **more)


def test_restic(restic, s3, bucket, tmp_path):
    here = fill(tmp_path / "here")
    large(here / "large", 9)
    first = tree(here)
    restic("init")
    restic("backup", here)
    change(here)
    restic("backup", here)
    restic("check", "--read-data")
    snapshots = json.loads(restic("snapshots", "--json"))
    assert len(snapshots) == 2
    for snapshot, wanted in zip(snapshots, (first, tree(here))):
        there = tmp_path / snapshot["short_id"]
        restic("restore", snapshot["id"], "--target", there)
        assert tree(there / str(here).lstrip("/")) == wanted
    restic("forget", "--keep-last=1", "--prune")
    restic("check", "--read-data")
    assert len(json.loads(restic("snapshots", "--json"))) == 1
    assert s3.list_objects_v2(Bucket=bucket, Prefix="backups/locks/")["KeyCount"] == 0
    # One flipped bit, put there as a good object: restic must see it.
    pack = max(s3.list_objects_v2(Bucket=bucket, Prefix="backups/data/")["Contents"], key=lambda o: o["Size"])["Key"]
    body = bytearray(s3.get_object(Bucket=bucket, Key=pack)["Body"].read())
    body[len(body) // 2] ^= 1
    s3.put_object(Bucket=bucket, Key=pack, Body=bytes(body))
    assert "does not match" in restic("check", "--read-data", status=1)


# -- s3fs --

def fuse_is_usable():
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError:
        return False
    return has("s3fs", "fusermount") and is_root()


@pytest.fixture
def mounted(client, bucket, tmp_path):
    if not fuse_is_usable():
        pytest.skip("s3fs needs root, /dev/fuse and fusermount")
    where = tmp_path / "mounted"
    where.mkdir()
    password = client.file("passwd-s3fs", ":".join(client.keys))
    with subprocess.Popen(["/usr/bin/s3fs", bucket, str(where), "-f", "-o", f"url={client.endpoint}", "-o",
                           "use_path_request_style", "-o", f"passwd_file={password}", "-o", f"endpoint={REGION}",
                           "-o", "retries=1", "-o", "multipart_size=5", "-o", "singlepart_copy_limit=8"],
                          env=client.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            wait_for(lambda: os.path.ismount(where) or process.poll() is not None, 20, "s3fs did not mount")
            assert process.poll() is None, process.stdout.read()
            yield where
            subprocess.run(["/usr/bin/fusermount", "-u", str(where)], check=True, timeout=60)
            assert process.wait(60) == 0, process.stdout.read()
        finally:
            if process.poll() is None:
                subprocess.run(["/usr/bin/fusermount", "-u", "-z", str(where)], check=False)
                process.kill()


def test_s3fs(mounted, s3, bucket, tmp_path):
    here = fill(tmp_path / "here")
    subprocess.run(["cp", "-r", f"{here}/.", str(mounted)], check=True, timeout=120)
    assert tree(mounted) == tree(here)
    assert {k: v for k, v in stored(s3, bucket).items() if not k.endswith("/")} == tree(here)
    os.rename(mounted / "js", mounted / "scripts")
    os.rename(mounted / "index.html", mounted / "start.html")
    with open(mounted / "css/site.css", "ab") as file:
        file.write(b"appended")
    one = large(tmp_path / "one", 11)
    subprocess.run(["cp", str(one), str(mounted / "large")], check=True, timeout=120)
    os.rename(mounted / "large", mounted / "larger")
    os.unlink(mounted / "a/b/other")
    os.chmod(mounted / "start.html", 0o640)
    assert (mounted / "start.html").stat().st_mode & 0o777 == 0o640
    got = stored(s3, bucket)
    assert got["larger"] == digest(one) and got["scripts/app.js"] == digest(here / "js/app.js")
    assert got["css/site.css"] == hashlib.sha256((here / "css/site.css").read_bytes() + b"appended").hexdigest()
    assert not {"large", "js/app.js", "index.html", "a/b/other"} & set(got)
    assert sorted(os.listdir(mounted)) == sorted(
        (set(os.listdir(here)) - {"js", "index.html"}) | {"scripts", "start.html", "larger"})
    assert MIB < os.path.getsize(mounted / "larger") == one.stat().st_size
