"""`python -m handfast_hub.cli`."""

from handfast_hub.cli import main

main()
