"""An agent of LangChain and LangGraph."""
