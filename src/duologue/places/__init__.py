"""Where engines run. An engine says what to do; a place says on which thread, process or machine."""
