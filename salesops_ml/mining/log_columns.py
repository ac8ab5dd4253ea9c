"""The names of a log's columns, as pm4py and the XES standard have them."""

from __future__ import annotations

CASE, ACTIVITY, TIMESTAMP = "case:concept:name", "concept:name", "time:timestamp"
PM4PY_COLUMNS = (CASE, ACTIVITY, TIMESTAMP)
LIFECYCLE = "lifecycle:transition"
SERVICE_START = "start_timestamp"
