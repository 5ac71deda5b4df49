"""The project installs as `avacast.*` from a source tree and from a wheel, and shadows no other package."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ROOMS = ("bench", "engine", "export", "gallery", "kernels", "streaming", "training")


def run_python(code: str, folder: Path, *paths: Path) -> str:
    """What `code` prints in a fresh interpreter started in `folder`, as the Makefile starts it."""
    env = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The built wheel; setuptools alone builds it, without an isolated environment and without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    # Built from a copy, because setuptools leaves its traces in the source tree.
    tracked = [ROOT / name for name in (*ROOMS, "pyproject.toml", "README.md", "LICENSE")]
    source = folder / "source"
    source.mkdir()
    subprocess.run(["cp", "-r", *map(str, tracked), str(source)], check=True)
    build = "from setuptools import build_meta; import sys; print(build_meta.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(folder)], cwd=source, capture_output=True, text=True, check=True
    )
    return zipfile.ZipFile(folder / done.stdout.split()[-1])


def test_the_wheel_holds_every_source_and_its_data(wheel: zipfile.ZipFile):
    names = set(wheel.namelist())
    for room in ROOMS:
        for file in (ROOT / room).rglob("*"):
            if file.is_file() and not {"__pycache__"} & set(file.parts) and not file.name.startswith("."):
                assert f"avacast/{file.relative_to(ROOT)}" in names


def test_the_wheel_claims_no_name_but_avacast(wheel: zipfile.ZipFile):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"avacast"}


def test_the_unpacked_wheel_finds_its_gallery_and_its_model(wheel: zipfile.ZipFile, tmp_path: Path):
    wheel.extractall(tmp_path / "site")
    code = (
        "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in str(f).lower()];"
        "from avacast.streaming.gallery import gallery_folder, gallery_names;"
        "from avacast.engine.bundle import embedded_bundle;"
        "print(gallery_folder(), embedded_bundle(), len(gallery_names()), sep='\\n')"
    )
    folder, bundle, num_portraits = run_python(code, tmp_path, tmp_path / "site").splitlines()
    assert folder == str(tmp_path / "site/avacast/gallery")
    assert bundle == str(tmp_path / "site/avacast/engine/pocket")
    assert int(num_portraits) == len(list((ROOT / "gallery").glob("*.png")))


@pytest.mark.parametrize("name", ["kernels", "streaming", "engine", "export", "bench", "training", "gallery"])
def test_a_bare_folder_name_is_never_importable_from_the_root(name: str):
    code = f"import importlib.util as u; spec = u.find_spec('{name}'); print(spec.origin if spec else None)"
    assert str(ROOT) not in run_python(code, ROOT)


def test_transformers_sees_no_kernels_package_of_ours():
    code = (
        "import transformers, sys;"
        "import avacast.kernels;"
        "from transformers.utils.import_utils import is_kernels_available as probe;"
        "import importlib.util as u; print(probe() == (u.find_spec('kernels') is not None), 'kernels' in sys.modules)"
    )
    assert run_python(code, ROOT) == "True False"


def test_torch_is_pinned_without_a_build_and_in_both_places_alike():
    constraints = (ROOT / "constraints.txt").read_text()
    assert "\ntorch==2.13.0\n" in constraints
    assert "TORCH ?= torch==2.13.0\n" in (ROOT / "Makefile").read_text()


def test_every_direct_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    pinned = {
        line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    for requirement in [*project["dependencies"], *extras["dev"], *extras["export"], *extras["training"]]:
        name = requirement.split(">=")[0].split("[")[0].lower()
        assert name in pinned, f"{name} has no line in constraints.txt"
