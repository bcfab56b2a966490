"""The native decoder under sanitizers, fuzzed by atheris: it has to decode or refuse as the reference does."""
