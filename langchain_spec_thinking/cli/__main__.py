"""`python -m langchain_spec_thinking.cli`."""

from langchain_spec_thinking.cli import main

main()
