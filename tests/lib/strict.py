"""Replies held against Amazon's own model (amazon.py): every element must be a member of its
shape, every value must read as its type, and nothing may be there twice. botocore itself forgives all three."""
import base64
import re

from amazon import EC2, STS

EXTRA = {  # documented by Amazon, but no part of its model of the output, or newer than the model installed
    "RebootInstances": {"return"}, "DeregisterImage": {"return"}, "ModifyImageAttribute": {"return"},
    "ResetImageAttribute": {"return"}, "DeleteKeyPair": {"return", "keyPairId"},
    "ModifyIdFormat": {"return"}, "ModifyIdentityIdFormat": {"return"}, "CreateTags": {"return"}, "DeleteTags": {"return"},
    "DeletePlacementGroup": {"return"},
    "ReportInstanceStatus": {"return"}, "ModifyInstanceAttribute": {"return"}, "ResetInstanceAttribute": {"return"},
}
MASKED = "***"  # a secret, in answers that were recorded
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


def local(element):
    return element.tag.split("}")[-1]


def check(model, element, shape_name, where):
    shape = model["shapes"][shape_name]
    kind = shape["type"]
    text = element.text or ""
    if kind == "structure":
        assert not text.strip(), f"{where}: text in a structure"
        names = {m.get("locationName", n): m["shape"] for n, m in shape["members"].items()}
        seen = set()
        for child in element:
            name = local(child)
            assert name in names, f"{where}: '{name}' is no member of {shape_name}"
            assert name not in seen, f"{where}: '{name}' twice"
            seen.add(name)
            check(model, child, names[name], f"{where}.{name}")
    elif kind == "list":
        assert not text.strip(), f"{where}: text in a list"
        for i, child in enumerate(element):
            assert local(child) == shape["member"].get("locationName", "member"), f"{where}: <{local(child)}> in a list"
            check(model, child, shape["member"]["shape"], f"{where}[{i}]")
    else:
        assert not len(element), f"{where}: elements in a {kind}"
        if kind in ("integer", "long"):
            assert re.match(r"^-?\d+$", text), f"{where}: '{text}' is no {kind}"
        elif kind in ("double", "float"):
            assert re.match(r"^-?\d+(\.\d+)?$", text), f"{where}: '{text}' is no {kind}"
        elif kind == "boolean":
            assert text in ("true", "false"), f"{where}: '{text}' is no boolean"
        elif kind == "timestamp":
            assert TIME.match(text), f"{where}: '{text}' is no time"
        elif kind == "blob" and text != MASKED:
            base64.b64decode(text, validate=True)
        elif kind != "blob":
            assert kind == "string", kind
            if "enum" in shape and text:
                assert text in shape["enum"] or shape_name == "InstanceType", f"{where}: '{text}' is no {shape_name}"


def check_ec2(reply, action, version="2016-11-15"):
    assert reply.status == 200, reply
    assert action in EC2["operations"], f"'{action}' is no action of Amazon's"
    assert reply.headers["Content-Type"] == "text/xml;charset=UTF-8"
    root = reply.xml
    assert root.tag == f"{{http://ec2.amazonaws.com/doc/{version}/}}{action}Response"
    assert local(root[0]) == "requestId" and len(root[0].text) == 36
    extra = EXTRA.get(action, set())
    output = EC2["operations"][action].get("output")
    names = {}
    if output:
        names = {m.get("locationName", n): m["shape"]
                 for n, m in EC2["shapes"][output["shape"]]["members"].items()}
    seen = set()
    for child in root[1:]:
        name = local(child)
        assert name in names or name in extra, f"{action}: '{name}' is not in the model"
        assert name not in seen
        seen.add(name)
        if name in names:
            check(EC2, child, names[name], f"{action}.{name}")
    return reply


def check_sts(reply, action):
    assert reply.status == 200, reply
    root = reply.xml
    assert root.tag == f"{{https://sts.amazonaws.com/doc/2011-06-15/}}{action}Response"
    assert [local(c) for c in root] == [f"{action}Result", "ResponseMetadata"]
    check(STS, root[0], STS["operations"][action]["output"]["shape"], action)
    assert [local(c) for c in root[1]] == ["RequestId"] and len(root[1][0].text) == 36
    return reply


def check_error(reply, status, code, message=None, iam=False):
    assert (reply.status, reply.code) == (status, code), reply
    assert reply.headers["Content-Type"] == "text/xml;charset=UTF-8"
    if iam:
        root = reply.xml
        assert local(root) == "ErrorResponse" and [local(c) for c in root] == ["Error", "RequestId"], reply
        assert [local(c) for c in root[0]] == ["Type", "Code", "Message"]
        assert root[0][0].text == ("Sender" if status < 500 else "Receiver")
        assert len(root[1].text) == 36
    else:
        root = reply.xml
        assert root.tag == "Response" and [c.tag for c in root] == ["Errors", "RequestID"], reply
        assert [c.tag for c in root[0]] == ["Error"] and [c.tag for c in root[0][0]] == ["Code", "Message"]
        assert len(root[1].text) == 36
    assert reply.message, reply
    if message is not None:
        assert message in reply.message, reply.message
    return reply
