"""The command line: parses arguments, prints, maps errors to exit codes. One file per verb in cli/verbs."""
