"""What `build` needs besides a pass."""
