"""Lists of objects: every key once and in order, page by page, whatever the parameters are."""
import concurrent.futures
import random
import string
import urllib.parse
from xml.etree import ElementTree

import pytest

from versions import rolled_up

NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def fill(world, bucket, keys):
    def put(key):
        status, _, text = world.request("PUT", f"/{bucket}/{key}")
        assert status == 200, text
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(put, keys))


def remove(world, bucket, keys):
    """One by one: DeleteObjects could not name them."""
    for key in keys:
        assert world.request("DELETE", f"/{bucket}/{key}")[0] == 204


def listing(world, bucket, **query):
    query = {k.replace("_", "-"): str(v) for k, v in query.items()}
    status, headers, text = world.request("GET", f"/{bucket}", query)
    assert (status, headers["content-type"]) == (200, "application/xml"), text
    return ElementTree.fromstring(text.decode().replace(NAMESPACE, ""))


def refused(world, bucket, **query):
    status, _, text = world.request("GET", f"/{bucket}", {k.replace("_", "-"): v for k, v in query.items()})
    error = ElementTree.fromstring(text)
    return status, error.findtext("Code"), error.findtext("Message")


def keys_of(root):
    return [c.findtext("Key") for c in root.findall("Contents")]


def prefixes_of(root):
    return [c.findtext("Prefix") for c in root.findall("CommonPrefixes")]


def test_elements_and_their_order(world, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a/1", Body=b"12", StorageClass="GLACIER_IR")
    fill(world, bucket, ["b", "c"])
    root = listing(world, bucket, list_type=2, delimiter="/", max_keys=2, start_after="A", encoding_type="url", fetch_owner="true")
    assert [c.tag for c in root] == ["Name", "Prefix", "KeyCount", "StartAfter", "NextContinuationToken", "MaxKeys",
                                     "Delimiter", "EncodingType", "IsTruncated", "Contents", "CommonPrefixes"]
    assert root.findtext("Prefix") == "" and root.findtext("KeyCount") == "2" and root.findtext("Delimiter") == "/"
    assert [c.tag for c in root.find("Contents")] == ["Key", "LastModified", "ETag", "ChecksumAlgorithm", "ChecksumType",
                                                        "Size", "StorageClass", "Owner"]
    root = listing(world, bucket, max_keys=1)
    assert [c.tag for c in root] == ["Name", "Prefix", "Marker", "MaxKeys", "IsTruncated", "Contents"]
    assert root.findtext("Contents/StorageClass") == "GLACIER_IR" and root.findtext("Contents/Size") == "2"
    assert root.find("Contents/Owner/ID") is not None
    assert listing(world, bucket, delimiter="/", max_keys=1).findtext("NextMarker") == "a/"
    assert listing(world, bucket, list_type=2).find("Contents/Owner") is None
    reply = world.request("GET", f"/{bucket}", {"list-type": "2"}, {"x-amz-optional-object-attributes": "RestoreStatus"})
    assert reply[0] == 200 and b"RestoreStatus" not in reply[2]
    assert world.request("GET", f"/{bucket}", {"list-type": "2"}, {"x-amz-optional-object-attributes": "Colour"})[0] == 400


def test_limits(world, bucket):
    fill(world, bucket, [f"{n:04}" for n in range(1003)])
    for wanted in (1000, 1001, 2147483647):
        root = listing(world, bucket, list_type=2, max_keys=wanted)
        assert (root.findtext("MaxKeys"), root.findtext("KeyCount"), root.findtext("IsTruncated")) == ("1000", "1000", "true")
    root = listing(world, bucket, list_type=2, max_keys=0)
    assert (root.findtext("MaxKeys"), root.findtext("KeyCount"), root.findtext("IsTruncated")) == ("0", "0", "false")
    assert root.find("NextContinuationToken") is None
    assert len(keys_of(listing(world, bucket, max_keys=""))) == 1000
    assert keys_of(listing(world, bucket, marker="1000")) == ["1001", "1002"]


@pytest.mark.parametrize("query, message", [
    ({"max-keys": "-1"}, "Argument maxKeys must be an integer between 0 and 2147483647"),
    ({"max-keys": "ten"}, "Provided max-keys not an integer or within integer range"),
    ({"max-keys": "2147483648"}, "Provided max-keys not an integer or within integer range"),
    ({"encoding-type": "base64"}, "Invalid Encoding Method specified in Request"),
    ({"list-type": "3"}, "Invalid List Type specified in Request"),
    ({"list-type": "2", "continuation-token": ""}, "The continuation token provided is incorrect"),
    ({"list-type": "2", "continuation-token": "a"}, "The continuation token provided is incorrect"),
    ({"list-type": "2", "continuation-token": "YWJjZGVmZ2g="}, "The continuation token provided is incorrect"),
    ({"list-type": "2", "continuation-token": "A" * 100000}, None),
])
def test_parameters_refused(world, bucket, query, message):
    if message is None:
        assert world.request("GET", f"/{bucket}", query)[0] in (400, 414, 431)
    else:
        assert refused(world, bucket, **query) == (400, "InvalidArgument", message)


def test_a_token_is_bound_to_nothing_but_its_place(world, bucket):
    fill(world, bucket, ["a1", "a2", "b1", "c1"])
    token = listing(world, bucket, list_type=2, max_keys=1).findtext("NextContinuationToken")
    assert keys_of(listing(world, bucket, list_type=2, prefix="b", continuation_token=token)) == ["b1"]
    assert keys_of(listing(world, bucket, list_type=2, start_after="b1", continuation_token=token)) == ["a2", "b1", "c1"]
    root = listing(world, bucket, list_type=2, continuation_token=token)
    assert root.findtext("ContinuationToken") == token
    damaged = ("A" if token[0] != "A" else "B") + token[1:]
    assert refused(world, bucket, list_type="2", continuation_token=damaged)[0] == 400


def test_encoded_names(world, bucket):
    keys = ["plain", "with space", "a+b", "a&<>\"'", "per%cent", "ümlaut/日本", "tab\tnew\nline\r", "\x01\x1f\x7f", "~-_.*!()"]
    fill(world, bucket, keys)
    root = listing(world, bucket, encoding_type="url")
    assert [urllib.parse.unquote(k) for k in keys_of(root)] == sorted(keys, key=str.encode)
    assert "with%20space" in keys_of(root) and "%C3%BCmlaut/%E6%97%A5%E6%9C%AC" in keys_of(root)
    for kind in ({}, {"list_type": 2}):
        root = listing(world, bucket, encoding_type="url", delimiter="ü", prefix="", **kind)
        assert root.findtext("Delimiter") == "%C3%BC" and prefixes_of(root) == ["%C3%BC"]
    assert listing(world, bucket, encoding_type="url", prefix="a+").findtext("Prefix") == "a%2B"
    assert listing(world, bucket, encoding_type="url", marker="a b").findtext("Marker") == "a%20b"
    assert listing(world, bucket, encoding_type="url", list_type=2, start_after="a b").findtext("StartAfter") == "a%20b"
    root = listing(world, bucket, encoding_type="url", versions="", key_marker="a b", max_keys=1)
    assert (root.findtext("KeyMarker"), root.findtext("NextKeyMarker")) == ("a%20b", "a%26%3C%3E%22%27")
    remove(world, bucket, keys)


def test_names_that_xml_cannot_hold(world, bucket):
    """Without encoding-type they are references to characters: not XML 1.0, but what clients know."""
    keys = ["a\x01b\x1fc", "t\tr\rx"]
    fill(world, bucket, keys)
    text = world.request("GET", f"/{bucket}", {"list-type": "2"})[2]
    assert b"<Key>a&#x1;b&#x1F;c</Key>" in text and b"<Key>t\tr&#xD;x</Key>" in text
    remove(world, bucket, keys)


@pytest.mark.parametrize("delimiter", ["/", "//", "b", "ä", "/x/", " "])
def test_any_delimiter(world, bucket, delimiter):
    keys = ["a", "a/", "a//b", "a/x/b", "ab", "abab", "bb", "c d", "c d e", "xäy", "xää"]
    fill(world, bucket, keys)
    for prefix in ("", "a", "a/", "x", "b"):
        expected = rolled_up(sorted(keys, key=str.encode), prefix, delimiter)
        root = listing(world, bucket, list_type=2, delimiter=delimiter, prefix=prefix)
        assert keys_of(root) == [name for is_prefix, name in expected if not is_prefix]
        assert prefixes_of(root) == [name for is_prefix, name in expected if is_prefix]


def test_a_page_that_ends_with_a_common_prefix(world, bucket):
    fill(world, bucket, ["a/1", "a/2", "a0", "b/1", "b/2", "c"])
    seen, token = [], {}
    for _ in range(4):
        root = listing(world, bucket, list_type=2, delimiter="/", max_keys=1, **token)
        seen += keys_of(root) + prefixes_of(root)
        token = {"continuation_token": root.findtext("NextContinuationToken")}
    assert seen == ["a/", "a0", "b/", "c"] and root.findtext("IsTruncated") == "false"
    seen, marker = [], ""
    for _ in range(4):
        root = listing(world, bucket, delimiter="/", max_keys=1, marker=marker)
        seen += keys_of(root) + prefixes_of(root)
        marker = root.findtext("NextMarker")
    assert seen == ["a/", "a0", "b/", "c"] and root.findtext("IsTruncated") == "false" and marker is None


# -- against a model --


def expected_after(keys, prefix, delimiter, after):
    found = rolled_up([k for k in sorted(keys, key=str.encode) if k.encode() > after.encode()], prefix, delimiter)
    return [entry for entry in found if entry != (True, after)]


def entries(root):
    found = [(False, urllib.parse.unquote(k)) for k in keys_of(root)]
    found += [(True, urllib.parse.unquote(p)) for p in prefixes_of(root)]
    return sorted(found, key=lambda entry: entry[1].encode())


def all_pages(world, bucket, is_v2, limit, after, **query):
    found, place = [], {"start_after" if is_v2 else "marker": after} if after else {}
    while True:
        root = listing(world, bucket, max_keys=limit, encoding_type="url", **({"list_type": 2} if is_v2 else {}), **query, **place)
        here = entries(root)
        found += here
        assert len(here) <= limit and (not is_v2 or int(root.findtext("KeyCount")) == len(here))
        if root.findtext("IsTruncated") == "false":
            assert root.find("NextContinuationToken") is None and root.find("NextMarker") is None
            return found
        assert len(here) == limit
        if is_v2:
            place = {**place, "continuation_token": root.findtext("NextContinuationToken")}
        else:
            last = root.findtext("NextMarker")
            assert (last is not None) == bool(query["delimiter"])
            place = {"marker": urllib.parse.unquote(last) if last else here[-1][1]}


@pytest.mark.parametrize("seed", range(4))
def test_random_lists_against_a_model(world, bucket, seed):
    rng = random.Random(seed)
    alphabet = rng.choice(["ab/", "a/-", "aä/\U0010ffff", string.ascii_lowercase[:3] + "/~"])

    def word(longest):
        return "".join(rng.choice(alphabet) for _ in range(rng.randint(0, longest)))
    keys = sorted({word(6).lstrip("/") + rng.choice(alphabet) for _ in range(150)} - {"/"})
    keys = [k for k in keys if not k.startswith("/")]
    fill(world, bucket, keys)
    for _ in range(60):
        prefix, after = word(2), rng.choice(["", "", word(4), rng.choice(keys)])
        delimiter = rng.choice(["", "/", "/", word(2)])
        limit = rng.choice([1, 2, 3, 10, 1000]) if rng.random() < 0.3 else 1000
        is_v2 = rng.random() < 0.5
        found = all_pages(world, bucket, is_v2, limit, after, prefix=prefix, delimiter=delimiter)
        assert found == expected_after(keys, prefix, delimiter, after), (prefix, delimiter, after, limit, is_v2)
