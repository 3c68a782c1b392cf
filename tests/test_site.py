"""The generated pages of the site: every public name and every method is there, once.

`make docs` builds the site and finds broken links and anchors; what is here needs no MkDocs.
"""

import functools
import importlib
import re
import types
from pathlib import Path

import pytest

import optax_lite
from tools import pages


@functools.cache
def texts():
    """The text of every page. They take two seconds, so that none is made before a test asks."""
    return pages.pages() | {uri: table() for uri, table in pages.TABLES.items()}


def reference():
    """The pages of the API and of the methods."""
    return {uri: text for uri, text in texts().items() if uri.startswith(("api/", "methods/"))}


def named_on(uri):
    """The names that a page describes, or lists with a link to where they are."""
    text = texts()[uri]
    described = re.findall(r"(?m)^::: optax_lite\.(?:\w+\.)*(\w+)$", text)
    return {*described, *re.findall(r"\[`(\w+)`\]", text), *re.findall(r"(?m)^## `(\w+)`", text)}


def test_every_name_of_the_package_is_on_an_api_page():
    public = {
        name
        for name in dir(optax_lite)
        for value in [getattr(optax_lite, name)]
        if not name.startswith("_") and (not isinstance(value, types.ModuleType) or is_ours(value))
    }
    # a package of the implementation, not of the API
    private = {"core", "errors", "inspect", "optimizers", "train", "wrappers", "linesearch"}
    found = set().union(*map(named_on, reference()))
    assert public - private - {"sweep", "migrate"} - found == set()


def is_ours(module):
    return module.__name__.startswith("optax_lite")


@pytest.mark.parametrize("name", pages.MODULES)
def test_every_name_of_a_module_is_on_its_page(name):
    module = importlib.import_module(f"optax_lite.{name}")
    own = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_")
        and str(getattr(value, "__module__", "")).startswith(f"optax_lite.{name}")
    }
    assert own | set(getattr(module, "__all__", ())) <= named_on(f"api/optax_lite.{name}.md")


def test_every_state_and_field_is_on_the_page_of_states():
    text = texts()["api/optax_lite.states.md"]
    states = [getattr(optax_lite.states, name) for name in optax_lite.states.__all__]
    missing = [
        f"{state.__name__}.{field}"
        for state in states
        for field in getattr(state, "_fields", ())
        if not re.search(rf"\| `{field}` \| \S", text.partition(f"## `{state.__name__}`")[2])
    ]
    assert missing == []


def test_a_name_is_described_once_and_links_lead_to_it():
    described = [
        name
        for text in reference().values()
        for name in re.findall(r"(?m)^::: optax_lite\.(\S+)$", text)
    ]
    assert sorted(described) == sorted(set(described))
    linked = {
        name
        for text in texts().values()
        for name in re.findall(r"\]\[optax_lite\.([\w.]+)\]", text)
    }
    assert linked <= set(described)


def test_every_file_of_optimizers_has_a_page_a_family_and_a_reference():
    folder = Path(optax_lite.__file__).parent / "optimizers"
    stems = {path.stem for path in folder.glob("*.py")} - {"__init__"} | {"cautious"}
    assert {f"methods/{stem}.md" for stem in stems} <= reference().keys()
    assert pages.FAMILY.keys() == stems
    assert {stem for stem in stems if "## Reference" not in texts()[f"methods/{stem}.md"]} == set()


def test_every_method_is_in_the_comparison_with_a_source():
    table = pages.comparison()
    optimizers = [name for name in pages.sections()["optimizers"] if not pages.is_part(name)]
    optimizers = [n for n in optimizers if not isinstance(getattr(optax_lite, n), types.ModuleType)]
    assert [name for name in optimizers if f"[`{name}`]" not in table] == []
    assert [line for line in table.splitlines()[2:] if not re.search(r" \d{4} \|$", line)] == []


def test_the_state_of_a_method_is_counted():
    """By hand: two moments of float32, one, none; two factors of a square matrix."""
    counted = {name: pages.bytes_per_parameter(name) for name in ("adam", "lion", "sgd")}
    assert {name: round(found, 3) for name, found in counted.items()} == {
        "adam": 8.0,
        "lion": 4.0,
        "sgd": 0.0,
    }
    assert round(pages.bytes_per_parameter("adafactor") * pages.SIDE**2 / 4) - 2 * pages.SIDE < 8


def test_pictures_of_paths_are_there_for_what_the_gallery_draws():
    shown = {file for stem in pages.methods() for _, file in pages.pictures(stem)}
    drawn = {path.name for path in (pages.ROOT / "docs" / pages.PATHS).glob("*.webp")}
    assert {Path(file).name for file in shown} == drawn
    without = {stem for stem in pages.methods() if not pages.pictures(stem)}
    assert without == set()


def test_defaults_that_differ_are_in_bold():
    table = pages.defaults_table("adamw")
    assert "| `weight_decay` | `0.0001` | `0.0001` | **`0.01`** |" in table
    assert "| `b1` | `0.9` | `0.9` | `0.9` |" in table


def test_pages_are_the_same_in_every_process():
    """No page shows the address of an object, as the repr of a function does."""
    assert [uri for uri, text in texts().items() if re.search(r"\bat 0x[0-9a-f]+", text)] == []
