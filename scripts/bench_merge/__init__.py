"""Merge methods compared: what is left of several workers' learning, on scikit-learn's digits split between them."""
