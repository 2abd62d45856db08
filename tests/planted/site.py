"""Bugs in the documentation as a site: what it would leave out, or say of an option."""

from __future__ import annotations

from planted.mutant import Mutant

OPTIONS = "docs/site/reference_options.py"
CATALOGUE = "docs/site/reference_catalogue.py"
REFERENCE = "tests/docs/test_reference.py"
SITE = "tests/docs/test_site.py"

REFERENCES = (
    Mutant(
        "what a class makes is told as what it takes",
        OPTIONS,
        "for one in entries if fields and _of_fields(one)}\n"
        "    found |= {one.arg_name: one.description for one in entries if not _of_fields(one)}",
        "for one in entries}",
        f"{REFERENCE} -k what_a_class_makes",
    ),
    Mutant(
        "a base says what an option is, whatever the class itself says",
        OPTIONS,
        'next(iter(texts), "")',
        'texts[-1] if texts else ""',
        f"{REFERENCE} -k nearest_class",
    ),
    Mutant(
        "numbers have no range",
        OPTIONS,
        "spans = [described(number, span) for number, span in ranges_in(annotation)]",
        "spans: list[str] = []",
        f"{REFERENCE} -k types_in_words",
    ),
    Mutant(
        "a factory's default is not shown",
        OPTIONS,
        "return field.default_factory()",
        "break",
        f"{REFERENCE} -k factories_make",
    ),
    Mutant(
        "classes behind the range of a number are not found",
        CATALOGUE,
        "waiting: list[Any] = [*roots, Ramp]",
        "waiting: list[Any] = [*roots]",
        f"{REFERENCE} -k on_a_page",
    ),
    Mutant(
        "classes in lists and mappings are not found",
        CATALOGUE,
        "            yield from classes_behind(part)",
        "            pass",
        f"{REFERENCE} -k on_a_page",
    ),
    Mutant(
        "options that a base says are left out",
        "docs/site/reference_pages.py",
        "        for base, names in inherited.items():",
        "        for base, names in ():",
        f"{REFERENCE} -k parser_takes",
    ),
    Mutant(
        "warnings of the builder are not counted",
        "docs/site/site_build.py",
        '"--strict", "-f"',
        '"--strict", "--quiet", "-f"',
        f"{SITE} -k built",
    ),
    Mutant(
        "links are those of the file, not of the page",
        "docs/site/site_links.py",
        "own = places[file]",
        "own = file",
        f"{SITE} -k between_pages",
    ),
    Mutant(
        "links of a page lose their anchors",
        "docs/site/site_links.py",
        'return f"{path}#{anchor}" if anchor else path',
        "return path",
        f"{SITE} -k between_pages",
    ),
    Mutant(
        "a folder of the navigation hides what is new in it",
        "docs/site/site_build.py",
        "found += [page for page in inside if page not in named]",
        "found += [page for page in inside if page in named]",
        f"{SITE} -k spelled_out",
    ),
)
