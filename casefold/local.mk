# casefold/
