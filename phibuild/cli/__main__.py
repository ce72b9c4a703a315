"""`python -m phibuild.cli`."""

from phibuild.cli import main

main()
