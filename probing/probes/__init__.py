"""Vectors and labels to score rows."""
