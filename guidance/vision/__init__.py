"""What is seen: arrays and earlier state in, records and new state out. No clock, no socket, no thread."""
