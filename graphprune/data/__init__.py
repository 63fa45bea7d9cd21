"""Samples: the forms they come in, and one loader that streams them."""
