"""A model folder, sent to a hub: private unless it is said otherwise, and never over something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from lit_distill.errors import UserError
from lit_distill.models.loading.hub import SENDING, patience
from lit_distill.tools.publishing.hub_repository import (
    MAIN,
    Repository,
    asking,
    check_account,
    check_card,
    check_name,
    looked_up,
    read_card,
    reason,
)
from lit_distill.tools.publishing.sent_files import CARD, Sent, is_of_model, sent_files


def push(
    folder: str,
    name: str,
    public: bool = False,
    revision: str = MAIN,
    message: str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
) -> None:
    """Sends a model folder to a hub, as one commit; private by default.

    The hub is that of the environment variable HF_ENDPOINT, the account that of `hf auth login` or
    HF_TOKEN. Only files of a model are sent; what stays here is told.

    Args:
        folder: as `fit` and `export` write it: a Hugging Face folder, or one with an ONNX file.
        name: of the repository: OWNER/NAME. It is made where there is none.
        public: make it, or let it be, visible to everybody.
        revision: the branch; it is made from `main` where there is none.
        message: of the commit.
        overwrite: add a commit to a repository that holds files already: those of the same name
            are replaced, and files of a model that the folder does not have are removed. All of
            them stay in its history.
        dry_run: say what would be sent, and what would be refused, and send nothing.

    Raises:
        UserError: something is missing, not valid or in the way, which is said before anything is
            sent; or sending failed, with what the repository holds then.
    """
    check_name(name)
    sent = sent_files(Path(folder))
    card = read_card(Path(folder) / CARD)
    api = HfApi(library_name="lit_distill")
    check_account(api, name)
    check_card(card, Path(folder) / CARD)
    there = looked_up(api, name, revision)
    _check_place(there, public, overwrite)
    stale = [one for one in sorted(there.files) if is_of_model(one) and one not in sent.files]
    _tell(sent, there, public, stale)
    if dry_run:
        print("Nothing was sent (dry run).")
        return
    made = _made(api, there, public)
    text = message or f"{Path(folder).resolve().name}, by lit_distill"
    commit = _sent(api, made, there, sent, stale, text)
    _check_arrived(api, made, sent, commit)
    private = "public" if not made.private else "private"
    print(f"Sent: {made.address} ({private}), commit {commit}")


def _check_place(there: Repository, public: bool, overwrite: bool) -> None:
    """Refuses a repository that would be overwritten, or is seen by more people than was meant.

    Raises:
        UserError: it is such a one.
    """
    if there.exists and not there.private and not public:
        raise UserError(
            f"{there.name} is public: all would see what is sent. Say --public if that is meant, "
            "make it private in its settings, or give another name."
        )
    if there.files and there.head and not overwrite:
        shown = ", ".join(sorted(there.files)[:3]) + (", ..." if len(there.files) > 3 else "")
        raise UserError(
            f"{there.address} holds {len(there.files)} files already ({shown}): give another "
            "name or --revision, or --overwrite, which adds a commit: what was there stays in the "
            "repository's history."
        )


def _tell(sent: Sent, there: Repository, public: bool, stale: Sequence[str]) -> None:
    """Prints what goes where."""
    if there.exists:
        seen = "private" if there.private else "public"
        kept = ", and stays so: change that in its settings" if public and there.private else ""
        place = f"{there.address}, which is there ({seen}{kept})"
    else:
        place = f"{there.address}, which will be made ({'public' if public else 'private'})"
    print(f"From {sent.folder} to {place}:")
    width = max(map(len, sent.files))
    for name, size in sent.files.items():
        again = "  replaced" if name in there.files else ""
        print(f"  {name:{width}}  {_size(size):>9}{again}")
    print(f"{len(sent.files)} files, {_size(sum(sent.files.values()))}.")
    if stale:
        print(f"Removed there, as the folder does not have them: {', '.join(stale)}.")
    if sent.left:
        more = f" and {len(sent.left) - 10} more" if len(sent.left) > 10 else ""
        print(f"Not sent: {', '.join(sent.left[:10])}{more}.")


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"


def _made(api: HfApi, there: Repository, public: bool) -> Repository:
    """The repository with its branch, made where they are not there.

    Raises:
        UserError: the hub refuses.
    """
    if not there.exists:
        with asking(f"Making {there.name}"), patience(SENDING):
            api.create_repo(there.name, private=not public, exist_ok=False)
        there = looked_up(api, there.name, there.revision)
        if not there.private and not public:  # what was asked for is not what is there
            raise UserError(f"{there.address} was made public by the hub: nothing was sent.")
    if there.head is None:
        with asking(f"Making the branch {there.revision} of {there.name}"), patience(SENDING):
            api.create_branch(there.name, branch=there.revision)
        there = looked_up(api, there.name, there.revision)
    return there


def _sent(
    api: HfApi,
    made: Repository,
    before: Repository,
    sent: Sent,
    stale: Sequence[str],
    message: str,
) -> str:
    """The commit with all files.

    Raises:
        UserError: it did not come about, with what is there now.
    """
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd(name, str(sent.folder / name)) for name in sent.files
    ]
    operations += [CommitOperationDelete(name) for name in stale]
    try:
        with patience(SENDING):
            done = api.create_commit(
                made.name,
                operations,
                commit_message=message,
                revision=made.revision,
                parent_commit=made.head,  # or somebody's commit of this minute would be hidden
            )
    except Exception as error:  # of files, the HTTP client and the storage: of many kinds
        state = _state(api, made, before)
        raise UserError(f"Sending to {made.address} failed: {reason(error)}. {state}") from error
    return str(done.oid)


def _state(api: HfApi, made: Repository, before: Repository) -> str:
    """What a repository holds after sending failed, and what to do."""
    try:
        now = looked_up(api, made.name, made.revision)
    except UserError:
        now = replace(made, head=None)
    if now.head != made.head:
        return "Whether it has arrived is to be seen there: look before you send it again."
    holds = "is as it was" if before.exists else "was made, and holds nothing of the model"
    return f"The repository {holds}; the same command sends what is missing."


def _check_arrived(api: HfApi, made: Repository, sent: Sent, commit: str) -> None:
    """Asks the hub whether it has all files: a .gitignore there leaves some out without a word.

    Raises:
        UserError: it does not, or does not say.
    """
    with asking(f"Asking what of {commit} has arrived at {made.address}"), patience(SENDING):
        tree = api.list_repo_tree(made.name, recursive=True, revision=commit)
        sizes = {one.path: getattr(one, "size", None) for one in tree}
    if lost := [name for name, size in sent.files.items() if sizes.get(name) != size]:
        raise UserError(
            f"{made.address} took the commit {commit} without {', '.join(lost[:3])}: see whether a "
            f".gitignore is there, remove it, and send again with --overwrite."
        )
