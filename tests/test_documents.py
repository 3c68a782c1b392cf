"""Every python block of the README and of docs/ runs, in order, in one namespace per page; examples
run too.

A block followed by a text block that begins with the name of an error raises just that; "[...]" is
any text.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from benchmarks import draw

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Frameworks that one block of docs/recipes.md needs and nothing else does: it is left out without.
OPTIONAL = ("haiku", "numpyro")
WITH_CODE = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]


def page_id(page):
    return page.relative_to(ROOT).as_posix()


# code, and the error it raises
BLOCK = re.compile(r"```python\n(.*?)```(?:\s+```text\n(\w+Error: .*?)```)?", re.DOTALL)


@pytest.mark.nightly
@pytest.mark.parametrize("page", WITH_CODE, ids=page_id)
def test_snippets_run(page):
    text = page.read_text(encoding="utf-8")
    namespace: dict = {"__name__": "__main__"}
    missing: list[str] = []
    with (
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):  # as users have it
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start(1))
            code = compile("\n" * line + match[1], str(page), "exec")
            if match[2] is None:
                try:
                    exec(code, namespace)
                except ModuleNotFoundError as error:
                    if error.name not in OPTIONAL:
                        raise
                    missing.append(error.name)
                continue
            with pytest.raises(Exception) as caught:  # which one is compared below
                exec(code, namespace)
            assert agrees(match[2], caught.value), f"{page_id(page)}, line {line}: {caught.value!r}"
    if missing:
        pytest.skip(f"the other blocks ran; not installed: {', '.join(missing)}")


def agrees(shown, error):
    """Whether an error and its notes are what a page shows, wherever that breaks its lines."""
    notes = [] if "[...]" not in shown else getattr(error, "__notes__", [])
    told = " ".join(" ".join([f"{type(error).__name__}: {error}", *notes]).split())
    parts = [re.escape(part.strip()) for part in re.split(r" \[\.\.\.\] ", " ".join(shown.split()))]
    return re.fullmatch(".*".join(parts) + (".*" if len(parts) > 1 else ""), told) is not None


def test_a_message_that_is_not_the_one_shown_is_noticed():
    error = ValueError("leaf 'w': the gradient has shape (3, 1), its parameter (3,)")
    assert agrees(
        "ValueError: leaf 'w': the gradient has shape\n(3, 1), its parameter (3,)\n", error
    )
    assert agrees("ValueError: leaf 'w': [...] its parameter (3,)", error)
    assert not agrees("ValueError: leaf 'w': the gradient has shape (3, 1)", error)
    assert not agrees(
        "TypeError: leaf 'w': the gradient has shape (3, 1), its parameter (3,)", error
    )


LINKED = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
LINKED += sorted((ROOT / "benchmarks/results").glob("*.md"))


def links(page):
    """The (file, anchor) of every relative link or picture of a page, without its code."""
    text = re.sub(r"(?ms)^ *```.*?^ *```$|`[^`\n]*`", "", page.read_text(encoding="utf-8"))
    found = re.findall(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]*))?\)", text)
    return [(page.parent / target if target else page, anchor) for target, anchor in found]


def anchors(page):
    """The anchors of a page: what GitHub and the site make of its headings, and `<a id=...>`."""
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"(?m)^#+ (.*)", text)
    slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    return {*slugs, *re.findall(r'<a id="([^"]+)">', text)}


@pytest.mark.parametrize("page", LINKED, ids=page_id)
def test_links_lead_somewhere(page):
    """Between files, as GitHub shows them; `make docs` checks the links of the site."""
    assert [str(file) for file, _ in links(page) if not file.exists()] == []
    assert [
        (str(f), anchor) for f, anchor in links(page) if anchor and anchor not in anchors(f)
    ] == []


def test_links_and_anchors_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A `b`: c\n\n[x](no.md#y) `[z](code.md)` ![p](p.png) [q](#a-b-c)\n")
    assert links(page) == [(tmp_path / "no.md", "y"), (tmp_path / "p.png", ""), (page, "a-b-c")]
    assert anchors(page) == {"a-b-c"}


@pytest.mark.parametrize("picture", draw.PICTURES)
def test_pictures_of_benchmarks_follow_the_stored_tables(picture, tmp_path):
    numbers = [number for *_, found in draw.panels(picture) for number in found]
    assert len(numbers) >= 5 and all(0 < number < 20 for number in numbers)
    draw.draw(picture, tmp_path)
    assert (tmp_path / picture).stat().st_size > 10_000
    assert f"images/{picture}" in (ROOT / "docs/benchmarks/index.md").read_text(encoding="utf-8")


def test_rows_of_both_kinds_of_tables_are_read():
    assert draw.table("2026-11-30-cpu.md")["eager update + apply, transformer"] == 0.228
    assert draw.table("2026-11-26-h200.md")["our MultiSteps, of optax's"] == 1.07


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["custom_transform", "training_loop"])
def test_examples_run(name):
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / f"{name}.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


# each with small settings
NOTEBOOKS = {"train_and_compare": "STEPS = 20", "sweep": "STEPS, SEEDS = 32, 1"}


@pytest.mark.nightly
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_run(name, tmp_path, monkeypatch):
    """With small settings, in a kernel of their own, which compiles as the tests do; `make docs`
    installs what that needs.
    """
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", jax.config.jax_compilation_cache_dir)
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    nbformat = pytest.importorskip("nbformat", reason="the extra docs is not installed")
    nbclient = pytest.importorskip("nbclient", reason="the extra docs is not installed")
    pytest.importorskip("sklearn", reason="the extra examples is not installed")
    notebook = nbformat.read(ROOT / "examples" / f"{name}.ipynb", as_version=4)
    (at,) = (i for i, cell in enumerate(notebook.cells) if cell.metadata.get("tags"))
    notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(NOTEBOOKS[name]))
    nbclient.NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": tmp_path}}
    ).execute()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_are_stored_with_what_they_print_and_draw(name):
    notebook = json.loads((ROOT / "examples" / f"{name}.ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data"}
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2


@pytest.mark.nightly
def test_training_in_bfloat16_runs(tmp_path):
    command = [sys.executable, ROOT / "examples" / "bf16_training.py", "--quick", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    exact, plain, *remedies = (float(loss) for loss in re.findall(r"loss (\S+)", done.stdout))
    assert len(remedies) == 3 and all(
        abs(loss - exact) < 0.1 * (plain - exact) for loss in remedies
    )
    assert (tmp_path / "bf16_training.png").stat().st_size > 10_000


@pytest.mark.nightly
def test_fine_tuning_runs(tmp_path):
    pytest.importorskip("sklearn")
    command = [sys.executable, ROOT / "examples" / "finetune.py", "--quick", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "new      ScaleByAdamState.mu  12 leaves: backbone/Conv_*/kernel ×3" in done.stdout
    # no warnings of explain
    assert "Test accuracy at the end" in done.stdout and "!" not in done.stdout
    assert (tmp_path / "finetune.png").stat().st_size > 10_000


SWEEPS = {  # example: what it prints, and the pictures and tables that it leaves
    "sweep_digits": (r"Muon", ("sweep_digits.png", "sweep_digits.csv")),
    "pbt_schedule": (r"population-based: test loss 0\.\d+; [1-9]\d* copies", ("pbt_schedule.png",)),
    "sweep_optuna": (r"best of 8 trials: \d+\.\d+ with \{.*learning_rate", ()),
    "rl_sweep": (r"(?s)learning_rate.*entropy", ("rl_sweep.png",)),
}


@pytest.mark.nightly
@pytest.mark.parametrize("name", SWEEPS)
def test_examples_of_sweeps_run(name, tmp_path):
    if name != "rl_sweep":
        pytest.importorskip("sklearn")
    told, files = SWEEPS[name]
    out = ["--out", tmp_path] if files else []
    command = [sys.executable, ROOT / "examples" / f"{name}.py", "--quick", *out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(told, done.stdout), done.stdout
    assert all(
        (tmp_path / file).stat().st_size > (10_000 if file.endswith("png") else 200)
        for file in files
    )
