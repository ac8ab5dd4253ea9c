"""The edge to CRMs: reading them into the warehouse."""

from salesops_ml.crm.history import complete_history
from salesops_ml.crm.ingest import IngestResult, ingest
from salesops_ml.crm.source import read_source

__all__ = ["IngestResult", "complete_history", "ingest", "read_source"]
