"""The pages of the site that follow from the code: one per method, their comparison, the API, the
examples.

MkDocs calls the hooks at the end of this file (mkdocs.yml). Nothing here is written to docs/.
"""

import ast
import functools
import importlib
import inspect
import json
import posixpath
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optax_lite as ol
from tests.methods import FILES as METHOD_FILES, ROWS, Row

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "optax_lite"
PATHS = "images/paths"  # below docs/, drawn by `make gallery`
SIDE = 1024  # of the matrix that state is counted for

# torch's class and its defaults under our argument names (torch 2.13); None where they agree.
TORCH: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {"learning_rate": 1e-3, "momentum": 0, "nesterov": False}),
    "adam": ("Adam", {"learning_rate": 1e-3, "b1": 0.9, "b2": 0.999, "eps": 1e-8}),
    "adamw": (
        "AdamW",
        {"learning_rate": 1e-3, "b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 1e-2},
    ),
    "rmsprop": (
        "RMSprop",
        {
            "learning_rate": 1e-2,
            "decay": 0.99,
            "eps": 1e-8,
            "eps_in_sqrt": False,
            "centered": False,
            "momentum": 0,
        },
    ),
    "adagrad": (
        "Adagrad",
        {"learning_rate": 1e-2, "initial_accumulator_value": 0, "eps": 1e-10, "eps_in_sqrt": False},
    ),
    "adadelta": ("Adadelta", {"learning_rate": 1.0, "rho": 0.9, "eps": 1e-6, "weight_decay": 0}),
    "adamax": ("Adamax", {"learning_rate": 2e-3, "b1": 0.9, "b2": 0.999, "eps": 1e-8}),
    "nadam_dozat": (
        "NAdam",
        {"learning_rate": 2e-3, "b1": 0.9, "b2": 0.999, "eps": 1e-8, "momentum_decay": 4e-3},
    ),
    "radam": ("RAdam", {"learning_rate": 1e-3, "b1": 0.9, "b2": 0.999, "eps": 1e-8}),
    "rprop": (
        "Rprop",
        {
            "learning_rate": 1e-2,
            "eta_minus": 0.5,
            "eta_plus": 1.2,
            "min_step_size": 1e-6,
            "max_step_size": 50,
        },
    ),
    "amsgrad": (
        "Adam(amsgrad=True)",
        {"learning_rate": 1e-3, "b1": 0.9, "b2": 0.999, "eps": 1e-8, "max_of": "raw"},
    ),
    "muon": (
        "Muon",
        {
            "learning_rate": 1e-3,
            "weight_decay": 0.1,
            "beta": 0.95,
            "nesterov": True,
            "eps": 1e-7,
            "ns_steps": 5,
        },
    ),
    "lbfgs": ("LBFGS", {"learning_rate": 1.0, "memory_size": 100, "linesearch": None}),
}


# The files of optimizers by what a reader looks for; a test keeps this complete.
FAMILY = {
    stem: family
    for family, stems in {
        "classic": "sgd rmsprop adagrad adadelta adam nadam nadam_dozat rprop",
        "Adam variant": "acprop adabelief adam_atan2 adamax adan ademamix adopt amsgrad "
        "cautious madgrad mars radam simplified_ademamix stable_adamw yogi",
        "sign-based": "lion sign_sgd",
        "layer-wise": "fromage lamb lars novograd",
        "memory-saving": "adafactor galore sm3",
        "matrix": "muon shampoo soap",
        "learning-rate-free": "cocob dadapt_adamw dog dowg mechanize momo momo_adam polyak_sgd "
        "prodigy schedule_free",
        "second order": "lbfgs sophia",
        "noise and privacy": "dpsgd noisy_sgd",
        "games and sharpness": "optimistic sam",
    }.items()
    for stem in stems.split()
}
# of the section "optimizers" they are parts
PARTS = ("differentially_private_aggregate", "hutchinson_estimator_diag_hessian")
# labels of the gallery that are no name of a factory, and the page that they belong to
DRAWN_AS = {
    "momentum": "sgd",
    "Nesterov": "sgd",
    "LDoG": "dog",
    "optimistic adam": "optimistic",
    "C-Lion": "cautious",
    "C-Adam": "cautious",
}


# --- what the package says of itself --------------------------------------------------------------


@functools.cache
def sections() -> dict[str, list[str]]:
    """The names of `optax_lite.__all__` under the comments that divide it."""
    found: dict[str, list[str]] = {}
    text = (PACKAGE / "__init__.py").read_text(encoding="utf-8")
    for line in map(str.strip, text.partition("\n__all__ = [")[2].splitlines()):
        if line.startswith("#"):
            names = found.setdefault(line[2:], [])
        elif line.startswith('"'):
            names.append(line.strip('",'))
    return found


def own_names(module: types.ModuleType) -> list[str]:
    """A module's public names: its `__all__`, or what it defines and `import x as x`."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    names = []
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.ImportFrom):
            names += [alias.name for alias in node.names if alias.asname == alias.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names += [target.id for target in targets if isinstance(target, ast.Name)]
    return [name for name in names if not name.startswith("_")]


MODULES = [
    *("losses", "tree", "projections", "linear_algebra", "microbatching", "sweep"),
    *("schedules", "transforms", "contrib", "compat", "tree_utils"),
]
FORWARDED = ("assignment", "experimental", "perturbations", "second_order")


@functools.cache
def methods() -> dict[str, list[str]]:
    """The factories of each file of optimizers, by the file's name: one file is one method."""
    found: dict[str, list[str]] = {}
    for name in ol.__all__:
        value = getattr(ol, name)
        if isinstance(value, types.ModuleType):
            continue
        home = getattr(value, "__module__", "")
        if home.startswith("optax_lite.optimizers.") or home.endswith("_transforms.cautious"):
            found.setdefault(home.rpartition(".")[2], []).append(name)
    # the optimizer before what it is made of
    return {stem: sorted(names, key=is_part) for stem, names in sorted(found.items())}


def sentence(value: Any) -> str:
    """The first paragraph of a docstring, on one line and safe in a table."""
    text = inspect.cleandoc(value.__doc__ or "").split("\n\n")[0]
    return " ".join(text.split()).replace("|", "\\|")


NAME = r"[A-Z][\w’'\-]+"
PAPER = re.compile(rf"{NAME}(?:, {NAME})*(?: (?:&|and) {NAME}| et al\.)? \d{{4}}")


def papers(name: str) -> str:
    """What a factory cites, or else what the other names of its file do, or its tests."""
    stem = next(stem for stem, names in methods().items() if name in names)
    told = [getattr(ol, other).__doc__ for other in (name, *methods()[stem])]
    told += [module.__doc__ for key, module in METHOD_FILES.items() if key == stem]
    for text in told:
        if found := PAPER.findall(" ".join((text or "").split())):
            return "; ".join(dict.fromkeys(found))
    return ""


# --- where a name is described --------------------------------------------------------------------


@functools.cache
def homes() -> dict[str, str]:
    """The identifier under which each public name is described once: 'losses.huber_loss' at
    'huber_loss'.
    """
    found: dict[str, str] = {}
    seen: dict[int, str] = {}
    names = [name for group in sections().values() for name in group]
    names += [f"states.{name}" for name in ol.states.__all__]
    names += [f"{module}.{name}" for module in MODULES for name in own_names(module_of(module))]
    for path in names:
        owner, _, name = path.rpartition(".")
        value = getattr(module_of(owner), name)
        if isinstance(value, types.ModuleType):
            continue
        # a type alias or a message is the same object as others by chance
        is_ours = str(getattr(value, "__module__", "")).startswith("optax_lite")
        found[path] = seen.setdefault(id(value), path) if is_ours else path
    return found


def module_of(name: str) -> Any:
    return importlib.import_module(f"optax_lite.{name}".rstrip("."))


def link(path: str) -> str:
    name = path.rpartition(".")[2]
    if path not in homes():
        return f"[`{name}`](../api/optax_lite.{name}.md)"  # a module
    if homes()[path].startswith("states."):
        return f"[`{name}`](../api/optax_lite.states.md#{homes()[path].removeprefix('states.')})"
    return f"[`{name}`][optax_lite.{homes()[path]}]"


def described(path: str) -> str:
    return f"::: optax_lite.{path}\n"


# --- one page per method --------------------------------------------------------------------------


def rows(name: str) -> list[Row]:
    return [row for row in ROWS if row.factory is getattr(ol, name)]


def built(name: str) -> Any:
    """A method with its defaults; what has none is as in the first settings of its tests."""
    factory = getattr(ol, name)
    needed = [
        p.name
        for p in inspect.signature(factory).parameters.values()
        if p.default is p.empty and p.kind is not p.VAR_KEYWORD
    ]
    given = {"learning_rate": 1e-3, **(rows(name)[0].settings[0] if rows(name) else {})}
    # noise asks for a key, which has a default only because optax's older spelling is a seed
    key = {"key": 0} if name in ("dpsgd", "differentially_private_aggregate") else {}
    return factory(**{argument: given[argument] for argument in needed}, **key)


def slots(state: Any) -> Iterator[tuple[type | None, str, Any]]:
    """(class, field, leaves) of every field that holds arrays, of the states inside too."""
    fields = getattr(state, "_fields", None)
    if isinstance(state, dict):
        for value in state.values():
            yield from slots(value)
    elif fields is None:
        for value in state if isinstance(state, tuple | list) else ():
            yield from slots(value)
    else:
        for field in fields:
            value = getattr(state, field)
            inner = list(slots(value)) if isinstance(value, tuple | dict) else []
            if inner:
                yield from inner
            elif jax.tree.leaves(value):
                yield type(state), field, value


@functools.cache
def state_slots(name: str) -> list[tuple[type | None, str, list[jax.ShapeDtypeStruct]]]:
    params = {"w": jax.ShapeDtypeStruct((SIDE, SIDE), jnp.float32)}
    state = jax.eval_shape(built(name).init, params)
    return [(kind, field, jax.tree.leaves(value)) for kind, field, value in slots(state)]


def nbytes(leaf: Any) -> int:
    try:
        width = np.dtype(leaf.dtype).itemsize
    except TypeError:  # a key of jax.random: two numbers of 32 bits
        width = 8
    return int(np.prod(leaf.shape, dtype=int)) * width


def bytes_per_parameter(name: str) -> float:
    leaves = [leaf for *_, leaves in state_slots(name) for leaf in leaves]
    return sum(map(nbytes, leaves)) / SIDE**2


def number(x: float) -> str:
    return f"{x:.2g}" if x >= 0.001 else "0"


def field_comments(kind: type) -> dict[str, str]:
    """The comment of every field of a state, beside it or in the lines above."""
    found: dict[str, str] = {}
    above: list[str] = []
    for line in map(str.strip, inspect.getsourcelines(kind)[0]):
        field = re.match(r"(\w+): [^#]*(?:# (.*))?$", line)
        if line.startswith("# "):
            above.append(line[2:])
        elif field and field[1] in getattr(kind, "_fields", ()):
            found[field[1]] = (field[2] or " ".join(above)).replace("|", "\\|")
            above = []
    return found


def state_table(name: str) -> str:
    lines = ["| field | what it is | shape | bytes per parameter |", "|---|---|---|---|"]
    for kind, field, leaves in state_slots(name):
        shapes = [f"{leaf.dtype}[{', '.join(map(str, leaf.shape))}]" for leaf in leaves[:3]]
        share = number(sum(map(nbytes, leaves)) / SIDE**2)
        comment = field_comments(kind).get(field, "")
        lines.append(f"| `{kind.__name__}.{field}` | {comment} | {', '.join(shapes)} | {share} |")
    return "\n".join(lines) + "\n" if state_slots(name) else "No state.\n"


def states_of(names: list[str]) -> str:
    """The state of each name, those with the same one together."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(state_table(name), []).append(name)
    text = f"## State\n\nFor one {SIDE} × {SIDE} matrix of float32 parameters.\n\n"
    for table, group in groups.items():
        total = number(bytes_per_parameter(group[0]))
        text += (
            f"{', '.join(f'`{name}`' for name in group)}: {total} bytes per parameter\n\n{table}\n"
        )
    return text


def shown(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return "required"
    if isinstance(value, float):
        return f"`{value:g}`"
    # functions and classes by name: their repr has an address
    text = getattr(value, "__name__", None) or repr(value)
    return f"`{text if len(text) < 50 else text[:47] + '...'}`".replace("|", "\\|")


def same_default(ours: Any, theirs: Any) -> bool:
    absent = (None, 0, False)  # no momentum is None in one place and 0 in another
    if any(ours is x for x in absent) and any(theirs is x for x in absent):
        return True
    return shown(ours) == shown(theirs)


def defaults_table(name: str) -> str:
    """Every argument's default here, in optax and in torch; what differs is in bold."""
    ours = inspect.signature(getattr(ol, name)).parameters
    theirs: dict[str, Any] = {}
    if source := getattr(optax.contrib, name, None) or getattr(optax, name, None):
        theirs = dict(inspect.signature(source).parameters)
    torch_name, torch = TORCH.get(name, ("", {}))
    lines = ["| argument | here |" + " optax |" * bool(theirs) + f" torch `{torch_name}` |"]
    if not torch:
        lines = ["| argument | here |" + " optax |" * bool(theirs)]
    lines.append("|---" * lines[0].count(" |") + "|")
    for argument, parameter in ours.items():
        cells = [f"`{argument}`", shown(parameter.default)]
        if theirs:
            there = theirs.get(argument)
            cells.append("—" if there is None else against(parameter.default, there.default))
        if torch:
            there = torch.get(argument, inspect.Parameter.empty)
            is_there = argument in torch
            cells.append(against(parameter.default, there) if is_there else "—")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def against(ours: Any, theirs: Any) -> str:
    return shown(theirs) if same_default(ours, theirs) else f"**{shown(theirs)}**"


@functools.cache
def differences() -> list[tuple[set[str], list[str]]]:
    """(the names in it, its cells) for each row of the tables of docs/differences.md."""
    text = (ROOT / "docs/differences.md").read_text(encoding="utf-8")
    text = text.partition("## Conventions")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    split = [re.split(r"(?<!\\)\|", line.strip("| ")) for line in lines]
    return [(set(re.findall(r"`(\w+)", cells[0])), cells) for cells in split if cells[0].strip()]


def differences_of(names: list[str]) -> str:
    found = [cells for named, cells in differences() if named & set(names)]
    if not found:
        return ""
    width = max(map(len, found))
    lines = ["| | optax | here |" + " why |" * (width > 3), "|---" * width + "|"]
    for cells in found:
        lines.append("| " + " | ".join(map(str.strip, cells)) + " |" + " |" * (width - len(cells)))
    return "## Differences from optax\n\n" + "\n".join(lines) + "\n\n"


def pictures(stem: str) -> list[tuple[str, str]]:
    """(label, file) of the paths of a method that the gallery draws."""
    from examples.gallery import FAMILIES, file_name  # it imports matplotlib

    labels = [label for members in FAMILIES.values() for label in members]
    names = {stem, *methods()[stem]}
    mine = [label for label in labels if {label.partition(",")[0], DRAWN_AS.get(label)} & names]
    return [(label, f"{PATHS}/{file_name(label)}") for label in mine]


def reference(name: str) -> str:
    found = [row for row in rows(name) if row.reference is not None]
    if not found:
        return ""
    written = found[0].reference
    source = inspect.getsource(written.func if isinstance(written, functools.partial) else written)
    indented = "".join(f"    {line}".rstrip() + "\n" for line in source.splitlines())
    settings = sum(len(row.settings) for row in found)
    return (
        f'??? note "Numpy reference of `{name}`, compared in {settings} settings"\n\n'
        f"    ```python\n{indented}    ```\n\n"
    )


def method_page(stem: str) -> str:
    names = methods()[stem]
    doc = importlib.import_module(getattr(ol, names[0]).__module__).__doc__ or ""
    title = ", ".join(f"`{name}`" for name in names if not is_part(name))
    text = f"# {title}\n\n{inspect.cleandoc(doc)}\n\n"
    for label, file in pictures(stem):
        text += f"{label}:\n\n![The path of {label} on three landscapes](../{file})\n\n"
    factories = [name for name in names if is_factory(name)]
    for name in names:
        text += described(name) + "\n"
        if name in factories:
            text += f"Defaults of `{name}`:\n\n{defaults_table(name)}\n"
    text += states_of(factories) + differences_of(names)
    if references := "".join(map(reference, factories)):
        text += f"## Reference\n\n{references}"
    return text


def is_factory(name: str) -> bool:
    value = getattr(ol, name)
    returned = inspect.signature(value).return_annotation if callable(value) else None
    return returned is ol.GradientTransformation


def is_part(name: str) -> bool:
    """Whether it is part of an optimizer: a transformation, or a class that one of them takes."""
    return not is_factory(name) or name.startswith("scale_by") or name in PARTS


def comparison() -> str:
    """One table of all optimizers."""
    lines = [
        "| method | family | bytes of state | default rate | source |",
        "|---|---|---|---|---|",
    ]
    for stem, names in methods().items():
        for name in names:
            if is_part(name):
                continue
            rate = inspect.signature(getattr(ol, name)).parameters.get("learning_rate")
            default = "no rate" if rate is None else shown(rate.default)
            state = number(bytes_per_parameter(name))
            lines.append(
                f"| {link(name)} | {FAMILY[stem]} | {state} | {default} | {papers(name)} |"
            )
    return "\n".join(lines)


# --- the API --------------------------------------------------------------------------------------


def slug(title: str) -> str:
    return "_".join(re.findall(r"\w+", title.replace("'s", ""))).lower()


def entry(path: str) -> str:
    owner, _, name = path.rpartition(".")
    home = homes().get(path, path)
    told = sentence(getattr(module_of(owner), name))
    if home.rpartition(".")[2] != name:
        told = f"Another name for {link(home)}."
    return f"| {link(path)} | {told} |"


def api_page(title: str, paths: list[str]) -> str:
    """Describe each name that has its home here, and link to the others."""
    on_method_pages = {name for names in methods().values() for name in names}
    here = [path for path in paths if homes().get(path) == path and path not in on_method_pages]
    text = f"# {title[0].upper()}{title[1:]}\n\n"
    if elsewhere := [path for path in paths if path not in here]:
        text += "\n".join(["| name | |", "|---|---|", *map(entry, elsewhere)]) + "\n\n"
    return text + "\n".join(map(described, here))


def states_page() -> str:
    text = f"# `optax_lite.states`\n\n{inspect.cleandoc(ol.states.__doc__ or '')}\n\n"
    for name in ol.states.__all__:
        kind = getattr(ol.states, name)
        text += f"## `{name}` {{#{name}}}\n\n"
        if kind.__name__ != name:
            text += f"Another name for [`{kind.__name__}`](#{kind.__name__}).\n\n"
            continue
        told = "" if (kind.__doc__ or "").startswith(f"{name}(") else sentence(kind)
        text += f"{told}\n\n" * bool(told)
        comments = field_comments(kind)
        if comments:
            lines = [f"| `{field}` | {comment} |" for field, comment in comments.items()]
            text += "\n".join(["| field | |", "|---|---|", *lines]) + "\n\n"
        elif not told:
            text += "No fields.\n\n"
    return text


def forwarded_page(name: str) -> str:
    doc = inspect.cleandoc(module_of(name).__doc__ or "")
    return f"# `optax_lite.{name}`\n\n{doc}\n\nIts functions come from the installed optax.\n"


def listed() -> dict[str, list[str]]:
    return {title: names for title, names in sections().items() if title != "by their modules"}


def api_table() -> str:
    """One table of all public names, by the page that describes them."""
    lines = ["| page | names |", "|---|---|"]
    for title, names in listed().items():
        lines.append(f"| [{title}]({slug(title)}.md) | {', '.join(map(link, names))} |")
    for module in [*MODULES, "states", *FORWARDED]:
        lines.append(f"| {link(module)} | {sentence(module_of(module))} |")
    return "\n".join(lines)


def api_pages() -> dict[str, str]:
    pages = {f"api/{slug(title)}.md": api_page(title, names) for title, names in listed().items()}
    for module in MODULES:
        paths = [f"{module}.{name}" for name in own_names(module_of(module))]
        pages[f"api/optax_lite.{module}.md"] = api_page(f"`optax_lite.{module}`", paths)
    pages["api/optax_lite.states.md"] = states_page()
    return pages | {f"api/optax_lite.{name}.md": forwarded_page(name) for name in FORWARDED}


# --- files of the repository that are pages too ---------------------------------------------------


def example_pages() -> dict[str, str]:
    found = {}
    for path in sorted((ROOT / "examples").glob("*.py")):
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source)
        if "__main__" not in source:
            continue
        text = f"# {path.name}\n\n{ast.get_docstring(tree)}\n\n"
        if (ROOT / f"docs/images/{path.stem}.png").exists():
            text += f"![What {path.name} draws](../images/{path.stem}.png)\n\n"
        code = "\n".join(source.splitlines()[tree.body[1].lineno - 1 :])
        found[f"examples/{path.stem}.md"] = f"{text}```python\n{code}\n```\n"
    return found


def notebook_page(path: Path) -> str:
    """A notebook with its stored outputs, as Markdown."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            if "text" in output:
                parts.append(f"```text\n{''.join(output['text']).rstrip()}\n```")
            elif image := output.get("data", {}).get("image/png"):
                parts.append(f"![](data:image/png;base64,{''.join(image).strip()})")
    return "\n\n".join(parts) + "\n"


def notebook_pages() -> dict[str, str]:
    paths = sorted((ROOT / "examples").glob("*.ipynb"))
    return {f"examples/{path.stem}.md": notebook_page(path) for path in paths}


def repository_pages() -> dict[str, Path]:
    """Markdown outside docs/ that is part of the site."""
    results = sorted((ROOT / "benchmarks/results").glob("*.md"))
    return {
        "contributing.md": ROOT / "CONTRIBUTING.md",
        "changelog.md": ROOT / "CHANGELOG.md",
        **{f"benchmarks/{path.name}": path for path in results},
    }


def page_of(path: str) -> str | None:
    """The page that shows a file of the repository."""
    moved = {str(file.relative_to(ROOT)): uri for uri, file in repository_pages().items()}
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.startswith("examples/"):
        return f"examples/{Path(path).stem}.md"
    return {"README.md": "index.md", "benchmarks/results": "benchmarks/index.md", **moved}.get(path)


def with_links(text: str, folder: str, uri: str) -> str:
    """Turn links between files of the repository into links between pages, and those to files that
    no page shows into their words.
    """

    def replace(match: re.Match) -> str:
        words, target, anchor = match[1], match[2], match[3] or ""
        page = page_of(posixpath.normpath(posixpath.join(folder, target)))
        if page is None:
            return words
        return f"[{words}]({posixpath.relpath(page, posixpath.dirname(uri) or '.')}{anchor})"

    return re.sub(r"(?<!!)\[([^\[\]]*)\]\((?!https?://|#)([^)#\s]+)(#[^)]*)?\)", replace, text)


@functools.cache
def pages() -> dict[str, str]:
    """Every generated page: its address below docs/, and its Markdown."""
    found = {f"methods/{stem}.md": method_page(stem) for stem in methods()}
    found |= api_pages() | notebook_pages() | example_pages()
    for uri, path in repository_pages().items():
        folder = path.parent.relative_to(ROOT).as_posix()
        found[uri] = with_links(path.read_text(encoding="utf-8"), folder, uri)
    return found


# Pages with a table that follows from the code. In the files of these pages, whose links lead
# somewhere on GitHub too, words for readers of the file are in its place.
TABLES = {"methods/index.md": comparison, "api/index.md": api_table}
PLACE = re.compile(r"<!-- table -->.*<!-- end of table -->", re.DOTALL)


# --- what MkDocs calls ----------------------------------------------------------------------------


def on_config(config: Any) -> Any:
    """Add the generated pages to the navigation, under the entry that has their folder's name."""
    for group in config.nav:
        for title, listed in group.items() if isinstance(group, dict) else ():
            if isinstance(listed, list):
                found = [uri for uri in pages() if uri.startswith(f"{title.lower()}/")]
                listed += [uri for uri in found if uri not in listed]
    return config


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    for uri, text in pages().items():
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    uri = page.file.src_uri
    if page.file.generated_by:
        return markdown
    if uri in TABLES:
        markdown = PLACE.sub(lambda _: TABLES[uri](), markdown)
    return with_links(markdown, posixpath.join("docs", posixpath.dirname(uri)), uri)


def on_post_page(output: str, page: Any, **_: Any) -> None:
    """Refuse a page that needs the network to be shown."""
    if fetched := re.findall(r"<(?:script|link|img)\b[^>]*[\"'=]https?://[^>]*>", output):
        raise ValueError(f"{page.file.src_uri} fetches {fetched[0]}")


def math(source: str, *_: Any, **__: Any) -> str:
    """A ```math block as MathML, which browsers show without a script."""
    from latex2mathml.converter import convert

    return convert(source, display="block")
