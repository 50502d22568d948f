"""The dashboard: one more subscriber of the bus, in a process of its own."""
