"""Launch templates: a guest that is launched with one is as the template says."""
import base64

from cloud import ClientError, code_of

SCRIPT = b"#!/bin/sh\necho from-a-template\n"


def test_a_template_and_its_versions(cloud, tidy):
    ec2 = cloud.ec2
    image = cloud.image
    made = ec2.create_launch_template(LaunchTemplateName="e2e-web", LaunchTemplateData={
        "ImageId": image, "InstanceType": "t2.micro", "UserData": base64.b64encode(SCRIPT).decode()})["LaunchTemplate"]
    template = made["LaunchTemplateId"]
    try:
        ec2.create_launch_template_version(LaunchTemplateId=template, SourceVersion="1", LaunchTemplateData={
            "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "role", "Value": "web"}]}]})
        assert ec2.modify_launch_template(LaunchTemplateId=template, DefaultVersion="2")["LaunchTemplate"][
            "DefaultVersionNumber"] == 2
        assert [v["VersionNumber"] for v in ec2.describe_launch_template_versions(LaunchTemplateName="e2e-web")[
            "LaunchTemplateVersions"]] == [2, 1]
        assert ec2.describe_launch_templates(LaunchTemplateIds=[template])["LaunchTemplates"][0]["LatestVersionNumber"] == 2
        one = ec2.run_instances(LaunchTemplate={"LaunchTemplateId": template}, MinCount=1, MaxCount=1)["Instances"][0]
        tags = {t["Key"]: t["Value"] for t in one["Tags"]}
        assert tags == {"role": "web", "aws:ec2launchtemplate:id": template, "aws:ec2launchtemplate:version": "2"}
        cloud.wait(one["InstanceId"], "running")
        data = ec2.get_launch_template_data(InstanceId=one["InstanceId"])["LaunchTemplateData"]
        assert (data["ImageId"], base64.b64decode(data["UserData"])) == (image, SCRIPT)
        gone = ec2.delete_launch_template_versions(LaunchTemplateId=template, Versions=["1", "2"])
        assert [v["VersionNumber"] for v in gone["SuccessfullyDeletedLaunchTemplateVersions"]] == [1]
        assert [v["VersionNumber"] for v in gone["UnsuccessfullyDeletedLaunchTemplateVersions"]] == [2]
    finally:
        ec2.delete_launch_template(LaunchTemplateId=template)
    try:
        ec2.run_instances(LaunchTemplate={"LaunchTemplateId": template}, MinCount=1, MaxCount=1)
        raise AssertionError("launched with a template that is gone")
    except ClientError as problem:
        assert code_of(problem) == "InvalidLaunchTemplateId.NotFound"
