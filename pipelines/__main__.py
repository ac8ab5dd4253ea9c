"""`python -m pipelines --config configs/demo.yaml [--phase evaluation]`: the same as `salesops run`."""

from __future__ import annotations

import sys

from salesops_ml.cli import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:]])
