"""Read settings: YAML overlays, ``--set``, and every fault at once with its file and key."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from promo_spark.contracts.settings import Settings
from promo_spark.errors import SettingsError
from promo_spark.runtime.settings_yaml import hidden_faults, parse_yaml, shortened, shown, shown_path

NOT_IDENTITY = {"places", "tracking", "spark", "stages_at_once", "maintenance", "stream"}
Tree = dict[str, Any]
_TYPE = re.compile(r"^(str|int|float|bool|tuple\[.*)$")
_SOURCE_KINDS = {"complete_journey", "files", "synthetic"}
_ENDINGS = (".yaml", ".yml")
# As Spark's own spark.redaction.regex: what such a key holds is nobody's business.
_SECRET = re.compile(r"(?i)secret|password|passwd|token|access[._-]?key|credential|account[._-]?key")
_HIDDEN = "(hidden)"
_ALIKE = 0.4  # of 1: below it a suggestion would only lead astray


def load_settings(configs: Iterable[Path], overrides: Iterable[str] = ()) -> Settings:
    """Resolve settings from files, later ones winning, and ``key=value`` overrides, which win over all.

    A file may name others under ``include``, relative to itself; what it says itself wins over them.
    Files without a ``source.name`` are called as the settings file that says ``source.kind``.
    ``plan.promotions_file`` is looked for beside the file that names it, else beside the first config.

    Args:
        configs: YAML files.
        overrides: ``dotted.key=value`` with a YAML value.

    Raises:
        SettingsError: Lists every fault with the file and key it came from.
    """
    configs = list(configs)
    tree: Tree = {}
    origins: dict[str, str] = {}
    for config in configs:
        _overlay(tree, _read_overlay(config, origins, ()))
    for override in overrides:
        _apply_override(tree, origins, override)
    _add_promotions(tree, origins, configs)
    _name_source(tree, origins)
    return _validated(tree, origins)


def settings_fingerprint(settings: Settings) -> str:
    """Hash of the settings that decide results: places, tracking and Spark's own tuning do not."""
    content = settings.model_dump(mode="json", exclude=NOT_IDENTITY)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def told_settings(settings: Settings) -> Tree:
    """The settings as they may be told to others: values whose key speaks of a secret are hidden."""
    told: Tree = _without_secrets(settings.model_dump(mode="json"))
    return told


def _without_secrets(value: Any, key: str = "") -> Any:  # noqa: ANN401  (JSON)
    if isinstance(value, dict):
        return {name: _without_secrets(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_secrets(inner, key) for inner in value]
    return _HIDDEN if value is not None and _SECRET.search(key) else value


def _read_yaml(path: Path) -> Tree:
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"{path}: no such settings file. Give one with --config, for instance conf/local.yaml."
        ) from None
    except (OSError, UnicodeDecodeError) as fault:
        raise SettingsError(f"{path}: cannot be read: {fault}") from None
    except ValueError as fault:
        raise SettingsError(f"{path}: cannot be taken as settings: {fault}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: expected 'key: value' lines, found {type(content).__name__}.")
    return content


def _check_name(path: Path) -> None:
    """What is no settings file by its name is not opened: its content could come up in a message."""
    if path.suffix not in _ENDINGS or not str(path).isprintable():
        raise SettingsError(f"{shown_path(path)}: settings are read from files that end in {' or '.join(_ENDINGS)}.")


def _read_overlay(path: Path, origins: dict[str, str], above: tuple[Path, ...]) -> Tree:
    _check_name(path)
    if path.resolve() in above:
        raise SettingsError(f"{path}: includes itself through {' -> '.join(str(p) for p in above)}.")
    content = _read_yaml(path)
    included = content.pop("include", [])
    tree: Tree = {}
    names = [included] if isinstance(included, str) else included
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SettingsError(f"{path}: include: give a file name, or a list of them, got {shown(included)}.")
    for name in names:
        _overlay(tree, _read_overlay(path.parent / name, origins, (*above, path.resolve())))
    _overlay(tree, content)
    for key in _leaves(content):
        origins[key] = str(path)
    return tree


def _overlay(below: Tree, above: Mapping[str, Any]) -> None:
    for key, value in above.items():
        replaces_source = key == "source" and isinstance(value, dict) and "kind" in value
        if isinstance(value, dict) and isinstance(below.get(key), dict) and not replaces_source:
            _overlay(below[key], value)
        else:
            below[key] = json.loads(json.dumps(value, default=str)) if isinstance(value, dict) else value


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    for key, value in tree.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")


def _apply_override(tree: Tree, origins: dict[str, str], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise SettingsError(
            f"--set {shown(override)}: write it as key=value, for instance --set plan.budget_amount=2000."
        )
    try:
        value = parse_yaml(text)
    except ValueError as fault:
        # What a parser says of a text quotes it, and it may be a secret.
        told = str(fault).partition(":")[0]
        raise SettingsError(f"--set {shown(key)}: the value is {told}.") from None
    # Spark's own keys have dots of their own: spark.spark.sql.shuffle.partitions is one key of the section spark.
    *parents, leaf = key.split(".", 1) if key.startswith("spark.") else key.split(".")
    node = tree
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise SettingsError(f"--set {shown(key)}: {parent} is a value, not a section.")
        node = child
    node[leaf] = value
    origins[key] = "--set"


def _add_promotions(tree: Tree, origins: dict[str, str], configs: list[Path]) -> None:
    if "promotions" in tree or not configs:
        return
    plan = tree.get("plan", {})
    name = plan.get("promotions_file", "promotions.yaml") if isinstance(plan, dict) else "promotions.yaml"
    origin = origins.get("plan.promotions_file", "")
    beside = Path(origin).parent if origin not in {"", "--set"} else configs[0].parent
    candidates = [beside / str(name), configs[0].parent / str(name), Path(str(name))]
    path = next((candidate for candidate in candidates if candidate.is_file()), candidates[0])
    if not path.is_file():
        raise SettingsError(
            f"plan.promotions_file: {shown_path(path)} does not exist; it lists the offers a plan may choose from."
        )
    _check_name(path)
    content = _read_yaml(path)
    tree["promotions"] = content
    for key in ("promotions", *_leaves(content, "promotions.")):
        origins[key] = str(path)


def _name_source(tree: Tree, origins: Mapping[str, str]) -> None:
    source, origin = tree.get("source"), origins.get("source.kind", "--set")
    if isinstance(source, dict) and source.get("kind") == "files" and origin != "--set":
        source.setdefault("name", Path(origin).stem)


def _validated(tree: Tree, origins: Mapping[str, str]) -> Settings:
    faults = [f"{origins.get(key, 'the settings')}: {key}: {fault}" for key, fault in hidden_faults(tree)]
    if faults:
        raise _told(faults)
    try:
        return Settings.model_validate_json(json.dumps(tree, default=str), strict=True)
    except ValidationError as fault:
        # Where one of several types will do, pydantic tells a fault for each.
        faults = list(dict.fromkeys(_describe(error, origins) for error in fault.errors(include_url=False)))
    except TypeError as fault:
        faults = [str(fault)]
    raise _told(faults)


def _told(faults: list[str]) -> SettingsError:
    return SettingsError(f"{len(faults)} fault(s) in the settings:\n" + "\n".join(f"  - {line}" for line in faults))


def _describe(error: Mapping[str, Any], origins: Mapping[str, str]) -> str:
    parts = [str(part) for part in error["loc"]]
    branch = parts.pop() if len(parts) > 1 and _TYPE.match(parts[-1]) else ""
    if parts[:1] == ["source"] and len(parts) > 1 and parts[1] in _SOURCE_KINDS:
        del parts[1]
    key = ".".join(parts)
    known = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    origin = next((origins[name] for name in known if name in origins), "no file sets it")
    if isinstance(error.get("input"), dict):  # a rule of a whole section, or something that it lacks
        section = ".".join(parts[:-1] if error["type"] == "missing" else parts)
        is_overridden = any(place == "--set" and name.startswith(f"{section}.") for name, place in origins.items())
        origin = f"{origin} and --set" if is_overridden and section else origin
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        near = _nearest(parts[-1], _names_beside(parts))
        message = "unknown setting" + (f"; did you mean {near}?" if near else "")
    elif error["type"] == "missing":
        message = "required, but not set"
    elif _SECRET.search(key):
        pass  # what was given stays untold
    elif branch:
        message = f"takes a text, a number or true/false{_hint(parts, error['input'])}"
    elif "input" in error and not isinstance(error["input"], dict | list):
        message = f"{message}, got {shown(error['input'])}"
    return f"{origin}: {key or '(top level)'}: {message}"


def _nearest(given: str, names: list[str]) -> str | None:
    """The name most like what was given, whole or in its first letters: budjet means budget_amount."""

    def likeness(name: str) -> float:
        beginning = name[: len(given)]
        return max(difflib.SequenceMatcher(None, given, text).ratio() for text in (name, beginning))

    best = max(names, key=likeness, default=None)
    return best if best is not None and likeness(best) >= _ALIKE else None


def _hint(parts: list[str], given: object) -> str:
    if parts[0] == "spark" and isinstance(given, dict):
        return "; write Spark's own key with its dots on one line, for instance spark.sql.shuffle.partitions: 8"
    return f", got {shortened(json.dumps(given, default=str))}"


def _names_beside(parts: list[str]) -> list[str]:
    model: Any = Settings
    for part in parts[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        model = field.annotation if field is not None else None
    is_section = isinstance(model, type) and issubclass(model, BaseModel)
    return list(model.model_fields) if is_section else []
