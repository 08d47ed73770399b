"""The hub of handfast: it admits devices, keeps their keys and exchanges sealed records with them."""
