"""``python -m tusplyr``: the same commands where the script is not on the path."""

from tusplyr.cli import main

if __name__ == "__main__":
    main()
