"""Show optimizers and schedules as text: on one line that can be evaluated, or over several lines
to read.
"""

from typing import Any

import jax
import numpy as np
from jax.core import Tracer

_WIDTH = 88


def show(value: Any) -> str:
    """Return a value on one line; of arrays and traced values only the dtype and the shape."""
    if isinstance(value, Tracer):
        return f"<traced {value.aval.str_short()}>"
    if isinstance(value, (np.ndarray, jax.Array)):
        return f"<{value.dtype}{list(value.shape)}>" if value.ndim else str(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(show, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k!r}: {show(v)}" for k, v in value.items()) + "}"
    is_named = callable(value) and not _is_call(value)
    return getattr(value, "__qualname__", repr(value)) if is_named else repr(value)


def show_call(call: Any) -> str:
    """Return the call that made an optimizer or a schedule, with all its numbers."""
    if (infix := call.definition.traits.get("infix")) is not None:
        return infix(call, show)
    known, shown = call.definition.binding.signature.parameters, []
    for name, value in call.arguments.items():
        is_number = isinstance(value, float) or _is_call(value)
        if is_number or name not in known or value is not known[name].default:
            shown.append(show(value) if name.isdigit() else f"{name}={show(value)}")
    return f"{call.definition.name}({', '.join(shown)})"


def layout(value: Any, indent: int = 0) -> str:
    """Return a value for people: without the arguments that have their defaults, numbers to six
    digits, and each part on a line of its own where one line is too short.
    """
    if isinstance(value, float):
        return f"{value:.6g}"
    begin, end, parts = "(", ")", {}
    if _is_call(value):
        if (infix := value.definition.traits.get("infix")) is not None:
            return infix(value, lambda part: layout(part, indent))
        begin, known = f"{value.definition.name}(", value.definition.binding.signature.parameters
        for name, part in value.arguments.items():
            default = known[name].default if name in known else known
            if part is not default and not (isinstance(part, float) and part == default):
                # What is wrapped comes first and needs no name.
                wraps = name == next(iter(known)) and type(part) is type(value)
                parts["" if wraps or name.isdigit() else f"{name}=", name] = part
    elif isinstance(value, dict) and value:
        begin, end, parts = "{", "}", {(f"{k!r}: ", k): part for k, part in value.items()}
    else:
        return show(value)
    rows = [prefix + layout(part, indent + 4) for (prefix, _), part in parts.items()]
    line = begin + ", ".join(rows) + end
    if indent + len(line) <= _WIDTH and "\n" not in line:
        return line
    pad = "\n" + " " * indent
    return begin + "".join(f"{pad}    {row}," for row in rows) + pad + end


def _is_call(value: Any) -> bool:
    return hasattr(value, "arguments") and hasattr(value, "factory")
