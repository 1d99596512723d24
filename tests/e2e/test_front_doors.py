"""Bad input at the front doors: AWS' exact code outside, and the daemons go on."""
import contextlib
import http.client
import re
import socket

import pytest
from cloud import ClientError, code_of


@pytest.fixture(params=["clc", "walrus"])
def door(cloud, request):
    return cloud.model.loopback, {"clc": 8773, "walrus": 8777}[request.param]


def exchange(door, raw, timeout=10):
    with socket.create_connection(door, timeout=timeout) as s:
        found = b""
        with contextlib.suppress(ConnectionError, OSError):  # it may hang up before it heard all
            s.sendall(raw)
            s.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while chunk := s.recv(65536):
                found += chunk
    return found


@pytest.mark.parametrize("raw", [
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x00\xa5\x01" + b"\0" * 200,
    b"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
], ids=["two-lengths", "length-and-chunked", "bad-chunk", "no-host", "two-hosts", "two-spaces", "noise",
        "space-before-colon"])
def test_malformed_framing(cloud, door, raw):
    answer = exchange(door, raw)
    # What begins like TLS is answered by TLS (an alert); a body may be bad where no body was wanted (405).
    assert answer == b"" or re.match(rb"HTTP/1\.1 40[05] |\x15\x03", answer), answer[:80]
    assert cloud.ec2.describe_regions()["Regions"]


@pytest.mark.parametrize("key, secret, code", [
    ("AKIAIOSFODNN7EXAMPLE", "x" * 40, ("AuthFailure", "InvalidClientTokenId")),
    (None, "x" * 40, ("SignatureDoesNotMatch", "AuthFailure")),
])
def test_wrong_credentials(cloud, key, secret, code):
    with pytest.raises(ClientError) as problem:
        cloud.client("ec2", key, secret).describe_instances()
    assert code_of(problem.value) in code


def test_walrus_refuses_wrong_credentials(cloud):
    with pytest.raises(ClientError) as problem:
        cloud.client("s3", "AKIAIOSFODNN7EXAMPLE", "x" * 40).list_buckets()
    assert code_of(problem.value) == "InvalidAccessKeyId"
    with pytest.raises(ClientError) as problem:
        cloud.client("s3", None, "x" * 40).list_buckets()
    assert code_of(problem.value) == "SignatureDoesNotMatch"


def test_unsigned_calls(cloud):
    connection = http.client.HTTPConnection(cloud.model.loopback, 8773, timeout=10)
    connection.request("GET", "/?Action=DescribeInstances&Version=2016-11-15")
    answer = connection.getresponse()
    text = answer.read().decode()
    assert answer.status in (400, 401, 403) and re.search("<Code>(MissingAuthenticationToken|AuthFailure|"
                                                          "MissingParameter)</Code>", text)


@pytest.mark.parametrize("call, options, code", [
    ("describe_instances", {"InstanceIds": ["i-00000000000000000"]}, "InvalidInstanceID.NotFound"),
    ("describe_instances", {"InstanceIds": ["nonsense"]}, "InvalidInstanceID.Malformed"),
    ("terminate_instances", {"InstanceIds": ["i-00000000000000000"]}, "InvalidInstanceID.NotFound"),
    ("stop_instances", {"InstanceIds": ["vol-12345678"]}, "InvalidInstanceID.Malformed"),
    ("describe_images", {"ImageIds": ["ami-00000000000000000"]}, "InvalidAMIID.NotFound"),
    ("deregister_image", {"ImageId": "ami-00000000000000000"}, "InvalidAMIID.NotFound"),
    ("describe_key_pairs", {"KeyNames": ["no-such-key"]}, "InvalidKeyPair.NotFound"),
    ("import_key_pair", {"KeyName": "bad", "PublicKeyMaterial": b"nonsense"}, "InvalidKey.Format"),
    ("describe_subnets", {"SubnetIds": ["subnet-00000000000000000"]}, "InvalidSubnetID.NotFound"),
    ("describe_vpcs", {"VpcIds": ["vpc-00000000000000000"]}, "InvalidVpcID.NotFound"),
    ("describe_security_groups", {"GroupIds": ["sg-00000000000000000"]}, "InvalidGroup.NotFound"),
    ("describe_availability_zones", {"ZoneNames": ["nowhere"]}, "InvalidParameterValue"),
])
def test_exact_codes(cloud, call, options, code):
    with pytest.raises(ClientError) as problem:
        getattr(cloud.ec2, call)(**options)
    assert code_of(problem.value) == code


@pytest.mark.parametrize("options, code", [
    ({"InstanceType": "z9.huge"}, "InvalidParameterValue"),
    ({"KeyName": "no-such-key"}, "InvalidKeyPair.NotFound"),
    ({"MinCount": 0, "MaxCount": 0}, "InvalidParameterValue"),
    ({"MinCount": 3, "MaxCount": 2}, "InvalidParameterValue"),
    ({"Placement": {"AvailabilityZone": "nowhere"}}, "InvalidParameterValue"),
    ({"SecurityGroupIds": ["sg-00000000000000000"]}, "InvalidGroup.NotFound"),
    ({"SubnetId": "subnet-00000000000000000"}, "InvalidSubnetID.NotFound"),
    ({"UserData": "x" * 17000}, "InvalidParameterValue"),
])
def test_run_instances_refuses(cloud, options, code):
    before = {i["InstanceId"] for i in cloud.instances()}
    with pytest.raises(ClientError) as problem:
        cloud.run(**options)
    assert code_of(problem.value) == code
    assert {i["InstanceId"] for i in cloud.instances()} == before


def test_unknown_action(cloud):
    """Signed well, for an action that is not there."""
    with pytest.raises(ClientError) as problem:
        cloud.ec2.describe_spot_datafeed_subscription()
    assert code_of(problem.value) in ("InvalidAction", "UnsupportedOperation", "InvalidSpotDatafeed.NotFound")


@pytest.mark.parametrize("call, options, code", [
    ("get_object", {"Bucket": "mallee-images", "Key": "absent"}, "NoSuchKey"),
    ("get_object", {"Bucket": "no-such-bucket-anywhere", "Key": "a"}, "NoSuchBucket"),
    ("create_bucket", {"Bucket": "UPPER_case"}, "InvalidBucketName"),
    ("delete_bucket", {"Bucket": "mallee-images"}, "BucketNotEmpty"),
    ("get_object", {"Bucket": "mallee-images", "Key": "absent", "Range": "bytes=5-1"}, "NoSuchKey"),
])
def test_exact_codes_of_s3(cloud, call, options, code):
    client = cloud.client("s3")
    client.meta.events.unregister("before-parameter-build.s3")
    with pytest.raises(ClientError) as problem:
        getattr(client, call)(**options)
    assert code_of(problem.value) == code
