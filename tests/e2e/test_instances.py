"""Instances as users see and change them: with one guest what reaches it, and without any what is only kept."""
import base64

import botocore.auth
import botocore.awsrequest
import botocore.httpsession
import pytest
from botocore.exceptions import ClientError

import cloud as lib

GET = "timeout 5 wget -q -O - http://169.254.169.254/latest/meta-data"


def refused(code, body):
    with pytest.raises(ClientError) as problem:
        body()
    assert problem.value.response["Error"]["Code"] == code


@pytest.fixture(scope="module")
def guest_of_ours(cloud):
    one = cloud.booted(InstanceType="t2.micro")
    yield one
    cloud.ec2.modify_instance_attribute(InstanceId=one, DisableApiTermination={"Value": False})
    cloud.terminate(one)


def test_its_node_is_well(cloud, guest_of_ours):
    status, = cloud.ec2.describe_instance_status(InstanceIds=[guest_of_ours])["InstanceStatuses"]
    assert status["InstanceState"]["Name"] == "running" and status["SystemStatus"]["Status"] == "ok"
    assert status["SystemStatus"]["Details"] == [{"Name": "reachability", "Status": "passed"}]
    cloud.ec2.report_instance_status(Instances=[guest_of_ours], Status="impaired", ReasonCodes=["other"], Description="slow")


def test_metadata_options_reach_a_guest_that_runs(cloud, guest_of_ours):
    guest = cloud.guest(guest_of_ours)
    boots = guest.boots()
    assert guest.sh(f"{GET}/instance-id") == guest_of_ours
    said = cloud.ec2.modify_instance_metadata_options(InstanceId=guest_of_ours, HttpTokens="required", HttpPutResponseHopLimit=2)
    assert said["InstanceMetadataOptions"]["HttpTokens"] == "required"
    lib.eventually("version 2 only", 20, lambda: guest.sh(f"{GET}/instance-id", check=False) == "")
    lib.eventually("said to be applied", 20, lambda: cloud.describe(guest_of_ours)["MetadataOptions"]["State"] == "applied")
    cloud.ec2.modify_instance_metadata_options(InstanceId=guest_of_ours, HttpTokens="optional")
    lib.eventually("version 1 again", 20, lambda: guest.sh(f"{GET}/instance-id", check=False) == guest_of_ours)
    assert guest.boots() == boots


def test_a_password_written_on_the_console(cloud, guest_of_ours):
    assert cloud.ec2.get_password_data(InstanceId=guest_of_ours)["PasswordData"] == ""
    text = base64.b64encode(b"sealed" * 30).decode()
    cloud.guest(guest_of_ours).sh(f"echo '<Password>{text}</Password>' > /dev/console")
    lib.eventually("the password", 20,
                   lambda: cloud.ec2.get_password_data(InstanceId=guest_of_ours)["PasswordData"] == text)


def test_another_type_after_a_stop(cloud, guest_of_ours):
    refused("IncorrectInstanceState", lambda: cloud.ec2.modify_instance_attribute(
        InstanceId=guest_of_ours, InstanceType={"Value": "m1.large"}))
    cloud.ec2.stop_instances(InstanceIds=[guest_of_ours])
    cloud.wait(guest_of_ours, "stopped")
    cloud.ec2.modify_instance_attribute(InstanceId=guest_of_ours, InstanceType={"Value": "m1.large"})
    cloud.ec2.modify_instance_attribute(InstanceId=guest_of_ours, UserData={"Value": b"changed"})
    cloud.ec2.start_instances(InstanceIds=[guest_of_ours])
    cloud.wait(guest_of_ours, "running")
    guest = cloud.guest(guest_of_ours)
    guest.wait()
    assert guest.sh("nproc") == "2"
    assert guest.sh("timeout 5 wget -q -O - http://169.254.169.254/latest/user-data") == "changed"


def test_groups_and_checks_of_one_that_runs(cloud, guest_of_ours):
    group = cloud.describe(guest_of_ours)["SecurityGroups"][0]["GroupId"]
    cloud.ec2.modify_instance_attribute(InstanceId=guest_of_ours, Groups=[group])
    cloud.ec2.modify_instance_attribute(InstanceId=guest_of_ours, SourceDestCheck={"Value": False})
    assert cloud.ec2.describe_instance_attribute(InstanceId=guest_of_ours, Attribute="sourceDestCheck")[
        "SourceDestCheck"] == {"Value": False}
    cloud.ec2.reset_instance_attribute(InstanceId=guest_of_ours, Attribute="sourceDestCheck")
    assert cloud.describe(guest_of_ours)["SourceDestCheck"] is True
    assert cloud.guest(guest_of_ours).sh("hostname")  # it is reached as before


def test_what_is_only_kept(cloud, guest_of_ours):
    ids = [guest_of_ours]
    assert cloud.ec2.monitor_instances(InstanceIds=ids)["InstanceMonitorings"][0]["Monitoring"]["State"] == "pending"
    assert cloud.describe(guest_of_ours)["Monitoring"]["State"] == "enabled"
    assert cloud.ec2.unmonitor_instances(InstanceIds=ids)["InstanceMonitorings"][0]["Monitoring"]["State"] == "disabling"
    assert cloud.ec2.modify_instance_maintenance_options(InstanceId=guest_of_ours, AutoRecovery="disabled")[
        "AutoRecovery"] == "disabled"
    assert not cloud.ec2.confirm_product_instance(InstanceId=guest_of_ours, ProductCode="774F4FF8")["Return"]
    assert cloud.ec2.describe_instance_credit_specifications()["InstanceCreditSpecifications"] == []
    said = cloud.ec2.modify_instance_credit_specification(InstanceCreditSpecifications=[
        {"InstanceId": guest_of_ours, "CpuCredits": "unlimited"}])  # m1.large by now
    assert said["UnsuccessfulInstanceCreditSpecifications"][0]["Error"]["Code"] == "InstanceCreditSpecification.NotSupported"
    cloud.ec2.modify_instance_attribute(InstanceId=guest_of_ours, DisableApiTermination={"Value": True})
    refused("OperationNotPermitted", lambda: cloud.ec2.terminate_instances(InstanceIds=ids))


def test_there_are_no_instance_profiles(cloud, guest_of_ours):
    assert cloud.ec2.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"] == []
    refused("InvalidParameterValue", lambda: cloud.ec2.associate_iam_instance_profile(
        InstanceId=guest_of_ours, IamInstanceProfile={"Name": "web"}))
    known = "iip-assoc-0123456789abcdef0"
    refused("InvalidAssociationID.NotFound", lambda: cloud.ec2.disassociate_iam_instance_profile(AssociationId=known))
    refused("InvalidAssociationID.NotFound", lambda: cloud.ec2.replace_iam_instance_profile_association(
        AssociationId=known, IamInstanceProfile={"Name": "web"}))


def test_metadata_defaults_of_the_account(cloud):
    """Newer than the client that is installed: asked by hand."""
    def call(action, **words):
        client = cloud.ec2
        request = botocore.awsrequest.AWSRequest("POST", client.meta.endpoint_url, data={
            "Action": action, "Version": "2016-11-15", **words})
        botocore.auth.SigV4Auth(client._request_signer._credentials, "ec2", client.meta.region_name).add_auth(request)
        answer = botocore.httpsession.URLLib3Session().send(request.prepare())
        assert answer.status_code == 200, answer.text
        return answer.text
    assert "<return>true</return>" in call("ModifyInstanceMetadataDefaults", HttpTokens="required")
    try:
        assert "<httpTokens>required</httpTokens>" in call("GetInstanceMetadataDefaults")
    finally:
        call("ModifyInstanceMetadataDefaults", HttpTokens="no-preference")
    assert "httpTokens" not in call("GetInstanceMetadataDefaults")
