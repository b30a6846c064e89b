"""`python -m nearfield` is the command `nearfield`."""

from nearfield.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
