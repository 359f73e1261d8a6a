"""What several test files use; none imports from another test file."""
