"""What a settings file may hold at all: plain YAML of a sensible size, no code, no hidden characters."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

_MOST_CHARACTERS, _MOST_VALUES, _LONGEST_TEXT = 2_000_000, 200_000, 10_000
_DEEPEST = 50
# Control characters but tab, line and paragraph separators, and marks that turn the direction of text.
_HIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_SHOWN, _PATH_SHOWN = 60, 500


class _StrictLoader(yaml.SafeLoader):
    """YAML without repeated keys: the second would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        doubled = sorted({str(name) for name in names if names.count(name) > 1})
        if doubled:
            raise yaml.constructor.ConstructorError(
                None, None, f"key given twice: {', '.join(doubled)}", node.start_mark
            )
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:  # noqa: ANN401  (whatever the text holds)
    """Read YAML of plain values: no tags that make objects, no aliases that grow beyond reason.

    Raises:
        ValueError: Says what is wrong with it, in one line.
    """
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(f"it has {len(text):,} characters, more than any settings need")
    try:
        node = yaml.compose(text, Loader=_StrictLoader)  # a SafeLoader; composing makes no objects
        if node is not None and _values(node, {}, 0) > _MOST_VALUES:
            raise ValueError("its aliases stand for more values than any settings need")
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506  (a SafeLoader)
    except RecursionError:
        raise ValueError("it is nested more deeply than any settings need") from None
    except yaml.YAMLError as fault:
        raise ValueError(f"not valid YAML: {' '.join(str(fault).split())}") from None


def hidden_faults(tree: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Find texts that are not what they look like: hidden characters forge lines of logs, and hide from a reviewer.

    Yields:
        Key and fault.
    """
    for key, text in _texts(tree, ""):
        if len(text) > _LONGEST_TEXT:
            yield key, f"a text of {len(text):,} characters; at most {_LONGEST_TEXT:,} are taken"
        elif found := _HIDDEN.search(text):
            yield key, f"holds the hidden character U+{ord(found[0]):04X}; take it out, got {shown(text)}"


def shown(value: object) -> str:
    """A value for a message: on one line, short, its hidden characters written out."""
    return shortened(repr(value) if isinstance(value, str) else str(value))


def shown_path(path: Path) -> str:
    """A path for a message."""
    return shortened(str(path), _PATH_SHOWN)


def shortened(text: str, most: int = _SHOWN) -> str:
    """A text for a message: short, and its hidden characters written out."""
    written = _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return written if len(written) <= most else f"{written[:most]}…"


def _values(node: yaml.Node, known: dict[int, int], depth: int) -> int:
    """How many values a node stands for, each alias written out."""
    if id(node) in known:
        if known[id(node)] == 0:
            raise ValueError("an alias holds itself")
        return known[id(node)]
    if depth > _DEEPEST:
        raise RecursionError
    known[id(node)] = 0
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        children = list(node.value)
    known[id(node)] = 1 + sum(_values(child, known, depth + 1) for child in children)
    return known[id(node)]


def _texts(value: object, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, below in value.items():
            place = f"{key}.{name}" if key else str(name)
            yield shortened(place), str(name)
            yield from _texts(below, place)
    elif isinstance(value, (list, tuple)):
        for below in value:
            yield from _texts(below, key)
