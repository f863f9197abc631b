"""Vectors on disk: shards, how they are filled, and the cache that keeps them."""
