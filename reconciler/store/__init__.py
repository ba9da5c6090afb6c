"""The content-addressed store of artifacts: an OCI image layout on disk."""
