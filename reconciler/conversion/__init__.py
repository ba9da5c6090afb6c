"""From a recipe to an ONNX artifact with Olive, in a worker process."""
