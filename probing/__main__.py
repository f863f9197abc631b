"""``python -m probing``: the command line."""

from probing.cli import main

main()
