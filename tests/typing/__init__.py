"""Code that only type checkers read: `make type` checks what users of the package see."""
