"""Every python block of the README and of docs/ runs, in order, in one namespace per page; examples run too."""

import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WITH_CODE = [page for page in PAGES if "```python" in page.read_text()]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_snippets_run(page):
    text = page.read_text()
    namespace: dict = {"__name__": "__main__"}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # as users have it
        for match in re.finditer(r"```python\n(.*?)```", text, re.DOTALL):
            line = text.count("\n", 0, match.start(1))
            exec(compile("\n" * line + match[1], page.name, "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?://)([^)#]+)\)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("name", ["training_loop", "custom_transform"])
def test_examples_run(name):
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / f"{name}.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.slow
def test_fine_tuning_runs(tmp_path):
    pytest.importorskip("sklearn")
    command = [sys.executable, ROOT / "examples" / "finetune.py", "--quick", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "new      ScaleByAdamState.mu  12 leaves: backbone/Conv_*/kernel ×3" in done.stdout
    assert "Test accuracy at the end" in done.stdout and "!" not in done.stdout  # no warnings of explain
    assert (tmp_path / "finetune.png").stat().st_size > 10_000
