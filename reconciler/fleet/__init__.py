"""Predictions for other machines: inventories, and the comparison of two commits."""
