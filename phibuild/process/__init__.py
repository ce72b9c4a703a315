"""The only room that starts programs: on our terminal, for their answer, or supervised."""
