"""Compiled inner loops. Plain arrays in and out; units and validation are their callers'."""
