"""``python -m probing``: the command line."""

from probing.commands.main import main

main()
