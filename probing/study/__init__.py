"""Which encoders are measured on which tasks; the result is a run."""
