"""`python -m groundingme`."""

from groundingme.cli import main

main(prog_name="groundingme")
