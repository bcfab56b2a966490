"""Modules: adapters, experts, heads and datastores as signed packages with requirements on their base."""
