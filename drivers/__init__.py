"""Where frames come from. Knows nothing of guidance or web."""
