"""Vectors and gold similarity to score rows."""
