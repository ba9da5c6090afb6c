"""`reconciler run`: when a pass runs, and what the daemon shows and sends."""
