"""Bugs that delete or write what is not ours."""

from __future__ import annotations

from planted.mutant import Mutant

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
        "lit_distill/tools/train_tokenizer.py",
        "    check_output(Path(output))\n",
        "",
        f"{OUTPUTS_TEST} -k anybody_else",
    ),
    Mutant(
        "corpus-report replaces whatever is at its output",
        "lit_distill/tools/corpus_report.py",
        "    check_output(Path(output))\n",
        "",
        f"{OUTPUTS_TEST} -k anybody_else",
    ),
    Mutant(
        "files that a user added to an output are deleted with it",
        "callbacks/output_folders.py",
        "    if foreign := _foreign(folder):",
        "    if not (folder / MARK).exists() and (foreign := _foreign(folder)):",
        f"{OUTPUTS_TEST} -k something_was_added",
    ),
    Mutant(
        "a run replaces a folder called student",
        "callbacks/export_student.py",
        """                check_output(path, "The run's")\n""",
        "",
        f"{OUTPUTS_TEST} -k does_not_begin",
    ),
    Mutant(
        "a tokenizer's file in a checkpoint is written where its name leads",
        "lit_distill/file_names.py",
        "        if not sound or",
        "        if False and",
        f"{OUTPUTS_TEST} -k hostile",
    ),
    Mutant(
        "a name may begin with the character that makes it absolute",
        "lit_distill/file_names.py",
        """(?![\\s.~-])[^/\\\\:*?"<>|]{1,120}""",
        """[^\\s.~-][^/\\\\:*?"<>|]{0,119}""",
        "tests/lit_distill/test_file_names.py",
    ),
    Mutant(
        "names of students in a checkpoint are folders as they are",
        "lit_distill/checkpoint_description.py",
        '        check_file_name(name, f"A student of {source}")\n',
        "",
        f"{OUTPUTS_TEST} -k hostile",
    ),
)
"""What commands replace, and where files lead them."""
