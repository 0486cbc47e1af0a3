"""Exit statuses beside 0, 1 (an error the user can mend) and 2 (a wrong command)."""

INTERRUPTED = 130
