"""Scores of a replay against truth, and timing."""
