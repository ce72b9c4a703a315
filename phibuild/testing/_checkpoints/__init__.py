"""How checkpoints of random weights are written; private."""
