"""Foundry Local 0.5 to 1.x and its command line, which search their cache for folders of models."""
