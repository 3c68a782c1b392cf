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

from tests.nightly import first

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Frameworks that one block of docs/recipes.md needs and nothing else does: it is left out without.
OPTIONAL = ("haiku", "numpyro")
WITH_CODE = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]


def page_id(page):
    return page.relative_to(ROOT).as_posix()


# code, and the error it raises
BLOCK = re.compile(r"```python\n(.*?)```(?:\s+```text\n(\w+Error: .*?)```)?", re.DOTALL)


def trains(page):
    """Whether a block of a page trains something, which takes seconds; one that shows an error does
    not get so far. Not the cookbook, from which people copy: it runs before every change.
    """
    blocks = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return page.name != "cookbook.md" and any(
        re.search(r"\b(fit|make_step|run|pbt)\(", code)
        for code, error in (m.groups() for m in blocks)
        if not error
    )


@pytest.mark.parametrize("page", [page for page in WITH_CODE if not trains(page)], ids=page_id)
def test_snippets_run(page):
    run_snippets(page)


@pytest.mark.nightly
@pytest.mark.parametrize("page", [page for page in WITH_CODE if trains(page)], ids=page_id)
def test_snippets_that_train_run(page):
    run_snippets(page)


def run_snippets(page):
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


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?://)([^)#]+)\)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert [target for target in missing if not is_generated(page.parent / target)] == []


def is_generated(path):
    """Whether the site has a page there that no file holds."""
    from tools import pages  # it traces every method's init, which most runs have no need of

    docs = ROOT / "docs"
    path = path.resolve()
    return path.is_relative_to(docs) and path.relative_to(docs).as_posix() in pages.pages()


@pytest.mark.parametrize("name", first(1, ["custom_transform", "training_loop"]))
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
