"""Fine-tuning as a run: which cells are trained, how they survive a kill, the run folder."""
