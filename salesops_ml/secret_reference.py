"""How a configuration names a secret: where it is kept, never what it is.

`env:NAME` is an environment variable, `keyring:service/user` an entry in the keyring of this machine.
Anything else is refused, and not repeated in the message, since it may be the secret itself. Nor does
an address hold a password: it is named beside it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

MASK = "***"
_ENVIRONMENT = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")
_KEYRING = re.compile(r"keyring:[^/\s]+/[^\s]+")
_SECRET_IN_URL = re.compile(r"(?<=://)([^/@\s]*?):[^/\s]*(?=@)")
CURE = (
    "write `env:NAME` (an environment variable) or `keyring:service/user`, never the secret itself"
)


def check_reference(text: str) -> str:
    """The reference, or an error that does not repeat what came.

    Raises:
        ValueError: the text is no reference.

    Example:
        >>> check_reference("env:HUBSPOT_TOKEN")
        'env:HUBSPOT_TOKEN'
    """
    if not (_ENVIRONMENT.fullmatch(text) or _KEYRING.fullmatch(text)):
        raise ValueError(f"names no place of a secret; {CURE}")
    return text


def _masked(value: Any) -> Any:
    """What is no reference is taken for a secret, and no message may show it."""
    try:
        return check_reference(value) if isinstance(value, str) else MASK
    except ValueError:
        return MASK


def _reference(value: str) -> str:
    if value == MASK:
        raise ValueError(f"a secret is named, never written in a configuration; {CURE}")
    return value


def without_secret(value: Any) -> Any:
    """An address with its password masked, so that no message shows it."""
    return _SECRET_IN_URL.sub(rf"\1:{MASK}", value) if isinstance(value, str) else value


def no_secret(value: str) -> str:
    """The address, or an error where a password was masked in it.

    Raises:
        ValueError: it held a password.
    """
    if f":{MASK}@" in value:
        raise ValueError("the address holds a password; leave it out and name it as a secret")
    return value


Secret = Annotated[str, AfterValidator(_reference), BeforeValidator(_masked)]
"""The name of a secret: `env:NAME` or `keyring:SERVICE/USER`."""

Address = Annotated[str, AfterValidator(no_secret), BeforeValidator(without_secret)]
"""Where a database is, without a password."""
