"""A simulated procedure under a simulated C-arm, with truth."""
