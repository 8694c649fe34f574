"""Programs that ask the server, each with one client, in the environments of `make clients`."""
