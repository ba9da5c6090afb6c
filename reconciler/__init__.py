"""GitOps for local AI models: make this machine serve what git declares."""

__version__ = "0.1.0"
