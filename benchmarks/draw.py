"""Draw the pictures of docs/benchmarks from the tables in benchmarks/results: `python -m
benchmarks.draw`.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results"
IMAGES = ROOT / "docs/images"
COLOR, DARK = "#0072B2", "0.25"

# Panels of a picture: the title, the results page, and the words for each row drawn of it.
CORE = {
    "eager update + apply, MLP": "eager step, MLP",
    "tracing, 1000 leaves": "tracing, 1000 leaves",
    "tracing again, 1000 leaves": "tracing again",
}
WRAPPERS = {
    "accumulate(8), a micro-step, of optax's MultiSteps": "accumulate(8) / MultiSteps",
    "our MultiSteps, of optax's": "MultiSteps",
}
PICTURES = {
    "benchmarks_optax.png": (
        "Time as a multiple of optax's; left of the line is faster",
        [
            (
                "AdamW, 2-core CPU",
                "2026-11-30-cpu.md",
                {
                    "eager update + apply, transformer": "eager step, transformer",
                    **CORE,
                    "trace + compile, 1000 leaves": "trace + compile",
                    "jitted step, 6 leaves": "jitted step, 6 leaves",
                    "jitted step, 148 leaves": "jitted step, 148 leaves",
                },
            ),
            (
                "Wrappers, 2-core CPU",
                "2026-11-26-wrappers-cpu.md",
                WRAPPERS | {"apply_if_finite, of optax's": "apply_if_finite"},
            ),
            (
                "AdamW and wrappers, H200",
                "2026-11-26-h200.md",
                {
                    "eager update + apply, transformer with 11.7M parameters": (
                        "eager step, transformer"
                    ),
                    **CORE,
                    **WRAPPERS,
                },
            ),
        ],
    ),
    "benchmarks_sweep.png": (
        "Time as a multiple of sweep.run's, 64 settings on a 2-core CPU, with compilation",
        [
            (
                "MLP, 3.5k parameters, 400 steps",
                "2026-11-26-sweep-cpu.md",
                {
                    "MLP, one vmap by hand": "one vmap, written by hand",
                    "MLP, torch's eager loop": "torch, an eager loop",
                    "MLP, one program for each setting": "a program for each setting",
                },
            ),
            (
                "Transformer, 29k parameters, 200 steps",
                "2026-11-26-sweep-cpu.md",
                {
                    "transformer, one vmap by hand": "one vmap, written by hand",
                    "transformer, one program for each setting": "a program for each setting",
                },
            ),
        ],
    ),
}


def table(page):
    """The first number of every row of a page's tables, by the row's name."""
    text = (RESULTS / page).read_text(encoding="utf-8")
    # `| name | 0.5 | ... |` in Markdown, and `name    0.5   ...` in what a command has printed
    rows = re.findall(r"(?m)^(?:\| )?(\S.*?)(?: \| | {2,})(\d*\.?\d+)\b", text)
    return {name: float(number) for name, number in rows}


def panels(picture):
    """The title of each panel, its words and its numbers; a row that no page has is an error."""
    _, described = PICTURES[picture]
    found = []
    for title, page, rows in described:
        numbers = table(page)
        found.append((title, list(rows.values()), [numbers[name] for name in rows]))
    return found


def draw(picture, folder):
    """One panel below the other, with horizontal bars on one scale and a line at 1."""
    from matplotlib.figure import Figure

    drawn = panels(picture)
    heights = [len(words) for _, words, _ in drawn]
    inches = 0.3 * sum(heights) + 0.5 * len(heights) + 0.5
    figure = Figure(figsize=(7.5, inches), layout="constrained")
    figure.suptitle(PICTURES[picture][0], fontsize="medium", x=0.01, ha="left", color=DARK)
    axes = figure.subplots(len(drawn), 1, sharex=True, height_ratios=heights, squeeze=False)
    for ax, (title, words, numbers) in zip(axes[:, 0], drawn, strict=True):
        bars = ax.barh(words, numbers, color=COLOR, height=0.7)
        ax.bar_label(
            bars, [f"{number:.{1 + (number < 10)}f}" for number in numbers], padding=4, color=DARK
        )
        ax.axvline(1.0, color=DARK, lw=1)
        ax.invert_yaxis()
        ax.margins(x=0.1)
        ax.set_title(title, fontsize="medium", loc="left")
        ax.spines[["top", "right", "bottom"]].set_visible(False)
        ax.tick_params(axis="both", length=0)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / picture, dpi=120)


if __name__ == "__main__":
    for name in PICTURES:
        draw(name, IMAGES)
        print(IMAGES.relative_to(ROOT) / name)
