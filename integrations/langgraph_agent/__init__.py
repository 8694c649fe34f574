"""Recipe for an agent with LangChain and LangGraph."""
