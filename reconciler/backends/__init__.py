"""What serves models: the protocol, and its implementation for Foundry Local."""
