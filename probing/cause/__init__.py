"""What an objective does to an encoder: one thing of its training is changed, dose by dose."""
