"""Arrays of many short values in PostgreSQL's binary format: packed, not escaped and quoted one by one.

A batch has some 25 of them, and as psycopg writes lists, in text, they were most of what its statements cost us. Each
class is a list that psycopg knows how to write: `Uuids([…])` for `uuid[]`. None stands for NULL; what is no such value
raises ValueError or TypeError.

Format: array_send in PostgreSQL's src/backend/utils/adt/arrayfuncs.c; of each item, what its type's send writes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from struct import Struct
from typing import Any
from uuid import UUID

import psycopg
from psycopg import pq
from psycopg.adapt import Dumper

_EMPTY = Struct("!iiI").pack  # dimensions, has NULLs, type of the items
_HEAD = Struct("!iiIii").pack  # …, how many, number of the first
_LENGTH = Struct("!i").pack
_NULL = _LENGTH(-1)
_BIGINT, _FLOAT = Struct("!iq").pack, Struct("!id").pack
_INTEGER, _BOOLEAN = Struct("!ii").pack, Struct("!i?").pack


class Uuids(list[UUID | None]): ...


class Bigints(list[int | None]): ...


class Integers(list[int | None]): ...


class Floats(list[float | None]): ...


class Booleans(list[bool | None]): ...


class Texts(list[str | None]): ...


class Hashes(list[bytes | None]): ...


def _bytes(value: bytes) -> bytes:
    return _LENGTH(len(value)) + value


_ITEM: dict[type[list[Any]], tuple[str, Callable[[Any], bytes]]] = {
    Uuids: ("uuid", lambda value: b"\0\0\0\x10" + value.bytes),
    Bigints: ("int8", lambda value: _BIGINT(8, value)),
    Integers: ("int4", lambda value: _INTEGER(4, value)),
    Floats: ("float8", lambda value: _FLOAT(8, value)),
    Booleans: ("bool", lambda value: _BOOLEAN(1, value)),
    Texts: ("text", lambda value: _bytes(value.encode())),
    Hashes: ("bytea", _bytes),
}


def _dumper(of: str, item: Callable[[Any], bytes]) -> type[Dumper]:
    known = psycopg.adapters.types[of]

    def item_or_null(value: Any) -> bytes:
        return _NULL if value is None else item(value)

    class ArrayDumper(Dumper):
        format = pq.Format.BINARY
        oid = known.array_oid

        def dump(self, values: list[Any]) -> bytes:
            if not values:
                return _EMPTY(0, 0, known.oid)
            has_nulls = None in values
            try:
                items = map(item_or_null if has_nulls else item, values)
                return _HEAD(1, has_nulls, known.oid, len(values), 1) + b"".join(items)
            except struct.error as error:
                raise ValueError(f"A value of {of}[] cannot be written: {error}") from None

    return ArrayDumper


for kind, (name, pack) in _ITEM.items():
    psycopg.adapters.register_dumper(kind, _dumper(name, pack))
