"""What looks at an optimizer and its state from outside: what it holds, and how it is carried on."""
