"""Where a JSON value does not fit a msgspec shape: every place, by its exact path.

msgspec itself stops at the first error and cannot name the key of a dict. This walk is only taken
after msgspec has refused, so it may be slow; it knows the kinds of types that our own shapes use.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from msgspec import Struct, inspect

from jobs.rules import Problem, shown

_PYTHON_TYPES: dict[type[inspect.Type], tuple[type, ...]] = {
    inspect.StrType: (str,),
    inspect.IntType: (int,),
    inspect.FloatType: (float, int),
    inspect.BoolType: (bool,),
    inspect.NoneType: (type(None),),
    inspect.ListType: (list, tuple),
    inspect.DictType: (dict,),
    inspect.StructType: (dict,),
    inspect.EnumType: (str,),  # ours are of strings
}
_JSON_NAMES: dict[type, str] = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
    list: "a list",
    tuple: "a list",
    dict: "an object",
}


def misfits(shape: type[Struct], raw: object, path: str) -> Iterator[Problem]:
    """Yields (path, message) for every value in `raw` that has no place in `shape`."""
    return _of_type(inspect.type_info(shape), raw, path)


def _of_type(node: inspect.Type, raw: Any, path: str) -> Iterator[Problem]:
    options = _options(node)
    if any(type(option) not in _PYTHON_TYPES for option in options):
        return  # a kind that the walk does not know; msgspec's own words will do
    fitting = next((option for option in options if type(raw) in _PYTHON_TYPES[type(option)]), None)
    if fitting is None:
        wanted = " or ".join(_JSON_NAMES[_PYTHON_TYPES[type(option)][0]] for option in options)
        yield path, f"is {_JSON_NAMES.get(type(raw), 'something else')}. Give {wanted}."
    elif isinstance(fitting, inspect.StructType):
        yield from _of_struct(fitting, raw, path)
    elif isinstance(fitting, inspect.EnumType):
        words = [str(word.value) for word in fitting.cls]
        if raw not in words:
            yield path, f"is none of: {', '.join(words)}."
    elif isinstance(fitting, inspect.ListType):
        for index, item in enumerate(raw):
            yield from _of_type(fitting.item_type, item, f"{path}[{index}]")
    elif isinstance(fitting, inspect.DictType):
        for key, value in raw.items():
            yield from _of_type(fitting.value_type, value, f"{path}.{shown(key)}")


def _of_struct(node: inspect.StructType, raw: dict[str, Any], path: str) -> Iterator[Problem]:
    fields = {field.encode_name: field for field in node.fields}
    for name, field in fields.items():
        if name in raw:
            yield from _of_type(field.type, raw[name], f"{path}.{name}")
        elif field.required:
            yield f"{path}.{name}", "is required. Add it."
    for name in raw:
        if name not in fields:
            yield f"{path}.{shown(name)}", f"is not a field. {_instead(name, list(fields))}"


def _instead(name: str, fields: list[str]) -> str:
    close = get_close_matches(name[:80].lower(), fields, n=1)
    return f"Did you mean `{close[0]}`?" if close else f"Use one of: {', '.join(fields)}."


def _options(node: inspect.Type) -> list[inspect.Type]:
    """The types a value may have: the members of a union, without the notes for the schema."""
    if isinstance(node, inspect.Metadata):
        return _options(node.type)
    if isinstance(node, inspect.UnionType):
        return [option for member in node.types for option in _options(member)]
    return [node]
