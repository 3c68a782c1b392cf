"""What an optimizer is doing: its settings now, its norms, its table of leaves."""
