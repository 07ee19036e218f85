"""What each command does, from checked options to an exit code; `cli` holds the options themselves."""
