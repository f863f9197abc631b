"""The results table, its names, the differences in it, and the run folder that holds it."""
