"""Links between words of parallel sentences, on sentences whose translation is known."""

from __future__ import annotations

import random

from data_modules.code_mixing.word_alignment import align

LEXICON = {
    "river": "fluss", "house": "haus", "cat": "katze", "child": "kind", "book": "buch",
    "old": "alt", "long": "lang", "sees": "sieht", "reads": "liest", "past": "vorbei",
}  # fmt: skip


def pairs(count: int, turned: bool) -> list[tuple[list[str], list[str]]]:
    draw = random.Random(0)
    made = []
    for _ in range(count):
        words = draw.sample(list(LEXICON), draw.randint(3, 7))
        other = [LEXICON[word] for word in words]
        made.append((words, list(reversed(other)) if turned else other))
    return made


def test_a_dictionary_is_found_in_any_order_of_words() -> None:
    for turned in (False, True):
        text = pairs(200, turned)
        links = align(text)
        right = total = 0
        for (first, second), own in zip(text, links, strict=True):
            total += len(first)
            right += sum(LEXICON[first[i]] == second[j] for i, j in own)
            assert all(LEXICON[first[i]] == second[j] for i, j in own)
        assert right > 0.95 * total


def test_a_word_without_a_counterpart_has_no_link() -> None:
    text = [([*first, "ne"], second) for first, second in pairs(200, turned=False)]
    links = align(text)
    assert not any(
        len(first) - 1 in {i for i, _ in own} for (first, _), own in zip(text, links, strict=True)
    )


def test_nothing_to_align() -> None:
    assert align([]) == []
    assert align([([], ["a"]), (["b"], [])]) == [[], []]
    assert align([([], []), (["a"], ["b"])])[0] == []
