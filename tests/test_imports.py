"""Who may know whom: the import graph of the package, read from its source."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
FILES = {str(path.relative_to(SOURCE).with_suffix("")).replace("/", "."): path for path in SOURCE.rglob("*.py")}
TREES = {name.removesuffix(".__init__"): ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}

PURE = frozenset({"__future__", "bisect", "collections", "collections.abc", "dataclasses", "enum", "re", "typing"})
"""What the core may use of the standard library: nothing that acts, waits, or is another one each time."""

HEAVY_OR_GPL = frozenset(
    {
        "piper",
        "espeakng_loader",
        "onnx",
        "sounddevice",
        "torch",
        "transformers",
        "aiortc",
        "av",
        "faster_whisper",
        "sherpa_onnx",
        "funasr",
        "omegaconf",
    }
)
"""Not in the base install, or not under its licence: only imported where an engine that was asked for is loaded."""

LOADED_LATE = frozenset(
    f"duologue.{name}"
    for name in (
        "transports.rtc_peer",
        "engines.voxtral_decoding",
        "engines.voxtral_realtime",
        "engines.whisper",
        "emotion.sense_voice",
    )
)
"""Imported themselves only where what they need is installed."""

CLOCKS = frozenset({"time", "monotonic", "perf_counter", "process_time", "now", "utcnow", "today"})


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module.startswith("duologue"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_at_load(tree: ast.Module | ast.ClassDef) -> Iterator[str]:
    """What importing the module imports: not what stands inside functions or only serves the type checker."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ClassDef):
            yield from imports_at_load(node)
            continue
        yield from imports(node)


def known(tree: ast.AST) -> set[str]:
    """The package's own modules that a module imports."""
    return {name for name in imports(tree) if name in TREES}


def part(package: str) -> list[str]:
    found = [name for name in TREES if name == package or name.startswith(package + ".")]
    assert found
    return found


@pytest.mark.parametrize("module", part("duologue.core"))
def test_the_core_is_pure(module: str) -> None:
    used = set(imports(TREES[module]))
    strangers = {name for name in used if not name.startswith("duologue.core") and name not in PURE}
    assert not strangers


@pytest.mark.parametrize("module", part("duologue.protocols"))
def test_protocols_do_no_io(module: str) -> None:
    roots = {name.partition(".")[0] for name in imports(TREES[module])}
    assert not roots & {"asyncio", "starlette", "uvicorn", "websockets", "socket", "threading", "logging"}


FORBIDDEN = {
    "duologue.core": [
        "duologue.engines",
        "duologue.session",
        "duologue.protocols",
        "duologue.clock",
        "duologue.config",
    ],
    "duologue.protocols": ["duologue.engines.", "duologue.session", "duologue.transports", "duologue.answer"],
    "duologue.engines": ["duologue.session", "duologue.protocols", "duologue.transports", "duologue.core.turns"],
    "duologue.places": ["duologue.session", "duologue.engines", "duologue.core", "duologue.protocols"],
    "duologue.models": ["duologue.session", "duologue.core", "duologue.protocols", "duologue.transports"],
    "duologue.session": ["duologue.transports", "duologue.app"],
    "duologue.answer": ["duologue.core.turns", "duologue.session", "duologue.protocols"],
    "duologue.reply": ["duologue.core.turns", "duologue.session", "duologue.answer"],
    "duologue.ear": ["duologue.core.turns", "duologue.session", "duologue.protocols"],
    "duologue.conversation": ["duologue.core", "duologue.session", "duologue.protocols"],
}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_nobody_knows_what_it_need_not(package: str) -> None:
    for module in part(package):
        for name in known(TREES[module]):
            assert not any(name == no or name.startswith(no.rstrip(".") + ".") for no in FORBIDDEN[package]), module


@pytest.mark.parametrize("module", TREES)
def test_importing_the_base_package_imports_nothing_heavy_and_nothing_under_the_gpl(module: str) -> None:
    roots = {name.partition(".")[0] for name in imports_at_load(TREES[module])}
    assert not roots & HEAVY_OR_GPL or module in LOADED_LATE


@pytest.mark.parametrize("module", [name for name in TREES if name != "duologue.clock"])
def test_only_one_module_reads_a_clock(module: str) -> None:
    assert "time" not in set(imports(TREES[module]))
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS:
            assert ast.unparse(node.func) == "clock.now", f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("module", TREES)
def test_chance_is_handed_in(module: str) -> None:
    roots = {name.partition(".")[0] for name in imports(TREES[module])}
    assert not roots & {"random", "uuid", "secrets"}


def test_the_checks_can_fail() -> None:
    later = "if TYPE_CHECKING:\n    import torch\ndef load():\n    import onnx"
    tree = ast.parse(f"import asyncio\nfrom piper import PiperVoice\n{later}")
    assert set(imports(tree)) == {"asyncio", "piper", "torch", "onnx"}
    assert set(imports_at_load(tree)) == {"asyncio", "piper"}
    assert "asyncio" in sys.stdlib_module_names
    assert "asyncio" not in PURE
