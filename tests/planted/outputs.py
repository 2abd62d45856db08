"""Bugs that delete or write what is not ours."""

from __future__ import annotations

from planted.mutant import Mutant

LABELS_TEST = "tests/lit_distill/tools/labelling/test_pseudo_label.py"
OUTPUTS_TEST = "tests/lit_distill/tools/test_outputs.py"

OUTPUTS = (
    Mutant(
        "export replaces whatever is at its output",
        "lit_distill/tools/export.py",
        "            check_output(place)\n",
        "            pass\n",
        f"{OUTPUTS_TEST} -k anybody_else",
    ),
    Mutant(
        "train-tokenizer replaces whatever is at its output",
        "lit_distill/tools/corpora/train_tokenizer.py",
        "    check_output(Path(output), kind=KIND)\n",
        "",
        f"{OUTPUTS_TEST} -k anybody_else",
    ),
    Mutant(
        "corpus-report replaces whatever is at its output",
        "lit_distill/tools/corpora/corpus_report.py",
        "    check_output(Path(output), kind=KIND)\n",
        "",
        f"{OUTPUTS_TEST} -k anybody_else",
    ),
    Mutant(
        "files that a user added to an output are deleted with it",
        "lit_distill/files/output_folders.py",
        "    if foreign := _foreign(folder, kind):",
        "    if not (folder / MARK).exists() and (foreign := _foreign(folder, kind)):",
        f"{OUTPUTS_TEST} -k something_was_added",
    ),
    Mutant(
        "a run replaces a folder called student",
        "callbacks/saving/export_student.py",
        """                check_output(path, "--run_dir")\n""",
        "",
        f"{OUTPUTS_TEST} -k does_not_begin",
    ),
    Mutant(
        "a tokenizer's file in a checkpoint is written where its name leads",
        "lit_distill/files/file_names.py",
        "        if not sound or",
        "        if False and",
        f"{OUTPUTS_TEST} -k hostile",
    ),
    Mutant(
        "a name may begin with the character that makes it absolute",
        "lit_distill/files/file_names.py",
        """(?![\\s.~-])[^/\\\\:*?"<>|]{1,120}""",
        """[^\\s.~-][^/\\\\:*?"<>|]{0,119}""",
        "tests/lit_distill/files/test_file_names.py",
    ),
    Mutant(
        "names of students in a checkpoint are folders as they are",
        "lit_distill/files/checkpoint_description.py",
        '        check_file_name(name, f"A student of {source}")\n',
        "",
        f"{OUTPUTS_TEST} -k hostile",
    ),
    Mutant(
        "compare replaces whatever is at its output",
        "lit_distill/tools/comparing/compare.py",
        "        check_output(Path(output), kind=KIND)\n",
        "        pass\n",
        f"{OUTPUTS_TEST} -k anybody_else",
    ),
    Mutant(
        "compare-texts replaces whatever is at its output",
        "lit_distill/tools/comparing/compare_texts.py",
        "        check_output(Path(output), kind=KIND)\n",
        "        pass\n",
        f"{OUTPUTS_TEST} -k anybody_else",
    ),
    Mutant(
        "one command replaces what another wrote",
        "lit_distill/files/output_folders.py",
        'if found.get("kind", STUDENT) == kind else set()',
        "",
        f"{OUTPUTS_TEST} -k other_commands",
    ),
    Mutant(
        "cache-teacher writes into any folder",
        "lit_distill/tools/caching/cache_teacher.py",
        "        check_output(folder, kind=KIND)\n",
        "        pass\n",
        "tests/lit_distill/tools/caching/test_cache_teacher.py -k other_things",
    ),
    Mutant(
        "cache-teacher writes the tokenizer over that of the cache",
        "lit_distill/tools/caching/cache_teacher.py",
        "        if not (folder / name).exists():\n",
        "        if True:\n",
        "tests/lit_distill/tools/caching/test_cache_teacher.py -k keeps_its_tokenizer",
    ),
    Mutant(
        "pseudo-label replaces the prompts that it reads",
        "lit_distill/files/output_folders.py",
        "    if any(other.exists() and path.samefile(other) for other in inputs):\n",
        "    if False:\n",
        f"{LABELS_TEST} -k earlier_labels",
    ),
    Mutant(
        "pseudo-label replaces files that it did not write",
        "lit_distill/files/output_folders.py",
        "    if path.stat().st_size and not is_ours(path):\n",
        "    if False:\n",
        f"{LABELS_TEST} -k earlier_labels",
    ),
    Mutant(
        "pseudo-label replaces a file of held-out prompts that it did not write",
        "lit_distill/tools/labelling/pseudo_label.py",
        "    for place in (path, _beside(path)):\n",
        "    for place in (path,):\n",
        f"{LABELS_TEST} -k earlier_labels",
    ),
    Mutant(
        "a run replaces a config.yaml that no run wrote",
        "lit_distill/cli/run_lock.py",
        "    _check_foreign(run_dir)\n",
        "",
        "tests/lit_distill/cli/test_run_lock.py -k somebody_else",
    ),
)
"""What commands replace, and where files lead them."""
