"""Seeded ways to spoil a file: bytes, numbers, structure, text, and attributes of HDF5."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import h5py
import numpy as np

Mutator = Callable[[bytes, np.random.Generator], bytes]
# Lengths, counts and offsets that readers trip over.
NUMBERS = (0, 1, -1, 2, 255, 256, 65535, 2**24, 2**31 - 1, -(2**31), 2**40, 2**63 - 1)
REALS = (float("nan"), float("inf"), -1.0, 0.0, 1e300, -1e-300, 1e30, 5e-324)
TEXTS = (
    b"",
    b"<script>alert(1)</script>",
    b"$(touch escaped)",
    b"../../escaped",
    b"'; DROP TABLE cells; --",
    b"\xff\xfe",
    b"\0",
    "µ∞\u202e".encode(),
    b"x" * 300,
    b"nan",
    b"1e999",
)


def _place(data: bytes, random: np.random.Generator) -> int:
    """A position; every other one in the first part, where headers are."""
    end = len(data) if random.random() < 0.5 else min(len(data), 600)
    return int(random.integers(0, max(end, 1)))


def flip_bytes(data: bytes, random: np.random.Generator) -> bytes:
    """One to sixteen bytes become others."""
    spoiled = bytearray(data)
    for _ in range(int(random.integers(1, 17))):
        spoiled[_place(data, random)] = int(random.integers(0, 256))
    return bytes(spoiled)


def flip_bit(data: bytes, random: np.random.Generator) -> bytes:
    """A single bit turns over."""
    spoiled = bytearray(data)
    spoiled[_place(data, random)] ^= 1 << int(random.integers(0, 8))
    return bytes(spoiled)


def put_number(data: bytes, random: np.random.Generator) -> bytes:
    """An extreme whole or real number is written over some place, in either byte order."""
    order = "<>"[int(random.integers(0, 2))]
    if random.random() < 0.3:
        packed = struct.pack(order + "fd"[int(random.integers(0, 2))], 0.0)
        value = REALS[int(random.integers(0, len(REALS)))]
        with np.errstate(all="ignore"):
            packed = np.array(value, f"{order}f{len(packed)}").tobytes()
    else:
        size = (2, 4, 8)[int(random.integers(0, 3))]
        number = NUMBERS[int(random.integers(0, len(NUMBERS)))]
        packed = (number % 2 ** (8 * size)).to_bytes(size, "little" if order == "<" else "big")
    start = _place(data, random)
    return data[:start] + packed + data[start + len(packed) :]


def cut(data: bytes, random: np.random.Generator) -> bytes:
    """The end is missing."""
    return data[: int(random.integers(0, len(data)))]


def blank(data: bytes, random: np.random.Generator) -> bytes:
    """A stretch of zeros, as a file system leaves after a crash."""
    start = _place(data, random)
    length = int(random.integers(1, max(2, len(data) // 4)))
    return data[:start] + bytes(len(data[start : start + length])) + data[start + length :]


def repeat(data: bytes, random: np.random.Generator) -> bytes:
    """A stretch stands twice."""
    start = _place(data, random)
    stop = start + int(random.integers(1, 200))
    return data[:stop] + data[start:stop] + data[stop:]


def remove(data: bytes, random: np.random.Generator) -> bytes:
    """A stretch is gone, and what follows has moved up."""
    start = _place(data, random)
    return data[:start] + data[start + int(random.integers(1, 100)) :]


def put_text(data: bytes, random: np.random.Generator) -> bytes:
    """Some words are written over some place."""
    text = TEXTS[int(random.integers(0, len(TEXTS)))]
    start = _place(data, random)
    return data[:start] + text + data[start + len(text) :]


def change_word(data: bytes, random: np.random.Generator) -> bytes:
    """A number or a word of a text file becomes another."""
    words = data.split(b" ") if random.random() < 0.5 else data.split(b"\n")
    index = int(random.integers(0, min(len(words), 40)))
    choice = [*TEXTS, *(str(number).encode() for number in NUMBERS), b"eV", b"2,5", b"-3.5e2"]
    words[index] = choice[int(random.integers(0, len(choice)))]
    return (b" " if b" ".join(words) and len(words) > 1 and b" " in data else b"\n").join(words)


def change_attribute(data: bytes, random: np.random.Generator) -> bytes:
    """An attribute of an HDF5 file gets a value of another kind, or goes."""
    memory = io.BytesIO(data)
    with h5py.File(memory, "r+") as file:
        places: list[tuple[str, str]] = [("/", name) for name in file.attrs]
        file.visititems(lambda path, item: places.extend((path, name) for name in item.attrs))
        path, name = places[int(random.integers(0, len(places)))]
        values = [
            *REALS,
            *NUMBERS,
            *(text.decode("utf-8", "replace").replace("\0", "") for text in TEXTS),
            [],
            [1.0, 2.0],
        ]
        chosen = int(random.integers(0, len(values) + 1))
        if chosen == len(values):
            del file[path].attrs[name]
        else:
            file[path].attrs[name] = values[chosen]
    return memory.getvalue()


def change_dataset(data: bytes, random: np.random.Generator) -> bytes:
    """A dataset of an HDF5 file gets another shape or type, or goes."""
    memory = io.BytesIO(data)
    with h5py.File(memory, "r+") as file:
        places: list[str] = []
        file.visititems(lambda path, item: places.append(path) if isinstance(item, h5py.Dataset) else None)
        path = places[int(random.integers(0, len(places)))]
        old = file[path]
        kind = int(random.integers(0, 5))
        attributes = dict(old.attrs)
        value = old[()]
        del file[path]
        new = [
            None,
            np.float64("nan"),
            np.zeros((0, 3)),
            np.full(np.shape(value) or (1,), np.nan),
            np.array(["text"], dtype=object),
        ][kind]
        if kind == 4:
            file.create_dataset(path, data=["text"], dtype=h5py.string_dtype())
        elif new is not None:
            file[path] = new
        if path in file:
            file[path].attrs.update(attributes)
    return memory.getvalue()


BINARY: tuple[Mutator, ...] = (
    flip_bytes,
    flip_bit,
    put_number,
    put_number,
    cut,
    blank,
    repeat,
    remove,
    put_text,
)
HDF5: tuple[Mutator, ...] = (*BINARY, change_attribute, change_attribute, change_attribute, change_dataset)
TEXT: tuple[Mutator, ...] = (*BINARY, change_word, change_word, change_word)


def mutate(data: bytes, kind: tuple[Mutator, ...], random: np.random.Generator) -> tuple[str, bytes]:
    """Name of the way taken and the spoiled bytes, which differ from the sound ones."""
    for _ in range(20):
        way = kind[int(random.integers(0, len(kind)))]
        try:
            spoiled = way(data, random)
        except (OSError, ValueError, TypeError, KeyError):  # HDF5 does not let everything be written
            continue
        if spoiled != data:
            return way.__name__, spoiled
    return "cut", data[: len(data) // 2]
