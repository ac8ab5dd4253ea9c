"""Extra attributes that a mapping declares, and when each is known."""

from __future__ import annotations

import re
from collections.abc import Mapping

from salesops_ml.errors import ConfigError
from salesops_ml.schema import Attribute
from salesops_ml.source_settings import AttributeSetting


def declared(
    attributes: Mapping[str, AttributeSetting], split_column: str | None
) -> list[tuple[Attribute, str]]:
    """Each extra attribute with its source column, in the order of the configuration.

    The column that tells the split is carried too, known `at_close`, so that it is never a feature.

    Raises:
        ConfigError: the split's column is also declared as something that a model may learn from.

    Example:
        >>> size = AttributeSetting(kind="float", known="at_creation")
        >>> [(known.column, known.known) for known, _ in declared({"size": size}, "fold")]
        [('x_size', 'at_creation'), ('x_fold', 'at_close')]
    """
    found = [
        (Attribute(name, setting.kind, setting.known), setting.column or name)
        for name, setting in attributes.items()
    ]
    for attribute, column in found:
        if column == split_column and attribute.known != "at_close":
            raise ConfigError(
                f"attribute `{attribute.name}`: column `{column}` tells the split "
                "(`split.column`), so it cannot be a feature; declare it `known: at_close`"
            )
    name = attribute_name(split_column or "")
    if split_column and name not in attributes:
        found.append((Attribute(name, "string", "at_close"), split_column))
    return found


def attribute_name(column: str) -> str:
    """A source column as an attribute's name: lower case, everything else an underscore."""
    return re.sub(r"\W+", "_", column.strip().lower()).strip("_")
