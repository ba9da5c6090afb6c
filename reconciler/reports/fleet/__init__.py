"""The view of a fleet, made from the reports of its machines, and what renders it: text, and a page."""
