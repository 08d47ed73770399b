"""Reads the vector files of tests/vectors, whose README describes the format."""

import os
from collections import namedtuple

# `fields` maps each name to bytes; `expect` is "success" or the class of the error.
Vector = namedtuple("Vector", ("name", "source", "expect", "comment", "fields"))

_HEADERS = ("source", "expect", "comment")


def load(folder: str) -> "list[Vector]":
    """Every vector of tests/vectors/<folder>, in the order of the file names."""
    path = _vectors() + "/" + folder
    names = sorted([name for name in os.listdir(path) if name.endswith(".txt")])
    assert names, "no vector files in " + path
    return [load_file(folder, name) for name in names]


def load_file(folder: str, name: str) -> Vector:
    """One vector file; ValueError with the line when it does not follow the format."""
    with open(_vectors() + "/" + folder + "/" + name) as file:
        return parse(name, file.read())


def parse(name: str, text: str) -> Vector:
    """A vector from the text of its file."""
    headers: "dict[str, list[str]]" = {header: [] for header in _HEADERS}
    values: "dict[str, str]" = {}
    last = None
    blank = False
    for line in text.split("\n"):
        if not line.strip():
            blank = blank or bool(headers["source"])
        elif not blank:
            header, _, value = line.partition(":")
            if header not in headers:
                raise ValueError("%s: no header in %r" % (name, line))
            headers[header].append(value.strip())
        elif line.startswith(" ") and last is not None:
            values[last] += line.strip()
        else:
            # The last colon, for a name may hold one.
            last, _, value = line.rpartition(":")
            if last in values or not last:
                raise ValueError("%s: no name or a second one in %r" % (name, line))
            values[last] = value.strip()
    if len(headers["source"]) != 1 or len(headers["expect"]) != 1 or not headers["comment"] or not values:
        raise ValueError("%s: one source, one expect, a comment and a field are needed" % name)
    fields = {field: _bytes(values[field]) for field in values}
    return Vector(name, headers["source"][0], headers["expect"][0], " ".join(headers["comment"]), fields)


def _bytes(value: str) -> bytes:
    if value.startswith('"') and value.endswith('"') and len(value) > 1:
        return value[1:-1].encode()
    return bytes.fromhex(value)


def _vectors() -> str:
    folder, slash, _ = __file__.rpartition("/")
    return (folder + slash or "./") + "../vectors"
