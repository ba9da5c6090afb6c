"""The page of one machine: its JSON view, and that view as HTML."""
