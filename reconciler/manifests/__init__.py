"""From YAML to typed, checked declarations; also the configuration of the machine."""
