"""The reports that machines send: written, signed, verified, and the places that they travel by."""
