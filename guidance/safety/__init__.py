"""What is decided: findings and plan in, conditions and alerts out. No clock, no socket, no thread."""
