"""One pass: resolve, observe, plan, carry out, observe again, record; and the long jobs beside it."""
