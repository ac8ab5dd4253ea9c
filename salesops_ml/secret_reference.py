"""How a configuration names a secret: where it is kept, never what it is.

`env:NAME` is an environment variable, `keyring:service/user` an entry in the keyring of this machine.
Anything else is refused, and not repeated in the message, since it may be the secret itself.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

_ENVIRONMENT = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")
_KEYRING = re.compile(r"keyring:[^/\s]+/[^\s]+")
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


SecretReference = Annotated[str, AfterValidator(check_reference)]
"""The kind of a setting that names a secret."""
