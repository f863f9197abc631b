"""What is claimed of the pooler, how the table decides it, and the words of the verdict."""
