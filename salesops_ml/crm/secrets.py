"""Secrets: read from where the configuration says, and masked in everything that is written.

A `Secret` shows as `***` wherever it is printed. Each one that is read is remembered for as long as
the process lives, so that `mask` can take it out of any text, in the forms in which it travels: as
it is, quoted for a URL, in base64, escaped for JSON. Log records and the last words of a process that
fails are masked on their way out.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit, urlunsplit

from salesops_ml.errors import ConfigError, SourceError
from salesops_ml.secret_reference import check_reference

MASK = "***"
SHORTEST = 4
"""A shorter secret is refused: masking it would take apart ordinary words."""
_forms: set[str] = set()
_guarded = False


class Secret:
    """A value that shows itself only to who asks by name.

    Example:
        >>> token = Secret("s3cret-token")
        >>> f"{token} {token!r}", token.reveal()
        ("*** Secret('***')", 's3cret-token')
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        remember(value)

    def reveal(self) -> str:
        """The secret itself."""
        return self._value

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"Secret('{MASK}')"

    def __reduce__(self) -> Any:
        raise TypeError("a secret is not stored; store its reference")


def read_secret(reference: str) -> Secret:
    """The secret that a reference such as `env:HUBSPOT_TOKEN` or `keyring:hubspot/ada` names.

    Raises:
        ConfigError: the text is no reference.
        SourceError: there is nothing at that place.
    """
    try:
        kind, _, name = check_reference(reference).partition(":")
    except ValueError as error:
        raise ConfigError(f"a secret of the configuration {error}") from None
    value = (_from_environment if kind == "env" else _from_keyring)(name)
    if value is None or not value.strip():
        raise SourceError(f"`{reference}`: nothing is kept there; {_cure(kind, name)}")
    if len(value.strip()) < SHORTEST:
        raise SourceError(
            f"`{reference}`: is shorter than {SHORTEST} letters; is it the whole secret?"
        )
    return Secret(value.strip())


def with_password(url: str, reference: str | None, *, setting: str) -> str:
    """An address with the secret that belongs into it; without a reference as it is.

    Args:
        url: such as `postgresql://user@host/database`.
        reference: where the password is kept, such as `env:PGPASSWORD`.
        setting: the setting that names it, for messages.

    Raises:
        ConfigError: the address names no user.
        SourceError: there is nothing at that place.
    """
    if reference is None:
        return url
    password = quote(read_secret(reference).reveal(), safe="")
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not user:
        raise ConfigError(
            f"`{setting}`: {mask(url)} names no user whom the password belongs to; write such as "
            "postgresql://user@host/database"
        )
    return urlunsplit(parts._replace(netloc=f"{user}:{password}{at}{host}"))


def remember(value: str) -> None:
    """Mask this value from now on, in every text that leaves the process through us."""
    if len(value) < SHORTEST:
        return
    encoded = value.encode()
    _forms.update({value, quote(value, safe=""), quote(value), quote_plus(value)})
    _forms.add(quote(value, safe=" +"))
    _forms.update({json.dumps(value)[1:-1], repr(value)[1:-1]})
    _forms.add(base64.b64encode(encoded).decode().rstrip("="))
    _guard_process()


def mask(text: str) -> str:
    """The text with every known secret replaced by `***`.

    Example:
        >>> _ = Secret("p@ss/word")
        >>> mask("GET /login?key=p%40ss%2Fword failed")
        'GET /login?key=*** failed'
    """
    for form in sorted(_forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    return re.sub(r"(://[^:/@\s]*):[^/@\s]+@", rf"\1:{MASK}@", text)


def _from_environment(name: str) -> str | None:
    return os.environ.get(name)


def _from_keyring(name: str) -> str | None:
    service, _, user = name.partition("/")
    try:
        import keyring
    except ImportError:
        raise SourceError(
            f"`keyring:{name}`: the keyring is not installed; pip install 'salesops-ml[keyring]'"
        ) from None
    try:
        found: str | None = keyring.get_password(service, user)
    except keyring.errors.KeyringError as error:
        raise SourceError(
            f"`keyring:{name}`: the keyring cannot be read ({error}); unlock it, or use env:NAME"
        ) from None
    return found


def _cure(kind: str, name: str) -> str:
    if kind == "env":
        return f"set it before you start: export {name}=..."
    service, _, user = name.partition("/")
    return f"store it with: keyring set {service} {user}"


def _guard_process() -> None:
    """From the first secret on, mask log records and the traceback of an error nobody expected."""
    global _guarded
    if _guarded:
        return
    _guarded = True
    logging.setLogRecordFactory(_masking(logging.getLogRecordFactory()))
    told = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        text = "".join(traceback.format_exception(kind, error, trace))
        if mask(text) == text:
            told(kind, error, trace)
        else:
            sys.stderr.write(mask(text))

    sys.excepthook = hook


def _masking(make: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    def masked(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        text = record.getMessage()
        if (clean := mask(text)) != text:
            record.msg, record.args = clean, ()
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = mask("".join(traceback.format_exception(*record.exc_info)).rstrip())
        return record

    return masked
