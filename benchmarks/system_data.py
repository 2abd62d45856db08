"""Data of published systems, made of public sets: pairs to rank, toxic comments, injected tables.

    python benchmarks/system_data.py DATA FOLDER

reads DATA/retrieval/xquad_*, DATA/toxic/toxic_binary* and DATA/prompt_injection/bipia_table*, and
writes FOLDER/answers/<language>.*.jsonl, FOLDER/toxic/*.jsonl and FOLDER/injection/*.jsonl.
"""

from __future__ import annotations

import json
import re
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

LANGUAGES = ["ar", "de", "el", "en", "es", "hi", "ro", "ru", "tr", "vi", "zh"]
TRAINED_ARTICLES = 24  # of 32: texts of one article are in one split
IDENTITIES = {
    "women": "woman women female females girl girls she her lady ladies wife mother feminist",
    "men": "man men male males boy boys he his guy guys husband father",
    "religions": "muslim muslims islam islamic christian christians catholic jew jews jewish",
    "origins": "black blacks white whites african asian hispanic mexican immigrant immigrants",
    "gay": "gay gays lesbian lesbians homosexual homosexuals lgbt transgender",
}
"""Surrogates: words of our own, not annotations of who is spoken of."""

Row = dict[str, Any]


def rows_of(path: Path) -> list[Row]:
    """The rows of a file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def write(path: Path, rows: Iterable[Row]) -> None:
    """Writes rows and says how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), "utf-8")
    print(f"{path}: {len(lines)} rows")


def answer_pairs(data: Path, language: str) -> dict[str, list[Row]]:
    """Questions with every sentence of their passage, beside the same pair in English.

    Passages whose sentences are of another number than in English are left out: which answers to
    which is not known there.
    """
    sides = {}
    for side in (language, "en"):
        passages = rows_of(data / f"retrieval/xquad_passages.{side}.jsonl")
        questions = rows_of(data / f"retrieval/xquad_questions.{side}.jsonl")
        sides[side] = {p["pid"]: p for p in passages}, {q["qid"]: q for q in questions}
    (passages, questions), (english, asked) = sides[language], sides["en"]
    found: dict[str, list[Row]] = {"train": [], "test": []}
    for qid, question in questions.items():
        own, other = passages[question["pid"]], english[question["pid"]]
        same = len(own["sent_spans"]) == len(other["sent_spans"])
        if not same or question["answer_sent"] != asked[qid]["answer_sent"]:
            continue
        spans = zip(own["sent_spans"], other["sent_spans"], strict=True)
        part = "train" if own["article"] < TRAINED_ARTICLES else "test"
        for number, ((start, end), (first, last)) in enumerate(spans):
            found[part].append(
                {
                    "question": question["question"],
                    "sentence": own["text"][start:end].strip(),
                    "en_question": asked[qid]["question"],
                    "en_sentence": other["text"][first:last].strip(),
                    "label": "answer" if number == question["answer_sent"] else "other",
                }
            )
    return found


def with_identities(row: Row) -> Row:
    """A toxic comment with a column for every group of words: 1 where it has one of them."""
    words = {*re.findall(r"[a-z]+", row["text"].lower())}
    groups = {name: int(bool(words & {*own.split()})) for name, own in IDENTITIES.items()}
    return {"text": row["text"], "label": "toxic" if row["label"] else "civil", **groups}


def injections(rows: list[Row]) -> dict[str, list[Row]]:
    """Tables with and without an injected instruction; a question is in one split."""
    found: dict[str, list[Row]] = {"train": [], "test": []}
    for row in rows:
        held_out = zlib.crc32(row["question"].encode()) % 4 == 0
        label = "injected" if row["label"] else "clean"
        found["test" if held_out else "train"].append({"text": row["text"], "label": label})
    return found


def main(data: Path, folder: Path) -> None:
    """Writes all three."""
    for language in LANGUAGES:
        for part, rows in answer_pairs(data, language).items():
            write(folder / f"answers/{language}.{part}.jsonl", rows)
    for part, name in (("train", "train"), ("dev", "test")):
        comments = rows_of(data / f"toxic/toxic_binary.en.{part}.jsonl")
        write(folder / f"toxic/en.{name}.jsonl", map(with_identities, comments))
    tables = rows_of(data / "prompt_injection/bipia_table.en.train.jsonl")
    for part, rows in injections(tables).items():
        write(folder / f"injection/en.{part}.jsonl", rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
