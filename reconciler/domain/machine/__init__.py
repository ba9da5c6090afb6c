"""What a machine is, and what its configuration declares: values and rules."""
