import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import world as worlds  # noqa: E402


@pytest.fixture(scope="session")
def world():
    with worlds.living() as made:
        yield made


@pytest.fixture
def s3(world):
    return world.s3()


@pytest.fixture
def bucket(world, request):
    """Of this test, gone with everything in it afterwards."""
    name = "t-" + "".join(c if c.isalnum() else "-" for c in request.node.name.lower())[:50].strip("-")
    s3 = world.s3()
    s3.create_bucket(Bucket=name)
    yield name
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
        if page.get("Contents"):
            s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": o["Key"]} for o in page["Contents"]]})
    s3.delete_bucket(Bucket=name)
