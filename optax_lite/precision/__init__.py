"""Low precision and memory around any optimizer: rounding, master weights, dtypes of the state, loss scaling."""
