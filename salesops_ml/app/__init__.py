"""Where core and edges meet: the steps of a run, the run folder, the report."""
