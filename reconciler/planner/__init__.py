"""Pure: from desired, observed and recorded to a Plan."""
