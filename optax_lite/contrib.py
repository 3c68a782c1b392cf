"""The newer and rarer methods, in optax's place for them; all of them stand at the top level too."""
