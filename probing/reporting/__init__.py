"""The results table to words and pictures."""
