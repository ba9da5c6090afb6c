"""What this machine did and promised: records, events, release history."""
