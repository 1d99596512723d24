"""Programs that speak S3: each has a home of its own, is configured as its users do, and moves real files."""
import hashlib
import os
import random
import shutil
import subprocess

from world import REGION

# Of the files that must go in parts; larger for longer runs.
LARGE_MIB = int(os.environ.get("LARGE_MIB", "18"))
MIB = 1 << 20
SIZES = (0, 1, 4095, 65536, 65537, 300_000, MIB + 1)
NAMES = ("index.html", "empty", "css/site.css", "js/app.js", "a/b/c/deep", "a/b/other", "with space/and more.txt",
         "ümlaut/日本.txt", "plus+and%25&=", "quote's", "paren(1)", "UPPER/lower", "dot.d/.hidden")


def fill(directory, seed=1):
    """A tree of files small and large, with the names people give."""
    rng = random.Random(seed)
    for number, name in enumerate(NAMES):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(SIZES[number % len(SIZES)]))
    (directory / "empty").write_bytes(b"")
    return directory


def large(path, mib=None, seed=2):
    rng = random.Random(seed)
    with open(path, "wb") as file:
        for _ in range(mib or LARGE_MIB):
            file.write(rng.randbytes(MIB))
        file.write(b"the end")
    return path


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree(directory):
    """{name below the directory: digest}"""
    return {str(p.relative_to(directory)): digest(p) for p in directory.rglob("*") if p.is_file()}


def change(directory):
    """What a day's work does to a tree: one file more, one less, one other, one other of the same length."""
    (directory / "new").write_text("new")
    (directory / "a/b/other").unlink()
    (directory / "css/site.css").write_bytes(b"body { color: red }\n" * 3)
    app = directory / "js/app.js"
    app.write_bytes(bytes(reversed(app.read_bytes())))
    later = app.stat().st_mtime + 5
    os.utime(app, (later, later))


def stored(s3, bucket, prefix=""):
    """{key without the prefix: digest} of everything in the bucket below the prefix."""
    found = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            body = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            assert len(body) == entry["Size"]
            found[entry["Key"][len(prefix):]] = hashlib.sha256(body).hexdigest()
    return found


class Client:
    """Runs programs as one user of the world, whose home is a directory of the test."""

    def __init__(self, world, directory, keys=None, **env):
        keys = keys or world.admin_keys
        self.keys, self.endpoint, self.host = keys, world.endpoint, world.endpoint.partition("//")[2]
        self.home = directory / "home"
        self.home.mkdir(exist_ok=True)
        self.env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.home), "LC_ALL": "C.UTF-8",
                    "TMPDIR": str(self.home), "AWS_ACCESS_KEY_ID": keys[0], "AWS_SECRET_ACCESS_KEY": keys[1],
                    "AWS_DEFAULT_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true", **env}

    def run(self, *argv, status=0, **env):
        """What it wrote; it must end with that status (None: any)."""
        done = subprocess.run([str(a) for a in argv], env={**self.env, **env}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=300,
                              check=False)
        assert status is None or done.returncode == status, f"{' '.join(map(str, argv))}\n{done.stdout[-3000:]}"
        return done.stdout

    def file(self, name, text, mode=0o600):
        path = self.home / name
        path.write_text(text)
        path.chmod(mode)
        return path


def has(*programs):
    return all(shutil.which(p, path="/usr/sbin:/usr/bin:/sbin:/bin") for p in programs)
