"""Bugs in what is read of files."""

from __future__ import annotations

from planted.mutant import Mutant

FILES = (
    Mutant(
        "a link that leads nowhere is no file, and no word about it",
        "data_modules/reading/file_kinds.py",
        "    if trouble:\n        raise",
        "    if False:\n        raise",
        "tests/data_modules/reading/test_file_kinds.py -k readable",
    ),
    Mutant(
        "folders that cannot be looked into hold nothing",
        "data_modules/reading/file_patterns.py",
        "            check_folders(glob",
        "            list(glob",
        "tests/data_modules/reading/test_file_kinds.py -k folder",
    ),
    Mutant(
        "texts of the same size and time are the same",
        "data_modules/reading/file_kinds.py",
        " {status.st_ctime_ns} {status.st_ino}",
        "",
        "tests/data_modules/reading/test_file_kinds.py -k same_size",
    ),
    Mutant(
        "of two columns with one name the first is read",
        "data_modules/reading/cells.py",
        "there.count(column) > 1:",
        "there.count(column) > 2:",
        "tests/data_modules/reading/test_readers.py -k two_columns",
    ),
    Mutant(
        "of two values of one key the last is read",
        "data_modules/reading/json_rows.py",
        ".count(key) > 1",
        ".count(key) > 2",
        "tests/data_modules/reading/test_readers.py -k twice",
    ),
    Mutant(
        "an open quote takes all rows behind it",
        "data_modules/reading/readers.py",
        "csv.reader(decoded, strict=True)",
        "csv.reader(decoded, strict=False)",
        "tests/data_modules/reading/test_readers.py -k quote",
    ),
    Mutant(
        "a tokenised corpus is trained on whatever became of it",
        "data_modules/storing/corpus_cache.py",
        "if target.is_dir() and (checked or damage_of(target) is None):",
        "if target.is_dir():",
        "tests/data_modules/test_damaged_corpus.py -k zeroed",
    ),
    Mutant(
        "an empty report says that no row is broken",
        "data_modules/storing/corpus_report.py",
        "isinstance(rows, list) and bool(rows)",
        "isinstance(rows, list)",
        "tests/data_modules/test_damaged_corpus.py -k report",
    ),
    Mutant(
        "a shard that is missing is not missed",
        "data_modules/storing/token_store.py",
        "if tokens != counts.sum():",
        "if False:",
        "tests/data_modules/test_damaged_corpus.py -k cannot_be_right",
    ),
    Mutant(
        "a disk that is locked wants room",
        "lit_distill/files/disk_errors.py",
        "if error.errno in LOCKED:",
        "if False:",
        "tests/lit_distill/files/test_scratch.py -k room",
    ),
    Mutant(
        "a full system disk ends a run that has room",
        "lit_distill/files/scratch.py",
        "if beside is None or not beside.is_dir():",
        "if True:",
        "tests/lit_distill/files/test_scratch.py -k full",
    ),
    Mutant(
        "an empty name is the current folder",
        "lit_distill/models/loading/pretrained.py",
        "if not name.strip():",
        "if False:",
        "tests/lit_distill/files/test_scratch.py -k empty",
    ),
    Mutant(
        "a cache of more tokens than its shards hold",
        "lit_distill/models/teachers/cache_format.py",
        "if found.dtype != dtype or found.shape != shape:",
        "if False:",
        "tests/lit_distill/tools/caching/test_cache_teacher.py -k disagree",
    ),
    Mutant(
        "a teacher's zeros are learnt",
        "lit_distill/models/teachers/teacher_cache.py",
        "        self._check_sums(items, found)\n",
        "",
        "tests/lit_distill/tools/caching/test_cache_teacher.py -k zeroed",
    ),
    Mutant(
        "a student of whose teacher nothing is kept is called trained",
        "lit_distill/methods/generated_text/sequence_kd.py",
        "if not self._learnt and self._dropped >= IN_VAIN:",
        "if False:",
        "tests/lit_distill/methods/test_sequence_kd.py -k nothing_is_kept",
    ),
    Mutant(
        "an array that goes beyond its file is cut",
        "lit_distill/models/teachers/cache_format.py",
        "            _require(start + end <= len(content), name, entry)\n",
        "",
        "tests/lit_distill/models/teachers/test_cache_format.py -k headers",
    ),
)
