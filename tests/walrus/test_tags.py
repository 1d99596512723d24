"""Tags of buckets, and other settings that are one word."""
import pytest
from test_objects import code


def tags(*pairs):
    return {"TagSet": [{"Key": k, "Value": v} for k, v in pairs]}


def test_tags_of_a_bucket(s3, bucket):
    assert code(s3.get_bucket_tagging, Bucket=bucket) == ("NoSuchTagSet", 404)
    s3.put_bucket_tagging(Bucket=bucket, Tagging=tags(("stage", "test"), ("Größe", "a b+c")))
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags(("stage", "test"), ("Größe", "a b+c"))["TagSet"]
    s3.put_bucket_tagging(Bucket=bucket, Tagging=tags(*((f"k{i}", "") for i in range(50))))
    assert len(s3.get_bucket_tagging(Bucket=bucket)["TagSet"]) == 50
    s3.delete_bucket_tagging(Bucket=bucket)
    assert code(s3.get_bucket_tagging, Bucket=bucket) == ("NoSuchTagSet", 404)


@pytest.mark.parametrize("pairs, wanted", [
    ([("a", "1"), ("a", "2")], "InvalidTag"), ([("aws:a", "1")], "InvalidTag"),
    ([("a" * 129, "1")], "InvalidTag"), ([("a", "b" * 257)], "InvalidTag"), ([("a", "<b>")], "InvalidTag"),
    ([(f"k{i}", "") for i in range(51)], "BadRequest")])
def test_tags_that_are_none(s3, bucket, pairs, wanted):
    assert code(s3.put_bucket_tagging, Bucket=bucket, Tagging=tags(*pairs)) == (wanted, 400)
    assert code(s3.get_bucket_tagging, Bucket=bucket) == ("NoSuchTagSet", 404)


def test_payment_and_acceleration(s3, bucket):
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket=bucket)
    put = s3.put_bucket_accelerate_configuration
    assert code(put, Bucket=bucket, AccelerateConfiguration={"Status": "Enabled"}) == ("InvalidRequest", 400)
    put(Bucket=bucket, AccelerateConfiguration={"Status": "Suspended"})
    assert s3.get_bucket_accelerate_configuration(Bucket=bucket)["Status"] == "Suspended"
