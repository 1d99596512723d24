"""kill -9 and power cuts at random moments, under every kind of change: old or new, whole, and what was acknowledged
is there. CYCLES=1000 for the long form."""
import os
import random
import threading
import time

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from powerloss import Disk, build
from test_durability import CYCLES, body_of
from test_multipart import PART
from world import IS_SANITIZED, wait_for

GONE = None
KILLS, CUTS = max(CYCLES // 2, 1), max(CYCLES // 3, 1)


class Actor(threading.Thread):
    """Changes its key in many ways, one after the other. `known` is what it was acknowledged to be; `doubt`, what it
    may be as well when the connection broke."""

    def __init__(self, world, bucket, key, seed, is_versioned):
        super().__init__()
        self.s3, self.bucket, self.key, self.is_versioned = world.s3(), bucket, key, is_versioned
        self.rng = random.Random(seed)
        self.known, self.doubt, self.stopped, self.steps = GONE, [], False, 0
        self.versions, self.doomed = {}, set()  # acknowledged, by id; ids whose removal was asked for
        self.failure = None

    def body(self):
        self.steps += 1
        return body_of(self.key, f"{id(self)}/{self.steps}")

    def put(self):
        body = self.body()
        self.doubt = [body]
        got = self.s3.put_object(Bucket=self.bucket, Key=self.key, Body=body)
        return body, got.get("VersionId")

    def delete(self):
        self.doubt = [GONE]
        self.s3.delete_object(Bucket=self.bucket, Key=self.key)
        return GONE, None

    def delete_many(self):
        self.doubt = [GONE]
        self.s3.delete_objects(Bucket=self.bucket, Delete={"Objects": [{"Key": self.key}]})
        return GONE, None

    def multipart(self):
        first, last = bytes([self.steps % 256]) * PART, self.body()
        upload = self.s3.create_multipart_upload(Bucket=self.bucket, Key=self.key)["UploadId"]
        parts = [{"PartNumber": n, "ETag": self.s3.upload_part(
            Bucket=self.bucket, Key=self.key, UploadId=upload, PartNumber=n, Body=b)["ETag"]}
            for n, b in ((1, first), (2, last))]
        self.doubt = [first + last]
        got = self.s3.complete_multipart_upload(Bucket=self.bucket, Key=self.key, UploadId=upload,
                                                MultipartUpload={"Parts": parts})
        return first + last, got.get("VersionId")

    def copy(self):
        """A second key with these bytes, and back: a content that two objects share."""
        if self.known is GONE:
            return self.put()
        source = {"Bucket": self.bucket, "Key": self.key}
        try:
            self.s3.copy_object(Bucket=self.bucket, Key=self.key + "-copy", CopySource=source)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 501:
                raise
            return self.put()
        body, self.doubt = self.known, [b"between"]
        self.s3.put_object(Bucket=self.bucket, Key=self.key, Body=b"between")
        self.known = b"between"
        self.doubt = [body]
        got = self.s3.copy_object(Bucket=self.bucket, Key=self.key,
                                  CopySource={"Bucket": self.bucket, "Key": self.key + "-copy"})
        return body, got.get("VersionId")

    def delete_version(self):
        left = [v for v in self.versions if v not in self.doomed]
        if not left:
            return self.put()
        version = self.rng.choice(left)
        self.doomed.add(version)
        self.s3.delete_object(Bucket=self.bucket, Key=self.key, VersionId=version)
        del self.versions[version]
        return "?", None

    def run(self):
        steps = [self.put, self.put, self.delete, self.delete_many, self.multipart, self.copy]
        if self.is_versioned:
            steps = [self.put, self.put, self.delete, self.multipart, self.delete_version]
        while not self.stopped:
            self.doubt = []
            try:
                body, version = self.rng.choice(steps)()
            except BotoCoreError:
                return
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != 503:
                    self.failure = error
                return
            self.known, self.doubt = body, []
            if version and version != "null":
                self.versions[version] = body

    def read(self, **version):
        try:
            return self.s3.get_object(Bucket=self.bucket, Key=self.key, **version)["Body"].read()
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 404, error
            return GONE

    def check(self):
        assert not self.failure, self.failure
        if not self.is_versioned:
            got = self.read()
            assert any(got == b for b in [self.known, *self.doubt]), \
                f"{self.key}: {got and len(got)} bytes are there, acknowledged were {self.known and len(self.known)}"
        for version, body in self.versions.items():
            got = self.read(VersionId=version)
            assert got == body or (version in self.doomed and got is GONE), f"{self.key}: {version}"


def run_cycle(world, bucket, rng, is_versioned, die):
    actors = [Actor(world, bucket, f"key-{n}", rng.random(), is_versioned) for n in range(3)]
    s3 = world.s3()
    if not is_versioned:
        for actor in actors:
            s3.delete_object(Bucket=bucket, Key=actor.key)
    for actor in actors:
        actor.start()
    time.sleep(rng.uniform(0.05, 0.5))
    for actor in actors:
        actor.stopped = True
    die()
    for actor in actors:
        actor.join()
    world.walrus.start()
    for actor in actors:
        actor.check()
    world.assert_no_orphans()


def clean(world, bucket):
    s3 = world.s3()
    for key, version in world.rows("SELECT o.object_key, o.version_id FROM object o JOIN bucket b"
                                   " ON b.bucket_id = o.bucket_id WHERE b.name = ?", bucket):
        s3.delete_object(Bucket=bucket, Key=key.decode(), VersionId=version)
    for upload in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
        s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


@pytest.mark.parametrize("is_versioned", [False, True], ids=["plain", "versioned"])
def test_kill_under_every_change(world, s3, bucket, is_versioned):
    if is_versioned:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    rng = random.Random(41)
    for _ in range(KILLS):
        run_cycle(world, bucket, rng, is_versioned, world.walrus.kill)
    counted = world.rows("SELECT u.version_count, u.version_bytes, COUNT(o.version_id), COALESCE(SUM(o.size_bytes), 0)"
                         " FROM bucket b JOIN bucket_usage u ON u.bucket_id = b.bucket_id"
                         " LEFT JOIN object o ON o.bucket_id = b.bucket_id WHERE b.name = ?", bucket)[0]
    assert counted[:2] == counted[2:]
    clean(world, bucket)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if IS_SANITIZED:
        pytest.skip("a sanitizer wants to be loaded first")
    return build(str(tmp_path_factory.mktemp("powerloss")))


@pytest.fixture
def forgetful(world, library, request):
    """walrus on a disk that forgets; the value is what cuts the power."""
    disk = Disk(library, world.walrus.state, os.path.join(world.directory, "disk"), getattr(request, "param", None))
    assert world.walrus.kill(15) == 0
    disk.fill()
    world.walrus.environment = disk.environment
    world.walrus.start()

    def cut():
        world.walrus.kill()
        disk.cut()
        disk.fill()

    def settle():
        """A disk writes by and by what nobody asks it to, as that a file is gone."""
        assert world.walrus.kill(15) == 0
        disk.fill()
        world.walrus.start()
    cut.settle = settle
    yield cut
    world.walrus.kill()
    world.walrus.environment = {}
    world.walrus.start()


def test_power_cuts(world, s3, bucket, forgetful):
    """The store gets another file number with each cut, as by a restoration: what is left over is held."""
    rng = random.Random(42)
    for serial in range(CUTS):
        if serial % 10 == 9:
            forgetful.settle()
        actors = [Actor(world, bucket, f"key-{n}", rng.random(), False) for n in range(3)]
        for actor in actors:
            s3.delete_object(Bucket=bucket, Key=actor.key)
            actor.start()
        time.sleep(rng.uniform(0.05, 0.5))
        for actor in actors:
            actor.stopped = True
        forgetful()
        for actor in actors:
            actor.join()
        world.walrus.start()
        for actor in actors:
            actor.check()
        world.ask("orphan", "release")
        world.assert_no_orphans()
    clean(world, bucket)


@pytest.mark.parametrize("forgetful", ["names", "data"], indirect=True)
def test_a_disk_that_lies_is_found_out(world, s3, bucket, forgetful):
    """Where syncs do nothing the test above finds losses: an acknowledged object that can't be read."""
    s3.put_object(Bucket=bucket, Key="a", Body=bytes(200_000))
    forgetful()
    world.walrus.start()
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="a")
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    s3.delete_object(Bucket=bucket, Key="a")
    world.ask("orphan", "release")
    world.assert_no_orphans()
