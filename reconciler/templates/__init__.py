"""Chat templates: presets, role form, lint, and rendering in a limited child."""
