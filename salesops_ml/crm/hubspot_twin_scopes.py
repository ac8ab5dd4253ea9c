"""Which scope of a token each address of HubSpot's twin takes.

Source: HubSpot developer documentation, "Scopes"; activities but emails are read by that of contacts.
"""

from __future__ import annotations

from salesops_ml.crm.twin_vendor import Request

_ACTIVITIES = ("calls", "emails", "tasks", "meetings")
READ = {
    "deals": "crm.objects.deals.read", "companies": "crm.objects.companies.read",
    "quotes": "crm.objects.quotes.read", "emails": "sales-email-read",
    "owners": "crm.objects.owners.read", "properties": "crm.schemas.deals.read",
    "pipelines": "crm.objects.deals.read", "currencies": "settings.currencies.read",
}  # fmt: skip
"""Address -> the scope that reading it takes; activities take that of contacts."""
CONTACTS = "crm.objects.contacts.read"
WRITE, SCHEMA = "crm.objects.deals.write", "crm.schemas.deals.write"
SCOPES = frozenset({*READ.values(), CONTACTS, WRITE, SCHEMA})


def scopes_of(request: Request) -> list[str]:
    """The scopes that a call takes."""
    if request.path.endswith(("/batch/update", "/merge")):
        return [WRITE]
    if "/properties" in request.path:
        return [SCHEMA if request.method == "POST" else READ["properties"]]
    parts = [part for part in request.path.split("/") if part in READ or part in _ACTIVITIES]
    return [READ.get(part, CONTACTS) for part in parts]
