"""The machine itself: durable writes, locks, child processes, sandboxes, folders."""
