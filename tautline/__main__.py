"""`python -m tautline`: the same as the installed command."""

from tautline.cli import main

main()
