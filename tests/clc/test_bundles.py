"""BundleInstance, CreateImage and the tasks behind them, as their callers see them: a clc alone, so tasks stay where
the first answer of another daemon would take them on. What comes then is shown end to end (tests/e2e/test_bundles.py)."""
import base64
import hashlib
import hmac
import json
import os
import signal
import subprocess
import time

import boto
import boto.ec2
import front
import pytest
from strict import check_ec2, check_error


@pytest.fixture
def instance(clc, account):
    """A running one."""
    made = clc.ec2(account, "RunInstances", ImageId=account.image, MinCount="1", MaxCount="1",
                   InstanceType="t2.nano").text("instanceId")
    set_state(clc, made, "running")
    yield made
    clc.rows("UPDATE bundle_task SET is_held = 0, to_clean = 0, state = 'complete' WHERE instance_id = ?", made)
    clc.rows("UPDATE instance SET state = 'terminated', holds = 0 WHERE instance_id = ?", made)


def set_state(clc, instance, state):
    wanted = {"running": "running", "terminated": "terminated"}.get(state, "stopped")
    clc.rows("UPDATE instance SET state = ?, wanted = ? WHERE instance_id = ?", state, wanted, instance)


def bundle(clc, account, instance, bucket="my-bundles", prefix="image", **s3):
    more = {f"Storage__S3__{k}": v for k, v in s3.items()}
    return clc.ec2(account, "BundleInstance", InstanceId=instance, Storage__S3__Bucket=bucket,
                   Storage__S3__Prefix=prefix, **more)


def tasks(clc, account, **params):
    return check_ec2(clc.ec2(account, "DescribeBundleTasks", **params), "DescribeBundleTasks")


def signed(account, conditions, expires_s=3600, **more):
    until = front.now(expires_s).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    document = conditions if isinstance(conditions, str) else json.dumps(
        {"expiration": until, "conditions": conditions, **more})
    policy = base64.b64encode(document.encode()).decode()
    mac = base64.b64encode(hmac.new(account.secret.encode(), policy.encode(), hashlib.sha1).digest()).decode()
    return {"AWSAccessKeyId": account.key, "UploadPolicy": policy, "UploadPolicySignature": mac}


ALLOWED = [{"bucket": "my-bundles"}, {"acl": "ec2-bundle-read"}, ["starts-with", "$key", "image"]]


def test_a_task_is_there_at_once(clc, account, instance):
    reply = check_ec2(bundle(clc, account, instance, **signed(account, ALLOWED)), "BundleInstance")
    assert reply.text("instanceId") == instance and reply.text("state") == "pending" and reply.text("progress") == "0%"
    assert (reply.text("bucket"), reply.text("prefix")) == ("my-bundles", "image")
    assert reply.text("AWSAccessKeyId") == account.key
    listed = tasks(clc, account, BundleId__1=reply.text("bundleId"))
    assert listed.all("bundleId") == [reply.text("bundleId")] and listed.text("startTime") == reply.text("startTime")


def test_one_at_a_time(clc, account, instance):
    check_ec2(bundle(clc, account, instance), "BundleInstance")
    check_error(bundle(clc, account, instance), 400, "BundlingInProgress")
    check_error(clc.ec2(account, "CreateImage", InstanceId=instance, Name="beside it"), 400, "BundlingInProgress")
    assert clc.ec2(account, "DescribeImages", Filter__1__Name="name", Filter__1__Value__1="beside it").all("imageId") == []


def test_it_is_not_started_meanwhile(clc, account, instance):
    check_ec2(bundle(clc, account, instance), "BundleInstance")
    for state in ("stopping", "stopped"):
        set_state(clc, instance, state)
        reply = clc.ec2(account, "StartInstances", InstanceId__1=instance)
        check_error(reply, 400, "IncorrectInstanceState")
        assert "bundle task" in reply.message or state == "stopping"


def test_a_stop_meanwhile_is_what_it_goes_back_to(clc, account, instance):
    task = bundle(clc, account, instance).text("bundleId")
    was = "SELECT was_running FROM bundle_task WHERE task_id = ?"
    assert clc.rows(was, task) == [(1,)]
    check_ec2(clc.ec2(account, "StopInstances", InstanceId__1=instance), "StopInstances")
    assert clc.rows(was, task) == [(0,)]


@pytest.mark.parametrize("state", ["pending", "shutting-down", "terminated", "stopping"])
def test_states_that_can_not_be_bundled(clc, account, instance, state):
    set_state(clc, instance, state)
    check_error(bundle(clc, account, instance), 400, "IncorrectInstanceState")
    check_error(clc.ec2(account, "CreateImage", InstanceId=instance, Name="of " + state), 400, "IncorrectInstanceState")


def test_others_instances_are_not_there(clc, account, instance):
    check_error(bundle(clc, clc.other, instance), 400, "InvalidInstanceID.NotFound")
    check_error(clc.ec2(clc.other, "CreateImage", InstanceId=instance, Name="stolen"), 400, "InvalidInstanceID.NotFound")
    for bad in ("i-1", "x"):
        check_error(bundle(clc, account, bad), 400, "InvalidInstanceID.Malformed")


@pytest.mark.parametrize("bad,code", [
    ({"Storage__S3__Prefix": "x"}, "MissingParameter"), ({"Storage__S3__Bucket": "abc"}, "MissingParameter"),
    ({}, "MissingParameter"), ({"Storage__S3__Bucket": "A_B", "Storage__S3__Prefix": "x"}, "InvalidParameterValue"),
    ({"Storage__S3__Bucket": ".exports.1", "Storage__S3__Prefix": "x"}, "InvalidParameterValue"),
    ({"Storage__S3__Bucket": "abc", "Storage__S3__Prefix": "x", "Storage__S3__UploadPolicy": "e30="}, "MissingParameter"),
    ({"Storage__S3__Bucket": "abc", "Storage__S3__Prefix": "x", "Storage__S3__UploadPolicySignature": "e30="},
     "MissingParameter"),
    ({"Storage__S3__Bucket": "abc", "Storage__S3__Prefix": "x", "Storage__S3__UploadPolicy": "e30=",
      "Storage__S3__UploadPolicySignature": "e30="}, "MissingParameter"),
    ({"Storage__S3__Bucket": "abc", "Storage__S3__Prefix": "x" * 1001}, "InvalidParameterValue"),
])
def test_storage_that_is_none(clc, account, instance, bad, code):
    check_error(clc.ec2(account, "BundleInstance", InstanceId=instance, **bad), 400, code)


def test_policies_of_another_owner(clc, account, instance):
    """The owner of the bucket signs: the parts are written by that account's rights."""
    task = check_ec2(bundle(clc, account, instance, **signed(clc.other, ALLOWED)), "BundleInstance").text("bundleId")
    assert clc.rows("SELECT account_id, writer_id FROM bundle_task WHERE task_id = ?", task) == [
        (account.id, clc.other.id)]


REFUSED = [
    ([{"acl": "ec2-bundle-read"}, ["starts-with", "$key", "image"]], "UnauthorizedOperation"),            # no bucket
    ([{"bucket": "my-bundles"}, {"acl": "ec2-bundle-read"}], "UnauthorizedOperation"),                    # no key
    ([{"bucket": "other"}, ["starts-with", "$key", "image"]], "UnauthorizedOperation"),
    ([{"bucket": "my-bundles"}, ["starts-with", "$key", "images/"]], "UnauthorizedOperation"),
    ([{"bucket": "my-bundles"}, {"acl": "public-read"}, ["starts-with", "$key", "image"]], "UnauthorizedOperation"),
    ([{"bucket": "my-bundles"}, {"key": "image"}], "UnauthorizedOperation"),                              # one key only
    ([{"bucket": "my-bundles"}, ["starts-with", "$key", ""], ["content-length-range", 0, 100]], "UnauthorizedOperation"),
    ([{"bucket": "my-bundles"}, ["starts-with", "$key", ""], {"x-amz-meta-a": "b"}], "UnauthorizedOperation"),
    ([{"bucket": "my-bundles"}, ["like", "$key", ""]], "InvalidPolicyDocument"),
    ([{"bucket": "my-bundles"}, ["starts-with", "key", ""]], "InvalidPolicyDocument"),
    ("{", "InvalidPolicyDocument"), ("", "InvalidPolicyDocument"), ("[]", "InvalidPolicyDocument"),
    ('{"conditions": []}', "InvalidPolicyDocument"), ('{"expiration": "soon", "conditions": []}', "InvalidPolicyDocument"),
]


@pytest.mark.parametrize("conditions,code", REFUSED)
def test_policies_that_do_not_allow_it(clc, account, instance, conditions, code):
    check_error(bundle(clc, account, instance, **signed(clc.other, conditions)), 403 if code == "UnauthorizedOperation" else 400,
                code)
    assert tasks(clc, account).all("bundleId") == []


def test_policies_and_who_signed_them(clc, account, instance):
    check_error(bundle(clc, account, instance, **signed(account, ALLOWED, expires_s=-1)), 403, "UnauthorizedOperation")
    forged = {**signed(account, ALLOWED), "AWSAccessKeyId": clc.other.key}
    check_error(bundle(clc, account, instance, **forged), 403, "SignatureDoesNotMatch")
    check_error(bundle(clc, account, instance, **{**forged, "AWSAccessKeyId": "AKIANOSUCHKEY"}), 401, "AuthFailure")
    # without a policy a key gives no rights but one's own
    check_error(bundle(clc, account, instance, AWSAccessKeyId=clc.other.key), 403, "UnauthorizedOperation")
    check_ec2(bundle(clc, account, instance, AWSAccessKeyId=account.key), "BundleInstance")


def test_amazons_client_signs_a_policy(clc, account, instance):
    done = subprocess.run(
        ["/usr/bin/aws", "ec2", "bundle-instance", "--endpoint-url", f"http://127.0.0.1:{clc.port}", "--instance-id",
         instance, "--bucket", "my-bundles", "--prefix", "image", "--owner-akid", clc.other.key, "--owner-sak",
         clc.other.secret], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "AWS_ACCESS_KEY_ID": account.key, "AWS_SECRET_ACCESS_KEY": account.secret,
             "AWS_DEFAULT_REGION": front.REGION})
    assert done.returncode == 0, done.stderr
    task = json.loads(done.stdout)["BundleTask"]
    assert task["State"] == "pending" and task["Storage"]["S3"]["Bucket"] == "my-bundles"
    assert clc.rows("SELECT writer_id FROM bundle_task WHERE task_id = ?", task["BundleId"]) == [(clc.other.id,)]


def test_boto_2_signs_one_as_well(clc, account, instance):
    connection = boto.connect_ec2(account.key, account.secret, is_secure=False, host="127.0.0.1", port=clc.port, path="/",
                                  region=boto.ec2.RegionInfo(name=front.REGION, endpoint="127.0.0.1"))
    listed = connection.get_all_bundle_tasks()
    assert listed == []
    bundle(clc, account, instance)
    task, = connection.get_all_bundle_tasks()
    assert (task.state, task.bucket, task.prefix, task.instance_id) == ("pending", "my-bundles", "image", instance)
    assert connection.cancel_bundle_task(task.id).state == "cancelling"


def test_filters(clc, account, instance):
    made = bundle(clc, account, instance)
    task = made.text("bundleId")
    clc.rows("UPDATE bundle_task SET error_code = 'Client.X', error_message = 'why', progress = 20 WHERE task_id = ?", task)
    matching = {"bundle-id": task, "error-code": "Client.*", "error-message": "why", "instance-id": instance,
                "progress": "20%", "s3-bucket": "my-*", "s3-prefix": "image", "state": "pending",
                "start-time": made.text("startTime"), "update-time": "20*"}
    for name, value in matching.items():
        found = tasks(clc, account, Filter__1__Name=name, Filter__1__Value__1=value)
        assert found.all("bundleId") == [task], name
        assert found.text("code") == "Client.X" and found.text("message") == "why"
        assert tasks(clc, account, Filter__1__Name=name, Filter__1__Value__1="no").all("bundleId") == [], name


def test_ids_that_are_none(clc, account, instance):
    task = bundle(clc, account, instance).text("bundleId")
    assert tasks(clc, clc.other).all("bundleId") == []
    for who, bad in ((clc.other, task), (account, "bun-00000000"), (account, "x")):
        check_error(clc.ec2(who, "DescribeBundleTasks", BundleId__1=bad), 400, "InvalidBundleID.NotFound")
        check_error(clc.ec2(who, "CancelBundleTask", BundleId=bad), 400, "InvalidBundleID.NotFound")
    check_error(clc.ec2(account, "DescribeBundleTasks", BundleId__1=task, BundleId__2="bun-00000000"), 400,
                "InvalidBundleID.NotFound")


def test_cancelling(clc, account, instance):
    task = bundle(clc, account, instance).text("bundleId")
    reply = check_ec2(clc.ec2(account, "CancelBundleTask", BundleId=task), "CancelBundleTask")
    assert reply.text("state") == "cancelling" and reply.text("bundleId") == task
    check_error(clc.ec2(account, "CancelBundleTask", BundleId=task), 400, "IncorrectState")
    for state in ("complete", "failed"):
        clc.rows("UPDATE bundle_task SET state = ? WHERE task_id = ?", state, task)
        check_error(clc.ec2(account, "CancelBundleTask", BundleId=task), 400, "IncorrectState")
    # it is free again: it never stopped
    check_ec2(bundle(clc, account, instance), "BundleInstance")


def test_a_kill_loses_no_task(clc, account, instance):
    task = bundle(clc, account, instance).text("bundleId")
    image = clc.ec2(account, "CreateImage", InstanceId=instance, Name="later")
    check_error(image, 400, "BundlingInProgress")
    clc.stop(signal.SIGKILL)
    clc.start()
    assert tasks(clc, account, BundleId__1=task).text("state") == "pending"


# -- CreateImage --

def create(clc, account, instance, name="an image of it", **more):
    return clc.ec2(account, "CreateImage", InstanceId=instance, Name=name, **more)


def test_the_image_is_pending_at_once(clc, account, instance):
    clc.rows("UPDATE instance SET kernel_id = ? WHERE instance_id = ?", clc.kernel, instance)
    made = check_ec2(create(clc, account, instance, Description="what it is", NoReboot="false",
                            TagSpecification__1__ResourceType="image", TagSpecification__1__Tag__1__Key="k",
                            TagSpecification__1__Tag__1__Value="v", BlockDeviceMapping__1__DeviceName="/dev/vdb",
                            BlockDeviceMapping__1__VirtualName="ephemeral0"), "CreateImage").text("imageId")
    reply = check_ec2(clc.ec2(account, "DescribeImages", ImageId__1=made), "DescribeImages")
    assert reply.text("imageState") == "pending" and reply.text("name") == "an image of it"
    assert reply.text("description") == "what it is" and reply.text("kernelId") == clc.kernel
    assert reply.text("architecture") == "x86_64" and reply.text("rootDeviceType") == "instance-store"
    assert reply.text("imageLocation") == f"{account.id}/an image of it"
    assert reply.text("deviceName") == "/dev/vdb" and reply.text("virtualName") == "ephemeral0"
    assert (reply.text("key"), reply.text("value")) == ("k", "v")
    # it is no bundle task of the user's, and can't be launched yet
    assert tasks(clc, account).all("bundleId") == []
    check_error(clc.ec2(account, "RunInstances", ImageId=made, MinCount="1", MaxCount="1"), 400, "InvalidAMIID.Unavailable")


@pytest.mark.parametrize("params,code", [
    ({"Name": "x"}, "InvalidAMIName.Malformed"), ({"Name": "no; good"}, "InvalidAMIName.Malformed"),
    ({"NoReboot": "true"}, "UnsupportedOperation"),
    ({"TagSpecification__1__ResourceType": "snapshot", "TagSpecification__1__Tag__1__Key": "k"}, "InvalidParameterValue"),
    ({"BlockDeviceMapping__1__DeviceName": "/dev/vdb", "BlockDeviceMapping__1__Ebs__VolumeSize": "8"},
     "UnsupportedOperation"),
    ({"BlockDeviceMapping__1__DeviceName": "/dev/vdb"}, "InvalidBlockDeviceMapping"),
    ({"BlockDeviceMapping__1__VirtualName": "ephemeral0"}, "MissingParameter"),
])
def test_images_that_are_not_made(clc, account, instance, params, code):
    check_error(create(clc, account, instance, **{"name": params.get("Name", "an image of it"),
                                                  **{k: v for k, v in params.items() if k != "Name"}}), 400, code)
    assert clc.rows("SELECT COUNT(*) FROM bundle_task WHERE instance_id = ?", instance) == [(0,)]


def test_names_are_given_once(clc, account, instance):
    check_error(create(clc, account, instance, name=account.image), 400, "InvalidAMIName.Duplicate")
    assert clc.rows("SELECT COUNT(*) FROM bundle_task WHERE instance_id = ?", instance) == [(0,)]


def test_it_is_not_started_while_its_image_is_made(clc, account, instance):
    check_ec2(create(clc, account, instance), "CreateImage")
    set_state(clc, instance, "stopped")
    reply = clc.ec2(account, "StartInstances", InstanceId__1=instance)
    check_error(reply, 400, "IncorrectInstanceState")
    assert "image" in reply.message


def test_an_image_deregistered_is_wanted_no_more(clc, account, instance):
    made = create(clc, account, instance).text("imageId")
    clc.rows("UPDATE bundle_task SET state = 'waiting-for-shutdown' WHERE image_id = ?", made)
    set_state(clc, instance, "stopped")
    check_ec2(clc.ec2(account, "DeregisterImage", ImageId=made), "DeregisterImage")
    end = time.monotonic() + 20
    state = "SELECT state FROM bundle_task WHERE image_id = ?"
    while clc.rows(state, made) != [("cancelling",)]:
        assert time.monotonic() < end, clc.rows(state, made)
        time.sleep(0.2)
    # and the instance is back where it was
    assert clc.rows("SELECT wanted, export_id FROM instance WHERE instance_id = ?", instance) == [("running", None)]


def test_an_instance_that_ends_takes_its_image_along(clc, account, instance):
    made = create(clc, account, instance).text("imageId")
    clc.rows("UPDATE bundle_task SET state = 'bundling' WHERE image_id = ?", made)
    set_state(clc, instance, "terminated")
    end = time.monotonic() + 20
    while clc.ec2(account, "DescribeImages", ImageId__1=made).text("imageState") != "failed":
        assert time.monotonic() < end
        time.sleep(0.2)
    reply = check_ec2(clc.ec2(account, "DescribeImages", ImageId__1=made), "DescribeImages")
    assert reply.find("stateReason").find("{*}code").text == "Client.InstanceTerminated"
