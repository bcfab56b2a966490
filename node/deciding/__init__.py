"""What several maintainers decide: commits that wait in a file until enough of them signed."""
