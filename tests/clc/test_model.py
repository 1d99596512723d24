"""Every parameter and filter of Amazon's model, for every action that is served: declared, and as declared.

All of this is generated from the definitions (`tools/apigen --json`) and from the model (../lib/amazon.py), so that a
new action is covered by being there; parameters.py has what cannot be derived.
"""
import fnmatch
import os
import re
import xml.etree.ElementTree as ElementTree

import amazon
import front
import parameters
import pytest
from parameters import Refused
from strict import check_ec2, check_error, local
from world import OPERATIONS, World

ACTIONS = sorted(OPERATIONS)
# Answered by declaration, always with nothing or with one fault.
ANSWERED = {a for a in ACTIONS if OPERATIONS[a].get("answers")}
WITH_FILTERS = [a for a in ACTIONS if OPERATIONS[a]["filtered"] and a not in parameters.EMPTY]
PAGINATED = [a for a in ACTIONS if {"max_results", "next_token"} <= {f["name"] for f in OPERATIONS[a]["in"]}
             and a not in ANSWERED and a not in parameters.ONE_PAGE and a not in parameters.EMPTY]
FILTER = {a: next(f["query"] for f in OPERATIONS[a]["in"] if f["name"] == "filters") for a in WITH_FILTERS}
WITH_DRY_RUN = [a for a in ACTIONS if "dry_run" in {f["name"] for f in OPERATIONS[a]["in"]}]
# Tested by themselves below.
OF_ALL = {"dry_run", "filters", "max_results", "next_token"}
# Words that the model lists, held against what there is, or against a shorter list, by code: (action, path or its last word).
CHECKED_IN_CODE = {("*", "InstanceType"), ("*", "TagSpecification.ResourceType"), ("*", "LaunchPermission.Add.Group"),
                   ("*", "LaunchPermission.Remove.Group"), ("ReportInstanceStatus", "ReasonCode")}
unseen, seen_filters, unseen_filters = [], [], []


@pytest.fixture(scope="module")
def world():
    made = World(parameters.MAKERS)
    try:
        made.fill()
        parameters.fill(made)
        yield made
    finally:
        made.close()
    print(f"\nparameters served without a difference shown: {len(unseen)}; filters tried {len(seen_filters)}, "
          f"without a value here: {len(unseen_filters)}")


def row(table, action, path):
    return table.get((action, path), table.get(("*", path)))


def base(action, path=None):
    """The request that works; of a parameter that goes with others than most, its own."""
    words = (path or "").split(".")
    for i in range(len(words), 0, -1):
        if (action, ".".join(words[:i])) in parameters.BASE_OF:
            return dict(parameters.BASE_OF[(action, ".".join(words[:i]))])
    return dict(parameters.BASE.get(action, {}))


def context(action, path):
    """What goes with a parameter: that of its path and of all above it."""
    found, words = {}, path.split(".")
    for i in range(len(words)):
        found.update(row(parameters.CONTEXT, action, ".".join(words[:i + 1])) or {})
    kind = parameters.TAGGABLE.get(action, "instance")
    return {k: kind if v == "{taggable}" else v for k, v in found.items()}


def fields(action):
    """(path, name with indices, field, its shape in Amazon's model) of every parameter declared, deepest last."""
    shape = amazon.EC2["operations"][action].get("input", {}).get("shape")

    def below(described, shape_name, path, name):
        known = amazon.members(shape_name) if shape_name else {}
        for field in described or []:
            if "hidden" in field["options"]:
                continue
            inner, is_list, member = known.get(field["query"], (None, False, {}))
            at = f"{path}.{field['query']}".lstrip(".")
            called = f"{name}.{field['query']}".lstrip(".") + (".1" if field["list"] or is_list and field["type"] in (
                "refused", "ignored") else "")
            yield at, called, field, inner, member
            if field["type"] == "struct":
                yield from below(field["fields"], inner, at, called)
    yield from below(OPERATIONS[action]["in"], shape, "", "")


# -- everything is declared --

def undeclared(action):
    """Parameters of the model that the definition lacks."""
    def below(shape, described, prefix, within):
        ours = {f["query"]: f for f in described or [] if "hidden" not in f["options"]}
        for name, (inner, _, _) in amazon.members(shape).items():
            field = ours.get(name)
            if not field:
                yield prefix + name
            elif field["type"] == "struct" and inner not in within and amazon.SHAPES[inner]["type"] == "structure":
                yield from below(inner, field["fields"], f"{prefix}{name}.", (*within, inner))
    shape = amazon.EC2["operations"][action].get("input")
    return list(below(shape["shape"], OPERATIONS[action]["in"], "", ())) if shape else []


def test_actions_are_amazons():
    assert ACTIONS and set(ACTIONS) <= set(amazon.EC2["operations"])


def test_coverage_page():
    """A page for people: how much of Amazon's model is served. Of its counts, that they are of this model."""
    served = set(ACTIONS)
    rows = []
    for action in sorted(amazon.EC2["operations"]):
        if action in served:
            all_fields = [f for f in fields(action) if f[2]["type"] != "struct"]
            refused = [f for f in all_fields if f[2]["type"] == "refused"]
            rows.append(f"| {action} | served | {len(all_fields) - len(refused)} of {len(all_fields)} parameters |")
        else:
            rows.append(f"| {action} | | |")
    lines = ["# EC2: what of Amazon's model is served", "",
             f"{len(served)} of the {len(amazon.EC2['operations'])} actions of API version {amazon.EC2['metadata']['apiVersion']}, as "
             "the newest client installed here knows it.", "", "| action | | |", "|---|---|---|", *rows, ""]
    path = os.path.join(front.TOP, "build/docs/ec2-coverage.md")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines))
    assert sum("| served |" in row for row in rows) == len(served) > 0


@pytest.mark.parametrize("action", ACTIONS)
def test_every_parameter_is_declared(action):
    missing = undeclared(action)
    assert not missing, f"clc/api/ec2: {action} does not declare {', '.join(missing)}"


@pytest.mark.parametrize("action", [a for a in ACTIONS if amazon.filters(a)])
def test_every_filter_is_declared(action):
    ours = OPERATIONS[action]
    missing = [f for f in amazon.filters(action) if f not in ours["filters"]]
    assert not missing, f"clc/api/ec2: {action} does not declare the filters {', '.join(missing)}"


def test_nothing_is_made_up():
    """A parameter of ours that the model does not have is one of an older version of the API, or a newer, named here."""
    older = {("RunInstances", "AddressingType"), ("RunInstances", "AdditionalInfo"), ("ModifyImageAttribute", "ImdsSupport")}
    for action in ACTIONS:
        for path, _, field, shape, member in fields(action):
            if not shape and (action, path) not in older and not any(path.startswith(p + ".") for a, p in older if a == action):
                assert row(parameters.CONTEXT, action, "made up " + path) is not None, f"{action}: '{path}' is not Amazon's"


@pytest.mark.parametrize("action", [a for a in ACTIONS if a not in ANSWERED])
def test_every_choice_is_declared(action):
    """Where the model lists the words of a parameter so does the definition: what is taken may be shown again."""
    for path, _, field, shape, _ in fields(action):
        if not shape or field["type"] in ("refused", "ignored", "struct"):
            continue
        inner = amazon.SHAPES[shape]
        inner = amazon.SHAPES[inner["member"]["shape"]] if inner["type"] == "list" else inner
        in_code = {(action, path), ("*", path), ("*", path.split(".")[-1])} & CHECKED_IN_CODE
        assert "enum" not in inner or "choices" in field["options"] or in_code, f"{action}: '{path}' takes any word"


# -- what is refused --

def some_value(shape, neutral, name):
    """(name below, value) of something that is asked for in this shape."""
    kind = amazon.SHAPES[shape]["type"] if shape else "string"
    depth = 0
    while kind in ("structure", "list") and depth < 6:
        depth += 1
        if kind == "list":
            shape = amazon.SHAPES[shape]["member"]["shape"]
            name += ".1"
        else:
            inner = amazon.SHAPES[shape]["members"]
            if not inner:
                return name, "x"
            first = next(iter(inner))
            name, shape = f"{name}.{amazon.wire(first, inner[first])}", inner[first]["shape"]
        kind = amazon.SHAPES[shape]["type"]
    if kind == "boolean":
        return name, "false" if "true" in neutral else "true"
    choices = amazon.SHAPES[shape].get("enum", []) if shape else []
    for value in [*choices, "3", "7", "some-text"]:
        if value not in neutral:
            return name, value
    raise AssertionError(name)


@pytest.mark.parametrize("action", [a for a in ACTIONS if any(f[2]["type"] in ("refused", "ignored") for f in fields(a))])
def test_refused(world, action):
    """By name, all of them, and but for the values that ask for nothing."""
    for path, name, field, shape, _ in fields(action):
        if field["type"] not in ("refused", "ignored"):
            continue
        neutral = field["options"].get("neutral", "").split("|")
        form = world.fill_in({**base(action, path), **context(action, path)}, OPERATIONS[action]["mutates"])
        last = {"DryRun": "true"} if action in WITH_DRY_RUN else {}
        at, value = some_value(shape, neutral, name)
        reply = world.call(action, {**form, at: value, **last})
        if field["type"] == "ignored":
            assert reply.code in (None, "DryRunOperation"), (at, reply)
            continue
        check_error(reply, 400, "UnsupportedOperation")
        assert at.split(".")[0] in reply.message, (at, reply)
        for value in [n for n in neutral if n]:
            reply = world.call(action, {**form, name: value, **last})
            assert reply.code in (None, "DryRunOperation"), (name, value, reply)


# -- what there is nothing of --

@pytest.mark.parametrize("action", sorted(ANSWERED))
def test_nothing_is_there(world, action):
    """The same nothing for every filter, page and parameter; what is named is not there."""
    operation, required = OPERATIONS[action], {}
    for path, name, field, shape, _ in fields(action):
        if "required" in field["options"] and "." not in path and field["type"] != "struct":
            required[name] = next(iter(candidates(action, path, field, shape)))
    plain = world.call(action, required)
    if operation["answers"] == "empty":
        check_ec2(plain, action)
        assert not plain.all("item"), plain
    else:
        assert plain.status == 400, plain
        check_error(plain, 400, plain.code)
    for name in (operation["filters"] if operation["answers"] == "empty" else ()):
        assert not operation["filters"][name], f"{action}: '{name}' looks at something of nothing"
        form = {**required, f"{FILTER[action]}.1.Name": name, f"{FILTER[action]}.1.Value.1": "*"}
        assert not check_ec2(world.call(action, form), action).all("item")
    for path, name, field, shape, _ in fields(action):
        if "." in path or name in required or field["type"] in ("struct", "refused", "ignored") or field["name"] in OF_ALL:
            continue
        value = next(iter(candidates(action, path, field, shape)))
        reply = world.call(action, world.fill_in({**required, name: getattr(value, "value", value)}, False))
        if "absent" in field["options"]:
            reply = world.call(action, {**required, name: "nothing-12345678"})
            check_error(reply, 400, reply.code)
            assert reply.code.startswith("Invalid") or reply.code.endswith("NotFound"), (name, reply)
        elif reply.status != 200:
            assert reply.code == plain.code or reply.code.startswith("Invalid"), (name, reply)


# -- filters --

def items_of(action, reply):
    """Elements of the answer that are the struct that filters look at."""
    wanted, found = OPERATIONS[action]["filtered"], []

    def below(element, described):
        for field in described or []:
            for child in (c for c in element if local(c) == field["xml"]):
                inner = list(child) if field["list"] else [child]
                if field["type"] == "struct" and field["struct"] == wanted:
                    found.extend(inner)
                elif field["type"] == "struct":
                    for one in inner:
                        below(one, field["fields"])
    below(reply.xml, OPERATIONS[action]["out"])
    return found


def item_fields(action):
    def below(described):
        for field in described or []:
            if field["type"] == "struct" and field["struct"] == OPERATIONS[action]["filtered"]:
                return field["fields"]
            found = below(field["fields"])
            if found:
                return found
        return None
    return below(OPERATIONS[action]["out"])


def values_at(item, described, path):
    """Texts at a path of C names; None: the path leads over a field that is not in the answer."""
    name, _, rest = path.partition(".")
    field = next(f for f in described if f["name"] == name)
    if "hidden" in field["options"]:
        return None
    found = []
    for child in (c for c in item if local(c) == field["xml"]):
        for one in list(child) if field["list"] else [child]:
            if rest:
                inner = values_at(one, field["fields"], rest)
                if inner is None:
                    return None
                found += inner
            else:
                found.append(one.text or "")
    return found


def filtered(world, action, name, *values):
    form = {**world.fill_in(base(action), False), f"{FILTER[action]}.1.Name": name}
    form.update({f"{FILTER[action]}.1.Value.{i}": v for i, v in enumerate(values, 1)})
    return [ElementTree.tostring(i) for i in items_of(action, check_ec2(world.call(action, form), action))]


def check_tag_filter(world, action, everything, described):
    """tag:KEY looks at the value of that key alone."""
    at = "tags." if values_at(everything[0], described, "tags.key") is not None else ""  # an item that is itself a tag
    held = [list(zip(values_at(i, described, at + "key"), values_at(i, described, at + "value"))) for i in everything]
    pairs = sorted({p for h in held for p in h if p[1]})
    assert pairs, f"{action}: nothing here has a tag (world.fill)"
    for key, value in (pairs[0], pairs[-1]):
        expected = [ElementTree.tostring(i) for i, h in zip(everything, held) if (key, value) in h]
        assert filtered(world, action, f"tag:{key}", escaped(value)) == expected, (key, value)
        assert not filtered(world, action, f"tag:{key} no", escaped(value))
    seen_filters.append((action, "tag:"))


def escaped(value):
    return re.sub(r"([*?\\])", r"\\\1", value)


@pytest.mark.parametrize("action", [a for a in WITH_FILTERS if a not in ANSWERED])
def test_filters(world, action):
    """The value that an answer has finds what has it, and nothing else."""
    operation, described = OPERATIONS[action], item_fields(action)
    everything = items_of(action, check_ec2(world.call(action, world.fill_in(base(action), False)), action))
    assert everything, f"{action}: nothing to look for; parameters.MAKERS or world.fill"
    whole = [ElementTree.tostring(i) for i in everything]
    silent = []
    is_shown = operation["has_tags"] and "hidden" not in next(f for f in described if f["name"] == "tags")["options"]
    tags = {"tag-key": "tags.key", "tag-value": "tags.value"} if is_shown else {}
    if operation["has_tags"]:
        check_tag_filter(world, action, everything, described)
    for name, path in {**operation["filters"], **tags}.items():
        if not path:
            assert not filtered(world, action, name, "*"), f"{action}: '{name}' is of nothing here, but finds something"
            continue
        assert not filtered(world, action, name, "no such value"), name
        held = [values_at(i, described, path) for i in everything]
        if any(h is None for h in held):  # hidden
            value = row(parameters.FILTER_VALUES, action, name)
            if value:
                value = world.fill_in({"": value}, False)[""]
                assert filtered(world, action, name, value), (name, value)
                seen_filters.append((action, name))
            elif row(parameters.UNSEEN_FILTERS, action, name):
                unseen_filters.append((action, name))
            else:
                silent.append(f"{name} (not in the answer: parameters.FILTER_VALUES)")
            continue
        values = sorted({v for h in held for v in h if v})
        if not values:
            if row(parameters.UNSEEN_FILTERS, action, name):
                unseen_filters.append((action, name))
            else:
                silent.append(name)
            continue
        seen_filters.append((action, name))
        for value in (values[0], values[-1]):
            expected = [w for w, h in zip(whole, held) if value in h]
            assert filtered(world, action, name, escaped(value)) == expected, (name, value)
        for pattern in (value[:-1] + "?", value[:1] + "*"):
            if "[" in pattern:
                continue
            expected = [w for w, h in zip(whole, held) if any(fnmatch.fnmatchcase(v, pattern) for v in h)]
            assert filtered(world, action, name, pattern) == expected, (name, pattern)
        expected = [w for w, h in zip(whole, held) if values[0] in h or values[-1] in h]
        assert filtered(world, action, name, "no such", values[0], values[-1]) == expected, name
    assert not silent, f"{action}: nothing here has a value for the filters {', '.join(silent)} (parameters.UNSEEN_FILTERS)"


@pytest.mark.parametrize("action", WITH_FILTERS)
def test_filters_that_are_none(world, action):
    for name in ("no-such-filter", "Instance-Id", "tag", "", "x" * 300):
        form = {**world.fill_in(base(action), False), f"{FILTER[action]}.1.Name": name, f"{FILTER[action]}.1.Value.1": "x"}
        reply = world.call(action, form)
        if name == "":
            assert reply.code in ("InvalidParameterValue", "MissingParameter"), reply
        else:
            check_error(reply, 400, "InvalidParameterValue", f"The filter '{name[:100]}' is invalid")


def test_few_filters_are_unseen():
    rows = [key for key in parameters.UNSEEN_FILTERS if key[0] == "*" or key[0] in OPERATIONS]
    for action, name in rows:
        assert action == "*" or OPERATIONS[action]["filters"].get(name), f"parameters.UNSEEN_FILTERS: {action} has no '{name}'"
    print(f"filters without a value here: {len(rows)} of at most {parameters.UNSEEN_FILTERS_MAX}")
    assert len(rows) <= parameters.UNSEEN_FILTERS_MAX


# -- pages --

@pytest.mark.parametrize("action", PAGINATED)
def test_pages(world, action):
    """Of any size, together they are the whole, in order; a page is as large as asked but the last."""
    operation = OPERATIONS[action]
    size = next(int(f["options"].get("min", 1)) for f in operation["in"] if f["name"] == "max_results")
    form = world.fill_in(base(action), False)

    def listed(reply):
        if operation["filtered"]:
            return [ElementTree.tostring(i) for i in items_of(action, reply)]
        return [ElementTree.tostring(i) for child in reply.xml for i in child if local(i) == "item"]
    reply = check_ec2(world.call(action, form), action)
    whole = listed(reply)
    assert reply.text("nextToken") is None
    assert len(whole) > 2 * size, f"{action}: {len(whole)} are too few for pages of {size} (world.fill)"
    for each in (size, size + 1, len(whole) - 1, len(whole)):
        pages, token = [], None
        while True:
            more = {"NextToken": token} if token else {}
            reply = check_ec2(world.call(action, {**form, **more, "MaxResults": str(each)}), action)
            pages.append(listed(reply))
            token = reply.text("nextToken")
            if token is None:
                break
            assert len(pages[-1]) == each and len(pages) < 1000
        assert [i for page in pages for i in page] == whole, (each, [len(p) for p in pages])
    check_error(world.call(action, {**form, "NextToken": "nonsense"}), 400, "InvalidNextToken")


# -- what is served --

def candidates(action, path, field, shape):
    """Values that might make a difference, those from the table first."""
    listed = row(parameters.VALUES, action, path) or row(parameters.VALUES, "*", path.split(".")[-1]) or []
    yield from listed
    options = field["options"]
    if "choices" in options:
        yield from options["choices"].split("|")
    elif field["type"] == "bool":
        yield from ("true", "false")
    elif field["type"] in ("u32", "i32", "u64", "i64"):
        low, high = int(options.get("min", 0)), int(options.get("max", 1 << 31))
        yield from (str(n) for n in (low, low + 1, 2, 5, 17) if low <= n <= high)
    elif field["type"] == "time":
        yield from ("2030-01-01T00:00:00.000Z", "2020-01-01T00:00:00.000Z")
    elif field["type"] == "bytes":
        yield parameters.encoded("some text")
    else:
        if shape and amazon.SHAPES[shape]["type"] in ("double", "float"):
            yield from ("1.5", "2")
        if shape and "enum" in amazon.SHAPES[shape]:
            yield from amazon.SHAPES[shape]["enum"][:12]
        yield from (f"some text {len(path)}", "some-text", "172.31.0.77", parameters.encoded("some text"), "10")


def differences(one, other, noise, value):
    """Where a call did something else, without what is different in each call."""
    names = (set(one.told) | set(other.told)) - noise
    found = {n for n in names if one.told.get(n) != other.told.get(n)}
    return found | ({"the value itself"} if len(value) > 1 and value in other.values and value not in one.values else set())


def shows(world, action, path, name, field, shape, cache):
    """Whether the parameter is seen to matter; what was tried."""
    whole = {**base(action, path), **context(action, path)}
    key = tuple(sorted(whole.items()))
    if key not in cache:
        first, second = world.effect(action, whole), world.effect(action, whole)
        assert first.reply.status == 200, f"{action} {whole}: {first.reply}"
        noise = {n for n in set(first.told) | set(second.told) if first.told.get(n) != second.told.get(n)}
        cache[key] = first, noise
    plain, noise = cache[key]
    tried = []
    bare = name[:-2] if name.endswith(".1") else name
    without = {k: v for k, v in whole.items() if k not in (name, bare) and not k.startswith(bare + ".")}
    for value in candidates(action, path, field, shape):
        text = value.value if isinstance(value, Refused) else value
        if whole.get(name) == text:
            continue
        effect = world.effect(action, {**without, name: text})
        code = effect.reply.code if effect.reply.status != 200 else None
        if isinstance(value, Refused):
            if code == value.code:
                return True, tried
        elif code is None:
            found = differences(plain, effect, noise, effect.form[name])
            if found:  # once more: it must not be chance
                effect = world.effect(action, {**without, name: text})
                found &= differences(plain, effect, noise, effect.form[name])
            if found:
                return True, tried
        tried.append((text[:40], code or "no difference"))
    return False, tried


@pytest.mark.parametrize("action", [a for a in ACTIONS if a not in parameters.ELSEWHERE and a not in ANSWERED])
def test_served(world, action):
    """Accepted, and not for nothing: the answer or a row of the store is another with it."""
    cache, silent = {}, []
    for path, name, field, shape, _ in fields(action):
        if field["type"] in ("struct", "refused", "ignored") or path.split(".")[0] in ("Filter", "DryRun", "MaxResults", "NextToken"):
            continue
        reason = row(parameters.UNSEEN, action, path)
        if reason:
            unseen.append((action, path, reason))
            continue
        shown, tried = shows(world, action, path, name, field, shape, cache)
        if not shown:
            silent.append(f"{path}: {tried}")
    assert not silent, f"{action}: no difference shown (tests/clc/parameters.py) for\n  " + "\n  ".join(silent)


def test_little_is_unseen():
    rows = [key for key in parameters.UNSEEN if key[0] == "*" or key[0] in OPERATIONS]
    for action, path in rows:
        assert action == "*" or path in [f[0] for f in fields(action)], f"parameters.UNSEEN: {action} has no {path}"
    print(f"served, no difference shown: {len(rows)} of at most {parameters.UNSEEN_MAX}")
    assert len(rows) <= parameters.UNSEEN_MAX


def test_few_actions_are_tested_elsewhere():
    for action, where in parameters.ELSEWHERE.items():
        with open(os.path.join(front.TOP, where), encoding="utf-8") as file:
            text = file.read()
        name = OPERATIONS.get(action, {}).get("c_name", action)
        assert action in text or name in text or name.replace("_", "-") in text, f"{where} does not call {action}"
    assert len(parameters.ELSEWHERE) <= 5


# -- DryRun --

@pytest.mark.parametrize("action", ACTIONS)
def test_dry_run(world, action):
    assert ("DryRun" in amazon.parameters(action)) == (action in WITH_DRY_RUN), f"{action}: DryRun"
    if action not in WITH_DRY_RUN:
        return
    form = world.fill_in(base(action), OPERATIONS[action]["mutates"])
    changed = set()
    for value in ("true", "True", "true"):  # rows that the daemon tends by itself are not the call's; those change now and then
        before = world.dump()[0]
        reply = world.call(action, {**form, "DryRun": value})
        if reply.code != "InvalidParameterValue" or value == "true":
            check_error(reply, 412, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
        after = world.dump()[0]
        changed = {t for t in after if after[t] != before[t]}
        if not changed:
            break
    assert not changed, f"{action} with DryRun changed rows of {', '.join(sorted(changed))}"
