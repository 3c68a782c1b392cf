import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np


class Members(NamedTuple):
    index: np.ndarray
    stacked: Any


@dataclass(frozen=True)
class Population:
    settings: tuple
    members: tuple
    axes: tuple

    def __len__(self):
        return len(self.settings)

    def __getitem__(self, i):
        return self.members[i]

    def groups(self):
        d = {}
        for i, m in enumerate(self.members):
            d.setdefault(jax.tree.structure(m), []).append(i)
        return tuple(
            Members(np.asarray(ix), jax.tree.map(lambda *x: np.asarray(x, np.float32), *[self.members[i] for i in ix]))
            for ix in d.values()
        )


def grid(factory, /, **axes):
    s = [dict(zip(axes, v)) for v in itertools.product(*axes.values())]
    return Population(tuple(s), tuple(factory(**x) for x in s), tuple(axes))
