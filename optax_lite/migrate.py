"""Report what code written for optax needs before it runs on optax_lite.

    python -m optax_lite.migrate PATH...

The code is neither imported nor run, and optax need not be installed.
"""

import argparse
import ast
import difflib
import inspect
import json
import os
import re
import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import optax_lite
from optax_lite._optax_uses import SUFFIXES, Uses, find_files, find_uses
from optax_lite.errors.suggestions import argument_hint, nearest

_COMPLEX = "second moments of complex parameters average |g|^2, not g^2"
_FROZEN = "norms before it leave frozen parameters out"
_NO_PARTIAL = "is a function; in optax, a partial of adam or adamw"
_WAITS = "keeps its estimate at a gradient or rate of 0 (optax: NaN); "
# The rows of docs/differences.md that name a function; the page itself is not installed.
DIFFERENCES = {
    "MultiSteps": "a NaN spoils one real step; in optax, all later ones; has_updated is exact",
    "acprop": "averages (g - m)^2 with the new m, as the authors do; optax uses the old m",
    "adadelta": f"learning_rate=None descends with rate 1; {_COMPLEX}",
    "adagrad": "updates are NaN after a NaN gradient; in optax they are 0 forever",
    "adam": "learning_rate=None is an error; optax neither scales nor changes the sign",
    "adan": "multiplies the look-ahead by b2, as the paper does; optax uses 1 - b2",
    "apply_every": "a NaN lasts until the end of its k updates; in optax, forever",
    "apply_if_finite": "never applies non-finite updates; optax does after max_consecutive_errors",
    "assignment": "is taken from the installed optax",
    "clip_by_global_norm": "a bound of 0 at zero gradients gives 0; in optax, NaN",
    "dadapt_adamw": _WAITS + _COMPLEX,
    "experimental": "is taken from the installed optax",
    "freeze": f"updates are -0.0, so no bit of a parameter changes; {_FROZEN}",
    "global_norm": "is computed and returned in float32 or wider",
    "huber_loss": "a negative delta is an error",
    "incremental_update": "integer leaves are an error; functions stay where the new tree is None",
    "inject_hyperparams": "keeps numbers in float32; a mask function is a mask, not a schedule",
    "linear_schedule": "transition_steps=0 is an error; optax logs a warning and stays constant",
    "lookahead": "also takes plain parameters and then keeps the slow ones in its state",
    "matrix_inverse_pth_root": "is exact (by eigenvalues), so num_iters does nothing",
    "measure_with_ema": "works only as a measure of monitor, not as a transformation",
    "microbatching": "accumulates in float32 or wider and rounds once",
    "momo": "decays as the paper does, (w - step) / (1 + rate * decay)",
    "momo_adam": f"decays as the paper does, (w - step) / (1 + rate * decay); {_COMPLEX}",
    "monitor": "has zeros before the first update; optax has no entries",
    "muon": "eps is relative to the norm, and weight_decay_mask also applies to Adam's leaves",
    "nadam": _NO_PARTIAL,
    "nadamw": _NO_PARTIAL,
    "nnls": "uses another iteration with the same limit",
    "partition": _FROZEN,
    "periodic_update": "functions stay where the new tree is None",
    "perturbations": "is taken from the installed optax",
    "polyak_sgd": "always multiplies by scaling; optax by 1/scaling below max_learning_rate",
    "prodigy": _WAITS + _COMPLEX,
    "projections": "handles edge cases where optax gives NaN; keeps each leaf's dtype",
    "radam": "computes rho without cancellation; in float32 optax's first updates are too short",
    "reduce_on_plateau": "also works for losses below 0; patience=0 is an error",
    "rprop": "returns the update of this step; optax returns that of the step before",
    "safe_norm": "is computed in float32 or wider",
    "sam": "with sync_period=1 the optimizer runs at every call; optax undoes each step",
    "scale_by_distance_over_gradients": _COMPLEX,
    "scale_by_lbfgs": "skips pairs of negative curvature, so that it always descends",
    "scale_by_sm3": "takes scalars; optax raises an IndexError",
    "scale_by_zoom_linesearch": "makes no step if it finds no decrease; optax takes its last trial",
    "schedule_free": "weights each iterate by the rate of its own step; optax by that of the next",
    "second_order": "is taken from the installed optax",
    "selective_transform": f"a function makes the mask, as in masked; updates are -0.0; {_FROZEN}",
    "set_to_zero": "updates are -0.0, so no bit of a parameter changes",
    "simplified_ademamix": _COMPLEX,
    "sm3": "updates are NaN after a NaN gradient; in optax they are 0 forever",
    "smooth_labels": "an alpha outside [0, 1] is an error",
    "sophia": "prints nothing: no verbose, no print_win_rate_every_n_steps",
    "warmup_cosine_decay_schedule": "with peak_value=0 it goes to end_value; optax stays at 0",
    "yogi": "starts the first moment at 0, as the paper does",
}
EVERYWHERE = (
    "A gradient must have its parameter's shape. Moments of bfloat16 and float16 parameters are "
    "float32 unless mu_dtype says otherwise. An optimizer unpacks into init and update but is "
    "not a tuple, so it has no tx._replace; to_optax(tx) has. "
    "docs/differences.md in the repository lists everything."
)

_SHOWN = 5  # places of each finding; --json lists all
_SECTIONS = (
    ("missing", "Not in optax_lite", "{name}: {instead}"),
    ("keywords", "Arguments that the function here does not take", "{name}({keyword}=): {instead}"),
    ("different", "In optax_lite, with a difference", "{name}: {here}"),
    ("imports", "Lines to change", "{optax}  ->  {optax_lite}"),
    ("unread", "Not read", "{file}: {reason}"),
)
_ABSENT = object()
_OURS = ("compat", "states")  # modules that optax lacks; their names are at the top level too
_MODULES = {"optax": optax_lite} | {
    f"optax.{name}": value
    for name in optax_lite.__all__
    if name not in _OURS and inspect.ismodule(value := getattr(optax_lite, name))
}


def main(argv: list[str] | None = None) -> int:
    """Run the command: 0 if nothing is missing, 1 if something is, 2 for a bad path."""
    parser = argparse.ArgumentParser(
        "python -m optax_lite.migrate",
        description="Report what to change in code written for optax before it runs on optax_lite.",
        epilog="Exits with 0 if nothing is missing, 1 if something is, 2 for a bad path.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a file or a folder")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(argv)
    for path in options.paths:
        if not path.exists():
            parser.error(f"{path}: no such file or folder")
        if path.is_file() and path.suffix not in SUFFIXES:
            parser.error(f"{path}: not a folder, a .py file or a .ipynb file")
    found = report(find_uses(find_files(options.paths), _names))
    print(json.dumps(found, indent=2) if options.json else as_text(found))
    return 1 if found["missing"] or found["keywords"] else 0


def report(uses: Uses) -> dict[str, Any]:
    """Return what is missing, what differs and what to change, as JSON has it."""
    names = _grouped((_without_attributes(path), place) for path, place in uses.names)
    keywords = _grouped(((path, keyword), place) for path, keyword, place in uses.keywords)
    imports = _grouped((_imports(uses, *found), found[-1]) for found in uses.imports)
    hints = {key: _argument_hint(*key) for key in keywords}
    return {
        "files": uses.files,
        "files_with_optax": uses.files_with,
        "uses": len(uses.names),
        "names": len(names),
        "missing": [
            {"name": name, "instead": _instead(name), "places": names[name]}
            for name in names
            if _find(name) is _ABSENT and not f"{name}.".startswith(tuple(uses.own))
        ],
        "keywords": [
            {"name": key[0], "keyword": key[1], "instead": hint, "places": keywords[key]}
            for key, hint in hints.items()
            if hint
        ],
        "different": [
            {"name": name, "here": DIFFERENCES[key], "places": names[name]}
            for name in names
            for key in DIFFERENCES
            if getattr(optax_lite, key, None) is _find(name)
        ],
        "everywhere": EVERYWHERE if names else "",
        "imports": [
            {"optax": old, "optax_lite": new, "places": places}
            for (old, new), places in imports.items()
        ],
        "unread": [{"file": file, "reason": reason} for file, reason in uses.unread],
    }


def as_text(found: dict[str, Any]) -> str:
    """Return a report for a terminal, 100 characters wide."""
    count, of, files = found["uses"], found["names"], found["files_with_optax"]
    lines = [f"optax: {count} uses of {of} names in {files} of {found['files']} files read"]
    for key, title, form in _SECTIONS:
        lines += ["", f"{title} ({len(found[key])})"] if found[key] else []
        for row in found[key]:
            text, places = form.format(**row), row.get("places", [])
            more = [f"and {len(places) - _SHOWN} more"] if len(places) > _SHOWN else []
            at = ", ".join([*places[:_SHOWN], *more])
            lines += _wrap(text, "  ", "    ") + _wrap(at, " " * 6, " " * 6)
    if found["everywhere"]:
        lines += ["", *_wrap(f"Everywhere: {found['everywhere']}")]
    missing = len(found["missing"]) + len(found["keywords"])
    lines += ["", f"Missing: {missing}." if missing else "Nothing is missing."]
    return "\n".join(lines)


def _wrap(text: str, first: str = "", later: str = "") -> list[str]:
    options: dict[str, Any] = {"initial_indent": first, "subsequent_indent": later}
    return textwrap.wrap(text, 100, break_long_words=False, break_on_hyphens=False, **options)


def _grouped(found: Iterable[tuple[Any, str]]) -> dict[Any, list[str]]:
    """Return the places of each finding, each place once; the findings in alphabetical order."""
    places: dict[Any, dict[str, None]] = defaultdict(dict)
    for key, place in found:
        places[key][place] = None
    return {key: list(places[key]) for key in sorted(places)}


# --- what optax's names are here ------------------------------------------------------------------


def _find(path: str) -> Any:
    """Return the object here for a dotted name of optax, or _ABSENT."""
    value: Any = optax_lite
    parts = path.split(".")
    for i, part in enumerate(parts[1:], 2):
        value = getattr(value, part, _ABSENT)
        # A folder of ours that has the name of a module of optax is not that module.
        if inspect.ismodule(value) and ".".join(parts[:i]) not in _MODULES:
            return _ABSENT
    return value


def _names(path: str) -> list[str]:
    """Return the public names of a module of optax that are here, without what that imports."""
    module = _MODULES.get(path)
    listed = [*getattr(module, "__all__", ())]
    listed += optax_lite.compat.__all__ if module is optax_lite else []
    defined = [
        name
        for name in dir(module)
        if name[0] != "_"
        and str(getattr(getattr(module, name), "__module__", "")).startswith("optax_lite")
    ]
    return [name for name in listed + defined if name not in _OURS]


def _home(path: str) -> str | None:
    """Return where a name of optax is here: there, in another module, or nowhere."""
    *parents, last = path.split(".")
    if _find(path) is not _ABSENT:
        return path
    if len(parents) == 2 and parents[1][0] == "_":
        return None  # optax._src.transform is a module, and not `transform`
    return next((f"{module}.{last}" for module in _MODULES if last in _names(module)), None)


def _instead(path: str) -> str:
    """Say what to write for a name that is not here."""
    if home := _home(path):
        return f"write {home}"
    if re.search(r"\._[a-z]", path):
        return "private to optax"
    parent, last = path.rsplit(".", 1)
    modules = [parent] if parent in _MODULES else list(_MODULES)
    homes = {name: f"{module}.{name}" for module in reversed(modules) for name in _names(module)}
    near = [homes[name] for name in nearest(last, homes) if _is_alike(last, name)]
    return f"the nearest is {', '.join(near)}" if near else "nothing here is near it"


def _is_alike(name: str, other: str) -> bool:
    """Return whether names share a word or differ by a typo: `nearest` asks for half the letters,
    by which inject_hyperparams is near to projection_hypercube.
    """
    shared = set(name.lower().split("_")) & set(other.lower().split("_"))
    return bool(shared) or difflib.SequenceMatcher(None, name, other).ratio() > 0.75


def _argument_hint(path: str, keyword: str) -> str | None:
    """Say what to write for a keyword argument, or None if the function here takes it."""
    try:
        parameters = inspect.signature(_find(path)).parameters.values()
    except (TypeError, ValueError):  # not here, or no function
        return None
    known = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    return None if takes_all or keyword in known else argument_hint(keyword, known)


def _without_attributes(path: str) -> str:
    """Return the name that a path begins with: optax.MultiSteps for optax.MultiSteps.init."""
    parts = path.split(".")
    for i in range(2, len(parts)):
        value = _find(name := ".".join(parts[:i]))
        if parts[i - 1][0].isupper() or not (value is _ABSENT or inspect.ismodule(value)):
            return name
    return path


def _imports(uses: Uses, module: str, aliases: list[ast.alias], place: str) -> tuple[str, str]:
    """Return an import statement of optax, and the one to write for it."""
    listed = ", ".join(map(ast.unparse, aliases))
    if not module:
        new = f"import optax_lite as {aliases[0].asname or 'optax'}"
        if aliases[0].asname and "." in aliases[0].name:
            parent, name = aliases[0].name.rsplit(".", 1)
            new = _from_here(parent, [ast.alias(name, aliases[0].asname)])
        return f"import {listed}", new
    if listed == "*":  # name by name: a star here would leave out some of those that the file uses
        file = place.rsplit(":", 1)[0].split(":cell_")[0]
        there = [path for path, at in uses.names if at.startswith(f"{file}:")]
        used = [x.split(".")[module.count(".") + 1] for x in there if x.startswith(f"{module}.")]
        aliases = [ast.alias(name) for name in sorted(set(used))]
    return f"from {module} import {listed}", _from_here(module, aliases)


def _from_here(module: str, aliases: Iterable[ast.alias]) -> str:
    """Return the statements that import names of a module of optax from where they are here."""
    statements = defaultdict(list)
    for alias in aliases:
        if home := _home(f"{module}.{alias.name}"):
            source = home.rsplit(".", 1)[0].replace("optax", "optax_lite", 1)
            statements[source].append(ast.unparse(alias))
    lines = [f"from {source} import {', '.join(names)}" for source, names in statements.items()]
    return "; ".join(lines) or "nothing: optax_lite has no such name"


if __name__ == "__main__":
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)
