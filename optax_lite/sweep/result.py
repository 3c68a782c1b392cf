"""Stub."""

from typing import NamedTuple


class Rung(NamedTuple):
    step: int
    kept: tuple
    dropped: tuple


class Copy(NamedTuple):
    step: int
    seed: int
    loser: int
    winner: int


class Best(NamedTuple):
    index: int


class Result:
    def __init__(self, **kw):
        self.__dict__.update(kw)
