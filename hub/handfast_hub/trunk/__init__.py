"""Hub to hub: keys from a KME, and what is sealed with them."""
