"""`python -m handfast_kme`."""

from handfast_kme.cli import main

main()
