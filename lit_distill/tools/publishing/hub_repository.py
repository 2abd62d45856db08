"""A repository on the hub, as it is before something is sent, and the account that sends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, ModelCard, constants, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from lit_distill.errors import UserError
from lit_distill.models.loading.hub import FIRST_ASK, outage, patience
from lit_distill.tools.publishing.front_matter import header_of

MAIN = constants.DEFAULT_REVISION
GIVEN = frozenset({".gitattributes"})
"""What a hub puts into a new repository by itself."""


@dataclass(frozen=True)
class Repository:
    """What is there of a repository.

    Attributes:
        name: owner/name.
        revision: the branch that is meant.
        exists: whether there is one.
        private: whether only its owner sees it.
        head: the commit at the branch's end; None where there is no such branch.
        files: on the branch, or of `main`, of which a new one is made; without those that a hub
            puts there.
    """

    name: str
    revision: str
    exists: bool = False
    private: bool = True
    head: str | None = None
    files: frozenset[str] = frozenset()

    @property
    def address(self) -> str:
        """Of its page."""
        branch = "" if self.revision == MAIN else f"/tree/{self.revision}"
        return f"{constants.ENDPOINT}/{self.name}{branch}"


def check_name(name: str) -> None:
    """Refuses what is no name of a repository.

    Raises:
        UserError: it has no owner, or the hub's rules refuse it.
    """
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UserError(f"{name!r} is no name on a hub: {error}") from error
    if "/" not in name:
        raise UserError(
            f"{name!r} has no owner: give OWNER/{name}, where OWNER is your name on the hub or an "
            "organisation's."
        )


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Turns whatever the hub's library raises into one line.

    Args:
        what: is asked or done, for the message.

    Raises:
        UserError: the hub does not answer, or refuses.
    """
    try:
        yield
    except UserError:
        raise
    except OfflineModeIsEnabled as error:
        raise UserError("Offline mode is on (HF_HUB_OFFLINE): nothing can be sent.") from error
    except Exception as error:  # the HTTP client's own errors differ between versions
        raise UserError(f"{what} failed: {reason(error)}.") from error


def reason(error: BaseException) -> str:
    """Why a request failed, as the end of a sentence."""
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        said = error.server_message or f"HTTP {status}"
        more = " (the token may not do this)" if status in (401, 403) else ""
        return " ".join(said.split()).rstrip(".") + more
    cause = error.__cause__ if isinstance(error, RuntimeError) else None
    if isinstance(cause, HfHubHTTPError):  # of one file of several
        return f"{' '.join(str(error).split()).rstrip('.')}: {reason(cause)}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (outage(error) or " ".join(lines[:3]) or type(error).__name__).rstrip(".")


def check_account(api: HfApi, name: str) -> None:
    """Refuses to write where nobody is logged in, or for somebody else.

    Raises:
        UserError: there is no token, the hub does not take it, or it may not write for the owner.
    """
    remedy = "run `hf auth login`, or set the environment variable HF_TOKEN to a token that writes"
    if constants.HF_HUB_OFFLINE:
        raise UserError("Offline mode is on (HF_HUB_OFFLINE): nothing can be sent.")
    if get_token() is None:
        raise UserError(f"Nobody is logged in to {constants.ENDPOINT}: {remedy}.")
    with asking(f"Asking {constants.ENDPOINT} whose the token is"), patience(FIRST_ASK):
        try:
            who = api.whoami()
        except HfHubHTTPError as error:
            if error.response.status_code in (401, 403):
                raise UserError(
                    f"{constants.ENDPOINT} does not take the token that is set: {remedy}."
                ) from error
            raise
    user, owner = who["name"], name.partition("/")[0]
    owners = [user, *(one["name"] for one in who.get("orgs", ()))]
    if owner not in owners:
        raise UserError(
            f"The token is {user}'s, who may not write for {owner}: give "
            f"{' or '.join(f'{one}/...' for one in owners[:4])}, or log in as somebody else."
        )
    if who.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise UserError(f"The token of {user} may only read: {remedy}.")


def looked_up(api: HfApi, name: str, revision: str) -> Repository:
    """What is there of a repository and its branch.

    Raises:
        UserError: the hub does not say it.
    """
    with asking(f"Looking for {name} on {constants.ENDPOINT}"), patience(FIRST_ASK):
        try:
            main = api.model_info(name)
        except RepositoryNotFoundError:
            return Repository(name, revision)
        branch, head = main, main.sha
        if revision != MAIN:
            try:
                branch = api.model_info(name, revision=revision)
                head = branch.sha
            except RevisionNotFoundError:
                head = None
    files = {one.rfilename for one in branch.siblings or ()} - GIVEN
    return Repository(name, revision, True, bool(main.private), head, frozenset(files))


def read_card(path: Path) -> ModelCard:
    """The card of a model, as the hub's library reads it.

    Raises:
        UserError: there is none, it has no header, or the library cannot read that.
    """
    if not path.is_file():
        raise UserError(f"{path.parent} has no model card: `fit` and `export` write {path.name}.")
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error
    if not header_of(text, str(path)):
        raise UserError(
            f"{path} has no header, by which a hub finds models: begin it with a line ---, lines "
            "such as `library_name: transformers`, and another line ---."
        )
    try:
        card: ModelCard = ModelCard.load(path)
    except ValueError as error:
        raise UserError(f"The header of {path} is not valid: {reason(error)}.") from error
    return card


def check_card(card: ModelCard, path: Path) -> None:
    """Refuses a card that the hub would not take; the hub reads it and keeps nothing.

    Args:
        card: of `read_card`.
        path: its file, for messages.

    Raises:
        UserError: something in its header is not valid, or the hub does not answer.
    """
    with asking(f"Having {constants.ENDPOINT} read {path}"), patience(FIRST_ASK):
        try:
            card.validate()
        except ValueError as error:
            raise UserError(f"The hub refuses {path}: {_complaints(str(error))}.") from error


def _complaints(text: str) -> str:
    """What a hub finds wrong with a card, in one line: it says so as JSON or as lines."""
    found = re.findall(r'"message":\s*"((?:[^"\\]|\\.)*)"', text)
    found = [one.replace('\\"', '"') for one in found]
    lines = found or [line.strip().removeprefix("- Error: ") for line in text.splitlines()]
    short = [line if len(line) < 200 else f"{line[:200]} ..." for line in lines if line]
    return "; ".join(short).rstrip(".")
