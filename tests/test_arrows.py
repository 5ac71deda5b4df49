"""The rooms and the arrows between them: read from the imports themselves, typing-only and lazy ones included."""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ARROWS = {
    "engine": {"kernels"},
    "export": {"engine"},
    "streaming": {"engine"},
    "bench": {"engine", "streaming", "kernels"},
    "training": {"engine"},
    "kernels": set[str](),
}

# What a room must not even need to be imported: the training machine and a bare engine lack these.
LAZY = {"aiortc", "av", "diffusers", "fastapi", "tensorrt", "uvicorn"}

ASYNC_ROOMS = {"streaming", "bench"}


def sources() -> list[Path]:
    return [file for room in ARROWS for file in sorted((ROOT / room).rglob("*.py"))]


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(("avacast", *(part for part in parts if part != "__init__")))


MODULES = {module_name(file): file for file in sources()}


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Full names of what is imported; `from avacast.engine import dit` names both the package and the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the arrows"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def imported_modules(name: str) -> set[str]:
    """Our own modules that the module `name` imports."""
    return {found for found in imports_of(parse(MODULES[name])) if found in MODULES} - {name}


def room_of(name: str) -> str:
    return name.split(".")[1]


def test_every_room_is_looked_at():
    assert {room_of(name) for name in MODULES} == set(ARROWS)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_follows_the_arrows(name: str):
    room = room_of(name)
    rooms = {found.split(".")[1] for found in imports_of(parse(MODULES[name])) if found.startswith("avacast.")}
    assert rooms - {room} <= ARROWS[room]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_uses_the_import_name_and_never_the_bare_folder(name: str):
    first = {found.partition(".")[0] for found in imports_of(parse(MODULES[name]))}
    assert not first & {"bench", "engine", "export", "kernels", "streaming", "training"}


def test_no_module_imports_itself_through_others():
    # A package stands for its __init__ only, which imports nothing of ours.
    graph = {name: imported_modules(name) for name in MODULES}
    list(graphlib.TopologicalSorter(graph).static_order())


def test_a_circle_would_be_found():
    with pytest.raises(graphlib.CycleError):
        list(graphlib.TopologicalSorter({"a": {"b"}, "b": {"a"}}).static_order())


@pytest.mark.parametrize("name", sorted(MODULES))
def test_asyncio_lives_in_streaming_only(name: str):
    if room_of(name) not in ASYNC_ROOMS:
        first = {found.partition(".")[0] for found in imports_of(parse(MODULES[name]))}
        assert not first & {"asyncio", "anyio", "trio"}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_engine_kernels_and_training_import_without_the_libraries_of_streaming(name: str):
    if room_of(name) in {"engine", "kernels", "training"}:
        first = {found.partition(".")[0] for found in top_level_imports(parse(MODULES[name]))}
        assert not first & LAZY


def top_level_imports(tree: ast.Module) -> Iterator[str]:
    """What is imported when the module itself is: not what functions or TYPE_CHECKING blocks import."""
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports_of(node)
        elif isinstance(node, ast.Try):
            for statement in node.body:
                yield from imports_of(statement)


@pytest.mark.parametrize("room", sorted(ARROWS))
def test_a_room_says_what_it_is_and_that_it_is_typed(room: str):
    init = parse(ROOT / room / "__init__.py")
    assert ast.get_docstring(init)
    assert len(init.body) == 1, "an __init__ holds a docstring and no code"
    assert (ROOT / room / "py.typed").is_file()
