"""What a build would do, why, and what it would cost, without doing it."""
