"""Vectors and gold to score rows."""
