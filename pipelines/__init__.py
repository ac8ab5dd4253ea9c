"""The CRISP-DM pipeline of this workspace, a file a phase; run it with `python -m pipelines`."""
