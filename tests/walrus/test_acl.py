"""ACLs: who was granted what on buckets and objects, by canned names, headers and documents."""
import http.client
import json
import uuid

import botocore.exceptions
import pytest

ALL = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
LOGS = "http://acs.amazonaws.com/groups/s3/LogDelivery"
EXEC = "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c"


@pytest.fixture(scope="module")
def ann(world):
    return world.s3()


@pytest.fixture(scope="module")
def bob(world):
    return world.s3(world.other_keys)


@pytest.fixture(scope="module")
def ids(ann, bob):
    return {"ann": ann.list_buckets()["Owner"]["ID"], "bob": bob.list_buckets()["Owner"]["ID"]}


@pytest.fixture
def box(ann):
    """A bucket of ann's that anybody may have put anything into."""
    name = "acl-" + uuid.uuid4().hex[:12]
    ann.create_bucket(Bucket=name)
    yield name
    for o in ann.list_objects_v2(Bucket=name).get("Contents", []):
        ann.delete_object(Bucket=name, Key=o["Key"])
    ann.delete_bucket(Bucket=name)


def refusal(call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**arguments)
    error = caught.value.response
    return error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"]


def grants(reply):
    return [(g["Grantee"].get("ID") or g["Grantee"]["URI"], g["Permission"]) for g in reply["Grants"]]


def anonymous(world, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", world.walrus.port, timeout=20)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        reply = connection.getresponse()
        reply.read()
        return reply.status
    finally:
        connection.close()


# -- who may what: canned ACL of the bucket, of the object; then status for bob and for nobody --

TABLE = [
    # bucket ACL, object ACL, list (bob, nobody), put, get, get of what is missing
    ("private", "private", (403, 403), (403, 403), (403, 403), (403, 403)),
    ("private", "public-read", (403, 403), (403, 403), (200, 200), (403, 403)),
    ("private", "authenticated-read", (403, 403), (403, 403), (200, 403), (403, 403)),
    ("private", "bucket-owner-read", (403, 403), (403, 403), (403, 403), (403, 403)),
    ("private", "aws-exec-read", (403, 403), (403, 403), (403, 403), (403, 403)),
    ("public-read", "private", (200, 200), (403, 403), (403, 403), (404, 404)),
    ("authenticated-read", "private", (200, 403), (403, 403), (403, 403), (404, 403)),
    ("public-read-write", "private", (200, 200), (200, 200), (403, 403), (404, 404)),
    ("public-read-write", "public-read", (200, 200), (200, 200), (200, 200), (404, 404)),
    ("log-delivery-write", "private", (403, 403), (403, 403), (403, 403), (403, 403)),
]


@pytest.mark.parametrize("bucket_acl,object_acl,may_list,may_put,may_get,missing", TABLE)
def test_canned(world, ann, box, bucket_acl, object_acl, may_list, may_put, may_get, missing):
    ann.put_bucket_acl(Bucket=box, ACL=bucket_acl)
    ann.put_object(Bucket=box, Key="key", Body=b"x", ACL=object_acl)
    for keys, i in ((world.other_keys, 0), (None, 1)):
        def status(method, path, body=None):
            if keys:
                return world.request(method, path, body=body or b"", keys=keys)[0]
            return anonymous(world, method, path, body)

        assert status("GET", f"/{box}") == may_list[i]
        assert status("HEAD", f"/{box}") == may_list[i]
        assert status("PUT", f"/{box}/new", b"y") == may_put[i]
        assert status("GET", f"/{box}/key") == may_get[i]
        assert status("HEAD", f"/{box}/key") == may_get[i]
        assert status("GET", f"/{box}/missing") == missing[i]
        for method, path in (("DELETE", f"/{box}"), ("GET", f"/{box}?location"), ("GET", f"/{box}?policy")):
            if keys is None:
                assert status(method, path) == 403
    assert ann.get_object(Bucket=box, Key="key")["Body"].read() == b"x"


def test_grants_of_buckets(world, ann, bob, box, ids):
    ann.put_object(Bucket=box, Key="key", Body=b"x")
    cases = {"GrantRead": "READ", "GrantWrite": "WRITE", "GrantReadACP": "READ_ACP", "GrantWriteACP": "WRITE_ACP",
             "GrantFullControl": "FULL_CONTROL"}
    for header, permission in cases.items():
        ann.put_bucket_acl(Bucket=box, **{header: f'id="{ids["bob"]}"'})
        assert grants(ann.get_bucket_acl(Bucket=box)) == [(ids["bob"], permission)]
        full = permission == "FULL_CONTROL"
        may = {bob.list_objects_v2: permission == "READ", bob.get_bucket_acl: permission == "READ_ACP"}
        for call, allowed in may.items():
            if allowed or full:
                call(Bucket=box)
            else:
                assert refusal(call, Bucket=box) == (403, "AccessDenied")
        if permission == "WRITE" or full:
            bob.delete_object(Bucket=box, Key="nothing")
            bob.put_object(Bucket=box, Key="bobs", Body=b"b")
            ann.delete_object(Bucket=box, Key="bobs")  # the bucket's owner removes what is not hers
        else:
            assert refusal(bob.delete_object, Bucket=box, Key="key") == (403, "AccessDenied")
            assert refusal(bob.put_object, Bucket=box, Key="bobs", Body=b"b") == (403, "AccessDenied")
        if permission == "WRITE_ACP" or full:
            bob.put_bucket_acl(Bucket=box, ACL="public-read")
            assert (ids["ann"], "FULL_CONTROL") in grants(ann.get_bucket_acl(Bucket=box))
        else:
            assert refusal(bob.put_bucket_acl, Bucket=box, ACL="private") == (403, "AccessDenied")
        assert refusal(bob.get_object, Bucket=box, Key="key") == (403, "AccessDenied")
        assert refusal(bob.get_bucket_policy, Bucket=box) == (403, "AccessDenied")
        ann.get_bucket_acl(Bucket=box)  # whatever it says, hers to read and to change


def test_grants_of_objects(ann, bob, box, ids):
    for permission in ("READ", "READ_ACP", "WRITE_ACP", "FULL_CONTROL"):
        ann.put_object(Bucket=box, Key="key", Body=b"x")
        own = {"Grantee": {"Type": "CanonicalUser", "ID": ids["ann"]}, "Permission": "FULL_CONTROL"}
        his = {"Grantee": {"Type": "CanonicalUser", "ID": ids["bob"]}, "Permission": permission}
        ann.put_object_acl(Bucket=box, Key="key",
                           AccessControlPolicy={"Owner": {"ID": ids["ann"]}, "Grants": [own, his]})
        assert grants(ann.get_object_acl(Bucket=box, Key="key")) == [
            (ids["ann"], "FULL_CONTROL"), (ids["bob"], permission)]
        full = permission == "FULL_CONTROL"
        for call, wanted, more in ((bob.get_object, "READ", {}), (bob.get_object_acl, "READ_ACP", {}),
                                   (bob.put_object_acl, "WRITE_ACP", {"ACL": "private"})):
            if permission == wanted or full:
                call(Bucket=box, Key="key", **more)
            else:
                assert refusal(call, Bucket=box, Key="key", **more) == (403, "AccessDenied")
        assert refusal(bob.delete_object, Bucket=box, Key="key") == (403, "AccessDenied")


def test_owner_of_what_another_wrote(ann, bob, box, ids):
    ann.put_bucket_acl(Bucket=box, GrantWrite=f'id="{ids["bob"]}"')
    bob.put_object(Bucket=box, Key="his", Body=b"b")
    assert bob.get_object(Bucket=box, Key="his")["Body"].read() == b"b"
    assert bob.get_object_acl(Bucket=box, Key="his")["Owner"]["ID"] == ids["bob"]
    assert refusal(ann.get_object, Bucket=box, Key="his") == (403, "AccessDenied")
    assert refusal(ann.get_object_acl, Bucket=box, Key="his") == (403, "AccessDenied")
    bob.put_object(Bucket=box, Key="given", Body=b"b", ACL="bucket-owner-full-control")
    assert grants(ann.get_object_acl(Bucket=box, Key="given")) == [
        (ids["bob"], "FULL_CONTROL"), (ids["ann"], "FULL_CONTROL")]
    assert ann.get_object(Bucket=box, Key="given")["Body"].read() == b"b"
    bob.put_object(Bucket=box, Key="read", Body=b"b", ACL="bucket-owner-read")
    ann.get_object(Bucket=box, Key="read")
    assert refusal(ann.put_object_acl, Bucket=box, Key="read", ACL="private") == (403, "AccessDenied")
    upload = bob.create_multipart_upload(Bucket=box, Key="parts", ACL="public-read")["UploadId"]
    tag = bob.upload_part(Bucket=box, Key="parts", UploadId=upload, PartNumber=1, Body=b"p")["ETag"]
    bob.complete_multipart_upload(Bucket=box, Key="parts", UploadId=upload,
                                  MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]})
    assert grants(bob.get_object_acl(Bucket=box, Key="parts")) == [(ids["bob"], "FULL_CONTROL"), (ALL, "READ")]
    assert ann.get_object(Bucket=box, Key="parts")["Body"].read() == b"p"


def test_versions_have_their_own(ann, bob, ids):
    name = "acl-versions-" + uuid.uuid4().hex[:8]
    ann.create_bucket(Bucket=name)
    ann.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    old = ann.put_object(Bucket=name, Key="k", Body=b"1")["VersionId"]
    new = ann.put_object(Bucket=name, Key="k", Body=b"2")["VersionId"]
    assert ann.put_object_acl(Bucket=name, Key="k", VersionId=old, ACL="public-read")["ResponseMetadata"][
        "HTTPHeaders"]["x-amz-version-id"] == old
    assert bob.get_object(Bucket=name, Key="k", VersionId=old)["Body"].read() == b"1"
    assert refusal(bob.get_object, Bucket=name, Key="k") == (403, "AccessDenied")
    assert refusal(bob.get_object, Bucket=name, Key="k", VersionId=new) == (403, "AccessDenied")
    marker = ann.delete_object(Bucket=name, Key="k")["VersionId"]
    assert refusal(ann.get_object_acl, Bucket=name, Key="k") == (404, "NoSuchKey")
    assert refusal(ann.get_object_acl, Bucket=name, Key="k", VersionId=marker) == (405, "MethodNotAllowed")
    for version in (old, new, marker):
        ann.delete_object(Bucket=name, Key="k", VersionId=version)
    ann.delete_bucket(Bucket=name)


def test_canned_of_new_buckets(ann, ids):
    expected = {"private": [], "public-read": [(ALL, "READ")],
                "public-read-write": [(ALL, "READ"), (ALL, "WRITE")],
                "authenticated-read": [(AUTHENTICATED, "READ")], "aws-exec-read": [(EXEC, "READ")],
                "log-delivery-write": [(LOGS, "WRITE"), (LOGS, "READ_ACP")], "bucket-owner-read": []}
    for acl, more in expected.items():
        name = "acl-new-" + uuid.uuid4().hex[:8]
        ann.create_bucket(Bucket=name, ACL=acl)
        assert grants(ann.get_bucket_acl(Bucket=name)) == [(ids["ann"], "FULL_CONTROL")] + more
        ann.delete_bucket(Bucket=name)


OWN = "<Owner><ID>{ann}</ID></Owner>"
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


def grant(kind, who, permission="READ"):
    return f'<Grant><Grantee {XSI} xsi:type="{kind}">{who}</Grantee><Permission>{permission}</Permission></Grant>'


def policy(*granted, owner=OWN):
    return f"<AccessControlPolicy>{owner}<AccessControlList>{''.join(granted)}</AccessControlList></AccessControlPolicy>"


REFUSED = [
    ({"x-amz-acl": "public"}, "", "InvalidArgument", "<ArgumentName>x-amz-acl</ArgumentName>"
     "<ArgumentValue>public</ArgumentValue>"),
    ({"x-amz-grant-read": "id=1234"}, "", "InvalidArgument",
     "<Message>Invalid id</Message><ArgumentName>id</ArgumentName><ArgumentValue>1234</ArgumentValue>"),
    ({"x-amz-grant-read": "uri=http://x"}, "", "InvalidArgument", "<Message>Invalid group uri</Message>"),
    ({"x-amz-grant-read": "somebody"}, "", "InvalidArgument", "<ArgumentName>x-amz-grant-read</ArgumentName>"),
    ({"x-amz-grant-read": 'emailAddress="a@b.c"'}, "", "UnresolvableGrantByEmailAddress", ""),
    ({"x-amz-acl": "private", "x-amz-grant-read": "id=1"}, "", "InvalidRequest", ""),
    ({"x-amz-acl": "private"}, policy(), "UnexpectedContent", ""),
    ({}, "", "MissingSecurityHeader", "<MissingHeaderName>x-amz-acl</MissingHeaderName>"),
    ({}, "<nonsense", "MalformedACLError", ""),
    ({}, "<AccessControlPolicy/>", "MalformedACLError", ""),
    ({}, policy(owner=""), "MalformedACLError", ""),
    ({}, policy(owner="<Owner><ID>1</ID></Owner>"), "InvalidArgument", "CanonicalUser/ID"),
    ({}, policy(owner="<Owner><ID>{bob}</ID></Owner>"), "AccessDenied", ""),
    ({}, policy(grant("CanonicalUser", "<ID>1</ID>")), "InvalidArgument", "CanonicalUser/ID"),
    ({}, policy(grant("Group", "<URI>http://x</URI>")), "InvalidArgument", "Group/URI"),
    ({}, policy(grant("AmazonCustomerByEmail", "<EmailAddress>a@b.c</EmailAddress>")),
     "UnresolvableGrantByEmailAddress", ""),
    ({}, policy(grant("CanonicalUser", "<ID>{bob}</ID>", "EVERYTHING")), "MalformedACLError", ""),
    ({}, policy(*[grant("CanonicalUser", "<ID>{bob}</ID>")] * 101), "MalformedACLError", ""),
]


@pytest.mark.parametrize("headers,body,code,part", REFUSED)
def test_refusals(world, ann, box, ids, headers, body, code, part):
    ann.put_object(Bucket=box, Key="key", Body=b"x")
    status_of = {"AccessDenied": 403}
    for path in (f"/{box}", f"/{box}/key"):
        status, _, reply = world.request("PUT", path, {"acl": ""}, headers, body.format(**ids).encode())
        assert (status, f"<Code>{code}</Code>" in reply.decode()) == (status_of.get(code, 400), True), reply
        assert part in reply.decode()
    assert grants(ann.get_bucket_acl(Bucket=box)) == [(ids["ann"], "FULL_CONTROL")]
    assert grants(ann.get_object_acl(Bucket=box, Key="key")) == [(ids["ann"], "FULL_CONTROL")]


def test_a_hundred_grants(ann, box, ids):
    one = {"Grantee": {"Type": "CanonicalUser", "ID": ids["bob"]}, "Permission": "READ"}
    ann.put_bucket_acl(Bucket=box, AccessControlPolicy={"Owner": {"ID": ids["ann"]}, "Grants": [one] * 100})
    assert len(ann.get_bucket_acl(Bucket=box)["Grants"]) == 100


def test_missing(ann, box):
    assert refusal(ann.get_object_acl, Bucket=box, Key="no") == (404, "NoSuchKey")
    assert refusal(ann.put_object_acl, Bucket=box, Key="no", ACL="private") == (404, "NoSuchKey")


# -- ownership --

def own(s3, bucket, ownership):
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": ownership}]})


def test_ownership_enforced(world, ann, bob, box, ids):
    assert refusal(ann.get_bucket_ownership_controls, Bucket=box) == (404, "OwnershipControlsNotFoundError")
    ann.put_object(Bucket=box, Key="key", Body=b"x", ACL="public-read")
    ann.put_bucket_acl(Bucket=box, GrantWrite=f'id="{ids["bob"]}"')
    bob.put_object(Bucket=box, Key="his", Body=b"b")
    assert anonymous(world, "GET", f"/{box}/key") == 200
    enforced = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert refusal(ann.put_bucket_ownership_controls, Bucket=box, OwnershipControls=enforced) == (
        400, "InvalidBucketAclWithObjectOwnership")
    ann.put_bucket_acl(Bucket=box, ACL="private")
    ann.put_bucket_ownership_controls(Bucket=box, OwnershipControls=enforced)
    assert ann.get_bucket_ownership_controls(Bucket=box)["OwnershipControls"] == enforced
    assert anonymous(world, "GET", f"/{box}/key") == 403
    assert ann.get_object(Bucket=box, Key="his")["Body"].read() == b"b"
    assert refusal(bob.get_object, Bucket=box, Key="his") == (403, "AccessDenied")
    assert grants(ann.get_object_acl(Bucket=box, Key="key")) == [(ids["ann"], "FULL_CONTROL")]
    for arguments in ({"ACL": "public-read"}, {"GrantRead": f"id={ids['bob']}"}):
        assert refusal(ann.put_object, Bucket=box, Key="k", **arguments) == (400, "AccessControlListNotSupported")
        assert refusal(ann.put_object_acl, Bucket=box, Key="key", **arguments) == (
            400, "AccessControlListNotSupported")
        assert refusal(ann.put_bucket_acl, Bucket=box, **arguments) == (400, "AccessControlListNotSupported")
    ann.put_object(Bucket=box, Key="k", ACL="bucket-owner-full-control")
    ann.delete_bucket_ownership_controls(Bucket=box)
    assert anonymous(world, "GET", f"/{box}/key") == 200


def test_ownership_preferred(ann, bob, box, ids):
    ann.put_bucket_acl(Bucket=box, GrantWrite=f'id="{ids["bob"]}"')
    own(ann, box, "BucketOwnerPreferred")
    bob.put_object(Bucket=box, Key="given", Body=b"b", ACL="bucket-owner-full-control")
    bob.put_object(Bucket=box, Key="kept", Body=b"b")
    assert ann.get_object_acl(Bucket=box, Key="given")["Owner"]["ID"] == ids["ann"]
    assert refusal(bob.get_object, Bucket=box, Key="given") == (403, "AccessDenied")
    assert bob.get_object_acl(Bucket=box, Key="kept")["Owner"]["ID"] == ids["bob"]
    assert refusal(ann.get_object, Bucket=box, Key="kept") == (403, "AccessDenied")


def test_ownership_of_new_buckets(ann):
    name = "acl-owned-" + uuid.uuid4().hex[:8]
    assert refusal(ann.create_bucket, Bucket=name, ObjectOwnership="BucketOwnerEnforced", ACL="public-read") == (
        400, "InvalidBucketAclWithObjectOwnership")
    assert refusal(ann.create_bucket, Bucket=name, ObjectOwnership="Mine") == (400, "InvalidArgument")
    ann.create_bucket(Bucket=name, ObjectOwnership="BucketOwnerEnforced")
    assert ann.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"] == [
        {"ObjectOwnership": "BucketOwnerEnforced"}]
    ann.delete_bucket(Bucket=name)


# -- public access block --

def block(s3, bucket, *switches):
    names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={n: n in switches for n in names})


def test_public_acls_blocked(world, ann, bob, box, ids):
    assert refusal(ann.get_public_access_block, Bucket=box) == (404, "NoSuchPublicAccessBlockConfiguration")
    ann.put_bucket_acl(Bucket=box, ACL="public-read")
    ann.put_object(Bucket=box, Key="key", Body=b"x", ACL="public-read")
    block(ann, box, "BlockPublicAcls")
    assert ann.get_public_access_block(Bucket=box)["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True, "IgnorePublicAcls": False, "BlockPublicPolicy": False, "RestrictPublicBuckets": False}
    for acl in ("public-read", "authenticated-read"):
        assert refusal(ann.put_bucket_acl, Bucket=box, ACL=acl) == (403, "AccessDenied")
        assert refusal(ann.put_object, Bucket=box, Key="k", ACL=acl) == (403, "AccessDenied")
        assert refusal(ann.put_object_acl, Bucket=box, Key="key", ACL=acl) == (403, "AccessDenied")
    assert anonymous(world, "GET", f"/{box}/key") == 200
    assert anonymous(world, "GET", f"/{box}") == 200
    block(ann, box, "IgnorePublicAcls")
    assert anonymous(world, "GET", f"/{box}/key") == 403
    assert anonymous(world, "GET", f"/{box}") == 403
    assert refusal(bob.get_object, Bucket=box, Key="key") == (403, "AccessDenied")
    ann.put_object_acl(Bucket=box, Key="key", GrantRead=f"id={ids['bob']}")
    bob.get_object(Bucket=box, Key="key")
    ann.delete_public_access_block(Bucket=box)
    assert anonymous(world, "GET", f"/{box}") == 200


def test_malformed_settings(world, box):
    for name, bodies in {
            "ownershipControls": ["<OwnershipControls/>", "<OwnershipControls><Rule/></OwnershipControls>",
                                  "<OwnershipControls><Rule><ObjectOwnership>Mine</ObjectOwnership></Rule>"
                                  "</OwnershipControls>", "<Other/>"],
            "publicAccessBlock": ["<PublicAccessBlockConfiguration><X>true</X></PublicAccessBlockConfiguration>",
                                  "<PublicAccessBlockConfiguration><BlockPublicAcls>maybe</BlockPublicAcls>"
                                  "</PublicAccessBlockConfiguration>", "<Other/>"]}.items():
        for body in bodies:
            status, _, reply = world.request("PUT", f"/{box}", {name: ""}, body=body.encode())
            assert status == 400 and b"<Code>MalformedXML</Code>" in reply


# -- whose bucket it is believed to be --

def test_expected_owner(world, ann, box):
    account = world.rows("SELECT account_id FROM bucket WHERE name = ?", box)[0][0]
    ann.put_object(Bucket=box, Key="k", ExpectedBucketOwner=account)
    ann.head_bucket(Bucket=box, ExpectedBucketOwner=account)
    for call, more in ((ann.get_object, {"Key": "k"}), (ann.put_object, {"Key": "k"}), (ann.list_objects_v2, {}),
                       (ann.get_bucket_acl, {}), (ann.delete_bucket, {})):
        assert refusal(call, Bucket=box, ExpectedBucketOwner="999999999999", **more) == (403, "AccessDenied")
    assert refusal(ann.get_bucket_acl, Bucket=box, ExpectedBucketOwner="me") == (
        400, "InvalidBucketOwnerAWSAccountID")


# -- the cloud itself --

def test_exec_read(world, ann, box):
    """aws-exec-read lets the cloud's own keys read, of whichever account, and nobody else."""
    keys = world.rows("SELECT access_key_id, secret FROM identity_key WHERE is_service = 1 AND account_id <>"
                      " (SELECT account_id FROM bucket WHERE name = ?)", box)
    assert keys
    ann.put_object(Bucket=box, Key="image", Body=b"x", ACL="aws-exec-read")
    ann.put_object(Bucket=box, Key="other", Body=b"x")
    assert world.request("GET", f"/{box}/image", keys=keys[0])[0] == 200
    assert world.request("GET", f"/{box}/other", keys=keys[0])[0] == 403
    assert world.request("PUT", f"/{box}/image", {"acl": ""}, {"x-amz-acl": "private"}, keys=keys[0])[0] == 403
    assert world.request("GET", f"/{box}/image", keys=world.other_keys)[0] == 403


def test_configured(world, ann):
    """What new buckets begin with, as an administrator wants it."""
    with open(world.walrus.conf, encoding="utf-8") as file:
        before = file.read()
    try:
        with open(world.walrus.conf, "a", encoding="utf-8") as file:
            file.write("object_ownership = BucketOwnerEnforced\nblock_public_access = yes\n")
        world.walrus.kill()
        world.walrus.start()
        name = "acl-configured-" + uuid.uuid4().hex[:8]
        ann.create_bucket(Bucket=name)
        assert ann.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"] == [
            {"ObjectOwnership": "BucketOwnerEnforced"}]
        assert all(ann.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"].values())
        ann.delete_bucket(Bucket=name)
        assert refusal(ann.create_bucket, Bucket=name, ACL="public-read") == (
            400, "InvalidBucketAclWithObjectOwnership")
        assert refusal(ann.create_bucket, Bucket=name, ACL="public-read", ObjectOwnership="ObjectWriter") == (
            403, "AccessDenied")
    finally:
        with open(world.walrus.conf, "w", encoding="utf-8") as file:
            file.write(before)
        world.walrus.kill()
        world.walrus.start()


def test_who_may_do_what_with_an_upload(world, ann, bob, ids):
    """Who began it and the bucket's owner list its parts and give it up, nobody else who may only write there."""
    name = "acl-" + uuid.uuid4().hex[:12]
    ann.create_bucket(Bucket=name, ObjectOwnership="BucketOwnerPreferred")
    ann.put_bucket_acl(Bucket=name, GrantWrite=f"id={ids['bob']}")

    def begin(who, **options):
        upload = who.create_multipart_upload(Bucket=name, Key="k", **options)["UploadId"]
        who.upload_part(Bucket=name, Key="k", UploadId=upload, PartNumber=1, Body=b"x")
        return {"Bucket": name, "Key": "k", "UploadId": upload}
    for options in ({}, {"ACL": "bucket-owner-full-control"}):  # the second belongs to ann, who did not begin it
        upload = begin(bob, **options)
        for who in (ann, bob):
            listed = who.list_parts(**upload)
            assert listed["Initiator"]["ID"] == ids["bob"] and len(listed["Parts"]) == 1
            assert listed["Owner"]["ID"] == ids["ann" if options else "bob"]
        bob.abort_multipart_upload(**upload)
        for call in (bob.list_parts, bob.abort_multipart_upload):
            assert refusal(call, **upload) == (403, "AccessDenied")  # whether there is one is the owner's to know
        for call in (ann.list_parts, ann.abort_multipart_upload):
            assert refusal(call, **upload) == (404, "NoSuchUpload")
    theirs = begin(bob)
    ann.abort_multipart_upload(**theirs)
    hers = begin(ann)
    bob.upload_part(**hers, PartNumber=2, Body=b"y")  # by the right to write, which is what parts need
    for call in (bob.list_parts, bob.abort_multipart_upload):
        assert refusal(call, **hers) == (403, "AccessDenied")
    path = f"/{name}/k?uploadId={hers['UploadId']}"
    assert anonymous(world, "GET", path) == anonymous(world, "DELETE", path) == 403
    assert len(ann.list_parts(**hers)["Parts"]) == 2
    ann.abort_multipart_upload(**hers)
    ann.delete_bucket(Bucket=name)


def test_a_policy_about_uploads(world, ann, bob, ids):
    name = "acl-" + uuid.uuid4().hex[:12]
    ann.create_bucket(Bucket=name)
    account = world.rows("SELECT account_id FROM identity_account WHERE canonical_id = ?", ids["bob"])[0][0]

    def rule(effect, *actions):
        return {"Effect": effect, "Principal": {"AWS": account}, "Action": list(actions),
                "Resource": f"arn:aws:s3:::{name}/*"}

    def say(*rules):
        ann.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": list(rules)}))
    say(rule("Allow", "s3:PutObject", "s3:ListMultipartUploadParts"))
    hers = {"Bucket": name, "Key": "k", "UploadId": ann.create_multipart_upload(Bucket=name, Key="k")["UploadId"]}
    his = {"Bucket": name, "Key": "k", "UploadId": bob.create_multipart_upload(Bucket=name, Key="k")["UploadId"]}
    bob.list_parts(**hers)
    assert refusal(bob.abort_multipart_upload, **hers) == (403, "AccessDenied")
    assert refusal(bob.list_parts, **{**hers, "UploadId": "0" * 32}) == (404, "NoSuchUpload")
    say(rule("Deny", "s3:AbortMultipartUpload"))
    bob.list_parts(**his)
    assert refusal(bob.abort_multipart_upload, **his) == (403, "AccessDenied")
    say(rule("Allow", "s3:AbortMultipartUpload"))
    for upload in (hers, his):
        bob.abort_multipart_upload(**upload)
    ann.delete_bucket(Bucket=name)
