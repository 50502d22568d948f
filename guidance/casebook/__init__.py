"""What is kept of a case: fixture cases, replay files, annotated video."""
