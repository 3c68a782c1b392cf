"""Lines of code, docstring and comment, and expressions, per folder: `make size`, or `python
tools/size.py --files`.
"""

import argparse
import ast
import io
import tokenize
from collections import Counter
from pathlib import Path

FOLDERS = ("optax_lite", "tests", "examples", "benchmarks", "tools")
CALL = ("config", "factory", "binding", "schedule", "functions", "transform")
CORE = (*CALL, "leafwise", "trees", "numerics", "norms", "compose", "validate")


def count(source: str) -> Counter[str]:
    """The lines of one file by kind: a line with code and a comment is code, a blank one in a
    docstring docstring.
    """
    docstrings: set[int] = set()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(
            node, clean=False
        ):
            docstrings |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    code: set[int] = set()
    comments: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments.add(token.start[0])
        elif token.string.strip() and token.type != tokenize.ENDMARKER:
            code |= set(range(token.start[0], token.end[0] + 1))
    lines = source.splitlines()
    filled = {i for i, line in enumerate(lines, 1) if line.strip()}
    kinds = {"docstring": docstrings, "code": code & filled - docstrings}
    kinds["comment"] = comments - kinds["code"] - docstrings
    # what denser lines do not make fewer
    expressions = sum(isinstance(node, ast.expr) for node in ast.walk(tree))
    return Counter(
        {kind: len(found) for kind, found in kinds.items()} | {"expressions": expressions}
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--files", action="store_true", help="a row for each file of the package too"
    )
    show_files = parser.parse_args().files
    print(f"{'':34}{'code':>7}{'docstring':>11}{'comment':>9}{'doc/code':>10}{'expressions':>13}")

    def row(name: str, total: Counter[str]) -> None:
        share = total["docstring"] / total["code"] if total["code"] else 0.0
        print(
            f"{name:34}{total['code']:>7}{total['docstring']:>11}{total['comment']:>9}{share:>10.2f}{total['expressions']:>13}"
        )

    for folder in FOLDERS:
        files = {path: count(path.read_text()) for path in sorted(Path(folder).rglob("*.py"))}
        row(folder, sum(files.values(), Counter()))
        if folder == "optax_lite":
            for sub in sorted({p.parent for p in files if p.parent != Path(folder)}):
                row(
                    f"  {sub.name}/",
                    sum((c for p, c in files.items() if p.parent == sub), Counter()),
                )
            for name, stems in (("the core", CORE), ("of which the call and the pair", CALL)):
                row(
                    f"  {name}",
                    sum((files[Path(folder, "core", f"{x}.py")] for x in stems), Counter()),
                )
            if show_files:
                for path, counted in files.items():
                    row(f"    {path.relative_to(folder)}", counted)


if __name__ == "__main__":
    main()
