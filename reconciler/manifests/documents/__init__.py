"""What the documents of one file say by themselves, before anything is asked of other files or of a disk."""
