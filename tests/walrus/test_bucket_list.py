"""ListBuckets, whole and by pages."""
import xml.etree.ElementTree as ElementTree

import pytest

NS = "{http://s3.amazonaws.com/doc/2006-03-01/}"


@pytest.fixture(scope="module")
def buckets(world):
    s3 = world.s3()
    names = [f"page-{i}" for i in range(5)] + ["page-1-1", "page-1.1"]
    for name in names:
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={
            "LocationConstraint": "far-1" if name == "page-3" else "near-1"})
    yield sorted(names)
    for name in names:
        s3.delete_bucket(Bucket=name)


def page(world, **query):
    status, _, text = world.request("GET", "/", {k.replace("_", "-"): v for k, v in query.items()})
    root = ElementTree.fromstring(text)
    if status != 200:
        return status, root.findtext("Code"), root.findtext("ArgumentName")
    return ([b.findtext(NS + "Name") for b in root.find(NS + "Buckets")], root.findtext(NS + "ContinuationToken"),
            {b.findtext(NS + "BucketRegion") for b in root.find(NS + "Buckets")})


def test_whole(world, buckets):
    names, token, regions = page(world)
    assert set(buckets) <= set(names) and token is None and regions == {None}


def test_pages(world, buckets):
    for size in (1, 2, 3, 7):
        names, token, seen = *page(world, prefix="page-", max_buckets=str(size))[:2], []
        while True:
            assert len(names) <= size
            seen += names
            if not token:
                break
            names, token, _ = page(world, prefix="page-", max_buckets=str(size), continuation_token=token)
        assert seen == buckets, size


def test_regions(world, buckets):
    assert page(world, bucket_region="far-1", prefix="page") == (["page-3"], None, {"far-1"})
    assert page(world, bucket_region="nowhere-1")[0] == []


def test_parameters_that_are_none(world):
    for query in ({"max_buckets": "0"}, {"max_buckets": "10001"}, {"max_buckets": "x"},
                  {"continuation_token": "%"}):
        name = next(iter(query)).replace("_", "-")
        assert page(world, **query) == (400, "InvalidArgument", name), query
