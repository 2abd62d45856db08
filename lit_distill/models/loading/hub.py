"""Asking the Hugging Face hub with limited patience, and saying what it answered.

Left alone, the client libraries (huggingface_hub 2.4, transformers 5.23, datasets 5.2) list a
repository's files without a time limit, sleep for as long as a rate limit asks, try a file again
for minutes, and load a tokenizer without the files that a busy hub did not give. All of it is
decided in one place here: their shared HTTP client. The access token stays with the libraries
(HF_TOKEN): nothing here prints it.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import constants, get_session, get_token, set_client_factory
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

_log = logging.getLogger(__name__)

BUSY = (408, 429, 500, 502, 503, 504)
"""HTTP statuses after which the same request may succeed."""

_REPOSITORY = re.compile(r"/resolve/|/api/(models|datasets)/")
"""Addresses without which nothing can be loaded; the libraries ask for others by the way."""


@dataclass(frozen=True)
class Patience:
    """Seconds for which one request is repeated.

    Attributes:
        busy: while the hub answers that it is busy or out of order.
        silent: while it does not answer, or breaks off.
        answer: until an answer has to begin or go on; 0: as long as the libraries say.
    """

    busy: float = 10.0
    silent: float = 10.0
    answer: float = 0.0


LOADING = Patience()
FIRST_ASK = Patience(silent=0.0)
"""For the question whether there is a hub at all."""
SENDING = Patience(silent=0.0, answer=300.0)
"""For uploads: a hub answers a commit when all is stored, and may have it though it is silent."""


class HubGivesNothing(Exception):
    """The hub is silent, busy or out of order for too long; the text is half a sentence.

    Neither an OSError nor a ValueError: the libraries take those for a missing optional file and
    go on without it.
    """


class _Client(httpx2.Client):
    """The libraries' HTTP client, which repeats what may still succeed, within its patience."""

    patience = LOADING
    given_up = ""

    def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """See `httpx2.Client.send`.

        Raises:
            HubGivesNothing: patience is at an end. The libraries do not repeat after it.
        """
        _limit_waiting(request)
        own_host = request.url.host == urlsplit(constants.ENDPOINT).hostname
        if not (own_host and _REPOSITORY.search(request.url.path)):
            return super().send(request, **options)
        if _Client.given_up:
            raise HubGivesNothing(_Client.given_up)
        begin = time.monotonic()
        pause = 1.0
        while True:
            try:
                response = super().send(request, **options)
            except httpx2.TransportError as error:
                why, wait, limit = _silence(error), pause, self.patience.silent
            else:
                if response.status_code not in BUSY:
                    return response
                response.close()
                why, asked = _busy(response), _asked_wait(response)
                wait, limit = max(pause, asked), self.patience.busy
            if time.monotonic() - begin + wait > limit:
                _Client.given_up = why
                raise HubGivesNothing(why)
            _log.warning("%s%s: asking again in %.0f s.", why[0].upper(), why[1:], wait)
            time.sleep(wait)
            pause *= 2


@contextmanager
def patience(limits: Patience = LOADING) -> Iterator[None]:
    """Inside, requests to the hub fail when the limits are over, and all later ones at once.

    The libraries share one client in a process, so the limits hold for all of its threads, and a
    client factory of one's own is replaced.

    Raises:
        HubGivesNothing: a request failed so, even if the library that sent it went on without.
    """
    _use_client()
    _Client.patience, _Client.given_up = limits, ""
    try:
        yield
        if _Client.given_up:
            raise HubGivesNothing(_Client.given_up)
    finally:
        _Client.patience, _Client.given_up = LOADING, ""


@cache
def _use_client() -> None:
    hooks = get_session().event_hooks  # the libraries' own: offline mode, request ids
    set_client_factory(
        lambda: _Client(event_hooks=hooks, follow_redirects=True, timeout=answer_within())
    )


def answer_within() -> float:
    """Seconds until an answer has to begin or go on: the libraries' HF_HUB_DOWNLOAD_TIMEOUT."""
    return float(constants.HF_HUB_DOWNLOAD_TIMEOUT)


def _limit_waiting(request: httpx2.Request) -> None:
    """Some requests come without a limit, and some with a minute."""
    given, answer = request.extensions.get("timeout", {}), _Client.patience.answer
    request.extensions["timeout"] = {
        name: answer
        if answer and name in ("read", "write")
        else min(given.get(name) or answer_within(), answer_within())
        for name in ("connect", "read", "write", "pool")
    }


def refusal(error: BaseException, what: str, name: str, revision: str | None) -> str | None:
    """What to tell the user if the hub has no such thing for him; None for other errors.

    Args:
        error: what a library raised.
        what: "model", "dataset".
        name: on the hub.
        revision: that was asked for.
    """
    token = " (the token that is set may not read it)" if get_token() else ""
    for cause in _chain(error):
        if isinstance(cause, GatedRepoError):
            return (
                f"The {what} {name} is gated: ask for access on its page on the hub, and set the "
                f"environment variable HF_TOKEN to a token of that account{token}."
            )
        if isinstance(cause, RevisionNotFoundError):
            return (
                f"{name} has no revision {revision!r} on the hub: give a branch, tag or commit of "
                "its page, or leave it out for the default branch."
            )
        if isinstance(cause, RepositoryNotFoundError) or (
            isinstance(cause, HfHubHTTPError) and cause.response.status_code in (401, 403)
        ):
            return (
                f"{name} is neither a local folder nor on the hub for you to read: check the name; "
                f"for a private or gated {what} set the environment variable HF_TOKEN{token}."
            )
    return None


def outage(error: BaseException) -> str | None:
    """Why the hub gives nothing, as half a sentence; None if that is not what went wrong."""
    for cause in _chain(error):
        if isinstance(cause, HubGivesNothing):
            return str(cause)
        if isinstance(cause, httpx2.TransportError):
            return _silence(cause)
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it came from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _silence(error: httpx2.TransportError) -> str:
    if isinstance(error, httpx2.RemoteProtocolError | httpx2.ReadError):
        return f"the connection with {_host()} broke off"
    if isinstance(error, httpx2.TimeoutException):
        return f"the hub cannot be reached ({_host()} gives no answer in {answer_within():g} s)"
    return f"the hub cannot be reached (no connection with {_host()})"


def _busy(response: httpx2.Response) -> str:
    asked = _asked_wait(response)
    wait = f" and asks to wait {asked:.0f} s" if asked else ""
    if response.status_code != 429:
        return f"{_host()} is out of order (HTTP {response.status_code}){wait}"
    more = "" if get_token() else ", or set HF_TOKEN, for which the limit is higher"
    return f"{_host()} limits the rate of requests (HTTP 429){wait}; wait and start again{more}"


def _asked_wait(response: httpx2.Response) -> float:
    """Seconds that a rate limit asks for: `Retry-After`, or the hub's own `RateLimit` header."""
    after = response.headers.get("Retry-After", "")
    window = response.headers.get("RateLimit", "")  # such as "api";r=0;t=55
    until = window.rpartition("t=")[2] if "r=0;" in window.replace(" ", "") else ""
    return max((float(seconds) for seconds in (after, until) if seconds.isdigit()), default=0.0)


def _host() -> str:
    return urlsplit(constants.ENDPOINT).netloc.rpartition("@")[2]
