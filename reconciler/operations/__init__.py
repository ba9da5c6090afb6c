"""The work of verbs that is not a pass: compare, lock, verify, gc, bench, doctor, roll-back."""
