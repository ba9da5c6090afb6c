"""What an artifact is made of. Olive's model_config.json holds paths of this machine."""

from reconciler.domain.sources.source_model import TOKENIZER_FILES

ARTIFACT_FILES = ("model.onnx", "model.onnx.data", "genai_config.json", *TOKENIZER_FILES)
