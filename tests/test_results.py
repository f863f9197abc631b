"""The table of scores: its names, its differences and the folder it is kept in."""
