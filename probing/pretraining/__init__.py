"""Corpus → WordPiece vocabulary → segment pairs → a small BERT with a chosen objective.

The room knows nothing of the study: it makes an encoder folder like any other. Its one entry point
is `probing.pretraining.training.pretrain`.
"""
