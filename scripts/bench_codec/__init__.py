"""Updates compared: bytes, relative error and end loss of each setting, on real training of small models."""
