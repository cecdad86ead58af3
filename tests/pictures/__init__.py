"""Makes the pictures of the README and of docs/ from the real demo."""
