"""What a Policy asks of models, and how a model is judged by it. Pure."""
