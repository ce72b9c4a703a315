"""What a build reads: checkpoints and the user's files, and whether they are unchanged."""
