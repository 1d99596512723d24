"""What S3 promises of versions, in a few lines: the newest first, one of a key at most without an id."""
import itertools


class Version:
    def __init__(self, version_id, body):
        self.id, self.body = version_id, body  # body None: a delete marker


class Model:
    def __init__(self):
        self.status = None  # of versioning
        self.keys = {}      # key: versions, the newest first

    def add(self, key, version_id, body):
        versions = self.keys.setdefault(key, [])
        if version_id == "null":
            versions[:] = [v for v in versions if v.id != "null"]
        versions.insert(0, Version(version_id, body))

    def remove(self, key, version_id):
        self.keys[key] = [v for v in self.keys.get(key, []) if v.id != version_id]
        if not self.keys[key]:
            del self.keys[key]

    def find(self, key, version_id=None):
        return next((v for v in self.keys.get(key, []) if version_id in (None, v.id)), None)

    def current(self, key):
        found = self.find(key)
        return found if found and found.body is not None else None

    def listed(self):
        return [key for key in sorted(self.keys, key=str.encode) if self.current(key)]

    def rows(self):
        """(key, id, is the latest, is a marker) as ListObjectVersions has them."""
        return [(key, v.id, n == 0, v.body is None)
                for key in sorted(self.keys, key=str.encode) for n, v in enumerate(self.keys[key])]


def rolled_up(names, prefix, delimiter):
    """Names in order, those behind a delimiter as their common prefix: (is a prefix, name)."""
    def entry(name):
        at = name.find(delimiter, len(prefix)) if delimiter else -1
        return (True, name[:at + len(delimiter)]) if at >= 0 else (False, name)
    chosen = [entry(n) for n in names if n.startswith(prefix)]
    return [k for k, _ in itertools.groupby(chosen)] if delimiter else chosen


def empty(s3, bucket, **options):
    """Removes a bucket and all that is in it."""
    while True:
        page = s3.list_object_versions(Bucket=bucket)
        found = [{"Key": v["Key"], "VersionId": v["VersionId"]}
                 for v in page.get("Versions", []) + page.get("DeleteMarkers", [])]
        if not found:
            break
        reply = s3.delete_objects(Bucket=bucket, Delete={"Objects": found, "Quiet": True}, **options)
        assert not reply.get("Errors"), reply["Errors"]
    s3.delete_bucket(Bucket=bucket)
