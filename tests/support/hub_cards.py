"""What the hub says about a card's header: errors, which refuse a commit, and warnings.

Written after the hub's own messages, as users have quoted them, its specification of the header
(hub-docs/modelcard.md), its list of licences, and the codes of ISO 639 that `datasets` has. The hub
itself knows more: which names of models, data sets, metrics and tasks it has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

import yaml

BLOCK = re.compile(r"^(\s*---(?:\r\n|\r|\n))([\S\s]*?)((?:\r\n|\r|\n)---[ \t]*(\r\n|\n|$))")
NAME = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?", re.ASCII)
LANGUAGES = {
    *json.loads((files("datasets") / "utils/resources/languages.json").read_text("utf-8")),
    *("multilingual", "code"),
}
_LICENCES = (
    "apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 "
    "bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause "
    "bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 "
    "cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 "
    "cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 "
    "cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 "
    "eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 "
    "odc-by odbl openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr "
    "deepfloyd-if-license llama2 llama3 gemma unknown other"
)
LICENCES = set(_LICENCES.split())
_TASKS = (
    "text-classification token-classification question-answering fill-mask text-generation "
    "feature-extraction sentence-similarity text-ranking translation summarization "
    "zero-shot-classification multiple-choice text2text-generation"
)
TASKS = set(_TASKS.split())
TEXTS = ("library_name", "pipeline_tag", "license_name", "license_link", "base_model_relation")
LISTS = ("tags", "datasets", "metrics", "language_bcp47")


def validated(card: str) -> tuple[list[str], list[str]]:
    """Errors and warnings about a card."""
    match = BLOCK.search(card)
    if not match:
        return [], ["empty or missing yaml metadata in repo card"]
    try:
        header = yaml.safe_load(match[2])
    except yaml.YAMLError as error:
        return [f"YAML Metadata Error: {' '.join(str(error).split())}"], []
    if not isinstance(header, dict):
        return ['"yaml" must be an object'], []
    errors = [*_texts(header), *_languages(header), *_names(header), *_index(header)]
    task = header.get("pipeline_tag")
    known = task is None or task in TASKS
    return errors, [] if known else [f'"pipeline_tag" with value "{task}" is not in the list']


def _texts(header: dict[str, Any]) -> Iterator[str]:
    for key in TEXTS:
        if key in header and not isinstance(header[key], str):
            yield f'"{key}" must be a string'
    for key in LISTS:
        own = header.get(key, [])
        if not isinstance(own, list) and not (key == "datasets" and isinstance(own, str)):
            yield f'"{key}" must be an array'
        elif isinstance(own, list):
            for number, one in enumerate(own):
                if not isinstance(one, str):
                    yield f'"{key}[{number}]" must be a string'
    licences = header.get("license", [])
    for one in licences if isinstance(licences, list) else [licences]:
        if one not in LICENCES:
            yield f'"license" must be one of [{", ".join(sorted(LICENCES))}]'


def _languages(header: dict[str, Any]) -> Iterator[str]:
    found = header.get("language", [])
    for number, one in enumerate(found if isinstance(found, list) else [found]):
        if not isinstance(one, str):
            yield f'"language[{number}]" must be a string'
        elif one != one.lower():
            yield f'"language[{number}]" must only contain lowercase characters'
        elif one not in LANGUAGES:
            yield (
                f'"language[{number}]" with value "{one}" is not valid. It must be an ISO 639-1, '
                '639-2 or 639-3 code (two/three letters), or a special value like "code", '
                '"multilingual". If you want to use BCP-47 identifiers, you can specify them in '
                "language_bcp47."
            )


def _names(header: dict[str, Any]) -> Iterator[str]:
    for key, kind in (("base_model", "model"), ("datasets", "dataset")):
        found = header.get(key, [])
        for number, one in enumerate(found if isinstance(found, list) else [found]):
            if not (isinstance(one, str) and NAME.fullmatch(one)):
                yield (
                    f'"{key}[{number}]" with value "{one}" is not valid. If possible, use a {kind} '
                    f"id from https://hf.co/{kind}s."
                )


def _index(header: dict[str, Any]) -> Iterator[str]:
    if "model-index" not in header:
        return
    for model, at in _items(header["model-index"], "model-index"):
        if at is None:
            yield model
            continue
        yield from _needs(model, at, {"name": str})
        for result, place in _items(model.get("results"), f"{at}.results"):
            if place is None:
                yield result
                continue
            yield from _needs(result.get("task"), f"{place}.task", {"type": str})
            own = result.get("dataset")
            yield from _needs(own, f"{place}.dataset", {"type": str, "name": str})
            yield from _may(own, f"{place}.dataset", ("config", "split", "revision"))
            for metric, where in _items(result.get("metrics"), f"{place}.metrics"):
                if where is None:
                    yield metric
                    continue
                yield from _needs(metric, where, {"type": str})
                yield from _may(metric, where, ("name", "config"))
                if metric.get("value") is None:
                    yield f'"{where}.value" is required'


def _items(found: Any, at: str) -> Iterator[tuple[Any, str | None]]:
    """The objects of an array with their places; a message, and no place, where it is none."""
    if not isinstance(found, list):
        yield f'"{at}" must be an array', None
        return
    for number, one in enumerate(found):
        if isinstance(one, dict):
            yield one, f"{at}[{number}]"
        else:
            yield f'"{at}[{number}]" must be an object', None


def _needs(found: Any, at: str, kinds: dict[str, type]) -> Iterator[str]:
    if not isinstance(found, dict):
        yield f'"{at}" is required'
        return
    for key, kind in kinds.items():
        if key not in found:
            yield f'"{at}.{key}" is required'
        elif not isinstance(found[key], kind):
            yield f'"{at}.{key}" must be a string'


def _may(found: Any, at: str, keys: Sequence[str]) -> Iterator[str]:
    for key in keys if isinstance(found, dict) else ():
        if key in found and not isinstance(found[key], str):
            yield f'"{at}.{key}" must be a string'
