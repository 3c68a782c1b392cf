"""What is published: wheel and sdist hold the whole package and nothing else, and the wheel works
in an environment that has never seen this folder.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import jax
import pytest
from packaging.metadata import Metadata

ROOT = Path(__file__).parent.parent
BUILD = """
import sys
from setuptools import build_meta
target = sys.argv[1]  # which the first of these calls replaces
build_meta.build_wheel(target)
build_meta.build_sdist(target)
"""
USE = """
import jax, jax.numpy as jnp, optax_lite
assert optax_lite.__file__.startswith(sys.prefix), optax_lite.__file__
params = {"w": jnp.ones(3)}
tx = optax_lite.chain(optax_lite.clip_by_global_norm(1.0), optax_lite.adamw(0.1))
params, state = tx.step(params, tx.init(params), params)
assert (params["w"] < 1).all()
print(optax_lite.__version__)
"""


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def build(source, target):
    """The wheel and the sdist of a source tree, made as pip makes them."""
    target.mkdir()
    run(sys.executable, "-c", BUILD, target, cwd=source)
    (wheel,), (sdist,) = target.glob("*.whl"), target.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packaging")
    source = folder / "source"  # setuptools leaves files where it builds
    shutil.copytree(
        ROOT / "optax_lite", source / "optax_lite", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    return build(source, folder / "dist")


def files_of(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.startswith("optax_lite-")}


@pytest.mark.nightly
def test_the_wheel_holds_the_package_and_nothing_else(built):
    wheel, _ = built
    assert wheel.name.endswith("-py3-none-any.whl")
    own = (path for path in (ROOT / "optax_lite").rglob("*") if path.suffix in (".py", ".typed"))
    assert files_of(wheel) == {path.relative_to(ROOT).as_posix() for path in own}


@pytest.mark.nightly
def test_a_wheel_of_the_sdist_is_the_same(built, tmp_path):
    wheel, sdist = built
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    again, _ = build(source, tmp_path / "dist")
    assert files_of(again) == files_of(wheel)


@pytest.mark.skipif(
    importlib.util.find_spec("twine") is None,
    reason="twine is in the dev extra: make lint runs this",
)
def test_twine_as_a_checker_finds_nothing(built):
    told = run(sys.executable, "-m", "twine", "--no-color", "check", "--strict", *built)
    assert told.count("PASSED") == len(built)


@pytest.mark.nightly
def test_the_metadata_is_valid(built):
    with zipfile.ZipFile(built[0]) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = Metadata.from_email(archive.read(name), validate=True)
    assert metadata.license_expression == "MIT" and metadata.license_files == ["LICENSE"]
    needed = [need for need in metadata.requires_dist or [] if need.marker is None]
    assert sorted(need.name for need in needed) == ["jax", "numpy"]
    assert "# optax_lite" in (metadata.description or "")


@pytest.mark.nightly
def test_the_wheel_works_where_only_jax_is(built, tmp_path):
    """In a fresh environment without a network, which sees the JAX of this one."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet"),
        *("--no-index", "--no-deps", "--disable-pip-version-check", built[0]),
    )
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (packages / "jax_of_the_tests.pth").write_text(str(Path(jax.__file__).parent.parent))
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    told = run(python, "-c", f"import sys\n{USE}", cwd=tmp_path, env=alone)
    assert told.strip() == importlib.metadata.version("optax_lite")


def test_pre_commit_formats_with_the_version_that_the_lint_uses():
    import yaml

    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert f"ruff=={repo['rev'].removeprefix('v')}" in (ROOT / "constraints.txt").read_text()


def test_the_version_is_the_one_of_the_changelog_and_the_citation():
    import yaml

    version = importlib.metadata.version("optax_lite")
    assert f"\n## [{version}] - " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
