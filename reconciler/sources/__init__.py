"""Where manifests and model bytes come from: folders, git, the Hugging Face hub."""
