"""Declarations of models and data sets, how they are fetched, and what ships with the project."""
