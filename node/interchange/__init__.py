"""Checkpoints as other tools have them: directories that `transformers` loads, written from our weights and read into them."""
