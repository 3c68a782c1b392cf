"""What makes a picture hard to read: words on a curve, on other words, or outside the figure."""

from itertools import combinations

import numpy as np


def clashes(figure):
    """Return a line for each box of words that lies on a data line, on another or off the edge."""
    figure.canvas.draw()
    boxes = {name: box for axes in all_axes(figure) for name, box in words(axes)}
    boxes |= {text.get_text(): text.get_window_extent() for text in figure.texts}
    lines = [
        (axes, line, line.get_transform().transform_path(line.get_path()))
        for axes in all_axes(figure)
        for line in axes.lines
        if len(line.get_xdata())
    ]
    found = [
        f"{name!r} lies on a line of {axes.get_ylabel()!r}"
        for name, box in boxes.items()
        for axes, line, path in lines
        if lies_on(box, axes, line, path)
    ]
    found += [
        f"{a!r} lies on {b!r}"
        for a, b in combinations(boxes, 2)
        if boxes[a].intersection(boxes[a].padded(-0.5), boxes[b].padded(-0.5))
    ]
    page = figure.bbox.padded(1)
    return found + [
        f"{name!r} is cut off"
        for name, box in boxes.items()
        if not (page.contains(*box.min) and page.contains(*box.max))
    ]


def all_axes(figure):
    return [axes for ax in figure.axes for axes in (ax, *ax.child_axes)]


def words(axes):
    """Yield (words, box) of all that is written in, at and under some axes."""
    legend = axes.get_legend()
    if legend is not None:
        texts = [legend.get_title(), *legend.get_texts()]
        told = "; ".join(filter(None, (text.get_text() for text in texts)))
        yield (axes, f"legend: {told}"), legend.get_window_extent()
    shown = [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        shown += [
            label
            for tick in axis.get_major_ticks()
            if low <= tick.get_loc() <= high
            for label in (tick.label1, tick.label2)
        ]
    for i, text in enumerate(shown):
        if text.get_visible() and text.get_text().strip():
            yield (axes, i, text.get_text()), text.get_window_extent()


def lies_on(box, axes, line, path):
    """Whether a line or one of its marks goes through a box, where it is drawn."""
    box = box.intersection(box, axes.bbox) if line.get_clip_on() else box
    if box is None:
        return False
    has_marks = line.get_marker() not in ("None", None, "", " ")
    points = path.vertices[np.isfinite(path.vertices).all(1)]
    reach = box.padded(line.get_markersize() / 2 * axes.figure.dpi / 72)
    is_marked = has_marks and any(reach.contains(*point) for point in points)
    return is_marked or (line.get_linestyle() != "None" and path.intersects_bbox(box, filled=False))
