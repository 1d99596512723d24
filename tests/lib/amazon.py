"""Amazon's own model of its APIs, as the clients installed bring it: the newest of awscli's and botocore's.

What clients may send (`parameters`, `filters`), what they may get (`load`), and which errors (`ERRORS`).
"""
import glob
import json
import os
import re

import botocore

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")
PLACES = [*botocore.__path__, "/usr/lib/python3/dist-packages/awscli/botocore"]


def load(service, version):
    """The model with the most operations, then the most shapes."""
    found = []
    for place in PLACES:
        for path in glob.glob(f"{place}/data/{service}/{version}/service-2.json"):
            with open(path, encoding="utf-8") as file:
                model = json.load(file)
            found.append((len(model["operations"]), len(model["shapes"]), path, model))
    assert found, f"no model of {service} {version} below {PLACES}"
    return max(found, key=lambda f: f[:3])[3]


EC2 = load("ec2", "2016-11-15")
STS = load("sts", "2011-06-15")
SHAPES = EC2["shapes"]
# Documented since, and not in the model of every client: (input, output).
NEWER = {
    "GetInstanceMetadataDefaults": (
        {"DryRun": "boolean"},
        {"accountLevel": {"httpTokens": "string", "httpPutResponseHopLimit": "integer", "httpEndpoint": "string",
                          "instanceMetadataTags": "string", "managedBy": "string", "managedExceptionMessage": "string"}}),
    "ModifyInstanceMetadataDefaults": (
        {"HttpTokens": "string", "HttpPutResponseHopLimit": "integer", "HttpEndpoint": "string",
         "InstanceMetadataTags": "string", "DryRun": "boolean"},
        {"return": "boolean"}),
}
# Parameters that the model has not, of operations that it has: {operation: {name: type}}.
NEWER_PARAMETERS = {
    "StopInstances": {"SkipOsShutdown": "boolean"}, "TerminateInstances": {"Force": "boolean", "SkipOsShutdown": "boolean"},
}


def add_shape(name, shape):
    """`shape`: the name of a simple type, or {member: shape}."""
    if isinstance(shape, str):
        SHAPES.setdefault(name, {"type": shape})
        return
    made = SHAPES.setdefault(name, {"type": "structure", "members": {}})["members"]
    for member, inner in shape.items():
        if member not in made:
            made[member] = {"shape": f"{name}.{member}", "locationName": member}
            add_shape(f"{name}.{member}", inner)


def add_newer():
    for name, (given, told) in NEWER.items():
        if name not in EC2["operations"]:
            add_shape(f"{name}Request", given)
            add_shape(f"{name}Result", told)
            EC2["operations"][name] = {"name": name, "input": {"shape": f"{name}Request"},
                                       "output": {"shape": f"{name}Result"}}
    for name, given in NEWER_PARAMETERS.items():
        add_shape(EC2["operations"][name]["input"]["shape"], given)


add_newer()


def wire(name, member):
    """A member's name in Query requests."""
    local = member.get("locationName", name)
    return member.get("queryName") or local[:1].upper() + local[1:]


def plain(shape_name):
    """(shape without its lists, how deep they were)"""
    depth = 0
    while SHAPES[shape_name]["type"] == "list":
        shape_name, depth = SHAPES[shape_name]["member"]["shape"], depth + 1
    return shape_name, depth


def members(shape_name):
    """{wire name: (shape, is list, member)} of a structure."""
    found = {}
    for name, member in SHAPES[shape_name].get("members", {}).items():
        inner, depth = plain(member["shape"])
        found[wire(name, member)] = (inner, depth > 0, member)
    return found


def parameters(action):
    shape = EC2["operations"][action].get("input")
    return members(shape["shape"]) if shape else {}


def filters(action):
    """Names of filters, from the documentation of the parameter: there is no other list."""
    shape = EC2["operations"][action].get("input")
    listed, depth = [], 0
    for name in ("Filters", "Filter"):
        member = SHAPES[shape["shape"]]["members"].get(name) if shape else None
        # A list within the list has values of a filter.
        for found in re.finditer(r"<(/?)ul>|<li> ?<p> ?<code>([^<]+)</code>", member.get("documentation", "") if member else ""):
            if found[2] is None:
                depth += -1 if found[1] else 1
            elif depth == 1:
                listed.append(found[2].strip())
    return [f for f in listed if not f.startswith("tag:") and f not in ("tag", "tag-key", "tag-value")]


def is_paginated(action):
    return {"MaxResults", "NextToken"} <= set(parameters(action))


def read_errors():
    """{code: (statuses, kind, source)} of data/ec2_errors.tsv."""
    found = {}
    with open(os.path.join(DATA, "ec2_errors.tsv"), encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                code, statuses, kind, source = line.rstrip("\n").split("\t")
                assert code not in found, f"'{code}' is there twice"
                found[code] = ({int(s) for s in statuses.split("|")}, kind, source)
    return found


ERRORS = read_errors()
