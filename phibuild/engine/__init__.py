"""Deciding whether to work, and working: facts, keys, recall, realize, plan, explain."""
