"""What is seen in a fluoroscopy picture, what is decided about it, and who is told."""

__version__ = "0.1.0"
