"""Text to vectors: loading an encoder, one pass for every view, pooling."""
